"""Calls that are not made yet. A running task makes them through its outbox.

A plain call is put there as it is; whatever has links, and every chain, group and chord, goes as the
dict that Celery has for it, and the host does the rest: it gives the ids, which come back as results.
"""

import datetime

from lovage._context import ctx

from . import _state
from .exceptions import NotSupported
from .result import AsyncResult, GroupResult, result_from_tuple
from .utils import uuid


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


class Signature(dict):
    """A call: a dict with attributes."""

    def __init__(
        self,
        task=None,
        args=None,
        kwargs=None,
        options=None,
        type=None,  # noqa: A002, Celery's name
        subtask_type=None,
        immutable=False,
        app=None,
        **more,
    ):
        self._app = app
        if isinstance(task, dict):
            super().__init__(task)
        else:
            super().__init__(
                task=getattr(task, "name", task),
                args=tuple(args or ()),
                kwargs=dict(kwargs or {}),
                options={**(options or {}), **more},
                subtask_type=subtask_type,
                immutable=immutable,
            )

    def __getattr__(self, name):
        if name in ("task", "args", "kwargs", "options", "subtask_type", "immutable"):
            return self[name]
        raise AttributeError(name)

    def __setattr__(self, name, value):
        if name in ("task", "args", "kwargs", "options", "subtask_type", "immutable"):
            self[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def app(self):
        """The app it belongs to."""
        return self._app or _state.app_now()

    @property
    def name(self):
        """The task's name."""
        return self["task"]

    @property
    def id(self):
        """The id that it was given, if any."""
        return self["options"].get("task_id")

    def __call__(self, *args, **kwargs):
        """Runs the task here and now."""
        task = self.app.tasks[self["task"]]
        return task(*args, *self["args"], **{**self["kwargs"], **kwargs})

    def clone(self, args=None, kwargs=None, **options):
        """A copy with more arguments before its own, and other options."""
        copy = type(self).__new__(type(self))
        dict.__init__(copy, {name: _copied(value) for name, value in self.items()})
        copy.__dict__.update(self.__dict__)
        if not self["immutable"]:
            copy["args"] = tuple(args or ()) + tuple(self["args"])
            copy["kwargs"] = {**self["kwargs"], **(kwargs or {})}
        copy["options"] = {**self["options"], **options}
        return copy

    partial = clone

    def set(self, immutable=None, **options):
        """Sets options."""
        if immutable is not None:
            self["immutable"] = immutable
        self["options"].update(options)
        return self

    def set_immutable(self, immutable):
        """Whether it takes no result of what was before it."""
        self["immutable"] = immutable

    def link(self, callback):
        """Adds a callback."""
        return self._append("link", callback)

    def link_error(self, errback):
        """Adds an errback."""
        return self._append("link_error", errback)

    def on_error(self, errback):
        """Adds an errback; the call itself."""
        self.link_error(errback)
        return self

    def _append(self, option, signature):
        known = self["options"].setdefault(option, [])
        if signature not in known:
            known.append(signature)
        return signature

    def stamp(self, visitor=None, append_stamps=False, **stamps):
        """Marks it, and whatever a canvas has inside."""
        if visitor is not None:
            stamps = {**stamps, **(visitor.on_signature(self, **stamps) or {})}
        named = stamps.pop("stamped_headers", stamps)
        for inner in (*getattr(self, "tasks", ()), *filter(None, [getattr(self, "body", None)])):
            inner.stamp(visitor, append_stamps, **stamps)
        options = self["options"]
        options["stamped_headers"] = sorted({*(options.get("stamped_headers") or ()), *named})
        for name, value in stamps.items():
            known = options.get(name) if append_stamps else None
            options[name] = value if known is None else [known, value]

    def freeze(self, _id=None, **kwargs):
        """Gives it an id now, which it keeps when it is sent."""
        options = self["options"]
        options["task_id"] = _id or options.get("task_id") or uuid()
        return AsyncResult(options["task_id"], task_name=self["task"])

    def delay(self, *args, **kwargs):
        """Makes the call, if the running task succeeds."""
        return self.apply_async(args, kwargs)

    def apply_async(self, args=None, kwargs=None, **options):
        """Makes the call with options, if the running task succeeds."""
        made = self.clone(args, kwargs, **options)
        task = self.app.tasks.get(self["task"]) if self._app or _state.APPS else None
        options = dict(made["options"])
        if task is not None:
            return task.apply_async(made["args"], made["kwargs"], **options)
        return put(self.app, self["task"], made["args"], made["kwargs"], options)

    def apply(self, args=None, kwargs=None, **options):
        """Runs it here and now; an `EagerResult`."""
        made = self.clone(args, kwargs)
        return self.app.tasks[self["task"]].apply(made["args"], made["kwargs"])

    @property
    def type(self):
        """The task."""
        return self.app.tasks[self["task"]]

    def __or__(self, other):
        if isinstance(other, group) and not isinstance(self, group):
            return chain(self, other, app=self._app)
        return chain(self, other, app=self._app) if isinstance(other, Signature) else NotImplemented

    def __deepcopy__(self, memo):
        return self.clone()

    def __reduce__(self):
        return signature, (dict(self),)

    def __json__(self):
        return dict(self)

    def __repr__(self):
        inside = [repr(one) for one in self["args"]]
        inside += [f"{name}={value!r}" for name, value in self["kwargs"].items()]
        return f"{self['task']}({', '.join(inside)})"


def _copied(value):
    if isinstance(value, Signature):
        return value.clone()
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def _flat(tasks):
    """The calls given one by one, as a list, or as a generator."""
    if len(tasks) == 1 and not isinstance(tasks[0], Signature):
        tasks = tasks[0]
        if isinstance(tasks, dict):
            tasks = [tasks]
    return [maybe_signature(task) for task in tasks]


class chain(Signature):  # noqa: N801, Celery's name
    """Calls one after another, each with the result of the one before."""

    def __new__(cls, *tasks, app=None, **options):
        tasks = [task for one in _flat(tasks) for task in (one.tasks if isinstance(one, chain) else [one])]
        # As Celery has it, so that `chain(add.s(1, 2))` have one meaning.
        if len(tasks) == 1 and not options:
            return tasks[0]
        made = super().__new__(cls)
        Signature.__init__(
            made, "celery.chain", (), {"tasks": tasks}, options, subtask_type="chain", app=app
        )
        return made

    def __init__(self, *tasks, **options):
        pass

    @property
    def tasks(self):
        """The calls."""
        return self["kwargs"]["tasks"]

    def apply_async(self, args=None, kwargs=None, **options):
        """Sends the first, if the running task succeeds; the others follow one another."""
        made = self.clone(args, None, **options)
        return send(made)

    def __call__(self, *args, **kwargs):
        return self.apply_async(args, kwargs)

    def apply(self, args=None, kwargs=None, **options):
        """Runs all of them here and now."""
        result = None
        for task in self.tasks:
            result = task.apply(args if result is None else (result.get(),))
        return result

    def __repr__(self):
        return " | ".join(repr(task) for task in self.tasks)




class group(Signature):  # noqa: N801, Celery's name
    """Calls beside one another."""

    def __init__(self, *tasks, app=None, **options):
        tasks = [
            task for one in _flat(tasks) for task in (one.tasks if isinstance(one, group) else [one])
        ]
        super().__init__("celery.group", (), {"tasks": tasks}, options, subtask_type="group", app=app)

    @property
    def tasks(self):
        """The calls."""
        return self["kwargs"]["tasks"]

    def apply_async(self, args=None, kwargs=None, **options):
        """Sends all members, if the running task succeeds."""
        return send(self.clone(args, None, **options))

    def __call__(self, *args, **kwargs):
        return self.apply_async(args, kwargs)

    def apply(self, args=None, kwargs=None, **options):
        """Runs all of them here and now."""
        return GroupResult(uuid(), [task.apply(args, kwargs) for task in self.tasks])

    def skew(self, start=1.0, stop=None, step=1.0):
        """Spreads the members over time."""
        for index, task in enumerate(self.tasks):
            countdown = start + index * step
            task.set(countdown=countdown if stop is None else min(countdown, stop))
        return self

    def __or__(self, other):
        return chord(self, other, app=self._app)

    def __len__(self):
        return len(self.tasks)

    def __bool__(self):
        return True

    def __repr__(self):
        return f"group({self.tasks!r})"


class chord(Signature):  # noqa: N801, Celery's name
    """Calls beside one another, and one that gets all their results."""

    def __init__(self, header, body=None, task="celery.chord", args=(), kwargs=None, app=None, **options):
        header = header if isinstance(header, group) else group(header, app=app)
        parts = {"kwargs": kwargs or {}, "header": header, "body": body and maybe_signature(body)}
        super().__init__(task, args, parts, options, subtask_type="chord", app=app)

    @property
    def tasks(self):
        """The header's calls."""
        return self["kwargs"]["header"].tasks

    @property
    def body(self):
        """The call that gets the results."""
        return self["kwargs"]["body"]

    def __call__(self, body=None, **options):
        return self.apply_async(body=body, **options)

    def apply_async(self, args=(), kwargs=None, body=None, **options):
        """Sends the header, if the running task succeeds; the body waits for all of it."""
        made = self.clone(args, None, **options)
        if body is not None:
            made["kwargs"] = {**made["kwargs"], "body": maybe_signature(body).clone()}
        return send(made)

    def __repr__(self):
        return f"chord({self.tasks!r}, {self.body!r})"




class _Items(Signature):
    _task = None

    def __init__(self, task, it, app=None, **options):
        parts = {"task": task.clone(), "it": list(it)}
        kind = self._task.rpartition(".")[2]
        super().__init__(
            self._task, (), parts, options, subtask_type=kind, immutable=True, app=app
        )

    def apply_async(self, args=None, kwargs=None, **options):
        """Sent as the one call that it is."""
        return put(self.app, self["task"], (), self["kwargs"], {**self["options"], **options})


class xmap(_Items):  # noqa: N801, Celery's name
    """One call that maps a task over items."""

    _task = "celery.map"


class xstarmap(_Items):  # noqa: N801, Celery's name
    """One call that maps a task over lists of arguments."""

    _task = "celery.starmap"


class chunks(Signature):  # noqa: N801, Celery's name
    """Calls in lots."""

    def __init__(self, task, it, n, app=None, **options):
        parts = {"task": task.clone(), "it": list(it), "n": n}
        super().__init__(
            "celery.chunks", (), parts, options, subtask_type="chunks", immutable=True, app=app
        )

    def group(self):
        """The lots."""
        items, n = self["kwargs"]["it"], self["kwargs"]["n"]
        task = self["kwargs"]["task"]
        lots = [items[i : i + n] for i in range(0, len(items), n)]
        return group([xstarmap(task, lot, app=self._app) for lot in lots], app=self._app)

    def apply_async(self, args=None, kwargs=None, **options):
        """Sends the lots."""
        return self.group().apply_async(**options)

    def __call__(self, **options):
        return self.apply_async(**options)


class StampingVisitor:
    """Says what a signature is stamped with."""

    def on_signature(self, sig, **headers):
        """The stamps of this one."""
        return {}


def signature(varies, *args, app=None, **kwargs):
    """A call of a task, of a name, or from a dict."""
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, dict):
        return _from_dict(varies, app)
    return Signature(varies, *args, app=app, **kwargs)


def _from_dict(value, app):
    kind, parts = value.get("subtask_type"), value.get("kwargs") or {}
    options = dict(value.get("options") or {})
    if kind == "chain":
        return chain(*[maybe_signature(one) for one in parts["tasks"]], app=app, **options)
    if kind == "group":
        return group([maybe_signature(one) for one in parts["tasks"]], app=app, **options)
    if kind == "chord":
        return chord(maybe_signature(parts["header"]), parts["body"], app=app, **options)
    made = Signature(
        value.get("task"),
        value.get("args"),
        parts,
        options,
        subtask_type=kind,
        immutable=bool(value.get("immutable")),
        app=app,
    )
    return made


def maybe_signature(value, app=None, **_):
    """A call from a dict; anything else as it is."""
    if isinstance(value, dict) and not isinstance(value, Signature):
        return _from_dict(value, app)
    return value


subtask = signature
maybe_subtask = maybe_signature

__all__ = [
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
