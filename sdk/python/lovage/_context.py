"""The attempt that runs, and what it may ask the host for."""

import logging

from . import _json
from ._host import host

_log = logging.getLogger("lovage.task")


class Context:
    """The running attempt. There is one object, `lovage.ctx`; the host is asked when a task asks.

    Outside of a running task every question but `log` raises `Unavailable`.
    """

    __slots__ = ("_attempt", "_headers")

    def __init__(self):
        self._forget()

    def _forget(self):
        self._attempt = None
        self._headers = None

    @property
    def attempt(self):
        """All fields of the attempt, as the contract names them."""
        if self._attempt is None:
            self._attempt = host().current()
        return self._attempt

    @property
    def task_id(self):
        """The task's id: the same over all its attempts."""
        return self.attempt.task_id

    @property
    def root_id(self):
        """The first task of the tree that this one belongs to."""
        return self.attempt.root_id

    @property
    def parent_id(self):
        """The task that sent this one."""
        return self.attempt.parent_id

    @property
    def retries(self):
        """How often the task was retried before this attempt."""
        return self.attempt.retries

    @property
    def max_retries(self):
        """How many retries the policy allows; None is no bound."""
        return self.attempt.max_retries

    @property
    def idempotency_key(self):
        """The key under which this task happens once."""
        return self.attempt.idempotency_key

    @property
    def queue(self):
        """The queue that the message came from."""
        return self.attempt.queue

    @property
    def redelivered(self):
        """Whether the broker delivered this message before."""
        return self.attempt.redelivered

    @property
    def headers(self):
        """All headers of the message, a dict."""
        if self._headers is None:
            self._headers = _json.loads(self.attempt.headers)
        return self._headers

    @property
    def soft_time_left(self):
        """Seconds until the soft limit, None where there is none."""
        soft, _ = host().time_left()
        return None if soft is None else soft / 1000

    @property
    def time_left(self):
        """Seconds until the attempt is ended."""
        return host().time_left()[1] / 1000

    @property
    def revoked(self):
        """Whether the task was revoked while it ran; who can stop early asks now and then."""
        return host().revoked()

    def progress(self, state, meta=None):
        """Shows a state such as ``PROGRESS`` to whoever asks for the result."""
        host().progress(state, _json.dumps(meta))

    @property
    def request(self):
        """All that Celery's `Task.request` has, a dict; it is asked for outside of the sandbox."""
        return _json.loads(host().request())

    def send_signature(self, signature):
        """Sends any signature of Celery's (a dict) if this attempt succeeds; its result's tuple."""
        return _json.loads(host().send(_json.dumps(signature)))

    def add_to_chord(self, signature):
        """Sends a signature as one more member of the chord that this task is a member of."""
        return _json.loads(host().add_to_chord(_json.dumps(signature)))

    def send(self, task, *args, **kwargs):
        """Calls another task if this attempt succeeds; returns the id that the call will have."""
        return self.call(task, args, kwargs)

    def call(
        self,
        task,
        args=(),
        kwargs=None,
        *,
        queue=None,
        countdown=None,
        expires=None,
        priority=None,
        ignore_result=False,
        headers=None,
        idempotency_key=None,
    ):
        """`send` with options. `countdown` and `expires` are seconds from the attempt's success."""
        name = task if isinstance(task, str) else task.name
        if idempotency_key is not None:
            headers = {**(headers or {}), "idempotency-key": idempotency_key}
        options = {
            "queue": queue,
            "countdown_ms": milliseconds(countdown),
            "expires_ms": milliseconds(expires),
            "priority": priority,
            "ignore_result": bool(ignore_result),
            "headers": None if headers is None else _json.dumps(headers),
        }
        return host().put(name, _json.dumps(list(args)), _json.dumps(dict(kwargs or {})), options)

    def log(self, message, level="info", **fields):
        """Writes one log line; `level` is trace, debug, info, warn or error."""
        host().log(level, str(message), _json.dumps(fields) if fields else "")


def milliseconds(seconds):
    """Seconds (a number or a timedelta) as whole milliseconds; what is past is now."""
    if seconds is None:
        return None
    seconds = getattr(seconds, "total_seconds", lambda: seconds)()
    return max(0, round(seconds * 1000))


ctx = Context()
