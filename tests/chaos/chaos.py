"""Kill workers under load and count real effects: what is lost, and what happens twice.

    chaos.py [--smoke | --duplicated] [--tasks N] [--kills N] [--stops N] [--failpoints N]
             [--workers N] [--lease S] [--seed N] [--keep FOLDER]
             [--broker redis|sqlite] [--one-database] [--worker lovage|celery]

Every call is accepted by the broker before the first worker starts. Workers are killed (SIGKILL),
stopped for 1.2 to 3 leases (SIGSTOP, then SIGCONT), or kill themselves at a named place on a call's
way. What tasks do to the outside goes to a sink, a file to which whole lines are appended: it is the
receiver that counts, not the worker.

Broker and results are in two databases of one Redis, where settling is a step after the other; with
`--one-database`, and always in a SQLite file, they are together and it is one step.

The exit code is 1 unless every call has ended, no receiver that de-duplicates on the key it is sent
saw an effect twice, and no effect that must not be repeated in doubt was sent twice.

`--duplicated` asks for 10,000 tasks ten times each and kills nobody: of 100,000 messages 10,000 run, and
each of the 50,000 callers (every id is sent twice) has a result; the first and the last of every key ask
for it by Celery's own `get()`, and are told the same.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import calls  # noqa: E402
import judge  # noqa: E402
from bed import places, processes, queues, rabbit  # noqa: E402
from fleet import Fleet, failpoints  # noqa: E402
from rich.console import Console  # noqa: E402

# Without a new result for so long, what is missing is lost.
STALL_S = 30
# How often it is looked whether all have ended, once nothing else is to be done.
LOOK_S = 0.25
COPIES = 10

out = Console(highlight=False)


def main() -> int:
    """One run; the exit code."""
    options = parse()
    chance = random.Random(options.seed)
    out.print(f"{options.tasks:,} tasks, {options.kills} kills, {options.stops} stops, "
              f"{options.failpoints} failpoints, {options.worker} on {options.place}, "
              f"--seed {options.seed} repeats this run")  # fmt: skip
    begun = time.monotonic()
    with ExitStack() as stack:
        folder = options.keep or stack.enter_context(tempfile.TemporaryDirectory())
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if options.broker == "redis":
            server = stack.enter_context(processes.RedisServer())
            queue = queues.Redis(server, options.one_database, not options.one_database)
        elif options.broker == "amqp":
            server = stack.enter_context(rabbit.RabbitServer())
            store = stack.enter_context(processes.RedisServer())
            queue = rabbit.Rabbit(server, store, options.one_database)
        else:
            queue = queues.Sqlite(folder)
        stack.enter_context(closing(queue))
        if options.duplicated:
            logicals = calls.duplicated(chance, options.tasks, COPIES)
        else:
            logicals = calls.make(chance, options.tasks, options.lease)
        messages = [message for logical in logicals for message in logical.calls()]
        chance.shuffle(messages)
        queue.stage(messages)
        queue.release()
        armed = failpoints(chance, options.failpoints, options.is_one_step)
        with Fleet(options, queue, folder, armed) as fleet:
            disturb(options, chance, queue, fleet, logicals)
        report = judge.count(queue, logicals, fleet)
        if options.duplicated and not report["lost"]:
            report |= judge.answers(queue, logicals)
    head = {"seed": options.seed, "broker": options.place, "worker": options.worker}
    report = head | report | {"seconds": round(time.monotonic() - begun, 1)}
    print(json.dumps(report, indent=1))
    write(report, options.report)
    is_once = report["executions"] == report["tasks"] and not report.get("differing", 1)
    return 0 if judge.is_good(report) and (is_once or not options.duplicated) else 1


def parse():
    """The command line; `BROKER` in the environment is what `make chaos` sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--duplicated", action="store_true")
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--stops", type=int)
    parser.add_argument("--failpoints", type=int)
    parser.add_argument("--restarts", type=int, help="of RabbitMQ, as an operator would")
    parser.add_argument("--crashes", type=int, help="of RabbitMQ")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--lease", type=float, help="seconds; 2, or 10 where nobody is killed")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--report", type=Path, help="where its figures go; by default beside bench's")
    parser.add_argument("--keep", type=Path, help="an empty folder where logs and files stay")
    broker = os.environ.get("BROKER") or "redis"
    parser.add_argument("--broker", default=broker, choices=["redis", "sqlite", "amqp"])
    parser.add_argument("--worker", default="lovage", choices=["lovage", "celery"])
    parser.add_argument("--one-database", action="store_true", help="of Redis: queue and results; beside RabbitMQ, ledger and results")
    options = parser.parse_args()
    if options.one_database and options.broker == "sqlite":
        parser.error("--one-database is for Redis: a SQLite file always is one")
    together = options.one_database and options.broker == "redis"
    options.is_one_step = together or options.broker == "sqlite"
    options.place = options.broker + (" (one database)" if options.one_database else "")
    defaults = {"tasks": 10_000, "kills": 50, "stops": 15, "failpoints": 100}
    if options.smoke:
        defaults = {"tasks": 1_000, "kills": 5, "stops": 2, "failpoints": 5}
    elif options.duplicated:
        defaults = {"tasks": 10_000, "kills": 0, "stops": 0, "failpoints": 0}
    defaults["lease"] = 10.0 if options.duplicated else 2.0
    broken = (0, 0) if options.broker != "amqp" or options.duplicated else (10, 5)
    broken = (min(1, broken[0]), min(1, broken[1])) if options.smoke else broken
    defaults |= {"restarts": broken[0], "crashes": broken[1]}
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.worker == "celery":
        # It has no failpoints: it is killed as often anywhere.
        options.kills, options.failpoints = options.kills + options.failpoints, 0
    return options


def disturb(options, chance, queue, fleet, logicals):
    """Kills and stops at random counts of results, then waits until every call has ended."""
    kinds = ["kill"] * options.kills + ["stop"] * options.stops
    kinds += ["restart_broker"] * options.restarts + ["kill_broker"] * options.crashes
    chance.shuffle(kinds)
    moments = sorted(chance.choices(range(options.tasks * 9 // 10), k=len(kinds)))
    events = list(zip(moments, kinds, strict=True))
    waiting = {each for logical in logicals for each in logical.ids}
    fleet.begin()
    before, moved, looked = 0, time.monotonic(), 0.0
    while True:
        fleet.tend()
        done, now = queue.results(), time.monotonic()
        if events and done >= events[0][0] and getattr(fleet, events[0][1])(chance):
            events.pop(0)
            moved = time.monotonic()
        if done > before:
            before, moved = done, now
        if now - looked > LOOK_S and (not events or now - moved > LOOK_S):
            waiting = judge.unfinished(queue, waiting)
            looked = now
            if not waiting and not events and not fleet.standing():
                called, followed = judge.followed(queue, logicals, judge.read(fleet.sink)[1])
                if followed >= called:
                    return
        if now - moved > STALL_S:
            out.print(f"no new result for {STALL_S} s: {len(waiting)} calls have not ended, "
                      f"{len(events)} events and {fleet.armed()} failpoints did not happen")  # fmt: skip
            return
        time.sleep(0.01)  # because results are counted by looking


def write(report, path):
    """The same as JSON, where the bench puts its files."""
    folder = places.target() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    place = report["broker"].replace(" (one database)", "-one")
    path = path or folder / f"chaos-{report['worker']}-{place}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, KeyboardInterrupt) as error:
        out.print(f"[bold red]The chaos ended early:[/] {error}")
        sys.exit(1)
