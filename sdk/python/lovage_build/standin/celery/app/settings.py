"""Settings: everything is accepted; what shapes tasks is used."""

#: Old names of settings, as Celery 3 had them, and what they are called now.
_OLD = {
    "BROKER_URL": "broker_url",
    "CELERY_RESULT_BACKEND": "result_backend",
    "CELERY_IMPORTS": "imports",
    "CELERY_INCLUDE": "include",
    "CELERY_ROUTES": "task_routes",
    "CELERY_QUEUES": "task_queues",
    "CELERYBEAT_SCHEDULE": "beat_schedule",
    "CELERY_TIMEZONE": "timezone",
    "CELERY_ENABLE_UTC": "enable_utc",
    "CELERY_DEFAULT_QUEUE": "task_default_queue",
    "CELERY_ACKS_LATE": "task_acks_late",
    "CELERY_IGNORE_RESULT": "task_ignore_result",
    "CELERY_ANNOTATIONS": "task_annotations",
    "CELERY_ALWAYS_EAGER": "task_always_eager",
    "CELERYD_TASK_TIME_LIMIT": "task_time_limit",
    "CELERYD_TASK_SOFT_TIME_LIMIT": "task_soft_time_limit",
}


class Settings(dict):
    """A dict whose keys are attributes, too."""

    #: Keywords that `Celery()` takes and hands on to its settings.
    KNOWN = frozenset({"timezone", "enable_utc", "result_expires", "task_serializer"})

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            if name.startswith("__"):
                raise AttributeError(name) from None
            return None

    def __setattr__(self, name, value):
        self[name] = value

    def read(self, source):
        """Takes settings over, old names as new ones."""
        for name, value in source.items():
            if name in _OLD:
                self[_OLD[name]] = value
            elif name.islower():
                self[name] = value

    def humanize(self, *_, **__):
        """The settings in words; broker URLs may hold passwords, so there are none."""
        return ""

    def table(self, *_, **__):
        """The settings as a dict."""
        return dict(self)
