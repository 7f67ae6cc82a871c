"""The limits' exceptions, under the module that callers find them in."""

from lovage.exceptions import SoftTimeLimitExceeded


class TimeLimitExceeded(Exception):
    """The hard time limit is over. Task code never sees it: its instance is gone then."""


class WorkerLostError(Exception):
    """The worker's process went away."""


class Terminated(Exception):
    """The task was revoked while it ran."""


__all__ = ["SoftTimeLimitExceeded", "Terminated", "TimeLimitExceeded", "WorkerLostError"]
