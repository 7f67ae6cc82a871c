"""What calls cost that wait for their time: a million of them, in one worker's custody.

    waits.py [--calls N] [--due N] [--broker redis|sqlite]

N calls with an ETA tomorrow are moved into the queue at once. When the worker has put all of them into
the store's schedule, its memory is compared with what it was when idle. Then others arrive whose ETA is
some seconds away: how late they end is what a wait may be off.

The exit code is 1 when the worker has grown by more than 50 MiB, or a call ended before its time or
more than a second after it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bed import places, processes, queues, usage  # noqa: E402
from rich.console import Console  # noqa: E402

GROWTH_MIB_MAX = 50
LATE_S_MAX = 1
# Without another parked call for so long it has stopped parking.
STALL_S = 60
# When the first of those is due that are waited for, and over how long the others are spread.
BEGIN_S, SPREAD_S = 5, 10

out = Console(highlight=False)


def main() -> int:
    """Measures, prints, writes; the exit code."""
    options = parse()
    with ExitStack() as stack:
        if options.broker == "redis":
            queue = queues.Redis(stack.enter_context(processes.RedisServer()), is_one=True)
        else:
            queue = queues.Sqlite(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(closing(queue))
        worker = processes.lovage_worker(queue.broker, queue.backend, "-c", "256")
        stack.enter_context(worker)
        queue.stage([("bench.add", (1, 1))] * 200)
        queue.release()
        queues.wait_for_results(queue, 200, STALL_S)
        idle = usage.of(worker.pid)
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        queue.stage(("bench.add", (2, 3), None, None, tomorrow) for _ in range(options.calls))
        begun = time.monotonic()
        queue.release()
        parked(queue, options.calls)
        seconds = time.monotonic() - begun
        full = usage.of(worker.pid)
        late = sorted(lateness(queue, options))
        after = usage.of(worker.pid)
    report = {
        "broker": options.broker,
        "calls": options.calls,
        "parked_per_s": round(options.calls / seconds),
        "idle_pss_mib": mib(idle.pss_bytes),
        "parked_pss_mib": mib(full.pss_bytes),
        "after_pss_mib": mib(after.pss_bytes),
        "growth_mib": mib(max(full.pss_bytes, after.pss_bytes) - idle.pss_bytes),
        "due": options.due,
        "late_s": {"least": late[0], "p50": late[len(late) // 2], "most": late[-1]},
    }
    print(json.dumps(report, indent=1))
    folder = places.target() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"waits-{options.broker}.json").write_text(json.dumps(report, indent=1) + "\n")
    small = report["growth_mib"] <= GROWTH_MIB_MAX
    return 0 if small and late[0] >= 0 and late[-1] <= LATE_S_MAX else 1


def parse():
    """The command line; `BROKER` in the environment is what `make waits` sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    broker = os.environ.get("BROKER") or "redis"
    parser.add_argument("--broker", default=broker, choices=["redis", "sqlite"])
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--due", type=int, default=1_000)
    return parser.parse_args()


def parked(queue, count):
    """Waits until so many calls are in the schedule."""
    before, moved = 0, time.monotonic()
    while (now := queue.parked()) < count:
        if now > before:
            before, moved = now, time.monotonic()
        if time.monotonic() - moved > STALL_S:
            raise RuntimeError(f"only {now:,} of {count:,} calls were parked")
        time.sleep(0.5)  # because the schedule tells nobody that it has grown


def lateness(queue, options) -> list[float]:
    """Seconds from when each call was due to when it had ended."""
    start = datetime.now(UTC) + timedelta(seconds=BEGIN_S)
    step = timedelta(seconds=SPREAD_S) / options.due
    due = [start + step * number for number in range(options.due)]
    calls = (("bench.add", (1, 2), None, None, moment.isoformat()) for moment in due)
    ids = queue.stage(calls)
    queue.release()
    queues.wait_for_results(queue, 200 + options.due, BEGIN_S + SPREAD_S + STALL_S, pause_s=0.5)
    ended = queue.ended(ids)
    pairs = zip(ids, due, strict=True)
    return [round((ended[each] - moment).total_seconds(), 3) for each, moment in pairs]


def mib(size: int) -> float:
    """Bytes as MiB."""
    return round(size / 2**20, 1)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, KeyboardInterrupt) as error:
        out.print(f"[bold red]The measurement ended early:[/] {error}")
        sys.exit(1)
