/* Requests to other machines, by the contract's `http`. A module that makes none does not import it: the
 * linker leaves out what nobody calls. */
#include "inside.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct {
    uint8_t is_error;
    union {
        struct {
            uint16_t status;
            const lovage_http_field *headers;
            size_t header_count;
            lovage_text body;
        } came;
        host_error error; /* counted as the interface counts them */
    };
} send_answer;

__attribute__((import_module("lovage:task/http@0.1.0"), import_name("send")))
void http_send(const char *method, size_t method_size, const char *url, size_t url_size,
               const lovage_http_field *headers, size_t header_count, const char *body, size_t body_size,
               int32_t is_limited, uint64_t timeout_ms, send_answer *out);

/* What the interface's errors are among all that a host says. */
static const uint8_t KINDS[] = {HOST_DENIED,  HOST_CONNECTION, HOST_TIMEOUT,    HOST_INVALID,
                                HOST_LIMIT,   HOST_RESPONSE,   HOST_SOFT_LIMIT, HOST_OTHER};

bool lovage_http(lovage_call *call, const lovage_http_request *request, lovage_http_response *response) {
    const char *method = request->method ? request->method : "GET";
    lovage_http_field *headers = calloc(request->header_count + 1, sizeof *headers);
    if (headers == NULL) abort();
    for (size_t index = 0; index < request->header_count; index++) {
        const lovage_http_header *given = &request->headers[index];
        headers[index] = (lovage_http_field){lovage_of(given->name), lovage_of(given->value)};
    }
    bool is_limited = request->timeout_s > 0;
    send_answer answer;
    http_send(method, strlen(method), request->url, strlen(request->url), headers, request->header_count,
              request->body.at, request->body.size, is_limited,
              is_limited ? (uint64_t)(request->timeout_s * 1000) : 0, &answer);
    free(headers);
    if (answer.is_error) {
        uint8_t kind = answer.error.kind;
        call->error = answer.error;
        call->error.kind = kind < sizeof KINDS ? KINDS[kind] : HOST_OTHER;
        call->has_error = true;
        return false;
    }
    *response = (lovage_http_response){answer.came.status, answer.came.body, answer.came.headers,
                                       answer.came.header_count};
    return true;
}

lovage_text lovage_http_header_of(const lovage_http_response *response, const char *name) {
    size_t size = strlen(name);
    for (size_t index = 0; index < response->header_count; index++) {
        lovage_text known = response->headers[index].name;
        if (known.size == size && strncasecmp(known.at, name, size) == 0) return response->headers[index].value;
    }
    return (lovage_text){NULL, 0};
}
