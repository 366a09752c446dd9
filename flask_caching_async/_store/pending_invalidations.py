"""Invalidations that could not be carried out: what this process owes its backend.

They are carried out before anything is read or stored again, so that this process does not serve
what it should have deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

__all__ = ["Owed"]

#: How many keys and stamps are remembered one by one; beyond it, everything goes.
BOUND = 1000


class Owed:
    """The invalidations that are still to be made on one backend."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, None] = {}
        self._stamps: dict[str, None] = {}
        #: Whether everything is to go.
        self.everything = False
        #: Held by whoever pays.
        self.paying = threading.Lock()

    def __bool__(self) -> bool:
        return self.everything or bool(self._keys) or bool(self._stamps)

    def add(self, keys: Iterable[str] = (), stamps: Iterable[str] = ()) -> None:
        """Remember an invalidation."""
        with self._lock:
            self._keys.update(dict.fromkeys(keys))
            self._stamps.update(dict.fromkeys(stamps))
            if len(self._keys) + len(self._stamps) > BOUND:
                self._all()

    def add_everything(self) -> None:
        """Remember that everything is to go."""
        with self._lock:
            self._all()

    def _all(self) -> None:
        self.everything = True
        self._keys.clear()
        self._stamps.clear()

    def look(self) -> tuple[bool, list[str], list[str]]:
        """Whether everything is to go; and the keys and stamps that are."""
        with self._lock:
            return self.everything, list(self._keys), list(self._stamps)

    def paid(self, everything: bool, keys: Iterable[str], stamps: Iterable[str]) -> None:
        """Forget what has been made good."""
        with self._lock:
            for key in keys:
                self._keys.pop(key, None)
            for stamp in stamps:
                self._stamps.pop(stamp, None)
            self.everything = self.everything and not everything

    def forget(self, keys: Iterable[str]) -> None:
        """A new value was set under these keys: there is nothing old to delete any more."""
        if self._keys:
            self.paid(False, keys, ())
