"""Lovage tasks in Python.

    from lovage import task, step, ctx

    @task(name="shop.charge", max_retries=5, idempotency_key="order:{order_id}")
    def charge(order_id: int, cents: int) -> str:
        receipt = step("charge", lambda it: bank(order_id, cents, key=it.key), doubt="retry")
        ctx.send("shop.mail", order_id)
        return receipt

`python -m lovage_build tasks.py -o shop.wasm` makes a module of it. In a plain interpreter a task is
an ordinary function, and `lovage.testing.Host` stands in for the host.
"""

from ._context import ctx
from ._native import task
from ._steps import step
from .exceptions import (
    Fail,
    HostError,
    Ignore,
    InvalidCall,
    LimitExceeded,
    NotSupported,
    Reject,
    Replace,
    Requeue,
    Retry,
    SoftTimeLimitExceeded,
    Unavailable,
)

__all__ = [
    "Fail",
    "HostError",
    "Ignore",
    "InvalidCall",
    "LimitExceeded",
    "NotSupported",
    "Reject",
    "Replace",
    "Requeue",
    "Retry",
    "SoftTimeLimitExceeded",
    "Unavailable",
    "ctx",
    "step",
    "task",
]
