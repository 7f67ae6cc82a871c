"""The example modules' tasks once more, in Python, for a real Celery worker: what to compare with.

Where the environment names a `SINK`, runs and effects are appended to that file as Lovage does it;
`VISIBILITY` is the seconds after which a silent worker's messages are somebody else's.
"""

import hashlib
import os
import time

from celery import Celery
from celery.signals import task_prerun

from bed import ready  # noqa: F401  its worker says when it is

app = Celery("reference")
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)


if "VISIBILITY" in os.environ:
    seconds = float(os.environ["VISIBILITY"])
    app.conf.broker_transport_options = {"visibility_timeout": seconds}
_SINK = os.open(os.environ["SINK"], os.O_WRONLY | os.O_APPEND) if "SINK" in os.environ else None


def write_down(what, which, task_id):
    """One line, in one write, so that many processes may share the file."""
    if _SINK is not None:
        os.write(_SINK, f"{what} {which} {task_id} {time.time_ns() // 1000}\n".encode())


@task_prerun.connect
def write_down_run(task_id, **_):
    """Every attempt, with the worker that makes it."""
    write_down("run", os.getppid(), task_id)


@app.task(name="bench.effect", bind=True)
def effect(self, doubt, ms, failures):
    """Has an effect whose receiver is sent the call's id as its key; then fails so often."""
    write_down("effect", self.request.id, self.request.id)
    time.sleep(ms / 1000)  # because sleeping is what this task does
    if self.request.retries < failures:
        raise self.retry(countdown=0.1, max_retries=5)
    return self.request.id


@app.task(name="bench.effect_then", bind=True)
def effect_then(self, x):
    """Has an effect, and then calls the other one."""
    write_down("effect", self.request.id, self.request.id)
    effect.delay("retry", 0, 0)
    return x


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


@app.task(name="canvas.send", bind=True)
def send(self, canvas):
    """Sends a signature and returns its result's tuple."""
    return app.signature(canvas).apply_async().as_tuple()


@app.task(name="canvas.replace", bind=True)
def replace(self, canvas):
    """Has a signature take this task's place."""
    return self.replace(app.signature(canvas))


@app.task(name="canvas.join", bind=True)
def join(self, signatures):
    """Adds each of these signatures to the chord that this task is a member of."""
    for canvas in signatures:
        self.add_to_chord(app.signature(canvas))
    return len(signatures)
