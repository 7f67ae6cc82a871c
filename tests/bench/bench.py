"""Lovage beside Celery, on the same server, in one run.

    bench.py [SCENARIO…] [--rounds N] [--calls N] [--celery-calls N] [-c N] [--only NAME] [--write]

A round clears the broker, starts a worker, warms it up, moves N prepared messages into its queue at
once and counts results until all are there; then it makes calls one at a time. Rounds of all who are
measured take turns, so that whatever else the machine does meets all of them. Medians are reported.
The scenarios are in scenarios.py; `all` names every one of them, and `--write` puts what the newest
run of each says into docs/performance.md and docs/performance/.
"""

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "languages")]

import contenders  # noqa: E402
import report  # noqa: E402
import rounds  # noqa: E402
import single  # noqa: E402
from bed import processes, queues, rabbit  # noqa: E402
from rich.console import Console  # noqa: E402
from scenarios import ALL, SCENARIOS, SHARES, SHORT, SINGLE  # noqa: E402

out = Console(highlight=False)


def main() -> int:
    """Measures, prints, writes; the exit code."""
    options = parse()
    for name in options.scenarios:
        with ExitStack() as stack:
            queue, server = start(options.broker, stack)
            if name in SINGLE:
                document = once(name, queue, options)
            else:
                document = taking_turns(name, queue, server, options)
        report.keep(document, options.name)
        report.tell(document, out)
    if options.write:
        report.publish()
    return 0


def parse():
    """The command line; `BROKER` and `SCENARIOS` in the environment are what `make bench` sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", help=", ".join(("all", *ALL)))
    broker = os.environ.get("BROKER") or "redis"
    parser.add_argument("--broker", default=broker, choices=list(SHARES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, help="calls to Lovage in a round")
    parser.add_argument("--celery-calls", type=int, help="calls to Celery in a round")
    parser.add_argument("-c", "--concurrency", type=int, help="calls in work at once")
    parser.add_argument("--only", action="append", help="measure this one, and who else is named so")
    parser.add_argument("--profile", action="store_true", help="record Lovage with perf")
    parser.add_argument("--name", help="of the file in target/bench")
    parser.add_argument("--write", action="store_true", help="put the figures into docs")
    options = parser.parse_args()
    wanted = options.scenarios or (os.environ.get("SCENARIOS") or " ".join(SHORT)).split()
    options.scenarios = list(ALL) if wanted == ["all"] else wanted
    if unknown := set(options.scenarios) - set(ALL):
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    return options


def start(broker, stack):
    """A queue, and the server that it is on, if it is one."""
    server = None
    if broker == "redis":
        server = stack.enter_context(processes.RedisServer())
        queue = queues.Redis(server)
    elif broker == "amqp":
        server = stack.enter_context(rabbit.RabbitServer())
        store = stack.enter_context(processes.RedisServer())
        queue = rabbit.Rabbit(server, store, is_one=True, counts_writes=True)
    else:
        queue = queues.Sqlite(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.enter_context(closing(queue))
    return queue, server


def taking_turns(name, queue, server, options) -> dict:
    """The rounds of one scenario."""
    scenario, share = SCENARIOS[name], SHARES[options.broker]
    names = options.only or ["lovage", *scenario.beside, "celery"]
    names = [each for each in names if contenders.present(each, options.broker)]
    turn = argparse.Namespace(
        **vars(options)
        | {
            "calls": options.calls or max(scenario.calls // share, 1),
            "celery_calls": options.celery_calls or max(scenario.celery_calls // share, 1),
        }
    )
    measured = {each: [] for each in names}
    for number in range(1, options.rounds + 1):
        for each, played in measured.items():
            with out.status(f"{name}, round {number} of {options.rounds}: {each}"):
                played.append(rounds.play(each, scenario, queue, server, turn))
            last = played[-1]
            out.print(
                f"round {number}  {each:<14} {last.tasks_per_s:>9,.0f} tasks/s"
                f"  {last.worker_cpu_us:>8,.1f} µs CPU  p99 {last.p99_ms:.1f} ms"
            )
    return report.document(name, scenario, turn, measured)


def once(name, queue, options) -> dict:
    """A scenario that is no rounds of calls."""
    names = options.only or ["lovage", "celery"]
    with out.status(f"{name}, {options.rounds} rounds"):
        found = single.measure(name, names, queue, options.rounds)
    return report.document_of_figures(name, options, found)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, KeyboardInterrupt) as error:
        out.print(f"[bold red]The bench ended early:[/] {error}")
        sys.exit(1)
