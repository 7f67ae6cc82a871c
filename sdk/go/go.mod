module example.invalid/lovage/sdk/go

go 1.27
