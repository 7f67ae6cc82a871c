"""`logging` to the host's log."""

import logging

from . import _json
from ._failures import clean, trace
from ._host import host

_OWN = frozenset(
    "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno "
    "funcName created msecs relativeCreated thread threadName processName process taskName message "
    "asctime".split()
)


def level_of(number):
    """The host's level for one of Python's."""
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warn"
    if number >= logging.INFO:
        return "info"
    return "debug" if number >= logging.DEBUG else "trace"


class HostHandler(logging.Handler):
    """Writes each record as one structured line: ``extra=`` becomes its fields."""

    def emit(self, record):
        try:
            message = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                message = f"{message}\n{trace(record.exc_info[1])}".rstrip("\n")
            fields = {name: value for name, value in vars(record).items() if name not in _OWN}
            fields["logger"] = record.name
            try:
                text = _json.dumps(fields)
            except _json.EncodeError:
                text = _json.dumps({name: str(value) for name, value in fields.items()})
            host().log(level_of(record.levelno), clean(message), text)
        except Exception:
            self.handleError(record)


def install():
    """Makes the host's log the place where records go; `logging.basicConfig` changes nothing then."""
    root = logging.getLogger()
    root.addHandler(HostHandler())
    root.setLevel(logging.INFO)
