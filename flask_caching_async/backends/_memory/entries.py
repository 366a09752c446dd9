"""Entries in memory: objects instead of bytes, stamps as objects instead of tokens.

An entry holds the stamps it was stored with, and an invalidation marks a stamp dead: O(1), and
nothing has to be looked up on a hit but one number. ``era`` counts the invalidations; an entry that
was checked in the current era needs no further look at its stamps.

Reads take no lock. A reader that races with an invalidation either sees the new era, or began
before the invalidation returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from ..._entries.times import Timetable
from .eviction import Evictor, Node

__all__ = ["Guard", "Kept", "Memory", "Stamp"]


class Stamp:
    """A token that entries and computations hold; dead once it has been invalidated."""

    __slots__ = ("dead", "__weakref__")

    def __init__(self) -> None:
        self.dead = False


class Kept(Node):
    """An entry in memory; has the attributes of :class:`.Entry`."""

    __slots__ = ("value", "thaw", "created", "fresh_until", "stamps", "era")

    def __init__(
        self,
        key: str,
        value: Any,
        thaw: Callable[[Any], Any] | None,
        times: Timetable,
        stamps: tuple[Stamp, ...],
        era: int,
    ) -> None:
        super().__init__(key, times.usable_until)
        self.value = value
        self.thaw = thaw
        self.created = times.created
        self.fresh_until = times.fresh_until
        self.stamps = stamps
        self.era = era

    def open(self) -> Any:
        """The value, never one that somebody else can mutate."""
        return self.value if self.thaw is None else self.thaw(self.value)


class Guard:
    """What must still stand when a computation ends: its key's mark, and the entry's stamps."""

    __slots__ = ("mark", "stamps")

    def __init__(self, mark: tuple[Stamp, ...], stamps: tuple[Stamp, ...]) -> None:
        self.mark = mark
        self.stamps = stamps

    def stands(self) -> bool:
        """Whether nothing has been invalidated since."""
        return not any(stamp.dead for stamp in self.mark + self.stamps)


class Memory:
    """A bounded map from keys to :class:`Kept` entries.

    :param threshold: the most entries it holds; 0 for no bound.
    """

    def __init__(self, threshold: int) -> None:
        self.era = 0
        self._kept: dict[str, Kept] = {}
        self._stamps: WeakValueDictionary[str, Stamp] = WeakValueDictionary()
        self._space = Stamp()
        self._threshold = threshold
        self._evictor = Evictor(threshold)
        # Reentrant: the garbage collector may run a user's __del__ here, which may use the cache.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def peek(self, key: str) -> Kept | None:
        """The entry of ``key`` unless it was invalidated; its time is not looked at."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.era != self.era and not self._still_stands(kept):
            return None
        kept.visited = True
        return kept

    def _still_stands(self, kept: Kept) -> bool:
        era = self.era  # read first: what is invalidated from here on is seen next time
        for stamp in kept.stamps:
            if stamp.dead:
                with self._lock:
                    self._drop(kept)
                return False
        kept.era = era
        return True

    def guard(self, key: str, stamps: Iterable[str]) -> Guard:
        """The mark of ``key`` and the stamps of that name; created where they are missing."""
        with self._lock:
            mark = (self._space, self._stamp("k:" + key))
            return Guard(mark, tuple([self._stamp(name) for name in stamps]))

    def _stamp(self, name: str) -> Stamp:
        stamp = self._stamps.get(name)
        if stamp is None:
            stamp = self._stamps[name] = Stamp()
        return stamp

    def fill(
        self,
        key: str,
        value: Any,
        thaw: Callable[[Any], Any] | None,
        times: Timetable,
        guard: Guard,
    ) -> bool:
        """Store a computed value if its guard stands; whether it was stored."""
        with self._lock:
            if not guard.stands():
                return False
            self._store(Kept(key, value, thaw, times, guard.stamps, self.era), times.created)
            return True

    def put(
        self,
        items: Sequence[tuple[str, Any, Callable[[Any], Any] | None]],
        times: Timetable,
        stamps: Iterable[str] = (),
    ) -> None:
        """Store values as a user sets them: computations that are under way lose."""
        with self._lock:
            tied = tuple([self._stamp(name) for name in stamps]) if stamps else ()
            for key, value, thaw in items:
                self._kill("k:" + key)
                self._store(Kept(key, value, thaw, times, tied, self.era), times.created)

    def add(
        self,
        key: str,
        value: Any,
        thaw: Callable[[Any], Any] | None,
        times: Timetable,
        stamps: Iterable[str] = (),
    ) -> bool:
        """Store unless a living entry has the key."""
        with self._lock:
            if self._alive(key, times.created) is not None:
                return False
            tied = tuple([self._stamp(name) for name in stamps])
            self._store(Kept(key, value, thaw, times, tied, self.era), times.created)
            return True

    def update(self, key: str, change: Callable[[Any], Any], times: Timetable) -> Any:
        """Replace a number by ``change(number)``; a living entry keeps its time."""
        with self._lock:
            old = self._alive(key, times.created)
            value = change(None if old is None else old.open())
            if old is not None:
                times = Timetable(times.created, old.fresh_until, old.usable_until)
            self._kill("k:" + key)
            stamps = () if old is None else old.stamps
            self._store(Kept(key, value, None, times, stamps, self.era), times.created)
            return value

    def expel(self, keys: Iterable[str], stamps: Iterable[str], now: float) -> list[str]:
        """Delete keys and invalidate stamps; the keys that were alive."""
        with self._lock:
            for name in stamps:
                self._kill(name)
            found = []
            for key in keys:
                self._kill("k:" + key)
                kept = self._kept.get(key)
                if kept is not None:
                    if self._alive(key, now) is not None:
                        found.append(key)
                    self._drop(kept)
            return found

    def clear(self) -> None:
        """Forget everything, and let no computation that is under way store."""
        with self._lock:
            self._space.dead = True
            self._space = Stamp()
            self._kept.clear()
            self._evictor.clear()

    def _alive(self, key: str, now: float) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None or now >= kept.usable_until:
            return None
        return None if any(stamp.dead for stamp in kept.stamps) else kept

    def _kill(self, name: str) -> None:
        stamp = self._stamps.pop(name, None)
        if stamp is not None:
            stamp.dead = True
            self.era += 1

    def _drop(self, kept: Kept) -> None:
        if self._kept.get(kept.key) is kept:
            del self._kept[kept.key]
            self._evictor.remove(kept)

    def _store(self, kept: Kept, now: float) -> None:
        old = self._kept.get(kept.key)
        if kept.usable_until <= now:
            if old is not None:
                self._drop(old)
            return
        self._kept[kept.key] = kept
        if old is not None:
            self._evictor.replace(old, kept)
            return
        self._evictor.add(kept)
        while self._threshold and len(self._evictor) > self._threshold:
            victim = self._evictor.evict(now)
            del self._kept[victim.key]

    def forget_parent(self) -> None:
        """A child inherits the entries, and a lock that nobody may ever release."""
        self._lock = threading.RLock()
        self._evictor = Evictor(self._threshold)
        for kept in self._kept.values():
            self._evictor.add(kept)
