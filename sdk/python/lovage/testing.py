"""A host for tests in a plain interpreter.

    host = Host()
    assert host.call("shop.charge", 7, 500) == "receipt"
    assert host.sent[0].task == "shop.mail"

It remembers steps over attempts, and records what was sent, shown and logged.
"""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

from . import _json, _running
from ._host import answered_by
from .exceptions import Denied, InvalidCall, SoftTimeLimitExceeded, Unavailable

RESERVED_STATES = frozenset(
    "PENDING RECEIVED STARTED SUCCESS FAILURE RETRY REVOKED REJECTED IGNORED".split()
)


class Sent(NamedTuple):
    """A call that was put in the outbox."""

    task: str
    args: list
    kwargs: dict
    options: dict
    id: str


class Requested(NamedTuple):
    """A request that a task made."""

    method: str
    url: str
    headers: dict
    body: bytes
    timeout: float | None


class Outcome(NamedTuple):
    """How an attempt ended: `kind` is succeeded, failed, rejected, retry, ignored, requeued or replaced."""

    kind: str
    value: Any = None
    failure: Any = None
    after: Any = None
    #: A retry's options, or the signature that takes the task's place.
    options: Any = None


@dataclass
class Host:
    """The host of a test. Set its fields before a call, read them after."""

    task_id: str = "task-1"
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    retries: int = 0
    max_retries: int | None = 3
    idempotency_key: str | None = None
    queue: str = "celery"
    eta: str | None = None
    expires: str | None = None
    redelivered: bool = False
    headers: dict = field(default_factory=dict)
    #: Whether it is a member of a chord.
    in_chord: bool = False
    #: Milliseconds until the soft limit; None is no limit, 0 is over.
    soft_ms: int | None = None
    hard_ms: int = 30_000
    is_revoked: bool = False
    #: Whether steps are answered; without a ledger they are not.
    has_ledger: bool = True
    sent: list = field(default_factory=list)
    shown: list = field(default_factory=list)
    logged: list = field(default_factory=list)
    #: Answers requests: a function of a `Requested` that returns an `http.Response` or raises.
    answer: Any = None
    requested: list = field(default_factory=list)
    _steps: dict = field(default_factory=dict)
    _begun: set = field(default_factory=set)
    _outbox: list = field(default_factory=list)

    def attempt(self, name, /, *args, **kwargs):
        """Runs one attempt as a worker does, through JSON; an `Outcome`."""
        return self.attempt_json(name, _json.dumps(list(args)), _json.dumps(kwargs))

    def attempt_json(self, name, args, kwargs):
        """`attempt` with arguments as JSON texts."""
        before = answered_by(self)
        self._begun, self._outbox = set(), []
        try:
            text = _running.run(name, args, kwargs)
        except _running.Ended as ended:
            after = None if ended.after_ms is None else ended.after_ms / 1000
            options = None if ended.options is None else _json.loads(ended.options)
            if ended.kind in ("ignored", "replaced"):
                self.sent.extend(self._outbox)
            return Outcome(ended.kind, failure=ended.failure, after=after, options=options)
        finally:
            answered_by(before)
        json.loads(text)
        self.sent.extend(self._outbox)
        return Outcome("succeeded", _json.loads(text))

    def call(self, name, /, *args, **kwargs):
        """Runs one attempt; its value, or an AssertionError that shows how it ended otherwise."""
        outcome = self.attempt(name, *args, **kwargs)
        assert outcome.kind == "succeeded", f"{outcome.kind}: {outcome.failure}"
        return outcome.value

    def __enter__(self):
        """Answers in a ``with`` block, for functions that are called directly."""
        self._outbox = self.sent
        self._before = answered_by(self)
        return self

    def __exit__(self, *_):
        answered_by(self._before)
        _running.ctx._forget()

    # What the guest asks.

    def current(self):
        key = self.idempotency_key or self.task_id
        fields = ("task_id", "root_id", "parent_id", "group_id", "retries", "max_retries", "queue")
        own = {name: getattr(self, name) for name in (*fields, "eta", "expires", "redelivered")}
        return SimpleNamespace(idempotency_key=key, headers=json.dumps(self.headers), **own)

    def time_left(self):
        return self.soft_ms, self.hard_ms

    def revoked(self):
        return self.is_revoked

    def _offered(self):
        if self.soft_ms == 0:
            raise SoftTimeLimitExceeded()

    def put(self, task, args, kwargs, options):
        self._offered()
        call_id = f"{self.task_id}-call-{len(self._outbox)}"
        options = {name: value for name, value in options.items() if value not in (None, False)}
        self._outbox.append(Sent(task, _json.loads(args), _json.loads(kwargs), options, call_id))
        return call_id

    def send(self, signature):
        self._offered()
        fields = _json.loads(signature)
        if not isinstance(fields, dict) or "task" not in fields:
            raise InvalidCall("a signature is an object that names its task")
        given = fields.get("options") or {}
        call_id = given.get("task_id") or f"{self.task_id}-call-{len(self._outbox)}"
        args, kwargs = fields.get("args") or [], fields.get("kwargs") or {}
        self._outbox.append(Sent(fields["task"], args, kwargs, given, call_id))
        return json.dumps([[call_id, None], None])

    def add_to_chord(self, signature):
        if not self.in_chord:
            raise InvalidCall("this task is not a member of any chord")
        return self.send(signature)

    def request(self):
        own = {name: getattr(self, name) for name in ("root_id", "parent_id", "retries", "eta", "expires")}
        info = {"exchange": "", "routing_key": self.queue, "redelivered": self.redelivered}
        own |= {"id": self.task_id, "group": self.group_id, "delivery_info": info}
        return json.dumps(own | {"headers": self.headers})

    def progress(self, state, meta):
        self._offered()
        if state in RESERVED_STATES or not state:
            raise InvalidCall(f"{state!r} is not a state that a task may set")
        self.shown.append((state, _json.loads(meta)))

    def log(self, level, message, fields):
        self.logged.append((level, message, json.loads(fields) if fields else {}))

    def send_http(self, method, scheme, authority, target, headers, body, within):
        self._offered()
        said = {name: value.decode("latin-1") for name, value in headers}
        self.requested.append(Requested(method, f"{scheme}://{authority}{target}", said, body, within))
        if self.answer is None:
            raise Denied("nobody answers here: set `answer`")
        came = self.answer(self.requested[-1])
        headers = [(name, value.encode("latin-1")) for name, value in came.all_headers]
        return came.status, headers, came.body

    def begin(self, name, input, doubt):
        self._offered()
        if not self.has_ledger:
            raise Unavailable("steps need a ledger, and this worker has none")
        if name in self._begun:
            raise InvalidCall(f"step {name!r} was begun in this attempt")
        self._begun.add(name)
        known = self._steps.get(name)
        if known is not None and known["input"] != input:
            raise InvalidCall(f"step {name!r} was begun with another input")
        if known is not None and "value" in known:
            return "replay", known["value"]
        self._steps[name] = {"input": input}
        handle = _Handle(self, name)
        if known is None or doubt == "retry":
            return "run", handle
        if doubt == "ask":
            return "ambiguous", handle
        raise InvalidCall(f"nobody knows how step {name!r} ended")


class _Handle:
    def __init__(self, host, name):
        self._host, self._name = host, name

    def key(self):
        return f"{self._host.current().idempotency_key}:{self._name}"

    def commit(self, value):
        self._host._steps[self._name]["value"] = value

    def abandon(self):
        self._host._steps.pop(self._name, None)
        self._host._begun.discard(self._name)
