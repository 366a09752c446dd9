"""Invalidations that could not be carried out, and are pending.

They are replayed before anything is read or stored again, so that this process does not serve what
it should have deleted (FusionCache calls that auto-recovery).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Pending", "PendingInvalidations", "told"]

#: How many keys and tags are remembered one by one; beyond it, everything goes.
BOUND = 1000


def told(names: Iterable[str]) -> list[str]:
    """Keys and tags as their user knows them, without those that only this package knows."""
    known = [name.removeprefix("~key~") for name in names if not name.startswith("~b:")]
    return list(dict.fromkeys(re.sub("^~[a-z]:", "", name) for name in known))


class Pending(NamedTuple):
    """What is to be invalidated: everything, or some keys and tags."""

    everything: bool
    keys: list[str]
    tags: list[str]


class PendingInvalidations:
    """The invalidations that are still to be made on one backend."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, None] = {}
        self._tags: dict[str, None] = {}
        #: Whether everything is to go.
        self.everything = False
        #: Held by the thread or task that replays.
        self.replaying = threading.Lock()

    def __bool__(self) -> bool:
        return self.everything or bool(self._keys) or bool(self._tags)

    def add(self, keys: Iterable[str] = (), tags: Iterable[str] = ()) -> None:
        """Remember an invalidation."""
        with self._lock:
            self._keys.update(dict.fromkeys(keys))
            self._tags.update(dict.fromkeys(tags))
            if len(self._keys) + len(self._tags) > BOUND:
                self._all()

    def add_everything(self) -> None:
        """Remember that everything is to go."""
        with self._lock:
            self._all()

    def _all(self) -> None:
        self.everything = True
        self._keys.clear()
        self._tags.clear()

    @property
    def names(self) -> list[str]:
        """What the log says of it."""
        pending = self.look()
        return ["everything"] if pending.everything else told([*pending.keys, *pending.tags])

    def look(self) -> Pending:
        """What is pending now."""
        with self._lock:
            return Pending(self.everything, list(self._keys), list(self._tags))

    def replayed(self, done: Pending) -> None:
        """Forget what has been invalidated."""
        with self._lock:
            for key in done.keys:
                self._keys.pop(key, None)
            for tag in done.tags:
                self._tags.pop(tag, None)
            self.everything = self.everything and not done.everything

    def forget(self, keys: Iterable[str]) -> None:
        """New values were set under these keys: there is nothing old to delete any more."""
        if self._keys:
            self.replayed(Pending(False, list(keys), []))
