"""What only a RabbitMQ can be asked for, by a real Celery producer.

`rabbit.py BROKER BACKEND CASE [ARGUMENT…]` prints what the caller saw as one line of JSON, and judges
nothing: the tests do.
"""

import functools
import json
import os
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
def priority(app, *priorities):
    """Calls of several priorities, and one more that waits: what they return."""
    queue = Queue("celery", Exchange("celery"), "celery", max_priority=10)
    send = functools.partial(app.send_task, "bench.add", queue=queue)
    late = send((7, 0), countdown=1)
    results = [send((int(each), 0), priority=int(each)) for each in priorities]
    values = [result.get(timeout=PATIENCE_S) for result in results]
    return {"values": values, "late": late.get(timeout=PATIENCE_S)}


@case
def to_queue(app, queue):
    """A call to a queue that nobody has made yet."""
    return {"value": app.send_task("bench.add", (2, 3), queue=queue).get(timeout=PATIENCE_S)}


@case
def letterbox(app, kind):
    """Makes a queue, and where its dead letters go, as an operator of Celery would."""
    with app.connection_for_write() as link:
        Queue("letters", Exchange("dead"), "letters").bind(link.default_channel).declare()
        mail(kind).bind(link.default_channel).declare()
    return {"declared": mail(kind).name}


def mail(kind):
    """A queue whose dead letters go to an exchange."""
    arguments = {
        "x-queue-type": kind,
        "x-dead-letter-exchange": "dead",
        "x-dead-letter-routing-key": "letters",
    }
    return Queue("mail", Exchange("mail"), "mail", queue_arguments=arguments)


@case
def letter(app, kind):
    """A call that nobody has a task for, as it comes out of the letter box."""
    app.send_task("no.such.task", queue=mail(kind))
    deadline = time.monotonic() + PATIENCE_S
    with app.connection_for_read() as link:
        while time.monotonic() < deadline:
            if found := link.default_channel.basic_get("letters", no_ack=True):
                headers = found.headers
                death = headers["x-death"][0]
                return {"task": headers["task"], "reason": death["reason"], "queue": death["queue"]}
            time.sleep(0.05)  # Sleeps because no server tells.
    return {}


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
    is_quorum = os.environ.get("QUEUE_TYPE", "quorum") == "quorum"
    arguments_of = {"x-queue-type": "quorum"} if is_quorum else None
    app.conf.update(
        task_queues=[Queue("video", media, routing_key="video.#", queue_arguments=arguments_of)],
        task_default_exchange="media",
        task_default_exchange_type="topic",
        task_default_queue="video",
        broker_connection_retry_on_startup=True,
    )
    print(json.dumps(CASES[name](app, *arguments)), flush=True)


main()
