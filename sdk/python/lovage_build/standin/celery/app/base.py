"""Where Celery has its app class."""

from . import Celery

__all__ = ["Celery"]
