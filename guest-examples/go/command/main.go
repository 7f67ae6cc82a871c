// Tasks without an SDK, in Go: a program that reads JSON and prints JSON.
//
// Standard input is one object with task, id, args, kwargs, attempt (from 1) and idempotency_key;
// manifest.json beside this file says which tasks there are.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// retry is EX_TEMPFAIL of sysexits.h: to be run again.
const retry = 75

type call struct {
	Task    string                     `json:"task"`
	Args    []json.RawMessage          `json:"args"`
	Kwargs  map[string]json.RawMessage `json:"kwargs"`
	Attempt int                        `json:"attempt"`
	Key     string                     `json:"idempotency_key"`
}

// argument reads the one at a position or of a name into value.
func (c call) argument(position int, name string, value any) {
	text, ok := c.Kwargs[name]
	if position < len(c.Args) {
		text, ok = c.Args[position], true
	}
	if !ok {
		return
	}
	if err := json.Unmarshal(text, value); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

func main() {
	var c call
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answer, status := run(c)
	if answer != nil {
		_ = json.NewEncoder(os.Stdout).Encode(answer)
	}
	os.Exit(status)
}

// run answers with what to print and the status to end with.
func run(c call) (any, int) {
	switch c.Task {
	case "conformance.add":
		var x, y int
		c.argument(0, "x", &x)
		c.argument(1, "y", &y)
		return x + y, 0
	case "conformance.echo":
		var value json.RawMessage
		c.argument(0, "value", &value)
		return value, 0
	case "conformance.fail":
		var message string
		c.argument(0, "message", &message)
		fmt.Fprintln(os.Stderr, message)
		return nil, 1
	case "conformance.log":
		fmt.Fprintln(os.Stderr, "a line on standard error")
		return nil, 0
	case "conformance.once":
		return c.Key, 0
	default:
		after := 0.1
		c.argument(0, "after", &after)
		if c.Attempt <= 2 {
			return map[string]any{"retry": map[string]any{"after": after}}, retry
		}
		return c.Attempt - 1, 0
	}
}
