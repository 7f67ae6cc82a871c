"""A Celery task's entry in the module's manifest."""

import datetime
import inspect

from lovage import _json
from lovage._units import template

_RECORDED = (
    "acks_on_failure_or_timeout autoretry_for dont_autoretry_for reject_on_worker_lost retry_backoff "
    "retry_backoff_max retry_jitter retry_kwargs send_events serializer store_errors_even_if_ignored "
    "throws track_started trail typing max_retries default_retry_delay ignore_result rate_limit "
    "time_limit soft_time_limit acks_late queue priority expires"
).split()


def entry(task):
    """The entry, from the task's attributes as they are now."""
    run = task.run
    params = [
        parameter.name
        for parameter in inspect.signature(run).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    conf = task.app.conf if task.app is not None else {}
    found = {"name": task.name, "params": params, "retry": _retry(task), "celery": _recorded(task)}
    doc = task.__doc__ if task._decorated else run.__doc__
    if doc:
        found["doc"] = inspect.cleandoc(doc)
    if task.idempotency_key is not None:
        try:
            found["idempotency"] = {"key": template(task.idempotency_key, params)}
        except ValueError as error:
            raise ValueError(f"task {task.name} ({task.source}): {error}") from None
        if task.idempotency_ttl is not None:
            found["idempotency"]["ttl_s"] = int(_seconds(task.idempotency_ttl))
    limits = {}
    for name, field in (("time_limit", "time_ms"), ("soft_time_limit", "soft_time_ms")):
        value = getattr(task, name)
        value = conf.get(f"task_{name}") if value is None else value
        if value:
            limits[field] = max(1, round(_seconds(value) * 1000))
    if limits:
        found["limits"] = limits
    rate = task.rate_limit or conf.get("task_default_rate_limit")
    if rate:
        found["rate_limit"] = str(rate)
    queue = task.queue or (task.app.route(task.name) if task.app is not None else None)
    queue = queue or conf.get("task_default_queue")
    if queue:
        found["queue"] = getattr(queue, "name", queue)
    ignore = conf.get("task_ignore_result") if task.ignore_result is None else task.ignore_result
    if ignore:
        found["ignore_result"] = True
    if task.store_errors_even_if_ignored or conf.get("task_store_errors_even_if_ignored"):
        found["store_errors_even_if_ignored"] = True
    if task.track_started or conf.get("task_track_started"):
        found["track_started"] = True
    late = conf.get("task_acks_late") if task.acks_late is None else task.acks_late
    if late is not None:
        found["acks_late"] = bool(late)
    return found


def _retry(task):
    most = [task.max_retries]
    if task.autoretry_for and "max_retries" in task.retry_kwargs:
        most.append(task.retry_kwargs["max_retries"])
    unbounded = None in most or _says_max_retries(task.run)
    # The guest decides what is retried and when, so the host is told the bound alone; where a call
    # of `retry()` has a bound of its own, that is the guest's, too.
    retry = {"max": None if unbounded else max(0, *most, 0), "on_failure": False}
    if task.autoretry_for and task.retry_backoff:
        retry["backoff"] = "celery"
        retry["factor"] = int(max(1.0, float(task.retry_backoff)))
        retry["cap_s"] = task.retry_backoff_max
        retry["jitter"] = "celery" if task.retry_jitter else "none"
    retry["delay_s"] = _seconds(task.default_retry_delay)
    return retry


def _says_max_retries(function):
    """Whether a call in the function names `max_retries`: the compiler keeps such names."""
    seen, waiting = set(), [getattr(inspect.unwrap(function), "__code__", None)]
    while waiting:
        code = waiting.pop()
        if code is None or code in seen:
            continue
        seen.add(code)
        for constant in code.co_consts:
            if isinstance(constant, tuple) and "max_retries" in constant:
                return True
            if inspect.iscode(constant):
                waiting.append(constant)
    return False


def _seconds(value):
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value


def _recorded(task):
    """Every option as it was given, for people and for later hosts."""
    given = dict(task._recorded)
    for name in _RECORDED:
        if name not in given and getattr(task, name) != getattr(_base(), name):
            given[name] = getattr(task, name)
    return {name: _plain(given[name]) for name in sorted(given)}


def _base():
    from .task import Task

    return Task


def _plain(value):
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    try:
        _json.dumps(value)
    except _json.EncodeError:
        return getattr(value, "__qualname__", None) or type(value).__name__
    return str(value)
