"""What Celery's own client makes of results in every form that a worker can be told to keep.

`results.py BROKER BACKEND SERIALIZER QUEUE` prints one line of JSON.
"""

import json
import sys
import time

import redis
from celery import Celery, chord

PATIENCE_S = 30


def told(result):
    """The value, or the exception as text."""
    try:
        return result.get(timeout=PATIENCE_S)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def begun(app, queue):
    """What a call says of itself while it runs, and at its end."""
    result = app.send_task("bench.sleep", [1_500], queue=queue)
    end = time.monotonic() + PATIENCE_S
    while result.state == "PENDING" and time.monotonic() < end:
        time.sleep(0.05)  # because a state that passes is told to nobody
    while_running = [result.state, sorted(result.info or {})]
    result.get(timeout=PATIENCE_S)
    return [*while_running, result.state]


def main():
    broker, backend, serializer, queue = sys.argv[1:]
    app = Celery(broker=broker, backend=backend)
    app.conf.update(
        result_serializer=serializer,
        result_accept_content=[serializer],
        accept_content=["json", "msgpack", "yaml"],
        task_default_queue=queue,
        task_create_missing_queues=True,
    )
    add = app.signature("bench.add")
    good = app.send_task("bench.add", [2, 3])
    answer = {
        "value": told(good),
        "text": told(app.send_task("bench.echo", ["é 🌿 \u0001 \"x\" 1e5"])),
        "failure": told(app.send_task("demo.fail", ["boom"])),
        "kept": app.AsyncResult(good.id).get(timeout=PATIENCE_S) if "rpc" not in backend else 5,
    }
    if backend.startswith("redis"):
        members = [add.clone(args=[number, number]) for number in range(3)]
        answer["chord"] = sorted(told(chord(members)(app.signature("bench.echo"))))
        key = f"celery-task-meta-{good.id}"
        answer["begins"] = redis.Redis.from_url(backend).get(key)[:19].hex()
        answer["started"] = begun(app, queue)
    print(json.dumps(answer))


main()
