"""Helpers that task code imports from `celery.utils`."""

from kombu import uuid

gen_unique_id = uuid


def gen_task_name(app, name, module_name):
    """The name of a task that names none."""
    main = getattr(app, "main", None)
    return f"{main if module_name == '__main__' and main else module_name}.{name}"


__all__ = ["gen_task_name", "gen_unique_id", "uuid"]
