"""Recorded conversations of remote control, held with a Lovage worker `w1@box`.

`control_vectors.py BROKER BACKEND GROUP FOLDER` makes every recorded call of a group and prints what
differs from what Celery's worker answered, as one line of JSON. Groups are `events` (a worker with
`-E`), `plain` (one without) and `auto` (one with `--autoscale 3,1`).
"""

import datetime
import json
import pathlib
import re
import sys
import time

from celery import Celery
from celery.result import AsyncResult

PATIENCE_S = 30

# The recorded tasks, and those of the example module that stand in for them.
STAND_INS = {"demo.add": "bench.add", "demo.sleep": "bench.sleep", "demo.limited": "bench.echo"}

# Recorded answers that are another one's here on purpose, each with the reason.
EXCUSED = {
    "control-auto-pool_restart": "there is no pool with code in it: modules are replaced while it runs",
    "control-conf-defaults": "the settings are Lovage's; those that Celery has are named alike",
}

PLAIN = [
    "noE-disable_events-again", "noE-enable_events", "noE-enable_events-again",
    "noE-disable_events",
]  # fmt: skip
AUTO = ["auto-stats", "auto-pool_grow", "auto-autoscale", "auto-pool_restart"]
FIRST = [
    "stats-idle", "revoked-empty", "active_queues", "add_consumer", "active_queues-after-add",
    "cancel_consumer", "conf", "conf-defaults", "report", "clock", "ping",
]  # fmt: skip
LAST = [
    "terminate", "hello", "revoke", "revoke-list", "revoke-noreply", "revoked",
    "terminate-unknown", "shutdown",
]  # fmt: skip


def substituted(value):
    """A recorded value with the tasks that stand in."""
    text = json.dumps(value)
    for recorded, here in STAND_INS.items():
        text = text.replace(recorded, here)
    return json.loads(text)


def kind(value):
    """What a value is, all numbers being one kind."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def differences(expected, found, place=""):
    """Where `found` lacks something that `expected` has, or has it of another type."""
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [f"{place}.{name} is missing" for name in expected if name not in found]
        inside = [
            problem
            for name in expected.keys() & found.keys()
            for problem in differences(expected[name], found[name], f"{place}.{name}")
        ]
        return missing + inside
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return [f"{place}: {len(found)} for {len(expected)}"]
        pairs = enumerate(zip(expected, found, strict=True))
        return [it for n, pair in pairs for it in differences(*pair, f"{place}[{n}]")]
    # Null stands for what is not set: the recorded worker may have it, and this one not.
    same = expected is None or found is None or kind(expected) == kind(found)
    return [] if same else [f"{place}: {found!r} for {expected!r}"]


def requests(expected, found):
    """Lists of requests: the same ids, each of the same shape and with the same name and state."""
    expected, found = ({one["id"]: one for one in each["w1@box"]} for each in (expected, found))
    problems = [f"{id} is missing" for id in expected.keys() - found.keys()]
    for id in expected.keys() & found.keys():
        problems += differences(expected[id], found[id], id)
        problems += [
            f"{id}.{name}: {found[id][name]!r}"
            for name in ("name", "type", "hostname", "kwargs")
            if found[id][name] != expected[id][name]
        ]
    return problems


def revoked(expected, found):
    """The ids in the order in which they were revoked; of one command they have none."""
    expected, found = expected["w1@box"], found["w1@box"]
    return [] if sorted(expected) == sorted(found) else [f"{found} for {expected}"]


def hello(expected, found):
    """Everything that is revoked, the asker's ids included."""
    return revoked({"w1@box": expected["w1@box"]["revoked"]}, {"w1@box": found["w1@box"]["revoked"]})


def conf(_, found):
    """What was set: the rest of the recorded settings is Celery's own business."""
    missing = {"broker_url", "result_backend", "worker_hostname"} - found["w1@box"].keys()
    return [f"{name} is missing" for name in missing]


def stats(expected, found):
    """The same figures; processes and tasks that were counted are this worker's own."""
    for each in (expected, found):
        each["w1@box"] |= {"total": {}, "pool": each["w1@box"]["pool"] | {"processes": []}}
    return differences(expected, found)


def registered(_, found):
    """Names with attributes that are set, sorted."""
    tasks = found["w1@box"]
    form = re.compile(r"^[\w.-]+( \[\w+=[^ ]+( \w+=[^ ]+)*\])?$")
    return [] if tasks == sorted(tasks) and all(map(form.match, tasks)) else [str(tasks)]


def flagged(expected, found):
    """A set of ids, in any order."""
    ids = [set(re.findall(r"'([^']+)'", each[0]["w1@box"]["ok"])) for each in (expected, found)]
    return [] if ids[0] == ids[1] else [f"{found} for {expected}"]


RULES = {
    "active": requests,
    "active-safe": requests,
    "reserved": requests,
    "revoked": revoked,
    "hello": hello,
    "registered": registered,
    "registered-attrs": registered,
    "revoke-list": flagged,
    "conf": conf,
    **dict.fromkeys(["stats", "stats-idle", "auto-stats"], stats),
    **dict.fromkeys(
        ["scheduled", "query_task", "clock", "report", "memdump", "memsample"], differences
    ),
}


def exactly(expected, found):
    """The very same answer."""
    return [] if expected == found else [f"{found} for {expected}"]


def until(what, is_so):
    """Asks until it is so."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(what)


def prepare(app):
    """The calls that were here when the conversations were recorded."""
    ask = app.control.inspect(timeout=PATIENCE_S, limit=1)
    app.control.rate_limit("bench.add", "6/m", reply=True)
    app.control.rate_limit("bench.echo", "6/m", reply=True)
    app.send_task("bench.echo", [0], task_id="lim-0")
    app.send_task("bench.add", [1, 1], task_id="add-0")
    until("the first results", lambda: all(AsyncResult(id, app=app).ready() for id in ("lim-0", "add-0")))
    for number in range(2):
        app.send_task("bench.sleep", [70_000], task_id=f"active-{number}")
    for number in range(3):
        app.send_task("bench.add", [number, "é"], task_id=f"reserved-{number}", priority=number)
    app.send_task("bench.echo", [1], task_id="lim-1")
    eta = datetime.datetime(2031, 5, 17, 8, 30, tzinfo=datetime.timezone.utc)
    app.send_task("bench.add", [9, 9], task_id="eta-1", eta=eta)
    until(
        "the calls",
        lambda: len(ask.active()["w1@box"]) == 2
        and len(ask.reserved()["w1@box"]) == 4
        and len(ask.scheduled()["w1@box"]) == 1,
    )


def group(name, folder):
    """The names of a group's recordings, in the order in which they are made."""
    names = sorted(path.stem.removeprefix("control-") for path in folder.glob("control-*.json"))
    grouped = [it for it in names if not it.startswith(("auto-", "noE-"))]
    return {
        "plain": PLAIN,
        "auto": AUTO,
        "events": FIRST + [it for it in grouped if it not in FIRST + LAST] + LAST,
    }[name], names


def main():
    broker, backend, name, folder = sys.argv[1:]
    folder = pathlib.Path(folder)
    app = Celery(broker=broker, backend=backend)
    names, every = group(name, folder)
    made, problems = 0, {}
    for it in names:
        if it == FIRST[-1]:
            prepare(app)
        if f"control-{it}" in EXCUSED:
            continue
        vector = json.loads((folder / f"control-{it}.json").read_text())
        call = substituted(vector["call"])
        if vector["caller_got"]:
            # One worker is there: nobody waits for a second one to answer.
            call = re.sub(r"timeout=[12]\)", f"timeout={PATIENCE_S}, limit=1)", call)
        found = eval(call, {"app": app})  # noqa: S307, the calls are the repository's own
        rule = RULES.get(it, exactly)
        told = rule(substituted(vector["caller_got"]), json.loads(json.dumps(found)))
        made += 1
        if told:
            problems[it] = told
    print(json.dumps({"made": made, "of": len(every), "excused": EXCUSED, "problems": problems}))


main()
