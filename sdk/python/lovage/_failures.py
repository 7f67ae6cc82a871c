"""From an exception to what the caller will see of it."""

import builtins
import os
import traceback
from collections import namedtuple

from . import _json

#: WIT's `types.failure`: `arguments` is a JSON array, `traceback` a text or None.
Failure = namedtuple("Failure", "exception_type exception_module arguments traceback")

_OURS = os.path.dirname(os.path.abspath(__file__))
_HIDDEN = [_OURS + os.sep]
_STRIPPED = []

#: Frames of one traceback; of a deeper one the ends are shown.
FRAMES_MAX = 40


def hide(folder):
    """Keeps the frames of a folder (the stand-ins, the entry) out of tracebacks."""
    _HIDDEN.append(os.path.abspath(folder) + os.sep)


def strip(folder):
    """Shows files below this folder by their path from there, as their author knows them."""
    if folder.strip(os.sep):
        _STRIPPED.append(folder.rstrip(os.sep) + os.sep)


def clean(text):
    """The text without lone surrogates, which UTF-8 has no form for."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def _shown(name):
    for folder in _STRIPPED:
        if name.startswith(folder):
            return name[len(folder) :]
    return name


def is_hidden(filename):
    """Whether a file's frames are kept out."""
    filename = os.path.abspath(filename)
    return any(filename.startswith(folder) for folder in _HIDDEN)


def _tidy(told, seen):
    """Takes our frames out of a traceback and of those that led to it."""
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    frames = []
    for frame in told.stack:
        if not is_hidden(frame.filename):
            frame.filename = _shown(frame.filename)
            frames.append(frame)
    if len(frames) > FRAMES_MAX:
        half = FRAMES_MAX // 2
        frames = frames[:half] + frames[-half:]
    told.stack = traceback.StackSummary.from_list(frames)
    _tidy(told.__cause__, seen)
    _tidy(told.__context__, seen)


def trace(error):
    """The traceback as Python prints it, with the author's frames and none of ours."""
    try:
        told = traceback.TracebackException.from_exception(error, compact=True)
        _tidy(told, set())
        return clean("".join(told.format()))
    except Exception as second:  # an exception whose own `__str__` fails, for one
        return f"{type(error).__name__} (its traceback cannot be shown: {type(second).__name__})\n"


def arguments(values):
    """The constructor's arguments as a JSON array; what JSON cannot hold becomes its repr."""
    texts = []
    for value in values if isinstance(values, (tuple, list)) else (values,):
        try:
            texts.append(_json.dumps(value))
        except Exception:
            texts.append(_json.dumps(_repr(value)))
    return f"[{', '.join(texts)}]"


def _repr(value):
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def failure(error, with_trace=True):
    """What the caller sees of an exception."""
    kind = type(error)
    module = kind.__module__
    if module is None or (module == "exceptions" and hasattr(builtins, kind.__name__)):
        module = "builtins"
    return Failure(
        clean(kind.__qualname__),
        clean(module),
        arguments(getattr(error, "args", ())),
        trace(error) if with_trace else None,
    )


def told(module, name, args, text=None):
    """A failure that no Python exception stands behind."""
    return Failure(name, module, arguments(args), text)
