"""Calls that cross a border between tenants, and one to a queue that nobody has seen before.

`borders.py BROKER BACKEND`; the worker has the tenants `loud` and `quiet`, both with the bench's module.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bed import queues  # noqa: E402

_PATIENCE_S = 30


def main():
    broker, backend = sys.argv[1:]
    with queues.client(broker, backend) as app:
        fresh = app.send_task("bench.add", (1, 2), queue="quiet.fresh")
        answer = fresh.get(timeout=_PATIENCE_S)
        app.send_task(
            "bench.add", (1, 2), queue="quiet.fresh", headers={"lovage-tenant": "loud"}
        )
        foreign = app.send_task("bench.add", (1, 2), queue="celery")
        try:
            foreign.get(timeout=_PATIENCE_S)
        except Exception:
            pass
        print(json.dumps({"new_queue": answer, "default_tenant": foreign.state}))


if __name__ == "__main__":
    main()
