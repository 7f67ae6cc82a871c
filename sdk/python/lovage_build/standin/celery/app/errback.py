"""What an errback that takes a request, an exception and a traceback is called with."""

import sys

from lovage import _json
from lovage._host import host

from .request import Context


def objects(args):
    """The arguments: Celery's objects in place of the data that the host has put there, if it has."""
    if len(args) < 3 or not (isinstance(args[1], dict) and "exc_type" in args[1]):
        return args
    if "lovage-errback" not in _json.loads(host().current().headers):
        return args
    request, exception, *rest = args
    return [Context(request), _exception(exception), *rest]


def _exception(told):
    """The exception, of its own class where that is here."""
    name, module = told["exc_type"], told.get("exc_module") or "builtins"
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        found = type(name, (Exception,), {"__module__": module})
    try:
        return found(*told["exc_message"])
    except Exception:
        return Exception(f"{found}({told['exc_message']})")
