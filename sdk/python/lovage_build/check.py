"""What cannot work in a sandbox, from the sources alone: nothing is imported or run."""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

from .project import STANDIN

_NO_THREADS = "a sandbox has one thread; call the functions one after another, or call tasks"
_NO_PROCESSES = "a sandbox starts no process; do it in Python, or in a service"
_NO_SOCKETS = "a sandbox has no sockets; ask for the host and use lovage.http, or call another task"
_NO_FILES = "a sandbox has no file system; pass the content as an argument"
_C_EXTENSION = "it is a C extension; only pure Python is bundled"

_NOT_THERE = "the sandbox's Python has no such module"

#: Modules that cannot be imported.
MISSING = {
    **dict.fromkeys(("bz2", "lzma", "ssl", "ctypes", "fcntl", "mmap", "grp", "pwd"), _NOT_THERE),
    **dict.fromkeys(("resource", "termios", "curses", "readline", "tkinter", "turtle"), _NOT_THERE),
    **dict.fromkeys(("pty", "tty", "syslog", "compression.zstd"), _NOT_THERE),
    **dict.fromkeys(("numpy", "pandas", "scipy", "sklearn", "torch", "tensorflow"), _C_EXTENSION),
    **dict.fromkeys(("psycopg2", "psycopg", "MySQLdb", "lxml", "PIL", "cryptography"), _C_EXTENSION),
    **dict.fromkeys(("pydantic", "pydantic_core", "orjson", "ujson", "bcrypt", "cffi"), _C_EXTENSION),
    **dict.fromkeys(("gevent", "eventlet", "greenlet"), _C_EXTENSION),
}

#: Modules that can be imported, and whose functions fail.
USELESS = {
    **dict.fromkeys(("subprocess", "multiprocessing"), _NO_PROCESSES),
    **dict.fromkeys(("socket", "socketserver", "smtplib", "ftplib", "imaplib", "poplib"), _NO_SOCKETS),
    **dict.fromkeys(("http.client", "http.server", "urllib.request", "xmlrpc.client"), _NO_SOCKETS),
    **dict.fromkeys(("requests", "httpx", "aiohttp", "urllib3", "boto3", "botocore"), _NO_SOCKETS),
    **dict.fromkeys(("redis", "pika", "pymongo", "elasticsearch", "pymysql"), _NO_SOCKETS),
    "signal": "a sandbox gets no signals; catch SoftTimeLimitExceeded",
    "django.db": "a sandbox has no database; ask for rows through a service, or pass them as arguments",
}

#: Functions that fail when they are called, and why.
CALLS = {
    **dict.fromkeys(
        ("threading.Thread", "threading.Timer", "_thread.start_new_thread"), _NO_THREADS
    ),
    **dict.fromkeys(
        ("concurrent.futures.ThreadPoolExecutor", "concurrent.futures.ProcessPoolExecutor"), _NO_THREADS
    ),
    **dict.fromkeys(("os.system", "os.popen", "os.fork", "os.kill", "os.execv", "os.spawnv"), _NO_PROCESSES),
    **dict.fromkeys(("asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell"), _NO_PROCESSES),
    **dict.fromkeys(("asyncio.open_connection", "asyncio.start_server"), _NO_SOCKETS),
}

@dataclass(frozen=True)
class Finding:
    """One thing, at one place. An error cannot work; a warning does not work when it is reached."""

    file: str
    line: int
    is_error: bool
    cause: str
    advice: str

    def __str__(self):
        kind = "error" if self.is_error else "warning"
        return f"{self.file}:{self.line}: {kind}: {self.cause}\n    help: {self.advice}"


def check(project):
    """Everything that is found in the project's modules and in those of it that they import."""
    for path in reachable(project):
        shown = str(path.relative_to(project.root))
        try:
            tree = ast.parse(path.read_bytes(), filename=shown)
        except SyntaxError as error:
            yield Finding(shown, error.lineno or 1, True, f"syntax error: {error.msg}", "mend it")
            continue
        yield from _Look(project.root, shown).of(tree)


def reachable(project):
    """The project's files: the modules, and what they import of the project, at any depth."""
    seen, waiting = [], [_file_of(project.root, name) for name in project.modules]
    while waiting:
        path = waiting.pop(0)
        if path is None or path in seen:
            continue
        seen.append(path)
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            names = _names_of(node, path, project.root)
            waiting += [_file_of(project.root, name) for name in names]
    return seen


def _file_of(root, name):
    place = root.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.exists():
            return path
    return None


def _names_of(node, path, root):
    """The modules that an import statement may import, as dotted names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parts = list(path.relative_to(root).with_suffix("").parts)
        parts = parts[: len(parts) - node.level]
        base = ".".join([*parts, *([base] if base else [])])
    return [base, *(f"{base}.{alias.name}" for alias in node.names)] if base else [
        alias.name for alias in node.names
    ]


class _Look(ast.NodeVisitor):
    """One file. Names are followed through its imports: `from os import system as s`."""

    def __init__(self, root, shown):
        self._root = root
        self._shown = shown
        self._path = root / shown
        self._names = {}
        self._depth = 0
        self._guarded = 0
        self._found = []

    def of(self, tree):
        self.visit(tree)
        return sorted(self._found, key=lambda finding: finding.line)

    def _say(self, node, is_error, cause, advice):
        self._found.append(Finding(self._shown, node.lineno, is_error, cause, advice))

    def visit_FunctionDef(self, node):  # noqa: N802, ast's name
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._depth += 1
        for inner in (*node.args.defaults, *node.body):
            self.visit(inner)
        self._depth -= 1

    def visit_AsyncFunctionDef(self, node):  # noqa: N802
        if any(_is_task(decorator) for decorator in node.decorator_list):
            self._say(node, True, f"the task {node.name} is a coroutine", "make it an ordinary function")
        self.visit_FunctionDef(node)

    def visit_Try(self, node):  # noqa: N802
        # An import that is tried is not needed.
        self._guarded += 1
        for inner in node.body:
            self.visit(inner)
        self._guarded -= 1
        for inner in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(inner)

    def visit_If(self, node):  # noqa: N802
        if "TYPE_CHECKING" in ast.dump(node.test) or "__main__" in ast.dump(node.test):
            return
        self.generic_visit(node)

    def visit_Import(self, node):  # noqa: N802
        for alias in node.names:
            head = alias.name.split(".")[0]
            self._names[alias.asname or head] = alias.name if alias.asname else head
            self._imported(node, alias.name)

    def visit_ImportFrom(self, node):  # noqa: N802
        base = _names_of(node, self._path, self._root)[0]
        for alias in node.names:
            self._names[alias.asname or alias.name] = f"{base}.{alias.name}"
        if not node.level:
            whole = [f"{base}.{alias.name}" for alias in node.names]
            known = next((name for name in whole if name in MISSING or name in USELESS), base)
            self._imported(node, known)

    def _imported(self, node, name):
        where = "" if self._depth == 0 else " (when the function runs)"
        if missing := _known(MISSING, name):
            if not self._guarded:
                self._say(node, self._depth == 0, f"imports {name}{where}", missing)
        elif useless := _known(USELESS, name):
            self._say(node, False, f"imports {name}{where}, whose functions fail", useless)
        elif not self._guarded and not _is_there(name, self._root):
            cause = f"imports {name}{where}, which is neither Python's own nor of this project"
            advice = "add its package to requirements.txt, if it is pure Python"
            self._say(node, False, cause, advice)

    def visit_Call(self, node):  # noqa: N802
        name = self._dotted(node.func)
        advice = CALLS.get(name)
        if advice is None and name and "." in name:
            advice = _known(USELESS, name.rpartition(".")[0])
        if advice is not None:
            self._say(node, self._depth == 0, f"calls {name}()", advice)
        elif name == "open" and self._depth:
            self._say(node, False, "opens a file", _NO_FILES)
        self.generic_visit(node)

    def _dotted(self, node):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        parts.append(self._names.get(node.id, node.id))
        return ".".join(reversed(parts))


def _known(table, name):
    while name:
        if name in table:
            return table[name]
        name = name.rpartition(".")[0]
    return None


def _is_task(decorator):
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in ("task", "shared_task")


def _is_there(name, root):
    head = name.split(".")[0]
    if head in sys.stdlib_module_names or head == "lovage" or _file_of(root, head):
        return True
    if (root / head).is_dir() or (STANDIN / head).is_dir():
        return True
    return False
