"""The tasks of this module by their names, whichever API declared them."""

#: name → an object with `name`, `call(args, kwargs)` and `manifest()`.
TASKS = {}


class TaskNameError(ValueError):
    """Two tasks have one name, or a name that no caller could use."""


def register(entry):
    """Adds a task; the same function declared again under its name replaces itself."""
    name = entry.name
    if not isinstance(name, str) or not name or len(name.encode("utf-8")) > 255:
        raise TaskNameError(f"a task's name has 1 to 255 bytes, and {name!r} has not")
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in name):
        raise TaskNameError(f"a task's name has no control characters, and {name!r} has")
    known = TASKS.get(name)
    if known is not None and known.source != entry.source:
        raise TaskNameError(f"two tasks have the name {name!r}: {known.source} and {entry.source}")
    TASKS[name] = entry
    return entry


def source_of(function):
    """Where a function is written, for messages."""
    code = getattr(function, "__code__", None)
    if code is None:
        return getattr(function, "__qualname__", repr(function))
    return f"{code.co_filename}:{code.co_firstlineno}"
