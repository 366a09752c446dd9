"""Entries in memory: objects instead of bytes, versions as objects instead of tokens.

An entry holds the tag versions that it was stored with, and an invalidation marks a version dead:
O(1), and a hit has nothing to look up but one number. ``generation`` counts the invalidations; an
entry that was checked in the current generation needs no further look at its versions.

Reads take no lock. A reader that races with an invalidation either sees the new generation, or
began before the invalidation returned.

The lock is reentrant, for a handler that uses the cache may come in between at any step: that of a
signal, or a ``__del__`` when the garbage collector runs or an old value is dropped. Rules that a
change must keep:

1. ``_entries`` and the versions say what there is. Each step that changes them is one call of a
   dict, so that a handler finds them whole; what was decided before such a step (that versions
   stand, that a key is free) is looked at again after it.
2. The evictor is told afterwards: a change is noted, and the outermost caller settles all that is
   noted. A handler that comes in between there only notes. What is noted is an entry, not what
   happened to it: whether it belongs there is looked up then, so that order does not matter.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from ..._entries.entry import Thaw
from ..._entries.times import Times
from ...typing import Value
from .entry import MemoryEntry
from .eviction import Evictor
from .versions import BY_HAND_VERSION, ExpectedVersions, Version, Versions

__all__ = ["ExpectedVersions", "MemoryEntry", "Memory", "Version"]

#: A key, what is kept for its value, and what makes a copy of that.
Item = tuple[str, Value, Thaw | None]


class Memory:
    """A bounded map from keys to entries.

    :param threshold: the most entries it holds; 0 for no bound.
    """

    def __init__(self, threshold: int) -> None:
        self.generation = 0
        self._entries: dict[str, MemoryEntry] = {}
        self._versions = Versions()
        self._namespace = Version()
        #: The versions of tags that were asked for last.
        self._shared: tuple[Version, ...] = ()
        self.threshold = threshold
        self._evictor = Evictor(threshold)
        #: Entries that have come or gone, with what they replaced; the evictor is yet to know.
        self._changes: deque[tuple[MemoryEntry, MemoryEntry | None]] = deque()
        self._settling = False
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
                    self._settle(entry.created)
                return False
        entry.generation = generation
        return True

    def expect(self, key: str, tags: Iterable[str], forced: bool = False) -> ExpectedVersions:
        """The versions of ``key`` and of ``tags``; created where they are missing."""
        get = self._versions.get
        with self._lock:
            of_key = (self._namespace, get("k:" + key))
            of_tags = tuple([get(tag) for tag in tags])
            if of_tags == self._shared:  # entries of one function mostly have the same ones
                of_tags = self._shared
            else:
                self._shared = of_tags
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
            if not expected.stand():
                return False
            entry = MemoryEntry(key, kept, thaw, times, expected.of_tags)
            self._put(entry, times.created)
            if not expected.stand():  # any more: it must not be served
                self._drop(entry)
                self._settle(times.created)
                return False
            if expected.forced:
                self._versions.refresh("k:" + key, expected.began)
            return True

    def set_and_supersede(
        self,
        items: Sequence[Item],
        times: Times,
        tags: Iterable[str] = (),
    ) -> None:
        """Store values as a user sets them: computations that are under way lose."""
        with self._lock:
            versions = self._versions_by_hand(tags)
            for key, kept, thaw in items:
                if (name := "k:" + key) in self._versions.known:
                    self._supersede(name)
                self._note(MemoryEntry(key, kept, thaw, times, versions), times.created)
            self._settle(times.created)

    def set_one(self, key: str, kept: Value, thaw: Thaw | None, times: Times) -> None:
        """:meth:`set_and_supersede` for one value without tags."""
        with self._lock:
            if (name := "k:" + key) in self._versions.known:
                self._supersede(name)
            self._put(MemoryEntry(key, kept, thaw, times, ()), times.created)

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
            while self._alive(key, now) is None:
                if (dead := self._entries.get(key)) is not None:
                    self._drop(dead)
                elif entry.usable_until <= now:
                    return True
                elif self._entries.setdefault(key, entry) is entry:
                    self._changes.append((entry, None))
                    self._settle(now)
                    return True
            return False

    def update(self, key: str, change: Callable[[Value], Value], times: Times) -> Value:
        """Replace a number by ``change(number)``; a living entry keeps its time."""
        with self._lock:
            while True:
                held, old = self._entries.get(key), self._alive(key, times.created)
                value = change(None if old is None else old.value())
                if old is not None:
                    times = Times(times.created, old.fresh_until, old.usable_until)
                versions = () if old is None else old.versions
                entry = MemoryEntry(key, value, None, times, versions)
                self._supersede("k:" + key)
                if self._entries.get(key) is held:  # no handler has counted meanwhile
                    self._put(entry, times.created)
                    return value

    def touch(self, key: str, times: Times) -> bool:
        """Give a living entry other times; whether there was one."""
        with self._lock:
            while (old := self._alive(key, times.created)) is not None:
                new = times._replace(created=old.created)
                entry = MemoryEntry(key, old.kept, old.thaw, new, old.versions)
                if self._entries.get(key) is old:  # no handler has changed it meanwhile
                    self._put(entry, times.created)
                    return True
            return False

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
            self._settle(now)
            return found

    def clear(self) -> None:
        """Forget everything, and let no computation that is under way store."""
        with self._lock:
            self._namespace.dead = True
            self._namespace = Version()
            old, self._entries = self._entries, {}  # no value is dropped under the lock
            gone = self._begin_evictor()
            if self._settling:
                return  # it is in use: see rule 2
        gone.clear()
        old.clear()

    def _alive(self, key: str, now: float) -> MemoryEntry | None:
        entry = self._entries.get(key)
        if entry is None or now >= entry.usable_until:
            return None
        return None if any(version.dead for version in entry.versions) else entry

    def _versions_by_hand(self, tags: Iterable[str]) -> tuple[Version, ...]:
        return (BY_HAND_VERSION, *map(self._versions.get, tags)) if tags else ()

    def _supersede(self, name: str) -> bool:
        if not self._versions.supersede(name):
            return False
        self.generation += 1
        return True

    def _drop(self, entry: MemoryEntry) -> None:
        if self._entries.get(entry.key) is entry:
            gone = self._entries.pop(entry.key, None)
            if gone is not None:
                self._changes.append((gone, None))

    def _put(self, entry: MemoryEntry, now: float) -> None:
        self._note(entry, now)
        self._settle(now)

    def _note(self, entry: MemoryEntry, now: float) -> None:
        entries = self._entries
        old = entries.get(entry.key)
        if entry.usable_until > now:
            entries[entry.key] = entry
            self._changes.append((entry, old))
        elif old is not None:
            self._drop(old)

    # --- the evictor ------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Tell the evictor what has changed, unless this is a handler that came in between."""
        changes, most = self._changes, self.threshold
        while changes and not self._settling:
            self._settling = True
            try:
                while changes:
                    entry, old = changes.popleft()
                    self._tell(entry, old)
                    evictor = self._evictor
                    while most and evictor.size > most:
                        self._let_go(cast(MemoryEntry, evictor.evict(now)))
            except BaseException:  # a handler has raised, perhaps in the midst of a change
                self._begin_evictor()
                raise
            finally:
                self._settling = False

    def _tell(self, entry: MemoryEntry, old: MemoryEntry | None) -> None:
        evictor, entries, key = self._evictor, self._entries, entry.key
        if entries.get(key) is not entry:
            evictor.discard(entry)
        elif old is not None and evictor.has(old):
            evictor.replace(old, entry)
        elif not evictor.has(entry):
            evictor.add(entry)
        if old is not None and entries.get(key) is not old:
            evictor.discard(old)
        if entries.get(key) is not entry and evictor.has(entry):
            self._changes.append((entry, None))  # it went in the meantime

    def _let_go(self, chosen: MemoryEntry) -> None:
        """Drop an entry that the evictor has chosen, and knows no more."""
        entries = self._entries
        if entries.get(chosen.key) is chosen:
            gone = entries.pop(chosen.key, None)
            if gone is not None and gone is not chosen:  # a handler has just stored it
                self._changes.append((gone, None))

    def _begin_evictor(self) -> Evictor:
        """Begin a new evictor, which is told all that there is; the old one."""
        old, self._evictor = self._evictor, Evictor(self.threshold)
        self._changes.extend([(entry, None) for entry in list(self._entries.values())])
        return old

    def forget_parent(self) -> None:
        """A child inherits the entries, and a lock that may never be released."""
        self._lock, self._settling = threading.RLock(), False
        self._begin_evictor()
        self._settle(0.0)
