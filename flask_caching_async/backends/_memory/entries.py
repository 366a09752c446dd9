"""Entries in memory: objects instead of bytes, versions as objects instead of tokens.

An entry holds the tag versions that it was stored with, and an invalidation marks a version dead:
O(1), and a hit has nothing to look up but one number. ``generation`` counts the invalidations; an
entry that was checked in the current generation needs no further look at its versions.

Reads take no lock. A reader that races with an invalidation either sees the new generation, or
began before the invalidation returned.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from weakref import WeakValueDictionary

from ..._entries.entry import BY_HAND, Thaw
from ..._entries.times import Times
from ...typing import Value
from .eviction import Evictor, Node

__all__ = ["ExpectedVersions", "MemoryEntry", "Memory", "Version"]


#: A key, what is kept for its value, and what makes a copy of that.
Item = tuple[str, Value, Thaw | None]


class Version:
    """What entries and computations hold of a tag or a key; dead once it has been invalidated.

    :param refreshed: the version of a key that a forced computation has put in the place of this
        one, which is dead, too, for all that began before that computation.
    """

    __slots__ = ("dead", "name", "refreshed", "began", "__weakref__")

    def __init__(self, name: str = "") -> None:
        self.dead = False
        self.name = name
        self.refreshed: Version | None = None
        #: When that computation began, in the order of all.
        self.began = 0


#: The first version of an entry that answers each call of its key: it never dies.
_BY_HAND = Version(BY_HAND)


class MemoryEntry(Node):
    """An entry in memory; has the attributes of :class:`.Entry`."""

    __slots__ = ("kept", "thaw", "created", "fresh_until", "versions", "generation", "owner")

    def __init__(
        self,
        key: str,
        kept: Value,
        thaw: Thaw | None,
        times: Times,
        versions: tuple[Version, ...],
        generation: int,
    ) -> None:
        super().__init__(key, times.usable_until)
        self.kept = kept
        self.thaw = thaw
        self.created = times.created
        self.fresh_until = times.fresh_until
        self.versions = versions
        self.generation = generation
        #: The first tag: that of the function it was computed by, or that of what is set by hand.
        self.owner = versions[0].name if versions else BY_HAND

    def value(self) -> Value:
        """The value, never one that another caller can mutate."""
        return self.kept if self.thaw is None else self.thaw(self.kept)

    def answers(self, tags: Collection[str]) -> bool:
        """Whether it carries all these tags, or was set by hand; else it is another function's."""
        versions = self.versions
        if not versions or versions[0] is _BY_HAND or BY_HAND in tags:
            return True
        return {version.name for version in versions}.issuperset(tags)


class ExpectedVersions:
    """What must still stand when a computation ends: the versions of its key and of its tags."""

    __slots__ = ("of_key", "of_tags", "forced", "began")

    def __init__(
        self, of_key: tuple[Version, ...], of_tags: tuple[Version, ...], forced: bool = False
    ) -> None:
        self.of_key = of_key
        self.of_tags = of_tags
        #: Whether what began before this computation must not be stored after it.
        self.forced = forced
        self.began = next(_order)

    def stand(self) -> bool:
        """Whether nothing has been invalidated since, and no newer computation was stored."""
        for version in self.of_key + self.of_tags:
            while version.refreshed is not None and version.began < self.began:
                version = version.refreshed  # by an older computation, which this one may replace
            if version.dead:
                return False
        return True


_order = itertools.count(1)


class Memory:
    """A bounded map from keys to entries.

    :param threshold: the most entries it holds; 0 for no bound.
    """

    def __init__(self, threshold: int) -> None:
        self.generation = 0
        self._entries: dict[str, MemoryEntry] = {}
        self._versions: WeakValueDictionary[str, Version] = WeakValueDictionary()
        self._namespace = Version()
        self._threshold = threshold
        self._evictor = Evictor(threshold)
        # Reentrant: the garbage collector may run a user's __del__ here, which may use the cache.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        with self._lock:  # a store adds one before it evicts another
            return len(self._entries)

    def peek(self, key: str) -> MemoryEntry | None:
        """The entry of ``key`` unless it was invalidated; its time is not looked at."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.generation != self.generation and not self._still_stands(entry):
            return None
        entry.visited = True
        return entry

    def _still_stands(self, entry: MemoryEntry) -> bool:
        generation = self.generation  # first: what is invalidated from here on is seen next time
        for version in entry.versions:
            if version.dead:
                with self._lock:
                    self._drop(entry)
                return False
        entry.generation = generation
        return True

    def expect(self, key: str, tags: Iterable[str], forced: bool = False) -> ExpectedVersions:
        """The versions of ``key`` and of ``tags``; created where they are missing."""
        with self._lock:
            of_key = (self._namespace, self._version("k:" + key))
            return ExpectedVersions(of_key, tuple([self._version(name) for name in tags]), forced)

    def _version(self, name: str) -> Version:
        if name == BY_HAND:
            return _BY_HAND
        version = self._versions.get(name)
        if version is None:
            version = self._versions[name] = Version(name)
        return version

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
            if not expected.stand():
                return False
            if expected.forced:
                self._refresh("k:" + key, expected.began)
            self._store(
                MemoryEntry(key, kept, thaw, times, expected.of_tags, self.generation),
                times.created,
            )
            return True

    def set_and_supersede(
        self,
        items: Sequence[Item],
        times: Times,
        tags: Iterable[str] = (),
    ) -> None:
        """Store values as a user sets them: computations that are under way lose."""
        with self._lock:
            versions = (_BY_HAND, *[self._version(name) for name in tags]) if tags else ()
            for key, kept, thaw in items:
                self._supersede("k:" + key)
                self._store(
                    MemoryEntry(key, kept, thaw, times, versions, self.generation), times.created
                )

    def add(
        self,
        key: str,
        kept: Value,
        thaw: Thaw | None,
        times: Times,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store unless a living entry has the key."""
        with self._lock:
            if self._alive(key, times.created) is not None:
                return False
            versions = (_BY_HAND, *[self._version(name) for name in tags]) if tags else ()
            self._store(
                MemoryEntry(key, kept, thaw, times, versions, self.generation), times.created
            )
            return True

    def update(self, key: str, change: Callable[[Value], Value], times: Times) -> Value:
        """Replace a number by ``change(number)``; a living entry keeps its time."""
        with self._lock:
            old = self._alive(key, times.created)
            value = change(None if old is None else old.value())
            if old is not None:
                times = Times(times.created, old.fresh_until, old.usable_until)
            self._supersede("k:" + key)
            versions = () if old is None else old.versions
            self._store(
                MemoryEntry(key, value, None, times, versions, self.generation), times.created
            )
            return value

    def invalidate(self, keys: Iterable[str], tags: Iterable[str], now: float) -> list[str]:
        """Delete keys, invalidate tags; the keys that were alive, the tags that had a version."""
        with self._lock:
            found = [name for name in tags if self._supersede(name)]
            for key in keys:
                self._supersede("k:" + key)
                entry = self._entries.get(key)
                if entry is not None:
                    if self._alive(key, now) is not None:
                        found.append(key)
                    self._drop(entry)
            return found

    def clear(self) -> None:
        """Forget everything, and let no computation that is under way store."""
        with self._lock:
            self._namespace.dead = True
            self._namespace = Version()
            self._entries.clear()
            self._evictor.clear()

    def _alive(self, key: str, now: float) -> MemoryEntry | None:
        entry = self._entries.get(key)
        if entry is None or now >= entry.usable_until:
            return None
        return None if any(version.dead for version in entry.versions) else entry

    def _supersede(self, name: str) -> bool:
        version = self._versions.pop(name, None)
        if version is None:
            return False
        version.dead = True
        self.generation += 1
        return True

    def _refresh(self, name: str, began: int) -> None:
        """Let nothing be stored that began before the forced computation that is stored now."""
        version = self._versions.get(name)
        if version is not None:
            new = self._versions[name] = Version(name)
            version.dead, version.refreshed, version.began = True, new, began

    def _drop(self, entry: MemoryEntry) -> None:
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
            self._evictor.remove(entry)

    def _store(self, entry: MemoryEntry, now: float) -> None:
        old = self._entries.get(entry.key)
        if entry.usable_until <= now:
            if old is not None:
                self._drop(old)
            return
        self._entries[entry.key] = entry
        if old is not None:
            self._evictor.replace(old, entry)
            return
        self._evictor.add(entry)
        while self._threshold and len(self._evictor) > self._threshold:
            victim = self._evictor.evict(now)
            del self._entries[victim.key]

    def forget_parent(self) -> None:
        """A child inherits the entries, and a lock that may never be released."""
        self._lock = threading.RLock()
        self._evictor = Evictor(self._threshold)
        for entry in self._entries.values():
            self._evictor.add(entry)
