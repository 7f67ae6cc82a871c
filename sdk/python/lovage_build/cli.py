"""The command line."""

import argparse
import sys
from pathlib import Path

from . import check
from .build import build, cache_folder
from .problem import Problem
from .progress import Progress
from .project import find


def main(arguments):
    """Runs one command; its exit status: 0 done, 1 cannot be built, 2 wrong usage."""
    try:
        if arguments[:1] == ["check"]:
            return _check(_check_arguments().parse_args(arguments[1:]))
        rest = arguments[1:] if arguments[:1] == ["build"] else arguments
        return _build(_build_arguments().parse_args(rest))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1


def _build_arguments():
    parser = argparse.ArgumentParser(
        prog="lovage_build", description="Make a module of Python files that declare tasks."
    )
    parser.add_argument("source", nargs="+", help="file, package or dotted name with tasks")
    parser.add_argument("-o", "--output", type=Path, help="file to write [default: NAME.wasm]")
    parser.add_argument("--name", help="the module's name [default: the first file's]")
    parser.add_argument(
        "-r",
        "--requirements",
        type=Path,
        help="packages to bundle, pure Python only [default: requirements.txt, if there is one]",
    )
    parser.add_argument("--no-requirements", action="store_true", help="bundle nothing")
    parser.add_argument("--wit", help="folder of the contract")
    parser.add_argument("--no-cache", action="store_true", help="build even if nothing changed")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    return parser


def _check_arguments():
    parser = argparse.ArgumentParser(
        prog="lovage_build check", description="Say what cannot work in a sandbox, before a build."
    )
    parser.add_argument("source", nargs="+", help="file, package or dotted name with tasks")
    return parser


def _build(asked):
    project = find(asked.source)
    output = asked.output or Path(f"{asked.name or project.name}.wasm")
    needs = asked.requirements
    if needs is not None and not needs.exists():
        raise Problem(f"there is no file {needs}", "name the file with the packages to bundle")
    beside = project.root / "requirements.txt"
    if needs is None and not asked.no_requirements and beside.exists():
        needs = beside
    progress = Progress(quiet=asked.quiet)
    for finding in check.check(project):
        if finding.is_error:
            progress.write(str(finding))
    manifest, cached = build(
        project,
        output,
        progress,
        module=asked.name,
        needs=needs,
        wit=asked.wit,
        use_cache=not asked.no_cache,
    )
    size = output.stat().st_size / 1e6
    names = [task["name"] for task in manifest["tasks"]]
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    note = f", unchanged since the last build (in {cache_folder()})" if cached else ""
    progress.write(f"{output}  {size:.1f} MB  {shown}{note}")
    return 0


def _check(asked):
    findings = list(check.check(find(asked.source)))
    for finding in findings:
        print(finding)
    errors = sum(finding.is_error for finding in findings)
    if errors:
        print(f"{errors} of these cannot work in a sandbox", file=sys.stderr)
    return 1 if errors else 0
