"""Kill workers under load and count what is lost or doubled.

    chaos.py [--tasks N] [--kills N] [--stops N] [--workers N] [--seed N] [--worker lovage|celery]

Every call is accepted by the broker before the first worker starts. Workers are killed (SIGKILL) or
stopped for longer than anybody waits for them (SIGSTOP, then SIGCONT) whenever a random number of
results is there. A call is lost when it has no result in the end; it is doubled when the sink has
more than one line of it. A lost call makes the exit code 1.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bed import places, processes, queues, usage  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: E402

# Without a new result for so long, what is missing is lost.
STALL_S = 90
# How long a stopped worker stands still: longer than a lease.
STOP_S = 35
SLOTS = 16
STARTS_MAX = 10
MILLISECONDS_MAX = 30
TERMINAL = ("SUCCESS", "FAILURE", "REVOKED")

out = Console(highlight=False)


def main() -> int:
    """One run; the exit code."""
    options = parse()
    chance = random.Random(options.seed)
    out.print(f"{options.tasks:,} tasks, {options.kills} kills, {options.stops} stops, {options.worker} on "
              f"{options.broker}, --seed {options.seed} repeats this run")  # fmt: skip
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lovage-chaos-")))
        if options.broker == "redis":
            queue = queues.Redis(stack.enter_context(processes.RedisServer()))
        else:
            queue = queues.Sqlite(folder)
        stack.enter_context(closing(queue))
        calls = [("bench.sleep", (chance.randint(0, MILLISECONDS_MAX),)) for _ in range(options.tasks)]
        ids = queue.stage(calls)
        queue.release()
        fleet = stack.enter_context(Fleet(options, queue, folder))
        disturb(options, chance, queue, fleet)
        report = count(queue, ids, fleet)
    report = {"seed": options.seed, "broker": options.broker, "worker": options.worker} | report
    print(json.dumps(report, indent=1))
    write(report)
    return 1 if report["lost"] else 0


def parse():
    """The command line; `BROKER` in the environment is what `make chaos` sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--stops", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    broker = os.environ.get("BROKER", "redis")
    parser.add_argument("--broker", default=broker, choices=["redis", "sqlite"])
    parser.add_argument("--worker", default="lovage", choices=["lovage", "celery"])
    return parser.parse_args()


class Fleet:
    """The workers, of which some are dead and some are stopped at any time."""

    def __init__(self, options, queue, folder):
        self._options = options
        self._queue = queue
        self._folder = folder
        self._started = 0
        self._stopped = []
        self.sink = folder / "sink"
        self.sink.touch()
        self._workers = [self._start() for _ in range(options.workers)]

    def kill(self, chance):
        """Kills one with all its processes, and starts another."""
        index = chance.randrange(len(self._workers))
        self._end(self._workers[index])
        self._workers[index] = self._start()

    def stop(self, chance):
        """Stops one with all its processes, and starts another that may take over its calls."""
        index = chance.randrange(len(self._workers))
        worker = self._workers[index]
        family = [worker.pid, *usage.descendants(worker.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        self._stopped.append((time.monotonic() + STOP_S, worker, family))
        self._workers[index] = self._start()

    def wake(self, all_of_them=False):
        """Lets those go on that stood still for long enough."""
        now = time.monotonic()
        due = [entry for entry in self._stopped if all_of_them or entry[0] <= now]
        self._stopped = [entry for entry in self._stopped if entry not in due]
        for _, worker, family in due:
            for pid in family:
                os.kill(pid, signal.SIGCONT)
            self._workers.append(worker)

    def standing(self) -> bool:
        """Whether one still stands still."""
        return bool(self._stopped)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wake(all_of_them=True)
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        for worker in self._workers:
            worker.terminate()

    def _start(self):
        self._started += 1
        urls = (self._queue.broker, self._queue.backend)
        if self._options.worker == "celery":
            folder = Path(__file__).resolve().parents[1]
            arguments = ["-c", "2", "-n", f"w{self._started}@%h"]
            return processes.celery_worker(
                "bed.reference", folder, *urls, *arguments, sink=self.sink
            )
        log = self._folder / f"worker-{self._started}.log"
        arguments = ["-c", SLOTS, "-n", f"w{self._started}@%h", "--log-format", "json", "-l", "info"]
        # A supervisor would try again, too: on SQLite a stopped worker may hold the file's lock.
        for _ in range(STARTS_MAX):
            with contextlib.suppress(RuntimeError):
                return processes.lovage_worker(*urls, *arguments, log=log)
        raise RuntimeError(f"no worker started in {STARTS_MAX} attempts: {log.read_text()[-2_000:]}")

    def _end(self, worker):
        # The parent first, or it would still say what became of its children.
        children = usage.descendants(worker.pid)
        worker.kill()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def executions(self) -> Counter:
        """How often each call was run to its end, as the workers themselves wrote it down.

        A lower bound: a worker may be killed between its last effect and the line that tells of it.
        """
        lines = self.sink.read_text().split()
        for log in self._folder.glob("worker-*.log"):
            lines += _run_by(log)
        return Counter(lines)


def _run_by(log: Path):
    """The ids of the calls that a Lovage worker's log says it ran."""
    for line in log.read_text(errors="replace").splitlines():
        # A killed worker's last line may be half a line.
        if '"Task succeeded"' in line and line.endswith("}"):
            yield json.loads(line)["task.id"]


def disturb(options, chance, queue, fleet):
    """Kills and stops at random counts of results, then waits for all results."""
    moments = sorted(chance.sample(range(options.tasks), options.kills + options.stops))
    kinds = ["kill"] * options.kills + ["stop"] * options.stops
    chance.shuffle(kinds)
    events = list(zip(moments, kinds, strict=True))
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        bar = progress.add_task("done", total=options.tasks)
        before, moved = 0, time.monotonic()
        while True:
            done = queue.results()
            progress.update(bar, completed=done)
            fleet.wake()
            if events and done >= events[0][0]:
                _, kind = events.pop(0)
                getattr(fleet, kind)(chance)
                moved = time.monotonic()
            if done > before:
                before, moved = done, time.monotonic()
            if done >= options.tasks and not events and not fleet.standing():
                return
            if time.monotonic() - moved > STALL_S:
                out.print(f"no new result for {STALL_S} s")
                return
            time.sleep(0.01)  # because results are counted by looking


def count(queue, ids, fleet) -> dict:
    """What became of every call."""
    states = queue.states(ids)
    terminal = [each for each in ids if states.get(each) in TERMINAL]
    executions = fleet.executions()
    return {
        "accepted": len(ids),
        "terminal": len(terminal),
        "lost": len(ids) - len(terminal),
        "executions": sum(executions.values()),
        "executed": len(executions),
        "duplicates": sum(number - 1 for number in executions.values()),
    }


def write(report):
    """The same as JSON, where the bench puts its files."""
    folder = places.target() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"chaos-{report['worker']}-{report['broker']}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, KeyboardInterrupt) as error:
        out.print(f"[bold red]The chaos ended early:[/] {error}")
        sys.exit(1)
