"""The project of Celery's "First steps": one file, one task, settings in a module beside it."""

from celery import Celery

app = Celery("tasks", backend="rpc://", broker="pyamqp://guest@localhost//")
app.config_from_object("celeryconfig")


@app.task
def add(x, y):
    return x + y
