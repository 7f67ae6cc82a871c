"""What is measured: which calls, how many of them, and by whom they are worked off."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """Calls that are all there when a worker begins. Celery needs fewer of them for the same time."""

    note: str
    calls: int
    celery_calls: int
    mix: tuple
    # Who works them off, beside Lovage and Celery's prefork.
    beside: tuple = ()
    # Where the module is built from, if it is none of the examples.
    project: str | None = None
    # Calls in work at once: Lovage's slots, and the threads of Celery's pools that have any.
    slots: int = 256
    # Whether calls run again, so that their first result is not their last.
    is_retried: bool = False


_NOOP = ("bench.add", (2, 3))
_ECHO = ("bench.echo", ("x" * 1_024,))
_ECHO_LARGE = ("bench.echo", ("x" * 102_400,))
_SLEEP = ("bench.sleep", (20,))
_WAIT = ("bench.sleep", (1_000,))
_SHA = ("bench.sha", (1_000,))
_SIEVE = ("bench.sieve", (1_000_000,))
_RETRY = ("demo.retry_once", (100,))
POOLS = ("celery threads", "celery gevent")

SCENARIOS = {
    "noop": Scenario(
        "`bench.add` of two numbers", 60_000, 4_000, (_NOOP,), ("without ledger", "bare", *POOLS)
    ),
    "echo1k": Scenario("`bench.echo` of 1 KiB", 40_000, 4_000, (_ECHO,)),
    "echo100k": Scenario("`bench.echo` of 100 KiB", 3_000, 1_500, (_ECHO_LARGE,)),
    "sha": Scenario("a chain of 1,000 SHA-256", 6_000, 4_000, (_SHA,)),
    "sieve": Scenario("primes below a million", 400, 24, (_SIEVE,)),
    "sleep": Scenario("`bench.sleep` of 20 ms", 20_000, 400, (_SLEEP,)),
    "sleep5k": Scenario(
        "`bench.sleep` of a second, 5,000 at once", 15_000, 1_500, (_WAIT,), POOLS, slots=5_000
    ),
    "retry": Scenario(
        "every fifth asks to run again in 0.1 s", 20_000, 2_000,
        (_NOOP, _NOOP, _RETRY, _NOOP, _NOOP), is_retried=True,
    ),
    "blend": Scenario(
        "six adds, two echoes, a sleep, a SHA chain", 20_000, 1_000,
        (_NOOP, _NOOP, _ECHO, _NOOP, _SLEEP, _NOOP, _ECHO, _NOOP, _SHA, _NOOP),
    ),
    "python": Scenario("one `tasks.py` under both", 10_000, 4_000, (_NOOP,), project="python"),
    "typescript": Scenario("TypeScript beside Python", 40_000, 4_000, (_NOOP,),
                           project="typescript"),
}  # fmt: skip
# SQLite commits to a disk; kombu polls it besides. RabbitMQ's messages are made one by one.
SHARES = {"redis": 1, "sqlite": 10, "amqp": 3}
# What `make bench` measures, and what `SCENARIOS=all` does; the last ones are no rounds of calls.
SHORT = ("noop",)
SINGLE = ("start", "busy", "asleep")
ALL = (*SCENARIOS, *SINGLE)
