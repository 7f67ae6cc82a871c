"""The reference application, with a quorum queue."""

from bed.reference import app

app.conf.task_default_queue_type = "quorum"
