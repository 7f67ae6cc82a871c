"""A call that is not made yet, of one task: what every canvas is made of."""

from . import _state
from ._sending import put
from .result import AsyncResult
from .utils import uuid


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
        from .canvas import chain

        return chain(self, other, app=self._app) if isinstance(other, Signature) else NotImplemented

    def __deepcopy__(self, memo):
        return self.clone()

    def __reduce__(self):
        from .canvas import signature

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
