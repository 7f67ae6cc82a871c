package lovage

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// decodeInto reads a value into what target points to; where says what it is called.
func decodeInto(text string, target reflect.Value, where string) error {
	switch kind := target.Type().Elem(); {
	case kind == reflect.TypeFor[any]():
		value, err := decodeAny(text)
		if value != nil {
			target.Elem().Set(reflect.ValueOf(value))
		}
		return err
	case kind.Kind() == reflect.Float64 || kind.Kind() == reflect.Float32:
		if text == "NaN" || strings.HasSuffix(text, "Infinity") {
			value, err := strconv.ParseFloat(text, 64)
			target.Elem().SetFloat(value)
			return err
		}
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	err := decoder.Decode(target.Interface())
	if wrong, is := errors.AsType[*json.UnmarshalTypeError](err); is {
		if wrong.Field != "" {
			where += "." + wrong.Field
		}
		return mismatch{fmt.Sprintf("%s must be %s, not %s", where, nameOf(wrong.Type), wrong.Value)}
	}
	if err != nil {
		return mismatch{fmt.Sprintf("%s: %v", where, err)}
	}
	return missing(text, target.Elem(), where)
}

// missing looks whether the fields of a struct that have to be there are.
func missing(text string, value reflect.Value, where string) error {
	if value.Kind() != reflect.Struct {
		return nil
	}
	schema := schemaOf(value.Type(), nil)
	required, _ := schema["required"].([]string)
	var fields map[string]json.RawMessage
	if len(required) == 0 || json.Unmarshal([]byte(text), &fields) != nil {
		return nil
	}
	for _, name := range required {
		if _, ok := fields[name]; !ok {
			return mismatch{fmt.Sprintf("%s lacks the field %q", where, name)}
		}
	}
	return nil
}

// mismatch says that an argument is not what the task takes: a TypeError, which no retry mends.
type mismatch struct{ text string }

func (m mismatch) Error() string { return m.text }

func nameOf(kind reflect.Type) string {
	if name, ok := schemaOf(kind, nil)["type"].(string); ok {
		return name
	}
	return kind.String()
}

func kindOf(text []byte) string {
	switch {
	case len(text) == 0 || text[0] == 'n':
		return "null"
	case text[0] == '"':
		return "string"
	case text[0] == '{':
		return "object"
	case text[0] == '[':
		return "array"
	}
	return "bool"
}
