"""RabbitMQ: a real server, and a queue on it filled fast with messages that real Celery made."""

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import amqp

from bed import processes, queues, usage

_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
# Messages on their way at once.
_BATCH = 1_000
# It is at rest when it uses less CPU time than that between two looks.
_IDLE_S, _LOOK_S = 0.02, 0.3
# It shares the machine: it is to wait asleep, not spinning.
_QUIET = "-noinput +sbwt none +sbwtdcpu none +sbwtdio none"


class RabbitServer:
    """A `rabbitmq-server` on a free port, with its data in a folder of its own."""

    def __init__(self):
        if not Path(_PROGRAM).exists():
            sys.exit("rabbitmq-server is not installed: run `make setup` first")
        self._folder = tempfile.TemporaryDirectory(prefix="lovage-rabbit-", ignore_cleanup_errors=True)
        self.port = processes.free_port()
        names = processes.free_port()
        folder = Path(self._folder.name)
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text(
            "log.console = true\nlog.console.level = info\nlog.file = false\n"
        )
        self._settings = {
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(names),
            "HOME": str(folder),
            # Without this the script would start another process to watch over the server.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(processes.free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "db"),
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _QUIET,
        }
        # The servers' own name service, which they would leave running behind them.
        self._names = processes.Process(["epmd", "-address", "127.0.0.1", "-port", names])
        self._start()

    def _start(self):
        self._process = processes.Process([_PROGRAM], more=self._settings)
        self._process.wait_for_line("Server startup complete")
        self.pid = self._process.pid

    def rest(self):
        """Waits until it has done all that it had to do for what was sent, though not for long."""
        deadline = time.monotonic() + processes.PATIENCE_S / 6
        before, now = 0.0, usage.cpu_s(self.pid)
        while now - before > _IDLE_S and time.monotonic() < deadline:
            time.sleep(_LOOK_S)  # because it tells nobody
            before, now = now, usage.cpu_s(self.pid)

    def url(self) -> str:
        """What producers and workers call it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def restart(self, is_killed: bool):
        """Ends it, as an operator or as a crash would, and starts it again."""
        if is_killed:
            self._process.kill()
        else:
            self._process.terminate()
        self._start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._names.kill()
        self._folder.cleanup()


class Rabbit(queues.Redis):
    """A queue on RabbitMQ; ledger, waits and results in two databases of a Redis, or in one."""

    def __init__(self, server: RabbitServer, store, is_one=False, counts_writes=False):
        super().__init__(store, is_one)
        self.server = server
        self.store = store
        self._counts_writes = counts_writes
        self._written_before = 0
        self._models = self.broker
        self.ledger, self.broker = store.url(0), server.url()
        # Whoever waits for the calls stands still while they are put on the queue.
        self.worker = None
        self._standing = []
        with queues.client(self.broker, self.backend) as app, app.connection_for_write() as link:
            app.amqp.queues["celery"].bind(link.default_channel).declare()

    def forget_results(self):
        """Removes the results; those that are written from now on count."""
        super().forget_results()
        self._written_before += self.results() if self._counts_writes else 0

    def results(self) -> int:
        """How many results there are; or, at once and exactly, how many were told, which is the same
        where each is written once."""
        if not self._counts_writes:
            return super().results()
        written = self._results.info("commandstats").get("cmdstat_publish", {"calls": 0})["calls"]
        return written - self._written_before

    def clear(self):
        """Empties queue and databases. No worker may be running."""
        super().clear()
        with self._connection() as link:
            link.channel().queue_purge("celery")

    def stage(self, calls) -> list[str]:
        """Puts calls on the queue, for nobody yet; returns their ids."""
        if self.worker:
            self._standing = [self.worker, *usage.descendants(self.worker)]
            for pid in self._standing:
                os.kill(pid, signal.SIGSTOP)
        templates = queues.Templates(self._template)
        ids, batch = [], []
        with self._connection() as link:
            channel = link.channel()
            channel.confirm_select()
            for task, arguments, *identity in calls:
                call_id, text = templates[task].fill(arguments, *identity)
                ids.append(call_id)
                batch.append(text)
                if len(batch) == _BATCH:
                    _publish(link, channel, batch)
                    batch = []
            _publish(link, channel, batch)
        self.server.rest()
        return ids

    def release(self):
        """Lets go whoever waits."""
        for pid in reversed(self._standing):
            os.kill(pid, signal.SIGCONT)
        self._standing = []

    def kept(self) -> list[tuple[str, str]]:
        """Id and reason of every message that was put aside."""
        entries = self._queues.xrange("lovage:custody:kept")
        records = [json.loads(fields[b"record"]) for _, fields in entries]
        return [(record["task_id"], record["reason"]) for record in records]

    def _template(self, task: str) -> str:
        # The envelope of another transport: the same headers, properties and body.
        with queues.client(self._models, self.backend) as app:
            app.send_task(task, (), queue="models-of-calls")
        return self._queues.rpop("models-of-calls").decode().replace("models-of-calls", "celery")

    def _connection(self):
        return amqp.Connection(f"127.0.0.1:{self.server.port}", "guest", "guest")


def _publish(link, channel, batch):
    """Publishes envelopes, and waits until the server has all of them."""
    missing = len(batch)

    def confirmed(tag, multiple):
        nonlocal last, missing
        missing -= tag - last if multiple else 1
        last = max(last, tag)

    last = getattr(channel, "published", 0)
    channel.published = last + len(batch)
    channel.events["basic_ack"].clear()
    channel.events["basic_ack"].add(confirmed)
    for text in batch:
        envelope = json.loads(text)
        properties = {
            name: value
            for name, value in envelope["properties"].items()
            if name in ("correlation_id", "reply_to", "delivery_mode", "priority")
        }
        message = amqp.Message(
            queues.base64.b64decode(envelope["body"]),
            content_type=envelope["content-type"],
            content_encoding=envelope["content-encoding"],
            application_headers=envelope["headers"],
            **properties,
        )
        channel._basic_publish(message, exchange="", routing_key="celery")
    while missing > 0:
        link.drain_events(timeout=processes.PATIENCE_S)
