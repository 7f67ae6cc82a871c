// The tasks that every language's SDK is measured by, here in Go.
package main

import (
	"errors"
	"fmt"
	"time"

	lovage "example.invalid/lovage/sdk/go"
)

// ConnectionError says that something does not answer.
type ConnectionError struct{ message string }

func (e ConnectionError) Error() string { return e.message }

// add adds two numbers.
func add(_ *lovage.Ctx, x, y int) int { return x + y }

// echo is any JSON value, as it came.
func echo(_ *lovage.Ctx, value any) any { return value }

// fail fails with an exception of the module's own.
func fail(_ *lovage.Ctx, message string) error {
	return lovage.Error("OutOfStock", message, 42, map[string]any{"sku": "A-1"})
}

// retry asks to be run again until its retries are used up but one.
func retry(ctx *lovage.Ctx, after float64) (int, error) {
	if ctx.Retries() < 2 {
		return 0, lovage.Retryf("not yet").After(seconds(after))
	}
	return ctx.Retries(), nil
}

// exhaust fails with what it retries on.
func exhaust(*lovage.Ctx) error { return ConnectionError{"bank down"} }

// reject is not to be run again.
func reject(_ *lovage.Ctx, reason string) error { return lovage.Rejectf("%s", reason) }

// steps charges once over two attempts.
func steps(ctx *lovage.Ctx, order int) ([]any, error) {
	receipt, err := lovage.Once(ctx, "charge", lovage.DoAgain, order, func(step *lovage.Step) (string, error) {
		return fmt.Sprintf("%s/%d", step.Key(), ctx.Retries()), nil
	})
	if err != nil {
		return nil, err
	}
	if ctx.Retries() == 0 {
		return nil, lovage.Retryf("mail is down").After(0)
	}
	return []any{receipt, ctx.Retries()}, nil
}

// outbox calls another task, if it succeeds.
func outbox(ctx *lovage.Ctx, good bool) (string, error) {
	call, err := ctx.Call("conformance.add", lovage.Call{Args: []any{20, 22}, Headers: map[string]any{"tenant": "acme"}})
	if err == nil && !good {
		err = lovage.Error("ValueError", "the call must not leave")
	}
	return call, err
}

// progress shows how far it is.
func progress(ctx *lovage.Ctx, holdMS int) (string, error) {
	if err := ctx.Progress("PROGRESS", map[string]any{"done": 3, "of": 10}); err != nil {
		return "", err
	}
	time.Sleep(time.Duration(holdMS) * time.Millisecond)
	return "finished", nil
}

// log writes a line of each level.
func log(ctx *lovage.Ctx) {
	levels := []string{"trace", "debug", "info", "warn", "error"}
	for level, name := range levels {
		ctx.Log(lovage.Level(level), "a line of "+name, "number", 1)
	}
	fmt.Println("a line on standard output")
}

// soft waits longer than it may, and tidies up.
func soft(ctx *lovage.Ctx) (string, error) {
	if err := ctx.Sleep(8 * time.Second); errors.Is(err, lovage.ErrSoftTimeLimit) {
		return "SoftTimeLimitExceeded after tidying up", nil
	}
	return "never told", nil
}

// once happens once for an order.
func once(ctx *lovage.Ctx, _ int) string { return ctx.IdempotencyKey() }

// Item is what an order has.
type Item struct {
	SKU   string `json:"sku"`
	Count int    `json:"count,omitempty"`
}

// typed has a schema.
func typed(_ *lovage.Ctx, item Item, _ *string) int {
	switch {
	case item.SKU == "":
		return 0
	case item.Count == 0:
		return 1
	}
	return item.Count
}

// addition is a call of conformance.add, as Celery writes it.
func addition(x, y int, options map[string]any) map[string]any {
	return map[string]any{"task": "conformance.add", "args": []int{x, y}, "kwargs": map[string]any{}, "options": options}
}

// ignore sends a call of this id, and says nothing of its own end.
func ignore(ctx *lovage.Ctx, child string) error {
	if _, err := ctx.SendSignature(addition(20, 22, map[string]any{"task_id": child})); err != nil {
		return err
	}
	return lovage.Ignore()
}

// requeue goes back to its queue once.
func requeue(ctx *lovage.Ctx) (string, error) {
	if !ctx.Redelivered() {
		return "", lovage.Requeue(errors.New("once more"))
	}
	return "redelivered", nil
}

// replace has another call take its place.
func replace(_ *lovage.Ctx, x int) error { return lovage.Replace(addition(x, 100, map[string]any{})) }

// changed asks to be run again with another word.
func changed(ctx *lovage.Ctx, word string) ([]any, error) {
	if ctx.Retries() == 0 {
		other := map[string]any{"args": []any{}, "kwargs": map[string]any{"word": "second"}}
		return nil, lovage.Retryf("another word").After(0).With(other)
	}
	return []any{word, ctx.Retries()}, nil
}

// canvas sends a chord, and returns its result's tuple.
func canvas(ctx *lovage.Ctx, x int) (any, error) {
	none := map[string]any{}
	body := map[string]any{"task": "conformance.echo", "args": []any{}, "kwargs": none, "options": none}
	parts := map[string]any{"header": []any{addition(x, 1, none), addition(x, 2, none)}, "body": body}
	return ctx.SendSignature(map[string]any{
		"task": "celery.chord", "args": []any{}, "kwargs": parts, "options": none, "subtask_type": "chord",
	})
}

// request is all that Celery's request has.
func request(ctx *lovage.Ctx, _ string) (map[string]any, error) { return ctx.Request() }

var attempts int

// count is which attempt this is in its instance.
func count(*lovage.Ctx) int {
	attempts++
	return attempts
}

// shared is the same in one that attempts share, and its id.
func shared(ctx *lovage.Ctx) []any {
	attempts++
	return []any{attempts, ctx.TaskID()}
}

// sleep waits; other tasks run meanwhile.
func sleep(_ *lovage.Ctx, duration float64) float64 {
	time.Sleep(seconds(duration))
	return duration
}

// ask asks a server.
func ask(ctx *lovage.Ctx, url string) ([]any, error) {
	body, header, err := lovage.JSON(map[string]int{"number": 7})
	if err != nil {
		return nil, err
	}
	header["X-Mine"] = "conformance"
	request := lovage.Request{Method: "POST", URL: url, Header: header, Body: body, Timeout: 10 * time.Second}
	answer, err := lovage.Fetch(ctx, request)
	if err != nil {
		return nil, err
	}
	if err := answer.Check(); err != nil {
		return nil, err
	}
	var heard any
	err = answer.JSON(&heard)
	return []any{answer.Status, answer.Header["x-theirs"], heard}, err
}

func seconds(count float64) time.Duration { return time.Duration(count * float64(time.Second)) }

func init() {
	lovage.Module("conformance")
	lovage.Task("conformance.add", add, lovage.Params("x", "y"), lovage.Doc("Adds two numbers."))
	lovage.Task("conformance.echo", echo, lovage.Params("value"))
	lovage.Task("conformance.fail", fail, lovage.Params("message=no stock"))
	lovage.Task("conformance.retry", retry, lovage.Params("after=0.1"), lovage.MaxRetries(2))
	lovage.Task("conformance.exhaust", exhaust,
		lovage.MaxRetries(1), lovage.RetryOn[ConnectionError](), lovage.Delay(50*time.Millisecond))
	lovage.Task("conformance.reject", reject, lovage.Params("reason=never"))
	lovage.Task("conformance.steps", steps, lovage.Params("order"), lovage.MaxRetries(1))
	lovage.Task("conformance.outbox", outbox, lovage.Params("good=true"))
	lovage.Task("conformance.progress", progress, lovage.Params("hold_ms=0"))
	lovage.Task("conformance.log", log)
	lovage.Task("conformance.soft", soft, lovage.SoftTimeLimit(200*time.Millisecond), lovage.TimeLimit(10*time.Second))
	lovage.Task("conformance.once", once, lovage.Params("order_id"), lovage.IdempotencyKey("order:{order_id}"))
	lovage.Task("conformance.typed", typed, lovage.Params("item", "note"))
	lovage.Task("conformance.ignore", ignore, lovage.Params("child"))
	lovage.Task("conformance.requeue", requeue)
	lovage.Task("conformance.replace", replace, lovage.Params("x"))
	lovage.Task("conformance.changed", changed, lovage.Params("word"), lovage.MaxRetries(1))
	lovage.Task("conformance.canvas", canvas, lovage.Params("x"))
	lovage.Task("conformance.request", request, lovage.Params("word"))
	lovage.Task("conformance.count", count)
	lovage.Task("conformance.shared", shared, lovage.Reuse(100))
	lovage.Task("conformance.sleep", sleep, lovage.Params("seconds"))
	lovage.Task("conformance.http", ask, lovage.Params("url"), lovage.Capabilities("http:127.0.0.1:*"))
}

func main() {}
