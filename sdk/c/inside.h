/* What the runtime's own files share. Nothing here is for tasks. */
#ifndef LOVAGE_INSIDE_H
#define LOVAGE_INSIDE_H

#include "lovage.h"

/* Why the host cannot honour a call, as the contract counts; after those, why a request has no answer. */
enum {
    HOST_SOFT_LIMIT, HOST_UNAVAILABLE, HOST_INVALID, HOST_LIMIT, HOST_OTHER,
    HOST_DENIED, HOST_CONNECTION, HOST_TIMEOUT, HOST_RESPONSE
};

/* What the host says when it cannot honour a call. */
typedef struct {
    uint8_t kind;
    lovage_text text;
} host_error;

/* The exception that the caller sees. */
typedef struct {
    lovage_text class_name;
    lovage_text module;
    lovage_text arguments;
    lovage_text traceback;
} failure;

struct lovage_call {
    const lovage_task *task;
    /* All arguments as one JSON object, by name. */
    lovage_text arguments;
    lovage_text result;
    failure why;
    double after_s;
    bool has_after;
    const char *exception_arguments;
    const char *retry_options;
    const char *replacement;
    host_error error;
    bool has_error;
    bool has_info;
    lovage_attempt_info info;
};

/* As the contract counts them, and -1. */
enum { END_RETURN = -1, END_FAIL, END_REJECT, END_RETRY, END_IGNORE, END_REQUEUE, END_REPLACE };

/* Growing text. */
typedef struct {
    char *at;
    size_t size, room;
} buffer;

void buffer_add(buffer *out, const char *at, size_t size);
void buffer_text(buffer *out, const char *text);
void buffer_piece(buffer *out, lovage_text text);
void buffer_quoted(buffer *out, const char *at, size_t size);
void buffer_format(buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
lovage_text buffer_done(buffer *out);

/* The text of the JSON value that begins at `at`, without spaces; nothing when it does not end. */
lovage_text json_value(const char *at, const char *end);
/* Walks through an array or an object. */
typedef struct {
    const char *at, *end;
    char close;
    bool first, bad;
} cursor;
cursor json_open(lovage_text json);
/* The next member; false at the end. `name` is the quoted name, nothing in arrays. */
bool json_next(cursor *walk, lovage_text *name, lovage_text *value);

/* Binds a call's arguments by the task's `params`; false leaves a TypeError in `call`. */
bool bind_arguments(lovage_call *call, lovage_text args, lovage_text kwargs);
/* Writes `"params": […], "input_schema": {…}`. */
void write_parameters(buffer *out, const char *params);
/* The module's manifest. */
lovage_text write_manifest(void);

extern lovage_task *lovage_tasks;

#endif
