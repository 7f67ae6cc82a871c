module example.invalid/lovage/guest-examples/go/conformance

go 1.27

require example.invalid/lovage/sdk/go v0.0.0

replace example.invalid/lovage/sdk/go => ../../../sdk/go
