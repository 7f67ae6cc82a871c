"""Says what is going on: a line that moves on a terminal, a plain line elsewhere."""

import sys
import threading
import time


class Progress:
    """One step after another, each with the time it takes."""

    def __init__(self, stream=sys.stderr, quiet=False):
        self._stream = stream
        self._quiet = quiet
        self._moving = not quiet and stream.isatty()

    def step(self, what):
        """A ``with`` block that is one step."""
        return _Step(self, what)

    def write(self, text):
        """A line by itself."""
        if not self._quiet:
            print(text, file=self._stream, flush=True)


class _Step:
    def __init__(self, progress, what):
        self._progress, self._what = progress, what
        self._over = threading.Event()

    def __enter__(self):
        self._start = time.monotonic()
        if self._progress._moving:
            self._thread = threading.Thread(target=self._move, daemon=True)
            self._thread.start()
        else:
            self._progress.write(f"{self._what} …")
        return self

    def _move(self):
        stream = self._progress._stream
        for turn in range(1 << 30):
            passed = time.monotonic() - self._start
            mark = "|/-="[turn % 4]
            print(f"\r\033[K{mark} {self._what} {passed:.0f} s", end="", file=stream, flush=True)
            if self._over.wait(0.2):
                return

    def __exit__(self, kind, *_):
        self._over.set()
        if self._progress._moving:
            self._thread.join()
            passed = time.monotonic() - self._start
            mark = "x" if kind else "✓"
            print(f"\r\033[K{mark} {self._what} {passed:.1f} s", file=self._progress._stream, flush=True)
