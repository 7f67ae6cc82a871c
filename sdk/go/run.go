package lovage

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
)

// decodeStep reads the value of a step.
func decodeStep(text string, into any) error {
	return decodeInto(text, reflect.ValueOf(into), "the step's value")
}

// run runs one attempt of the task name, from JSON to JSON.
func run(answering host, name, args, kwargs string) (text string, end *ended) {
	t := tasks[name]
	if t == nil {
		quoted, _ := encode([]any{name})
		return "", &ended{end: rejected, name: "NotRegistered", module: modules["NotRegistered"], args: quoted}
	}
	defer func() {
		if thrown := recover(); thrown != nil {
			text, end = "", endOf(panicked(thrown), t)
		}
	}()
	before := runtime.NumGoroutine()
	value, err := t.call(newCtx(answering), args, kwargs)
	if err == nil {
		err = alone(before)
	}
	if err != nil {
		return "", endOf(err, t)
	}
	if text, err = encode(value); err != nil {
		quoted, _ := encode([]any{err.Error()})
		return "", &ended{end: failed, name: "EncodeError", module: modules["EncodeError"], args: quoted}
	}
	return text, nil
}

// panicked is a panic as an error, with the frames that led to it.
func panicked(thrown any) *Failure {
	callers := make([]uintptr, framesMax)
	frames := framesOf(callers[:runtime.Callers(4, callers)])
	if failure, is := thrown.(*Failure); is {
		return failure
	}
	if err, is := thrown.(error); is {
		return &Failure{err: err, frames: frames}
	}
	return &Failure{err: fmt.Errorf("%v", thrown), name: "Panic", frames: frames}
}

// alone looks whether goroutines are left that the attempt started. What they do after its end would be lost with its
// instance, or be met by the next attempt that shares it.
func alone(before int) error {
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return nil
		}
		// Those that are done may not have had the time to end.
		runtime.Gosched()
	}
	left := runtime.NumGoroutine() - before
	return &Failure{name: "GoroutinesLeft", err: fmt.Errorf("%d goroutines still run when the task returns: wait for them", left)}
}

func (t *task) call(ctx *Ctx, args, kwargs string) (any, error) {
	given, err := splitArray(args)
	if err != nil {
		return nil, &Failure{name: "DecodeError", err: err, end: rejected}
	}
	named, err := splitObject(kwargs)
	if err != nil {
		return nil, &Failure{name: "DecodeError", err: err, end: rejected}
	}
	values, err := t.bind(given, named)
	if err != nil {
		return nil, err
	}
	results := t.run.Call(append([]reflect.Value{reflect.ValueOf(ctx)}, values...))
	if t.fails {
		if err, _ := results[len(results)-1].Interface().(error); err != nil && !isNil(err) {
			return nil, err
		}
	}
	if t.result == nil {
		return nil, nil
	}
	return results[0].Interface(), nil
}

// isNil says whether an error is a nil pointer in an interface, as a function makes that returns a *Failure.
func isNil(err error) bool {
	value := reflect.ValueOf(err)
	return value.Kind() == reflect.Pointer && value.IsNil()
}

func (t *task) bind(given []string, named map[string]string) ([]reflect.Value, error) {
	if len(given) > len(t.params) && !t.variadic {
		return nil, mismatch{fmt.Sprintf("%s() takes %d arguments but %d were given", t.name, len(t.params), len(given))}
	}
	texts := make([]string, len(t.params), max(len(t.params), len(given)))
	copy(texts, given)
	for name, text := range named {
		place := -1
		for at, one := range t.params {
			if one.name == name && name != "" {
				place = at
			}
		}
		if place < 0 {
			return nil, mismatch{fmt.Sprintf("%s() has no parameter %q", t.name, name)}
		}
		if texts[place] != "" {
			return nil, mismatch{fmt.Sprintf("%s() got %q by position and by name", t.name, name)}
		}
		texts[place] = text
	}
	var values []reflect.Value
	for at, one := range t.params {
		value, err := t.bindOne(at, one, texts[at])
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	for at := len(t.params); at < len(given); at++ {
		value := reflect.New(t.run.Type().In(len(t.params) + 1).Elem())
		if err := decodeInto(given[at], value, fmt.Sprintf("argument %d", at)); err != nil {
			return nil, asMismatch(err)
		}
		values = append(values, value.Elem())
	}
	return values, nil
}

func (t *task) bindOne(at int, one param, text string) (reflect.Value, error) {
	value := reflect.New(one.kind)
	name := one.name
	if name == "" {
		name = fmt.Sprintf("argument %d", at)
	}
	if text == "" {
		if !one.optional {
			return value.Elem(), mismatch{fmt.Sprintf("%s() lacks the argument %q", t.name, name)}
		}
		text = one.preset
	}
	if text == "" {
		return value.Elem(), nil
	}
	if text == "null" && schemaOf(one.kind, nil)["type"] != nil {
		return value.Elem(), mismatch{fmt.Sprintf("%s must be %s, not null", name, nameOf(one.kind))}
	}
	return value.Elem(), asMismatch(decodeInto(text, value, name))
}

func asMismatch(err error) error {
	if err == nil {
		return nil
	}
	if _, is := errors.AsType[mismatch](err); is {
		return err
	}
	return mismatch{err.Error()}
}
