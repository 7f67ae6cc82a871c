"""Many calls at once that wait: how long until all are done, and what the worker holds meanwhile.

`sleepers.py BROKER BACKEND WORKER_PID COUNT MILLISECONDS`, on Redis.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bed import queues, usage  # noqa: E402

_PATIENCE_S = 60
_WARM_UP = 500
# Reading the kernel's sums takes time from the worker.
_PAUSE_S = 0.3


def main():
    broker, backend, *numbers = sys.argv[1:]
    worker, count, milliseconds = map(int, numbers)
    urls = {0: broker, 1: backend}
    queue = queues.Redis(SimpleNamespace(url=urls.get))
    queue.stage([("bench.sleep", (1,))] * _WARM_UP)
    queue.release()
    queues.wait_for_results(queue, _WARM_UP, _PATIENCE_S)
    queue.forget_results()

    ids = queue.stage([("bench.sleep", (milliseconds,))] * count)
    held, looked = [usage.of(worker).pss_bytes], time.monotonic()
    before, start = held[0], time.monotonic()

    def look(_found):
        nonlocal looked
        if time.monotonic() - looked > _PAUSE_S:
            held.append(usage.of(worker).pss_bytes)
            looked = time.monotonic()

    queue.release()
    queues.wait_for_results(queue, count, _PATIENCE_S, look, pause_s=0.02)
    seconds = time.monotonic() - start
    print(
        json.dumps(
            {
                "seconds": seconds,
                "held_bytes_before": before,
                "held_bytes_max": max(held),
                "looks": len(held),
                "states": Counter(queue.states(ids).values()),
            }
        )
    )


if __name__ == "__main__":
    main()
