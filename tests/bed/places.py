"""Where the things under test are: named by the environment, found under `target/` otherwise."""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def target() -> Path:
    """Where builds go: `CARGO_TARGET_DIR`, or `target` in the repository."""
    return _named("CARGO_TARGET_DIR", REPOSITORY / "target")


def lovage() -> Path:
    """The binary under test."""
    return _present(_named("LOVAGE_BIN", target() / "release/lovage"), "the lovage binary")


def guests() -> Path:
    """The folder of example modules."""
    return _present(_named("LOVAGE_GUESTS", target() / "guests"), "the folder of example modules")


def environment() -> dict[str, str]:
    """This process's environment, less what would configure Lovage or Celery behind our back."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOVAGE_", "CELERY_"))
    }
    return kept | {"PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}


def _named(variable: str, default: Path) -> Path:
    value = os.environ.get(variable)
    return REPOSITORY / value if value else default


def _present(path: Path, what: str) -> Path:
    if not path.exists():
        sys.exit(f"{what} is not at {path}: run `make build` first")
    return path
