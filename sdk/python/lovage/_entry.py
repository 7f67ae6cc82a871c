"""What componentize-py exports: `handler` and `catalog`.

Everything here happens when the module is built, and the memory that it leaves behind is the
module's. `run` imports nothing: at run time there is nothing to import from.
"""

import gc
import importlib
import linecache
import sys
import warnings

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import handler

from . import _chance, _failures, _host, _late, _logs, _prepare, _running, _sleep
from ._manifest import manifest
from ._registry import TASKS
from ._types import types
from ._wasm import Imports


class Different(Exception):
    """The tasks are others in the sandbox than they were when the builder looked."""


def prepare(modules, module, expected, folder):
    """Imports the author's modules, and makes the memory ready for attempts."""
    for place in (folder, *sys.path):
        _failures.strip(place)
    # An attempt's clock and its soft limit are the host's, from the first import on.
    _sleep.install()
    _logs.install()
    _chance.install()
    warnings.simplefilter("ignore", DeprecationWarning)
    before = set(sys.modules)
    for name in modules:
        importlib.import_module(name)
    _prepare.finish()
    _late.bring(before)
    if "asyncio" in sys.modules:
        importlib.import_module("lovage._asyncio").install()
    _keep_sources()
    actual = manifest(module)
    if actual != expected:
        raise Different(
            "the tasks differ between this Python and the sandbox's: does a task's declaration "
            f"depend on the platform?\n  here: {expected}\n  there: {actual}"
        )
    global _MANIFEST
    _MANIFEST = actual
    _warm_up()
    _chance.start()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=False)
    _host.answered_by(Imports())
    # What is alive now lives for ever: the collector need not look at it, which would write to
    # every page of it.
    gc.collect()
    gc.freeze()


def _keep_sources():
    """Tracebacks show lines of the author's source, and at run time there is no file to read."""
    for module, loaded in list(sys.modules.items()):
        name = getattr(loaded, "__file__", None)
        if not name or not name.endswith(".py"):
            continue
        if not _late.is_pythons(module) and not _failures.is_hidden(name):
            lines = linecache.getlines(name)
            # Without a time of change nobody looks whether the file is still there.
            linecache.cache[name] = (sum(map(len, lines)), None, lines, name)


class _Warm:
    """A task that does nothing."""

    name = source = "lovage.warm"

    def call(self, args, kwargs):
        return args[0] + args[1]


def _warm_up():
    """Runs nothing often enough that the interpreter has adapted to doing so.

    It counts and rewrites its own instructions at first, and every page that is written to is copied
    for each attempt: what is settled here is not written to again.
    """
    tasks = [_Warm(), *_prepare.WARM]
    before = dict(TASKS)
    for _ in range(100):
        for task in tasks:
            TASKS["lovage.warm"] = task
            Handler().run("lovage.warm", "[2, 3]", "{}")
    TASKS.clear()
    TASKS.update(before)


_MANIFEST = ""

_HOW = {
    "failed": handler.Error_Failed,
    "rejected": handler.Error_Rejected,
    "requeued": handler.Error_Requeued,
}


def _error(ended):
    if ended.kind == "ignored":
        return handler.Error_Ignored()
    if ended.kind == "replaced":
        return handler.Error_Replaced(ended.options)
    reason = types.Failure(*ended.failure)
    if ended.kind == "retry":
        return handler.Error_Retry(handler.Retry(reason, ended.after_ms, ended.options))
    return _HOW[ended.kind](reason)


class Handler(exports.Handler):
    """The tasks."""

    def run(self, task, args, kwargs):
        try:
            return _running.run(task, args, kwargs)
        except _running.Ended as ended:
            error = _error(ended)
        finally:
            sys.stdout.flush()
        raise Err(error)


class Catalog(exports.Catalog):
    """The manifest."""

    def describe(self):
        return _MANIFEST
