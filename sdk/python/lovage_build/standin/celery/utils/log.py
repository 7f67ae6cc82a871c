"""Loggers for tasks; what they write is Lovage's structured log."""

import logging

task_logger = logging.getLogger("celery.task")
worker_logger = logging.getLogger("celery.worker")
# A task's own lines are wanted from `debug` on; of what libraries log, the root's level decides.
task_logger.setLevel(logging.DEBUG)


def get_logger(name):
    """A logger below `celery`'s."""
    return logging.getLogger(name)


def get_task_logger(name):
    """A logger whose lines belong to the running task."""
    logger = logging.getLogger(name)
    if logger.parent is logging.getLogger() or logger.parent is None:
        logger.parent = task_logger
    return logger
