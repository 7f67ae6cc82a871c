package lovage

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Option says something about a task.
type Option func(*settings)

// settings is what options write to.
type settings struct {
	params      []string
	retries     func(error) bool
	retry       map[string]any
	limits      map[string]any
	idempotency map[string]any
	entry       map[string]any
	problems    []string
}

// Params names the parameters after the context, so that callers may give them by name. "after=0.1" has a default:
// a JSON value, or else a text.
func Params(names ...string) Option {
	return func(s *settings) { s.params = append([]string{}, names...) }
}

func presetOf(text string) string {
	if json.Valid([]byte(text)) {
		return text
	}
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

// Doc says what the task does, for people.
func Doc(text string) Option { return field("doc", text) }

// MaxRetries bounds the retries after the first attempt. Without it there are 3.
func MaxRetries(count int) Option { return retry("max", count) }

// EndlessRetries takes the bound away.
func EndlessRetries() Option { return retry("max", nil) }

// RetryAll retries every failure, also a trap and a time limit. Without it only Retry and RetryOn are retried.
func RetryAll() Option { return retry("on_failure", true) }

// RetryOn retries errors in whose chain there is an E.
func RetryOn[E error]() Option {
	return RetryIf(func(err error) bool {
		_, is := errors.AsType[E](err)
		return is
	})
}

// RetryIf retries errors of which is says so.
func RetryIf(is func(error) bool) Option {
	return func(s *settings) {
		before := s.retries
		s.retries = func(err error) bool { return before != nil && before(err) || is(err) }
	}
}

// Delay waits as long before each retry.
func Delay(delay time.Duration) Option {
	return func(s *settings) { s.retry["backoff"], s.retry["delay_s"] = "fixed", delay.Seconds() }
}

// Backoff waits twice as long before each retry as before the last, from a second to ten minutes, with jitter.
func Backoff() Option { return retry("backoff", "exponential") }

// CeleryBackoff waits as Celery's retry_backoff does.
func CeleryBackoff() Option { return retry("backoff", "celery") }

// BackoffBase is the first delay of Backoff before jitter.
func BackoffBase(delay time.Duration) Option { return retry("base_s", delay.Seconds()) }

// BackoffFactor is what a delay is multiplied by.
func BackoffFactor(factor float64) Option { return retry("factor", factor) }

// BackoffCap is the longest delay.
func BackoffCap(delay time.Duration) Option { return retry("cap_s", delay.Seconds()) }

// Jitter says how chance enters: none, full, equal or celery.
func Jitter(kind string) Option { return retry("jitter", kind) }

// MaxElapsed is how long after the first attempt began a retry may start.
func MaxElapsed(time time.Duration) Option { return retry("max_elapsed_s", time.Seconds()) }

// IdempotencyKey is a template over the parameters, such as "order:{order_id}" or "order:{0}".
func IdempotencyKey(template string) Option { return idempotency("key", template) }

// IdempotencyTTL is how long the key is remembered.
func IdempotencyTTL(time time.Duration) Option { return idempotency("ttl_s", int(time.Seconds())) }

// TimeLimit is until the attempt is ended.
func TimeLimit(limit time.Duration) Option { return bound("time_ms", limit.Milliseconds()) }

// SoftTimeLimit is until host calls answer with ErrSoftTimeLimit.
func SoftTimeLimit(limit time.Duration) Option { return bound("soft_time_ms", limit.Milliseconds()) }

// CPUTimeLimit is CPU time until the attempt is ended.
func CPUTimeLimit(limit time.Duration) Option { return bound("cpu_time_ms", limit.Milliseconds()) }

// Memory bounds all memory of an attempt, in bytes.
func Memory(bytes int64) Option { return bound("memory_bytes", bytes) }

// Fuel bounds the instructions of an attempt, about one unit each.
func Fuel(units int64) Option { return bound("fuel", units) }

// Output bounds the result's JSON text, in bytes.
func Output(bytes int64) Option { return bound("output_bytes", bytes) }

// Queue is where calls from other tasks go when they name none.
func Queue(name string) Option { return field("queue", name) }

// RateLimit is how often the task starts, in Celery's form: "10/s", "100/m".
func RateLimit(rate string) Option { return field("rate_limit", rate) }

// Schedule runs the task by itself: a cron expression of five fields, in UTC.
func Schedule(cron string) Option { return field("schedule", cron) }

// Capabilities are what the task asks the operator for.
func Capabilities(names ...string) Option { return field("capabilities", names) }

// IgnoreResult says that nobody wants the result.
func IgnoreResult() Option { return field("ignore_result", true) }

// AcksEarly acknowledges the message before the task starts: it is lost when the worker dies.
func AcksEarly() Option { return field("acks_late", false) }

// Reuse lets so many attempts share an instance, one after another. What one leaves in globals the next finds.
func Reuse(attempts int) Option { return field("reuse", attempts) }

func field(name string, value any) Option { return func(s *settings) { s.entry[name] = value } }

func retry(name string, value any) Option { return func(s *settings) { s.retry[name] = value } }

func bound(name string, value int64) Option {
	return func(s *settings) {
		if value <= 0 {
			s.problems = append(s.problems, fmt.Sprintf("%s: %d is no bound", name, value))
		}
		s.limits[name] = value
	}
}

func idempotency(name string, value any) Option {
	return func(s *settings) {
		if s.idempotency == nil {
			s.idempotency = map[string]any{}
		}
		s.idempotency[name] = value
	}
}

// template checks that each {…} of a key template names a parameter, or one by its position.
func template(text string, params []string) error {
	rest := text
	for strings.ContainsAny(rest, "{}") {
		before, after, opened := strings.Cut(rest, "{")
		name, left, closed := strings.Cut(after, "}")
		if !opened || !closed || strings.Contains(before, "}") || strings.Contains(name, "{") {
			return fmt.Errorf("IdempotencyKey %q: a brace is left open", text)
		}
		root, _, _ := strings.Cut(name, ".")
		known := false
		if place, err := strconv.Atoi(root); err == nil {
			known = place < len(params)
		}
		for _, param := range params {
			known = known || param == root
		}
		if !known {
			return fmt.Errorf("IdempotencyKey %q: the task has no parameter %q (Params names them)", text, root)
		}
		rest = left
	}
	return nil
}
