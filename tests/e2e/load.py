"""Calls one task at a steady rate with a real Celery producer until a file is there, then prints what
became of each call: when it was sent, its id, and its result or the error's text."""

import json
import pathlib
import sys
import time

from celery import Celery


def main():
    broker, backend, task, queue, rate, stop = sys.argv[1:]
    app = Celery(broker=broker, backend=backend)
    stop, pause = pathlib.Path(stop), 1 / float(rate)
    sent, due = [], time.time()
    while not stop.exists():
        sent.append((time.time(), app.send_task(task, queue=queue)))
        due += pause
        time.sleep(max(0, due - time.time()))  # because a load has a rate
    calls = []
    for at, result in sent:
        try:
            calls.append([at, result.id, result.get(timeout=30)])
        except Exception as error:
            calls.append([at, result.id, f"{type(error).__name__}: {error}"])
    print(json.dumps(calls))


main()
