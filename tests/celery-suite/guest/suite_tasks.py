"""The suite's tasks, and what its own helper asks a worker before the tests begin."""

import redis
from celery import Celery, shared_task
from t.integration import tasks

app = Celery("celery.tests")
app.register_task(tasks.ClassBasedAutoRetryTask())


@shared_task(name="celery.ping")
def ping():
    """Answers."""
    return "pong"
