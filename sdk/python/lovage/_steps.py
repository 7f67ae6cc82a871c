"""Steps: named parts of a task that happen once over all its attempts."""

from . import _json
from ._host import host

DOUBTS = ("retry", "fail", "ask")


class Step:
    """A step that is under way, handed to the function that carries out its effect."""

    def __init__(self, handle, ambiguous):
        self._handle = handle
        self._abandoned = False
        #: Whether it was begun before and nobody knows how it ended (only with ``doubt="ask"``).
        self.ambiguous = ambiguous

    @property
    def key(self):
        """The key to hand to whoever carries out the effect; the same over all attempts."""
        return self._handle.key()

    def abandon(self):
        """Says that the effect did not take place. The step may be begun again."""
        self._abandoned = True
        self._handle.abandon()


def step(name, effect, *, doubt, input=None):
    """Carries out `effect` once over all attempts, and returns what came of it.

    `effect` gets a `Step`, and what it returns is kept (at most 64 KiB of JSON): a later attempt is
    handed that value and the effect is not repeated. `input` is what the effect depends on; a step
    found again with another input is refused. `doubt` says what happens when the step was begun
    before and nobody knows whether its effect took place: ``"retry"`` does it again (right where
    the receiver de-duplicates on `Step.key`), ``"fail"`` parks the task for a person, ``"ask"``
    calls `effect` with `Step.ambiguous` set.

    An effect that raises leaves the step in doubt, unless it called `Step.abandon`.
    """
    if doubt not in DOUBTS:
        raise ValueError(f"doubt is one of {', '.join(DOUBTS)}, not {doubt!r}")
    how, found = host().begin(name, _json.dumps(input), doubt)
    if how == "replay":
        return _json.loads(found)
    under_way = Step(found, how == "ambiguous")
    value = effect(under_way)
    if not under_way._abandoned:
        text = _json.dumps(value)
        found.commit(text)
        # What a later attempt is handed, so that all attempts see the same.
        value = _json.loads(text)
    return value
