package lovage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"unicode/utf8"
)

// encode is the JSON text of a value.
func encode(value any) (string, error) {
	var text bytes.Buffer
	err := write(&text, value, 0)
	return text.String(), err
}

func write(text *bytes.Buffer, value any, depth int) error {
	if depth > depthMax {
		return errors.New("the value is nested too deeply")
	}
	switch value := value.(type) {
	case nil:
		text.WriteString("null")
	case bool:
		text.WriteString(strconv.FormatBool(value))
	case string:
		writeString(text, value)
	case int:
		text.WriteString(strconv.Itoa(value))
	case int64:
		text.WriteString(strconv.FormatInt(value, 10))
	case Number:
		text.WriteString(string(value))
	case float64:
		return writeFloat(text, value)
	case []any:
		for at, one := range value {
			text.WriteByte(map[bool]byte{true: '[', false: ','}[at == 0])
			if err := write(text, one, depth+1); err != nil {
				return err
			}
		}
		if len(value) == 0 {
			text.WriteByte('[')
		}
		text.WriteByte(']')
	case map[string]any:
		return writeMap(text, value, depth)
	default:
		encoder := json.NewEncoder(text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			return err
		}
		text.Truncate(text.Len() - 1)
	}
	return nil
}

func writeMap(text *bytes.Buffer, value map[string]any, depth int) error {
	names := make([]string, 0, len(value))
	for name := range value {
		names = append(names, name)
	}
	sort.Strings(names)
	text.WriteByte('{')
	for at, name := range names {
		if at > 0 {
			text.WriteByte(',')
		}
		writeString(text, name)
		text.WriteByte(':')
		if err := write(text, value[name], depth+1); err != nil {
			return err
		}
	}
	text.WriteByte('}')
	return nil
}

func writeFloat(text *bytes.Buffer, value float64) error {
	switch {
	case math.IsNaN(value):
		text.WriteString("NaN")
	case math.IsInf(value, 1):
		text.WriteString("Infinity")
	case math.IsInf(value, -1):
		text.WriteString("-Infinity")
	default:
		plain, err := json.Marshal(value)
		text.Write(plain)
		return err
	}
	return nil
}

func writeString(text *bytes.Buffer, value string) {
	text.WriteByte('"')
	for at := 0; at < len(value); {
		sign := value[at]
		if sign >= utf8.RuneSelf {
			letter, size := utf8.DecodeRuneInString(value[at:])
			if letter != utf8.RuneError || size > 1 {
				text.WriteString(value[at : at+size])
				at += size
				continue
			}
			if unit, ok := surrogate(value[at:]); ok {
				fmt.Fprintf(text, `\u%04x`, unit)
				at += 3
				continue
			}
			text.WriteString(`\ufffd`)
			at++
			continue
		}
		switch {
		case sign == '"' || sign == '\\':
			text.Write([]byte{'\\', sign})
		case sign < 32:
			fmt.Fprintf(text, `\u%04x`, sign)
		default:
			text.WriteByte(sign)
		}
		at++
	}
	text.WriteByte('"')
}

// surrogate is the one whose three bytes a text begins with.
func surrogate(text string) (rune, bool) {
	if len(text) < 3 || text[0] != 0xed || text[1] < 0xa0 || text[1] > 0xbf || text[2]&0xc0 != 0x80 {
		return 0, false
	}
	return 0xd000 | rune(text[1]&63)<<6 | rune(text[2]&63), true
}
