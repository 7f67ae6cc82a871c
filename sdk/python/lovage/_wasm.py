"""The host behind the imports of `lovage:task`. Only a module can import this."""

from componentize_py_types import Err
from wit_world.imports import context, log, outbox, progress, steps

from ._failures import clean
from ._host import LEVELS
from ._types import types
from .exceptions import (
    Denied,
    HostError,
    InvalidCall,
    LimitExceeded,
    SoftTimeLimitExceeded,
    Unavailable,
)

_LEVELS = dict(
    zip(LEVELS, (log.Level.TRACE, log.Level.DEBUG, log.Level.INFO, log.Level.WARN, log.Level.ERROR))
)
_DOUBTS = {"retry": steps.OnDoubt.RETRY, "fail": steps.OnDoubt.FAIL, "ask": steps.OnDoubt.ASK}
_ERRORS = {
    types.HostError_Unavailable: Unavailable,
    types.HostError_Invalid: InvalidCall,
    types.HostError_Limit: LimitExceeded,
    types.HostError_Other: HostError,
}


def _asked(call, *arguments):
    try:
        return call(*arguments)
    except Err as error:
        said = error.value
    kind = _ERRORS.get(type(said))
    raise SoftTimeLimitExceeded() if kind is None else kind(said.value)


def _no_hosts(*_):
    raise Denied("no task of this module asks for a host; see `capabilities`")


try:
    # There only where a task asks for a host.
    from ._sending import send as _send
except ImportError:
    _send = _no_hosts


class Imports:
    """Answers by asking the host."""

    send_http = staticmethod(_send)

    current = staticmethod(context.current)
    revoked = staticmethod(context.revoked)

    def time_left(self):
        left = context.time_left()
        return left.soft_ms, left.hard_ms

    def put(self, task, args, kwargs, options):
        return _asked(outbox.put, clean(task), args, kwargs, outbox.Options(**options))

    def send(self, signature):
        return _asked(outbox.send, signature)

    def add_to_chord(self, signature):
        return _asked(outbox.add_to_chord, signature)

    def request(self):
        return _asked(context.request)

    def progress(self, state, meta):
        _asked(progress.update, clean(state), meta)

    def log(self, level, message, fields):
        log.write(_LEVELS[level], clean(message), fields)

    def begin(self, name, input, doubt):
        begun = _asked(steps.begin, clean(name), input, _DOUBTS[doubt])
        if isinstance(begun, steps.Begun_Replay):
            return "replay", begun.value
        how = "run" if isinstance(begun, steps.Begun_Run) else "ambiguous"
        return how, _Handle(begun.value)


class _Handle:
    def __init__(self, resource):
        self._resource = resource

    def key(self):
        return self._resource.key()

    def commit(self, value):
        _asked(self._resource.commit, value)

    def abandon(self):
        _asked(self._resource.abandon)
