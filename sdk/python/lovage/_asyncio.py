"""An event loop for a sandbox: it waits for time, as there are no sockets to wait for.

`asyncio.run` in a task works with it, and with it `sleep`, `gather`, `wait_for`, queues and locks.
"""

import asyncio
import time


class _Sleeper:
    """What the loop asks for events: nothing happens but time."""

    def select(self, timeout=None):
        """Waits."""
        if timeout is None:
            raise RuntimeError("the event loop waits for something that cannot come in a sandbox")
        if timeout > 0:
            time.sleep(timeout)
        return ()


class Loop(asyncio.BaseEventLoop):
    """Runs coroutines, callbacks and timers."""

    def __init__(self):
        super().__init__()
        self._selector = _Sleeper()

    def _process_events(self, event_list):
        """There are none."""

    def _write_to_self(self):
        """Nobody else is there who could wake it."""


def install():
    """Makes it the loop that `asyncio.run` and `asyncio.new_event_loop` make."""
    asyncio.new_event_loop = asyncio.events.new_event_loop = Loop
