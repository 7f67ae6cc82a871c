"""Requests to other machines, for tasks that ask for their hosts: ``capabilities=["http:HOST"]``.

    from lovage import http, task

    @task(name="shop.rate", capabilities=["http:api.bank.example"])
    def rate(currency: str) -> float:
        answer = http.get(f"https://api.bank.example/rates/{currency}", timeout=5)
        answer.raise_for_status()
        return answer.json()["rate"]

The worker sends them, over a connection of their own. A request is sent when it is complete, and its
answer is there when all of it has come. Redirects are answers. A ``POST`` or a ``PATCH`` is given an
``Idempotency-Key`` that is the same in every attempt, unless it has one.

Where nobody is there, a request raises Python's own `ConnectionError`, and where it took too long
`TimeoutError`: tasks retry on these as they always did. A host that was not granted is `Denied`.
"""

import json as _json
from urllib.parse import urlencode, urlsplit

from ._host import host
from ._units import seconds
from .exceptions import Denied, HTTPError, InvalidCall

__all__ = ["Denied", "HTTPError", "Response", "delete", "get", "patch", "post", "put", "request"]


class Response:
    """An answer: `status`, `headers` (names in small letters, the last one of a name), `body`."""

    def __init__(self, status, headers=(), body=b""):
        self.status = status
        self.all_headers = [(name.lower(), value) for name, value in headers]
        self.headers = dict(self.all_headers)
        self.body = body

    @property
    def ok(self):
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self):
        """The body as a text, in the charset that it names or UTF-8."""
        _, _, charset = self.headers.get("content-type", "").partition("charset=")
        charset = charset.split(";")[0].strip(" \"'") or "utf-8"
        try:
            return self.body.decode(charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    def json(self):
        """The body's JSON."""
        return _json.loads(self.body)

    def raise_for_status(self):
        """Raises `HTTPError` when the status is 400 or above."""
        if not self.ok:
            raise HTTPError(f"the status is {self.status}", self)

    def __repr__(self):
        return f"<Response {self.status}>"


_NONE = object()


def request(method, url, *, params=None, headers=None, body=None, data=None, json=_NONE, timeout=None):
    """Sends a request and returns its answer, whatever its status.

    `params` are added to the URL; `body` is bytes or a text, `data` a form's fields, `json` any value.
    `timeout` is seconds, or a text such as ``"5s"``.
    """
    said = dict(headers or {})
    names = {name.lower() for name in said}
    if sum((body is not None, data is not None, json is not _NONE)) > 1:
        raise InvalidCall("a request has one of body, data and json")
    kind = None
    if json is not _NONE:
        body, kind = _json.dumps(json), "application/json"
    elif data is not None:
        body, kind = urlencode(data, doseq=True), "application/x-www-form-urlencoded"
    if kind and "content-type" not in names:
        said["content-type"] = kind
    if isinstance(body, str):
        body = body.encode()
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidCall(f"{url!r} is no URL of http or https")
    query = "&".join(part for part in (parts.query, urlencode(params or {}, doseq=True)) if part)
    target = (parts.path or "/") + (f"?{query}" if query else "")
    fields = [(name.lower(), _bytes(value)) for name, value in said.items()]
    within = None if timeout is None else seconds(timeout, "timeout")
    answer = host().send_http(
        method.upper(), parts.scheme, parts.netloc, target, fields, bytes(body or b""), within
    )
    status, came, content = answer
    return Response(status, [(name, value.decode("latin-1")) for name, value in came], content)


def _bytes(value):
    return value if isinstance(value, bytes) else str(value).encode()


def get(url, **options):
    """`request` with GET."""
    return request("GET", url, **options)


def post(url, **options):
    """`request` with POST."""
    return request("POST", url, **options)


def put(url, **options):
    """`request` with PUT."""
    return request("PUT", url, **options)


def patch(url, **options):
    """`request` with PATCH."""
    return request("PATCH", url, **options)


def delete(url, **options):
    """`request` with DELETE."""
    return request("DELETE", url, **options)
