"""What is built: the author's modules, found from a file, a folder or a dotted name."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from .problem import Problem

#: Where the SDK is: `lovage`, and beside it this package with the stand-ins.
SDK = Path(__file__).resolve().parent.parent
STANDIN = Path(__file__).resolve().parent / "standin"


@dataclass
class Project:
    """The author's modules."""

    root: Path
    modules: list = field(default_factory=list)

    @property
    def name(self):
        """The module's name, when none is given."""
        return self.modules[0].split(".")[0]


def find(sources):
    """The project that files, folders or dotted names mean; all of one root."""
    project = None
    for source in sources:
        root, modules = _find(source)
        if project is None:
            project = Project(root)
        elif project.root != root:
            raise Problem(
                f"{source} is imported from {root}, the others from {project.root}",
                "build files of one project at a time",
            )
        project.modules += [name for name in modules if name not in project.modules]
    return project


def _find(source):
    path = Path(source)
    if not path.exists() and not source.endswith(".py"):
        dotted = Path(*source.split("."))
        path = next((p for p in (dotted.with_suffix(".py"), dotted) if p.exists()), path)
    if not path.exists():
        raise Problem(f"there is no file {source}", "name the file that declares the tasks")
    path = Path(os.path.abspath(path))
    if path.is_dir():
        return _package(path)
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise Problem(
            f"{source} cannot be imported", "name a Python file whose name is an identifier"
        )
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").exists():
        parts.insert(0, root.name)
        root = root.parent
    if parts[-1] == "__init__":
        parts.pop()
    name = ".".join(parts)
    if parts[0] in ("celery", "kombu", "billiard", "lovage"):
        raise Problem(
            f"{source} would be imported as {name}, which hides the package of that name",
            "give the file another name, or put it into a package",
        )
    return root, [name]


def _package(folder):
    """A package: its `celery.py` and `tasks.py`, whichever there are."""
    if not (folder / "__init__.py").exists():
        found = sorted(folder.glob("tasks.py"))
        if found:
            return folder, ["tasks"]
        raise Problem(f"{folder} is no package", "name the file that declares the tasks")
    root, (name,) = _find(str(folder / "__init__.py"))
    inner = [f"{name}.{path.stem}" for path in (folder / "celery.py", folder / "tasks.py") if path.exists()]
    return root, inner or [name]
