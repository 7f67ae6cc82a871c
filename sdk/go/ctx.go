package lovage

import (
	"context"
	"time"
)

// attempt is the running attempt, as the contract's `context.attempt` has it.
type attempt struct {
	taskID, rootID, parentID, groupID string
	retries                           uint32
	maxRetries                        *uint32
	idempotencyKey, queue             string
	eta, expires                      string
	redelivered                       bool
	headers                           string
}

// host is who answers a task's questions: the worker in a module, Host in a test.
type host interface {
	current() attempt
	timeLeft() (soft *time.Duration, hard time.Duration)
	revoked() bool
	put(task, args, kwargs string, options callOptions) (string, error)
	sendSignature(signature string) (string, error)
	addToChord(signature string) (string, error)
	request() (string, error)
	progress(state, meta string) error
	log(level Level, message, fields string)
	begin(name, input string, doubt Doubt) (begun, error)
	sleep(time.Duration)
}

// handle is a step that is under way.
type handle interface {
	key() string
	commit(value string) error
	abandon() error
	// drop gives the host's handle back.
	drop()
}

// begun is how a step begins: with a handle, or with the value that it has.
type begun struct {
	handle    handle
	ambiguous bool
	value     string
}

// callOptions is the contract's `outbox.options`.
type callOptions struct {
	queue              *string
	countdown, expires *time.Duration
	priority           *uint8
	ignoreResult       bool
	headers            *string
}

// Level is how much a log line matters.
type Level uint8

// The levels of log lines.
const (
	Tracing Level = iota
	Debug
	Info
	Warn
	Err
)

// Doubt says what is to happen when a step was begun before and nobody knows whether its effect took place.
type Doubt uint8

const (
	// DoAgain does it again: right where the receiver de-duplicates on Step.Key.
	DoAgain Doubt = iota
	// Park parks the task until a person decides.
	Park
	// Ask calls the effect with Step.Ambiguous set.
	Ask
)

// Ctx is the running attempt, a task's first argument. It is a context.Context whose deadline is the soft limit, or
// else the hard one; it ends when that is over.
type Ctx struct {
	context.Context
	host host
	seen *attempt
}

// told is the attempt; the host is asked when the task asks.
func (c *Ctx) told() *attempt {
	if c.seen == nil {
		found := c.host.current()
		c.seen = &found
	}
	return c.seen
}

func newCtx(answering host) *Ctx {
	return &Ctx{Context: context.Background(), host: answering}
}

// Deadline is the soft limit, or else the hard one.
func (c *Ctx) Deadline() (time.Time, bool) {
	soft, hard := c.host.timeLeft()
	if soft != nil {
		return time.Now().Add(*soft), true
	}
	return time.Now().Add(hard), true
}

// Err is ErrSoftTimeLimit when the soft limit is over, and context.Canceled when the task was revoked.
func (c *Ctx) Err() error {
	if soft, _ := c.host.timeLeft(); soft != nil && *soft == 0 {
		return ErrSoftTimeLimit
	}
	if c.host.revoked() {
		return context.Canceled
	}
	return nil
}

// TaskID is the task's id: the same over all its attempts.
func (c *Ctx) TaskID() string { return c.told().taskID }

// RootID is the first task of the tree that this one belongs to, or "".
func (c *Ctx) RootID() string { return c.told().rootID }

// ParentID is the task that sent this one, or "".
func (c *Ctx) ParentID() string { return c.told().parentID }

// GroupID is the group that this task is a member of, or "".
func (c *Ctx) GroupID() string { return c.told().groupID }

// Retries is how often the task was retried before this attempt.
func (c *Ctx) Retries() int { return int(c.told().retries) }

// MaxRetries is how many retries the policy allows; false is no bound.
func (c *Ctx) MaxRetries() (int, bool) {
	if c.told().maxRetries == nil {
		return 0, false
	}
	return int(*c.told().maxRetries), true
}

// IdempotencyKey is the key under which this task happens once.
func (c *Ctx) IdempotencyKey() string { return c.told().idempotencyKey }

// Queue is where the message came from.
func (c *Ctx) Queue() string { return c.told().queue }

// ETA is when the caller wanted the task to run, in ISO 8601, or "".
func (c *Ctx) ETA() string { return c.told().eta }

// Expires is when the task is no longer wanted, in ISO 8601, or "".
func (c *Ctx) Expires() string { return c.told().expires }

// Redelivered says whether the broker delivered this message before.
func (c *Ctx) Redelivered() bool { return c.told().redelivered }

// Headers are all headers of the message.
func (c *Ctx) Headers() map[string]any {
	value, _ := decodeAny(c.told().headers)
	headers, _ := value.(map[string]any)
	return headers
}

// TimeLeft is until the attempt is ended.
func (c *Ctx) TimeLeft() time.Duration {
	_, hard := c.host.timeLeft()
	return hard
}

// SoftTimeLeft is until the soft limit; false where there is none.
func (c *Ctx) SoftTimeLeft() (time.Duration, bool) {
	soft, _ := c.host.timeLeft()
	if soft == nil {
		return 0, false
	}
	return *soft, true
}

// Revoked says whether the task was revoked while it ran; who can stop early asks now and then.
func (c *Ctx) Revoked() bool { return c.host.revoked() }

// Sleep waits; other tasks run meanwhile. It ends with ErrSoftTimeLimit when the soft limit comes first.
func (c *Ctx) Sleep(wait time.Duration) error {
	soft, _ := c.host.timeLeft()
	if soft != nil && wait >= *soft {
		c.host.sleep(*soft)
		return ErrSoftTimeLimit
	}
	c.host.sleep(wait)
	return nil
}

// Progress shows a state such as PROGRESS to whoever asks for the result.
func (c *Ctx) Progress(state string, meta any) error {
	text, err := encode(meta)
	if err != nil {
		return err
	}
	return c.host.progress(state, text)
}

// Log writes one line; fields are names and values in turns.
func (c *Ctx) Log(level Level, message string, fields ...any) {
	text := ""
	if len(fields) > 1 {
		named := map[string]any{}
		for at := 0; at+1 < len(fields); at += 2 {
			if name, is := fields[at].(string); is {
				named[name] = fields[at+1]
			}
		}
		text, _ = encode(named)
	}
	c.host.log(level, message, text)
}

// Call is how another task is called. Times count from the moment that this attempt succeeds.
type Call struct {
	Args   []any
	Kwargs map[string]any
	// Queue is the one that the host's routing names when it is "".
	Queue string
	// Countdown is the earliest start, Expires from when on the call is no longer wanted; 0 is not said.
	Countdown, Expires time.Duration
	// Priority is 0 to 9 in the broker's own meaning; nil is not said.
	Priority     *uint8
	IgnoreResult bool
	Headers      map[string]any
	// IdempotencyKey is the key under which the call happens once.
	IdempotencyKey string
}

// Send calls another task if this attempt succeeds; the id that the call will have.
func (c *Ctx) Send(task string, args ...any) (string, error) {
	return c.Call(task, Call{Args: args})
}

// Call is Send with options.
func (c *Ctx) Call(task string, call Call) (string, error) {
	if call.Args == nil {
		call.Args = []any{}
	}
	if call.Kwargs == nil {
		call.Kwargs = map[string]any{}
	}
	args, err := encode(call.Args)
	if err != nil {
		return "", err
	}
	kwargs, err := encode(call.Kwargs)
	if err != nil {
		return "", err
	}
	options := callOptions{priority: call.Priority, ignoreResult: call.IgnoreResult}
	if call.Queue != "" {
		options.queue = &call.Queue
	}
	if call.Countdown > 0 {
		options.countdown = &call.Countdown
	}
	if call.Expires > 0 {
		options.expires = &call.Expires
	}
	headers := map[string]any{}
	for name, value := range call.Headers {
		headers[name] = value
	}
	if call.IdempotencyKey != "" {
		headers["idempotency-key"] = call.IdempotencyKey
	}
	if len(headers) > 0 {
		text, err := encode(headers)
		if err != nil {
			return "", err
		}
		options.headers = &text
	}
	return c.host.put(task, args, kwargs, options)
}

// SendSignature sends any signature of Celery's (a task, chain, group, chord, …) in its JSON form if this attempt
// succeeds; the tuple of its result, [[id, parent], children].
func (c *Ctx) SendSignature(signature any) (any, error) { return told(c.host.sendSignature, signature) }

// AddToChord sends a signature as one more member of the chord that this task is a member of: the body waits for it, too.
func (c *Ctx) AddToChord(signature any) (any, error) { return told(c.host.addToChord, signature) }

func told(send func(string) (string, error), signature any) (any, error) {
	text, err := encode(signature)
	if err != nil {
		return nil, err
	}
	if text, err = send(text); err != nil {
		return nil, err
	}
	return decodeAny(text)
}

// Request is everything that Celery's Task.request has, by Celery's names. It is asked for outside of the sandbox.
func (c *Ctx) Request() (map[string]any, error) {
	text, err := c.host.request()
	if err != nil {
		return nil, err
	}
	value, err := decodeAny(text)
	request, _ := value.(map[string]any)
	return request, err
}

// Step is a step that is under way, handed to the function that carries out its effect.
type Step struct {
	// Ambiguous says whether it was begun before and nobody knows how it ended (only with Ask).
	Ambiguous bool
	handle    handle
	abandoned bool
}

// Key is what to hand to whoever carries out the effect; the same over all attempts.
func (s *Step) Key() string { return s.handle.key() }

// Abandon says that the effect did not take place. The step may be begun again.
func (s *Step) Abandon() error {
	s.abandoned = true
	return s.handle.abandon()
}

// Once carries out effect once over all attempts, and returns what came of it.
//
// What effect returns is kept (at most 64 KiB of JSON): a later attempt is handed that value and the effect is not
// repeated. input is what the effect depends on; a step that is found again with another input is refused. An effect
// that fails leaves its step in doubt, unless it called Step.Abandon.
func Once[T any](c *Ctx, name string, doubt Doubt, input any, effect func(*Step) (T, error)) (T, error) {
	var value T
	text, err := encode(input)
	if err != nil {
		return value, err
	}
	found, err := c.host.begin(name, text, doubt)
	if err != nil {
		return value, err
	}
	if found.handle == nil {
		return value, decodeStep(found.value, &value)
	}
	step := &Step{Ambiguous: found.ambiguous, handle: found.handle}
	if value, err = effect(step); err != nil || step.abandoned {
		return value, err
	}
	if text, err = encode(value); err != nil {
		return value, err
	}
	if err = found.handle.commit(text); err != nil {
		return value, err
	}
	found.handle.drop()
	// What a later attempt is handed, so that all attempts see the same.
	var again T
	return again, decodeStep(text, &again)
}
