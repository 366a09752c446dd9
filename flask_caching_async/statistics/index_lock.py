"""The lock under which a process changes what all of them share."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..backends.base import BaseCache

__all__ = ["IndexLock"]

#: Seconds after which it ends by itself, and how often and how long apart it is tried.
LIFE, TRIES, PAUSE = 5, 40, 0.05


class IndexLock:
    """A lock in the backend, for the few milliseconds of a change.

    :param is_open: whether the backend is left alone now.
    """

    def __init__(self, backend: BaseCache, key: str, is_open: Callable[[], bool]) -> None:
        self._backend, self._key, self._is_open = backend, key, is_open
        self._ends = 0.0

    def take(self, holder: str) -> bool:
        """Whether it was taken; others that hold it are waited for."""
        for number in range(TRIES):
            now = time.monotonic()
            if self._backend.add(self._key, holder, LIFE):
                self._ends = now + LIFE
                return True
            if self._is_open():
                return False
            if number < TRIES - 1:
                time.sleep(PAUSE)  # only on threads of our own
        return False

    def give_back(self) -> None:
        """Let another process have it."""
        if time.monotonic() < self._ends:  # else it may be another one's by now
            self._backend.delete(self._key)
