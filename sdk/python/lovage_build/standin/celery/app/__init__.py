"""The app: where tasks are declared and settings are kept."""

import datetime
import fnmatch
import importlib
import inspect
import os
import re
import zoneinfo

from celery import _state, canvas, signals
from celery._sending import put
from celery.exceptions import ImproperlyConfigured, NotRegistered, NotSupported
from celery.result import AsyncResult, GroupResult
from celery.schedules import maybe_schedule
from celery.utils import gen_task_name, uuid
from lovage._prepare import AT_THE_END, WARM
from lovage._registry import register, source_of

from .settings import Settings
from .task import Task


class Tasks(dict):
    """The tasks of an app by their names."""

    def __missing__(self, name):
        raise NotRegistered(name)

    def register(self, task, **_):
        """Adds a task."""
        self[task.name] = task

    def unregister(self, name):
        """Takes a task out."""
        self.pop(getattr(name, "name", name), None)

    def regular(self):
        """All of them."""
        return dict(self)


#: Those of every app: `shared_task` belongs to all.
_EVERYONES = Tasks()

_NO_WORKER = "Lovage is the worker; run `lovage worker`"


class Celery:
    """An app. It connects to nothing."""

    Pickler = None

    def __init__(
        self,
        main=None,
        loader=None,
        backend=None,
        amqp=None,
        events=None,
        log=None,
        control=None,
        set_as_current=True,
        tasks=None,
        broker=None,
        include=None,
        changes=None,
        config_source=None,
        fixups=None,
        task_cls=None,
        autofinalize=True,
        namespace=None,
        strict_typing=True,
        **kwargs,
    ):
        self.main = main
        self.strict_typing = strict_typing
        self.conf = Settings(changes or {})
        for name, value in (("broker_url", broker), ("result_backend", backend)):
            if value is not None:
                self.conf[name] = value
        if include:
            self.conf["include"] = list(include)
        self.conf.update({name: kwargs[name] for name in kwargs if name in self.conf.KNOWN})
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        self.tasks = _EVERYONES
        self.periodic_tasks = []
        self.on_configure = signals.Signal("on_configure")
        self.on_after_configure = signals.Signal("on_after_configure")
        self.on_after_finalize = signals.Signal("on_after_finalize")
        self.on_after_fork = signals.Signal("on_after_fork")
        self.task_cls = task_cls
        if set_as_current:
            self.set_current()
        AT_THE_END.append(self._at_the_end)

    @property
    def Task(self):  # noqa: N802, Celery's name
        """The base class of tasks."""
        own = self.task_cls
        if isinstance(own, str):
            module, _, name = own.replace(":", ".").rpartition(".")
            own = getattr(importlib.import_module(module), name)
        return own or Task

    @Task.setter
    def Task(self, value):  # noqa: N802
        self.task_cls = value

    def task(self, *args, **options):
        """Makes a task of a function, with or without options."""
        if len(args) == 1 and callable(args[0]):
            return self._task_from(args[0], options)
        if args:
            raise TypeError(f"task() takes one function, not {args!r}")
        return lambda function: self._task_from(function, options)

    def _task_from(self, function, options):
        if inspect.iscoroutinefunction(function):
            raise NotSupported(f"{source_of(function)}: an `async def` task; Celery runs none either")
        options = dict(options)
        if options.pop("pydantic", False):
            raise NotSupported(
                f"{source_of(function)}: pydantic=True needs a C extension; use lovage's own @task, "
                "which checks annotations"
            )
        base = options.pop("base", None) or self.Task
        bind = options.pop("bind", False)
        name = options.pop("name", None) or gen_task_name(self, function.__name__, function.__module__)
        recorded = {**options, "bind": bind} if bind else dict(options)
        body = {
            **options,
            "app": self,
            "name": name,
            "run": function if bind else staticmethod(function),
            "_decorated": True,
            "_is_bound": bind,
            "_recorded": recorded,
            "source": source_of(function),
            "__doc__": function.__doc__,
            "__module__": function.__module__,
            "__annotations__": getattr(function, "__annotations__", {}),
            "__wrapped__": staticmethod(function),
            "__qualname__": function.__qualname__,
        }
        return self._add(type(function.__name__, (base,), body)())

    def register_task(self, task, **options):
        """Adds a task made of a class."""
        if isinstance(task, type):
            task = task()
        if not task.name:
            kind = type(task)
            task.name = gen_task_name(self, kind.__name__, kind.__module__)
        kind = type(task)
        kind.app = kind.app or self
        if "source" not in vars(kind):
            kind.source = source_of(task.run)
        for name, value in options.items():
            setattr(kind, name, value)
        return self._add(task)

    def _add(self, task):
        register(task)
        self.tasks[task.name] = task
        return task

    # Settings.

    def config_from_object(self, source, silent=False, force=False, namespace=None):
        """Takes settings from a module, a class or a dict; a text names a module."""
        if isinstance(source, str):
            try:
                source = self._import(source)
            except ImportError as error:
                if silent:
                    return False
                raise ImproperlyConfigured(
                    f"config_from_object({source!r}): {error}; the settings are read when the module "
                    "is built, so this must be importable there"
                ) from error
        if not isinstance(source, dict):
            source = {name: getattr(source, name) for name in dir(source) if not name.startswith("_")}
        if namespace:
            head = namespace.rstrip("_") + "_"
            source = {
                name[len(head) :]: value
                for name, value in source.items()
                if name.upper().startswith(head.upper())
            }
            self.conf.update({name.lower(): value for name, value in source.items()})
        else:
            self.conf.read(source)
        return True

    @staticmethod
    def _import(name):
        name, _, attribute = name.partition(":")
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            outer, _, attribute = name.rpartition(".")
            if not outer:
                raise
            module = importlib.import_module(outer)
            if not hasattr(module, attribute):
                raise
        return getattr(module, attribute) if attribute else module

    def config_from_envvar(self, variable, silent=False, force=False):
        """Takes settings from the module that an environment variable names, at build time."""
        name = os.environ.get(variable)
        return self.config_from_object(name, silent) if name else False

    def add_defaults(self, defaults):
        """Settings that hold where nothing else is said."""
        for name, value in (defaults() if callable(defaults) else defaults).items():
            self.conf.setdefault(name, value)

    def autodiscover_tasks(self, packages=None, related_name="tasks", force=False):
        """Imports `related_name` of each package, when the module is built."""

        def import_them():
            found = packages() if callable(packages) else packages
            for package in found or ():
                name = f"{package}.{related_name}" if related_name else package
                try:
                    importlib.import_module(name)
                except ModuleNotFoundError as error:
                    if error.name != name:
                        raise

        AT_THE_END.append(import_them)

    def _at_the_end(self):
        for name in (*self.conf.get("include", ()), *self.conf.get("imports", ())):
            importlib.import_module(name)
        self.on_configure.send(self)
        for signal in (self.on_after_configure, self.on_after_finalize):
            signal.send(self, source=self)
        self._annotate()

    def _annotate(self):
        annotations = self.conf.get("task_annotations") or ()
        for one in annotations if isinstance(annotations, (list, tuple)) else [annotations]:
            for task in self.tasks.values():
                found = one.annotate(task) if hasattr(one, "annotate") else {}
                if isinstance(one, dict):
                    found = {**one.get("*", {}), **one.get(task.name, {})}
                for name, value in (found or {}).items():
                    setattr(type(task), name, value)

    def route(self, name):
        """The queue that `task_routes` gives a task, if any."""
        routes = self.conf.get("task_routes") or ()
        for one in routes if isinstance(routes, (list, tuple)) else [routes]:
            found = one(name, (), {}, {}) if callable(one) else self._by_pattern(one, name)
            if found:
                queue = found.get("queue") if isinstance(found, dict) else found
                return getattr(queue, "name", queue)
        return None

    @staticmethod
    def _by_pattern(routes, name):
        items = routes.items() if isinstance(routes, dict) else routes
        for pattern, found in items:
            if isinstance(pattern, re.Pattern):
                matches = pattern.match(name)
            else:
                matches = pattern == name or fnmatch.fnmatchcase(name, pattern)
            if matches:
                return found
        return None

    # Calls.

    def send_task(self, name, args=None, kwargs=None, **options):
        """Calls a task by its name, if the running task succeeds."""
        return put(self, name, args, kwargs, options)

    def signature(self, *args, **kwargs):
        """A call that is not made yet."""
        return canvas.signature(*args, **{**kwargs, "app": self})

    def add_periodic_task(self, schedule, sig, args=(), kwargs=(), name=None, **options):
        """Records that a call wants to be made regularly; a beat makes it."""
        task = sig if isinstance(sig, str) else sig["task"]
        args = args or (() if isinstance(sig, str) else sig["args"])
        entry = {"task": task, "schedule": maybe_schedule(schedule), "args": list(args)}
        self.periodic_tasks.append(entry)
        key = name or repr(sig)
        self.conf.setdefault("beat_schedule", {})[key] = entry
        return key

    def AsyncResult(self, id, *args, **kwargs):  # noqa: A002, N802, Celery's names
        """The result of a call, of which a task knows the id only."""
        return AsyncResult(id)

    def GroupResult(self, id=None, results=(), **kwargs):  # noqa: A002, N802
        """The results of a group."""
        return GroupResult(id, results)

    # What an app has besides.

    def set_current(self):
        """Makes this the current app."""
        if self in _state.APPS:
            _state.APPS.remove(self)
        _state.APPS.append(self)

    set_default = set_current

    def finalize(self, auto=False):
        """Tasks are declared at once, so there is nothing to do."""

    def close(self):
        """Nothing is open."""

    def gen_task_name(self, name, module):
        """The name of a task that names none."""
        return gen_task_name(self, name, module)

    @property
    def current_task(self):
        """The running task."""
        return _state.get_current_task()

    current_worker_task = current_task
    finalized = True
    configured = True

    @property
    def timezone(self):
        """The configured time zone."""
        return zoneinfo.ZoneInfo(self.conf.get("timezone") or "UTC")

    def now(self):
        """The time now."""
        return datetime.datetime.now(datetime.timezone.utc)

    uuid = staticmethod(uuid)

    def start(self, argv=None):
        """Starts nothing."""
        raise NotSupported(_NO_WORKER)

    worker_main = Worker = start

    def __getattr__(self, name):
        if name in ("control", "amqp", "backend", "events", "connection", "pool", "broker_connection"):
            raise NotSupported(f"app.{name}: a sandbox has neither a broker nor a result backend")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"<Celery {self.main or '__main__'}>"

    def __hash__(self):
        return id(self)


def shared_task(*args, **options):
    """Makes a task that belongs to every app."""
    app = _state.app_now()
    return app.task(*args, **options)


def app_or_default(app=None):
    """The app, or the current one."""
    return app or _state.app_now()


def _warm():
    """A task for warming up, which belongs to nobody."""

    def add(x, y):
        return x + y

    body = {"run": staticmethod(add), "name": "lovage.warm", "source": "lovage.warm"}
    return type("warm", (Task,), body)()


WARM.append(_warm())
