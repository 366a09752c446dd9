"""Entries in memory: objects instead of bytes, versions as objects instead of tokens.

An entry holds the tag versions that it was stored with, and an invalidation marks a version dead:
O(1), and a hit has nothing to look up but one number. ``generation`` counts the invalidations; an
entry that was checked in the current generation needs no further look at its versions.

Reads take no lock. A reader that races with an invalidation either sees the new generation, or
began before the invalidation returned.

A handler may come in between at any step; see ``bounded.py``, whose rules hold for versions, too:
what was decided before a step (that versions stand) is looked at again after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..._entries.entry import Thaw
from ..._entries.times import Times
from ...typing import Value
from .bounded import BoundedEntries
from .entry import MemoryEntry
from .versions import BY_HAND_VERSION, ExpectedVersions, Version, Versions

__all__ = ["ExpectedVersions", "MemoryEntry", "Memory", "Version"]

#: A key, what is kept for its value, and what makes a copy of that.
Item = tuple[str, Value, Thaw | None]


class Memory(BoundedEntries):
    """A bounded map from keys to entries.

    :param threshold: the most entries it holds; 0 for no bound.
    """

    def __init__(self, threshold: int) -> None:
        super().__init__(threshold)
        self.generation = 0
        self._versions = Versions()
        self._namespace = Version()
        #: The tags that were asked for last, and their versions.
        self._shared: tuple[tuple[str, ...], tuple[Version, ...]] = ((), ())

    def peek(self, key: str) -> MemoryEntry | None:
        """The entry of ``key`` unless it was invalidated; its time is not looked at."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        if entry.generation != self.generation and not self._still_stands(entry):
            return None
        if not entry.visited:  # written once: without the interpreter's lock, writers wait
            entry.visited = True
        return entry

    def look(self, key: str) -> MemoryEntry | None:
        """The entry of ``key``, be it invalidated; this is no use of it."""
        return self.entries.get(key)

    def _still_stands(self, entry: MemoryEntry) -> bool:
        generation = self.generation  # first: what is invalidated from here on is seen next time
        for version in entry.versions:
            if version.dead:
                with self._lock:
                    self._drop(entry)
                    self._settle(entry.created)
                return False
        entry.generation = generation
        return True

    def expect(self, key: str, tags: tuple[str, ...], forced: bool = False) -> ExpectedVersions:
        """The versions of ``key`` and of ``tags``; created where they are missing."""
        with self._lock:
            of_key = (self._namespace, self._versions.get("k:" + key))
            asked, of_tags = self._shared
            # Calls of one function mostly have the same tags; so their entries share one tuple.
            if asked is not tags or any([version.dead for version in of_tags]):
                of_tags = tuple([self._versions.get(tag) for tag in tags])
                if of_tags == self._shared[1]:
                    of_tags = self._shared[1]
                self._shared = (tags, of_tags)
            return ExpectedVersions(of_key, of_tags, forced)

    def set_if_current(
        self,
        key: str,
        kept: Value,
        thaw: Thaw | None,
        times: Times,
        expected: ExpectedVersions,
    ) -> bool:
        """Store a computed value if ``expected`` stands; whether it was stored."""
        with self._lock:
            generation, namespace = self.generation, self._namespace
            if not expected.stand():
                return False
            entry = MemoryEntry(key, kept, thaw, times, expected.of_tags)
            self._put(entry, times.created)
            same = generation == self.generation and namespace is self._namespace
            if not same and not expected.stand():  # any more: it must not be served
                self._drop(entry)
                self._settle(times.created)
                return False
            if expected.forced:
                self._versions.refresh("k:" + key, expected.began)
                self.generation += 1
            return True

    def set_and_supersede(
        self,
        items: Sequence[Item],
        times: Times,
        tags: Iterable[str] = (),
    ) -> None:
        """Store values as a user sets them: computations that are under way lose."""
        now, until, _ = times
        with self._lock:
            versions = self._versions_by_hand(tags)
            for key, kept, thaw in items:
                if (name := "k:" + key) in self._versions.known:
                    self._supersede(name)
                held = None if versions else self.entries.get(key)
                if held is None or not self._overwrite(held, kept, thaw, now, until):
                    self._put(MemoryEntry(key, kept, thaw, times, versions), now)

    def set_one(self, key: str, kept: Value, thaw: Thaw | None, now: float, until: float) -> None:
        """:meth:`set_and_supersede` for one value without tags, which is good until ``until``."""
        with self._lock:
            if (name := "k:" + key) in self._versions.known:
                self._supersede(name)
            held = self.entries.get(key)
            if held is None or not self._overwrite(held, kept, thaw, now, until):
                self._put(MemoryEntry(key, kept, thaw, (now, until, until), ()), now)

    def add(
        self,
        key: str,
        kept: Value,
        thaw: Thaw | None,
        times: Times,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store unless a living entry has the key."""
        now = times.created
        with self._lock:
            entry = MemoryEntry(key, kept, thaw, times, self._versions_by_hand(tags))
            while (held := self.entries.get(key)) is None or not _is_alive(held, now):
                if held is not None:
                    self._drop(held)
                elif entry.usable_until <= now:
                    return True
                elif self.entries.setdefault(key, entry) is entry:
                    self._changes.append((entry, None))
                    self._settle(now)
                    return True
            return False

    def update(self, key: str, change: Callable[[Value], Value], times: Times) -> Value:
        """Replace a number by ``change(number)``; a living entry keeps its time."""
        with self._lock:
            exact = self._exact
            try:
                self._exact = True
                while True:
                    held, old = self.entries.get(key), self._alive(key, times.created)
                    value = change(None if old is None else old.value())
                    if old is not None:
                        times = Times(times.created, old.fresh_until, old.usable_until)
                    versions = () if old is None else old.versions
                    entry = MemoryEntry(key, value, None, times, versions)
                    self._supersede("k:" + key)
                    if self._swap(held, entry, times.created):  # no handler has counted meanwhile
                        return value
            finally:
                self._exact = exact

    def touch(self, key: str, times: Times) -> bool:
        """Give a living entry other times; whether there was one."""
        with self._lock:
            exact = self._exact
            try:
                self._exact = True
                while (old := self._alive(key, times.created)) is not None:
                    new = times._replace(created=old.created)
                    entry = MemoryEntry(key, old.kept, old.thaw, new, old.versions)
                    if self._swap(old, entry, times.created):  # no handler has changed it meanwhile
                        return True
                return False
            finally:
                self._exact = exact

    def invalidate(self, keys: Iterable[str], tags: Iterable[str], now: float) -> list[str]:
        """Delete keys, invalidate tags; the keys that were alive, the tags that had a version."""
        with self._lock:
            found = [name for name in tags if self._supersede(name)]
            for key in keys:
                self._supersede("k:" + key)
                entry = self.entries.get(key)
                if entry is not None:
                    if self._alive(key, now) is not None:
                        found.append(key)
                    self._drop(entry)
            self._settle(now)
            return found

    def clear(self) -> None:
        """Forget everything, and let no computation that is under way store."""
        with self._lock:
            self._namespace.dead = True
            self._namespace = Version()
            old, self.entries = self.entries, {}  # no value is dropped under the lock
            gone = self._begin_evictor()
            if self._settling:
                return  # it is in use: see rule 2
        gone.clear()
        old.clear()

    def _alive(self, key: str, now: float) -> MemoryEntry | None:
        entry = self.entries.get(key)
        return entry if entry is not None and _is_alive(entry, now) else None

    def _versions_by_hand(self, tags: Iterable[str]) -> tuple[Version, ...]:
        return (BY_HAND_VERSION, *map(self._versions.get, tags)) if tags else ()

    def _supersede(self, name: str) -> bool:
        if not self._versions.supersede(name):
            return False
        self.generation += 1
        return True


def _is_alive(entry: MemoryEntry, now: float) -> bool:
    """Whether it may be served in some way; readers, who take no lock, ask :meth:`Memory.peek`."""
    return now < entry.usable_until and not any(version.dead for version in entry.versions)
