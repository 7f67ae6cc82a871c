"""Schedules as values. Lovage's own scheduler or a Celery beat acts on them, not a sandbox."""

import datetime


class BaseSchedule:
    """The base of schedules."""

    def __init__(self, nowfun=None, app=None):
        self.nowfun = nowfun
        self.app = app

    def __eq__(self, other):
        return type(self) is type(other) and self._key() == other._key()

    def __hash__(self):
        return hash(self._key())


class schedule(BaseSchedule):  # noqa: N801, Celery's name
    """Every so many seconds."""

    def __init__(self, run_every=None, relative=False, nowfun=None, app=None):
        super().__init__(nowfun, app)
        if not isinstance(run_every, datetime.timedelta):
            run_every = datetime.timedelta(seconds=run_every or 0)
        self.run_every = run_every
        self.relative = relative

    @property
    def seconds(self):
        """The period in seconds."""
        return max(self.run_every.total_seconds(), 0)

    def _key(self):
        return self.run_every, self.relative

    def __repr__(self):
        return f"<freq: {self.seconds} seconds>"


class crontab(BaseSchedule):  # noqa: N801, Celery's name
    """At the moments of a cron expression."""

    _FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")

    def __init__(
        self,
        minute="*",
        hour="*",
        day_of_week="*",
        day_of_month="*",
        month_of_year="*",
        nowfun=None,
        app=None,
    ):
        super().__init__(nowfun, app)
        self._orig_minute = self._text(minute)
        self._orig_hour = self._text(hour)
        self._orig_day_of_week = self._text(day_of_week)
        self._orig_day_of_month = self._text(day_of_month)
        self._orig_month_of_year = self._text(month_of_year)

    @classmethod
    def from_string(cls, text):
        """A crontab from its five fields."""
        minute, hour, day_of_month, month_of_year, day_of_week = text.split()
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    @staticmethod
    def _text(value):
        if isinstance(value, (set, list, tuple, frozenset, range)):
            return ",".join(str(one) for one in sorted(value, key=str))
        return str(value)

    @property
    def expression(self):
        """The five fields, as cron writes them."""
        return " ".join(getattr(self, f"_orig_{field}") for field in self._FIELDS)

    def _key(self):
        return self.expression

    def __repr__(self):
        return f"<crontab: {self.expression} (m/h/dM/MY/d)>"


class solar(BaseSchedule):  # noqa: N801, Celery's name
    """When the sun does something somewhere."""

    def __init__(self, event, lat, lon, nowfun=None, app=None):
        super().__init__(nowfun, app)
        self.event, self.lat, self.lon = event, lat, lon

    def _key(self):
        return self.event, self.lat, self.lon


def maybe_schedule(value, relative=False, app=None):
    """A schedule from a number of seconds or a timedelta."""
    if isinstance(value, (int, float, datetime.timedelta)):
        return schedule(value, relative)
    return value
