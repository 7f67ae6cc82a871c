/* Lovage tasks in C.
 *
 *     #include <lovage.h>
 *
 *     LOVAGE_MODULE("shop");
 *
 *     LOVAGE_TASK(add, "shop.add", .params = "x: int, y: int", .doc = "Adds two numbers.") {
 *         return lovage_return_int(call, lovage_int(call, "x") + lovage_int(call, "y"));
 *     }
 *
 * Arguments are bound and checked by `params` before the function runs: what does not fit is a
 * TypeError in the caller, and is not retried. Everything that is returned to you lives until the
 * attempt is over; nothing has to be freed. Each attempt has a fresh instance, unless `reuse` is set: no static
 * outlives it.
 */
#ifndef LOVAGE_H
#define LOVAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of UTF-8, not ended by a zero. `at` is NULL where there is nothing. */
typedef struct {
    const char *at;
    size_t size;
} lovage_text;

/* One attempt of a task. */
typedef struct lovage_call lovage_call;

/* How an attempt ends: made by the functions and macros below, returned by the task. */
typedef struct {
    int kind;
} lovage_end;

/* What the manifest says of a task. What is left out has the operator's default. */
typedef struct lovage_task {
    const char *name;
    lovage_end (*run)(lovage_call *call);
    /* The function, as messages and tracebacks name it. */
    const char *function;
    /* `name: type = default`, separated by commas. Types: any (also when left out), int, number,
     * text, bool, object, array, `[type]`, `{name: type, …}`; `type?` may be null and left out.
     * Defaults are JSON. `"order: int, items: [{sku: text, count: int = 1}], note: text?"` */
    const char *params;
    const char *doc;
    /* Retries, not counting the first attempt; -1 is none, 0 leaves it open. */
    int max_retries;
    /* Only attempts that ask for it are run again, not those that fail. */
    bool retry_only_on_request;
    /* fixed, exponential, celery, full_jitter, equal_jitter, decorrelated. */
    const char *backoff;
    double retry_delay_s;
    double retry_cap_s;
    /* A key template over the parameters, such as "order:{order_id}". */
    const char *idempotency_key;
    double time_limit_s;
    double soft_time_limit_s;
    int64_t memory_bytes;
    const char *queue;
    /* Such as "10/s". */
    const char *rate_limit;
    /* A cron expression of five fields, in UTC. */
    const char *schedule;
    /* What it asks the operator for, separated by spaces: "http:api.bank.example". */
    const char *capabilities;
    /* How many attempts may share an instance, one after another; 0 is one. What they leave behind is there. */
    int reuse;
    /* More members of the manifest's entry, as JSON without the outer braces. */
    const char *more;
    struct lovage_task *next;
} lovage_task;

/* Names the module; say it once. */
#define LOVAGE_MODULE(text) const char *const lovage_module_name = text

/* Declares a task; the function's body follows, and its parameter is `lovage_call *call`. */
#define LOVAGE_TASK(symbol, task_name, ...)                                                        \
    static lovage_end symbol(lovage_call *call);                                                   \
    static lovage_task lovage_task_##symbol = {                                                    \
        .name = task_name, .run = symbol, .function = #symbol, __VA_ARGS__};                       \
    __attribute__((constructor)) static void lovage_register_##symbol(void) {                      \
        lovage_register(&lovage_task_##symbol);                                                    \
    }                                                                                              \
    static lovage_end symbol(lovage_call *call)

/* Adds a task by hand, before `describe` or `run`. LOVAGE_TASK does it. */
void lovage_register(lovage_task *task);

/* Arguments. A path is a parameter's name, then members and positions: "items.0.sku". */

/* The JSON text there, as the caller sent it; nothing when there is none. */
lovage_text lovage_json(lovage_call *call, const char *path);
/* Whether there is something other than null. */
bool lovage_has(lovage_call *call, const char *path);
/* An integer, 0 when it is none. */
int64_t lovage_int(lovage_call *call, const char *path);
/* A number, 0 when it is none. */
double lovage_number(lovage_call *call, const char *path);
bool lovage_bool(lovage_call *call, const char *path);
/* A text without its escapes, ended by a zero; "" when it is none. */
const char *lovage_string(lovage_call *call, const char *path);
/* How many elements or members there are. */
size_t lovage_count(lovage_call *call, const char *path);

/* JSON texts of any origin. */

/* A text of C's. */
lovage_text lovage_of(const char *text);
/* The member or element at a path in a JSON text. */
lovage_text lovage_at(lovage_text json, const char *path);
/* A JSON string without its quotes and escapes, ended by a zero. */
const char *lovage_unquote(lovage_text json);
/* A JSON string of a text; for `%s` in `lovage_format`. */
const char *lovage_quote(const char *text);
/* printf into memory that lives as long as the attempt. */
const char *lovage_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same of a piece of text. */
const char *lovage_copy(lovage_text text);

/* Ends. */

lovage_end lovage_return_null(lovage_call *call);
lovage_end lovage_return_int(lovage_call *call, int64_t value);
lovage_end lovage_return_number(lovage_call *call, double value);
lovage_end lovage_return_bool(lovage_call *call, bool value);
lovage_end lovage_return_text(lovage_call *call, const char *value);
/* A JSON text, such as an argument as it came. */
lovage_end lovage_return_json(lovage_call *call, lovage_text json);
/* printf of a JSON text: lovage_return(call, "{\"order\": %d}", 7). */
lovage_end lovage_return(lovage_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The task failed with an exception of this class: its retry policy decides whether it runs again. */
#define LOVAGE_FAIL(call, class_name, ...)                                                         \
    lovage_end_with(call, 0, class_name, __FILE__, __LINE__, __func__, __VA_ARGS__)
/* The task failed for good, and is not run again. */
#define LOVAGE_REJECT(call, ...)                                                                   \
    lovage_end_with(call, 1, "celery.exceptions:Reject", __FILE__, __LINE__, __func__, __VA_ARGS__)
/* The task wants to be run again; `lovage_after` says when, else its retry policy does. */
#define LOVAGE_RETRY(call, ...)                                                                    \
    lovage_end_with(call, 2, "celery.exceptions:Retry", __FILE__, __LINE__, __func__, __VA_ARGS__)
/* The message goes back to its queue, and is delivered again as the same attempt. */
#define LOVAGE_REQUEUE(call, ...)                                                                  \
    lovage_end_with(call, 4, "celery.exceptions:Reject", __FILE__, __LINE__, __func__, __VA_ARGS__)
/* The task has seen to its end itself: no result is written. */
lovage_end lovage_ignore(lovage_call *call);
/* Another signature, in Celery's JSON, takes this task's place. */
lovage_end lovage_replace(lovage_call *call, const char *signature);
/* The host refused something: the failure that says so. */
#define LOVAGE_HOST_ERROR(call) lovage_end_of_host_error(call, __FILE__, __LINE__, __func__)

/* Before LOVAGE_RETRY: how long to wait, in seconds. */
void lovage_after(lovage_call *call, double seconds);
/* Before LOVAGE_RETRY: what the next attempt has other than this one, a JSON object with options of
 * Celery's `Task.retry` by their names. */
void lovage_retry_options(lovage_call *call, const char *json);
/* Before LOVAGE_FAIL and its like: the exception's arguments, a JSON array, instead of its message. */
void lovage_arguments(lovage_call *call, const char *json);

/* What the macros call. `class_name` may be `module:Class`. */
lovage_end lovage_end_with(lovage_call *call, int kind, const char *class_name, const char *file,
                           int line, const char *function, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
lovage_end lovage_end_of_host_error(lovage_call *call, const char *file, int line,
                                    const char *function);

/* The attempt. */

typedef struct {
    const char *task_id;
    /* NULL where there is none, as of all that follows. */
    const char *root_id, *parent_id, *group_id;
    uint32_t retries;
    /* -1 is no bound. */
    int64_t max_retries;
    const char *idempotency_key;
    const char *queue;
    /* ISO 8601. */
    const char *eta, *expires;
    bool redelivered;
    /* A JSON object. */
    lovage_text headers;
} lovage_attempt_info;

/* The attempt that the task is run for. The host is asked once. */
const lovage_attempt_info *lovage_attempt(lovage_call *call);
/* Everything else that Celery's `Task.request` has, a JSON object by Celery's names. It is made when it
 * is asked for. Nothing: LOVAGE_HOST_ERROR(call) says why. */
lovage_text lovage_request(lovage_call *call);
/* Milliseconds until the soft limit: 0 when it is over, INT64_MAX when there is none. */
int64_t lovage_soft_time_left_ms(void);
/* Milliseconds until the hard limit, at which the instance is dropped. */
int64_t lovage_time_left_ms(void);
/* Whether the task was revoked while it ran. */
bool lovage_revoked(void);
/* Waits; other tasks run meanwhile. It ends early, and is false, when the soft limit is over. */
bool lovage_sleep_ms(int64_t milliseconds);

/* Steps: parts of a task that happen once over all its attempts. */

typedef enum {
    LOVAGE_IN_DOUBT_RETRY = 0, /* do it again: the receiver knows the key */
    LOVAGE_IN_DOUBT_FAIL = 1,  /* park the task until a person decides */
    LOVAGE_IN_DOUBT_ASK = 2    /* tell the task, which may look */
} lovage_doubt;

typedef enum {
    LOVAGE_STEP_REFUSED = -1,  /* return LOVAGE_HOST_ERROR(call) */
    LOVAGE_STEP_RUN = 0,       /* do the effect, then lovage_step_commit */
    LOVAGE_STEP_DONE = 1,      /* `value` is what came of it */
    LOVAGE_STEP_AMBIGUOUS = 2  /* begun before, and nobody knows how it ended */
} lovage_step_state;

typedef struct {
    lovage_step_state state;
    /* The key to hand to whoever carries out the effect: the same over all attempts. */
    const char *key;
    /* JSON, where the state is DONE. */
    lovage_text value;
    int32_t handle;
} lovage_step;

/* Begins a step; `input` is JSON of what the effect depends on. */
lovage_step lovage_step_begin(lovage_call *call, const char *name, lovage_doubt doubt,
                              const char *input);
/* The effect took place, and this JSON came of it. False: return LOVAGE_HOST_ERROR(call). */
bool lovage_step_commit(lovage_call *call, lovage_step *step, const char *value);
/* The effect did not take place, and the step may be begun again. */
bool lovage_step_abandon(lovage_call *call, lovage_step *step);

/* Calls to other tasks, which leave if and only if this attempt succeeds. */

typedef struct {
    const char *queue;
    /* Seconds; 0 is not said. */
    double countdown_s, expires_s;
    /* 1 to 10 for the priorities 0 to 9; 0 is not said. */
    int priority_plus_one;
    bool ignore_result;
    /* A JSON object. */
    const char *headers;
} lovage_options;

/* Returns the id that the call will have, or NULL: then return LOVAGE_HOST_ERROR(call).
 * `args` is a JSON array or NULL, `kwargs` a JSON object or NULL, `options` may be NULL. */
const char *lovage_send(lovage_call *call, const char *task, const char *args, const char *kwargs,
                        const lovage_options *options);

/* Puts any signature in the outbox: chain, group, chord, with links, in Celery's JSON. Returns the
 * result's tuple as JSON, or nothing: then return LOVAGE_HOST_ERROR(call). */
lovage_text lovage_send_signature(lovage_call *call, const char *signature);
/* The same as one more member of the chord that this task is a member of. */
lovage_text lovage_add_to_chord(lovage_call *call, const char *signature);

/* Requests to other machines, for tasks with `capabilities` for their hosts. The worker sends them, whole, and
 * gives a POST or a PATCH without an Idempotency-Key one that is the same in every attempt. */

typedef struct {
    const char *name, *value;
} lovage_http_header;

typedef struct {
    /* NULL is GET. */
    const char *method;
    const char *url;
    const lovage_http_header *headers;
    size_t header_count;
    lovage_text body;
    /* How long to wait for the answer; 0 is as long as the worker does. */
    double timeout_s;
} lovage_http_request;

/* A header as it came; its name is in small letters. */
typedef struct {
    lovage_text name, value;
} lovage_http_field;

typedef struct {
    int status;
    lovage_text body;
    const lovage_http_field *headers;
    size_t header_count;
} lovage_http_response;

/* Sends a request and waits for the whole answer, whatever its status. False, when there is none: return
 * LOVAGE_HOST_ERROR(call). The request may have been received. */
bool lovage_http(lovage_call *call, const lovage_http_request *request, lovage_http_response *response);
/* The first header of this name; nothing when there is none. */
lovage_text lovage_http_header_of(const lovage_http_response *response, const char *name);

/* Shows a state such as PROGRESS with JSON `meta`. False: LOVAGE_HOST_ERROR(call) says why. */
bool lovage_progress(lovage_call *call, const char *state, const char *meta);

typedef enum { LOVAGE_TRACE, LOVAGE_DEBUG, LOVAGE_INFO, LOVAGE_WARN, LOVAGE_ERROR } lovage_level;

/* Writes a log line; `fields` is a JSON object or NULL. */
void lovage_log(lovage_level level, const char *fields, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
