"""The example modules' tasks once more, in Python, for a real Celery worker: what to compare with.

Where the environment names a `SINK`, the id of every task that was run is appended to that file.
"""

import hashlib
import os
import time

from celery import Celery
from celery.signals import task_postrun, worker_ready

app = Celery("reference")
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)


@worker_ready.connect
def tell(**_):
    """What a Lovage worker prints, too; at the log level of a bench nothing else would tell."""
    print("ready:", flush=True)


if "SINK" in os.environ:
    _SINK = os.open(os.environ["SINK"], os.O_WRONLY | os.O_APPEND)

    @task_postrun.connect
    def write_down(task_id, **_):
        """One line, in one write, so that many processes may share the file."""
        os.write(_SINK, f"{task_id}\n".encode())


@app.task(name="bench.add")
def add(x, y):
    """Adds two numbers."""
    return x + y


@app.task(name="bench.echo")
def echo(v):
    """Returns what it is sent."""
    return v


@app.task(name="bench.sleep")
def sleep(ms):
    """Waits without using the processor, and returns how long."""
    time.sleep(ms / 1000)  # because sleeping is what this task does
    return ms


@app.task(name="bench.sha")
def sha(rounds):
    """Hashes `seed`, then each digest again."""
    digest = b"seed"
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


@app.task(name="bench.sieve")
def sieve(n):
    """Counts the primes below `n`."""
    composite = bytearray(n)
    primes = 0
    for candidate in range(2, n):
        if not composite[candidate]:
            primes += 1
            multiples = range(candidate * candidate, n, candidate)
            composite[candidate * candidate :: candidate] = b"\1" * len(multiples)
    return primes


@app.task(name="demo.fail")
def fail(message="no reason"):
    """Fails with a ValueError."""
    raise ValueError(message)


@app.task(name="demo.nap")
def nap(ms):
    """Waits in short naps."""
    for _ in range(ms // 10):
        time.sleep(0.01)  # because napping is what this task does
    return ms


@app.task(name="demo.spin")
def spin():
    """Never ends by itself."""
    while True:
        pass


@app.task(name="demo.retry_once", bind=True)
def retry_once(self, delay_ms=100):
    """Asks to be run again, once; returns how many retries there were."""
    if self.request.retries == 0:
        raise self.retry(countdown=delay_ms / 1000)
    return self.request.retries
