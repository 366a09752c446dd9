"""Invalidations that could not be carried out, and are pending.

They are replayed before anything is read or stored again, so that this process does not serve what
it should have deleted (FusionCache calls that auto-recovery).
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .._runtime.commands import in_command
from .._runtime.fork import forgets_parent

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
    #: How many invalidations had been remembered by then: a later one is another one.
    seen: int = 0


class PendingInvalidations:
    """The invalidations that are still to be made on one backend, under one key prefix.

    :param owing: where those are kept of which any is pending, until it has been made: what knows
        the prefix otherwise may be forgotten meanwhile.
    """

    def __init__(self, owing: dict[PendingInvalidations, None] | None = None) -> None:
        self._owing = {} if owing is None else owing
        #: Makes them; set by the store whose they are.
        self.replay: Callable[[], object] = lambda: None
        # Reentrant: a handler may come in between, a signal's or a user's __del__. What it adds is
        # a later invalidation.
        self._lock = threading.RLock()
        self._order = itertools.count(1)
        self._last = 0
        #: Names, and which invalidation was the last that wanted them.
        self._keys: dict[str, int] = {}
        self._tags: dict[str, int] = {}
        self._everything = 0
        #: Held by the thread or task that replays; no caller waits for it.
        self.replaying = threading.Lock()
        forgets_parent(self)

    def forget_parent(self) -> None:
        """In a forked child no thread of the parent goes on; what is pending is the child's, too.

        Of a parent that was replaying, the child cannot know how far it came.
        """
        self._lock, self.replaying = threading.RLock(), threading.Lock()

    @property
    def everything(self) -> bool:
        """Whether everything is to go."""
        return self._everything > 0

    def __bool__(self) -> bool:
        return self._everything > 0 or bool(self._keys) or bool(self._tags)

    def add(self, keys: Iterable[str] = (), tags: Iterable[str] = ()) -> None:
        """Remember an invalidation; not one of a command, whose user is told that it failed."""
        if in_command.get():
            return
        with self._lock:
            self._last = number = next(self._order)
            self._keys.update(dict.fromkeys(keys, number))
            self._tags.update(dict.fromkeys(tags, number))
            self._owing[self] = None
            if len(self._keys) + len(self._tags) > BOUND:
                self._all()

    def add_everything(self) -> None:
        """Remember that everything is to go."""
        if in_command.get():
            return
        with self._lock:
            self._all()

    def _all(self) -> None:
        self._everything = self._last = next(self._order)
        self._owing[self] = None
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
            seen = self._last  # first: what is remembered from here on is not seen
            return Pending(self.everything, list(self._keys), list(self._tags), seen)

    def replayed(self, done: Pending) -> None:
        """Forget what has been invalidated, but for what was to be invalidated once more since."""
        with self._lock:
            for names, gone in ((self._keys, done.keys), (self._tags, done.tags)):
                for name in gone:
                    if names.get(name, 0) <= done.seen:
                        names.pop(name, None)
            if done.everything and self._everything <= done.seen:
                self._everything = 0
            if not self:
                self._owing.pop(self, None)

    def forget(self, keys: Iterable[str]) -> None:
        """New values were set under these keys: there is nothing old to delete any more."""
        if self._keys:
            with self._lock:
                self.replayed(Pending(False, list(keys), [], self._last))
