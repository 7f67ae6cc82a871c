"""Has a Celery worker say when it is ready, as Lovage's does: at the level of a bench its log does not."""

from celery.signals import worker_ready


@worker_ready.connect
def tell(**_):
    """The line that whoever started it waits for."""
    print("ready:", flush=True)
