"""How many may use something at a time, counted so that a handler may come in between."""

from __future__ import annotations

import itertools
from queue import Empty, SimpleQueue

__all__ = ["Slots"]


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
