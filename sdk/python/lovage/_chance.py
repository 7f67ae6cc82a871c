"""The module `random`, seeded anew in each attempt.

Its generator was seeded when the module was built, so that all attempts would draw the same numbers.
Seeding costs more than most tasks, so it waits until something is drawn.
"""

import os
import random


class _Unseeded(random.Random):
    """The generator that `random`'s functions share, until the first draw of an attempt."""

    started = False

    def random(self):
        _seed(self)
        return random.Random.random(self)

    def getrandbits(self, bits):
        _seed(self)
        return random.Random.getrandbits(self, bits)


def _seed(generator):
    if _Unseeded.started:
        generator.__class__ = random.Random
        generator.seed(int.from_bytes(os.urandom(16), "little"))


def install():
    """To be called before the author's modules import functions of `random`."""
    shared = random._inst
    shared.__class__ = _Unseeded
    random.random = shared.random
    random.getrandbits = shared.getrandbits


def start():
    """From now on a draw is an attempt's."""
    _Unseeded.started = True
