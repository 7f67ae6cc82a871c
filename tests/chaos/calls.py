"""What is called under chaos, and what has to come of it."""

import uuid
from dataclasses import dataclass

# Of all tasks: published twice, failing before they succeed, slow past the lease, failing for good,
# calling another task.
TWICE, FLAKY, SLOW, HOPELESS, CALLING = 0.10, 0.03, 0.01, 0.01, 0.05
# Of all that have an effect: those whose effect must not be sent again when it is in doubt.
AT_MOST_ONCE = 0.20
MILLISECONDS_MAX = 30
FAILURES_MAX = 2


@dataclass
class Logical:
    """One thing that is to happen, however many messages ask for it."""

    task: str
    arguments: tuple
    ids: list[str]
    key: str | None = None
    messages: int = 1

    def calls(self):
        """Its messages, as a queue stages them."""
        for number in range(self.messages):
            yield self.task, self.arguments, self.ids[number % len(self.ids)], self.key

    @property
    def has_effect(self) -> bool:
        """Whether it has a step."""
        return self.task.startswith("bench.effect")

    @property
    def is_at_most_once(self) -> bool:
        """Whether its effect must not be sent again when it is in doubt."""
        return self.task == "bench.effect" and self.arguments[0] == "fail"

    @property
    def is_flaky(self) -> bool:
        """Whether it is run more than once even if nobody dies."""
        return self.task == "bench.effect" and self.arguments[2] > 0


def make(chance, count: int, lease_s: float) -> list[Logical]:
    """A mix of tasks, the same for the same seed."""
    return [_one(chance, number, lease_s) for number in range(count)]


def duplicated(chance, count: int, copies: int) -> list[Logical]:
    """Tasks that are each asked for `copies` times under one key: each id is sent twice."""
    made = []
    for number in range(count):
        ids = [_id(chance) for _ in range((copies + 1) // 2)]
        arguments = ("retry", chance.randint(0, MILLISECONDS_MAX), 0)
        made.append(Logical("bench.effect", arguments, ids, f"copy:{number}", copies))
    return made


def _one(chance, number, lease_s) -> Logical:
    doubt = "fail" if chance.random() < AT_MOST_ONCE else "retry"
    milliseconds = chance.randint(0, MILLISECONDS_MAX)
    failures, task = 0, "bench.effect"
    lot = chance.random()
    if lot < FLAKY:
        failures = chance.randint(1, FAILURES_MAX)
    elif (lot := lot - FLAKY) < SLOW:
        milliseconds = int(lease_s * 1_250)
    elif (lot := lot - SLOW) < HOPELESS:
        task = "demo.fail"
    elif lot - HOPELESS < CALLING:
        task = "bench.effect_then"
    arguments = {
        "bench.effect": (doubt, milliseconds, failures),
        "demo.fail": ("hopeless",),
        "bench.effect_then": (number,),
    }[task]
    made = Logical(task, arguments, [_id(chance)])
    lot = chance.random()
    if lot < TWICE / 2:
        made.messages = 2
    elif lot < TWICE:
        made.messages, made.key = 2, f"key:{number}"
        made.ids.append(_id(chance))
    return made


def _id(chance) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
