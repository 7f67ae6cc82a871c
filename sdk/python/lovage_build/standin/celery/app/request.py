"""`self.request`: what is known about the running attempt, with the fields that Celery gives."""

from lovage import _json
from lovage._host import host
from lovage.exceptions import Unavailable

#: Headers with a meaning of their own; all others are the caller's.
_KNOWN = frozenset(
    "lang task id shadow eta expires group group_index retries timelimit root_id parent_id argsrepr "
    "kwargsrepr origin ignore_result replaced_task_nesting stamped_headers stamps compression "
    "redelivered celery_beat_task".split()
)


#: What the host is asked for only when a task asks.
_ASKED = frozenset(
    "callbacks errbacks chain chord reply_to correlation_id delivery_info properties hostname "
    "group_index __dict__".split()
)


class Context:
    """A request. What is not known has the values below."""

    _children = None
    _protected = 0
    _retry = None
    _by_hand = (None, None)
    args = None
    callbacks = None
    called_directly = True
    chain = None
    chord = None
    correlation_id = None
    delivery_info = None
    errbacks = None
    eta = None
    expires = None
    group = None
    group_index = None
    headers = None
    hostname = None
    id = None
    ignore_result = False
    is_eager = False
    kwargs = None
    logfile = None
    loglevel = None
    origin = None
    parent_id = None
    properties = None
    replaced_task_nesting = 0
    reply_to = None
    retries = 0
    root_id = None
    shadow = None
    soft_time_limit = None
    stamped_headers = None
    stamps = None
    task = None
    time_limit = None
    timelimit = None
    utc = None

    def __getattribute__(self, name):
        if name in _ASKED:
            # One question more for the host, and only when somebody wants to know.
            own = object.__getattribute__(self, "__dict__")
            if own.pop("_asking", False):
                try:
                    asked = _json.loads(host().request())
                except Unavailable:
                    # Its task is over: what was not asked then is not known.
                    asked = {}
                own.update({key: asked[key] for key in _ASKED if key in asked})
        return object.__getattribute__(self, name)

    def __init__(self, *args, **kwargs):
        self.update(*args, **kwargs)

    def update(self, *args, **kwargs):
        """Sets fields."""
        object.__getattribute__(self, "__dict__").update(*args, **kwargs)

    def clear(self):
        """Forgets all fields."""
        vars(self).clear()

    def get(self, key, default=None):
        """A field, as of a dict."""
        return getattr(self, key, default)

    def as_execution_options(self):
        """What a call made from this one would inherit."""
        names = ("id", "root_id", "parent_id", "group", "shadow", "expires", "headers", "retries")
        return {name: getattr(self, name) for name in names}

    @property
    def children(self):
        """The host keeps this list."""
        return []

    @property
    def tz_aware_eta(self):
        """The ETA."""
        return self.eta

    def __repr__(self):
        return f"<Context: {vars(self)!r}>"


def of_attempt(task, args, kwargs):
    """The request of the running attempt, asked of the host when the task asks."""
    attempt = host().current()
    headers = _json.loads(attempt.headers)
    limits = headers.get("timelimit") or [None, None]
    hard, soft = limits if isinstance(limits, list) and len(limits) == 2 else (None, None)
    own = {name: value for name, value in headers.items() if name not in _KNOWN}
    request = Context(headers)
    request.update(
        task=task.name,
        id=attempt.task_id,
        root_id=attempt.root_id,
        parent_id=attempt.parent_id,
        group=attempt.group_id,
        retries=attempt.retries,
        # In the caller's own words, where there are any.
        eta=headers.get("eta") or attempt.eta,
        expires=headers.get("expires") or attempt.expires,
        args=args,
        kwargs=kwargs,
        timelimit=[hard, soft],
        time_limit=task.time_limit if hard is None else hard,
        soft_time_limit=task.soft_time_limit if soft is None else soft,
        stamps=headers.get("stamps") or {},
        delivery_info={"exchange": "", "routing_key": attempt.queue, "redelivered": attempt.redelivered},
        headers=own or None,
        ignore_result=bool(headers.get("ignore_result") or task.ignore_result),
        is_eager=False,
        called_directly=False,
        _protected=1,
        _asking=True,
    )
    return request
