/* The module's manifest: what its `describe` answers. */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

lovage_task *lovage_tasks;

__attribute__((weak)) const char *const lovage_module_name = "module";

/* Registers tasks of languages that have no constructors; C has them. */
__attribute__((weak)) const char *lovage_language(void) { return "c"; }

void lovage_register(lovage_task *task) {
    task->next = lovage_tasks;
    lovage_tasks = task;
}

static void write_text(buffer *out, const char *name, const char *value) {
    if (value == NULL) return;
    buffer_text(out, lovage_format(",\"%s\":%s", name, lovage_quote(value)));
}

/* The retry policy: absent unless something was said of it. */
static void write_retry(buffer *out, const lovage_task *task) {
    bool is_silent = task->max_retries == 0 && !task->retry_only_on_request && task->backoff == NULL &&
                     task->retry_delay_s == 0 && task->retry_cap_s == 0;
    if (is_silent) return;
    buffer_text(out, ",\"retry\":{");
    buffer_text(out, task->retry_only_on_request ? "\"on_failure\":false" : "\"on_failure\":true");
    if (task->max_retries != 0)
        buffer_format(out, ",\"max\":%d", task->max_retries < 0 ? 0 : task->max_retries);
    write_text(out, "backoff", task->backoff);
    bool is_fixed = task->backoff == NULL || strcmp(task->backoff, "fixed") == 0;
    if (task->retry_delay_s > 0)
        buffer_format(out, ",\"%s\":%g", is_fixed ? "delay_s" : "base_s", task->retry_delay_s);
    if (task->retry_cap_s > 0) buffer_format(out, ",\"cap_s\":%g", task->retry_cap_s);
    buffer_text(out, "}");
}

static void write_limits(buffer *out, const lovage_task *task) {
    const char *separator = "";
    buffer_text(out, ",\"limits\":{");
    if (task->time_limit_s > 0) {
        buffer_format(out, "\"time_ms\":%lld", (long long)(task->time_limit_s * 1000));
        separator = ",";
    }
    if (task->soft_time_limit_s > 0) {
        buffer_format(out, "%s\"soft_time_ms\":%lld", separator, (long long)(task->soft_time_limit_s * 1000));
        separator = ",";
    }
    if (task->memory_bytes > 0)
        buffer_format(out, "%s\"memory_bytes\":%lld", separator, (long long)task->memory_bytes);
    buffer_text(out, "}");
}

/* Words separated by spaces, as a list. */
static void write_words(buffer *out, const char *name, const char *words) {
    if (words == NULL) return;
    buffer_text(out, lovage_format(",\"%s\":", name));
    const char *separator = "[";
    while (*(words += strspn(words, " ")) != 0) {
        size_t size = strcspn(words, " ");
        buffer_text(out, separator);
        buffer_quoted(out, words, size);
        words += size;
        separator = ",";
    }
    buffer_text(out, *separator == '[' ? "[]" : "]");
}

static void write_task(buffer *out, const lovage_task *task) {
    buffer_text(out, "{\"name\":");
    buffer_text(out, lovage_quote(task->name));
    write_parameters(out, task->params ? task->params : "");
    write_text(out, "doc", task->doc);
    write_retry(out, task);
    write_limits(out, task);
    if (task->idempotency_key != NULL)
        buffer_text(out, lovage_format(",\"idempotency\":{\"key\":%s}", lovage_quote(task->idempotency_key)));
    write_text(out, "queue", task->queue);
    write_text(out, "rate_limit", task->rate_limit);
    write_text(out, "schedule", task->schedule);
    write_words(out, "capabilities", task->capabilities);
    if (task->reuse > 0) buffer_format(out, ",\"reuse\":%d", task->reuse);
    if (task->more != NULL) buffer_text(out, lovage_format(",%s", task->more));
    buffer_text(out, "}");
}

static int by_name(const void *one, const void *other) {
    return strcmp((*(const lovage_task *const *)one)->name, (*(const lovage_task *const *)other)->name);
}

lovage_text write_manifest(void) {
    size_t count = 0, index = 0;
    for (lovage_task *each = lovage_tasks; each != NULL; each = each->next) count++;
    const lovage_task **sorted = calloc(count + 1, sizeof *sorted);
    if (sorted == NULL) abort();
    for (lovage_task *each = lovage_tasks; each != NULL; each = each->next) sorted[index++] = each;
    qsort(sorted, count, sizeof *sorted, by_name);
    buffer out = {0};
    buffer_text(&out, "{\"v\":1,\"abi\":\"lovage:task@0.1.0\",\"module\":");
    buffer_text(&out, lovage_quote(lovage_module_name));
    write_text(&out, "language", lovage_language());
    buffer_text(&out, ",\"tasks\":[");
    for (index = 0; index < count; index++) {
        if (index > 0) buffer_text(&out, ",");
        write_task(&out, sorted[index]);
    }
    buffer_text(&out, "]}");
    return buffer_done(&out);
}
