module command

go 1.21
