"""How many may use something at a time, counted so that a handler may come in between."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from queue import Empty, SimpleQueue

__all__ = ["AsyncSlots", "Slots"]


class Slots:
    """So many slots, each taken by one caller at a time.

    Not a ``threading.Semaphore``: that has a lock of its own, which a handler (a signal's, or a
    ``__del__``) would wait for in vain if it came in between while its thread holds it. Each
    operation of a ``SimpleQueue`` is one step, made for this.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Slots that were given back; those that were never taken are only counted.
        self._free: SimpleQueue[None] = SimpleQueue()
        self._taken_first = itertools.count()

    def take(self, patience: float) -> None:
        """Take a slot.

        :raises TimeoutError: if none became free in time.
        """
        try:
            self._free.get_nowait()
        except Empty:
            if next(self._taken_first) < self.limit:
                return
            try:
                self._free.get(timeout=patience)
            except Empty:
                text = f"all {self.limit} connections were busy for {patience} s"
                raise TimeoutError(text) from None

    def give_back(self) -> None:
        """Let another caller have it."""
        self._free.put(None)


class AsyncSlots:
    """The same for the tasks of one event loop, in the order in which they come.

    Not an ``asyncio.Semaphore``, whose every slot takes two calls and a coroutine.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take_now(self) -> bool:
        """Take a slot, if that needs no waiting."""
        if self._left:
            self._left -= 1
            return True
        return False

    async def take(self) -> None:
        """Take a slot."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given one at the same moment
                self.give_back()
            raise

    def give_back(self) -> None:
        """Let another task have it: the one that has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._left += 1
