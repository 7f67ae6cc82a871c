/* A task's `params`: what is bound and checked by it, and the JSON schema that the manifest shows.
 * The text is read anew each time; it is short, and nothing has to be kept. */
#include "inside.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    lovage_text name, type, initial;
    bool may_be_null;
} field;

static const char *spaces(const char *at) {
    while (isspace((unsigned char)*at)) at++;
    return at;
}

/* Up to one of `stops` outside of brackets and strings, without the spaces around it. */
static lovage_text until(const char **at, const char *stops) {
    const char *start = spaces(*at), *here = start;
    int depth = 0;
    for (bool in_string = false; *here != 0; here++) {
        if (in_string) {
            if (*here == '\\' && here[1] != 0) here++;
            else if (*here == '"') in_string = false;
            continue;
        }
        if (depth == 0 && strchr(stops, *here) != NULL) break;
        if (*here == '"') in_string = true;
        if (*here == '{' || *here == '[') depth++;
        if (*here == '}' || *here == ']') depth--;
    }
    *at = here;
    while (here > start && isspace((unsigned char)here[-1])) here--;
    return (lovage_text){start, (size_t)(here - start)};
}

/* The next field of `params` or of a `{…}`; false at its end. */
static bool next_field(const char **at, field *found) {
    *at = spaces(*at);
    if (**at == ',') *at = spaces(*at + 1);
    if (**at == 0 || **at == '}') return false;
    *found = (field){0};
    found->name = until(at, ":=,}");
    if (**at == ':') {
        ++*at;
        found->type = until(at, "=,}");
        size_t size = found->type.size;
        if (size > 0 && found->type.at[size - 1] == '?') {
            found->may_be_null = true;
            found->type.size--;
        }
    }
    if (**at == '=') {
        ++*at;
        found->initial = until(at, ",}");
    }
    return true;
}

static bool is(lovage_text text, const char *word) {
    return text.size == strlen(word) && memcmp(text.at, word, text.size) == 0;
}

static bool refuse(lovage_call *call, const char *class_name, const char *message) {
    buffer arguments = {0}, trace = {0};
    buffer_text(&arguments, "[");
    buffer_quoted(&arguments, message, strlen(message));
    buffer_text(&arguments, "]");
    buffer_format(&trace, "%s: %s", class_name, message);
    call->why = (failure){.class_name = lovage_of(class_name), .arguments = buffer_done(&arguments),
                          .traceback = buffer_done(&trace)};
    return false;
}

static const char *kind_of(lovage_text json) {
    switch (json.at == NULL ? 0 : *json.at) {
    case '"': return "text";
    case '{': return "an object";
    case '[': return "an array";
    case 't': case 'f': return "a bool";
    case 'n': return "null";
    case 0: return "nothing";
    default: return "a number";
    }
}

static bool is_integer(lovage_text json) {
    size_t index = json.size > 0 && json.at[0] == '-' ? 1 : 0;
    if (index == json.size) return false;
    for (; index < json.size; index++)
        if (!isdigit((unsigned char)json.at[index])) return false;
    return true;
}

static bool fits_64_bits(lovage_text json) {
    const char *text = lovage_copy(json);
    return strcmp(lovage_format("%lld", strtoll(text, NULL, 10)), text) == 0 || strcmp(text, "-0") == 0;
}

static bool fit(lovage_call *call, lovage_text type, bool may_be_null, lovage_text value,
                const char *path, buffer *out);

/* The members of an object by its fields: what is left out has its default. */
static bool fit_object(lovage_call *call, lovage_text type, lovage_text value, const char *path, buffer *out) {
    const char *at = lovage_copy((lovage_text){type.at + 1, type.size - 1});
    bool first = true;
    buffer_text(out, "{");
    for (field each; next_field(&at, &each); first = false) {
        const char *name = lovage_copy(each.name), *inner = lovage_format("%s.%s", path, name);
        lovage_text member = lovage_at(value, name);
        if (member.at == NULL) member = each.may_be_null && each.initial.at == NULL ? lovage_of("null") : each.initial;
        if (member.at == NULL) return refuse(call, "TypeError", lovage_format("%s is missing", inner));
        buffer_text(out, lovage_format("%s\"%s\":", first ? "" : ",", name));
        if (!fit(call, each.type, each.may_be_null, member, inner, out)) return false;
    }
    buffer_text(out, "}");
    return true;
}

static bool fit_array(lovage_call *call, lovage_text type, lovage_text value, const char *path, buffer *out) {
    lovage_text of = {type.at + 1, type.size >= 2 ? type.size - 2 : 0}, name, element;
    cursor walk = json_open(value);
    buffer_text(out, "[");
    for (size_t index = 0; json_next(&walk, &name, &element); index++) {
        if (index > 0) buffer_text(out, ",");
        if (!fit(call, of, false, element, lovage_format("%s.%zu", path, index), out)) return false;
    }
    buffer_text(out, "]");
    return true;
}

/* Writes a value that is of a type. */
static bool fit(lovage_call *call, lovage_text type, bool may_be_null, lovage_text value,
                const char *path, buffer *out) {
    char first = *value.at;
    bool is_number = first == '-' || isdigit((unsigned char)first) || first == 'N' || first == 'I';
    bool right = type.size == 0 || is(type, "any") || (may_be_null && is(value, "null"));
    if (!right) {
        right = (is(type, "int") && is_integer(value)) || (is(type, "number") && is_number) ||
                (is(type, "text") && first == '"') || (is(type, "bool") && (first == 't' || first == 'f')) ||
                ((is(type, "object") || *type.at == '{') && first == '{') ||
                ((is(type, "array") || *type.at == '[') && first == '[');
        if (right && *type.at == '{') return fit_object(call, type, value, path, out);
        if (right && *type.at == '[') return fit_array(call, type, value, path, out);
    }
    if (!right) {
        const char *wanted = *type.at == '{' ? "an object" : *type.at == '[' ? "an array" : lovage_copy(type);
        return refuse(call, "TypeError", lovage_format("%s must be %s, not %s", path, wanted, kind_of(value)));
    }
    if (is(type, "int") && !is(value, "null") && !fits_64_bits(value))
        return refuse(call, "ValueError",
                      lovage_format("%s holds an integer beyond 64 bits; declare it `any` to take it as it is", path));
    buffer_piece(out, value);
    return true;
}

static size_t count_fields(const char *params) {
    size_t count = 0;
    for (field each; next_field(&params, &each);) count++;
    return count;
}

static bool is_known(const char *params, const char *name) {
    for (field each; next_field(&params, &each);)
        if (is(each.name, name)) return true;
    return false;
}

bool bind_arguments(lovage_call *call, lovage_text args, lovage_text kwargs) {
    const char *params = call->task->params ? call->task->params : "", *function = call->task->function;
    size_t most = count_fields(params), given = 0;
    lovage_text name, value;
    cursor walk = json_open(args);
    while (json_next(&walk, &name, &value)) given++;
    cursor named = json_open(kwargs);
    if (walk.bad || walk.close != ']' || named.bad || named.close != '}')
        return refuse(call, "ValueError", lovage_format("%s(): the call's arguments are malformed JSON", function));
    if (given > most)
        return refuse(call, "TypeError",
                      lovage_format("%s() takes %zu positional argument%s but %zu %s given", function, most,
                                    most == 1 ? "" : "s", given, given == 1 ? "was" : "were"));
    while (json_next(&named, &name, &value)) {
        const char *plain = lovage_unquote(name);
        if (!is_known(params, plain))
            return refuse(call, "TypeError",
                          lovage_format("%s() got an unexpected keyword argument '%s'", function, plain));
    }
    buffer out = {0};
    buffer_text(&out, "{");
    const char *at = params;
    walk = json_open(args);
    size_t index = 0;
    for (field each; next_field(&at, &each); index++) {
        const char *plain = lovage_copy(each.name);
        lovage_text by_name = lovage_at(kwargs, plain);
        bool by_position = json_next(&walk, &name, &value);
        if (by_position && by_name.at != NULL)
            return refuse(call, "TypeError",
                          lovage_format("%s() got multiple values for argument '%s'", function, plain));
        if (!by_position) value = by_name.at ? by_name : each.initial;
        if (value.at == NULL && each.may_be_null) value = lovage_of("null");
        if (value.at == NULL)
            return refuse(call, "TypeError",
                          lovage_format("%s() missing 1 required positional argument: '%s'", function, plain));
        buffer_text(&out, lovage_format("%s\"%s\":", index > 0 ? "," : "", plain));
        if (!fit(call, each.type, each.may_be_null, value, plain, &out)) return false;
    }
    buffer_text(&out, "}");
    call->arguments = buffer_done(&out);
    return true;
}

static void write_schema(buffer *out, lovage_text type, bool may_be_null);

static void write_fields(buffer *out, const char *fields) {
    buffer_text(out, "{\"type\":\"object\",\"properties\":{");
    const char *at = fields;
    bool first = true;
    for (field each; next_field(&at, &each); first = false) {
        buffer_text(out, first ? "\"" : ",\"");
        buffer_piece(out, each.name);
        buffer_text(out, "\":");
        write_schema(out, each.type, each.may_be_null);
    }
    buffer_text(out, "},\"required\":[");
    at = fields;
    first = true;
    for (field each; next_field(&at, &each);) {
        if (each.initial.at != NULL || each.may_be_null) continue;
        buffer_text(out, first ? "\"" : ",\"");
        buffer_piece(out, each.name);
        buffer_text(out, "\"");
        first = false;
    }
    buffer_text(out, "]}");
}

static void write_schema(buffer *out, lovage_text type, bool may_be_null) {
    static const char *const NAMES[][2] = {{"int", "integer"}, {"text", "string"}, {"bool", "boolean"},
                                           {"number", "number"}, {"object", "object"}, {"array", "array"}};
    if (type.size == 0 || is(type, "any")) {
        buffer_text(out, "{}");
        return;
    }
    if (may_be_null) buffer_text(out, "{\"anyOf\":[");
    if (*type.at == '{') {
        write_fields(out, lovage_copy((lovage_text){type.at + 1, type.size - 1}));
    } else if (*type.at == '[') {
        buffer_text(out, "{\"type\":\"array\",\"items\":");
        write_schema(out, (lovage_text){type.at + 1, type.size >= 2 ? type.size - 2 : 0}, false);
        buffer_text(out, "}");
    } else {
        const char *name = "object";
        for (size_t index = 0; index < sizeof NAMES / sizeof *NAMES; index++)
            if (is(type, NAMES[index][0])) name = NAMES[index][1];
        buffer_text(out, lovage_format("{\"type\":\"%s\"}", name));
    }
    if (may_be_null) buffer_text(out, ",{\"type\":\"null\"}]}");
}

void write_parameters(buffer *out, const char *params) {
    const char *at = params;
    bool first = true;
    buffer_text(out, ",\"params\":[");
    for (field each; next_field(&at, &each); first = false) {
        buffer_text(out, first ? "\"" : ",\"");
        buffer_piece(out, each.name);
        buffer_text(out, "\"");
    }
    buffer_text(out, "],\"input_schema\":");
    write_fields(out, params);
}
