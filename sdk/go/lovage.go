// Package lovage is for tasks in Go.
//
//	func charge(ctx *lovage.Ctx, order, cents int) (Receipt, error) {
//		if err := bank(order, cents); err != nil {
//			return Receipt{}, lovage.Retry(err).After(30 * time.Second)
//		}
//		return Receipt{order, cents}, nil
//	}
//
//	func init() {
//		lovage.Task("shop.charge", charge, lovage.Params("order", "cents"), lovage.MaxRetries(5),
//			lovage.IdempotencyKey("order:{order}"))
//	}
//
//	func main() {}
//
// `lovage build` makes a module of such a package, with the ordinary compiler. In a test, Host stands in for the
// host.
package lovage

import (
	"fmt"
	"reflect"
	"runtime"
	"sort"
	"strings"
)

// tasks are those of this module by their names.
var tasks = map[string]*task{}

// task is a function that was declared as a task.
type task struct {
	name     string
	run      reflect.Value
	params   []param
	variadic bool
	result   reflect.Type
	fails    bool
	retries  func(error) bool
	entry    map[string]any
}

// param is a parameter of a task.
type param struct {
	name     string
	kind     reflect.Type
	optional bool
	preset   string
}

var (
	ctxType   = reflect.TypeFor[*Ctx]()
	errorType = reflect.TypeFor[error]()
)

// Task declares that run is the task name. It is called from an init function.
//
// run takes a *Ctx and then the task's arguments, of any types that encoding/json can read, and returns a value,
// an error, both or nothing. Without Params its arguments come by position only. A parameter whose type is a pointer,
// or that Params gives a default, may be left out.
//
// It panics when name is taken, or run or an option makes no sense: a module that is wrong cannot be built.
func Task(name string, run any, options ...Option) {
	declared, err := declare(name, run, options)
	if err != nil {
		panic(fmt.Sprintf("task %s: %v", name, err))
	}
	if tasks[name] != nil {
		panic(fmt.Sprintf("two tasks have the name %q", name))
	}
	tasks[name] = declared
}

func declare(name string, run any, options []Option) (*task, error) {
	if len(name) == 0 || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r < 32 || r >= 127 && r < 160 }) {
		return nil, fmt.Errorf("a task's name has 1 to 255 bytes and no control characters")
	}
	function := reflect.ValueOf(run)
	kind := function.Type()
	if kind.Kind() != reflect.Func || kind.NumIn() == 0 || kind.In(0) != ctxType {
		return nil, fmt.Errorf("a task is a func(*lovage.Ctx, …), not %v", kind)
	}
	chosen := settings{retry: map[string]any{"max": 3, "on_failure": false}, limits: map[string]any{}, entry: map[string]any{}}
	for _, option := range options {
		option(&chosen)
	}
	if len(chosen.problems) > 0 {
		return nil, fmt.Errorf("%s", strings.Join(chosen.problems, "; "))
	}
	declared := &task{name: name, run: function, retries: chosen.retries, variadic: kind.IsVariadic(), entry: chosen.entry}
	if err := declared.returns(kind); err != nil {
		return nil, err
	}
	if err := declared.takes(kind, chosen.params); err != nil {
		return nil, err
	}
	if key, ok := chosen.idempotency["key"].(string); ok {
		if err := template(key, declared.names()); err != nil {
			return nil, err
		}
		declared.entry["idempotency"] = chosen.idempotency
	}
	if len(chosen.limits) > 0 {
		declared.entry["limits"] = chosen.limits
	}
	declared.entry["retry"] = chosen.retry
	return declared, nil
}

func (t *task) returns(kind reflect.Type) error {
	count := kind.NumOut()
	if count > 0 && kind.Out(count-1) == errorType {
		t.fails = true
		count--
	}
	if count > 1 {
		return fmt.Errorf("a task returns a value, an error, or both")
	}
	if count == 1 {
		t.result = kind.Out(0)
	}
	return nil
}

func (t *task) takes(kind reflect.Type, named []string) error {
	fixed := kind.NumIn() - 1
	if t.variadic {
		fixed--
	}
	if named != nil && len(named) != fixed {
		return fmt.Errorf("Params names %d parameters, and the function has %d", len(named), fixed)
	}
	for at := range fixed {
		one := param{kind: kind.In(at + 1)}
		one.optional = one.kind.Kind() == reflect.Pointer
		if named != nil {
			name, preset, has := strings.Cut(named[at], "=")
			one.name = name
			if has {
				one.optional = true
				one.preset = presetOf(preset)
			}
		}
		t.params = append(t.params, one)
	}
	return nil
}

// names are the parameters' names; those without one have none in the manifest either.
func (t *task) names() []string {
	names := []string{}
	for _, one := range t.params {
		if one.name != "" {
			names = append(names, one.name)
		}
	}
	return names
}

func (t *task) manifest() map[string]any {
	entry := map[string]any{"name": t.name, "params": t.names()}
	for field, value := range t.entry {
		entry[field] = value
	}
	if len(t.names()) == len(t.params) {
		properties, required := map[string]any{}, []string{}
		for _, one := range t.params {
			properties[one.name] = schemaOf(one.kind, nil)
			if !one.optional {
				required = append(required, one.name)
			}
		}
		entry["input_schema"] = map[string]any{
			"type": "object", "properties": properties, "required": required, "additionalProperties": t.variadic,
		}
	}
	if t.result != nil {
		if schema := schemaOf(t.result, nil); len(schema) > 0 {
			entry["output_schema"] = schema
		}
	}
	return entry
}

// Manifest is what the module says of itself: the same text whenever it is asked.
func Manifest() string {
	names := make([]string, 0, len(tasks))
	for name := range tasks {
		names = append(names, name)
	}
	sort.Strings(names)
	entries := make([]any, len(names))
	for at, name := range names {
		entries[at] = tasks[name].manifest()
	}
	whole := map[string]any{"v": 1, "abi": "lovage:task@0.1.0", "module": moduleName, "language": "go", "tasks": entries}
	text, err := encode(whole)
	if err != nil {
		panic(err)
	}
	return text
}

// moduleName is set by Module.
var moduleName = "main"

// Module names the module: callers see it as the place of the exceptions that it raises. Without it the name is `main`.
func Module(name string) {
	moduleName = name
}

// where is the file and line of a function.
func where(function reflect.Value) (string, int) {
	if found := runtime.FuncForPC(function.Pointer()); found != nil {
		return found.FileLine(found.Entry())
	}
	return "?", 0
}
