/* The tasks that every language's SDK is measured by, in C. */
#include <lovage.h>
#include <stdio.h>

LOVAGE_MODULE("conformance");

LOVAGE_TASK(add, "conformance.add", .params = "x: int, y: int", .doc = "Adds two numbers.") {
    return lovage_return_int(call, lovage_int(call, "x") + lovage_int(call, "y"));
}

LOVAGE_TASK(echo, "conformance.echo", .params = "value", .doc = "Any JSON value, as it came.") {
    return lovage_return_json(call, lovage_json(call, "value"));
}

LOVAGE_TASK(fail, "conformance.fail", .params = "message: text = \"no stock\"",
            .doc = "Fails with an exception of the module's own.", .retry_only_on_request = true) {
    const char *message = lovage_string(call, "message");
    lovage_arguments(call, lovage_format("[%s, 42, {\"sku\": \"A-1\"}]", lovage_quote(message)));
    return LOVAGE_FAIL(call, "OutOfStock", "%s", message);
}

LOVAGE_TASK(retry, "conformance.retry", .params = "after: number = 0.1",
            .doc = "Asks to be run again until its retries are used up.", .max_retries = 2) {
    uint32_t retries = lovage_attempt(call)->retries;
    if (retries < 2) {
        lovage_after(call, lovage_number(call, "after"));
        return LOVAGE_RETRY(call, "not yet");
    }
    return lovage_return_int(call, retries);
}

LOVAGE_TASK(exhaust, "conformance.exhaust", .doc = "Fails with what it retries on.", .max_retries = 1,
            .retry_delay_s = 0.05) {
    return LOVAGE_FAIL(call, "ConnectionError", "bank down");
}

LOVAGE_TASK(reject, "conformance.reject", .params = "reason: text = \"never\"",
            .doc = "Is not to be run again.") {
    return LOVAGE_REJECT(call, "%s", lovage_string(call, "reason"));
}

LOVAGE_TASK(steps, "conformance.steps", .params = "order: int", .doc = "Charges once over two attempts.",
            .max_retries = 1) {
    uint32_t retries = lovage_attempt(call)->retries;
    const char *input = lovage_copy(lovage_json(call, "order"));
    lovage_step step = lovage_step_begin(call, "charge", LOVAGE_IN_DOUBT_RETRY, input);
    if (step.state == LOVAGE_STEP_REFUSED) return LOVAGE_HOST_ERROR(call);
    if (step.state != LOVAGE_STEP_DONE) {
        step.value = lovage_of(lovage_format("\"%s/%u\"", step.key, (unsigned)retries));
        if (!lovage_step_commit(call, &step, step.value.at)) return LOVAGE_HOST_ERROR(call);
    }
    if (retries == 0) {
        lovage_after(call, 0);
        return LOVAGE_RETRY(call, "mail is down");
    }
    return lovage_return(call, "[%s, %u]", lovage_copy(step.value), (unsigned)retries);
}

LOVAGE_TASK(outbox, "conformance.outbox", .params = "good: bool = true",
            .doc = "Calls another task, if it succeeds.", .retry_only_on_request = true) {
    const lovage_options options = {.headers = "{\"tenant\": \"acme\"}"};
    const char *id = lovage_send(call, "conformance.add", "[20, 22]", NULL, &options);
    if (id == NULL) return LOVAGE_HOST_ERROR(call);
    if (!lovage_bool(call, "good")) return LOVAGE_FAIL(call, "ValueError", "the call must not leave");
    return lovage_return_text(call, id);
}

LOVAGE_TASK(progress, "conformance.progress", .params = "hold_ms: int = 0", .doc = "Shows how far it is.") {
    if (!lovage_progress(call, "PROGRESS", "{\"done\": 3, \"of\": 10}")) return LOVAGE_HOST_ERROR(call);
    lovage_sleep_ms(lovage_int(call, "hold_ms"));
    return lovage_return_text(call, "finished");
}

LOVAGE_TASK(log_lines, "conformance.log", .doc = "A line of each level.") {
    static const char *const LEVELS[] = {"trace", "debug", "info", "warn", "error"};
    for (int level = LOVAGE_TRACE; level <= LOVAGE_ERROR; level++)
        lovage_log((lovage_level)level, "{\"number\": 1}", "a line of %s", LEVELS[level]);
    puts("a line on standard output");
    return lovage_return_null(call);
}

LOVAGE_TASK(soft, "conformance.soft", .doc = "Waits longer than it may, and tidies up.",
            .soft_time_limit_s = 0.2, .time_limit_s = 10) {
    if (lovage_sleep_ms(8000)) return lovage_return_text(call, "never told");
    return lovage_return_text(call, "SoftTimeLimitExceeded after tidying up");
}

LOVAGE_TASK(once, "conformance.once", .params = "order_id: int", .doc = "Happens once for an order.",
            .idempotency_key = "order:{order_id}") {
    return lovage_return_text(call, lovage_attempt(call)->idempotency_key);
}

LOVAGE_TASK(typed, "conformance.typed", .params = "item: {sku: text, count: int = 1}, note: text?",
            .doc = "Has a schema.") {
    return lovage_return_int(call, *lovage_string(call, "item.sku") ? lovage_int(call, "item.count") : 0);
}

/* A call of `conformance.add`, as Celery writes it. */
static const char *addition(long long x, long long y, const char *options) {
    return lovage_format("{\"task\": \"conformance.add\", \"args\": [%lld, %lld], \"kwargs\": {}, \"options\": %s}", x, y,
                         options);
}

LOVAGE_TASK(ignore, "conformance.ignore", .params = "child: text",
            .doc = "Sends a call of this id, and says nothing of its own end.") {
    const char *child = lovage_quote(lovage_string(call, "child"));
    const char *options = lovage_format("{\"task_id\": %s}", child);
    if (lovage_send_signature(call, addition(20, 22, options)).at == NULL) return LOVAGE_HOST_ERROR(call);
    return lovage_ignore(call);
}

LOVAGE_TASK(requeue, "conformance.requeue", .doc = "Goes back to its queue once.") {
    if (!lovage_attempt(call)->redelivered) return LOVAGE_REQUEUE(call, "once more");
    return lovage_return_text(call, "redelivered");
}

LOVAGE_TASK(replace, "conformance.replace", .params = "x: int", .doc = "Has another call take its place.") {
    return lovage_replace(call, addition(lovage_int(call, "x"), 100, "{}"));
}

LOVAGE_TASK(changed, "conformance.changed", .params = "word: text", .max_retries = 1,
            .doc = "Asks to be run again with another word.") {
    uint32_t retries = lovage_attempt(call)->retries;
    if (retries == 0) {
        lovage_after(call, 0);
        lovage_retry_options(call, "{\"args\": [], \"kwargs\": {\"word\": \"second\"}}");
        return LOVAGE_RETRY(call, "another word");
    }
    return lovage_return(call, "[%s, %u]", lovage_quote(lovage_string(call, "word")), (unsigned)retries);
}

LOVAGE_TASK(canvas, "conformance.canvas", .params = "x: int", .doc = "Sends a chord, and returns its result's tuple.") {
    long long x = lovage_int(call, "x");
    const char *body = "{\"task\": \"conformance.echo\", \"args\": [], \"kwargs\": {}, \"options\": {}}";
    const char *parts = lovage_format("{\"header\": [%s, %s], \"body\": %s}", addition(x, 1, "{}"),
                                      addition(x, 2, "{}"), body);
    const char *chord = lovage_format("{\"task\": \"celery.chord\", \"args\": [], \"kwargs\": %s, \"options\": {}, "
                                      "\"subtask_type\": \"chord\"}", parts);
    lovage_text result = lovage_send_signature(call, chord);
    return result.at == NULL ? LOVAGE_HOST_ERROR(call) : lovage_return_json(call, result);
}

LOVAGE_TASK(request, "conformance.request", .params = "word: text", .doc = "All that Celery's request has.") {
    lovage_text request = lovage_request(call);
    return request.at == NULL ? LOVAGE_HOST_ERROR(call) : lovage_return_json(call, request);
}

LOVAGE_TASK(ask, "conformance.http", .params = "url: text", .doc = "Asks a server.",
            .capabilities = "http:127.0.0.1:*") {
    const lovage_http_header headers[] = {{"X-Mine", "conformance"}, {"Content-Type", "application/json"}};
    lovage_http_response answer;
    const lovage_http_request asked = {
        .method = "POST", .url = lovage_string(call, "url"), .headers = headers, .header_count = 2,
        .body = lovage_of("{\"number\": 7}"), .timeout_s = 10,
    };
    if (!lovage_http(call, &asked, &answer)) return LOVAGE_HOST_ERROR(call);
    if (answer.status >= 400) return LOVAGE_FAIL(call, "HTTPError", "the status is %d", answer.status);
    const char *theirs = lovage_quote(lovage_copy(lovage_http_header_of(&answer, "X-Theirs")));
    return lovage_return(call, "[%d, %s, %s]", answer.status, theirs, lovage_copy(answer.body));
}

static int attempts;

LOVAGE_TASK(count, "conformance.count", .doc = "Which attempt this is in its instance.") {
    return lovage_return_int(call, ++attempts);
}

LOVAGE_TASK(shared, "conformance.shared", .doc = "The same in one that attempts share, and its id.", .reuse = 100) {
    return lovage_return(call, "[%d, %s]", ++attempts, lovage_quote(lovage_attempt(call)->task_id));
}

LOVAGE_TASK(sleep_for, "conformance.sleep", .params = "seconds: number",
            .doc = "Waits; other tasks run meanwhile.") {
    lovage_sleep_ms((int64_t)(lovage_number(call, "seconds") * 1000));
    return lovage_return_json(call, lovage_json(call, "seconds"));
}
