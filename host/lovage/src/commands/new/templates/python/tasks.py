"""The tasks of {{name}}. An existing Celery tasks.py works in this place, too."""

from lovage import Reject, step, task


@task(name="{{module}}.hello")
def hello(name: str = "world") -> str:
    """Greets someone."""
    return f"Hello, {name}!"


@task(name="{{module}}.charge", max_retries=5, backoff="exponential", idempotency_key="order:{order_id}")
def charge(order_id: int, cents: int) -> str:
    """Charges an order, once."""
    if cents <= 0:
        raise Reject("nothing to charge")
    # Hand it.key to whoever is paid: it is the same over all attempts.
    return step("charge", lambda it: f"charged with the key {it.key}", doubt="retry", input=order_id)
