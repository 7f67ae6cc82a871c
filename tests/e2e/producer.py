"""One real Celery producer for the end-to-end tests.

`producer.py BROKER BACKEND CASE [ARGUMENT…]` makes the calls of one case and prints what the caller
saw as one line of JSON. It judges nothing: the tests do.
"""

import json
import os
import math
import sys
import time

from celery import Celery, group
from celery.result import AsyncResult

PATIENCE_S = 50
CASES = {}


def case(function):
    """Makes a function callable by its name, with `-` for `_`."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


def seen(result: AsyncResult, patience_s: float = PATIENCE_S) -> dict:
    """What `get()` does: the value, or the exception that it raises."""
    try:
        value = result.get(timeout=patience_s, interval=0.02)
    except Exception as error:  # noqa: BLE001, the test says which it should be
        kind = type(error)
        bases = [base.__name__ for base in kind.__mro__ if base.__module__ == "builtins"]
        return {
            "raised": f"{kind.__module__}.{kind.__name__}",
            "arguments": [str(argument) for argument in error.args],
            "is_value_error": "ValueError" in bases,
            "state": result.state,
            "traceback": result.traceback,
        }
    return {"value": value, "state": result.state}


def timed(send) -> dict:
    """`seen`, and the seconds between the call and its end."""
    start = time.monotonic()
    result = send()
    return seen(result) | {"seconds": time.monotonic() - start}


@case
def add(app):
    """The first promise."""
    return seen(app.send_task("bench.add", (2, 3)))


@case
def failure(app):
    """An exception of the caller's own Python."""
    return seen(app.send_task("demo.fail", ("card declined",)))


@case
def echo(app):
    """Values that are easily bent on the way."""
    values = [
        None, True, [], {}, "", "naïve 🌿 \u0000 \\ \"", 2**200, -(2**63), 0.1, 5e-324, [[[]]],
        {"a": {"b": [1, {"c": None}]}}, "x" * 100_000, math.inf, math.nan,
    ]  # fmt: skip
    results = [app.send_task("bench.echo", (value,)) for value in values]
    back = [result.get(timeout=PATIENCE_S, interval=0.02) for result in results]
    pairs = zip(values, back, strict=True)
    return {"bent": [repr(one) for one, two in pairs if repr(one) != repr(two)]}


@case
def keywords(app):
    """The same arguments, by name."""
    return seen(app.send_task("bench.add", (), {"x": 20, "y": 22}))


@case
def no_such_arguments(app):
    """A call that the task's parameters do not fit."""
    return seen(app.send_task("bench.add", (1,)))


@case
def ignore_result(app):
    """Nothing is stored for a caller who does not want it."""
    ignored = app.send_task("bench.add", (1, 1), ignore_result=True)
    wanted = app.send_task("bench.add", (2, 2))
    value = wanted.get(timeout=PATIENCE_S, interval=0.02)
    return {"wanted": value, "ignored": AsyncResult(ignored.id, app=app).state}


@case
def expires(app):
    """A call that is not wanted any more when its turn comes."""
    return seen(app.send_task("bench.add", (2, 3), expires=-1))


@case
def large(app):
    """A value of sixteen mebibytes, there and back."""
    value = "x" * (16 << 20)
    back = seen(app.send_task("bench.echo", (value,)))
    return back | {"value": back.get("value") == value}


@case
def countdown(app):
    """A call that is not to run before its time."""
    # Connects first: what is measured is the wait.
    seen(app.send_task("bench.add", (1, 1)))
    start = time.monotonic()
    later = app.send_task("bench.add", (2, 3), countdown=1.2)
    sent = time.monotonic()
    at_once = seen(app.send_task("bench.add", (1, 1)))
    between = time.monotonic() - sent
    value = seen(later)
    return value | {"at_once": at_once, "between": between, "seconds": time.monotonic() - start}


@case
def time_limit(app):
    """A task that waits for longer than its caller allows."""
    return timed(lambda: app.send_task("bench.sleep", (30_000,), time_limit=1))


@case
def spinning_time_limit(app):
    """A task that never waits at all."""
    return timed(lambda: app.send_task("demo.spin", (), time_limit=1))


@case
def soft_time_limit(app):
    """A task that is told before it is ended."""
    return timed(lambda: app.send_task("demo.nap", (30_000,), soft_time_limit=1, time_limit=10))


@case
def unknown(app):
    """A task that no module has."""
    return seen(app.send_task("nobody.knows", (1,)))


@case
def msgpack(app):
    """A serializer that the worker may not have been told to accept."""
    packed = app.send_task("bench.add", (2, 3), serializer="msgpack")
    plain = app.send_task("bench.add", (1, 1))
    value = plain.get(timeout=PATIENCE_S, interval=0.02)
    return {"plain": value, "packed": seen(packed, 1.0)}


@case
def retry(app):
    """A task that asks to be run again."""
    return seen(app.send_task("demo.retry_once", ()))


@case
def retried(app, failures, headers="{}"):
    """A task that fails so often: every state that a caller can see on the way, and the end."""
    result = app.send_task("shop.flaky", (int(failures),), headers=json.loads(headers))
    states = []
    while not states or states[-1] not in ("SUCCESS", "FAILURE"):
        state = result.state
        if state != "PENDING" and state not in states[-1:]:
            states.append(state)
        time.sleep(0.005)  # because a state that passes is told to nobody
    return seen(result) | {"states": states}


@case
def retry_later(app, delay_ms):
    """A task that asks to be run again later; its id."""
    result = app.send_task("demo.retry_once", (int(delay_ms),))
    while result.state != "RETRY":
        time.sleep(0.005)  # because a state that passes is told to nobody
    return result.id


@case
def outcome(app, call_id):
    """What becomes of a call that was made before."""
    return seen(AsyncResult(call_id, app=app))


@case
def many(app):
    """A group of sends."""
    calls = group(app.signature("bench.add", (number, number)) for number in range(100))
    return {"values": calls.apply_async().get(timeout=PATIENCE_S, interval=0.02)}


@case
def priorities_send(app):
    """Calls of all four priorities, the least urgent first; nobody works on them yet."""
    ids = {}
    for priority in (9, 6, 3, 0):
        for _ in range(3):
            ids[app.send_task("bench.add", (priority, 0), priority=priority).id] = priority
    return ids


@case
def priorities_order(app, ids):
    """The order in which they were done."""
    done = []
    for call_id, priority in json.loads(ids).items():
        result = AsyncResult(call_id, app=app)
        result.get(timeout=PATIENCE_S, interval=0.02)
        done.append((result.date_done.isoformat(), priority))
    return [priority for _, priority in sorted(done)]


@case
def call(app, task, arguments):
    """One call of any task."""
    return seen(app.send_task(task, json.loads(arguments)))


@case
def send(app, task, arguments, count):
    """Many calls of one task; their ids."""
    arguments = json.loads(arguments)
    return [app.send_task(task, arguments).id for _ in range(int(count))]


@case
def send_later(app, task, arguments, countdown):
    """One call that is not to run before its time; its id."""
    return app.send_task(task, json.loads(arguments), countdown=float(countdown)).id


@case
def states(app, ids):
    """How each of them ended, after waiting for it."""
    counted = {}
    for call_id in json.loads(ids):
        result = AsyncResult(call_id, app=app)
        state = seen(result)["state"]
        counted[state] = counted.get(state, 0) + 1
    return counted


@case
def now(app, ids):
    """How many are in which state at this moment."""
    counted = {}
    for call_id in json.loads(ids):
        state = AsyncResult(call_id, app=app).state
        counted[state] = counted.get(state, 0) + 1
    return counted


@case
def value(app, call_id):
    """What one of them ended with."""
    return seen(AsyncResult(call_id, app=app))


@case
def one_at_a_time(app, count):
    """Seconds of each of several round trips, none begun before the last one ended."""
    taken = []
    for number in range(int(count)):
        start = time.monotonic()
        value = app.send_task("bench.add", (number, 1)).get(timeout=PATIENCE_S, interval=0.002)
        taken.append(time.monotonic() - start)
        if value != number + 1:
            raise RuntimeError(f"{number} + 1 = {value}")
    return {"seconds": taken}


@case
def hostile(app, task, arguments, time_limit_s):
    """One call that means harm while a neighbour's calls go on."""
    app.send_task("bench.add", (1, 1)).get(timeout=PATIENCE_S, interval=0.005)
    start = time.monotonic()
    harmful = app.send_task(task, json.loads(arguments), time_limit=float(time_limit_s))
    neighbours = []
    while not harmful.ready() and time.monotonic() - start < PATIENCE_S:
        begin = time.monotonic()
        value = app.send_task("bench.add", (20, 22)).get(timeout=PATIENCE_S, interval=0.005)
        neighbours.append((value, time.monotonic() - begin))
    saw = seen(harmful)
    after = app.send_task("bench.add", (20, 22)).get(timeout=PATIENCE_S, interval=0.005)
    return saw | {
        "seconds": time.monotonic() - start,
        "neighbours": [value for value, _ in neighbours] + [after],
        "slowest_neighbour": max((seconds for _, seconds in neighbours), default=0.0),
    }


def main():
    broker, backend, name, *arguments = sys.argv[1:]
    app = Celery(broker=broker, backend=backend)
    app.conf.update(
        accept_content=["json", "msgpack"],
        result_accept_content=["json"],
        broker_connection_retry_on_startup=True,
        task_default_queue_type=os.environ.get("QUEUE_TYPE", "classic"),
    )
    print(json.dumps(CASES[name](app, *arguments)), flush=True)


if __name__ == "__main__":
    main()
