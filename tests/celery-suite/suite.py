"""Run Celery's own integration tests against a Lovage worker.

    suite.py [--tiers 1,2,3,4,6] [--only TEXT] [--keep-going]

The suite comes from Celery's source distribution, which is downloaded into `target/celery-suite`; nothing
of it is kept here. Its tasks are built by `lovage build` as they are, but for the option of two of them
that the SDK refuses. What is printed last: how many passed, which are excused and why, which failed.
The exit code is 1 when one failed that is not excused, or one passed that is.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bed import places, processes  # noqa: E402

VERSION = "5.7.0"
NODE = "suite@box"
TIERS = "1,2,3,4,5,6,beat"
# Seconds that one test may take; the suite's own is longer than any needs.
TEST_S = 100
FOLDER = places.target() / "celery-suite"
SUITE = FOLDER / "suite"


def main() -> int:
    """One run; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiers", default=TIERS)
    parser.add_argument("--only", default="", help="tests whose names have this text")
    options = parser.parse_args()
    python = prepare()
    modules = build()
    wanted = [name for name in cases(options.tiers.split(",")) if options.only in name]
    with processes.RedisServer() as server:
        url = server.url(0)
        words = [places.lovage(), "worker", "-b", url, "--result-backend", url, "-Q", "celery"]
        words += ["-c", "16", "-n", NODE, "--modules", modules, "-l", "info"]
        more = {"LOVAGE_RESULT_EXTENDED": "true"}
        worker = processes.Process(words, more=more)
        try:
            worker.wait_for_line("ready:")
            outcomes = run(python, server, wanted)
        finally:
            (FOLDER / "worker.log").write_text(worker.told())
            worker.terminate()
    return judge(wanted, outcomes)


def prepare() -> Path:
    """Installs what the suite needs, once; its Python."""
    python = FOLDER / "venv/bin/python"
    stamp = FOLDER / "requirements.txt"
    wanted = (HERE / "requirements.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(FOLDER / "venv", ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", FOLDER / "venv"], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    archive = FOLDER / f"celery-{VERSION}.tar.gz"
    if not archive.exists():
        source = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*source, "-d", FOLDER, f"celery=={VERSION}"], check=True)
    if not SUITE.exists():
        with tarfile.open(archive) as sources:
            sources.extractall(FOLDER, filter="data")
        unpacked = FOLDER / f"celery-{VERSION}"
        SUITE.mkdir()
        for name in ("t", "pyproject.toml"):
            shutil.move(unpacked / name, SUITE / name)
        shutil.rmtree(SUITE / "t/unit")
        (SUITE / "t/__init__.py").touch()
        shutil.rmtree(unpacked)
    return python


def build() -> Path:
    """The suite's tasks as a module; the folder that it is in."""
    project, modules = FOLDER / "guest", FOLDER / "modules"
    shutil.rmtree(project, ignore_errors=True)
    package = project / "t/integration"
    package.mkdir(parents=True)
    modules.mkdir(exist_ok=True)
    for folder in (project / "t", package):
        (folder / "__init__.py").touch()
    tasks = (SUITE / "t/integration/tasks.py").read_text()
    (package / "tasks.py").write_text(tasks.replace("pydantic=True", ""))
    for source in (HERE / "guest").glob("*.py"):
        shutil.copy(source, project)
    builder = places.target() / "python/builder/bin/python"
    command = [builder, "-m", "lovage_build", project / "suite_tasks.py", "-q"]
    environment = places.environment() | {"PYTHONPATH": str(HERE.parents[1] / "sdk/python")}
    made = [*command, "-o", modules / "suite.wasm"]
    subprocess.run(made, check=True, cwd=project, env=environment)
    return modules


def cases(tiers) -> list[str]:
    """The tests of some tiers."""
    lines = (HERE / "cases.txt").read_text().splitlines()
    rows = [line.split(" ", 1) for line in lines if not line.startswith("#")]
    named = [f"t/integration/{name}" for tier, name in rows if tier in tiers]
    return named + (["t/integration/test_beat.py"] if "beat" in tiers else [])


def run(python, server, wanted) -> dict[str, str]:
    """What became of each test."""
    report, names = FOLDER / "report.xml", FOLDER / "names.txt"
    report.unlink(missing_ok=True)
    names.write_text("\n".join(wanted) + "\n")
    url = server.url(0)
    host, port = re.search(r"//([^:/]+):(\d+)", url).groups()
    environment = os.environ | {
        "PYTHONPATH": f"{HERE}:{SUITE}",
        "TEST_BROKER": url,
        "TEST_BACKEND": url,
        "REDIS_HOST": host,
        "REDIS_PORT": port,
        "SUITE_NODE": NODE,
    }
    command = [python, "-m", "pytest", "-p", "plugin", "-p", "no:cacheprovider", "-v", "--tb=short"]
    command += ["-p", "no:rerunfailures", "--timeout", str(TEST_S), "-rN", f"--junitxml={report}"]
    with (FOLDER / "pytest.log").open("w") as log:
        subprocess.run(
            [*command, f"@{names}"], cwd=SUITE, env=environment, stdout=log, stderr=log, check=False
        )
    outcomes = {}
    for each in ElementTree.parse(report).iter("testcase"):
        if not each.get("classname"):
            continue  # the run was interrupted
        parts = each.get("classname").split(".")
        module = parts.index(next(part for part in parts if part.startswith("test_")))
        file = "/".join(parts[: module + 1]) + ".py"
        name = "::".join([file, *parts[module + 1 :], each.get("name")])
        ends = {child.tag for child in each}
        failed = ends & {"failure", "error"}
        outcomes[name] = "failed" if failed else "skipped" if "skipped" in ends else "passed"
    return outcomes


def judge(wanted, outcomes) -> int:
    """Says what became of all tests."""
    excuses = json.loads((HERE / "excused.json").read_text())["tests"]
    missing = [name for name in wanted if "::" in name and name not in outcomes]
    by = {how: sorted(name for name, it in outcomes.items() if it == how) for how in
          ("passed", "skipped", "failed")}  # fmt: skip
    short = {name: name.removeprefix("t/integration/") for name in [*outcomes, *missing]}
    failed = [name for name in by["failed"] + missing if short[name] not in excuses]
    excused = [name for name in by["failed"] + missing if short[name] in excuses]
    surprising = [name for name in by["passed"] if short[name] in excuses]
    print(f"passed {len(by['passed'])}, skipped by the suite itself {len(by['skipped'])}")
    print(f"excused {len(excused)}")
    for name in excused:
        print(f"  {short[name]}: {excuses[short[name]]}")
    for name in surprising:
        print(f"  {short[name]} is excused, but passed")
    print(f"failed {len(failed)}")
    for name in failed:
        print(f"  {short[name]}")
    return 1 if failed or surprising else 0


if __name__ == "__main__":
    sys.exit(main())
