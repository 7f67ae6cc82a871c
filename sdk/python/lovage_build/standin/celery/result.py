"""What `delay()` returns: the id of a call that leaves when the running task succeeds."""

from . import states
from .exceptions import NotSupported

_ADVICE = "its call leaves only when this task has succeeded; let the called task do what comes next"


class ResultBase:
    """The base of results."""


def _later(name):
    def method(self, *args, **kwargs):
        raise NotSupported(f"AsyncResult.{name}() inside a task: {_ADVICE}")

    method.__name__ = name
    return method


class AsyncResult(ResultBase):
    """The result of a call. A task knows its id and nothing else of it."""

    def __init__(self, id, backend=None, task_name=None, app=None, parent=None):  # noqa: A002
        if not id:
            raise ValueError("AsyncResult requires valid id, not " + type(id).__name__)
        self.id = id
        self.parent = parent
        self.task_name = task_name

    @property
    def task_id(self):
        """The id."""
        return self.id

    def as_tuple(self):
        """The form in which results travel in documents."""
        return (self.id, self.parent and self.parent.as_tuple()), None

    def as_list(self):
        """The ids of this result and of those it came from."""
        return [self.id, *(self.parent.as_list() if self.parent else [])]

    def __str__(self):
        return str(self.id)

    def __repr__(self):
        return f"<{type(self).__name__}: {self.id}>"

    def __eq__(self, other):
        return (other.id if isinstance(other, AsyncResult) else other) == self.id

    def __hash__(self):
        return hash(self.id)

    for _name in "get wait ready successful failed forget revoke collect iterdeps then".split():
        locals()[_name] = _later(_name)
    for _name in "result state status info traceback children date_done".split():
        locals()[_name] = property(_later(_name))
    del _name


class ResultSet(ResultBase):
    """Several results."""

    def __init__(self, results, app=None, **kwargs):
        self.results = list(results)

    @property
    def children(self):
        """The results."""
        return self.results

    def __iter__(self):
        return iter(self.results)

    def __len__(self):
        return len(self.results)

    def __getitem__(self, index):
        return self.results[index]

    for _name in "get join join_native ready successful failed revoke forget waiting".split():
        locals()[_name] = _later(_name)
    del _name


class GroupResult(ResultSet):
    """The results of a group."""

    def __init__(self, id=None, results=(), parent=None, **kwargs):  # noqa: A002
        super().__init__(results)
        self.id = id
        self.parent = parent

    def as_tuple(self):
        """The form in which results travel in documents."""
        own = (self.id, self.parent and self.parent.as_tuple())
        return own, [result.as_tuple() for result in self.results]

    def __repr__(self):
        return f"<{type(self).__name__}: {self.id} [{', '.join(r.id for r in self.results)}]>"

    save = delete = _later("save")


class EagerResult(AsyncResult):
    """The result of a task that ran at once."""

    def __init__(self, id, ret_value, state, traceback=None, name=None):  # noqa: A002
        super().__init__(id, task_name=name)
        self._value, self._state, self._traceback = ret_value, state, traceback

    def get(self, timeout=None, propagate=True, **kwargs):
        """The value; raises what the task raised."""
        if self._state in states.PROPAGATE_STATES and propagate and isinstance(self._value, Exception):
            raise self._value
        return self._value

    wait = get
    result = info = property(lambda self: self._value)
    state = status = property(lambda self: self._state)
    traceback = property(lambda self: self._traceback)
    children = property(lambda self: [])

    def ready(self):
        """It is."""
        return True

    def successful(self):
        """Whether it returned."""
        return self._state == states.SUCCESS

    def failed(self):
        """Whether it raised."""
        return self._state == states.FAILURE


def result_from_tuple(value, app=None):
    """A result from the form in which it travels."""
    if isinstance(value, ResultBase):
        return value
    (own, parent), children = value
    parent = result_from_tuple(parent) if parent else None
    if children is not None:
        return GroupResult(own, [result_from_tuple(child) for child in children], parent)
    return AsyncResult(own, parent=parent)
