"""One attempt, from JSON to JSON."""

from . import _json
from ._context import ctx
from ._failures import Failure, failure, told
from ._registry import TASKS
from .exceptions import Ignore, InvalidCall, LimitExceeded, Reject, Replace, Requeue, Retry, Unavailable


class Ended(Exception):
    """An attempt that did not succeed: `kind` is WIT's `failed`, `rejected`, `retry`, `ignored`, `requeued` or
    `replaced`; `options` is a retry's options or what it is replaced by, a JSON text."""

    def __init__(self, kind, failure=None, after_ms=None, options=None):
        super().__init__(kind, failure, after_ms)
        self.options = options
        self.kind = kind
        self.failure = failure
        self.after_ms = after_ms


def run(name, args, kwargs):
    """Runs the task `name`; the result's JSON text, or raises `Ended` and nothing else."""
    entry = TASKS.get(name)
    if entry is None:
        raise Ended("rejected", told("celery.exceptions", "NotRegistered", (name,)))
    try:
        args, kwargs = _json.loads(args), _json.loads(kwargs)
    except _json.DecodeError as error:
        raise Ended("rejected", told("kombu.exceptions", "DecodeError", (str(error),))) from None
    try:
        value = entry.call(args, kwargs)
    except Ended:
        raise
    except BaseException as error:
        raise ended(error) from None
    finally:
        ctx._forget()
    try:
        return _json.dumps(value)
    except _json.EncodeError as error:
        reason = Failure("EncodeError", "kombu.exceptions", _json.dumps([str(error)]), None)
        raise Ended("failed", reason) from None


def ended(error):
    """How an exception ends an attempt."""
    if isinstance(error, Retry):
        reason = error.__cause__ or error
        after = None if error.after is None else max(0, round(error.after * 1000))
        return Ended("retry", failure(reason), after, error.changes)
    if isinstance(error, Ignore):
        return Ended("ignored")
    if isinstance(error, Requeue):
        return Ended("requeued", failure(error))
    if isinstance(error, Replace):
        return Ended("replaced", options=error.signature)
    if isinstance(error, (Reject, Unavailable, InvalidCall, LimitExceeded)):
        return Ended("rejected", failure(error))
    if isinstance(error, SystemExit):
        # What Celery tells of a worker's process that went this way.
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        text = f"Worker exited prematurely: exitcode {code}."
        return Ended("failed", told("billiard.exceptions", "WorkerLostError", (text,)))
    return Ended("failed", failure(error))
