"""Third-party packages that are bundled: pure Python only."""

import hashlib
import re
import subprocess
import sys

from .problem import Problem

#: The Python that componentize-py brings.
GUEST_PYTHON = "3.14"
#: What the stand-ins replace, or what only a producer or a worker needs.
REPLACED = frozenset(
    "celery kombu billiard amqp vine redis flower gevent eventlet django-celery-beat "
    "django-celery-results lovage lovage-sdk componentize-py".split()
)


def wanted(text):
    """The lines of a requirements file without what is replaced, comments and blank lines."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
        if line and not (name and re.sub(r"[-_.]+", "-", name[0]).lower() in REPLACED):
            lines.append(line)
    return lines


def bundle(file, cache):
    """The folder with the packages that a requirements file names; None when it names none."""
    lines = wanted(file.read_text(encoding="utf-8"))
    if not lines:
        return None
    text = "\n".join(lines)
    digest = hashlib.sha256(f"{GUEST_PYTHON}\n{text}".encode()).hexdigest()[:20]
    site = cache / f"site-{digest}"
    if site.is_dir():
        return site
    fresh = cache / f"site-{digest}.new"
    names = fresh.with_suffix(".txt")
    cache.mkdir(parents=True, exist_ok=True)
    names.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-compile", "--only-binary", ":all:", "--platform", "any"]
    command += ["--implementation", "py", "--abi", "none", "--python-version", GUEST_PYTHON]
    command += ["--upgrade", "--target", str(fresh), "-r", str(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr]
        raise Problem(
            f"{file.name} cannot be bundled: {said[-1].removeprefix('ERROR: ').strip()}",
            "only wheels of pure Python run in a sandbox: take the package out, or name another file "
            "with --requirements",
        )
    fresh.rename(site)
    return site
