package lovage

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

type bankError struct{ order int }

func (e *bankError) Error() string { return fmt.Sprintf("bank down for %d", e.order) }

type item struct {
	SKU   string `json:"sku"`
	Count int    `json:"count,omitempty"`
}

func init() {
	Module("shop")
	Task("shop.charge", charge, Params("order", "cents=100"), MaxRetries(5), RetryOn[*bankError](), Backoff(),
		IdempotencyKey("order:{order}"), IdempotencyTTL(time.Hour), TimeLimit(5*time.Second), Memory(64<<20), RateLimit("10/s"))
	Task("shop.pack", func(_ *Ctx, one item, more ...item) int { return one.Count + len(more) }, Params("item"))
	Task("shop.wait", wait, Params("how"))
	Task("shop.end", finish, Params("how"))
	Task("shop.echo", func(_ *Ctx, value any) any { return value })
	Task("shop.leave", func(*Ctx) { go func() { select {} }() })
}

func charge(ctx *Ctx, order, cents int) (string, error) {
	receipt, err := Once(ctx, "charge", DoAgain, order, func(step *Step) (string, error) {
		return fmt.Sprintf("%s/%d/%d", step.Key(), cents, ctx.Retries()), nil
	})
	if err != nil {
		return "", err
	}
	if order%7 == 0 {
		return "", &bankError{order}
	}
	_, err = ctx.Call("shop.mail", Call{Args: []any{order}, Countdown: 2 * time.Second, IdempotencyKey: "mail"})
	return receipt, err
}

func wait(ctx *Ctx, how string) (string, error) {
	switch how {
	case "retry":
		return "", Retry(errors.New("later")).After(30 * time.Second)
	case "reject":
		return "", Rejectf("never")
	case "panic":
		var none []int
		return "", fmt.Errorf("%d", none[3])
	}
	if err := ctx.Progress("PROGRESS", map[string]any{"done": 1}); err != nil {
		return "", err
	}
	if errors.Is(ctx.Sleep(time.Minute), ErrSoftTimeLimit) {
		return "tidied up", nil
	}
	return "waited", nil
}

func TestArgumentsComeByPositionAndByName(t *testing.T) {
	host := NewHost()
	for _, call := range [][2]string{{"[8]", "{}"}, {"[]", `{"order": 8}`}, {"[8]", `{"cents": 100}`}} {
		if got := host.AttemptJSON("shop.charge", call[0], call[1]); got.Value != `"task-1:charge/100/0"` {
			t.Errorf("%v: %+v", call, got)
		}
	}
	if sent := host.Sent[0]; sent.Task != "shop.mail" || sent.Countdown != 2*time.Second || sent.Headers != `{"idempotency-key":"mail"}` {
		t.Errorf("%+v", sent)
	}
	for call, problem := range map[[2]string]string{
		{"[]", "{}"}:               `shop.charge() lacks the argument "order"`,
		{"[1,2,3]", "{}"}:          "shop.charge() takes 2 arguments but 3 were given",
		{"[1]", `{"order": 1}`}:    `shop.charge() got "order" by position and by name`,
		{"[1]", `{"colour": 1}`}:   `shop.charge() has no parameter "colour"`,
		{`["1"]`, "{}"}:            "order must be integer, not string",
		{`[null]`, "{}"}:           "order must be integer, not null",
		{`[1.5]`, "{}"}:            "order must be integer, not number 1.5",
		{`[99999999999999]`, "{}"}: "",
	} {
		got := host.AttemptJSON("shop.charge", call[0], call[1])
		var args []string
		_ = json.Unmarshal([]byte(got.Arguments), &args)
		if problem != "" && (got.Kind != "rejected" || got.Exception != "TypeError" || args[0] != problem) {
			t.Errorf("%v: %+v", call, got)
		}
	}
}

func TestTypesAreChecked(t *testing.T) {
	host := NewHost()
	if got := host.Attempt("shop.pack", map[string]any{"sku": 7}); !strings.Contains(got.Arguments, "item.sku must be string, not number") {
		t.Errorf("%+v", got)
	}
	if got := host.Attempt("shop.pack", map[string]any{}); !strings.Contains(got.Arguments, `item lacks the field \"sku\"`) {
		t.Errorf("%+v", got)
	}
	if got := host.Attempt("shop.pack", item{"a", 2}, item{SKU: "b"}, item{SKU: "c"}); got.Value != "4" {
		t.Errorf("%+v", got)
	}
}

func TestErrorsEndAnAttemptAsThePolicySays(t *testing.T) {
	host := NewHost()
	got := host.Attempt("shop.charge", 7)
	if got.Kind != "retry" || got.Exception != "bankError" || got.Arguments != `["bank down for 7"]` || got.After != nil {
		t.Errorf("%+v", got)
	}
	if got = host.Attempt("shop.wait", "retry"); got.Kind != "retry" || *got.After != 30*time.Second {
		t.Errorf("%+v", got)
	}
	if got = host.Attempt("shop.wait", "reject"); got.Kind != "rejected" || got.Exception != "Reject" || !strings.Contains(got.Traceback, "lovage_test.go") {
		t.Errorf("%+v", got)
	}
	if got = host.Attempt("shop.wait", "panic"); got.Kind != "failed" || !strings.Contains(got.Traceback, "in wait\n") {
		t.Errorf("%+v", got)
	}
	if got = host.Attempt("nobody"); got.Kind != "rejected" || got.Exception != "NotRegistered" {
		t.Errorf("%+v", got)
	}
}

func finish(ctx *Ctx, how string) (any, error) {
	if _, err := ctx.SendSignature(map[string]any{"task": "shop.mail", "options": map[string]any{"task_id": "mail-1"}}); err != nil {
		return nil, err
	}
	switch how {
	case "ignore":
		return nil, Ignore()
	case "requeue":
		return nil, Requeue(errors.New("once more"))
	case "replace":
		return nil, Replace(map[string]any{"task": "shop.mail"})
	case "odd":
		return nil, Replace(func() {})
	case "changed":
		return nil, Retry(errors.New("later")).With(map[string]any{"priority": 3})
	}
	if _, err := ctx.AddToChord(map[string]any{"task": "shop.mail"}); err != nil {
		return nil, err
	}
	request, err := ctx.Request()
	return request["id"], err
}

func TestATaskSeesToItsEndItselfGoesBackOrHandsItsPlaceOn(t *testing.T) {
	host := NewHost()
	for how, expected := range map[string]Outcome{
		"ignore":  {Kind: "ignored", Exception: "Ignore"},
		"requeue": {Kind: "requeued", Exception: "Error"},
		"replace": {Kind: "replaced", Exception: "Ignore", Options: `{"task":"shop.mail"}`},
		"odd":     {Kind: "failed", Exception: "EncodeError"},
		"changed": {Kind: "retry", Exception: "Error", Options: `{"priority":3}`},
		"join":    {Kind: "failed", Exception: "InvalidCall"},
	} {
		got := host.Attempt("shop.end", how)
		if got.Kind != expected.Kind || got.Exception != expected.Exception || got.Options != expected.Options {
			t.Errorf("%s: %+v", how, got)
		}
	}
	if len(host.Sent) != 2 || host.Sent[0].ID != "mail-1" {
		t.Errorf("only what is ignored or replaced sends: %+v", host.Sent)
	}
	host.InChord = true
	if got := host.Attempt("shop.end", "join"); got.Value != `"task-1"` || len(host.Sent) != 4 {
		t.Errorf("%+v %+v", got, host.Sent)
	}
}

func TestStepsAreReplayedAndWaitsTakeNoTime(t *testing.T) {
	host := NewHost()
	first := host.Attempt("shop.charge", 8)
	host.RetriesBefore = 1
	if again := host.Attempt("shop.charge", 8); again.Value != first.Value {
		t.Errorf("%+v, %+v", first, again)
	}
	if got := host.Attempt("shop.charge", 9); got.Exception != "InvalidCall" {
		t.Errorf("another input: %+v", got)
	}
	if got := host.Attempt("shop.wait", "on"); got.Value != `"waited"` || host.Waited != time.Minute || host.Shown[0].Meta != `{"done":1}` {
		t.Errorf("%+v", got)
	}
	soft := 200 * time.Millisecond
	host.Soft = &soft
	if got := host.Attempt("shop.wait", "on"); got.Value != `"tidied up"` {
		t.Errorf("%+v", got)
	}
	host.Soft, host.HasLedger = nil, false
	if got := host.Attempt("shop.charge", 8); got.Exception != "Unavailable" {
		t.Errorf("%+v", got)
	}
}

func TestGoroutinesMayNotBeLeftRunning(t *testing.T) {
	if got := NewHost().Attempt("shop.leave"); got.Kind != "failed" || got.Exception != "GoroutinesLeft" {
		t.Errorf("%+v", got)
	}
}

func TestEveryJSONValueComesBack(t *testing.T) {
	for _, text := range []string{
		"null", "true", "[]", "{}", `"é😀"`, `"\ud800x"`, "18446744073709551616", "-" + strings.Repeat("9", 5000), "1e400", "-0.0",
		"[NaN,Infinity,-Infinity]", `{"a":[1,{"b":null}]}`, `{"__type__":"datetime","__value__":"2026-01-02T03:04:05"}`, `"a\"\\\u0001"`,
	} {
		if got := NewHost().AttemptJSON("shop.echo", "["+text+"]", "{}"); got.Value != text {
			t.Errorf("%s: %+v", text, got)
		}
	}
	for _, text := range []string{"", "[1,]", "{a:1}", "01", "nul", "\"\n\"", "1 2", `"\x41"`, `{"a" 1}`, `"`, "[", `"\u12"`} {
		if value, err := decodeAny(text); err == nil {
			t.Errorf("%q is %v", text, value)
		}
	}
}

func TestTheManifestHasWhatWasDeclared(t *testing.T) {
	var whole struct {
		Module string
		Tasks  []map[string]any
	}
	if err := json.Unmarshal([]byte(Manifest()), &whole); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(whole.Tasks[0])
	expected := `{"idempotency":{"key":"order:{order}","ttl_s":3600},"input_schema":{"additionalProperties":false,` +
		`"properties":{"cents":{"type":"integer"},"order":{"type":"integer"}},"required":["order"],"type":"object"},` +
		`"limits":{"memory_bytes":67108864,"time_ms":5000},"name":"shop.charge","output_schema":{"type":"string"},` +
		`"params":["order","cents"],"rate_limit":"10/s","retry":{"backoff":"exponential","max":5,"on_failure":false}}`
	if string(text) != expected {
		t.Errorf("%s", text)
	}
}

func TestMistakesInADeclarationAreTold(t *testing.T) {
	for _, wrong := range []func() (*task, error){
		func() (*task, error) { return declare("a", func() {}, nil) },
		func() (*task, error) { return declare("", charge, nil) },
		func() (*task, error) { return declare("a", charge, []Option{Params("order")}) },
		func() (*task, error) { return declare("a", charge, []Option{IdempotencyKey("{order}")}) },
		func() (*task, error) { return declare("a", charge, []Option{Params("a", "b"), IdempotencyKey("{a")}) },
		func() (*task, error) { return declare("a", charge, []Option{TimeLimit(0)}) },
		func() (*task, error) { return declare("a", func(*Ctx) (int, int) { return 1, 2 }, nil) },
	} {
		if declared, err := wrong(); err == nil {
			t.Errorf("%v", declared.entry)
		}
	}
}

func TestSchemas(t *testing.T) {
	type node struct {
		Next *node             `json:"next"`
		Tags map[string][]bool `json:"tags"`
		Raw  any               `json:"raw,omitempty"`
		Self Number
	}
	text, _ := encode(schemaOf(reflect.TypeFor[node](), nil))
	expected := `{"properties":{"Self":{"type":"number"},"next":{},"raw":{},` +
		`"tags":{"additionalProperties":{"items":{"type":"boolean"},"type":"array"},"type":"object"}},"required":["tags","Self"],"type":"object"}`
	if text != expected {
		t.Error(text)
	}
}

func TestARequestIsToldAndItsAnswerRead(t *testing.T) {
	host := NewHost()
	ctx := newCtx(host)
	if _, err := Fetch(ctx, Request{URL: "http://a"}); !errors.Is(err, ErrDenied) {
		t.Fatalf("nobody answers: %v", err)
	}
	host.Answer = func(asked Request) (*Response, error) { return &Response{Status: 503, Body: asked.Body}, nil }
	body, header, _ := JSON([]int{1})
	answer, err := Fetch(ctx, Request{Method: "POST", URL: "http://a", Header: header, Body: body})
	var back []int
	if err != nil || answer.JSON(&back) != nil || !reflect.DeepEqual(back, []int{1}) {
		t.Fatalf("%v %v %v", answer, err, back)
	}
	if name, _ := described(answer.Check()); name != "HTTPError" {
		t.Fatalf("the status is told as %s", name)
	}
	if asked := host.Requested; len(asked) != 2 || asked[0].Method != "GET" || asked[1].Header["content-type"] != "application/json" {
		t.Fatalf("%v", asked)
	}
}
