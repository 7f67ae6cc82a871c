"""Requests by way of `wasi:http`. Only a module whose tasks ask for hosts can import this."""

from componentize_py_types import Err, Ok
from wit_world.imports import outgoing_handler, streams, wasi_http_types as types

from ._host import host
from .exceptions import (
    Denied,
    HostError,
    HTTPError,
    InvalidCall,
    LimitExceeded,
    SoftTimeLimitExceeded,
)

#: What a stream takes at once, and what is read at once.
WRITE, READ = 4096, 1 << 20

_METHODS = {
    "GET": types.Method_Get, "HEAD": types.Method_Head, "POST": types.Method_Post,
    "PUT": types.Method_Put, "DELETE": types.Method_Delete, "OPTIONS": types.Method_Options,
    "PATCH": types.Method_Patch,
}  # fmt: skip


def send(method, scheme, authority, target, headers, body, within):
    """Sends a request; answers status, headers and body."""
    outgoing = _outgoing(method, scheme, authority, target, headers)
    writing = _asked(outgoing.body)
    options = types.RequestOptions()
    if within is not None:
        options.set_first_byte_timeout(int(within * 1e9))
    with writing.write() as stream:
        # Sent first: what is written waits for somebody to take it.
        answer = _asked(outgoing_handler.handle, outgoing, options)
        taken = _written(stream, body)
    if taken:
        _asked(types.OutgoingBody.finish, writing, None)
    with answer.subscribe() as pollable:
        pollable.block()
    came = answer.get()
    if not isinstance(came, Ok):
        raise HostError("the host gave no answer")
    if isinstance(came.value, Err):
        raise _told(came.value.value)
    return _received(came.value.value)


def _outgoing(method, scheme, authority, target, headers):
    try:
        fields = types.Fields.from_list(headers)
    except Err as error:
        forbidden = isinstance(error.value, types.HeaderError_Forbidden)
        what = "is not for a task to set" if forbidden else "is malformed"
        raise InvalidCall(f"a header {what}") from None
    outgoing = types.OutgoingRequest(fields)
    kind = _METHODS.get(method)
    try:
        outgoing.set_method(kind() if kind else types.Method_Other(method))
        outgoing.set_scheme(types.Scheme_Http() if scheme == "http" else types.Scheme_Https())
        outgoing.set_authority(authority)
        outgoing.set_path_with_query(target)
    except Err:
        raise InvalidCall("the method or the URL is malformed") from None
    return outgoing


def _written(stream, body):
    """Whether all of it was taken; when not, the answer says why."""
    try:
        for start in range(0, len(body), WRITE):
            stream.blocking_write_and_flush(body[start : start + WRITE])
    except Err:
        return False
    return True


def _received(answer):
    parts = []
    with answer, answer.headers() as fields:
        headers = fields.entries()
        with answer.consume() as incoming, incoming.stream() as stream:
            try:
                while True:
                    parts.append(stream.blocking_read(READ))
            except Err as error:
                if not isinstance(error.value, streams.StreamError_Closed):
                    raise HTTPError("the answer is not complete") from None
        return answer.status(), headers, b"".join(parts)


def _asked(call, *arguments):
    try:
        return call(*arguments)
    except Err as error:
        raise _told(error.value) from None


_SAID = {
    types.ErrorCode_HttpRequestDenied: (Denied, "the host is not granted to this task"),
    types.ErrorCode_DestinationIpProhibited: (Denied, "tasks may not reach the host's address"),
    types.ErrorCode_DnsError: (ConnectionError, "the host's name is not known"),
    types.ErrorCode_ConnectionRefused: (ConnectionError, "the connection is refused"),
    types.ErrorCode_DestinationUnavailable: (ConnectionError, "the host cannot be reached"),
    types.ErrorCode_TlsCertificateError: (ConnectionError, "there is no secure connection"),
    types.ErrorCode_ConnectionTimeout: (TimeoutError, "no connection in time"),
    types.ErrorCode_HttpResponseTimeout: (TimeoutError, "no complete answer in time"),
    types.ErrorCode_HttpRequestUriInvalid: (InvalidCall, "the request is refused"),
    types.ErrorCode_HttpRequestBodySize: (LimitExceeded, "the request is too large"),
    types.ErrorCode_HttpRequestHeaderSectionSize: (LimitExceeded, "the request is too large"),
    types.ErrorCode_HttpResponseBodySize: (LimitExceeded, "the answer is too large"),
    types.ErrorCode_HttpResponseHeaderSectionSize: (LimitExceeded, "the answer is too large"),
    types.ErrorCode_ConnectionLimitReached: (LimitExceeded, "as many requests as may be made"),
    types.ErrorCode_HttpResponseIncomplete: (HTTPError, "the answer is not complete"),
    types.ErrorCode_HttpProtocolError: (HTTPError, "the answer is no HTTP"),
}


def _told(code):
    if host().time_left()[0] == 0:
        return SoftTimeLimitExceeded()
    said = getattr(code, "value", None)
    kind, message = _SAID.get(type(code), (HTTPError, f"the request has no answer: {said}"))
    return kind(message)
