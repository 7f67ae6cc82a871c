// The tasks of {{name}}.
package main

import (
	"errors"
	"fmt"

	lovage "example.invalid/lovage/sdk/go"
)

func hello(_ *lovage.Ctx, name string) string {
	return fmt.Sprintf("Hello, %s!", name)
}

func charge(ctx *lovage.Ctx, order, cents int) (string, error) {
	if cents <= 0 {
		return "", lovage.Reject(errors.New("nothing to charge"))
	}
	// Hand step.Key() to whoever is paid: it is the same over all attempts.
	return lovage.Once(ctx, "charge", lovage.DoAgain, order, func(step *lovage.Step) (string, error) {
		return "charged with the key " + step.Key(), nil
	})
}

func init() {
	lovage.Module("{{module}}")
	lovage.Task("{{module}}.hello", hello, lovage.Params("name=world"), lovage.Doc("Greets someone."))
	lovage.Task("{{module}}.charge", charge, lovage.Params("order_id", "cents"), lovage.Doc("Charges an order, once."),
		lovage.MaxRetries(5), lovage.Backoff(), lovage.IdempotencyKey("order:{order_id}"))
}

func main() {}
