"""Counting in a store that only replaces what nobody has changed meanwhile."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from .._runtime.fork import forgets_parent

__all__ = ["Turns"]

#: How many locks the keys share.
LOCKS = 32


class Turns:
    """Lets who count the same key in this process wait for each other.

    If all of them only tried again, one of many could fail for ever. Of another process nobody
    waits here: after a failure it is tried again, each time after a longer random pause. So it is
    after a handler that came in between and has counted: it does not wait for its own thread.

    :param patience: seconds after which it is not tried again.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.forget_parent()
        forgets_parent(self)

    def forget_parent(self) -> None:
        """Have new locks: a thread that a forked child does not have may hold one."""
        self._locks = [threading.RLock() for _ in range(LOCKS)]

    def count(self, key: str, attempt: Callable[[], int | None]) -> int | None:
        """The first sum that ``attempt`` gives; ``None`` if it gave none in time."""
        until, pause = time.monotonic() + self.patience, 0.1
        lock = self._locks[hash(key) % LOCKS]
        if not lock.acquire(timeout=self.patience):
            return None
        try:
            while (total := attempt()) is None and time.monotonic() < until:
                time.sleep(random.uniform(0, pause))
                pause = min(2 * pause, 1.0)
            return total
        finally:
            lock.release()
