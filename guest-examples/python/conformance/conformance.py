"""The tasks that every language's SDK is measured by, here through Lovage's own API."""

import time
from dataclasses import dataclass

from lovage import Ignore, Reject, Replace, Requeue, Retry, ctx, http, step, task


class OutOfStock(Exception):
    """An exception of the module's own."""


@task(name="conformance.add")
def add(x: int, y: int) -> int:
    """Adds two numbers."""
    return x + y


@task(name="conformance.echo")
def echo(value):
    """Any JSON value, as it came."""
    return value


@task(name="conformance.fail")
def fail(message: str = "no stock"):
    """Fails with an exception of the module's own."""
    raise OutOfStock(message, 42, {"sku": "A-1"})


@task(name="conformance.retry", max_retries=2)
def retry(after: float = 0.1) -> int:
    """Asks to be run again until its retries are used up but one."""
    if ctx.retries < 2:
        raise Retry("not yet", after=after)
    return ctx.retries


@task(name="conformance.exhaust", max_retries=1, retry_on=(ConnectionError,), delay=0.05)
def exhaust():
    """Fails with what it retries on."""
    raise ConnectionError("bank down")


@task(name="conformance.reject")
def reject(reason: str = "never"):
    """Is not to be run again."""
    raise Reject(reason)


@task(name="conformance.steps", max_retries=1)
def steps(order: int) -> list:
    """Charges once over two attempts."""
    receipt = step("charge", lambda it: f"{it.key}/{ctx.retries}", doubt="retry", input=order)
    if ctx.retries == 0:
        raise Retry("mail is down", after=0)
    return [receipt, ctx.retries]


@task(name="conformance.outbox")
def outbox(good: bool = True) -> str:
    """Calls another task, if it succeeds."""
    call = ctx.call("conformance.add", (20, 22), headers={"tenant": "acme"})
    if not good:
        raise ValueError("the call must not leave")
    return call


@task(name="conformance.progress")
def progress(hold_ms: int = 0) -> str:
    """Shows how far it is."""
    ctx.progress("PROGRESS", {"done": 3, "of": 10})
    time.sleep(hold_ms / 1000)
    return "finished"


@task(name="conformance.log")
def log() -> None:
    """A line of each level."""
    for level in ("trace", "debug", "info", "warn", "error"):
        ctx.log(f"a line of {level}", level, number=1)
    print("a line on standard output")


@task(name="conformance.soft", soft_time_limit="200ms", time_limit="10s")
def soft() -> str:
    """Waits longer than it may, and tidies up."""
    try:
        time.sleep(8)
    except Exception as error:
        return f"{type(error).__name__} after tidying up"
    return "never told"


@task(name="conformance.once", idempotency_key="order:{order_id}")
def once(order_id: int) -> str:
    """Happens once for an order."""
    return ctx.idempotency_key


@dataclass
class Item:
    """What an order has."""

    sku: str
    count: int = 1


@task(name="conformance.typed")
def typed(item: Item, note: str | None = None) -> int:
    """Has a schema."""
    return item.count if item.sku else 0


def addition(x, y, **options):
    """A call of `conformance.add`, as Celery writes it."""
    return {"task": "conformance.add", "args": [x, y], "kwargs": {}, "options": options}


@task(name="conformance.ignore")
def ignore(child: str):
    """Sends a call of this id, and says nothing of its own end."""
    ctx.send_signature(addition(20, 22, task_id=child))
    raise Ignore


@task(name="conformance.requeue")
def requeue() -> str:
    """Goes back to its queue once."""
    if not ctx.redelivered:
        raise Requeue("once more")
    return "redelivered"


@task(name="conformance.replace")
def replace(x: int):
    """Has another call take its place."""
    raise Replace(addition(x, 100))


@task(name="conformance.changed", max_retries=1)
def changed(word: str) -> list:
    """Asks to be run again with another word."""
    if ctx.retries == 0:
        raise Retry("another word", after=0, args=[], kwargs={"word": "second"})
    return [word, ctx.retries]


@task(name="conformance.canvas")
def canvas(x: int) -> list:
    """Sends a chord, and returns its result's tuple."""
    body = {"task": "conformance.echo", "args": [], "kwargs": {}, "options": {}}
    parts = {"header": [addition(x, 1), addition(x, 2)], "body": body}
    chord = {"task": "celery.chord", "args": [], "kwargs": parts, "options": {}}
    return ctx.send_signature(chord | {"subtask_type": "chord"})


@task(name="conformance.request")
def request(word: str) -> dict:
    """All that Celery's request has."""
    return ctx.request


attempts = []


@task(name="conformance.count")
def count() -> int:
    """Which attempt this is in its instance."""
    attempts.append(ctx.task_id)
    return len(attempts)


@task(name="conformance.shared", reuse=100)
def shared() -> list:
    """The same in one that attempts share, and its id."""
    attempts.append(ctx.task_id)
    return [len(attempts), attempts[-1]]


@task(name="conformance.sleep")
def sleep(seconds: float) -> float:
    """Waits; other tasks run meanwhile."""
    time.sleep(seconds)
    return seconds


@task(name="conformance.http", capabilities=["http:127.0.0.1:*"])
def ask(url: str) -> list:
    """Asks a server."""
    answer = http.post(url, json={"number": 7}, headers={"X-Mine": "conformance"}, timeout=10)
    answer.raise_for_status()
    return [answer.status, answer.headers["x-theirs"], answer.json()]
