"""What a task raises to say how it ends, and what the host's answers become."""

from . import _json
from ._units import seconds


class LovageError(Exception):
    """The base of what this package raises."""


class Fail(LovageError):
    """The task failed; its retry policy decides whether it is run again."""


class Reject(LovageError):
    """The task failed for good: it becomes a dead letter and is not run again."""


class Retry(LovageError):
    """The task wants to be run again: after so many seconds (or ``"30s"``), or when its policy says.

    `changes` are what the next attempt has other than this one: options of Celery's `Task.retry` by
    their names, such as ``args``, ``kwargs`` and ``queue``.
    """

    def __init__(self, reason="", after=None, **changes):
        super().__init__(reason)
        self.reason = reason
        self.after = None if after is None else seconds(after, "after")
        self.changes = _json.dumps(changes) if changes else None


class Ignore(LovageError):
    """The task has seen to its end itself: nobody is told of one, no result is written. What it sent leaves."""


class Requeue(LovageError):
    """The message goes back to its queue, and is delivered again as the same attempt."""


class Replace(LovageError):
    """Another signature, in Celery's JSON form, takes this task's place: its id, and what was to follow it."""

    def __init__(self, signature):
        super().__init__("replaced")
        self.signature = _json.dumps(signature)


#: What a task raises to say how it ends, which no policy overrules.
ENDS = (Ignore, Reject, Replace, Requeue, Retry)


class HostError(LovageError):
    """The host failed; taken to be transient."""


class Unavailable(HostError):
    """The host offers nothing behind this call as it is configured."""


class InvalidCall(HostError):
    """The host refuses the call: a malformed value, or a name out of its form."""


class LimitExceeded(HostError):
    """A limit of this attempt is reached; the text names it."""


class Denied(HostError):
    """The task was not granted that host, or its address is one that tasks may not reach."""


class HTTPError(HostError):
    """A request has no answer, or one whose status is an error; `response` is it if there is one."""

    def __init__(self, message, response=None):
        super().__init__(message)
        self.response = response


class NotSupported(LovageError):
    """Celery has this and the contract with the host does not; the text says what to do instead."""


class SoftTimeLimitExceeded(Exception):
    """The soft time limit is over. Tidy up and return: the hard limit is near."""

    def __str__(self):
        return f"SoftTimeLimitExceeded{self.args!r}"


# Under this name callers know it.
SoftTimeLimitExceeded.__module__ = "billiard.exceptions"
