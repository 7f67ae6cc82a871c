"""Stands in for Celery in a sandbox: the same names, so that a task file needs no change.

Nothing here connects to anything. Declaring a task records it; what a task asks for while it runs
goes to the host, and what the host's contract cannot say raises `NotSupported` with what to do
instead.
"""

import os

from lovage import _failures

from . import exceptions, signals, states
from ._state import current_app, current_task
from .app import Celery, shared_task
from .app.task import Task
from .canvas import Signature, chain, chord, chunks, group, maybe_signature, signature, xmap, xstarmap
from .utils import uuid

# `celery`, `kombu` and `billiard` are beside one another; none is the author's.
_HERE = os.path.dirname(os.path.abspath(__file__))
for _name in ("celery", "kombu", "billiard"):
    _failures.hide(os.path.join(os.path.dirname(_HERE), _name))

__version__ = "5.7.0"
VERSION = (5, 7, 0)

subtask = signature

__all__ = [
    "Celery",
    "Signature",
    "Task",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "exceptions",
    "group",
    "maybe_signature",
    "shared_task",
    "signals",
    "signature",
    "states",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]
