"""What only a RabbitMQ can be asked for, by a real Celery producer.

`rabbit.py BROKER BACKEND CASE [ARGUMENT…]` prints what the caller saw as one line of JSON, and judges
nothing: the tests do.
"""

import json
import sys
import time

from celery import Celery
from kombu import Exchange, Queue

PATIENCE_S = 50
CASES = {}


def case(function):
    """Makes a function callable by its name, with `-` for `_`."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


@case
def topic(app, key):
    """A call to a quorum queue on a topic exchange."""
    return {"value": app.send_task("bench.add", (2, 3), routing_key=key).get(timeout=PATIENCE_S)}


@case
def delayed(app, key, seconds):
    """The same, delayed natively: how long it took, and what rested at the server meanwhile."""
    start = time.monotonic()
    result = app.send_task("bench.add", (2, 3), routing_key=key, countdown=float(seconds))
    rested = 0
    while not result.ready() and time.monotonic() - start < PATIENCE_S:
        rested = max(rested, sum(waiting(app, f"celery_delayed_{level}") for level in range(3)))
        time.sleep(0.05)  # Sleeps because no server tells.
    return {"value": result.get(timeout=1), "seconds": time.monotonic() - start, "rested": rested}


@case
def priorities(app, count):
    """Calls of several priorities, the least urgent first; nobody works on them yet."""
    app.conf.task_queue_max_priority = 10
    app.conf.task_queues = None
    app.conf.task_default_exchange = app.conf.task_default_routing_key = "celery"
    app.conf.task_default_queue = "celery"
    app.amqp.__dict__.pop("queues", None)
    ids = {}
    for priority in (0, 3, 6, 9):
        for _ in range(int(count)):
            ids[app.send_task("bench.add", (priority, 0), priority=priority).id] = priority
    return ids


@case
def large(app, mebibytes):
    """A value of so many mebibytes, there and back."""
    value = "x" * (int(mebibytes) << 20)
    result = app.send_task("bench.echo", (value,), queue="celery")
    try:
        return {"same": result.get(timeout=PATIENCE_S) == value}
    except Exception as error:  # noqa: BLE001, the test says which it should be
        return {"raised": type(error).__name__, "text": str(error)[:200]}


@case
def waiting(app, queue) -> int:
    """How many messages a queue has; none if it is not there."""
    with app.connection_for_read() as link:
        try:
            return link.default_channel.queue_declare(queue, passive=True).message_count
        except link.channel_errors:
            return 0


def main():
    broker, backend, name, *arguments = sys.argv[1:]
    app = Celery(broker=broker, backend=backend)
    media = Exchange("media", type="topic")
    arguments_of = {"x-queue-type": "quorum"}
    app.conf.update(
        task_queues=[Queue("video", media, routing_key="video.#", queue_arguments=arguments_of)],
        task_default_exchange="media",
        task_default_exchange_type="topic",
        task_default_queue="video",
        broker_connection_retry_on_startup=True,
    )
    print(json.dumps(CASES[name](app, *arguments)), flush=True)


main()
