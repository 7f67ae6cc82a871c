"""Child processes that are listened to while they run and ended, by their id, at the end."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bed import places

# How long to wait for an event before giving up. Generous: an event that comes ends the wait.
PATIENCE_S = 60.0
# The same for a worker that compiles large modules first.
COMPILING_S = 300.0


class Process:
    """A child process whose lines are collected; leaving its `with` block kills what is left."""

    def __init__(self, command, folder=None, log: Path | None = None, more=None):
        self.name = Path(str(command[0])).name
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._log = log.open("a") if log else None
        self._child = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=places.environment() | (more or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log or subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.pid = self._child.pid
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._child.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self.lines.append("")
            self._news.notify_all()

    def wait_for_line(self, text: str, patience_s: float = PATIENCE_S) -> str:
        """The first line that contains `text`, whenever it came."""
        deadline = time.monotonic() + patience_s
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if text in line:
                        return line
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if self._child.poll() is not None or left <= 0:
                    raise RuntimeError(f"`{self.name}` never printed `{text}`:\n{self.told()}")
                self._news.wait(min(left, 0.5))

    def told(self) -> str:
        """The last of what it printed and logged."""
        logged = Path(self._log.name).read_text().splitlines() if self._log else []
        return "\n".join([*self.lines[-20:], *logged[-20:]])

    def signal(self, number: int):
        """Sends a signal, to a process that still runs."""
        if self._child.poll() is None:
            self._child.send_signal(number)

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    def code(self) -> int | None:
        """How it ended, if it did: its exit code, or less than 0 the signal."""
        return self._child.poll()

    def kill(self):
        """SIGKILL, as a crash would."""
        self._child.kill()
        self._child.wait()

    def terminate(self, patience_s: float = 20.0) -> int:
        """Asks it to end and returns its exit code; kills it when it does not."""
        self.signal(signal.SIGTERM)
        try:
            return self._child.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._child.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._child.poll() is None:
            self.terminate()
        if self._log:
            self._log.close()


class RedisServer:
    """A `redis-server` on a free port that keeps everything in memory."""

    def __init__(self):
        if not shutil.which("redis-server"):
            sys.exit("redis-server is not installed: run `make setup` first")
        self._folder = tempfile.TemporaryDirectory(prefix="lovage-redis-")
        self.port = free_port()
        self._process = Process(
            ["redis-server", "--bind", "127.0.0.1", "--port", self.port, "--save", ""]
            + ["--appendonly", "no", "--dir", self._folder.name]
        )
        self._process.wait_for_line("eady to accept connections")
        self.pid = self._process.pid

    def url(self, database: int) -> str:
        """The URL of one of its databases."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._folder.cleanup()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def lovage_worker(
    broker,
    backend,
    *arguments,
    modules: Path | None = None,
    log: Path | None = None,
    more: dict[str, str] | None = None,
    is_awaited: bool = True,
) -> Process:
    """A Lovage worker on these modules or the examples, ready unless nobody waits for that."""
    command = [places.lovage(), "worker", "-b", broker, "--result-backend", backend]
    command += ["-Q", "celery", "--modules", modules or places.guests(), *arguments]
    process = Process(command, log=log, more=more)
    if is_awaited:
        process.wait_for_line("ready:", COMPILING_S)
    return process


def celery_worker(
    module: str, folder: Path, broker, backend, *arguments, more: dict[str, str] | None = None
) -> Process:
    """A real Celery worker on the tasks of `module`, ready, without what only larger fleets use."""
    command = [sys.executable, "-m", "celery", "-A", module, "-b", broker]
    command += ["--result-backend", backend, "worker", "-l", "WARNING", "-Q", "celery"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", *arguments]
    process = Process(command, folder=folder, more=more)
    process.wait_for_line("ready:")
    return process
