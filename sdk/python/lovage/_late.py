"""What functions import when they run. At run time there is nothing to import from, so it is imported before.

It is found in what the interpreter has loaded, functions and what their modules hold, and not in sources:
reading those leaves more behind in a module's memory than all that they import.
"""

import dis
import importlib
import importlib.util
import sys
from types import CodeType, FunctionType, ModuleType

from ._failures import is_hidden

#: What C code of Python's own imports; it has no functions to look into.
_BY_C = {"_datetime": ("_strptime",), "datetime": ("_strptime",), "time": ("_strptime",)}

#: What is not followed from Python's own modules: functions for somebody at a keyboard, for files, for processes
#: and for sockets have no use here. An author who imports one of them has it.
_LEFT_OUT = frozenset(
    "_aix_support _osx_support _posixsubprocess _pyrepl argparse bdb cmd code codeop curses doctest ftplib getopt "
    "glob http.client idlelib multiprocessing optparse pdb pydoc pydoc_data readline shutil subprocess sysconfig "
    "tempfile test tkinter turtle unittest urllib.request webbrowser".split()
)

_IMPORT = dis.opmap["IMPORT_NAME"]


def bring(before):
    """Imports what functions may import, of the author's modules and of all that those reach.

    `before` are the modules that were there before the author's: they work without. Only the author's own
    imports of them are followed. What cannot be imported is left out: the function that wants it says so.
    """
    loaded = list(sys.modules.items())
    waiting = [(name, True) for name, module in loaded if name not in before and _is_the_authors(name, module)]
    seen = set()
    while waiting:
        name, is_wanted = waiting.pop()
        if name in seen or (not is_wanted and (name in before or _is_left_out(name))):
            continue
        seen.add(name)
        module = sys.modules.get(name) or _imported(name)
        if module is None or is_hidden(getattr(module, "__file__", None) or ""):
            continue
        is_authors = name not in before and _is_the_authors(name, module)
        waiting += [(found, is_authors) for found in _late(module)]
        if is_authors or name not in before:
            waiting += [(found, is_authors) for found in _held(module)]
        waiting += [(found, False) for found in _BY_C.get(name, ())]


def _is_the_authors(name, module):
    file = getattr(module, "__file__", None) or ""
    return file.endswith(".py") and not is_hidden(file) and not is_pythons(name)


def is_pythons(name):
    """Whether a module is Python's own. Where it is tells nothing: in a sandbox it is beside the author's."""
    return name.partition(".")[0] in sys.stdlib_module_names


def _is_left_out(name):
    return name in _LEFT_OUT or name.partition(".")[0] in _LEFT_OUT


def _imported(name):
    try:
        return importlib.import_module(name)
    except Exception:
        return None


def _held(module):
    """The modules that a module was made of: those in it, and those that things in it are from."""
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str) and name in sys.modules:
            yield name
    inner = f"{module.__name__}."
    yield from [name for name in sys.modules if name.startswith(inner)]


def _late(module):
    """The modules that a module's functions import."""
    found = []
    for value in list(vars(module).values()):
        kind = value if isinstance(value, type) else type(value)
        own = list(vars(kind).values()) if kind.__module__ == module.__name__ else []
        for part in (value, *own):
            for function in _functions(part):
                if function.__module__ == module.__name__:
                    _look(function.__code__, module, found)
    return found


def _functions(value):
    """The functions behind a value: of a method, a property, or what is wrapped in a decorator."""
    names = ("__func__", "__wrapped__", "fget", "fset", "func", "run", "function")
    waiting, depth = [value], 0
    while waiting and depth < 8:
        depth += 1
        value = waiting.pop()
        if isinstance(value, FunctionType):
            yield value
        kept = getattr(value, "__dict__", None) if not isinstance(value, (type, ModuleType)) else None
        for name in names:
            inner = kept.get(name) if isinstance(kept, dict) and name in kept else None
            if inner is None and isinstance(value, (staticmethod, classmethod, property)):
                inner = getattr(value, name, None)
            if inner is not None:
                waiting.append(inner)


def _look(code, module, found):
    if _IMPORT in code.co_code[::2]:
        given = [None, None]
        for step in dis.get_instructions(code):
            if step.opcode == _IMPORT:
                found += _names(step.argval, *given, module)
            given = [given[1], step.argval]
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            _look(inner, module, found)


def _names(base, level, names, module):
    """What `from base import names` may import, or `import base`."""
    if level:
        try:
            base = importlib.util.resolve_name("." * level + base, module.__package__)
        except ImportError:
            return []
    # What a package has already is no module of its own that is yet to come.
    package = sys.modules.get(base)
    return [base, *(f"{base}.{name}" for name in names or () if not hasattr(package, name))]
