/* How an attempt ends: a value, or an exception as the caller will see it. */
#include "inside.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

lovage_end lovage_return_json(lovage_call *call, lovage_text json) {
    call->result = json;
    return (lovage_end){END_RETURN};
}

lovage_end lovage_return_null(lovage_call *call) { return lovage_return_json(call, lovage_of("null")); }

lovage_end lovage_return_int(lovage_call *call, int64_t value) {
    return lovage_return_json(call, lovage_of(lovage_format("%lld", (long long)value)));
}

lovage_end lovage_return_number(lovage_call *call, double value) {
    /* As Python's json writes what JSON has no words for. */
    const char *text = isnan(value) ? "NaN" : isinf(value) ? (value > 0 ? "Infinity" : "-Infinity") : NULL;
    return lovage_return_json(call, lovage_of(text ? text : lovage_format("%.17g", value)));
}

lovage_end lovage_return_bool(lovage_call *call, bool value) {
    return lovage_return_json(call, lovage_of(value ? "true" : "false"));
}

lovage_end lovage_return_text(lovage_call *call, const char *value) {
    return lovage_return_json(call, lovage_of(lovage_quote(value)));
}

static const char *written(const char *format, va_list list) {
    char *text = NULL;
    if (vasprintf(&text, format, list) < 0) abort();
    return text;
}

lovage_end lovage_return(lovage_call *call, const char *format, ...) {
    va_list list;
    va_start(list, format);
    const char *text = written(format, list);
    va_end(list);
    return lovage_return_json(call, lovage_of(text));
}

void lovage_after(lovage_call *call, double seconds) {
    call->after_s = seconds;
    call->has_after = true;
}

void lovage_retry_options(lovage_call *call, const char *json) { call->retry_options = json; }

lovage_end lovage_ignore(lovage_call *call) {
    (void)call;
    return (lovage_end){END_IGNORE};
}

lovage_end lovage_replace(lovage_call *call, const char *signature) {
    call->replacement = signature;
    return (lovage_end){END_REPLACE};
}

void lovage_arguments(lovage_call *call, const char *json) { call->exception_arguments = json; }

lovage_end lovage_end_with(lovage_call *call, int kind, const char *class_name, const char *file, int line,
                           const char *function, const char *format, ...) {
    va_list list;
    va_start(list, format);
    const char *message = written(format, list);
    va_end(list);
    const char *colon = strchr(class_name, ':');
    const char *name = colon ? colon + 1 : class_name;
    buffer trace = {0};
    buffer_text(&trace, "Traceback (most recent call last):\n");
    if (file != NULL) buffer_format(&trace, "  File \"%s\", line %d, in %s\n", file, line, function);
    buffer_text(&trace, name);
    if (*message != 0) buffer_format(&trace, ": %s", message);
    const char *arguments = call->exception_arguments;
    call->why = (failure){
        .class_name = lovage_of(name),
        .module = colon ? (lovage_text){class_name, (size_t)(colon - class_name)} : (lovage_text){NULL, 0},
        .arguments = lovage_of(arguments ? arguments : lovage_format("[%s]", lovage_quote(message))),
        .traceback = buffer_done(&trace),
    };
    return (lovage_end){kind};
}

lovage_end lovage_end_of_host_error(lovage_call *call, const char *file, int line, const char *function) {
    static const struct {
        const char *class_name;
        int end; /* what no retry can mend is rejected */
    } KINDS[] = {
        [HOST_SOFT_LIMIT] = {"billiard.exceptions:SoftTimeLimitExceeded", END_FAIL},
        [HOST_UNAVAILABLE] = {"Unavailable", END_REJECT},
        [HOST_INVALID] = {"InvalidCall", END_REJECT},
        [HOST_LIMIT] = {"LimitExceeded", END_REJECT},
        [HOST_OTHER] = {"HostError", END_FAIL},
        [HOST_DENIED] = {"Denied", END_REJECT},
        [HOST_CONNECTION] = {"ConnectionError", END_FAIL},
        [HOST_TIMEOUT] = {"TimeoutError", END_FAIL},
        [HOST_RESPONSE] = {"HTTPError", END_FAIL},
    };
    size_t kind = call->has_error && call->error.kind < sizeof KINDS / sizeof *KINDS ? call->error.kind : HOST_OTHER;
    bool is_soft = kind == HOST_SOFT_LIMIT;
    const char *said = is_soft || !call->has_error ? "SoftTimeLimitExceeded()" : lovage_copy(call->error.text);
    if (is_soft) lovage_arguments(call, "[]");
    return lovage_end_with(call, KINDS[kind].end, KINDS[kind].class_name, file, line, function, "%s", said);
}
