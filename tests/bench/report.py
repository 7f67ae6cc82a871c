"""What a run says: a table on the terminal, JSON in target/bench, and docs/performance."""

import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

import plots
import rounds
from bed import places
from rich.table import Table

PAGE = places.REPOSITORY / "docs/performance.md"
PLOTS = places.REPOSITORY / "docs/performance"
BEGIN, END = "<!-- tests/bench/bench.py writes this -->\n", "<!-- to here -->\n"
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
_SINGLE = {
    "start": "start to first result, native code in the cache",
    "busy": "a call of 5 ms beside 20 s of computing on each core",
    "asleep": "10,000 calls that sleep 20 s",
}


def document(name, scenario, options, measured) -> dict:
    """Everything that the rounds of a scenario said."""
    return _head(name, scenario.note, options) | {
        "calls": {"lovage": options.calls, "celery": options.celery_calls},
        "concurrency": options.concurrency or scenario.slots,
        "medians": {each: rounds.median(played) for each, played in measured.items()},
        "rounds": {each: [asdict(one) for one in played] for each, played in measured.items()},
    }


def document_of_figures(name, options, found) -> dict:
    """The same of a scenario that is no rounds of calls."""
    medians = {
        each: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for each, rows in found.items()
    }
    return _head(name, _SINGLE[name], options) | {"medians": medians, "rounds": found}


def _head(name, note, options) -> dict:
    return {
        "scenario": name,
        "calls_are": note,
        "broker": options.broker,
        "moment": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "versions": _versions(),
    }


def _machine() -> dict:
    lines = open("/proc/cpuinfo").read().splitlines()
    models = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return {
        "cores": os.cpu_count(),
        "processor": ", ".join(sorted(models)) or platform.machine(),
        "kernel": platform.release(),
        # What else the machine did when the run ended: 2 is two programs for each of two seconds.
        "load": os.getloadavg()[0],
    }


def _versions() -> dict:
    def said(*command):
        try:
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()
        except OSError:
            return ""

    return {
        "lovage": said(places.lovage(), "--version"),
        "celery": version("celery"),
        "redis": said("redis-server", "--version").partition(" sha=")[0],
        "python": platform.python_version(),
    }


def keep(found, name):
    """All of it as JSON."""
    folder = places.target() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name or '{scenario}-{broker}'.format(**found)}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


def tell(found, out):
    """The table."""
    medians = found["medians"]
    out.print(f"\n[bold]{found['calls_are']}, on {found['broker']}, medians[/]")
    table = Table()
    table.add_column("")
    for name in medians:
        table.add_column(name, justify="right")
    better = "lovage" in medians and "celery" in medians
    if better:
        table.add_column("times better", justify="right", style="bold")
    figures = _FIGURES
    if found["scenario"] in _SINGLE:
        figures = [(key, key, ",.2f", False) for key in next(iter(medians.values()), {})]
    for label, name, form, more in figures:
        cells = [format(each[name], form) for each in medians.values()]
        if better:
            cells.append(f"{_times(medians, name, more):,.1f} ×")
        table.add_row(label, *cells)
    out.print(table)
    out.print("An instance a call, fuel, limits and ledger on, unless a column says otherwise.\n")


def _times(medians, name, more_is_better) -> float:
    """How many times better Lovage is; below 1 it is worse."""
    ours, theirs = medians["lovage"][name], medians["celery"][name]
    better, worse = (ours, theirs) if more_is_better else (theirs, ours)
    return better / worse if worse else 0.0


def publish():
    """Puts the newest figures of everything into docs."""
    paths = sorted((places.target() / "bench").glob("*.json"))
    found = [json.loads(path.read_text()) for path in paths]
    found = [each for each in found if "moment" in each and "medians" in each]
    PLOTS.mkdir(parents=True, exist_ok=True)
    (PLOTS / "results.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")
    many = [each for each in found if each["scenario"] not in _SINGLE]
    for name, text in plots.all_of(many).items():
        (PLOTS / name).write_text(text)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{_page(many, found)}\n{END}{rest.partition(END)[2]}")


def _page(many, found) -> str:
    machine, versions = found[-1]["machine"], found[-1]["versions"]
    lines = [
        f"{machine['cores']} cores of {machine['processor']}, Linux {machine['kernel']};"
        f" Celery {versions['celery']} on Python {versions['python']}; {versions['redis']}.",
        f"When the last of these ended the machine's load was {machine['load']:.1f}, of which"
        " these programs are 2 to 3.",
        "",
        "| calls | broker | Lovage, tasks/s | Celery prefork | times | CPU µs a task | Celery's | p50, ms | Celery's | p99, ms | Celery's |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in many:
        medians = each["medians"]
        if "lovage" in medians and "celery" in medians:
            ours, theirs = medians["lovage"], medians["celery"]
            lines.append(
                f"| {each['calls_are']} | {each['broker']} | {ours['tasks_per_s']:,.0f}"
                f" | {theirs['tasks_per_s']:,.0f} | {_times(medians, 'tasks_per_s', True):,.1f}"
                f" | {ours['worker_cpu_us']:,.1f} | {theirs['worker_cpu_us']:,.0f}"
                f" | {ours['p50_ms']:.2f} | {theirs['p50_ms']:.2f}"
                f" | {ours['p99_ms']:.1f} | {theirs['p99_ms']:.1f} |"
            )
    lines += ["", "| who, of calls | broker | tasks/s | CPU µs a task | broker's | PSS, MiB |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    for each in many:
        for name, median in each["medians"].items() if len(each["medians"]) > 2 else ():
            lines.append(
                f"| {name}, {each['calls_are']} | {each['broker']} | {median['tasks_per_s']:,.0f}"
                f" | {median['worker_cpu_us']:,.1f} | {median['broker_cpu_us']:,.1f}"
                f" | {median['pss_mib']:,.0f} |"
            )
    singles = [each for each in found if each["scenario"] in _SINGLE]
    lines += ["", "| besides | who | figures |", "|---|---|---|"] if singles else []
    for each in singles:
        for name, median in each["medians"].items():
            figures = ", ".join(f"{key} {value:,.2f}" for key, value in median.items())
            lines.append(f"| {each['calls_are']} | {name} | {figures} |")
    images = ["throughput.svg", "round-trips.svg"]
    lines += ["", *(f"![{name}](performance/{name})" for name in images)]
    return "\n".join(lines) + "\n"
