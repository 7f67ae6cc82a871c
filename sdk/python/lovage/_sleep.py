"""`time.sleep` that ends when the soft time limit is over."""

import time

from ._host import NOBODY, host
from .exceptions import SoftTimeLimitExceeded

_sleep = time.sleep


def sleep(seconds, /):
    """Sleeps; other tasks run meanwhile. Raises when the soft limit comes first."""
    asked = host()
    soft = None if asked is NOBODY else asked.time_left()[0]
    if soft is None or seconds * 1000 < soft:
        return _sleep(seconds)
    _sleep(soft / 1000)
    raise SoftTimeLimitExceeded()


def install():
    """Puts it in the place of `time.sleep`, for modules that are imported from now on."""
    time.sleep = sleep
