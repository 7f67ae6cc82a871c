"""Mail of a web shop, as Flask and Django projects have it: templates, attachments, bulk, retries.

Messages are composed here; a relay, which is another queue's worker, hands them to the mail server.
"""

import base64
import re
from email.message import EmailMessage
from email.utils import formataddr, make_msgid
from string import Template

from celery import Celery, group, shared_task
from celery.exceptions import MaxRetriesExceededError, Reject
from celery.utils.log import get_task_logger

logger = get_task_logger(__name__)

app = Celery("mail", broker="redis://localhost:6379/0")
app.conf.task_default_queue = "celery"
app.conf.task_routes = {"relay.*": {"queue": "relay"}}

SENDER = ("The shop", "shop@example.org")
ADDRESS = re.compile(r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", re.IGNORECASE)

TEMPLATES = {
    "welcome": (
        "Welcome, $name",
        "Dear $name,\n\nyour account is ready. Confirm your address:\n\n  $link\n\nThe shop\n",
    ),
    "receipt": (
        "Your order $order",
        "Dear $name,\n\nwe received $amount for the order $order.\n\n$lines\n\nThe shop\n",
    ),
    "reset": (
        "A new password",
        "Somebody asked for a new password for $name.\n\n  $link\n\nThe link is valid for an hour.\n",
    ),
}


class TemplateMissing(Exception):
    """There is no template of that name."""


class RelayBusy(Exception):
    """The relay takes no more at the moment."""


def compose(template, recipient, context, attachments=()):
    """The message as the relay will send it."""
    if template not in TEMPLATES:
        raise TemplateMissing(template)
    if not ADDRESS.match(recipient):
        raise ValueError(f"not an address: {recipient!r}")
    subject, body = (Template(text).safe_substitute(context) for text in TEMPLATES[template])
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = formataddr(SENDER)
    message["To"] = formataddr((context.get("name", ""), recipient))
    message["Message-ID"] = make_msgid(domain="example.org")
    message.set_content(body)
    for attachment in attachments:
        content = base64.b64decode(attachment["content"])
        main, _, sub = attachment.get("type", "application/octet-stream").partition("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=attachment["name"])
    return message


@shared_task(bind=True, autoretry_for=(RelayBusy,), retry_backoff=1, max_retries=3)
def send(self, template, recipient, context=None, attachments=()):
    """Composes one message and hands it to the relay."""
    context = context or {}
    try:
        message = compose(template, recipient, context, attachments)
    except TemplateMissing as missing:
        raise Reject(f"no template {missing}", requeue=False)
    if context.get("relay_busy", 0) > self.request.retries:
        raise RelayBusy("421 try again later")
    app.send_task("relay.deliver", (message.as_string(),), queue="relay")
    logger.info("handed %s to the relay, attempt %d", template, self.request.retries + 1)
    return {"subject": message["Subject"], "to": message["To"], "attempt": self.request.retries + 1}


@shared_task(bind=True, max_retries=2, default_retry_delay=0.05)
def send_strictly(self, recipient):
    """Gives up with the reason that it had."""
    try:
        raise RelayBusy(f"no route to {recipient}")
    except RelayBusy as busy:
        try:
            raise self.retry(exc=busy, countdown=0.05)
        except MaxRetriesExceededError:
            logger.error("gave up on %s", recipient)
            raise


@app.task(name="mail.newsletter")
def newsletter(recipients, issue):
    """One call for each reader; they leave together when this task succeeds."""
    readers = sorted({reader.strip().lower() for reader in recipients if ADDRESS.match(reader.strip())})
    group(send.s("welcome", reader, {"name": f"reader of {issue}"}) for reader in readers).apply_async()
    return len(readers)


@app.task(name="mail.receipt", ignore_result=False)
def receipt(order):
    """Lays out an order and sends it."""
    lines = "\n".join(
        f"{item['count']:>4} × {item['name']:<30} {item['price'] * item['count'] / 100:>10.2f}"
        for item in order["items"]
    )
    total = sum(item["price"] * item["count"] for item in order["items"])
    context = {"name": order["name"], "order": order["id"], "amount": f"{total / 100:.2f} €"}
    send.delay("receipt", order["email"], context | {"lines": lines})
    return {"order": order["id"], "cents": total, "lines": len(order["items"])}
