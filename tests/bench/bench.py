"""Lovage beside Celery prefork, on the same server, in one run.

    bench.py [SCENARIO] [--rounds N] [--calls N] [--celery-calls N] [-c N] [--profile] [--only lovage]

A round clears the broker, starts a worker, warms it up, moves N prepared messages into its queue at
once and counts results until all are there; then it makes calls one at a time. Rounds of the two
workers take turns, so that whatever else the machine does meets both. Medians are reported.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "languages")]

import conformance  # noqa: E402
from bed import places, processes, profile, queues, rabbit, usage  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

PATIENCE_S = 120
WARM_UP = 200
LATENCY_SAMPLES = 200
# Between two looks at the count of results.
PAUSE_S = 0.01

out = Console(highlight=False)


@dataclass(frozen=True)
class Scenario:
    """What is called, and how often: Celery needs fewer calls for the same time."""

    note: str
    calls: int
    celery_calls: int
    mix: tuple
    # Where the module is built from, if it is none of the examples.
    project: str | None = None


_NOOP = ("bench.add", (2, 3))
_ECHO = ("bench.echo", ("x" * 1_024,))
_SLEEP = ("bench.sleep", (20,))
_SHA = ("bench.sha", (1_000,))
SCENARIOS = {
    "noop": Scenario("bench.add of two numbers", 60_000, 4_000, (_NOOP,)),
    "echo1k": Scenario("bench.echo of 1 KiB", 40_000, 4_000, (_ECHO,)),
    "sleep": Scenario("bench.sleep of 20 ms", 20_000, 400, (_SLEEP,)),
    "sha": Scenario("bench.sha of 1,000 rounds", 6_000, 4_000, (_SHA,)),
    "mixed": Scenario("six adds, two echoes, one sleep, one sha", 20_000, 1_000,
                      (_NOOP, _NOOP, _ECHO, _NOOP, _SLEEP, _NOOP, _ECHO, _NOOP, _SHA, _NOOP)),
    "python": Scenario("bench.add of one tasks.py under both", 10_000, 4_000, (_NOOP,), "python"),
    "typescript": Scenario("bench.add in TypeScript, beside Python", 40_000, 4_000, (_NOOP,),
                           "typescript"),
}  # fmt: skip
# SQLite commits to a disk; kombu polls it besides. RabbitMQ's messages are made one by one.
SHARES = {"redis": 1, "sqlite": 10, "amqp": 3}


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


def main() -> int:
    """Measures, prints, writes; the exit code."""
    options = parse()
    scenario = SCENARIOS[options.scenario]
    with ExitStack() as stack:
        server = None
        if options.broker == "redis":
            server = stack.enter_context(processes.RedisServer())
            queue = queues.Redis(server)
        elif options.broker == "amqp":
            server = stack.enter_context(rabbit.RabbitServer())
            store = stack.enter_context(processes.RedisServer())
            queue = rabbit.Rabbit(server, store, is_one=True, counts_writes=True)
        else:
            queue = queues.Sqlite(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(closing(queue))
        measured = {name: [] for name in ("lovage", "celery") if options.only in (None, name)}
        for number in range(1, options.rounds + 1):
            for name, rounds in measured.items():
                with out.status(f"round {number} of {options.rounds}: {name}"):
                    rounds.append(play(name, scenario, queue, server, options))
                last = rounds[-1]
                out.print(
                    f"round {number}  {name:<7} {last.tasks_per_s:>9,.0f} tasks/s"
                    f"  {last.worker_cpu_us:>8,.1f} µs CPU  p99 {last.p99_ms:.1f} ms"
                )
    medians = {name: median(rounds) for name, rounds in measured.items()}
    tell(options, scenario, medians)
    write(options, scenario, measured, medians)
    return 0


def parse():
    """The command line; `BROKER` in the environment is what `make bench` sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="?", default="noop", choices=SCENARIOS)
    broker = os.environ.get("BROKER", "redis")
    parser.add_argument("--broker", default=broker, choices=["redis", "sqlite", "amqp"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, help="calls to Lovage in a round")
    parser.add_argument("--celery-calls", type=int, help="calls to Celery in a round")
    parser.add_argument("-c", "--concurrency", type=int, default=256, help="Lovage's slots")
    parser.add_argument("--without-ledger", action="store_true", help="calls may run twice")
    parser.add_argument("--only", choices=["lovage", "celery"], help="measure one of the two")
    parser.add_argument("--profile", action="store_true", help="record Lovage with perf")
    parser.add_argument("--name", help="of the file in target/bench")
    options = parser.parse_args()
    scenario = SCENARIOS[options.scenario]
    share = SHARES[options.broker]
    options.calls = options.calls or scenario.calls // share
    options.celery_calls = options.celery_calls or scenario.celery_calls // share
    return options


def play(name, scenario, queue, server, options) -> Round:
    """One round of one worker."""
    queue.clear()
    calls = options.calls if name == "lovage" else options.celery_calls
    start = start_lovage if name == "lovage" else start_celery
    with start(scenario, queue, options) as worker:
        queue.worker = worker.pid
        run(queue, scenario, min(WARM_UP, calls))
        idle = usage.of(worker.pid)
        ids = queue.stage(islice(cycle(scenario.mix), calls))
        recording = profile.Recording(worker.pid) if options.profile and name == "lovage" else None
        before, broker_before = usage.of(worker.pid, memory=False), broker_cpu_s(server)
        moments = released(queue, calls)
        after, broker_after = usage.of(worker.pid), broker_cpu_s(server)
        if recording:
            print(recording.finish(places.target() / "bench" / "profile.data"))
        states = Counter(queue.states(ids).values())
        if states != {"SUCCESS": calls}:
            raise RuntimeError(f"of {calls} calls to {name} became {dict(states)}")
        queue.forget_results()
        trips = sorted(latencies(queue, options))
        queue.worker = None
        code = worker.terminate()
    if code != 0:
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
    )


def start_lovage(scenario, queue, options):
    """A Lovage worker on the example modules, or on the scenario's own."""
    modules = build(scenario.project) if scenario.project else None
    setting = {"LOVAGE_WORKER__LEDGER": "false"} if options.without_ledger else {}
    if hasattr(queue, "ledger"):
        setting["LOVAGE_LEDGER_URL"] = queue.ledger
    return processes.lovage_worker(
        queue.broker, queue.backend, "-c", options.concurrency, modules=modules, more=setting
    )


def build(project) -> Path:
    """The folder with a project's module, built as a user would."""
    folder = places.target() / "bench" / project
    conformance.command("build", HERE / project, "-q", "-o", folder / "tasks.wasm")
    return folder


def start_celery(scenario, queue, _options):
    """Celery's own pool of processes, one a core, as `celery worker` starts it."""
    app, folder, more = "bed.reference", HERE.parent, {}
    arguments = ["-P", "prefork", "-c", str(os.cpu_count() or 2)]
    if scenario.project:
        app, folder, more = "tasks", HERE / "python", {"PYTHONPATH": str(HERE.parent)}
        arguments += ["-I", "bed.ready"]
    return processes.celery_worker(app, folder, queue.broker, queue.backend, *arguments, more=more)


def run(queue, scenario, calls):
    """Calls that are not measured."""
    queue.forget_results()
    queue.stage(islice(cycle(scenario.mix), calls))
    released(queue, calls)
    queue.forget_results()


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
    return {name: statistics.median(row[name] for row in table) for name in table[0]}


_FIGURES = [
    ("tasks/s", "tasks_per_s", ",.0f", True),
    ("CPU µs a task, worker", "worker_cpu_us", ",.1f", False),
    ("CPU µs a task, broker", "broker_cpu_us", ",.1f", False),
    ("memory after load, MiB (PSS)", "pss_mib", ",.0f", False),
    ("memory after load, MiB (RSS)", "rss_mib", ",.0f", False),
    ("memory idle, MiB (PSS)", "idle_pss_mib", ",.0f", False),
    ("round trip p50, ms", "p50_ms", ",.2f", False),
    ("round trip p99, ms", "p99_ms", ",.2f", False),
]


def ratios(medians) -> dict[str, float]:
    """How many times better Lovage is, for each figure; below 1 it is worse."""
    if len(medians) < 2:
        return {}
    ours, theirs = medians["lovage"], medians["celery"]
    found = {}
    for _, name, _, more_is_better in _FIGURES:
        better, worse = (ours[name], theirs[name]) if more_is_better else (theirs[name], ours[name])
        found[name] = better / worse if worse else 0.0
    return found


def tell(options, scenario, medians):
    """The table."""
    better = ratios(medians)
    out.print(f"\n[bold]{scenario.note}, on {options.broker}, medians of {options.rounds} rounds[/]")
    table = Table()
    table.add_column("")
    for name in medians:
        table.add_column(name, justify="right")
    if better:
        table.add_column("times better", justify="right", style="bold")
    for label, name, form, _ in _FIGURES:
        if options.broker == "sqlite" and name == "broker_cpu_us":
            continue
        cells = [format(each[name], form) for each in medians.values()]
        if better:
            cells.append(f"{better[name]:,.1f} ×")
        table.add_row(label, *cells)
    out.print(table)
    out.print(
        f"Lovage: {options.concurrency} slots, an instance a call, fuel and all limits on. "
        f"Celery: prefork, {os.cpu_count()} processes. Round trips are one `send_task().get()` "
        "after the other on an idle worker, the client's own time included."
    )


def write(options, scenario, measured, medians):
    """The same as JSON, every round of it."""
    folder = places.target() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{options.name or f'{options.scenario}-{options.broker}'}.json"
    document = {
        "scenario": options.scenario,
        "calls_are": scenario.note,
        "broker": options.broker,
        "calls": {"lovage": options.calls, "celery": options.celery_calls},
        "concurrency": options.concurrency,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "medians": medians,
        "times_better": ratios(medians),
        "rounds": {name: [asdict(each) for each in rounds] for name, rounds in measured.items()},
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    within = path.is_relative_to(places.REPOSITORY)
    out.print(f"Written to {path.relative_to(places.REPOSITORY) if within else path}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, KeyboardInterrupt) as error:
        out.print(f"[bold red]The bench ended early:[/] {error}")
        sys.exit(1)
