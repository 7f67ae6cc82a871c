"""What tenants cost each other on one worker, and what many of them cost the worker.

    tenants.py flood [--quiet N] [--task NAME] [--seconds N] [--rounds N] [--flood N]
    tenants.py modules [--tenants N] [--calls N] [--rounds N]

flood: a tenant calls ten times a second, alone and beside one that has sent 100,000 slow calls, in turns,
so that whatever else the machine does meets both. Half of the calls are those of N more tenants. Printed
is how long calls took from being sent to their end. The exit code is 1 when the p99 beside the flood is
more than twice that without it.

modules: so many tenants have a module each, and call it in turn; before and after, the same number of
calls are those of the one tenant that a worker has otherwise. Printed are the CPU time of a call and the
worker's memory. The exit code is 1 when a call costs more than 2.5 times as much.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import redis  # noqa: E402
from bed import places, processes, queues, usage  # noqa: E402
from rich.console import Console  # noqa: E402

PATIENCE_S = 120
APART_S = 0.1
RATIO_MAX = {"flood": 2, "modules": 2.5}
# What is left for the noise of a machine that others use, too.
NOISE_S = 0.005
# What a slow call does: wait, or compute for about as long.
SLOW = {"bench.sleep": (100,), "bench.sieve": (4_000_000,)}
ASIDE = "flood-aside"

out = Console(highlight=False, stderr=True)


def main() -> int:
    """Measures, prints, writes; the exit code."""
    options = parse()
    with ExitStack() as stack:
        server = stack.enter_context(processes.RedisServer())
        queue = stack.enter_context(closing(queues.Redis(server)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lovage-tenants-")))
        measure = flood if options.what == "flood" else modules
        report = measure(options, queue, folder)
    print(json.dumps(report))
    place = places.target() / "bench"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"tenants-{options.what}.json").write_text(json.dumps(report, indent=1) + "\n")
    return 0 if report["is_within_bounds"] else 1


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(RATIO_MAX))
    parser.add_argument("--quiet", type=int, default=200, help="more tenants that call")
    parser.add_argument("--task", default="bench.sleep", choices=list(SLOW), help="the flood's")
    parser.add_argument("--flood", type=int, default=100_000, help="its calls")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--calls", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def worker(queue, folder, tenants, more="", slots=64):
    """A worker that has these tenants and takes from all their queues."""
    lines = [f'[tenants.{name}]\nqueues = ["{name}.*"]\n{more}' for name in tenants]
    (folder / "lovage.toml").write_text("\n".join(lines))
    command = [places.lovage(), "worker", "-b", queue.broker, "--result-backend", queue.backend]
    command += ["--modules", folder / "modules", "-c", slots, "-n", "tenants@bench"]
    process = processes.Process(command, folder=folder)
    process.wait_for_line("ready:", processes.COMPILING_S * 4)
    return process


class Caller:
    """Calls as a producer does, with nothing but a push, and knows when they ended."""

    def __init__(self, queue):
        self.queue = queue
        self.client = redis.Redis.from_url(queue.broker)
        self.templates = queues.Templates(self._template)

    def declare(self, names):
        """Lets the worker know of queues, as a producer's first call does, and waits for that."""
        with queues.client(self.queue.broker, self.queue.backend) as app:
            results = [app.send_task("bench.add", (1, 1), queue=name) for name in names]
            for each in results:
                each.get(timeout=PATIENCE_S, interval=0.002)

    def fill(self, task, arguments, name):
        """A call's id, and its message."""
        call_id, text = self.templates[task].fill(arguments)
        return call_id, text.replace('"routing_key": "celery"', f'"routing_key": "{name}"')

    def waited(self, names, seconds):
        """Seconds from each call to its end: ten a second, of these queues in turn."""
        sent, start = {}, time.monotonic()
        for number in range(int(seconds / APART_S)):
            call_id, text = self.fill("bench.add", (number, 1), names[number % len(names)])
            pause = start + number * APART_S - time.monotonic()
            if pause > 0:
                time.sleep(pause)  # because calls are to come ten times a second
            sent[call_id] = datetime.now(UTC)
            self.client.lpush(names[number % len(names)], text)
        deadline = time.monotonic() + PATIENCE_S
        while len(ended := self.queue.ended(list(sent))) < len(sent):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(sent) - len(ended)} calls never ended")
            time.sleep(0.02)  # because what is not there yet tells nobody
        return [(ended[each] - moment).total_seconds() for each, moment in sent.items()]

    def _template(self, task):
        with queues.client(self.queue.broker, self.queue.backend) as app:
            app.send_task(task, (), queue="models")
        return self.client.rpop("models").decode().replace("models", "celery")


def flood(options, queue, folder):
    """How long calls take alone, and beside a tenant that floods."""
    small = [f"small{number}" for number in range(options.quiet)]
    names = ["loud", "quiet", *small]
    for name in names:
        module(folder, name)
    with worker(queue, folder, names, "max_in_flight = 1000") as process:
        caller = Caller(queue)
        queued = [f"{name}.default" for name in names]
        caller.declare(queued)
        load(caller, options)
        # Half of the calls are the quiet tenant's, the others come from one of many each.
        asked = [name for other in queued[2:] for name in ("quiet.default", other)]
        asked = asked or ["quiet.default"]
        caller.waited(asked, 2)
        alone, beside = [], []
        for number in range(options.rounds):
            with out.status(f"round {number + 1} of {options.rounds}"):
                alone += caller.waited(asked, options.seconds)
                caller.client.rename(ASIDE, "loud.default")
                wait_until_running(caller, options.flood)
                beside += caller.waited(asked, options.seconds)
                caller.client.rename("loud.default", ASIDE)
                wait_until_over(process)
        left = caller.client.llen(ASIDE)
    figures = {"alone": spread(alone), "beside": spread(beside)}
    p99 = {name: figure["p99_ms"] / 1e3 for name, figure in figures.items()}
    within = p99["beside"] <= max(p99["alone"] * RATIO_MAX["flood"], p99["alone"] + NOISE_S)
    return figures | {
        "task": options.task,
        "quiet_tenants": options.quiet + 1,
        "calls": len(beside),
        "flood_done": options.flood - left,
        "flood_left": left,
        "is_within_bounds": within and left > 0,
    }


def load(caller, options):
    """The flood, put aside."""
    arguments = SLOW[options.task]
    batch = []
    for _ in range(options.flood):
        batch.append(caller.fill(options.task, arguments, "loud.default")[1])
        if len(batch) == 1_000:
            caller.client.lpush(ASIDE, *batch)
            batch = []
    if batch:
        caller.client.lpush(ASIDE, *batch)


def wait_until_running(caller, most):
    """The flood is under way: more than what fits in the slots has been taken."""
    length = caller.client.llen("loud.default")
    deadline = time.monotonic() + PATIENCE_S
    while caller.client.llen("loud.default") > min(length, most) - 100:
        if time.monotonic() > deadline:
            raise RuntimeError("the flood never began")
        time.sleep(0.02)  # because a list tells nobody of its length


def wait_until_over(process):
    """What was taken of the flood has ended: the worker does nothing any more."""
    deadline = time.monotonic() + PATIENCE_S
    before = usage.of(process.pid, memory=False).cpu_s
    while time.monotonic() < deadline:
        time.sleep(0.3)  # because that is what is measured
        now = usage.of(process.pid, memory=False).cpu_s
        if now - before < 0.05:
            return
        before = now


def modules(options, queue, folder):
    """What a call costs with a module for each of many tenants, and with one for all."""
    names = [f"t{number}" for number in range(options.tenants)]
    for number, name in enumerate(names):
        module(folder, name, section(number))
    module(folder, ".")
    caller = Caller(queue)
    figures = {"one": [], "many": []}
    for number in range(options.rounds):
        for which, tenants in (("one", []), ("many", names)):
            with out.status(f"round {number + 1} of {options.rounds}: {which}"):
                queued = [f"{name}.default" for name in tenants] or ["celery"]
                with worker(queue, folder, tenants, slots=256) as process:
                    figures[which].append(cost(process, caller, queued, options.calls))
                queue.clear()
            out.print(f"round {number + 1}  {which:<5} {json.dumps(figures[which][-1])}")
    medians = {
        which: {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        for which, rounds in figures.items()
    }
    ratio = medians["many"]["cpu_us"] / medians["one"]["cpu_us"]
    within = ratio <= RATIO_MAX["modules"]
    return medians | {"tenants": options.tenants, "ratio": ratio, "is_within_bounds": within}


def cost(process, caller, queued, calls):
    """CPU time of each of so many calls, of these queues in turn, and the memory after them."""
    caller.declare(queued)
    caller.queue.forget_results()
    batches = {name: [] for name in queued}
    for number in range(calls):
        name = queued[number % len(queued)]
        batches[name].append(caller.fill("bench.add", (2, 3), name)[1])
    for name, batch in batches.items():
        for start in range(0, len(batch), 1_000):
            caller.client.lpush(f"aside-{name}", *batch[start : start + 1_000])
    before = usage.of(process.pid, memory=False)
    start = time.monotonic()
    with caller.client.pipeline() as pipeline:
        for name in queued:
            pipeline.rename(f"aside-{name}", name)
        pipeline.execute()
    queues.wait_for_results(caller.queue, calls, PATIENCE_S)
    seconds = time.monotonic() - start
    after = usage.of(process.pid)
    return {
        "cpu_us": round((after.cpu_s - before.cpu_s) / calls * 1e6, 1),
        "tasks_per_s": round(calls / seconds),
        "pss_mib": round(after.pss_bytes / 2**20, 1),
        "rss_mib": round(after.rss_bytes / 2**20, 1),
    }


def module(folder, tenant, more=b""):
    """The bench's module as a tenant's, with something more behind it."""
    own = folder / "modules" / tenant
    own.mkdir(parents=True, exist_ok=True)
    whole = places.guests() / "bench.wasm"
    if more:
        (own / "bench.wasm").write_bytes(whole.read_bytes() + more)
    else:
        (own / "bench.wasm").symlink_to(whole)


def section(number) -> bytes:
    """A custom section that nobody reads: it makes a module that does the same another module."""
    text = f"tenant {number}".encode()
    body = bytes([len(text)]) + text
    return bytes([0, len(body)]) + body


def spread(seconds) -> dict[str, float]:
    """The middle and the end of them, in milliseconds."""
    ordered = sorted(seconds)
    part = {"p50_ms": 50, "p99_ms": 99}
    found = {name: ordered[(len(ordered) * hundredth - 1) // 100] for name, hundredth in part.items()}
    return {name: round(value * 1e3, 2) for name, value in found.items()} | {
        "worst_ms": round(ordered[-1] * 1e3, 2)
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, KeyboardInterrupt) as error:
        out.print(f"[bold red]The measurement ended early:[/] {error}")
        sys.exit(2)
