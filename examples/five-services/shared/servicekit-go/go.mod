module aic-sos.example/servicekit

go 1.19
