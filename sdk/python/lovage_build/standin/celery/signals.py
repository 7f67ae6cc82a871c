"""Celery's signals. Those about a running task are sent; those about a worker's life never are."""

import logging

_log = logging.getLogger("celery.signals")


class Signal:
    """What functions connect to."""

    def __init__(self, name="", providing_args=None):
        self.name = name
        self.receivers = []

    def connect(self, *args, sender=None, weak=True, dispatch_uid=None, retry=False):
        """Adds a receiver; with or without parentheses, also as a decorator."""

        def add(receiver):
            self.receivers.append((sender, receiver))
            return receiver

        return add(args[0]) if args and callable(args[0]) else add

    def disconnect(self, receiver=None, sender=None, dispatch_uid=None):
        """Takes a receiver out."""
        before = len(self.receivers)
        self.receivers = [pair for pair in self.receivers if pair[1] is not receiver]
        return len(self.receivers) < before

    def has_listeners(self, sender=None):
        """Whether anybody listens."""
        return bool(self.receivers)

    def send(self, sender, **named):
        """Calls the receivers; what one of them raises is logged, and the others are called."""
        answers = []
        for wanted, receiver in list(self.receivers):
            if wanted is not None and wanted is not sender and wanted != getattr(sender, "name", 0):
                continue
            try:
                answers.append((receiver, receiver(signal=self, sender=sender, **named)))
            except Exception as error:
                _log.exception("Signal handler %r raised: %r", receiver, error)
                answers.append((receiver, error))
        return answers

    send_robust = send

    def __repr__(self):
        return f"<Signal: {self.name}>"

SENT = ("task_prerun", "task_postrun", "task_success", "task_retry", "task_failure")
NEVER_SENT = """
    before_task_publish after_task_publish task_received task_internal_error task_revoked
    task_rejected task_unknown import_modules celeryd_init celeryd_after_setup worker_init
    worker_before_create_process worker_process_init worker_process_shutdown worker_ready
    worker_shutdown worker_shutting_down heartbeat_sent setup_logging after_setup_logger
    after_setup_task_logger beat_init beat_embedded_init eventlet_pool_started
    eventlet_pool_preshutdown eventlet_pool_postshutdown eventlet_pool_apply user_preload_options
""".split()

for _name in (*SENT, *NEVER_SENT):
    globals()[_name] = Signal(_name)
