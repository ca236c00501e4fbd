module aic-sos.example/control-plane

go 1.19

require aic-sos.example/servicekit v0.0.0

replace aic-sos.example/servicekit => ../shared/servicekit-go
