"""Chords under chaos: count the bodies while workers are killed and members come twice.

    chords.py [--smoke] [--chords N] [--members N] [--kills N] [--workers N] [--lease S] [--seed N]
              [--one-database] [--keep FOLDER]

A real Celery client sends all chords before the first worker starts, and a tenth of their members is
then put on the queue once more, as a broker does that delivers again. Workers are killed at random
moments. Every body must happen once, with the results of all members in their order: what happens is
counted by the receiver of its effect, which is sent the same key however often a body is begun.

The exit code is 1 unless all of that is so.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import judge  # noqa: E402
import redis  # noqa: E402
from bed import processes, queues  # noqa: E402
from celery import chord, signature  # noqa: E402
from fleet import Fleet  # noqa: E402

# Of all members: sent twice.
TWICE = 0.10
# Without a new body for so long, what is missing is lost.
STALL_S = 60


def main() -> int:
    """One run; the exit code."""
    options = parse()
    chance = random.Random(options.seed)
    begun = time.monotonic()
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        server = stack.enter_context(processes.RedisServer())
        queue = queues.Redis(server, options.one_database, not options.one_database)
        stack.enter_context(closing(queue))
        bodies = send(options, queue)
        copies = duplicate(chance, queue)
        with Fleet(options, queue, folder, []) as fleet:
            states = disturb(options, chance, queue, fleet, bodies)
        runs, effects = judge.read(fleet.sink)
        results = totals(queue, bodies)
    report = {
        "seed": options.seed,
        "chords": len(bodies),
        "members": options.members,
        "copies": copies,
        "kills": fleet.kills,
        "bodies": sum(state == "SUCCESS" for state in states.values()),
        "with_all_results": sum(results[each] == wanted for each, wanted in bodies.items()),
        "twice": sum(len(set(effects.get(each, ()))) > 1 for each in bodies),
        "begun_again": sum(len(runs.get(each, ())) > 1 for each in bodies),
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(report, indent=1))
    is_good = report["bodies"] == report["with_all_results"] == len(bodies)
    return 0 if is_good and not report["twice"] and fleet.kills == options.kills else 1


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--chords", type=int)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--lease", type=float, default=2.0, help="seconds")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--keep", type=Path, help="an empty folder where logs and files stay")
    parser.add_argument("--one-database", action="store_true", help="queue and results")
    options = parser.parse_args()
    options.chords = options.chords or (100 if options.smoke else 1_000)
    options.kills = (3 if options.smoke else 20) if options.kills is None else options.kills
    options.worker = "lovage"
    return options


def send(options, queue) -> dict[str, list[int]]:
    """All chords; the ids of their bodies, and what each must return."""
    bodies = {}
    with queues.client(queue.broker, queue.backend) as app:
        app.set_default()
        for number in range(options.chords):
            members = [signature("bench.add", (number, each)) for each in range(options.members)]
            body = signature("canvas.total", app=app)
            total = sum(number + each for each in range(options.members))
            bodies[chord(members, body, app=app).apply_async().id] = [options.members, total]
    return bodies


def duplicate(chance, queue) -> int:
    """Puts a tenth of what waits on the queue once more, anywhere; returns how many that is."""
    with redis.Redis.from_url(queue.broker) as server:
        waiting = server.lrange("celery", 0, -1)
        copies = chance.sample(waiting, int(len(waiting) * TWICE))
        tags = [json.loads(text)["properties"]["delivery_tag"] for text in copies]
        pairs = zip(copies, tags, strict=True)
        fresh = [text.replace(tag.encode(), str(uuid.uuid4()).encode()) for text, tag in pairs]
        everything = waiting + fresh
        chance.shuffle(everything)
        with server.pipeline() as pipeline:
            pipeline.delete("celery").rpush("celery", *everything).execute()
    return len(copies)


def disturb(options, chance, queue, fleet, bodies) -> dict[str, str]:
    """Kills workers at random counts of results, until every body has ended; their states."""
    ids = list(bodies)
    expected = options.chords * (options.members + 1)
    moments = sorted(chance.choices(range(expected * 9 // 10), k=options.kills))
    fleet.begin()
    ended, moved = 0, time.monotonic()
    while True:
        fleet.tend()
        if moments and queue.results() >= moments[0]:
            fleet.kill(chance)
            moments.pop(0)
        states = queue.states(ids)
        over = sum(state in judge.TERMINAL for state in states.values())
        if over > ended:
            ended, moved = over, time.monotonic()
        if not moments and ended == len(ids) or time.monotonic() - moved > STALL_S:
            return states
        time.sleep(0.05)  # because a store tells nobody how many results it has


def totals(queue, bodies) -> dict[str, object]:
    """What each body returned."""
    with redis.Redis.from_url(queue.backend) as server:
        found = server.mget([f"celery-task-meta-{each}" for each in bodies])
    documents = zip(bodies, found, strict=True)
    return {each: json.loads(text)["result"] if text else None for each, text in documents}


if __name__ == "__main__":
    sys.exit(main())
