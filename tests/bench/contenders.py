"""Who works calls off: Lovage in some settings, Celery's pools, and a consumer that runs nothing."""

import importlib.util
import os
from pathlib import Path

import conformance
from bed import places, processes

HERE = Path(__file__).resolve().parent
# What works off nothing but a no-op: whatever is called, its result is 5.
BARE = "bare"
_POOLS = {"celery": "prefork", "celery threads": "threads", "celery gevent": "gevent"}


def present(name: str, broker: str) -> bool:
    """Whether somebody can be measured here, on this broker."""
    if name == "celery gevent":
        return importlib.util.find_spec("gevent") is not None
    return name != BARE or (broker == "redis" and _bare().exists())


def start(name: str, scenario, queue, concurrency=None) -> processes.Process:
    """Starts somebody, ready."""
    slots = concurrency or scenario.slots
    if name == BARE:
        process = processes.Process([_bare(), queue.broker, queue.backend, "celery"])
        process.wait_for_line("ready:")
        return process
    if name in _POOLS:
        return _celery(_POOLS[name], scenario, queue, slots)
    modules = _build(scenario.project) if scenario.project else None
    more = {"LOVAGE_WORKER__LEDGER": "false"} if name == "without ledger" else {}
    if hasattr(queue, "ledger"):
        more["LOVAGE_LEDGER_URL"] = queue.ledger
    return processes.lovage_worker(
        queue.broker, queue.backend, "-c", slots, modules=modules, more=more
    )


def _celery(pool, scenario, queue, slots):
    """A pool of processes, one a core, as `celery worker` starts it, or one of so many threads."""
    app, folder, more = "bed.reference", HERE.parent, {}
    # A thread a call is a thread of the system's: of those no more than a thousand.
    count = {"prefork": os.cpu_count() or 2, "threads": min(slots, 1_000)}.get(pool, slots)
    arguments = ["-P", pool, "-c", str(count)]
    if scenario.project:
        app, folder, more = "tasks", HERE / "python", {"PYTHONPATH": str(HERE.parent)}
        arguments += ["-I", "bed.ready"]
    return processes.celery_worker(app, folder, queue.broker, queue.backend, *arguments, more=more)


def _build(project) -> Path:
    """The folder with a project's module, built as a user would."""
    folder = places.target() / "bench" / project
    conformance.command("build", HERE / project, "-q", "-o", folder / "tasks.wasm")
    return folder


def _bare() -> Path:
    return places.lovage().parent / "examples/bare"
