"""Calls that cross a border between tenants, one to a queue that nobody has seen before, and calls with
arguments that fit and that do not.

`borders.py BROKER BACKEND`; the worker has the tenants `loud` and `quiet`, both with the bench's module,
and `quiet` with one that no instance survives, too.
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
        told(foreign)
        strict = {
            name: told(app.send_task("strict.start", ([1, n],), queue="quiet.default"))
            for name, n in (("wrong_arguments", "2"), ("right_arguments", 2))
        }
        print(json.dumps({"new_queue": answer, "default_tenant": foreign.state} | strict))


def told(call):
    """What a call came to that fails."""
    try:
        return repr(call.get(timeout=_PATIENCE_S))
    except Exception as error:  # noqa: BLE001, whatever it is
        return repr(error)


if __name__ == "__main__":
    main()
