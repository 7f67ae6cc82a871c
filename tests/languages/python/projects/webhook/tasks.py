"""Webhooks, in and out: signatures, events, fan-out and delivery that is tried again."""

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from urllib.parse import urlsplit

from celery import Celery, Task
from celery.exceptions import Ignore
from celery.utils.log import get_task_logger

logger = get_task_logger(__name__)

app = Celery("webhook")
app.conf.update(
    broker_url="redis://localhost:6379/0",
    result_backend="redis://localhost:6379/1",
    task_track_started=True,
    task_time_limit=20,
)

SECRETS = {"acme": "s3cret", "globex": "hunter2"}
TOLERANCE_S = 300

SUBSCRIPTIONS = {
    "order.paid": ["https://hooks.example.org/orders", "https://erp.example.org/in"],
    "order.shipped": ["https://hooks.example.org/orders"],
}


class BadSignature(Exception):
    """Whoever sent it does not know the secret."""


class HookTask(Task):
    """What all deliveries share."""

    autoretry_for = (urllib.error.URLError, OSError)
    retry_kwargs = {"max_retries": 2}
    retry_backoff = False
    default_retry_delay = 0.05
    retry_jitter = False

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        logger.error("delivery %s to %s failed for good: %s", task_id, args[0], exc)

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        logger.warning("delivery %s to %s again: %s", task_id, args[0], exc)


def sign(secret, timestamp, body):
    """The signature that goes with a body."""
    message = f"{timestamp}.{body}".encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def verify(account, header, body, now):
    """Checks `t=…,v1=…` as payment providers send it."""
    parts = dict(part.split("=", 1) for part in header.split(","))
    timestamp = int(parts["t"])
    expected = sign(SECRETS[account], timestamp, body)
    if not hmac.compare_digest(expected, parts["v1"]):
        raise BadSignature("the signature does not fit the body")
    if abs(now - timestamp) > TOLERANCE_S:
        raise BadSignature(f"signed {abs(now - timestamp)} s ago")
    return json.loads(body)


@app.task(bind=True, name="webhook.receive", throws=(BadSignature,))
def receive(self, account, header, body, now=None):
    """Takes an event of a provider's and tells who subscribed to it."""
    event = verify(account, header, body, now or int(time.time()))
    kind = event.get("type")
    if kind == "ping":
        raise Ignore()
    targets = SUBSCRIPTIONS.get(kind, [])
    self.update_state(state="DISPATCHING", meta={"type": kind, "targets": len(targets)})
    for url in targets:
        deliver.apply_async(
            (url, event), headers={"idempotency-key": f"{event['id']}:{urlsplit(url).netloc}"}
        )
    return {"id": event["id"], "type": kind, "targets": len(targets)}


@app.task(base=HookTask, bind=True, name="webhook.deliver", rate_limit="100/s")
def deliver(self, url, event):
    """Posts one event. Where there is no network this is what fails, and is tried again."""
    body = json.dumps(event, sort_keys=True, separators=(",", ":"))
    timestamp = int(time.time())
    request = urllib.request.Request(url, data=body.encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    request.add_header("X-Signature", f"t={timestamp},v1={sign('out', timestamp, body)}")
    request.add_header("X-Attempt", str(self.request.retries + 1))
    with urllib.request.urlopen(request, timeout=5) as response:
        return {"url": url, "status": response.status}


@app.task(name="webhook.replay")
def replay(events, since):
    """Which events are to be sent again, the oldest first."""
    moment = datetime.fromisoformat(since)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    chosen = [event for event in events if datetime.fromisoformat(event["at"]) >= moment]
    return [event["id"] for event in sorted(chosen, key=lambda event: event["at"])]
