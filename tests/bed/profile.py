"""Where the time goes: `perf`, where it is installed, on a worker and its executors."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from bed import usage

_LINES_MAX = 60


class Recording:
    """Samples of a process and its descendants, from now until `finish`."""

    def __init__(self, pid: int):
        if not shutil.which("perf"):
            raise RuntimeError("perf is not installed: leave out --profile")
        self._file = Path(tempfile.mkdtemp(prefix="lovage-perf-")) / "data"
        ids = ",".join(str(each) for each in [pid, *usage.descendants(pid)])
        command = ["perf", "record", "-F", "999", "-o", str(self._file), "-p", ids]
        quiet = subprocess.DEVNULL
        self._perf = subprocess.Popen(command, stdout=quiet, stderr=quiet)

    def finish(self, keep: Path) -> str:
        """Ends it, keeps its data in a file, and returns where most of the time was."""
        self._perf.send_signal(signal.SIGINT)
        self._perf.wait()
        keep.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self._file, keep)
        self._file.parent.rmdir()
        command = ["perf", "report", "-i", str(keep), "--stdio", "-w", "7,24,120"]
        command += ["--percent-limit", "0.4", "--sort", "dso,symbol"]
        report = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"PAGER": "cat"}
        ).stdout
        lines = [line for line in report.splitlines() if line and not line.startswith("#")]
        return "\n".join(line.rstrip(" -") for line in lines[:_LINES_MAX])
