"""A pytest plugin: the suite's session worker is a process that somebody else started.

The suite starts a worker in a thread of its own process. Here that place is taken by something that
asks the worker that is there for a sign of life, and carries out what tasks in sandboxes could not do
themselves: their writes to Redis, which come as calls of `suite.relay` on a queue of their own.
"""

import base64
import contextlib
import json
import os
import threading

import celery.contrib.testing.worker
import celery.utils.nodenames
import kombu.utils.json
import redis
from celery.result import _set_task_join_will_block, allow_join_result

NODE = os.environ["SUITE_NODE"]
RELAY = "suite-relay"


class Elsewhere:
    """Stands where tests have the worker's own object. None that is run looks at it."""


@contextlib.contextmanager
def start_worker(app, **_):
    """What the suite takes for starting a worker."""
    from celery.contrib.testing.tasks import ping

    over = threading.Event()
    relaying = threading.Thread(target=relay, args=(over,), daemon=True)
    relaying.start()
    with allow_join_result():
        assert ping.delay().get(timeout=30) == "pong"
    _set_task_join_will_block(False)
    yield Elsewhere()
    over.set()
    relaying.join()


def relay(over):
    """Carries out writes in the order in which they come."""
    server = redis.Redis(host=os.environ["REDIS_HOST"], port=int(os.environ["REDIS_PORT"]))
    with server:
        while not over.is_set():
            found = server.brpop(RELAY, timeout=1)
            if found:
                envelope = json.loads(found[1])
                (name, *arguments), *_ = kombu.utils.json.loads(base64.b64decode(envelope["body"]))
                plain = [it if isinstance(it, (bytes, str)) else repr(it) for it in arguments]
                server.execute_command(name.upper(), *plain)


celery.contrib.testing.worker.start_worker = start_worker
# Inspection tests look for the name that a worker in their own process would have.
celery.utils.nodenames.anon_nodename = lambda hostname=None, prefix="gen": NODE
