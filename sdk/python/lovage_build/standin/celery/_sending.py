"""How a running task's calls leave: through its outbox.

A plain call is put there as it is; whatever has links, and every chain, group and chord, goes as the
dict that Celery has for it, and the host does the rest: it gives the ids, which come back as results.
"""

import datetime

from lovage._context import ctx

from .exceptions import NotSupported
from .result import AsyncResult, result_from_tuple


def send(signature):
    """Puts any signature in the outbox of the running task; its result."""
    return result_from_tuple(ctx.send_signature(signature))


def put(app, name, args, kwargs, options):
    """Puts a call in the outbox of the running task; its `AsyncResult`."""
    options = {key: value for key, value in options.items() if value is not None}
    if any(options.get(what) for what in _CANVAS):
        return send(_whole(app, name, args, kwargs, options))
    headers = dict(options.pop("headers", None) or {})
    limits = [options.pop("time_limit", None), options.pop("soft_time_limit", None)]
    if limits != [None, None]:
        headers["timelimit"] = limits
    for option, header in (
        ("shadow", "shadow"),
        ("group_id", "group"),
        ("group_index", "group_index"),
        ("stamped_headers", "stamped_headers"),
    ):
        if option in options:
            headers[header] = options.pop(option)
    countdown = options.pop("countdown", None)
    eta = options.pop("eta", None)
    call_id = ctx.call(
        name,
        tuple(args or ()),
        dict(kwargs or {}),
        queue=_queue(app, name, options),
        countdown=countdown if eta is None else _from_now(eta),
        expires=_from_now(options.pop("expires", None)),
        priority=options.pop("priority", None),
        ignore_result=options.pop("ignore_result", False),
        headers=headers or None,
    )
    return AsyncResult(call_id, task_name=name)


#: What a plain call of the outbox has no place for.
_CANVAS = ("link", "link_error", "chain", "chord", "task_id", "exchange", "shadow", "stamped_headers")


def _whole(app, name, args, kwargs, options):
    """A call as a signature with everything that was said of it."""
    options = {key: value for key, value in options.items() if value is not None}
    for option in ("link", "link_error"):
        if isinstance(options.get(option), dict):
            options[option] = [options[option]]
    for option in ("queue", "exchange"):
        if option in options:
            options[option] = getattr(options[option], "name", options[option])
    if not options.get("exchange"):
        options["queue"] = _queue(app, name, dict(options))
    for option in ("eta", "expires"):
        if isinstance(options.get(option), datetime.datetime):
            options[option] = options[option].isoformat()
    own = ("app", "producer", "connection", "serializer", "retry", "retry_policy", "chain_", "root_id")
    options = {key: value for key, value in options.items() if key not in own}
    fields = {"task": name, "args": list(args or ()), "kwargs": dict(kwargs or {}), "options": options}
    return fields | {"subtask_type": None, "immutable": False}


def _queue(app, name, options):
    queue = options.pop("queue", None)
    exchange = options.pop("exchange", None)
    if getattr(exchange, "name", exchange):
        raise NotSupported(f"calling {name} with an exchange from a task: name a queue")
    queue = queue or options.pop("routing_key", None)
    if queue is None and app is not None:
        queue = app.route(name) or app.conf.get("task_default_queue")
    return getattr(queue, "name", queue)


def _from_now(moment):
    """Seconds from now to a moment, an ISO text of one, or seconds already."""
    if isinstance(moment, str):
        moment = datetime.datetime.fromisoformat(moment)
    if not isinstance(moment, datetime.datetime):
        return moment
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return (moment - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
