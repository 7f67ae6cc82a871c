package lovage

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"time"
)

// What the host says when a call cannot be honoured; errors.Is tells them apart.
var (
	// ErrSoftTimeLimit says that the soft time limit is over. Tidy up and return: the hard limit is near.
	ErrSoftTimeLimit = errors.New("the soft time limit is over")
	// ErrUnavailable says that the host offers nothing behind this call as it is configured.
	ErrUnavailable = errors.New("unavailable")
	// ErrInvalid says that the call itself is wrong.
	ErrInvalid = errors.New("invalid call")
	// ErrLimit says that a limit of this attempt is reached.
	ErrLimit = errors.New("limit reached")
	// ErrHost is anything else; taken to be transient.
	ErrHost = errors.New("the host failed")
)

// hostError is what the host said, of a kind.
type hostError struct {
	kind error
	text string
}

func (e *hostError) Error() string {
	if e.text == "" {
		return e.kind.Error()
	}
	return e.text
}

func (e *hostError) Unwrap() error { return e.kind }

// hostNames are what callers see of the host's errors.
var hostNames = map[error]string{
	ErrSoftTimeLimit: "SoftTimeLimitExceeded", ErrUnavailable: "Unavailable", ErrInvalid: "InvalidCall",
	ErrLimit: "LimitExceeded", ErrHost: "HostError",
}

// Named is an error that says what its caller's exception is called and made of. Other errors have the name of their
// Go type, and their text as their one argument.
type Named interface {
	error
	// Exception is the class's name and the constructor's arguments.
	Exception() (name string, args []any)
}

// Failure is an error with the place where it was made. Error, Trace, Retry and Reject make one.
type Failure struct {
	err    error
	name   string
	args   []any
	frames []runtime.Frame
	end    end
	after  *time.Duration
	// text is what a retry changes, or the signature that takes the task's place, as JSON.
	text string
}

// end is how an attempt ends that returns a Failure, in the contract's order.
type end int

const (
	failed end = iota
	rejected
	again
	ignored
	requeued
	replaced
)

// Error is an exception of the name, with the message and more arguments: what a Python caller would catch.
func Error(name, message string, args ...any) *Failure {
	return &Failure{err: errors.New(message), name: name, args: append([]any{message}, args...), frames: here()}
}

// Trace gives an error the place where it is, which the traceback then shows.
func Trace(err error) *Failure { return &Failure{err: err, frames: here()} }

// Retry asks to be run again because of err, when the policy says or After.
func Retry(err error) *Failure { return &Failure{err: err, frames: here(), end: again} }

// Reject fails for good: the task becomes a dead letter and is not run again.
func Reject(err error) *Failure { return &Failure{err: err, frames: here(), end: rejected} }

// Retryf is Retry of a new error.
func Retryf(format string, args ...any) *Failure {
	return &Failure{err: fmt.Errorf(format, args...), name: "Retry", frames: here(), end: again}
}

// Rejectf is Reject of a new error.
func Rejectf(format string, args ...any) *Failure {
	return &Failure{err: fmt.Errorf(format, args...), name: "Reject", frames: here(), end: rejected}
}

// Requeue puts the message back to its queue because of err: it is delivered again, as the same attempt.
func Requeue(err error) *Failure { return &Failure{err: err, frames: here(), end: requeued} }

// Ignore says that the task has seen to its end itself: nobody is told of one, and no result is written. What it sent
// leaves.
func Ignore() *Failure { return &Failure{err: errors.New("ignored"), name: "Ignore", end: ignored} }

// Replace has another signature, in Celery's JSON form, take this task's place: its id, and whatever was to follow it.
// One without a JSON form fails the task.
func Replace(signature any) *Failure {
	text, err := encode(signature)
	if err != nil {
		return &Failure{err: err, name: "EncodeError", frames: here()}
	}
	return &Failure{err: errors.New("replaced"), name: "Ignore", end: replaced, text: text}
}

// After says when it is run again.
func (f *Failure) After(wait time.Duration) *Failure {
	f.after = &wait
	return f
}

// With says what the next attempt has other than this one: options of Celery's Task.retry by their names, such as args,
// kwargs, queue. What has no JSON form changes nothing.
func (f *Failure) With(options map[string]any) *Failure {
	if text, err := encode(options); err == nil {
		f.text = text
	}
	return f
}

// Error is the error's text.
func (f *Failure) Error() string { return f.err.Error() }

// Unwrap is the error itself.
func (f *Failure) Unwrap() error { return f.err }

// framesMax bounds the frames of one traceback.
const framesMax = 40

func here() []runtime.Frame {
	callers := make([]uintptr, framesMax)
	return framesOf(callers[:runtime.Callers(3, callers)])
}

// own is what the names of this package's functions begin with.
const own = "example.invalid/lovage/sdk/go."

// framesOf are the author's frames, the innermost first.
func framesOf(callers []uintptr) []runtime.Frame {
	var found []runtime.Frame
	frames := runtime.CallersFrames(callers)
	for more := len(callers) > 0; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		ours := strings.HasPrefix(frame.Function, own) && !strings.HasSuffix(frame.File, "_test.go")
		hidden := ours || strings.HasPrefix(frame.Function, "runtime.") ||
			strings.HasPrefix(frame.Function, "reflect.") || frame.Function == "" || frame.File == "<autogenerated>"
		if !hidden {
			found = append(found, frame)
		}
	}
	return found
}

// ended is an attempt that did not succeed, in the contract's words.
type ended struct {
	end    end
	name   string
	module string
	args   string
	trace  string
	after  *time.Duration
	text   string
}

// modules are where Python's callers find classes that are Celery's.
var modules = map[string]string{
	"Retry": "celery.exceptions", "Reject": "celery.exceptions", "NotRegistered": "celery.exceptions",
	"SoftTimeLimitExceeded": "billiard.exceptions", "DecodeError": "kombu.exceptions", "EncodeError": "kombu.exceptions",
}

// endOf is how an attempt ends that returned err.
func endOf(err error, t *task) *ended {
	found := &ended{}
	var frames []runtime.Frame
	if failure, is := errors.AsType[*Failure](err); is {
		found.end, found.after, found.text, frames = failure.end, failure.after, failure.text, failure.frames
	}
	if _, is := errors.AsType[mismatch](err); is {
		found.end = rejected
	}
	if found.end == failed && t != nil && t.retries != nil && t.retries(err) {
		found.end = again
	}
	found.name, found.args = described(err)
	found.module = modules[found.name]
	if frames == nil && t != nil {
		// Go's errors do not know where they were made; the task's own line is better than none.
		file, line := where(t.run)
		frames = []runtime.Frame{{Function: runtime.FuncForPC(t.run.Pointer()).Name(), File: file, Line: line}}
	}
	if _, is := errors.AsType[mismatch](err); !is {
		found.trace = trace(frames, found.name, err.Error())
	}
	return found
}

// described is the name and the arguments of an error as a caller sees it.
func described(err error) (string, string) {
	name, args := "", []any{err.Error()}
	if failure, is := errors.AsType[*Failure](err); is && failure.name != "" {
		name = failure.name
		if failure.args != nil {
			args = failure.args
		}
	} else if named, is := errors.AsType[Named](err); is {
		name, args = named.Exception()
	} else {
		name = typeName(err)
	}
	text, problem := encode(args)
	if problem != nil {
		text, _ = encode([]any{err.Error()})
	}
	return name, text
}

func typeName(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		switch found := inner.(type) {
		case *Failure:
			continue
		case mismatch:
			return "TypeError"
		case *hostError:
			return hostNames[found.kind]
		}
		if name, ok := hostNames[inner]; ok {
			return name
		}
		if _, is := inner.(runtime.Error); is {
			return "RuntimeError"
		}
		kind := reflect.TypeOf(inner)
		for kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		plain := kind.PkgPath() == "errors" || kind.PkgPath() == "fmt"
		if !plain && kind.Name() != "" {
			return kind.Name()
		}
	}
	return "Error"
}

// trace is what a person reads: the author's frames, the innermost last.
func trace(frames []runtime.Frame, name, text string) string {
	var lines strings.Builder
	if len(frames) > 0 {
		lines.WriteString("Traceback (most recent call last):\n")
	}
	for at := len(frames) - 1; at >= 0; at-- {
		frame := frames[at]
		function := frame.Function[strings.LastIndexByte(frame.Function, '/')+1:]
		_, function, _ = strings.Cut(function, ".")
		fmt.Fprintf(&lines, "  File %q, line %d, in %s\n", shown(frame.File), frame.Line, function)
	}
	fmt.Fprintf(&lines, "%s: %s\n", name, text)
	return lines.String()
}

// shown is a file as its author knows it: from the folder of the module's tasks on.
func shown(file string) string {
	for _, one := range tasks {
		home, _ := where(one.run)
		if folder := home[:strings.LastIndexByte(home, '/')+1]; strings.HasPrefix(file, folder) {
			return file[len(folder):]
		}
	}
	return file
}
