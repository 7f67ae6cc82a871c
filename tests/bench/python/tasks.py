"""An app of Celery's: its own worker imports it, and `lovage build` makes a module of it."""

from celery import Celery

app = Celery("tasks")


@app.task(name="bench.add")
def add(x, y):
    """Adds two numbers."""
    return x + y
