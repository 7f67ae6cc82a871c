"""See it work: real Celery calls, each run in a WebAssembly sandbox of its own.

Starts `lovage dev` in a temporary folder and drives it with an unmodified Celery producer. Whatever
is told is also checked: the demo ends with 1 when something is not as it says.
"""

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bed import places  # noqa: E402
from bed.processes import Process  # noqa: E402
from celery import Celery  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.markup import escape  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn  # noqa: E402
from rich.table import Table  # noqa: E402

CALLS = 1_000
PATIENCE_S = 60
# The example modules that a newcomer would meet; the hostile ones are for the tests.
MODULES = ("bench", "hello", "shop")

out = Console(highlight=False, soft_wrap=True)


@dataclass
class Seen:
    """One thing that was shown."""

    call: str
    expected: str
    saw: str
    seconds: float
    good: bool


def main() -> int:
    """Shows everything once; the exit code."""
    with tempfile.TemporaryDirectory(prefix="lovage-demo-") as folder:
        modules = Path(folder) / "modules"
        modules.mkdir()
        for name in MODULES:
            shutil.copy(places.guests() / f"{name}.wasm", modules)
        say("Start", "a queue and a worker in one process, on a folder of modules")
        out.print(f"  $ lovage dev {modules.name}")
        effects = Path(folder) / "effects"
        # What leaves the sandbox is written down, and a killed worker is missed after three seconds.
        setting = {"LOVAGE_WORKER__EFFECT_SINK": str(effects), "LOVAGE_WORKER__LEASE": "3"}
        start_dev = partial(
            Process, [places.lovage(), "dev", modules.name], folder=folder, more=setting
        )
        with start_dev() as dev:
            broker, backend = pasted(dev, "broker_url"), pasted(dev, "result_backend")
            dev.wait_for_line("ready")
            out.print("  and two lines to paste into any Celery application:")
            out.print(f"    broker_url = {broker!r}\n    result_backend = {backend!r}", style="cyan")
            app = Celery("demo", broker=broker, backend=backend)
            shown = show(app)
            shown.append(charge_twice(app, effects))
            lines = told_by(dev)
            say("Killed in the middle", "charged, then SIGKILL; another worker finishes")
            start = time.monotonic()
            result = app.send_task("shop.slow_charge", (43, 1_999, 1_500))
            wait_for_effects(effects, 2)
            dev.kill()
        with start_dev() as dev:
            dev.wait_for_line("ready")
            shown.append(charged(result, "shop.slow_charge(43, 1999)", effects, 2, start))
            code = dev.terminate()
    if lines:
        say("Meanwhile", "the terminal of `lovage dev` said, among other lines")
        for line in lines:
            out.print(f"  {escape(line)}", style="dim")
    shown.append(Seen("SIGTERM", "exit 0", f"exit {code}", 0.0, code == 0))
    return tell(shown)


def told_by(dev: Process) -> list[str]:
    """The first line of each task, as the terminal showed it."""
    lines = {line.split()[1]: line for line in reversed(dev.lines) if line.startswith("  ")}
    return [line for line in dev.lines if line in lines.values()]


def pasted(dev: Process, name: str) -> str:
    """What stands between the quotes of a line to paste."""
    return dev.wait_for_line(f"{name} =").split('"')[1]


def show(app: Celery) -> list[Seen]:
    """Every kind of end that a call can have."""
    shown = []

    say("A result", "nothing about the producer is new")
    shown.append(call(app, "demo.add", (2, 3), "5"))
    shown.append(call(app, "demo.hello", ("Ada",), "Hello, Ada!"))

    say("An exception", "raised at the caller as Python's own type")
    shown.append(call(app, "demo.fail", ("card declined",), "ValueError: card declined"))

    say("A second try", "the task asks for it; the result says how many there were")
    shown.append(call(app, "demo.retry_once", (), "1"))

    say("A loop that never ends", "is ended at its limit, and delays nobody")
    start = time.monotonic()
    spinning = app.send_task("demo.spin", time_limit=1)
    shown.append(call(app, "demo.add", (20, 22), "42", "beside the loop"))
    shown.append(finish(spinning, "demo.spin()", "TimeLimitExceeded", start))

    say("A memory bomb", "meets its own ceiling, not the machine's")
    shown.append(call(app, "demo.bomb", (), "MemoryError"))

    say(f"{CALLS:,} calls at once", "each in an instance of its own")
    shown.append(flood(app))
    return shown


def charge_twice(app: Celery, effects: Path) -> Seen:
    """The same order twice, as a user with a nervous finger sends it."""
    say("Sent twice", "one key, one charge; both callers get the receipt")
    start = time.monotonic()
    results = [app.send_task("shop.charge", (42, 1_999)) for _ in range(2)]
    receipts = [result.get(timeout=PATIENCE_S, interval=0.01) for result in results]
    seen = charged(results[1], "shop.charge(42, 1999), twice", effects, 1, start)
    seen.good = seen.good and receipts[0] == receipts[1]
    return seen


def charged(result, shown: str, effects: Path, before: int, start: float) -> Seen:
    """Waits for a charge, and counts all charges that ever left the sandbox."""
    result.get(timeout=PATIENCE_S, interval=0.01)
    count = len(charges(effects))
    saw = f"charged once ({count} charges in all)"
    seen = Seen(shown, "charged once", saw, time.monotonic() - start, count == before)
    if not seen.good:
        seen.saw = f"{count} charges in all, {before} expected"
    mark = "[green]✓[/]" if seen.good else "[red]✗[/]"
    out.print(f"  {mark} {escape(shown)}  →  [bold]{seen.saw}[/]   {seen.seconds * 1e3:.0f} ms")
    return seen


def charges(effects: Path) -> list[str]:
    """The charges that left the sandbox, each with the key that the bank would be sent."""
    lines = effects.read_text().splitlines() if effects.exists() else []
    return [line for line in lines if line.startswith("effect ")]


def wait_for_effects(effects: Path, count: int):
    """Waits until so many charges have left."""
    deadline = time.monotonic() + PATIENCE_S
    while len(charges(effects)) < count and time.monotonic() < deadline:
        time.sleep(0.01)  # because a file tells nobody that it has grown


def call(app: Celery, task: str, arguments: tuple, expected: str, note: str = "") -> Seen:
    """One call, to its end."""
    shown = f"{task}{arguments!r}".replace(",)", ")")
    start = time.monotonic()
    result = app.send_task(task, arguments)
    return finish(result, f"{shown} {note}".strip(), expected, start)


def finish(result, shown: str, expected: str, start: float) -> Seen:
    """Waits for a call and prints what became of it."""
    try:
        saw = str(result.get(timeout=PATIENCE_S, interval=0.01))
    except Exception as error:  # noqa: BLE001, whatever it is gets shown
        saw = ": ".join([type(error).__name__, *map(str, error.args)])
    seen = Seen(shown, expected, saw, time.monotonic() - start, saw.startswith(expected))
    mark = "[green]✓[/]" if seen.good else "[red]✗[/]"
    out.print(f"  {mark} {escape(shown)}  →  [bold]{escape(saw)}[/]   {seen.seconds * 1e3:.0f} ms")
    return seen


def flood(app: Celery) -> Seen:
    """A thousand sends, then their results, with a bar for each of the two."""
    columns = ["  {task.description:<8}", BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn()]
    start = time.monotonic()
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        sent = progress.add_task("sent", total=CALLS)
        done = progress.add_task("done", total=CALLS)
        with app.producer_pool.acquire(block=True) as producer:
            results = []
            for number in range(CALLS):
                results.append(app.send_task("demo.add", (number, number), producer=producer))
                progress.advance(sent)
        right = 0
        for number, result in enumerate(results):
            right += result.get(timeout=PATIENCE_S, interval=0.01) == 2 * number
            progress.advance(done)
    seconds = time.monotonic() - start
    seen = Seen(f"{CALLS:,} × demo.add", f"{CALLS:,} right", f"{right:,} right", seconds, True)
    seen.good = right == CALLS
    out.print(f"  {'✓' if seen.good else '✗'} {right:,} right results in {seconds:.1f} s")
    return seen


def tell(shown: list[Seen]) -> int:
    """The table of what happened, and what to do next."""
    table = Table(title="What happened", title_justify="left", title_style="bold")
    table.add_column("call", overflow="fold")
    table.add_column("became", overflow="fold")
    table.add_column("after", justify="right")
    table.add_column("as told")
    for seen in shown:
        mark = "[green]yes[/]" if seen.good else f"[red]no: {escape(seen.expected)}[/]"
        after = f"{seen.seconds * 1e3:,.0f} ms" if seen.seconds else ""
        table.add_row(escape(seen.call), escape(seen.saw), after, mark)
    out.print()
    out.print(table)
    if not all(seen.good for seen in shown):
        out.print("Not everything was as told.", style="bold red")
        return 1
    out.print("\nTry next:", style="bold")
    dev = f"{shown_path(places.lovage())} dev {shown_path(places.guests())}"
    for what, why in [
        (dev, "a queue of your own; paste its two lines"),
        ("guest-examples/rust/hello/src/lib.rs", "the tasks that you just called"),
        ("make bench", "how fast, beside Celery's own worker"),
    ]:
        out.print(f"  {what:<42} {why}")
    return 0


def shown_path(path: Path) -> str:
    """A path as a person in the repository would type it."""
    within = path.is_relative_to(places.REPOSITORY)
    return str(path.relative_to(places.REPOSITORY) if within else path)


def say(title: str, text: str):
    """A heading."""
    out.print(f"\n[bold]{title}[/] · {text}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, KeyboardInterrupt) as error:
        out.print(f"[bold red]The demo ended early:[/] {escape(str(error))}")
        sys.exit(1)
