"""Canvas as a real Celery producer sends it, and what it sees of it.

`canvas.py BROKER BACKEND [CASE…]` sends every case (or those named) at once and prints what became of
each as one line of JSON. It judges nothing: the tests do.
"""

import json
import sys
import uuid

from celery import Celery, chain, chord, group, signature
from celery.result import AsyncResult

PATIENCE_S = 50
RUN = uuid.uuid4().hex
CASES = {}


def case(function):
    """Makes a function callable by its name, with `-` for `_`."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


def add(*args, **options):
    """A sum; the first addend may still be missing."""
    return signature("bench.add", args=args, **options)


def echo(*args, **options):
    """What it is given."""
    return signature("bench.echo", args=args, **options)


def fail(**options):
    """A failure whatever comes before it."""
    return signature("demo.fail", args=("no",), immutable=True, **options)


def seen(result, patience_s=PATIENCE_S):
    """What `get()` returns, or the exception that it raises, without ids."""
    try:
        return result.get(timeout=patience_s, interval=0.02)
    except Exception as error:  # noqa: BLE001, the test says which it should be
        text = str(error)
        for word in text.split():
            if len(word) == 36 and word.count("-") == 4:
                text = text.replace(word, "ID")
        return f"{type(error).__name__}: {text}"


@case
def chain_of_three(app):
    result = chain(add(1, 2), add(3), add(4)).apply_async()
    return lambda: [seen(result), seen(result.parent), seen(result.parent.parent)]


@case
def chain_that_fails(app):
    result = chain(add(1, 2), fail(), add(4), add(5)).apply_async()
    return lambda: [seen(result), seen(result.parent), result.state, result.parent.state]


@case
def links(app):
    callback, errback = add(10).set(task_id=fresh("link")), echo().set(task_id=fresh("errback"))
    good = add(1, 2).apply_async(link=[callback, echo()])
    bad = fail().apply_async(link_error=[errback])
    failed = AsyncResult(errback.options["task_id"], app=app)
    linked = AsyncResult(callback.options["task_id"], app=app)
    return lambda: [seen(good), seen(linked), seen(bad), seen(failed) == bad.id]


@case
def group_of_three(app):
    result = group(add(i, i) for i in range(3)).apply_async()
    return lambda: seen(result)


@case
def chord_of_ten(app):
    result = chord([add(i, i) for i in range(10)], echo()).apply_async()
    return lambda: seen(result)


@case
def chord_of_one(app):
    result = chord([add(1, 1)], echo()).apply_async()
    return lambda: seen(result)


@case
def chord_of_none(app):
    result = chord([], echo()).apply_async()
    return lambda: seen(result)


@case
def chord_of_chains(app):
    result = chord([chain(add(i, 1), add(10)) for i in range(3)], echo()).apply_async()
    return lambda: seen(result)


@case
def chord_then_chain(app):
    result = chain(chord([add(1, 1), add(2, 2)], echo()), echo(), echo()).apply_async()
    return lambda: seen(result)


@case
def chain_through_a_group(app):
    result = chain(add(1, 1), group(add(1), add(2)), echo(), group(echo(), echo())).apply_async()
    return lambda: seen(result)


@case
def chord_in_a_chord(app):
    inner = chord([add(1, 1), add(2, 2)], echo())
    result = chord([inner, add(3, 3)], echo()).apply_async()
    return lambda: seen(result)


@case
def groups_in_a_chord(app):
    result = chord([group(add(1, 1), add(2, 2)), add(3, 3)], echo()).apply_async()
    return lambda: seen(result)


@case
def chord_with_a_failure(app):
    errback = echo().set(task_id=fresh("chord-errback"))
    body = echo().on_error(errback)
    result = chord([add(1, 1), fail()], body).apply_async()
    told = AsyncResult(errback.options["task_id"], app=app)
    return lambda: [seen(result), seen(told) == result.id]


@case
def chain_in_a_chord_that_fails(app):
    result = chord([chain(fail(), add(1)), add(1, 1)], echo()).apply_async()
    return lambda: seen(result)


@case
def stamps_travel(app):
    result = chain(echo("stamped"), echo()).apply_async(headers={"tenant": "acme"})
    return lambda: seen(result)


@case
def replaced_by_a_task(app):
    result = chain(signature("canvas.replace", (dict(add(1, 2)),)), add(3)).apply_async()
    return lambda: seen(result)


@case
def replaced_by_a_chain(app):
    inner = chain(add(1, 2), add(3))
    result = chain(signature("canvas.replace", (plain(inner),)), add(4)).apply_async()
    return lambda: seen(result)


@case
def replaced_by_a_group(app):
    inner = group(add(1, 2), add(3, 4))
    result = chain(signature("canvas.replace", (plain(inner),)), echo()).apply_async()
    return lambda: seen(result)


@case
def maps(app):
    mapped = signature("celery.map", kwargs={"task": dict(echo()), "it": [1, [2]]}).apply_async()
    starred = signature("celery.starmap", kwargs={"task": dict(add()), "it": [[1, 2], [3, 4]]}).apply_async()
    failed = signature("celery.map", kwargs={"task": dict(fail()), "it": ["no"]}).apply_async()
    return lambda: [seen(mapped), seen(starred), seen(failed)]


@case
def chunks_of_two(app):
    lots = group(
        signature("celery.starmap", kwargs={"task": dict(add()), "it": lot})
        for lot in ([[1, 1], [2, 2]], [[3, 3]])
    ).apply_async()
    return lambda: seen(lots)


@case
def canvas_by_name(app):
    sent = app.send_task("celery.chunks", (dict(add()), [[1, 1], [2, 2], [3, 3]], 2))
    chain_by_name = app.send_task("celery.chain")
    accumulated = app.send_task("celery.accumulate", (1, 2), {"index": 1})
    cleaned = app.send_task("celery.backend_cleanup")
    return lambda: [
        [seen(AsyncResult(lot[0][0], app=app)) for lot in seen(sent)[1]],
        seen(chain_by_name),
        seen(accumulated),
        seen(cleaned),
    ]


@case
def group_behind_a_chain_in_a_chord(app):
    inner = chain(add(1, 1), group(add(1), add(2)))
    result = chord([inner, add(3, 3)], echo()).apply_async()
    return lambda: seen(result)


@case
def replaced_in_a_chord(app):
    member = signature("canvas.replace", (plain(chain(add(1, 2), add(3))),))
    result = chord([member, add(1, 1)], echo()).apply_async()
    return lambda: seen(result)


@case
def joined_by_more_members(app):
    member = signature("canvas.join", ([plain(add(5, 5)), plain(add(6, 6))],))
    result = chord([member, add(1, 1)], echo()).apply_async()
    return lambda: sorted(value) if isinstance(value := seen(result), list) else value


@case
def sent_from_inside(app):
    inner = chord([add(1, 1), add(2, 2)], echo())
    result = app.send_task("canvas.send", (plain(inner),))
    return lambda: seen(AsyncResult(seen(result)[0][0], app=app))


def plain(canvas):
    """A signature as JSON."""
    return json.loads(json.dumps(canvas))


def fresh(name):
    """An id that tells what it is for, once for every run."""
    return f"{name}-{RUN}"


def main():
    broker, backend, *names = sys.argv[1:]
    app = Celery("canvas", broker=broker, backend=backend)
    app.set_default()
    waiting = {name: CASES[name](app) for name in names or CASES}
    print(json.dumps({name: see() for name, see in waiting.items()}))


if __name__ == "__main__":
    main()
