/* The contract `lovage:task@0.1.0` in C: its imports and exports in the component model's own
 * representation. Records are C's structs, for both lay them out alike; a variant is a byte and what
 * follows it. A host makes a component of the module when it loads it. */
#include "inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IMPORT(interface, function)                                                                \
    __attribute__((import_module("lovage:task/" interface "@0.1.0"), import_name(function)))
#define EXPORT(name) __attribute__((export_name(name)))

typedef struct {
    uint8_t is_some;
    lovage_text value;
} maybe_text;

typedef struct {
    uint8_t is_some;
    uint64_t value;
} maybe_u64;

typedef struct {
    lovage_text task_id;
    maybe_text root_id, parent_id, group_id;
    uint32_t retries;
    struct {
        uint8_t is_some;
        uint32_t value;
    } max_retries;
    lovage_text idempotency_key, queue;
    maybe_text eta, expires;
    uint8_t redelivered;
    lovage_text headers;
} attempt;

typedef struct {
    maybe_u64 soft_ms;
    uint64_t hard_ms;
} remaining;

typedef struct {
    uint8_t is_error;
    host_error error;
} maybe_error;

typedef struct {
    uint8_t is_error;
    union {
        struct {
            uint8_t kind;
            union {
                int32_t handle;
                lovage_text value;
            };
        } begun;
        host_error error;
    };
} begin_answer;

typedef struct {
    lovage_text task, args, kwargs;
    maybe_text queue;
    maybe_u64 countdown_ms, expires_ms;
    struct {
        uint8_t is_some, value;
    } priority;
    uint8_t ignore_result;
    maybe_text headers;
} put_request;

typedef struct {
    uint8_t is_error;
    union {
        lovage_text value;
        host_error error;
    };
} text_answer;

IMPORT("context", "current") void context_current(attempt *out);
IMPORT("context", "time-left") void context_time_left(remaining *out);
IMPORT("context", "request") void context_request(text_answer *out);
IMPORT("context", "revoked") int32_t context_revoked(void);
IMPORT("steps", "begin")
void steps_begin(const char *name, size_t name_size, const char *input, size_t input_size, int32_t doubt,
                 begin_answer *out);
IMPORT("steps", "[method]step.key") void step_key(int32_t step, lovage_text *out);
IMPORT("steps", "[method]step.commit")
void step_commit(int32_t step, const char *value, size_t size, maybe_error *out);
IMPORT("steps", "[method]step.abandon") void step_abandon(int32_t step, maybe_error *out);
IMPORT("outbox", "put") void outbox_put(const put_request *request, text_answer *out);
IMPORT("outbox", "send") void outbox_send(const char *signature, size_t size, text_answer *out);
IMPORT("outbox", "add-to-chord")
void outbox_add_to_chord(const char *signature, size_t size, text_answer *out);
IMPORT("progress", "update")
void progress_update(const char *state, size_t state_size, const char *meta, size_t meta_size, maybe_error *out);
IMPORT("log", "write")
void log_write(int32_t level, const char *message, size_t size, const char *fields, size_t fields_size);

/* Memory for what the host hands over. It is never given back: the instance is gone before long. */
EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size;
    if (size == 0) return (void *)align;
    void *made = realloc(old, size);
    if (made == NULL) abort();
    return made;
}

static const char *text_or_null(maybe_text text) { return text.is_some ? lovage_copy(text.value) : NULL; }

const lovage_attempt_info *lovage_attempt(lovage_call *call) {
    if (call->has_info) return &call->info;
    attempt now;
    context_current(&now);
    call->info = (lovage_attempt_info){
        .task_id = lovage_copy(now.task_id),
        .root_id = text_or_null(now.root_id),
        .parent_id = text_or_null(now.parent_id),
        .group_id = text_or_null(now.group_id),
        .retries = now.retries,
        .max_retries = now.max_retries.is_some ? (int64_t)now.max_retries.value : -1,
        .idempotency_key = lovage_copy(now.idempotency_key),
        .queue = lovage_copy(now.queue),
        .eta = text_or_null(now.eta),
        .expires = text_or_null(now.expires),
        .redelivered = now.redelivered != 0,
        .headers = now.headers,
    };
    call->has_info = true;
    return &call->info;
}

int64_t lovage_soft_time_left_ms(void) {
    remaining left;
    context_time_left(&left);
    return left.soft_ms.is_some ? (int64_t)left.soft_ms.value : INT64_MAX;
}

int64_t lovage_time_left_ms(void) {
    remaining left;
    context_time_left(&left);
    return (int64_t)left.hard_ms;
}

bool lovage_revoked(void) { return context_revoked() != 0; }

bool lovage_sleep_ms(int64_t milliseconds) {
    int64_t left = lovage_soft_time_left_ms();
    int64_t now = milliseconds < left ? milliseconds : left;
    struct timespec pause = {.tv_sec = now / 1000, .tv_nsec = now % 1000 * 1000000};
    if (now > 0) nanosleep(&pause, NULL);
    /* The host's clock and this one need not agree to the millisecond. */
    while (now < milliseconds && lovage_soft_time_left_ms() > 0) {
        pause = (struct timespec){.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
    return now == milliseconds;
}

/* Keeps what the host said, for LOVAGE_HOST_ERROR. */
static bool keep(lovage_call *call, bool is_error, host_error error) {
    if (is_error) {
        call->error = error;
        call->has_error = true;
    }
    return !is_error;
}

lovage_text lovage_request(lovage_call *call) {
    text_answer answer;
    context_request(&answer);
    return keep(call, answer.is_error, answer.error) ? answer.value : (lovage_text){NULL, 0};
}

lovage_text lovage_send_signature(lovage_call *call, const char *signature) {
    text_answer answer;
    outbox_send(signature, strlen(signature), &answer);
    return keep(call, answer.is_error, answer.error) ? answer.value : (lovage_text){NULL, 0};
}

lovage_text lovage_add_to_chord(lovage_call *call, const char *signature) {
    text_answer answer;
    outbox_add_to_chord(signature, strlen(signature), &answer);
    return keep(call, answer.is_error, answer.error) ? answer.value : (lovage_text){NULL, 0};
}

lovage_step lovage_step_begin(lovage_call *call, const char *name, lovage_doubt doubt, const char *input) {
    begin_answer answer;
    steps_begin(name, strlen(name), input, strlen(input), (int32_t)doubt, &answer);
    if (!keep(call, answer.is_error, answer.error)) return (lovage_step){.state = LOVAGE_STEP_REFUSED};
    if (answer.begun.kind == 1) return (lovage_step){.state = LOVAGE_STEP_DONE, .value = answer.begun.value};
    lovage_text key;
    step_key(answer.begun.handle, &key);
    return (lovage_step){.state = answer.begun.kind == 0 ? LOVAGE_STEP_RUN : LOVAGE_STEP_AMBIGUOUS,
                         .key = lovage_copy(key), .handle = answer.begun.handle};
}

bool lovage_step_commit(lovage_call *call, lovage_step *step, const char *value) {
    maybe_error answer;
    step_commit(step->handle, value, strlen(value), &answer);
    return keep(call, answer.is_error, answer.error);
}

bool lovage_step_abandon(lovage_call *call, lovage_step *step) {
    maybe_error answer;
    step_abandon(step->handle, &answer);
    return keep(call, answer.is_error, answer.error);
}

static maybe_text maybe(const char *text) { return (maybe_text){text != NULL, lovage_of(text)}; }

static maybe_u64 maybe_ms(double seconds) {
    return (maybe_u64){seconds > 0, seconds > 0 ? (uint64_t)(seconds * 1000) : 0};
}

const char *lovage_send(lovage_call *call, const char *task, const char *args, const char *kwargs,
                        const lovage_options *options) {
    static const lovage_options NONE;
    if (options == NULL) options = &NONE;
    int priority = options->priority_plus_one;
    put_request request = {
        .task = lovage_of(task),
        .args = lovage_of(args ? args : "[]"),
        .kwargs = lovage_of(kwargs ? kwargs : "{}"),
        .queue = maybe(options->queue),
        .countdown_ms = maybe_ms(options->countdown_s),
        .expires_ms = maybe_ms(options->expires_s),
        .priority = {priority > 0, (uint8_t)(priority > 0 ? priority - 1 : 0)},
        .ignore_result = options->ignore_result,
        .headers = maybe(options->headers),
    };
    text_answer answer;
    outbox_put(&request, &answer);
    return keep(call, answer.is_error, answer.error) ? lovage_copy(answer.value) : NULL;
}

bool lovage_progress(lovage_call *call, const char *state, const char *meta) {
    maybe_error answer;
    progress_update(state, strlen(state), meta, strlen(meta), &answer);
    return keep(call, answer.is_error, answer.error);
}

void lovage_log(lovage_level level, const char *fields, const char *format, ...) {
    va_list list;
    va_start(list, format);
    char *line = NULL;
    int size = vasprintf(&line, format, list);
    va_end(list);
    if (size >= 0) log_write((int32_t)level, line, (size_t)size, fields ? fields : "", fields ? strlen(fields) : 0);
}

/* Exports. */

typedef struct {
    uint8_t is_some;
    lovage_text value;
} option_text;

typedef struct {
    lovage_text class_name;
    option_text module;
    lovage_text arguments;
    option_text traceback;
} failure_record;

typedef struct {
    uint8_t is_error;
    union {
        lovage_text value;
        struct {
            uint8_t kind;
            union {
                failure_record why;
                lovage_text replacement;
                struct {
                    failure_record reason;
                    maybe_u64 after_ms;
                    option_text options;
                } retry;
            };
        } error;
    };
} run_answer;

__attribute__((weak)) void lovage_setup(void) {}

static void setup(void) {
    if (lovage_tasks == NULL) lovage_setup();
}

static failure_record recorded(failure why) {
    return (failure_record){
        .class_name = why.class_name,
        .module = {why.module.at != NULL, why.module},
        .arguments = why.arguments.at ? why.arguments : lovage_of("[]"),
        .traceback = {why.traceback.at != NULL, why.traceback},
    };
}

static run_answer *ended(const lovage_call *call, int kind) {
    static run_answer answer;
    memset(&answer, 0, sizeof answer);
    if (kind == END_RETURN) {
        answer.value = call->result.at ? call->result : lovage_of("null");
        return &answer;
    }
    answer.is_error = 1;
    answer.error.kind = (uint8_t)kind;
    if (kind == END_RETRY) {
        answer.error.retry.reason = recorded(call->why);
        answer.error.retry.after_ms =
            (maybe_u64){call->has_after, call->has_after && call->after_s > 0 ? (uint64_t)(call->after_s * 1000) : 0};
        answer.error.retry.options = (option_text){call->retry_options != NULL, lovage_of(call->retry_options)};
    } else if (kind == END_REPLACE) {
        answer.error.replacement = lovage_of(call->replacement);
    } else if (kind != END_IGNORE) {
        answer.error.why = recorded(call->why);
    }
    return &answer;
}

EXPORT("lovage:task/handler@0.1.0#run")
run_answer *handler_run(const char *task, size_t task_size, const char *args, size_t args_size,
                        const char *kwargs, size_t kwargs_size) {
    static lovage_call call;
    /* Another attempt may have been in this instance. */
    call = (lovage_call){0};
    setup();
    const char *name = lovage_copy((lovage_text){task, task_size});
    for (const lovage_task *each = lovage_tasks; each != NULL; each = each->next) {
        if (strcmp(each->name, name) != 0) continue;
        call.task = each;
        bool is_bound = bind_arguments(&call, (lovage_text){args, args_size}, (lovage_text){kwargs, kwargs_size});
        int kind = is_bound ? each->run(&call).kind : END_REJECT;
        fflush(stdout);
        return ended(&call, kind);
    }
    call.why = (failure){.class_name = lovage_of("NotRegistered"), .module = lovage_of("celery.exceptions"),
                         .arguments = lovage_of(lovage_format("[%s]", lovage_quote(name)))};
    return ended(&call, END_REJECT);
}

EXPORT("lovage:task/catalog@0.1.0#describe") lovage_text *catalog_describe(void) {
    static lovage_text manifest;
    setup();
    manifest = write_manifest();
    return &manifest;
}
