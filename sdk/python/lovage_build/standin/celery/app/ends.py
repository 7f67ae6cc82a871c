"""How an attempt ends, in Celery's words and in the contract's."""

import datetime
import random
import sys

from lovage import _json
from lovage._failures import failure, trace
from lovage._running import Ended


class ExceptionInfo:
    """An exception with its traceback, as handlers get it."""

    def __init__(self, error):
        self.exception = error
        self.type = type(error)
        self.traceback = trace(error)
        self.tb = error.__traceback__
        self.internal = False

    def __str__(self):
        return self.traceback

    def __repr__(self):
        return f"<ExceptionInfo: {self.exception!r}>"


def backoff_of(factor, retries, maximum, full_jitter):
    """Celery's waiting time before retry number `retries + 1`, seconds."""
    countdown = min(maximum, factor * 2**retries)
    if full_jitter:
        countdown = random.randrange(countdown + 1)
    return max(0, countdown)


def raise_with_context(error):
    """Raises it; what is handled now becomes its cause, unless it is that itself."""
    now = sys.exc_info()[1]
    if now is None or now is error:
        raise error
    raise error from now


def after_ms(eta, countdown):
    if eta is not None:
        if eta.tzinfo is None:
            eta = eta.replace(tzinfo=datetime.timezone.utc)
        countdown = (eta - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    return max(0, round(float(countdown) * 1000))


def rejected(error):
    reason = failure(error, with_trace=False)
    return Ended("requeued" if error.requeue else "rejected", reason)


def retry_options(options):
    """What the next attempt has other than this one, as the contract names it; None for nothing."""
    told = {}
    for name, value in options.items():
        if name not in ("retries", "task_id", "serializer", "throw") and value is not None:
            value = getattr(value, "name", value)
            told[name] = value.isoformat() if isinstance(value, datetime.datetime) else value
    return _json.dumps(told) if told else None
