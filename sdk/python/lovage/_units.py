"""Texts such as ``"5s"`` and ``"64MiB"`` as numbers."""

import datetime
import re

_TIMES = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def seconds(value, what):
    """Seconds: a number, a timedelta, or a text such as ``"500ms"``, ``"5s"``, ``"10m"``."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return value
    return _of(value, _TIMES, what, 'a time such as "5s"')


def size(value, what):
    """Bytes: a whole number, or a text such as ``"64MiB"``."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return int(_of(value, _SIZES, what, 'a size such as "64MiB"'))


def _of(value, units, what, wanted):
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)", value) if isinstance(value, str) else None
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{what}: expected {wanted}, not {value!r}")
    number = float(match[1]) * units[match[2].lower()]
    return int(number) if number == int(number) else number


def template(text, params):
    """Checks that each ``{…}`` of a key template names a parameter, or one by its position."""
    rest = text
    while "{" in rest or "}" in rest:
        before, _, rest = rest.partition("{")
        name, closed, rest = rest.partition("}")
        if "}" in before or not closed or "{" in name:
            raise ValueError(f"idempotency_key {text!r}: a brace is left open")
        root = name.split(".")[0]
        if not (int(root) < len(params) if root.isdigit() else root in params):
            raise ValueError(f"idempotency_key {text!r}: the task has no parameter {root!r}")
    return text
