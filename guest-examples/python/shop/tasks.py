"""A task file as a Celery project has it. It runs under Celery and under Lovage, unchanged."""

import random
from datetime import datetime, timezone
from decimal import Decimal

from celery import Celery, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.schedules import crontab
from celery.utils.log import get_task_logger

app = Celery("shop", broker="redis://localhost:6379/0", backend="redis://localhost:6379/1")
app.conf.update(
    task_routes={"shop.mail": {"queue": "mails"}},
    beat_schedule={"nightly": {"task": "shop.report", "schedule": crontab(hour=3, minute=0)}},
)
logger = get_task_logger(__name__)


class BankError(Exception):
    """The bank did not answer."""


def bank(order_id, cents, key):
    """Stands for a payment service."""
    if order_id % 7 == 0:
        raise BankError("bank down", order_id)
    return {"order": order_id, "amount": Decimal(cents) / 100, "key": key}


@app.task(
    bind=True,
    name="shop.charge",
    autoretry_for=(BankError,),
    retry_backoff=True,
    max_retries=5,
    acks_late=True,
    idempotency_key="order:{order_id}",
)
def charge(self, order_id, cents):
    """Charges an order, and mails the receipt."""
    receipt = bank(order_id, cents, self.request.id)
    logger.info("charged %s", order_id, extra={"order": order_id})
    mail.delay(order_id, f"Receipt {random.randrange(10**6):06}")
    return receipt


@shared_task(name="shop.mail", rate_limit="100/m", ignore_result=True)
def mail(order_id, subject):
    """Sends a mail."""
    logger.info("mail for %s: %s", order_id, subject)


@app.task(bind=True, name="shop.report", soft_time_limit=20)
def report(self, days=1):
    """Adds up, showing how far it is."""
    total = 0
    try:
        for day in range(days):
            self.update_state(state="PROGRESS", meta={"done": day, "of": days})
            total += day
    except SoftTimeLimitExceeded:
        logger.warning("the report is cut short")
    return {"total": total, "at": datetime.now(timezone.utc)}
