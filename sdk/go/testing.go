package lovage

import (
	"fmt"
	"slices"
	"time"
)

// Host is a host for tests.
//
//	host := lovage.NewHost()
//	outcome := host.Attempt("shop.charge", 7, 500)
//
// It remembers steps over attempts, and records what was sent, shown and logged. Waiting takes no time. Set its fields
// before an attempt, read them after.
type Host struct {
	TaskID         string
	RetriesBefore  int
	IdempotencyKey string
	Headers        map[string]any
	// Soft is until the soft limit; nil is no limit, 0 is over.
	Soft      *time.Duration
	IsRevoked bool
	// InChord says whether the task is a member of a chord.
	InChord bool
	// HasLedger says whether steps are answered.
	HasLedger bool
	Sent      []Sent
	Shown     []Shown
	Logged    []Logged
	// Answer answers requests; without it they are denied.
	Answer func(Request) (*Response, error)
	// Requested are the requests that were made.
	Requested []Request
	// Waited is how long tasks waited.
	Waited time.Duration
	steps  map[string]*kept
	begun  []string
	outbox []Sent
}

// Sent is a call that was put in the outbox.
type Sent struct {
	ID, Task, Args, Kwargs, Headers string
	Queue                           string
	Countdown                       time.Duration
}

// Shown is a state that was shown.
type Shown struct{ State, Meta string }

// Logged is a line that was logged.
type Logged struct {
	Level           Level
	Message, Fields string
}

// Outcome is how an attempt ended: Kind is succeeded, failed, rejected, retry, ignored, requeued or replaced. Texts are
// JSON.
type Outcome struct {
	Kind, Value       string
	Exception, Module string
	Arguments         string
	Traceback         string
	After             *time.Duration
	// Options are what a retry changes, or the signature that takes the task's place.
	Options string
}

type kept struct {
	input     string
	value     string
	committed bool
}

// NewHost is a host with a ledger, at a task's first attempt.
func NewHost() *Host {
	return &Host{TaskID: "task-1", HasLedger: true, steps: map[string]*kept{}}
}

// Attempt runs one attempt as a worker does, through JSON.
func (h *Host) Attempt(name string, args ...any) Outcome {
	if args == nil {
		args = []any{}
	}
	text, err := encode(args)
	if err != nil {
		panic(err)
	}
	return h.AttemptJSON(name, text, "{}")
}

// AttemptJSON is Attempt with arguments as JSON texts.
func (h *Host) AttemptJSON(name, args, kwargs string) Outcome {
	h.begun, h.outbox = nil, nil
	text, end := run(h, name, args, kwargs)
	if end == nil {
		h.Sent = append(h.Sent, h.outbox...)
		return Outcome{Kind: "succeeded", Value: text}
	}
	if end.end == ignored || end.end == replaced {
		h.Sent = append(h.Sent, h.outbox...)
	}
	kind := [...]string{"failed", "rejected", "retry", "ignored", "requeued", "replaced"}[end.end]
	return Outcome{
		Kind: kind, Exception: end.name, Module: end.module, Arguments: end.args, Traceback: end.trace, After: end.after, Options: end.text,
	}
}

func (h *Host) key() string {
	if h.IdempotencyKey != "" {
		return h.IdempotencyKey
	}
	return h.TaskID
}

func (h *Host) current() attempt {
	headers, err := encode(h.Headers)
	if h.Headers == nil || err != nil {
		headers = "{}"
	}
	most := uint32(3)
	return attempt{
		taskID: h.TaskID, retries: uint32(h.RetriesBefore), maxRetries: &most, idempotencyKey: h.key(), queue: "celery", headers: headers,
	}
}

func (h *Host) timeLeft() (*time.Duration, time.Duration) { return h.Soft, 30 * time.Second }

func (h *Host) revoked() bool { return h.IsRevoked }

func (h *Host) offered() error {
	if h.Soft != nil && *h.Soft == 0 {
		return ErrSoftTimeLimit
	}
	return nil
}

func (h *Host) put(task, args, kwargs string, options callOptions) (string, error) {
	if err := h.offered(); err != nil {
		return "", err
	}
	sent := Sent{ID: fmt.Sprintf("%s-call-%d", h.TaskID, len(h.outbox)), Task: task, Args: args, Kwargs: kwargs}
	if options.headers != nil {
		sent.Headers = *options.headers
	}
	if options.queue != nil {
		sent.Queue = *options.queue
	}
	if options.countdown != nil {
		sent.Countdown = *options.countdown
	}
	h.outbox = append(h.outbox, sent)
	return sent.ID, nil
}

func (h *Host) sendSignature(signature string) (string, error) {
	if err := h.offered(); err != nil {
		return "", err
	}
	value, _ := decodeAny(signature)
	fields, _ := value.(map[string]any)
	task, is := fields["task"].(string)
	if !is {
		return "", &hostError{ErrInvalid, "a signature is an object that names its task"}
	}
	options, _ := fields["options"].(map[string]any)
	id, is := options["task_id"].(string)
	if !is {
		id = fmt.Sprintf("%s-call-%d", h.TaskID, len(h.outbox))
	}
	args, _ := encode(fields["args"])
	kwargs, _ := encode(fields["kwargs"])
	h.outbox = append(h.outbox, Sent{ID: id, Task: task, Args: args, Kwargs: kwargs})
	return encode([]any{[]any{id, nil}, nil})
}

func (h *Host) addToChord(signature string) (string, error) {
	if !h.InChord {
		return "", &hostError{ErrInvalid, "this task is not a member of any chord"}
	}
	return h.sendSignature(signature)
}

func (h *Host) request() (string, error) {
	return encode(map[string]any{"id": h.TaskID, "retries": h.RetriesBefore, "headers": h.Headers, "root_id": nil, "group": nil})
}

func (h *Host) send(request Request) (*Response, error) {
	if err := h.offered(); err != nil {
		return nil, err
	}
	h.Requested = append(h.Requested, request)
	if h.Answer == nil {
		return nil, &hostError{ErrDenied, "nobody answers here: set Answer"}
	}
	return h.Answer(request)
}

var reserved = []string{"PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED", "REJECTED", "IGNORED", ""}

func (h *Host) progress(state, meta string) error {
	if err := h.offered(); err != nil {
		return err
	}
	if slices.Contains(reserved, state) {
		return &hostError{ErrInvalid, fmt.Sprintf("%q is not a state that a task may set", state)}
	}
	h.Shown = append(h.Shown, Shown{state, meta})
	return nil
}

func (h *Host) log(level Level, message, fields string) {
	h.Logged = append(h.Logged, Logged{level, message, fields})
}

func (h *Host) sleep(wait time.Duration) {
	h.Waited += wait
	if h.Soft != nil {
		left := max(0, *h.Soft-wait)
		h.Soft = &left
	}
}

func (h *Host) begin(name, input string, doubt Doubt) (begun, error) {
	if err := h.offered(); err != nil {
		return begun{}, err
	}
	if !h.HasLedger {
		return begun{}, &hostError{ErrUnavailable, "steps need a ledger, and this worker has none"}
	}
	if slices.Contains(h.begun, name) {
		return begun{}, &hostError{ErrInvalid, fmt.Sprintf("step %q was begun in this attempt", name)}
	}
	h.begun = append(h.begun, name)
	known := h.steps[name]
	if known != nil && known.input != input {
		return begun{}, &hostError{ErrInvalid, fmt.Sprintf("step %q was begun with another input", name)}
	}
	if known != nil && known.committed {
		return begun{value: known.value}, nil
	}
	step := &kept{input: input}
	h.steps[name] = step
	under := &underWay{host: h, name: name, step: step}
	if known == nil || doubt == DoAgain {
		return begun{handle: under}, nil
	}
	if doubt == Ask {
		return begun{handle: under, ambiguous: true}, nil
	}
	return begun{}, &hostError{ErrInvalid, fmt.Sprintf("nobody knows how step %q ended", name)}
}

type underWay struct {
	host *Host
	name string
	step *kept
}

func (u *underWay) key() string { return u.host.key() + ":" + u.name }

func (u *underWay) commit(value string) error {
	u.step.value, u.step.committed = value, true
	return nil
}

func (u *underWay) drop() {}

func (u *underWay) abandon() error {
	delete(u.host.steps, u.name)
	u.host.begun = slices.DeleteFunc(u.host.begun, func(name string) bool { return name == u.name })
	return nil
}
