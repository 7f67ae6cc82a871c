"""One round: a worker is started, gets so many calls at once, and then some one at a time."""

import statistics
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields
from itertools import cycle, islice

import contenders
from bed import places, profile, queues, usage

PATIENCE_S = 120
WARM_UP = 200
LATENCY_SAMPLES = 200
# Between two looks at the count of results.
PAUSE_S = 0.01


@dataclass
class Round:
    """What one round of one worker measured."""

    tasks_per_s: float
    worker_cpu_us: float
    broker_cpu_us: float
    pss_mib: float
    rss_mib: float
    idle_pss_mib: float
    processes: int
    p50_ms: float
    p99_ms: float
    trips_ms: list[float]


def play(name, scenario, queue, server, options) -> Round:
    """One round of one worker."""
    queue.clear()
    calls = options.celery_calls if name.startswith("celery") else options.calls
    with contenders.start(name, scenario, queue, options.concurrency) as worker:
        queue.worker = worker.pid
        run(queue, scenario, min(WARM_UP, calls))
        idle = usage.of(worker.pid)
        ids = queue.stage(islice(cycle(scenario.mix), calls))
        recording = profile.Recording(worker.pid) if options.profile and name == "lovage" else None
        before, broker_before = usage.of(worker.pid, memory=False), broker_cpu_s(server)
        moments = released(queue, calls)
        if scenario.is_retried:
            # Whoever is to run again has a result before its last one.
            finish(queue, ids, name)
            moments = [(moments[0][0], 0), (time.monotonic(), calls)]
        after, broker_after = usage.of(worker.pid), broker_cpu_s(server)
        if recording:
            print(recording.finish(places.target() / "bench" / "profile.data"))
        finish(queue, ids, name)
        queue.forget_results()
        trips = sorted(latencies(queue, options))
        queue.worker = None
        code = worker.terminate()
    if code != 0 and name != contenders.BARE:
        raise RuntimeError(f"the {name} worker ended with {code}")
    return Round(
        tasks_per_s=rate(moments),
        worker_cpu_us=(after.cpu_s - before.cpu_s) / calls * 1e6,
        broker_cpu_us=(broker_after - broker_before) / calls * 1e6,
        pss_mib=after.pss_bytes / 2**20,
        rss_mib=after.rss_bytes / 2**20,
        idle_pss_mib=idle.pss_bytes / 2**20,
        processes=after.processes,
        p50_ms=trips[len(trips) // 2] * 1e3,
        p99_ms=trips[len(trips) * 99 // 100] * 1e3,
        trips_ms=[round(each * 1e3, 3) for each in trips],
    )


def run(queue, scenario, calls):
    """Calls that are not measured."""
    queue.forget_results()
    ids = queue.stage(islice(cycle(scenario.mix), calls))
    released(queue, calls)
    finish(queue, ids, "warming")
    queue.forget_results()


def finish(queue, ids, name):
    """Waits until every result is a success: one that is to be retried has one before, too."""
    deadline = time.monotonic() + PATIENCE_S
    while (states := Counter(queue.states(ids).values())) != {"SUCCESS": len(ids)}:
        if set(states) - {"SUCCESS", "RETRY"} or time.monotonic() > deadline:
            raise RuntimeError(f"of {len(ids)} calls to {name} became {dict(states)}")
        time.sleep(0.1)  # because a result that changes is not counted by anybody


def released(queue, calls):
    """Lets the worker have what is staged; the counts of results on the way."""
    start = time.monotonic()
    queue.release()
    moments = queues.wait_for_results(queue, calls, PATIENCE_S, pause_s=PAUSE_S)
    return [(start, 0), *moments]


def rate(moments) -> float:
    """Results a second between the first that was seen and the last."""
    first = next(index for index, (_, count) in enumerate(moments) if count)
    if moments[first][1] == moments[-1][1]:
        # All came between two looks: count from the release.
        first = 0
    seconds = moments[-1][0] - moments[first][0]
    return (moments[-1][1] - moments[first][1]) / seconds


def latencies(queue, options) -> list[float]:
    """Seconds from a call of real Celery's to its result, one at a time."""
    samples = LATENCY_SAMPLES if options.broker != "sqlite" else LATENCY_SAMPLES // 10
    with queues.client(queue.broker, queue.backend) as app:
        taken = []
        for _ in range(samples + 10):
            start = time.monotonic()
            app.send_task("bench.add", (2, 3)).get(timeout=PATIENCE_S, interval=0.002)
            taken.append(time.monotonic() - start)
    # The first ones open connections.
    return taken[10:]


def broker_cpu_s(server) -> float:
    """CPU time of the broker, where it is a process."""
    return usage.cpu_s(server.pid) if server else 0.0


def median(rounds: list[Round]) -> dict[str, float]:
    """The median of each figure."""
    table = [asdict(each) for each in rounds]
    names = [field.name for field in fields(Round) if field.name != "trips_ms"]
    return {name: statistics.median(row[name] for row in table) for name in names}
