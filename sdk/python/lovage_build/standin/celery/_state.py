"""Which app and which task are the current ones."""

#: Tasks that run now; the last is the innermost.
TASKS = []
#: Apps in the order in which they were made.
APPS = []
_default = []


def app_now():
    """The last app that was made, or one that stands for it."""
    if APPS:
        return APPS[-1]
    if not _default:
        from .app import Celery

        _default.append(Celery("default", set_as_current=False))
    return _default[0]


class Proxy:
    """Stands for what a function finds, whenever it is asked."""

    __slots__ = ("_find",)

    def __init__(self, find):
        object.__setattr__(self, "_find", find)

    def _get_current_object(self):
        return self._find()

    def __getattr__(self, name):
        return getattr(self._find(), name)

    def __setattr__(self, name, value):
        setattr(self._find(), name, value)

    def __bool__(self):
        return bool(self._find())

    def __repr__(self):
        return repr(self._find())

    def __eq__(self, other):
        return self._find() == other

    def __hash__(self):
        return hash(self._find())


current_app = Proxy(app_now)
current_task = Proxy(lambda: TASKS[-1] if TASKS else None)


def get_current_app():
    """The current app."""
    return app_now()


def get_current_task():
    """The running task."""
    return TASKS[-1] if TASKS else None
