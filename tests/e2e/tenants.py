"""Calls of one tenant beside another that floods: how long each waits until it begins.

`tenants.py BROKER BACKEND SECONDS FLOOD QUIET` sends FLOOD slow calls to `loud.default` at once, none if
it is 0, then ten calls a second to `quiet.default` for so many seconds, and one now and then to each of
QUIET more tenants. Prints how long the quiet calls took from sending to their result, in seconds.
"""

import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import redis  # noqa: E402
from bed import queues  # noqa: E402

_PATIENCE_S = 60
_APART_S = 0.1
_WARM_UP = 20


def main():
    broker, backend, *numbers = sys.argv[1:]
    seconds, flood, quiet = map(int, numbers)
    queue = queues.Redis(SimpleNamespace(url={0: broker, 1: backend}.get))
    with queues.client(broker, backend) as app:
        for number in range(_WARM_UP):
            warm = app.send_task("bench.add", (number, 1), queue="quiet.default")
            assert warm.get(timeout=_PATIENCE_S, interval=0.002) == number + 1
        # Declares the queue, so that it is joined before the flood comes.
        app.send_task("bench.add", (1, 1), queue="loud.default").get(timeout=_PATIENCE_S)
        for number in range(quiet):
            app.send_task("bench.add", (number, 1), queue=f"small{number}.default")
        if flood:
            queue.stage([("bench.sleep", (100,))] * flood)
            redis.Redis.from_url(broker).rename("staged", "loud.default")
            wait_until_running(broker, flood)
        taken = trips(backend, app, seconds, quiet)
    left = redis.Redis.from_url(broker).llen("loud.default")
    print(json.dumps({"seconds": taken, "flood_done": flood - left, "flood_left": left}))


def wait_until_running(broker, flood):
    """The flood is under way: more than what fits in slots has been taken."""
    client = redis.Redis.from_url(broker)
    deadline = time.monotonic() + _PATIENCE_S
    while client.llen("loud.default") > flood - 100:
        assert time.monotonic() < deadline, "the flood never began"
        time.sleep(0.05)  # because a list tells nobody of its length


def trips(backend, app, seconds, quiet):
    """Seconds from each call to its result, as a subscriber hears of it."""
    client = redis.Redis.from_url(backend)
    heard, sent = {}, {}
    listener = client.pubsub()
    listener.psubscribe("celery-task-meta-*")
    enough = threading.Event()

    def listen():
        for message in listener.listen():
            if message["type"] == "pmessage":
                now = time.monotonic()
                heard[message["channel"].decode().removeprefix("celery-task-meta-")] = now
            if enough.is_set():
                return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    start = time.monotonic()
    for number in range(int(seconds / _APART_S)):
        pause = start + number * _APART_S - time.monotonic()
        if pause > 0:
            time.sleep(pause)  # because calls are to come ten times a second
        queue = f"small{number % quiet}.default" if quiet and number % 2 else "quiet.default"
        began = time.monotonic()
        sent[app.send_task("bench.add", (number, 1), queue=queue, ignore_result=False).id] = began
    deadline = time.monotonic() + _PATIENCE_S
    while not sent.keys() <= heard.keys():
        assert time.monotonic() < deadline, "a quiet call never ended"
        time.sleep(0.01)  # because the listener tells nobody
    enough.set()
    return sorted(heard[each] - sent[each] for each in sent)


if __name__ == "__main__":
    main()
