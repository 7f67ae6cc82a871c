"""What became of every call, by what callers, the receiver of effects and the broker have."""

import re
import statistics
from collections import Counter, defaultdict

from bed import queues

# How long a caller waits for what is known to be there.
GET_S = 10
_LINE = re.compile(r"(run|effect) (\S+) (\S+) (\d+)$")
CALLING = "bench.effect_then"
TERMINAL = ("SUCCESS", "FAILURE", "REVOKED")


def unfinished(queue, ids) -> set[str]:
    """The calls whose callers wait, and which were not put aside for a person either."""
    ids = list(ids)
    states = queue.states(ids)
    waiting = {each for each in ids if states.get(each) not in TERMINAL}
    return waiting - {each for each, _ in queue.kept()} if waiting else waiting


def followed(queue, logicals, effects) -> tuple[int, int]:
    """How many tasks that call another one succeeded, and how many were called and have come to
    something."""
    ids = {each for it in logicals for each in it.ids}
    calling = [it for it in logicals if it.task == CALLING]
    states = queue.states([each for it in calling for each in it.ids])
    called = sum(any(states.get(each) == "SUCCESS" for each in it.ids) for it in calling)
    return called, len({*effects, *(each for each, _ in queue.kept())} - ids)


def count(queue, logicals, fleet) -> dict:
    """The figures; what must be zero has a name in `MUST_BE_ZERO`."""
    ids = [each for logical in logicals for each in logical.ids]
    lost = unfinished(queue, ids)
    runs, effects = read(fleet.sink)
    reasons = Counter(reason for _, reason in queue.kept())
    called, successors = followed(queue, logicals, effects)
    recovery = sorted(recoveries(logicals, runs, fleet.deaths))
    return {
        "accepted": len(ids),
        "messages": sum(it.messages for it in logicals),
        "terminal": len(ids) - len(lost),
        "lost": len(lost) + max(0, called - successors),
        "keyed_duplicates": sum(_keys(it, effects) > 1 for it in logicals)
        + max(0, successors - sum(it.task == CALLING for it in logicals)),
        "at_most_once_violations": sum(
            it.is_at_most_once and _sends(it, effects) > 1 for it in logicals
        ),
        "executions": sum(len(each) for each in runs.values()),
        "tasks": len(logicals),
        "effects_sent": sum(len(each) for each in effects.values()),
        "put_aside": dict(reasons),
        "kills": fleet.kills,
        "stops": fleet.stops,
        "failpoint_kills": fleet.failpoints,
        "broker_restarts": fleet.restarts,
        "broker_kills": fleet.crashes,
        "recovery_p50_s": _quantile(recovery, 50),
        "recovery_p99_s": _quantile(recovery, 99),
        "lost_ids": sorted(lost)[:10],
    }


def answers(queue, logicals) -> dict:
    """What real Celery's `get()` answers the first and the last caller of every key: how many were
    answered, and how many keys there are whose callers were told different things."""
    answered, differing = 0, 0
    with queues.client(queue.broker, queue.backend) as app:
        for logical in logicals:
            told = set()
            for each in {logical.ids[0], logical.ids[-1]}:
                told.add(str(app.AsyncResult(each).get(timeout=GET_S, interval=0.05)))
                answered += 1
            differing += len(told) > 1
    return {"answered": answered, "differing": differing}


MUST_BE_ZERO = ("lost", "keyed_duplicates", "at_most_once_violations")


def is_good(report) -> bool:
    """Whether every promise was kept."""
    return report["terminal"] == report["accepted"] and not any(
        report[name] for name in MUST_BE_ZERO
    )


def read(sink):
    """Runs (process and moment) and effects (keys) of each task id."""
    runs, effects = defaultdict(list), defaultdict(list)
    for line in sink.read_text().splitlines():
        # Whoever is killed at a page's end leaves half a line, and the next one goes on behind it.
        if not (found := _LINE.search(line)):
            continue
        what, which, task_id, at = found.groups()
        if what == "run":
            runs[task_id].append((int(which), int(at) / 1e6))
        else:
            effects[task_id].append(which)
    return runs, effects


def recoveries(logicals, runs, deaths):
    """Seconds from a worker's death to the next run of what it had in work."""
    died = dict(deaths)
    flaky = {each for it in logicals if it.is_flaky for each in it.ids}
    for task_id, starts in runs.items():
        if task_id not in flaky:
            for (pid, _), (_, again) in zip(starts, starts[1:], strict=False):
                if again > died.get(pid, again):
                    yield again - died[pid]


def _keys(logical, effects) -> int:
    return len({key for each in logical.ids for key in effects.get(each, ())})


def _sends(logical, effects) -> int:
    return sum(len(effects.get(each, ())) for each in logical.ids)


def _quantile(values, percent):
    if len(values) < 2:
        return round(values[0], 2) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 2)
