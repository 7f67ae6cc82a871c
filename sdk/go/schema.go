package lovage

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"time"
)

// schemaOf is the JSON schema of a Go type, as encoding/json writes it; an empty one allows everything.
func schemaOf(kind reflect.Type, above []reflect.Type) map[string]any {
	for _, one := range above {
		if one == kind {
			return map[string]any{}
		}
	}
	above = append(above, kind)
	switch kind {
	case reflect.TypeFor[Number](), reflect.TypeFor[json.Number]():
		return map[string]any{"type": "number"}
	case reflect.TypeFor[big.Int](), reflect.TypeFor[*big.Int]():
		return map[string]any{"type": "integer"}
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string"}
	}
	if kind.Implements(reflect.TypeFor[json.Marshaler]()) {
		return map[string]any{}
	}
	switch kind.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Pointer:
		inner := schemaOf(kind.Elem(), above)
		if len(inner) == 0 {
			return inner
		}
		return map[string]any{"anyOf": []any{inner, map[string]any{"type": "null"}}}
	case reflect.Slice, reflect.Array:
		if kind.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string"}
		}
		return map[string]any{"type": "array", "items": schemaOf(kind.Elem(), above)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(kind.Elem(), above)}
	case reflect.Struct:
		return schemaOfStruct(kind, above)
	}
	return map[string]any{}
}

func schemaOfStruct(kind reflect.Type, above []reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, field := range reflect.VisibleFields(kind) {
		name, rest, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || name == "-" || field.Anonymous || len(field.Index) > 1 {
			continue
		}
		if name == "" {
			name = field.Name
		}
		properties[name] = schemaOf(field.Type, above)
		optional := strings.Contains(rest, "omitempty") || strings.Contains(rest, "omitzero") || field.Type.Kind() == reflect.Pointer
		if !optional {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}
