"""A flood of messages that nobody can read, with a few good ones in it.

`malformed.py BROKER BACKEND BAD GOOD SEED`, on Redis. The bad ones are mutations of recorded
messages; a mutation after which Celery's own rules could still read the message is drawn again.
"""

import base64
import json
import random
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import redis

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bed import queues  # noqa: E402

_VECTORS = Path(__file__).resolve().parents[1] / "vectors"
_BATCH = 1_000
_PATIENCE_S = 120
# Stands in for numbers and names that a mutation puts where they do not belong.
_STRANGE = [None, True, 0, -1, 1e308, "", "args", "\0", [], [[]], {}, {"a": 1}, 2**70]
_NECESSARY = [("headers", "id"), ("headers", "task"), ("properties",), ("headers",), ("body",)]


def main():
    broker, backend, *numbers = sys.argv[1:]
    bad_count, good_count, seed = map(int, numbers)
    chance = random.Random(seed)
    queue = queues.Redis(SimpleNamespace(url={0: broker, 1: backend}.get))
    connection = redis.Redis.from_url(broker)
    good = queue.stage([("bench.add", (number, 1)) for number in range(good_count)])
    originals = recorded()
    every = bad_count // good_count
    for start in range(0, bad_count, _BATCH):
        bad = [malformed(chance, originals) for _ in range(min(_BATCH, bad_count - start))]
        with connection.pipeline(transaction=False) as pipeline:
            for number, text in enumerate(bad, start):
                pipeline.lpush("celery", text)
                if number % every == 0:
                    pipeline.lmove("staged", "celery", "LEFT", "LEFT")
            pipeline.execute()
    queues.wait_for_results(queue, good_count, _PATIENCE_S)
    kept = Kept(connection)
    kept.wait(bad_count)
    print(
        json.dumps(
            {
                "good": Counter(queue.states(good).values()),
                "waiting": connection.llen("celery"),
                "kept": kept.count(),
                "reasons": kept.reasons(),
            }
        )
    )


def recorded() -> list[str]:
    """The messages that producers really sent to Redis, as they were in the list."""
    texts = []
    for path in sorted(_VECTORS.glob("msg-*.json")):
        messages = json.loads(path.read_text()).get("redis", {}).get("messages", [])
        texts += [message["raw"] for message in messages if message.get("command") == "LPUSH"]
    if len(texts) < 50:
        raise RuntimeError(f"only {len(texts)} recorded messages in {_VECTORS}")
    return texts


def malformed(chance: random.Random, originals: list[str]) -> bytes:
    """One mutation that Celery's rules cannot read."""
    while True:
        text = chance.choice(_MUTATIONS)(chance, chance.choice(originals))
        if not readable(text):
            return text


def cut(chance, text):
    """The end is missing."""
    return text.encode()[: chance.randrange(len(text))]


def flip(chance, text):
    """Some bytes are others."""
    changed = bytearray(text.encode())
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def noise(chance, _text):
    """Nothing is as it was."""
    return chance.randbytes(chance.randint(0, 300))


def drop(chance, text):
    """Something necessary is missing."""
    *way, last = chance.choice(_NECESSARY)
    whole = json.loads(text)
    target = whole
    for name in way:
        target = target[name]
    target.pop(last, None)
    return json.dumps(whole).encode()


def replace(chance, text):
    """Something is of another kind."""
    whole = json.loads(text)
    place = chance.choice(["body", "headers", "properties", "content-type", "content-encoding"])
    if place in ("headers", "properties") and whole[place] and chance.random() < 0.7:
        whole[place][chance.choice(list(whole[place]))] = chance.choice(_STRANGE)
    else:
        whole[place] = chance.choice(_STRANGE)
    return json.dumps(whole).encode()


def bend_body(chance, text):
    """The envelope is whole, and what is in it is not."""
    whole = json.loads(text)
    body = str(whole["body"])
    encoded = whole["properties"].get("body_encoding") == "base64"
    body = base64.b64decode(body) if encoded else body.encode()
    body = body[: chance.randrange(len(body))] if chance.random() < 0.5 else b"[" + body
    whole["body"] = base64.b64encode(body).decode() if encoded else body.decode(errors="replace")
    return json.dumps(whole).encode()


_MUTATIONS = [cut, flip, noise, drop, replace, bend_body]


def readable(text: bytes) -> bool:
    """Whether Celery could read it and take it for a call of either protocol.

    Errs on the side of yes: what is doubtful is not counted as malformed.
    """
    try:
        envelope = json.loads(text)
        headers, properties = envelope.get("headers"), envelope["properties"]
        body = envelope["body"]
        if properties.get("body_encoding") == "base64":
            body = base64.b64decode(body).decode("latin-1")
        if (headers or {}).get("compression"):
            return True
        if envelope.get("content-type") not in ("application/json", None):
            return False
        body = json.loads(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    if isinstance(headers, dict) and "task" in headers:
        return _readable_call(headers, body)
    return isinstance(body, dict) and isinstance(body.get("task"), str)


def _readable_call(headers, body) -> bool:
    if not isinstance(headers["task"], str) or not isinstance(headers.get("id"), str):
        return False
    try:
        for name in ("eta", "expires"):
            if headers.get(name):
                datetime.fromisoformat(headers[name])
    except (ValueError, TypeError):
        return False
    return isinstance(body, list | dict)


class Kept:
    """What the worker keeps, as it keeps it in Redis: a stream of records and messages."""

    _KEY = "lovage:kept"

    def __init__(self, connection: redis.Redis):
        self._connection = connection

    def wait(self, count: int):
        """Waits until so many are kept."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.count() < count and time.monotonic() < deadline:
            time.sleep(0.02)  # because nobody tells of kept messages

    def count(self) -> int:
        """How many are kept, and how many were until there were too many."""
        removed = self._connection.get(f"{self._KEY}:removed")
        return self._connection.xlen(self._KEY) + int(removed or 0)

    def reasons(self) -> dict[str, int]:
        """How often each reason was given."""
        counted, last = Counter(), "-"
        while entries := self._connection.xrange(self._KEY, last, "+", _BATCH):
            counted.update(self._reason(fields) for _, fields in entries)
            last = "(" + entries[-1][0].decode()
        return counted

    def _reason(self, fields) -> str:
        record = json.loads(fields[b"record"])
        return f"{record['kind']} {record['reason']}" if b"message" in fields else ""


if __name__ == "__main__":
    main()
