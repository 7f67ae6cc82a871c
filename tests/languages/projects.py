"""A new user's first minutes in each language: `lovage new`, `build`, `dev`, a call, a save, a call.

From an empty folder, with nothing but the binary and the language's tool: no SDK is at hand but the
one that the binary carries.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bed import places  # noqa: E402
from bed.processes import PATIENCE_S, Process  # noqa: E402
from celery import Celery  # noqa: E402

#: Seconds that all tools together may take for one language.
TOOL_TIME_S = 120
#: The file of each template that says `Hello`.
TEMPLATES = {
    "c": "tasks.c",
    "command": "main.zig",
    "go": "tasks.go",
    "python": "tasks.py",
    "rust": "src/lib.rs",
    "typescript": "tasks.ts",
    "zig": "main.zig",
}


def environment():
    """A user's: tools on the path, no repository. What cargo compiles is kept from run to run."""
    found = places.environment()
    return found | {
        "PATH": f"{places.target() / 'tools/bin'}:{found.get('PATH', '')}",
        "LOVAGE_BUILD_CACHE": str(places.target() / "languages/users-cache"),
        # As `npm install` in the project would, without its minute of downloads.
        "LOVAGE_JS_TOOLS": str(places.target() / "js"),
        "GOCACHE": str(places.target() / "languages/go"),
        "CARGO_TARGET_DIR": str(places.target() / "languages/users-cargo"),
    }


class Projects(unittest.TestCase):
    """One test for each template; see `load`."""

    def first_minutes(self, template, source):
        """From nothing to a task that was changed while the worker ran."""
        with tempfile.TemporaryDirectory(prefix="lovage-new-") as folder:
            begun = time.monotonic()
            self.lovage(folder, "new", template, "first-shop")
            project = Path(folder) / "first-shop"
            said = self.lovage(project, "build")
            self.assertIn("first_shop.hello", said)
            self.assertTrue((project / "first-shop.wasm").exists())
            self.assertIn("first_shop.hello", self.lovage(project, "check", "first-shop.wasm"))
            self.assertIn("nothing found", self.lovage(project, "check"))
            with Process([places.lovage(), "dev"], folder=project, more=environment()) as dev:
                dev.wait_for_line("ready:", TOOL_TIME_S)
                took = time.monotonic() - begun
                self.assertLess(took, TOOL_TIME_S, f"{template} took {took:.0f} s")
                self.call_and_change(dev, project / source)
            print(f"{template}: new, build, check and dev in {took:.1f} s", flush=True)

    def call_and_change(self, dev, source):
        """Calls, saves another greeting, and calls until that is the answer."""
        broker = json.loads(dev.wait_for_line("broker_url").split(" = ")[1])
        backend = json.loads(dev.wait_for_line("result_backend").split(" = ")[1])
        with Celery("user", broker=broker, backend=backend) as app:
            self.assertEqual(self.hello(app), "Hello, you!")
            source.write_text(source.read_text() + "\n" * 2 + self.broken(source))
            dev.wait_for_line("waiting for the next save", TOOL_TIME_S)
            self.assertEqual(self.hello(app), "Hello, you!")
            text = source.read_text().replace(self.broken(source), "").replace("Hello, ", "Welcome, ")
            ready = sum("ready:" in line for line in dev.lines)
            source.write_text(text.rstrip("\n") + "\n")
            deadline = time.monotonic() + TOOL_TIME_S
            while sum("ready:" in line for line in dev.lines) <= ready:
                self.assertLess(time.monotonic(), deadline, dev.told())
                time.sleep(0.05)  # because the same line is waited for a second time
            self.assertEqual(self.hello(app), "Welcome, you!")

    def hello(self, app):
        """What the first task answers."""
        return app.send_task("first_shop.hello", ("you",)).get(timeout=PATIENCE_S, interval=0.05)

    def broken(self, source):
        """What no compiler takes."""
        return "def broken(:\n" if source.suffix == ".py" else "this is no code }\n"

    def lovage(self, folder, *words):
        """What a command prints; it has to succeed."""
        command = [str(places.lovage()), *words]
        done = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout

    def test_every_template_is_tried(self):
        said = subprocess.run(
            [places.lovage(), "new", "--help"], env=environment(), capture_output=True, text=True, check=True
        ).stdout
        listed = [line.split()[1].rstrip(":") for line in said.splitlines() if line.lstrip().startswith("- ")]
        self.assertEqual(sorted(listed), sorted(TEMPLATES), said)


def load(names):
    """A test for each name."""
    for name in names:
        source = TEMPLATES[name]
        setattr(Projects, f"test_{name}", lambda self, n=name, s=source: self.first_minutes(n, s))
    return unittest.defaultTestLoader.loadTestsFromTestCase(Projects)


if __name__ == "__main__":
    os.chdir(HERE)
    tests = load(sys.argv[1:] or list(TEMPLATES))
    sys.exit(not unittest.TextTestRunner(verbosity=1).run(tests).wasSuccessful())
