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

LOVAGE_TASK(sleep_for, "conformance.sleep", .params = "seconds: number",
            .doc = "Waits; other tasks run meanwhile.") {
    lovage_sleep_ms((int64_t)(lovage_number(call, "seconds") * 1000));
    return lovage_return_json(call, lovage_json(call, "seconds"));
}
