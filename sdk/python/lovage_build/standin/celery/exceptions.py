"""The exceptions that task code raises and catches, under Celery's names."""

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from kombu.exceptions import OperationalError
from lovage.exceptions import NotSupported

__all__ = [
    "AlreadyRegistered",
    "BackendError",
    "CeleryError",
    "ChordError",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotRegistered",
    "NotSupported",
    "OperationalError",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
]


class CeleryError(Exception):
    """The base of Celery's errors."""


class TaskPredicate(CeleryError):
    """The base of what a task raises to say how it ends."""


class Retry(TaskPredicate):
    """The task is to be run again: `when` is seconds or a moment, `exc` the reason."""

    #: What the next attempt has other than this one, a JSON text.
    options = None

    def __init__(self, message=None, exc=None, when=None, is_eager=False, sig=None, **kwargs):
        self.message = message
        self.exc = None if isinstance(exc, str) else exc
        self.excs = exc if isinstance(exc, str) else (repr(exc) if exc is not None else None)
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(self, exc, when, **kwargs)

    def humanize(self):
        """When, in words."""
        number = isinstance(self.when, (int, float))
        return f"in {self.when}s" if number else f"at {self.when}"

    def __str__(self):
        if self.message:
            return self.message
        because = f": {self.excs}" if self.excs else ""
        return f"Retry {self.humanize()}{because}"

    def __repr__(self):
        return str(self)


class Ignore(TaskPredicate):
    """Nobody is to be told how the task ended."""


class Reject(TaskPredicate):
    """The message is not to be run: `requeue` puts it back."""

    def __init__(self, reason=None, requeue=False):
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self):
        return f"reject requeue={self.requeue}: {self.reason}"


class ImproperlyConfigured(CeleryError):
    """The configuration cannot be right."""


class TaskError(CeleryError):
    """The base of errors about tasks."""


class QueueNotFound(KeyError, TaskError):
    """No queue has that name."""


class IncompleteStream(TaskError):
    """The end of the data is missing."""


class NotRegistered(KeyError, TaskError):
    """No task has that name."""


class AlreadyRegistered(TaskError):
    """A task has that name already."""


class TimeoutError(TaskError):  # noqa: A001, Celery's name
    """Something took too long."""


class MaxRetriesExceededError(TaskError):
    """All retries are used up."""

    def __init__(self, *args, **kwargs):
        self.task_args = kwargs.pop("task_args", [])
        self.task_kwargs = kwargs.pop("task_kwargs", {})
        super().__init__(*args)


class TaskRevokedError(TaskError):
    """The task was revoked."""


class InvalidTaskError(TaskError):
    """The message is no task."""


class ChordError(TaskError):
    """A member of a chord failed."""


class BackendError(Exception):
    """The result backend failed."""
