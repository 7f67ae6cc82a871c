"""`@task`: a function becomes a task."""

import functools
import inspect

from . import _schema
from ._context import ctx, milliseconds
from ._prepare import WARM
from ._registry import register, source_of
from ._running import Ended, ended
from ._failures import failure
from ._units import seconds, size, template
from .exceptions import ENDS

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BACKOFFS = ("fixed", "exponential", "celery")
_JITTERS = ("none", "full", "equal", "celery")


class Task:
    """A function that is a task. Called, it is the function."""

    def __init__(self, function, name, entry, retry_on, hints, places):
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.source = source_of(function)
        self._entry = entry
        self._retry_on = retry_on
        self._hints = hints
        self._places = places

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    def call(self, args, kwargs):
        """Runs it with arguments from JSON, checked against the annotations."""
        try:
            if self._hints:
                args, kwargs = self._converted(args, kwargs)
            return self.function(*args, **kwargs)
        except ENDS:
            raise
        except TypeError as error:
            if isinstance(error, _schema.Mismatch) or _is_of_the_call(error):
                # No retry will mend it.
                raise Ended("rejected", failure(error)) from None
            raise self._ended(error) from None
        except self._retry_on as error:
            raise self._ended(error) from None

    def _ended(self, error):
        end = ended(error)
        wanted = end.kind == "failed" and isinstance(error, self._retry_on)
        return Ended("retry", end.failure) if wanted else end

    def _converted(self, args, kwargs):
        """The arguments as the annotations promise; what is missing or extra is the call's to say."""
        args = [self._one(value, place) for value, place in zip(args, self._places)] + args[len(self._places) :]
        return args, {name: self._one(value, name) for name, value in kwargs.items()}

    def _one(self, value, name):
        hint = self._hints.get(name, object)
        # Most arguments are what they should be, of a plain type.
        return value if type(value) is hint else _schema.convert(value, hint, name)

    def send(self, *args, **kwargs):
        """Calls it if the running attempt succeeds; returns the call's id."""
        return ctx.call(self.name, args, kwargs)

    def manifest(self):
        """Its entry in the module's manifest."""
        return self._entry


def task(function=None, **options):
    """Makes a task of a function: ``@task`` or ``@task(name="shop.charge", max_retries=5, …)``.

    name              what callers use; without it ``module.function``
    max_retries       retries after the first attempt (3); None is no bound
    retry_on          exceptions that are retried; others are final unless `Retry` is raised
    backoff           ``"fixed"``, ``"exponential"`` or ``"celery"``; delay, base, factor, cap, jitter
    idempotency_key   a template over the parameters, such as ``"order:{order_id}"``; idempotency_ttl
    time_limit, soft_time_limit, cpu_time_limit, memory, fuel, output    limits of one attempt
    queue, rate_limit, schedule, capabilities, ignore_result, acks_late, reuse    as the manifest says

    Times are seconds or texts such as ``"5s"``, sizes bytes or texts such as ``"64MiB"``.
    """
    if function is None:
        return functools.partial(_declare, options=options)
    return _declare(function, options)


def _declare(function, options):
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise TypeError(f"@task takes an ordinary function, not {function!r}")
    options = dict(options)
    name = options.pop("name", None) or f"{function.__module__}.{function.__qualname__}"
    try:
        signature = inspect.signature(function)
        params = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        hints = {n: h for n, h in _schema.hints_of(function).items() if n in params}
        retry_on = options.pop("retry_on", ())
        entry = {"name": name, "params": params}
        if function.__doc__:
            entry["doc"] = inspect.cleandoc(function.__doc__)
        entry |= _entry(options, params)
        entry["input_schema"] = _schema.of_arguments(function)
        entry["output_schema"] = _schema.of_result(function)
    except (TypeError, ValueError) as error:
        raise type(error)(f"task {name}: {error}") from None
    places = [p.name for p in signature.parameters.values() if p.kind in _BY_PLACE]
    return register(Task(function, name, entry, retry_on, hints, places))


def _is_of_the_call(error):
    """Whether calling the function failed, and not something inside of it."""
    frames, at = 0, error.__traceback__
    while at is not None:
        frames, at = frames + 1, at.tb_next
    return frames == 1


def _entry(options, params):
    entry = {"retry": _retry(options)}
    key = options.pop("idempotency_key", None)
    if key is not None:
        entry["idempotency"] = {"key": template(key, params)}
        ttl = options.pop("idempotency_ttl", None)
        if ttl is not None:
            entry["idempotency"]["ttl_s"] = int(seconds(ttl, "idempotency_ttl"))
    limits = {}
    for option, field in (
        ("time_limit", "time_ms"),
        ("soft_time_limit", "soft_time_ms"),
        ("cpu_time_limit", "cpu_time_ms"),
    ):
        value = options.pop(option, None)
        if value is not None:
            limits[field] = milliseconds(seconds(value, option))
    for option, field in (("memory", "memory_bytes"), ("fuel", "fuel"), ("output", "output_bytes")):
        value = options.pop(option, None)
        if value is not None:
            limits[field] = size(value, option)
    if limits:
        entry["limits"] = limits
    for option in (
        "queue",
        "rate_limit",
        "schedule",
        "ignore_result",
        "store_errors_even_if_ignored",
        "acks_late",
        "reuse",
    ):
        if option in options:
            entry[option] = options.pop(option)
    if "capabilities" in options:
        entry["capabilities"] = list(options.pop("capabilities"))
    if options:
        raise TypeError(f"no such option: {', '.join(sorted(options))}")
    return entry


def _retry(options):
    # What asks for it is retried; `retry_on` asks for its exceptions.
    retry = {"max": options.pop("max_retries", 3), "on_failure": False}
    for option, known in (("backoff", _BACKOFFS), ("jitter", _JITTERS)):
        if option in options:
            retry[option] = options.pop(option)
            if retry[option] not in known:
                raise ValueError(f"{option} is one of {', '.join(known)}, not {retry[option]!r}")
    if "factor" in options:
        retry["factor"] = options.pop("factor")
    for option in ("delay", "base", "cap"):
        if option in options:
            retry[f"{option}_s"] = seconds(options.pop(option), option)
    return retry


def _add(x, y):
    return x + y


# For warming up; it belongs to nobody.
WARM.append(Task(_add, "lovage.warm", {}, (), {"x": int, "y": int}, ["x", "y"]))
