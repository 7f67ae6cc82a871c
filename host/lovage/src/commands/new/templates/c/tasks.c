/* The tasks of {{name}}. `lovage build` makes a module of all *.c files. */
#include <lovage.h>

LOVAGE_MODULE("{{module}}");

LOVAGE_TASK(hello, "{{module}}.hello", .params = "name: text = \"world\"", .doc = "Greets someone.") {
    const char *name = lovage_string(call, "name");
    return lovage_return_text(call, lovage_format("Hello, %s!", name));
}

LOVAGE_TASK(charge, "{{module}}.charge", .params = "order_id: int, cents: int",
            .doc = "Charges an order, once.", .max_retries = 5, .backoff = "exponential",
            .idempotency_key = "order:{order_id}") {
    if (lovage_int(call, "cents") <= 0) return LOVAGE_REJECT(call, "nothing to charge");
    lovage_step step = lovage_step_begin(call, "charge", LOVAGE_IN_DOUBT_RETRY,
                                         lovage_copy(lovage_json(call, "order_id")));
    if (step.state == LOVAGE_STEP_REFUSED) return LOVAGE_HOST_ERROR(call);
    if (step.state != LOVAGE_STEP_DONE) {
        /* Hand step.key to whoever is paid: it is the same over all attempts. */
        step.value = lovage_of(lovage_quote(lovage_format("charged with the key %s", step.key)));
        if (!lovage_step_commit(call, &step, step.value.at)) return LOVAGE_HOST_ERROR(call);
    }
    return lovage_return_json(call, step.value);
}
