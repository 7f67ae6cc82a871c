"""Imports the author's modules in a plain interpreter, to see what they declare and import.

It happens in `_looker.py`, a process of its own that sees what the sandbox will see: the standard library,
the stand-ins, the project and what is bundled with it, and no installed package.
"""

import json
import subprocess
import sys
from pathlib import Path

from .problem import Problem
from .project import SDK, STANDIN


def look(project, site, module):
    """What the project's modules declare: the manifest's text, and the files that were imported."""
    asked = {
        "path": [str(SDK), str(STANDIN), str(project.root), *([str(site)] if site else [])],
        "modules": project.modules,
        "module": module,
        "root": str(project.root),
        "site": str(site) if site else None,
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(Path(__file__).with_name("_looker.py"))],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        cwd=project.root,
        check=False,
    )
    lines = done.stdout.splitlines()
    answer = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    if "error" in answer:
        raise Problem(answer["error"], answer["advice"], answer["detail"])
    if done.returncode != 0 or "manifest" not in answer:
        raise Problem(
            f"the modules end the interpreter when they are imported (status {done.returncode})",
            "declare tasks at the top level, and start nothing there",
            done.stderr,
        )
    if not json.loads(answer["manifest"])["tasks"]:
        raise Problem(
            f"{', '.join(project.modules)} declares no task",
            "declare one with @app.task, @shared_task or lovage's @task",
        )
    return answer
