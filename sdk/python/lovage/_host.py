"""The host, as the rest of this package sees it.

In a module the imports of `lovage:task` answer; elsewhere the fake host of `lovage.testing`, or
nobody. Whoever answers has the methods of `Nobody`.
"""

from .exceptions import Unavailable


class Nobody:
    """Answers when no task runs: while a module is imported, or in a plain interpreter."""

    def _unavailable(self):
        return Unavailable("no task runs here; use lovage.testing.Host to run one natively")

    def current(self):
        """The attempt: an object with the fields of WIT's `context.attempt`."""
        raise self._unavailable()

    def time_left(self):
        """Milliseconds until the soft limit (or None) and until the hard limit."""
        return None, 1 << 62

    def revoked(self):
        """Whether the task was revoked while it ran."""
        return False

    def put(self, task, args, kwargs, options):
        """Puts a call in the outbox; answers its id. Arguments are JSON texts."""
        raise self._unavailable()

    def send(self, signature):
        """Puts a signature (a JSON text) in the outbox; answers its result's tuple, a JSON text."""
        raise self._unavailable()

    def add_to_chord(self, signature):
        """The same as one more member of the running task's chord."""
        raise self._unavailable()

    def request(self):
        """All that Celery's `Task.request` has, a JSON text."""
        raise self._unavailable()

    def progress(self, state, meta):
        """Shows a custom state; `meta` is a JSON text."""
        raise self._unavailable()

    def log(self, level, message, fields):
        """Writes a log line; `fields` is a JSON object or empty."""

    def begin(self, name, input, doubt):
        """Begins a step; answers ("run" | "ambiguous", handle) or ("replay", JSON text)."""
        raise self._unavailable()

    def send_http(self, method, scheme, authority, target, headers, body, within):
        """Sends a request; answers status, headers (names and bytes) and body."""
        raise self._unavailable()


NOBODY = Nobody()
_current = NOBODY


def host():
    """Whoever answers now."""
    return _current


def answered_by(other):
    """Makes `other` answer from now on; returns who did before."""
    global _current
    before, _current = _current, other
    return before


LEVELS = ("trace", "debug", "info", "warn", "error")
