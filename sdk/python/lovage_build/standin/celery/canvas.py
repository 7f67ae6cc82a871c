"""Calls that are not made yet, together: chains, groups, chords, and what is made of items.

A running task makes them through its outbox: see `_sending`.
"""

from ._sending import put, send
from ._signature import Signature
from .result import GroupResult
from .utils import uuid


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
