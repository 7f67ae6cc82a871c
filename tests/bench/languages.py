"""What a language costs: its module's size, its compile time, a fresh instance, a no-op task, memory.

`conformance.add` of every language's conformance module, one worker after another, each on a Redis of
its own. CPU time is that of the worker and its executors together; `--write` puts the table into
docs/performance.md. Rust's `add` is what the main path costs without any language: what others take
beyond it is their runtime's.
"""

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "languages")]

from bed import places, queues, usage  # noqa: E402
from bed.processes import Process, RedisServer  # noqa: E402
from conformance import GRANTED, LANGUAGES, build, command, environment  # noqa: E402

PATIENCE_S = 300
WARM_UP = 100
#: CPU time that is to be met, of a fresh instance and a no-op task together, µs.
GOALS = {"rust": 60, "javascript": 250, "typescript": 250, "go": 500, "python": 1600}
PAGE = places.REPOSITORY / "docs/performance.md"
BEGIN, END = "<!-- tests/bench/languages.py writes this table -->\n", "<!-- to here -->\n"


@dataclass
class Figures:
    """What was measured of one language."""

    name: str
    module_kb: float
    compile_s: float
    task_us: float
    # The same in an instance that attempts share; None of what cannot.
    shared_us: float | None
    tasks_per_s: float
    executor_mib: float


def main() -> int:
    """Measures, prints, writes; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("languages", nargs="*", default=list(LANGUAGES))
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    found = []
    for name in options.languages:
        with RedisServer() as server:
            found.append(measure(name, server, options.calls))
        print(row(found[-1]), flush=True)
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        text = "".join(f"{row(each)}\n" for each in found)
        PAGE.write_text(f"{before}{BEGIN}\n{HEAD}{text}\n{END}{rest.partition(END)[2]}")
    folder = places.target() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "languages.json").write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    missed = [each for each in found if each.task_us > GOALS.get(each.name, each.task_us)]
    for each in missed:
        print(f"{each.name}: {each.task_us:.0f} µs, and {GOALS[each.name]} were to be met")
    return 1 if missed else 0


def measure(name, server, calls) -> Figures:
    """One language in a worker of its own."""
    module = build(name)
    queue = queues.Redis(server)
    words = [places.lovage(), "worker", "-b", queue.broker, "--result-backend", queue.backend]
    words += ["--modules", module.parent, "-c", "64", "-l", "warning"]
    native = {"LOVAGE_WORKER__CACHE": f"{environment()['LOVAGE_BUILD_CACHE']}/native"}
    with Process(words, more=native | GRANTED) as worker:
        worker.wait_for_line("ready:", PATIENCE_S)
        run(queue, worker, ("conformance.add", (2, 3)), min(WARM_UP, calls))
        fresh = run(queue, worker, ("conformance.add", (2, 3)), calls)
        memory = usage.of(worker.pid).pss_bytes
        shared = None
        if LANGUAGES[name]["form"] == "sdk":
            shared = run(queue, worker, ("conformance.shared", ()), calls)
    queue.close()
    return Figures(
        name=name,
        module_kb=module.stat().st_size / 1e3,
        compile_s=compile_seconds(module),
        task_us=fresh.cpu_us,
        shared_us=shared and shared.cpu_us,
        tasks_per_s=calls / fresh.seconds,
        executor_mib=memory / 2**20,
    )


@dataclass
class Run:
    """What so many calls took: CPU time of each, and all of them by the clock."""

    cpu_us: float
    seconds: float


def run(queue, worker, call, calls) -> Run:
    """Has a call run so often."""
    queue.stage([call] * calls)
    before, begun = usage.of(worker.pid, memory=False), time.monotonic()
    queue.release()
    queues.wait_for_results(queue, calls, PATIENCE_S)
    seconds, after = time.monotonic() - begun, usage.of(worker.pid, memory=False)
    queue.forget_results()
    return Run((after.cpu_s - before.cpu_s) / calls * 1e6, seconds)


def compile_seconds(module) -> float:
    """CPU time of compiling it anew, as a worker has it done at an upload."""
    out = module.with_suffix(".native")
    before = usage_of_children()
    command("compile", module, "--out", out)
    out.unlink()
    return usage_of_children() - before


def usage_of_children() -> float:
    """CPU time of all children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


HEAD = (
    "| language | module, kB | compile, CPU s | no-op task, CPU µs | in a shared instance | tasks/s | memory, MiB |\n"
    "|---|---:|---:|---:|---:|---:|---:|\n"
)


def row(each) -> str:
    """A line of the table."""
    entry = LANGUAGES[each.name]
    title = entry.get("title", each.name) + (", a program" if entry["form"] == "command" else "")
    shared = "–" if each.shared_us is None else f"{each.shared_us:,.0f}"
    return (
        f"| {title} | {each.module_kb:,.0f} | {each.compile_s:.1f} | {each.task_us:,.0f} | {shared} "
        f"| {each.tasks_per_s:,.0f} | {each.executor_mib:.0f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
