/* JSON without a tree: values are pieces of the text that the host sent, found when they are asked
 * for. So what nobody reads costs nothing, and what is passed on stays as it came: integers of any
 * size, NaN, lone surrogates. */
#include "inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_add(buffer *out, const char *at, size_t size) {
    if (out->size + size + 1 > out->room) {
        out->room = (out->size + size + 1) * 2;
        out->at = realloc(out->at, out->room);
        if (out->at == NULL) abort();
    }
    memcpy(out->at + out->size, at, size);
    out->size += size;
    out->at[out->size] = 0;
}

void buffer_text(buffer *out, const char *text) { buffer_add(out, text, strlen(text)); }

void buffer_piece(buffer *out, lovage_text text) { buffer_add(out, text.at ? text.at : "", text.size); }

lovage_text buffer_done(buffer *out) {
    if (out->at == NULL) buffer_add(out, "", 0);
    return (lovage_text){out->at, out->size};
}

static const char *format_list(const char *format, va_list list, size_t *size) {
    va_list again;
    va_copy(again, list);
    int length = vsnprintf(NULL, 0, format, list);
    if (length < 0) length = 0;
    char *text = malloc((size_t)length + 1);
    if (text == NULL) abort();
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    *size = (size_t)length;
    return text;
}

void buffer_format(buffer *out, const char *format, ...) {
    va_list list;
    va_start(list, format);
    size_t size;
    const char *text = format_list(format, list, &size);
    va_end(list);
    buffer_add(out, text, size);
}

const char *lovage_format(const char *format, ...) {
    va_list list;
    va_start(list, format);
    size_t size;
    const char *text = format_list(format, list, &size);
    va_end(list);
    return text;
}

void buffer_quoted(buffer *out, const char *at, size_t size) {
    buffer_add(out, "\"", 1);
    for (size_t index = 0; index < size; index++) {
        unsigned char byte = (unsigned char)at[index];
        if (byte == '"' || byte == '\\') {
            char pair[2] = {'\\', (char)byte};
            buffer_add(out, pair, 2);
        } else if (byte < ' ') {
            buffer_format(out, "\\u%04x", byte);
        } else {
            buffer_add(out, at + index, 1);
        }
    }
    buffer_add(out, "\"", 1);
}

const char *lovage_quote(const char *text) {
    buffer out = {0};
    buffer_quoted(&out, text, strlen(text));
    return buffer_done(&out).at;
}

lovage_text lovage_of(const char *text) {
    return (lovage_text){text, text == NULL ? 0 : strlen(text)};
}

const char *lovage_copy(lovage_text text) {
    buffer out = {0};
    buffer_piece(&out, text);
    return buffer_done(&out).at;
}

static bool is_space(char letter) {
    return letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r';
}

static const char *skip(const char *at, const char *end) {
    while (at < end && is_space(*at)) at++;
    return at;
}

lovage_text json_value(const char *at, const char *end) {
    at = skip(at, end);
    const char *start = at;
    size_t depth = 0;
    bool in_string = false;
    for (; at < end; at++) {
        if (in_string) {
            if (*at == '\\') at++;
            else if (*at == '"') {
                in_string = false;
                if (depth == 0) return (lovage_text){start, (size_t)(at + 1 - start)};
            }
        } else if (*at == '"') {
            in_string = true;
        } else if (*at == '[' || *at == '{') {
            depth++;
        } else if (*at == ']' || *at == '}') {
            if (depth == 0) break;
            if (--depth == 0) return (lovage_text){start, (size_t)(at + 1 - start)};
        } else if (depth == 0 && (*at == ',' || *at == ':' || is_space(*at))) {
            break;
        }
    }
    if (depth > 0 || in_string || at == start || at > end) return (lovage_text){NULL, 0};
    return (lovage_text){start, (size_t)(at - start)};
}

cursor json_open(lovage_text json) {
    const char *end = json.at + json.size, *at = skip(json.at, end);
    cursor walk = {at, end, 0, true, true};
    if (at < end && (*at == '[' || *at == '{')) {
        walk.close = *at == '[' ? ']' : '}';
        walk.at = at + 1;
        walk.bad = false;
    }
    return walk;
}

bool json_next(cursor *walk, lovage_text *name, lovage_text *value) {
    if (walk->bad) return false;
    walk->at = skip(walk->at, walk->end);
    if (walk->at < walk->end && *walk->at == walk->close) return false;
    if (!walk->first) {
        if (walk->at >= walk->end || *walk->at != ',') return walk->bad = true, false;
        walk->at++;
    }
    walk->first = false;
    *name = (lovage_text){NULL, 0};
    if (walk->close == '}') {
        *name = json_value(walk->at, walk->end);
        if (name->at == NULL || *name->at != '"') return walk->bad = true, false;
        walk->at = skip(name->at + name->size, walk->end);
        if (walk->at >= walk->end || *walk->at != ':') return walk->bad = true, false;
        walk->at++;
    }
    *value = json_value(walk->at, walk->end);
    if (value->at == NULL) return walk->bad = true, false;
    walk->at = value->at + value->size;
    return true;
}

static bool is_named(lovage_text name, const char *part, size_t size) {
    if (name.size == size + 2 && memcmp(name.at + 1, part, size) == 0) return true;
    if (memchr(name.at, '\\', name.size) == NULL) return false;
    const char *plain = lovage_unquote(name);
    return strlen(plain) == size && memcmp(plain, part, size) == 0;
}

lovage_text lovage_at(lovage_text json, const char *path) {
    while (*path != 0 && json.at != NULL) {
        size_t size = strcspn(path, ".");
        cursor walk = json_open(json);
        lovage_text name, value, found = {NULL, 0};
        for (size_t index = 0; json_next(&walk, &name, &value); index++) {
            bool is_it = walk.close == '}' ? is_named(name, path, size)
                                           : strtoul(path, NULL, 10) == index && *path >= '0' && *path <= '9';
            if (is_it) {
                found = value;
                break;
            }
        }
        json = found;
        path += size;
        if (*path == '.') path++;
    }
    return json;
}

static unsigned four_digits(const char *at) {
    char digits[5] = {at[0], at[1], at[2], at[3], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

static void add_point(buffer *out, unsigned point) {
    char bytes[4];
    if (point < 0x80) {
        bytes[0] = (char)point;
        buffer_add(out, bytes, 1);
    } else if (point < 0x800) {
        bytes[0] = (char)(0xc0 | point >> 6), bytes[1] = (char)(0x80 | (point & 63));
        buffer_add(out, bytes, 2);
    } else if (point < 0x10000) {
        bytes[0] = (char)(0xe0 | point >> 12), bytes[1] = (char)(0x80 | (point >> 6 & 63));
        bytes[2] = (char)(0x80 | (point & 63));
        buffer_add(out, bytes, 3);
    } else {
        bytes[0] = (char)(0xf0 | point >> 18), bytes[1] = (char)(0x80 | (point >> 12 & 63));
        bytes[2] = (char)(0x80 | (point >> 6 & 63)), bytes[3] = (char)(0x80 | (point & 63));
        buffer_add(out, bytes, 4);
    }
}

const char *lovage_unquote(lovage_text json) {
    if (json.at == NULL || json.size < 2 || *json.at != '"') return "";
    const char *at = json.at + 1, *end = json.at + json.size - 1;
    buffer out = {0};
    while (at < end) {
        if (*at != '\\') {
            const char *run = at;
            while (at < end && *at != '\\') at++;
            buffer_add(&out, run, (size_t)(at - run));
            continue;
        }
        char letter = at[1];
        at += 2;
        const char *plain = strchr("\"\\/", letter);
        static const char FROM[] = "bfnrt", TO[] = "\b\f\n\r\t";
        const char *short_form = strchr(FROM, letter);
        if (letter == 'u' && end - at >= 4) {
            unsigned point = four_digits(at);
            at += 4;
            if (point >= 0xd800 && point < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
                unsigned low = four_digits(at + 2);
                if (low >= 0xdc00 && low < 0xe000) {
                    point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
            }
            /* A lone surrogate has no form in UTF-8. */
            add_point(&out, point >= 0xd800 && point < 0xe000 ? 0xfffd : point);
        } else if (plain != NULL && letter != 0) {
            buffer_add(&out, plain, 1);
        } else if (short_form != NULL && letter != 0) {
            buffer_add(&out, TO + (short_form - FROM), 1);
        }
    }
    return buffer_done(&out).at;
}

lovage_text lovage_json(lovage_call *call, const char *path) {
    return lovage_at(call->arguments, path);
}

bool lovage_has(lovage_call *call, const char *path) {
    lovage_text json = lovage_json(call, path);
    return json.at != NULL && !(json.size == 4 && memcmp(json.at, "null", 4) == 0);
}

int64_t lovage_int(lovage_call *call, const char *path) {
    lovage_text json = lovage_json(call, path);
    return json.at == NULL ? 0 : strtoll(lovage_copy(json), NULL, 10);
}

double lovage_number(lovage_call *call, const char *path) {
    lovage_text json = lovage_json(call, path);
    return json.at == NULL ? 0 : strtod(lovage_copy(json), NULL);
}

bool lovage_bool(lovage_call *call, const char *path) {
    lovage_text json = lovage_json(call, path);
    return json.size == 4 && memcmp(json.at, "true", 4) == 0;
}

const char *lovage_string(lovage_call *call, const char *path) {
    return lovage_unquote(lovage_json(call, path));
}

size_t lovage_count(lovage_call *call, const char *path) {
    cursor walk = json_open(lovage_json(call, path));
    lovage_text name, value;
    size_t count = 0;
    while (json_next(&walk, &name, &value)) count++;
    return count;
}
