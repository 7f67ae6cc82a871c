"""JSON as Celery's own bodies are: typed values, bare ``NaN``, integers of any size.

A map with exactly the keys ``__type__`` and ``__value__`` stands for a value that JSON has no form
for. Texts are ASCII, so that lone surrogates pass as escapes.
"""

import base64
import json
import sys
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import GeneratorType
from uuid import UUID

# Celery's callers send integers of any size; CPython refuses to read more than 4,300 digits by
# default, to save the CPU time that our fuel bounds anyway.
if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)


class DecodeError(ValueError):
    """A text is no JSON value, or holds a typed value of a type that nobody knows."""


class EncodeError(ValueError):
    """A value has no JSON form."""


def _bytes(value):
    try:
        return "bytes", value.decode("utf-8")
    except UnicodeDecodeError:
        return "base64", base64.b64encode(value).decode("ascii")


_WRITERS = (
    # The order matters: a datetime is a date.
    (datetime, lambda value: ("datetime", value.isoformat())),
    (date, lambda value: ("date", value.isoformat())),
    (time, lambda value: ("time", value.isoformat())),
    (Decimal, lambda value: ("decimal", str(value))),
    (UUID, lambda value: ("uuid", {"hex": value.hex})),
    ((bytes, bytearray, memoryview), lambda value: _bytes(bytes(value))),
)


def _default(value):
    """What the encoder asks for everything that JSON has no form for."""
    own = getattr(value, "__json__", None)
    if own is not None:
        return own()
    for kinds, write in _WRITERS:
        if isinstance(value, kinds):
            kind, text = write(value)
            return {"__type__": kind, "__value__": text}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, GeneratorType):
        return list(value)
    dump = getattr(value, "model_dump", None) or getattr(value, "_asdict", None)
    if dump is not None and not isinstance(value, type):
        return dump()
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_READERS = {
    "datetime": datetime.fromisoformat,
    "date": lambda text: datetime.fromisoformat(text).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda value: UUID(**{**value, "version": None}) if isinstance(value, dict) else UUID(value),
    "bytes": lambda text: text.encode("utf-8"),
    "base64": lambda text: base64.b64decode(text.encode("utf-8")),
}


def _typed(value):
    """What the decoder asks for every map."""
    if len(value) == 2 and "__type__" in value and "__value__" in value:
        kind = value["__type__"]
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is None:
            raise DecodeError(f"nobody knows the typed value {kind!r}")
        return reader(value["__value__"])
    return value


_encode = json.JSONEncoder(default=_default).encode
_plain = json.JSONDecoder().decode
_with_types = json.JSONDecoder(object_hook=_typed).decode


def dumps(value):
    """The JSON text of a value; raises `EncodeError`, caused by the encoder's own exception."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(repr(error)) from error


def loads(text):
    """The value of a JSON text; raises `DecodeError`."""
    try:
        # Most texts hold no typed value, and then no map need be looked at.
        return (_with_types if '"__type__"' in text else _plain)(text)
    except DecodeError:
        raise
    except (TypeError, ValueError, KeyError, RecursionError, ArithmeticError) as error:
        raise DecodeError(f"{type(error).__name__}: {error}") from error
