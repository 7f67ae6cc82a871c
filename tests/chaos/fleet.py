"""Workers of which some are dead and some stand still at any time."""

import contextlib
import os
import signal
import time
from pathlib import Path

from bed import processes, usage

SLOTS = 16
# Workers that may end by themselves in one run.
FAILURES_MAX = 10

# Where a worker can be told to die, each with how often it may pass there before it does. Where
# broker, ledger and results are in one place, settling is one step in it.
ANYWHERE = {
    "reserved": 60, "decoded": 60, "claimed": 60, "instantiated": 60, "step_begun": 50,
    "effect_sent": 50, "step_committed": 50, "guest_returned": 60, "acked": 60, "dlq_published": 1,
}  # fmt: skip
STEP_BY_STEP = {
    "ended": 60, "result_stored": 60, "successors_published": 60, "settled": 60,
    "retry_recorded": 2, "retry_published": 2,
}  # fmt: skip


def failpoints(chance, count: int, is_one_step: bool) -> list[str]:
    """So many failpoints, every place as often as every other."""
    places = ANYWHERE | ({} if is_one_step else STEP_BY_STEP)
    names = [list(places)[number % len(places)] for number in range(count)]
    chance.shuffle(names)
    return [f"{name}:{chance.randint(1, places[name])}" for name in names]


class Fleet:
    """So many workers, each replaced when it dies."""

    def __init__(self, options, queue, folder: Path, armed: list[str]):
        self._options = options
        self._queue = queue
        self._folder = folder
        self._armed = armed
        self._started = self._failures = 0
        self._workers = []
        self.sink = folder / "sink"
        self.sink.touch()
        # Process and moment of every death.
        self.deaths: list[tuple[int, float]] = []
        self.kills = self.stops = self.failpoints = self.restarts = self.crashes = 0

    def begin(self):
        """Starts them all."""
        self._workers = [self._start() for _ in range(self._options.workers)]

    def kill(self, chance):
        """Kills one with all its processes, and starts another."""
        worker = self._workers[chance.randrange(len(self._workers))]
        # The parent first, or it would still say what became of its children.
        children = usage.descendants(worker.pid)
        worker.process.kill()
        self.deaths.append((worker.pid, time.time()))
        self.kills += 1
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if worker.failpoint:
            self._armed.insert(0, worker.failpoint)
        self._replace(worker)
        return True

    def stop(self, chance):
        """Has one stand still with all its processes, for longer than its lease, if one still goes."""
        going = [worker for worker in self._workers if not worker.stands_until]
        if not going:
            return False
        worker = chance.choice(going)
        worker.family = [worker.pid, *usage.descendants(worker.pid)]
        for pid in worker.family:
            os.kill(pid, signal.SIGSTOP)
        worker.stands_until = time.monotonic() + self._options.lease * chance.uniform(1.2, 3)
        self.stops += 1
        return True

    def restart_broker(self, _chance):
        """Ends the broker as an operator would, and starts it again."""
        self._queue.server.restart(is_killed=False)
        self.restarts += 1
        return True

    def kill_broker(self, _chance):
        """Kills the broker, and starts it again."""
        self._queue.server.restart(is_killed=True)
        self.crashes += 1
        return True

    def tend(self, all_of_them=False):
        """Lets those go on that stood still for long enough, and replaces those that died."""
        for worker in list(self._workers):
            if worker.stands_until and (all_of_them or worker.stands_until < time.monotonic()):
                worker.stands_until = None
                for pid in worker.family:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
            if not worker.process.running() and not all_of_them:
                self._bury(worker)

    def armed(self) -> int:
        """Failpoints at which nobody has died yet."""
        return len(self._armed) + sum(1 for worker in self._workers if worker.failpoint)

    def standing(self) -> bool:
        """Whether one still stands still."""
        return any(worker.stands_until for worker in self._workers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tend(all_of_them=True)
        for worker in self._workers:
            worker.process.signal(signal.SIGTERM)
        for worker in self._workers:
            worker.process.terminate()

    def _bury(self, worker):
        if worker.failpoint and worker.process.code() == -signal.SIGKILL:
            self.deaths.append((worker.pid, time.time()))
            self.failpoints += 1
        else:
            # A supervisor would try again, too: one that stands still may hold a file's lock.
            self._failures += 1
            if self._failures > FAILURES_MAX:
                raise RuntimeError(f"workers end by themselves:\n{worker.process.told()}")
            self._armed[:0] = [worker.failpoint] if worker.failpoint else []
        self._replace(worker)

    def _replace(self, worker):
        self._workers[self._workers.index(worker)] = self._start()

    def _start(self):
        self._started += 1
        if self._options.worker == "celery":
            return Worker(self._start_celery(), None)
        failpoint = self._armed.pop(0) if self._armed else ""
        return Worker(self._start_lovage(failpoint), failpoint)

    def _start_lovage(self, failpoint):
        more = {
            "LOVAGE_WORKER__LEASE": str(self._options.lease),
            "LOVAGE_WORKER__EFFECT_SINK": str(self.sink),
            "LOVAGE_WORKER__FAILPOINT": failpoint,
        }
        if hasattr(self._queue, "ledger"):
            more["LOVAGE_LEDGER_URL"] = self._queue.ledger
        log = self._folder / f"worker-{self._started}.log"
        arguments = ["-c", SLOTS, "-n", f"w{self._started}@%h", "--log-format", "json", "-l", "info"]
        urls = (self._queue.broker, self._queue.backend)
        return processes.lovage_worker(*urls, *arguments, log=log, more=more, is_awaited=False)

    def _start_celery(self):
        folder = Path(__file__).resolve().parents[1]
        arguments = ["-c", "2", "-n", f"w{self._started}@%h"]
        more = {"SINK": str(self.sink), "VISIBILITY": str(self._options.lease)}
        urls = (self._queue.broker, self._queue.backend)
        return processes.celery_worker("bed.reference", folder, *urls, *arguments, more=more)


class Worker:
    """One of them."""

    def __init__(self, process, failpoint):
        self.process = process
        self.pid = process.pid
        self.failpoint = failpoint
        self.stands_until = None
        self.family = []
