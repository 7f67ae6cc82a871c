package main

import (
	"testing"

	lovage "example.invalid/lovage/sdk/go"
)

func TestAnOrderIsChargedOnce(t *testing.T) {
	host := lovage.NewHost()
	first := host.Attempt("{{module}}.charge", 7, 500)
	if again := host.Attempt("{{module}}.charge", 7, 500); again != first {
		t.Errorf("charged twice: %v, %v", first, again)
	}
	if refused := host.Attempt("{{module}}.charge", 8, 0); refused.Kind != "rejected" {
		t.Errorf("charged nothing: %v", refused)
	}
}
