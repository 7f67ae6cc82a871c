"""Queues filled fast with messages that real Celery made, and results counted fast.

A call is made once by real Celery; its copies differ in their ids only. They are loaded beside the
queue and moved into it in one step, so that a worker that is already waiting begins with all there.
"""

import base64
import json
import sqlite3
import time
import uuid
from datetime import UTC, datetime

import redis
from celery import Celery

_SIDE = "staged"
_MODELS = "models-of-calls"
_BATCH = 1_000
# Results in a database that they share, and seconds between two counts of them.
_RESULTS = "celery-task-meta-*"
_COUNT_EVERY_S = 0.2


def client(broker: str, backend: str) -> Celery:
    """A Celery application that only calls."""
    app = Celery("calls", broker=broker, backend=backend)
    app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=False)
    return app


class Redis:
    """Broker and results in two databases of one server or in one, where settling is one step; or
    `is_apart` by name, where it is a step after the other."""

    def __init__(self, server, is_one=False, is_apart=False):
        self.broker, self.backend = server.url(0), server.url(0 if is_one else 1)
        if is_apart:
            self.backend = self.backend.replace("127.0.0.1", "localhost")
        self._queues = redis.Redis.from_url(self.broker)
        self._results = redis.Redis.from_url(self.backend)
        self._is_one = is_one
        self._counted = (-_COUNT_EVERY_S, 0)

    def clear(self):
        """Empties both databases. No worker may be running."""
        self._queues.flushdb()
        self._results.flushdb()

    def forget_results(self):
        """Empties the database of results, or removes them from the only one."""
        if not self._is_one:
            self._results.flushdb()
            return
        batch = []
        for name in self._results.scan_iter(_RESULTS, count=_BATCH):
            batch.append(name)
            if len(batch) == _BATCH:
                self._results.unlink(*batch)
                batch = []
        if batch:
            self._results.unlink(*batch)
        self._counted = (-_COUNT_EVERY_S, 0)

    def stage(self, calls) -> list[str]:
        """Loads calls beside the queue; returns their ids. A call is its task and its arguments, and
        may name an id, an idempotency key and an ETA."""
        templates = Templates(self._template)
        ids, batch = [], []
        for task, arguments, *identity in calls:
            call_id, text = templates[task].fill(arguments, *identity)
            ids.append(call_id)
            batch.append(text)
            if len(batch) == _BATCH:
                self._queues.lpush(_SIDE, *batch)
                batch = []
        if batch:
            self._queues.lpush(_SIDE, *batch)
        return ids

    def _template(self, task: str) -> str:
        with client(self.broker, self.backend) as app:
            app.send_task(task, (), queue=_MODELS)
        return self._queues.rpop(_MODELS).decode().replace(_MODELS, "celery")

    def release(self):
        """Makes what is staged the queue."""
        # The last one is pushed as a producer would, for workers that wait for a push.
        last = self._queues.lpop(_SIDE)
        with self._queues.pipeline() as pipeline:
            if self._queues.exists(_SIDE):
                pipeline.rename(_SIDE, "celery")
            pipeline.lpush("celery", last)
            pipeline.execute()

    def results(self) -> int:
        """How many results there are; where they are not alone, lately: counting them takes time."""
        if not self._is_one:
            return self._results.dbsize()
        if time.monotonic() - self._counted[0] > _COUNT_EVERY_S:
            count = self._results.eval("return #redis.call('KEYS', ARGV[1])", 0, _RESULTS)
            self._counted = (time.monotonic(), count)
        return self._counted[1]

    def states(self, ids) -> dict[str, str]:
        """The state of each call that has one."""
        found = {}
        for start in range(0, len(ids), _BATCH):
            part = ids[start : start + _BATCH]
            documents = self._results.mget([f"celery-task-meta-{each}" for each in part])
            pairs = zip(part, documents, strict=True)
            found |= {each: json.loads(text)["status"] for each, text in pairs if text}
        return found

    def ended(self, ids) -> dict[str, datetime]:
        """When each call ended that has."""
        documents = self._results.mget([f"celery-task-meta-{each}" for each in ids])
        found = [(each, json.loads(text)) for each, text in zip(ids, documents, strict=True) if text]
        return {each: _moment(document["date_done"]) for each, document in found}

    def parked(self) -> int:
        """How many calls wait for their time in a worker's custody."""
        return self._queues.zcard("lovage:schedule")

    def kept(self) -> list[tuple[str, str]]:
        """Id and reason of every message that was put aside."""
        entries = self._queues.xrange("lovage:kept")
        records = [json.loads(fields[b"record"]) for _, fields in entries]
        return [(record["task_id"], record["reason"]) for record in records]

    def close(self):
        """Gives the connections back."""
        self._queues.close()
        self._results.close()


class Sqlite:
    """Broker and results in one file."""

    def __init__(self, folder):
        path = f"{folder}/queue.db"
        self.broker, self.backend = f"sqla+sqlite:///{path}", f"db+sqlite:///{path}"
        self._file = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        with client(self.broker, self.backend) as app:
            for name in (_SIDE, _MODELS, "celery"):
                app.send_task("bench.add", (), queue=name)
            app.AsyncResult("none").state  # noqa: B018, makes the tables
        self.clear()

    def clear(self):
        """Empties queue and results. No worker may be running."""
        for table in self._tables():
            if table not in ("kombu_queue", "sqlite_sequence"):
                self._file.execute(f"DELETE FROM {table}")

    def forget_results(self):
        """Empties the table of results."""
        self._file.execute("DELETE FROM celery_taskmeta")

    def stage(self, calls) -> list[str]:
        """Loads calls beside the queue; returns their ids. A call is its task and its arguments, and
        may name an id, an idempotency key and an ETA."""
        templates = Templates(self._template)
        side = self._queue(_SIDE)
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")
        ids, rows = [], []
        for task, arguments, *identity in calls:
            call_id, text = templates[task].fill(arguments, *identity)
            ids.append(call_id)
            rows.append((text, now, side))
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany(
            "INSERT INTO kombu_message (visible, payload, timestamp, version, queue_id)"
            " VALUES (1, ?, ?, 1, ?)",
            rows,
        )
        self._file.execute("COMMIT")
        return ids

    def _template(self, task: str) -> str:
        with client(self.broker, self.backend) as app:
            app.send_task(task, (), queue=_MODELS)
        query = "DELETE FROM kombu_message WHERE queue_id = ? RETURNING payload"
        rows = self._file.execute(query, (self._queue(_MODELS),)).fetchall()
        return rows[-1][0].replace(_MODELS, "celery")

    def release(self):
        """Makes what is staged the queue."""
        self._file.execute(
            "UPDATE kombu_message SET queue_id = ? WHERE queue_id = ?",
            (self._queue("celery"), self._queue(_SIDE)),
        )

    def results(self) -> int:
        """How many results there are."""
        return self._file.execute("SELECT COUNT(*) FROM celery_taskmeta").fetchone()[0]

    def states(self, ids) -> dict[str, str]:
        """The state of each call that has one."""
        wanted = set(ids)
        rows = self._file.execute("SELECT task_id, status FROM celery_taskmeta")
        return {each: status for each, status in rows if each in wanted}

    def ended(self, ids) -> dict[str, datetime]:
        """When each call ended that has."""
        wanted = set(ids)
        rows = self._file.execute("SELECT task_id, date_done FROM celery_taskmeta")
        return {each: _moment(done) for each, done in rows if each in wanted and done}

    def parked(self) -> int:
        """How many calls wait for their time in a worker's custody."""
        if "lovage_schedule" not in self._tables():
            return 0
        return self._file.execute("SELECT COUNT(*) FROM lovage_schedule").fetchone()[0]

    def kept(self) -> list[tuple[str, str]]:
        """Id and reason of every message that was put aside."""
        if "lovage_kept" not in self._tables():
            return []
        return self._file.execute("SELECT task_id, reason FROM lovage_kept").fetchall()

    def close(self):
        """Closes the file."""
        self._file.close()

    def _queue(self, name: str) -> int:
        rows = self._file.execute("SELECT id FROM kombu_queue WHERE name = ?", (name,))
        return rows.fetchone()[0]

    def _tables(self) -> list[str]:
        rows = self._file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return [name for (name,) in rows.fetchall()]


class Templates(dict):
    """A template for each task, made when it is first needed."""

    def __init__(self, make):
        super().__init__()
        self._make = make

    def __missing__(self, task: str):
        self[task] = Template(self._make(task))
        return self[task]


class Template:
    """One envelope that real Celery made, to be copied with other ids and arguments."""

    def __init__(self, text: str):
        envelope = json.loads(text)
        self._id = envelope["headers"]["id"]
        self._tag = envelope["properties"]["delivery_tag"]
        self._body = envelope["body"]
        self._embed = json.dumps(json.loads(base64.b64decode(self._body))[2])
        self._text = text
        self._known = {}

    def fill(self, arguments, call_id=None, key=None, eta=None) -> tuple[str, str]:
        """A copy with this id or one of its own, and that id; `eta` is a moment in ISO 8601."""
        call_id, tag = call_id or str(uuid.uuid4()), str(uuid.uuid4())
        text = self._with(arguments).replace(self._id, call_id).replace(self._tag, tag)
        if key:
            header = f'"headers": {{"idempotency-key": {json.dumps(key)}, '
            text = text.replace('"headers": {', header, 1)
        if eta:
            text = text.replace('"eta": null', f'"eta": "{eta}"', 1)
        return call_id, text

    def _with(self, arguments) -> str:
        written = json.dumps(arguments)
        if written not in self._known:
            if len(self._known) > 64:
                self._known.clear()
            body = f"[{written}, {{}}, {self._embed}]".encode()
            self._known[written] = self._text.replace(self._body, base64.b64encode(body).decode())
        return self._known[written]


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def wait_for_results(queue, count: int, patience_s: float, each=None, pause_s: float = 0.01):
    """Waits until there are `count` results; returns the moments and counts on the way."""
    deadline = time.monotonic() + patience_s
    moments = []
    while True:
        found = queue.results()
        moments.append((time.monotonic(), found))
        if each:
            each(found)
        if found >= count:
            return moments
        if moments[-1][0] > deadline:
            raise RuntimeError(f"only {found} of {count} results after {patience_s:.0f} s")
        time.sleep(pause_s)  # because a file tells nobody that it has changed
