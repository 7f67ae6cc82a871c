"""What no rounds of calls measure: a start, calls beside busy ones, and thousands that sleep."""

import time

import contenders
from bed import queues, usage
from scenarios import SCENARIOS

PATIENCE_S = 120
_NOOP = SCENARIOS["noop"]
# Calls that sleep, and for how long: all are in work before the first is done.
_SLEEPERS, _SLEEP_MS = 10_000, 20_000
# What keeps each core busy for about 20 s, and how many calls of 5 ms are made beside it.
_BUSY = {"lovage": 200_000_000, "celery": 40_000_000}
_BESIDE = {"lovage": 300, "celery": 3}


def start(name, queue) -> dict[str, float]:
    """Seconds from a worker's start to the first result; its native code is in the cache."""
    queue.stage([_NOOP.mix[0]])
    queue.release()
    begun = time.monotonic()
    with contenders.start(name, _NOOP, queue):
        queues.wait_for_results(queue, 1, PATIENCE_S, pause_s=0.002)
        seconds = time.monotonic() - begun
    return {"first_result_s": seconds}


def busy(name, queue) -> dict[str, float]:
    """What a call of 5 ms waits for its start while every core has one that computes for 20 s."""
    with contenders.start(name, _NOOP, queue) as worker:
        queue.stage([("bench.sha", (_BUSY[name],))] * 2)
        queue.release()
        waits = []
        with queues.client(queue.broker, queue.backend) as app:
            for _ in range(_BESIDE[name]):
                time.sleep(0.02)  # because calls are to come at any moment of the busy ones' slices
                begun = time.monotonic()
                app.send_task("bench.sleep", (5,)).get(timeout=PATIENCE_S, interval=0.002)
                waits.append(time.monotonic() - begun - 0.005)
        worker.kill()
    waits.sort()
    return {"start_p50_ms": waits[len(waits) // 2] * 1e3, "start_p99_ms": waits[-1 - len(waits) // 100] * 1e3}


def asleep(name, queue) -> dict[str, float]:
    """Memory of 10,000 calls that sleep at once, and a while after the last has ended."""
    if name != "lovage":
        return {}
    with contenders.start(name, _NOOP, queue, _SLEEPERS) as worker:
        before = usage.of(worker.pid).pss_bytes
        queue.stage([("bench.sleep", (_SLEEP_MS,))] * _SLEEPERS)
        queue.release()
        held = _watch(queue, worker)
        ended = time.monotonic()
        after = usage.of(worker.pid).pss_bytes
        while after > 150 << 20 and time.monotonic() - ended < 60:
            time.sleep(1)  # because memory that is given back tells nobody
            after = usage.of(worker.pid).pss_bytes
        seconds = time.monotonic() - ended
    mib = {"idle_mib": before, "asleep_mib": held, "after_mib": after}
    return {each: size / 2**20 for each, size in mib.items()} | {"given_back_s": seconds}


def _watch(queue, worker) -> int:
    """The most that the worker holds until all are done."""
    held, looked = [0], time.monotonic()

    def look(_found):
        nonlocal looked
        if time.monotonic() - looked > 1:
            held.append(usage.of(worker.pid).pss_bytes)
            looked = time.monotonic()

    queues.wait_for_results(queue, _SLEEPERS, PATIENCE_S, look, pause_s=0.05)
    return max(held)


SINGLES = {"start": start, "busy": busy, "asleep": asleep}


def measure(scenario, names, queue, rounds) -> dict[str, list[dict]]:
    """So many rounds of one scenario, taking turns."""
    found = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            queue.clear()
            found[name].append(SINGLES[scenario](name, queue))
    return {name: rounds for name, rounds in found.items() if any(rounds)}
