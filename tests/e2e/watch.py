"""What monitors see and do of workers: events, Flower, other workers.

`watch.py BROKER BACKEND CASE [ARGUMENT…]` prints what was seen as one line of JSON, and judges
nothing: the tests do.
"""

import base64
import json
import pathlib
import sys
import time
import urllib.parse
import urllib.request

import redis
from celery import Celery
from celery.result import AsyncResult

PATIENCE_S = 40
CASES = {}


def case(function):
    """Makes a function callable by its name, with `-` for `_`."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


def until(what, is_so):
    """Asks until the answer is something, and returns it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        answer = is_so()
        if answer:
            return answer
        # A server is asked no more than it bears, because this shares two cores with it.
        time.sleep(0.02)
    raise TimeoutError(what)


class Channel:
    """Everything that is published to the exchange of events, as it is on the wire."""

    def __init__(self, url):
        self.listener = redis.Redis.from_url(url).pubsub()
        self.listener.psubscribe("/0.celeryev/*")
        self.listener.get_message(timeout=PATIENCE_S)

    def read(self):
        """The next message's channel and events, and whether they came as a list."""
        message = until("an event", lambda: self.listener.get_message(timeout=1))
        envelope = json.loads(message["data"])
        body = json.loads(base64.b64decode(envelope["body"]))
        listed = isinstance(body, list)
        return message["channel"].decode(), envelope, body if listed else [body], listed


@case
def event_vectors(app, folder):
    """Events of each recorded kind, beside the recording's fields and where it was sent."""
    channel = Channel(app.conf.broker_url)
    calls = {
        "ok": ("bench.add", [2, 3], {}),
        "fail": ("demo.fail", ["boom"], {}),
        "retry": ("demo.retry_once", [], {}),
        "late": ("bench.add", [1, 1], {"expires": 0.001, "countdown": 0.2}),
    }
    for id, (task, args, options) in calls.items():
        app.send_task(task, args, task_id=id, **options)
    app.control.revoke("never")
    app.send_task("bench.add", [1, 1], task_id="never")
    wanted = {path.stem.removeprefix("event-"): path for path in pathlib.Path(folder).glob("event-*")}
    seen, clocks = {}, []
    end = time.monotonic() + PATIENCE_S / 2
    while time.monotonic() < end:
        place, envelope, events, listed = channel.read()
        for event in events:
            clocks.append(event["clock"])
            seen[event["type"]] = {
                "fields": {name: type(value).__name__ for name, value in event.items()},
                "channel": place,
                "envelope": sorted(envelope),
                "headers": envelope["headers"],
                "listed": listed,
                "event": event,
            }
        if {"worker-heartbeat", "task-revoked", "task-retried", "task-failed", "task-succeeded"} <= seen.keys():
            break
    recorded = {}
    for kind, path in wanted.items():
        one = json.loads(path.read_text())["redis"][0]
        fields = {name: type(value).__name__ for name, value in one["event"].items()}
        envelope = sorted(json.loads(one["raw"]))
        recorded[kind] = {
            "fields": fields, "channel": one["channel"], "envelope": envelope, "listed": one["batched"],
        }  # fmt: skip
    return {"seen": seen, "recorded": recorded, "rising": clocks == sorted(set(clocks))}


@case
def receiver(app):
    """What Celery's own receiver makes of the events, with its state."""
    state, call = app.events.State(), None
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": state.event})
        for _ in receiver.itercapture(limit=None, timeout=PATIENCE_S, wakeup=False):
            # From the first event on none is missed.
            call = call or app.send_task("bench.add", [2, 3])
            task = dict(state.tasks.items()).get(call.id)
            if task and task.state == "SUCCESS" and task.worker.sw_ident:
                break
    worker = task.worker
    return {
        "state": task.state, "name": task.name, "result": task.result, "args": task.args,
        "worker": worker.hostname, "alive": worker.alive, "ident": worker.sw_ident,
    }  # fmt: skip


@case
def terminated(app, task):
    """The milliseconds from a command to end a task until its caller can know, three times."""
    ask = app.control.inspect(timeout=PATIENCE_S, limit=1)
    times = []
    for number in range(3):
        id = f"spin-{number}"
        app.send_task(task, [], task_id=id)
        until("the task", lambda id=id: any(it["id"] == id for it in next(iter(ask.active().values()))))
        listener = redis.Redis.from_url(app.conf.result_backend).pubsub()
        listener.subscribe(f"celery-task-meta-{id}")
        listener.get_message(timeout=PATIENCE_S)
        start = time.monotonic()
        app.control.revoke(id, terminate=True, signal="SIGKILL")
        until("the end", lambda listener=listener: listener.get_message(timeout=1))
        times.append((time.monotonic() - start) * 1_000)
    document = app.backend.get_task_meta("spin-0")
    return {"times": times, "status": document["status"], "result": repr(document["result"])}


@case
def revoked(app, *ids):
    """The states of calls that are sent now, some of them stamped `tenant=t1`."""
    results = [
        app.send_task("bench.add", [1, 1], task_id=id, headers=stamps(id)) for id in ids
    ]
    last = app.send_task("bench.add", [2, 2])
    last.get(timeout=PATIENCE_S)
    return {it.id: until("an end", lambda it=it: it.ready() and it.state) for it in results}


def stamps(id):
    """The headers of a call whose id says that it is stamped."""
    return {"stamped_headers": ["tenant"], "stamps": {"tenant": ["t1"]}} if "stamp" in id else {}


@case
def command(app, method, arguments):
    """The answers to one command."""
    return app.control.broadcast(method, arguments=json.loads(arguments), reply=True, timeout=1)


@case
def started(app, task, count):
    """When each of some calls of a task began, in seconds after the first."""
    channel = Channel(app.conf.broker_url)
    ids = [app.send_task(task, [1]).id for _ in range(int(count))]
    begun = {}
    while len(begun) < len(ids):
        for event in channel.read()[2]:
            if event["type"] == "task-started":
                begun[event["uuid"]] = event["timestamp"]
    times = sorted(begun.values())
    return [round(at - times[0], 3) for at in times]


@case
def on_queue(app, queue):
    """The state of a call that is sent to a queue."""
    result = app.send_task("bench.add", [2, 3], queue=queue)
    return {"value": result.get(timeout=PATIENCE_S), "state": result.state}


@case
def flower(app, address, worker):
    """Flower's pages and what its buttons do."""

    def get(path):
        with urllib.request.urlopen(f"{address}{path}", timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def post(path, **form):
        data = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(f"{address}{path}", data=data, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def page(path):
        try:
            return get(path)
        except (OSError, ValueError):
            return None

    workers = until("the worker", lambda: (page("/api/workers?refresh=1") or {}).get(worker))
    good = app.send_task("bench.add", [2, 3]).id
    bad = app.send_task("demo.fail", ["boom"]).id
    spin = app.send_task("bench.sleep", [60_000]).id

    def states():
        tasks = get("/api/tasks")
        return {
            name: tasks[id]["state"] for name, id in (("good", good), ("bad", bad), ("spin", spin))
            if id in tasks
        }  # fmt: skip

    shown = {"good": "SUCCESS", "bad": "FAILURE", "spin": "STARTED"}
    before = until("the tasks", lambda: states() == shown and states())
    info = get(f"/api/task/info/{good}")
    limit = post(f"/api/task/rate-limit/bench.add", workername=worker, ratelimit="7/m")
    registered = app.control.inspect(timeout=1).registered()[worker]
    post(f"/api/task/revoke/{spin}", terminate="true")
    after = until("the end", lambda: states()["spin"] == "REVOKED" and states())
    return {
        "keys": sorted(workers), "queues": [it["name"] for it in workers["active_queues"]],
        "before": before, "after": after, "limit": limit, "info": info,
        "limited": [it for it in registered if it.startswith("bench.add")],
        "state": AsyncResult(spin, app=app).state,
    }  # fmt: skip


def main():
    broker, backend, name, *arguments = sys.argv[1:]
    app = Celery(broker=broker, backend=backend)
    print(json.dumps(CASES[name](app, *arguments)))


main()
