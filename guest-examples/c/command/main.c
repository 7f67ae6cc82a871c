/* Tasks without an SDK, in C: a program that reads JSON and prints JSON.
 *
 * Standard input is one object with `task`, `id`, `args`, `kwargs`, `attempt` (from 1) and
 * `idempotency_key`; manifest.json beside this file says which tasks there are. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* EX_TEMPFAIL of sysexits.h: to be run again. */
enum { RETRY = 75 };

static char input[1 << 20];

/* Behind the JSON value that begins at `at`. */
static char *behind(char *at) {
    int depth = 0;
    for (bool in_string = false; *at != 0; at++) {
        if (in_string) {
            if (*at == '\\') at++;
            else if (*at == '"') in_string = false;
        } else if (*at == '"') {
            in_string = true;
        } else if (*at == '[' || *at == '{') {
            depth++;
        } else if (strchr(",]}:", *at) != NULL) {
            if (*at != ',' && *at != ':') depth--;
            if (depth < 0 || (depth == 0 && (*at == ',' || *at == ':'))) return at;
        }
    }
    return at;
}

static char *skip(char *at) { return at + strspn(at, " \t\r\n,:"); }

/* The value of a name in an object, or of a position in an array; NULL when there is none. */
static char *member(char *json, const char *name, int position) {
    if (json == NULL || (*json != '{' && *json != '[')) return NULL;
    bool is_object = *json == '{';
    char *at = skip(json + 1);
    for (int index = 0; *at != 0 && *at != '}' && *at != ']'; index++) {
        bool is_it = is_object ? name != NULL && strncmp(at + 1, name, strlen(name)) == 0 &&
                                     at[1 + strlen(name)] == '"'
                               : index == position;
        if (is_object) at = skip(behind(at));
        if (is_it) return at;
        at = skip(behind(at));
    }
    return NULL;
}

static char *argument(const char *name, int position) {
    char *found = member(member(input, "args", 0), NULL, position);
    return found != NULL ? found : member(member(input, "kwargs", 0), name, 0);
}

static void print(char *json) { fwrite(json, 1, (size_t)(behind(json) - json), stdout); }

int main(int count, char **words) {
    fread(input, 1, sizeof input - 1, stdin);
    const char *task = count > 1 ? words[1] : "";
    if (strcmp(task, "conformance.add") == 0) {
        char *x = argument("x", 0), *y = argument("y", 1);
        if (x == NULL || y == NULL) return fputs("x and y are needed\n", stderr), EXIT_FAILURE;
        printf("%lld", strtoll(x, NULL, 10) + strtoll(y, NULL, 10));
    } else if (strcmp(task, "conformance.echo") == 0) {
        print(argument("value", 0));
    } else if (strcmp(task, "conformance.fail") == 0) {
        char *message = argument("message", 0);
        fprintf(stderr, "%.*s\n", (int)(behind(message) - message), message);
        return EXIT_FAILURE;
    } else if (strcmp(task, "conformance.log") == 0) {
        fputs("a line on standard error\n", stderr);
    } else if (strcmp(task, "conformance.once") == 0) {
        print(member(input, "idempotency_key", 0));
    } else {
        long attempt = strtol(member(input, "attempt", 0), NULL, 10);
        char *after = argument("after", 0);
        if (attempt <= 2) {
            printf("{\"retry\": {\"after\": %g}}", after != NULL ? strtod(after, NULL) : 0.1);
            return RETRY;
        }
        printf("%ld", attempt - 1);
    }
    return EXIT_SUCCESS;
}
