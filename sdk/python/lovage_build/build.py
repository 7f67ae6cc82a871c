"""From a project to a module, by componentize-py."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import requirements
from .embed import embed
from .look import look
from .problem import Problem
from .project import SDK, STANDIN

#: The version that this SDK was tested with, and the only one it promises to work with.
COMPONENTIZE_PY = "0.25.1"
INSTALL = f"pip install componentize-py=={COMPONENTIZE_PY}"


def cache_folder():
    """Where finished builds and bundled packages are kept: `LOVAGE_BUILD_CACHE`, or the user's cache."""
    named = os.environ.get("LOVAGE_BUILD_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lovage" / "python"


def wit_folder(named=None):
    """The contract: as named, beside the package, or at the top of the repository."""
    places = [Path(named)] if named else [Path(__file__).parent / "wit", SDK.parent.parent / "wit"]
    for place in places:
        if (place / "world.wit").exists():
            return place
    raise Problem(f"there is no world.wit in {places[-1]}", "name the folder of the contract with --wit")


def componentize_py():
    """The tool's command and its version."""
    beside = Path(sys.executable).with_name("componentize-py")
    command = str(beside) if beside.exists() else shutil.which("componentize-py")
    if command is None:
        raise Problem("componentize-py is not installed", INSTALL)
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    version = said.split()[-1] if said.split() else "unknown"
    if version != COMPONENTIZE_PY:
        raise Problem(f"componentize-py is {version}, and {COMPONENTIZE_PY} is needed", INSTALL)
    return command, version


def build(project, output, progress, *, module=None, needs=None, wit=None, use_cache=True):
    """Builds `project` into the file `output`; answers the manifest and whether it was cached."""
    command, version = componentize_py()
    wit = wit_folder(wit)
    module = module or project.name
    cache = cache_folder()
    site = None
    if needs is not None:
        with progress.step(f"bundling {needs.name}"):
            site = requirements.bundle(needs, cache)
    seen = look(project, site, module)
    main = _main_text(project, module, seen["manifest"])
    key = _key(version, wit, site, main, seen["files"], project.root)
    kept = cache / f"module-{key}.wasm"
    cached = use_cache and kept.exists()
    if not cached:
        with progress.step(f"building {output.name} ({len(json.loads(seen['manifest'])['tasks'])} tasks)"):
            world = _world(json.loads(seen["manifest"]))
            wasm = _componentize(command, wit, site, main, seen["files"], project.root, world)
        kept.parent.mkdir(parents=True, exist_ok=True)
        _replace(kept, embed(wasm, seen["manifest"]))
    output.parent.mkdir(parents=True, exist_ok=True)
    _replace(output, kept.read_bytes())
    return json.loads(seen["manifest"]), cached


def _replace(file, content):
    """Writes a file so that nobody sees half of it."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.replace(file)


def _main_text(project, module, manifest):
    return (
        "import os\n"
        "from lovage._entry import Catalog, Handler, prepare\n"
        f"prepare({tuple(project.modules)!r}, {module!r}, {manifest!r},\n"
        "    os.path.dirname(os.path.abspath(__file__)))\n"
    )


def _key(version, wit, site, main, files, root):
    digest = hashlib.sha256(f"{version}\n{site and site.name}\n{main}\n".encode())
    own = [path for folder in (SDK / "lovage", STANDIN) for path in sorted(folder.rglob("*.py"))]
    for path in (*sorted(wit.rglob("*.wit")), *own):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for name in files:
        path = Path(name)
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def _world(manifest):
    """What the module imports: the way to other machines only where a task asks for a host."""
    wanted = [name for task in manifest["tasks"] for name in task.get("capabilities", ())]
    return "task-with-wasi-http" if any(name.startswith("http:") for name in wanted) else "task"


def _componentize(command, wit, site, main, files, root, world):
    with tempfile.TemporaryDirectory(prefix="lovage-build-") as folder:
        # Only what was imported is there, so that no build depends on what else is in the folder.
        stage = Path(folder) / "app"
        for name in files:
            target = stage / Path(name).relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target)
        (stage / "lovage_main.py").write_text(main, encoding="utf-8")
        output = Path(folder) / "out.wasm"
        paths = [stage, SDK, STANDIN, *([site] if site else [])]
        arguments = [command, "-d", str(wit), "-w", world, "componentize", "lovage_main"]
        arguments += [part for path in paths for part in ("-p", str(path))]
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
        }
        done = subprocess.run(
            [*arguments, "-o", str(output)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            check=False,
        )
        if done.returncode != 0 or not output.exists():
            raise _told(done.stdout + done.stderr)
        return output.read_bytes()


def _told(said):
    """What went wrong in the sandbox's Python, in its words."""
    text = said.strip()
    last = re.findall(r"^\w[\w.]*(?:Error|Exception|Different)\b.*$", text, re.MULTILINE)
    missing = re.search(r"No module named '([\w.]+)'", text)
    if missing:
        return Problem(
            f"the sandbox's Python has no module {missing[1]}",
            "take the import out: C extensions, processes and most of the network are not there",
            text,
        )
    cause = last[-1] if last else "componentize-py failed"
    return Problem(cause, "`lovage_build check` lists what cannot work in a sandbox", text)
