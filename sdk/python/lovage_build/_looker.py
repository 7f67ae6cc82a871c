"""The process of `look`: reads what to import from standard input, prints one line of JSON."""

import importlib
import json
import sys
from pathlib import Path


def _main():
    asked = json.load(sys.stdin)
    sys.path[:0] = asked["path"]
    sys.dont_write_bytecode = True
    from lovage import _failures, _late, _manifest, _prepare

    importlib.import_module("celery")
    _failures.hide(str(Path(__file__).parent))
    _failures.hide("<frozen importlib")
    _failures.strip(asked["root"])
    before = set(sys.modules)
    try:
        for name in asked["modules"]:
            importlib.import_module(name)
        _prepare.finish()
        _late.bring(before)
        manifest = _manifest.manifest(asked["module"])
    except BaseException as error:
        detail = _failures.trace(error)
        print(json.dumps({**_cause(error), "detail": _without_import_frames(detail)}))
        return
    root, files = asked["root"], []
    for loaded in list(sys.modules.values()):
        name = getattr(loaded, "__file__", None)
        if name and Path(name).is_relative_to(root) and not _below(name, asked):
            files.append(name)
    print(json.dumps({"manifest": manifest, "files": sorted(set(files))}))


def _below(name, asked):
    inner = [folder for folder in asked["path"] if folder != asked["root"]]
    return any(Path(name).is_relative_to(folder) for folder in inner)


def _cause(error):
    kind = type(error).__name__
    cause = f"{kind}: {error}"
    advice = "mend the module so that it can be imported"
    if isinstance(error, ModuleNotFoundError):
        advice = (
            f"add the package of {error.name!r} to requirements.txt if it is pure Python, or import it "
            "where it is not needed for declaring tasks"
        )
    elif isinstance(error, ImportError):
        advice = "the stand-in for Celery has no such name; see `What differs` in the SDK's README"
    elif kind == "Unavailable":
        advice = "a module is imported when it is built: make calls from inside tasks"
    return {"error": cause, "advice": advice}


def _without_import_frames(text):
    lines, skip = [], False
    for line in text.splitlines():
        if line.startswith("  File "):
            skip = "<frozen importlib" in line or "/importlib/__init__.py" in line
        elif not line.startswith("    "):
            skip = False
        if not skip:
            lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    _main()
