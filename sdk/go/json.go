package lovage

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Number is a JSON number as it was written, so that no digit is lost. Python's NaN, Infinity and -Infinity are
// numbers, too. In a value of type any every number is a Number.
type Number string

// String is the number's text.
func (n Number) String() string { return string(n) }

// Float64 is the nearest float64.
func (n Number) Float64() (float64, error) { return strconv.ParseFloat(string(n), 64) }

// Int64 is the number, if it is an integer of that size.
func (n Number) Int64() (int64, error) { return strconv.ParseInt(string(n), 10, 64) }

// MarshalJSON writes the number's text.
func (n Number) MarshalJSON() ([]byte, error) {
	if n == "" {
		return []byte("0"), nil
	}
	return []byte(n), nil
}

// UnmarshalJSON takes any number's text.
func (n *Number) UnmarshalJSON(text []byte) error {
	if len(text) == 0 || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		return &json.UnmarshalTypeError{Value: kindOf(text), Type: reflect.TypeFor[Number]()}
	}
	*n = Number(text)
	return nil
}

// depthMax is how deep values may be nested.
const depthMax = 1000

// reader reads JSON as Python writes it.
type reader struct {
	text string
	at   int
}

// decodeAny reads a text into nil, bool, Number, string, []any and map[string]any. A lone surrogate becomes the three
// bytes that it would have, which encode turns into an escape again.
func decodeAny(text string) (any, error) {
	r := &reader{text: text}
	value, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.blank(); r.at < len(r.text) {
		return nil, r.wrong()
	}
	return value, nil
}

func (r *reader) wrong() error { return fmt.Errorf("no JSON value at byte %d", r.at) }

func (r *reader) blank() {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.at++
	}
}

func (r *reader) takes(sign byte) bool {
	r.blank()
	if r.at < len(r.text) && r.text[r.at] == sign {
		r.at++
		return true
	}
	return false
}

func (r *reader) value(depth int) (any, error) {
	r.blank()
	if r.at >= len(r.text) || depth > depthMax {
		return nil, r.wrong()
	}
	switch r.text[r.at] {
	case '{':
		return r.object(depth)
	case '[':
		return r.array(depth)
	case '"':
		return r.string()
	}
	for _, word := range words {
		if strings.HasPrefix(r.text[r.at:], word.text) {
			r.at += len(word.text)
			return word.value, nil
		}
	}
	return r.number()
}

var words = []struct {
	text  string
	value any
}{
	{"null", nil}, {"true", true}, {"false", false},
	{"NaN", Number("NaN")}, {"Infinity", Number("Infinity")}, {"-Infinity", Number("-Infinity")},
}

func (r *reader) object(depth int) (any, error) {
	found := map[string]any{}
	r.at++
	if r.takes('}') {
		return found, nil
	}
	for {
		r.blank()
		if r.at >= len(r.text) || r.text[r.at] != '"' {
			return nil, r.wrong()
		}
		name, err := r.string()
		if err != nil {
			return nil, err
		}
		if !r.takes(':') {
			return nil, r.wrong()
		}
		if found[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
		if r.takes('}') {
			return found, nil
		}
		if !r.takes(',') {
			return nil, r.wrong()
		}
	}
}

func (r *reader) array(depth int) (any, error) {
	found := []any{}
	r.at++
	if r.takes(']') {
		return found, nil
	}
	for {
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		found = append(found, value)
		if r.takes(']') {
			return found, nil
		}
		if !r.takes(',') {
			return nil, r.wrong()
		}
	}
}

func (r *reader) string() (string, error) {
	start := r.at + 1
	for at := start; at < len(r.text); at++ {
		switch sign := r.text[at]; {
		case sign == '"':
			r.at = at + 1
			return r.text[start:at], nil
		case sign < 32:
			r.at = at
			return "", r.wrong()
		case sign == '\\':
			return r.escaped(start)
		}
	}
	r.at = len(r.text)
	return "", r.wrong()
}

var escapes = map[byte]string{
	'"': `"`, '\\': `\`, '/': "/", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t",
}

func (r *reader) escaped(start int) (string, error) {
	var text []byte
	for r.at = start; r.at < len(r.text); r.at++ {
		sign := r.text[r.at]
		if sign == '"' {
			r.at++
			return string(text), nil
		}
		if sign < 32 {
			return "", r.wrong()
		}
		if sign != '\\' {
			text = append(text, sign)
			continue
		}
		r.at++
		if r.at >= len(r.text) {
			return "", r.wrong()
		}
		if plain, ok := escapes[r.text[r.at]]; ok {
			text = append(text, plain...)
			continue
		}
		unit, ok := r.unit(r.at)
		if !ok {
			return "", r.wrong()
		}
		r.at += 4
		if low, ok := r.unit(r.at + 2); ok && utf16.IsSurrogate(unit) && r.text[r.at+1] == '\\' {
			if both := utf16.DecodeRune(unit, low); both != utf8.RuneError {
				text = utf8.AppendRune(text, both)
				r.at += 6
				continue
			}
		}
		text = appendUnit(text, unit)
	}
	return "", r.wrong()
}

// unit reads `uXXXX` at a place.
func (r *reader) unit(at int) (rune, bool) {
	if at+5 > len(r.text) || r.text[at] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(r.text[at+1:at+5], 16, 16)
	return rune(unit), err == nil
}

func appendUnit(text []byte, unit rune) []byte {
	if utf16.IsSurrogate(unit) {
		return append(text, 0xe0|byte(unit>>12), 0x80|byte(unit>>6)&63, 0x80|byte(unit)&63)
	}
	return utf8.AppendRune(text, unit)
}

func (r *reader) number() (any, error) {
	start := r.at
	for r.at < len(r.text) && strings.IndexByte("+-.0123456789eE", r.text[r.at]) >= 0 {
		r.at++
	}
	text := r.text[start:r.at]
	if !json.Valid([]byte(text)) {
		r.at = start
		return nil, r.wrong()
	}
	return Number(text), nil
}

// splitArray takes a JSON array apart, without keeping what its values are.
func splitArray(text string) ([]string, error) {
	var parts []string
	err := split(text, '[', ']', func(_, value string) { parts = append(parts, value) })
	return parts, err
}

// splitObject takes a JSON object apart.
func splitObject(text string) (map[string]string, error) {
	found := map[string]string{}
	err := split(text, '{', '}', func(name, value string) { found[name] = value })
	return found, err
}

func split(text string, open, shut byte, each func(name, value string)) error {
	r := &reader{text: text}
	if !r.takes(open) {
		return r.wrong()
	}
	for first := true; !r.takes(shut); first = false {
		if !first && !r.takes(',') {
			return r.wrong()
		}
		name := ""
		if open == '{' {
			r.blank()
			if r.at >= len(text) || text[r.at] != '"' {
				return r.wrong()
			}
			var err error
			if name, err = r.string(); err != nil {
				return err
			}
			if !r.takes(':') {
				return r.wrong()
			}
		}
		r.blank()
		start := r.at
		if _, err := r.value(0); err != nil {
			return err
		}
		each(name, text[start:r.at])
	}
	if r.blank(); r.at < len(text) {
		return r.wrong()
	}
	return nil
}
