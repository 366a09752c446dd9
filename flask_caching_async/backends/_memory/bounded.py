"""Entries in memory, as many as may be, and the evictor that says which one leaves.

All of it but reading happens under the lock. That is reentrant, for a handler that uses the cache
may come in between at any step: that of a signal, or a ``__del__`` when the garbage collector runs
or an old value is dropped. Rules that a change must keep:

1. ``entries`` says what there is. Each step that changes it is one call of a dict, so that a
   handler finds it whole; what was decided before such a step is looked at again after it.
2. The evictor is told by the outermost caller. A handler that comes in between there only notes a
   change, and the outermost caller settles all that is noted. What is noted is an entry, not what
   happened to it: whether it belongs there is looked up then, so that order does not matter.

The frame of that stands in each method that changes entries: as a function which is given the step,
it takes a fifth of a ``set``.
"""

from __future__ import annotations

import threading
from collections import deque

from ..._entries.entry import Thaw
from ...typing import Value
from .entry import MemoryEntry
from .eviction import Evictor, Node

__all__ = ["BoundedEntries"]


class BoundedEntries:
    """A bounded map from keys to entries.

    :param threshold: the most entries it holds; 0 for no bound.
    """

    def __init__(self, threshold: int) -> None:
        self.entries: dict[str, MemoryEntry] = {}
        self.threshold = threshold
        self._evictor = Evictor(threshold)
        #: Entries that have come or gone, with what they replaced; the evictor is yet to know.
        self._changes: deque[tuple[MemoryEntry, MemoryEntry | None]] = deque()
        self._settling = False
        #: Whether somebody decides by which entry is there: no handler may change its value then.
        self._exact = False
        self._lock = threading.RLock()

    def __len__(self) -> int:
        with self._lock:  # a store adds one before it evicts another
            return len(self.entries)

    def snapshot(self) -> list[MemoryEntry]:
        """All entries that are there now, also those that have expired; for an inspection."""
        with self._lock:
            return list(self.entries.values())

    def _put(self, entry: MemoryEntry, now: float) -> None:
        key, entries, evictor = entry.key, self.entries, self._evictor
        if entry.usable_until <= now:
            if (old := entries.get(key)) is not None:
                self._drop(old)
        elif self._settling:
            old = entries.get(key)
            entries[key] = entry
            self._changes.append((entry, old))
        else:
            # What _settle does, for this one: each entry that is stored comes by here.
            try:
                self._settling = True
                old = entries.get(key)
                entries[key] = entry
                if old is not None and evictor.has(old):
                    evictor.replace(old, entry)
                else:
                    evictor.add(entry)
                    if evictor.size > self.threshold > 0:
                        self._let_go(evictor.evict(now))
            except BaseException:  # a handler has raised
                self._begin_evictor()
                raise
            finally:
                self._settling = False
        if self._changes:
            self._settle(now)

    def _overwrite(
        self, held: MemoryEntry, kept: Value, thaw: Thaw | None, now: float, until: float
    ) -> bool:
        """Set a value that replaces another one of its kind, in the same entry; whether it was.

        A reader, who takes no lock, may see the old times with the new value: whichever he goes by,
        the answer is one that he could have had. A handler that comes in between stores an entry.
        """
        if held.versions or held.thaw is not thaw or self._settling or self._exact:
            return False
        if not now < held.usable_until or until <= now:
            return False
        try:
            self._settling = True
            held.kept, held.created, held.fresh_until = kept, now, until
            self._evictor.reschedule(held, until)
        except BaseException:  # a handler has raised
            self._begin_evictor()
            raise
        finally:
            self._settling = False
        if self._changes:
            self._settle(now)
        return self.entries.get(held.key) is held

    def _swap(self, held: MemoryEntry | None, entry: MemoryEntry, now: float) -> bool:
        """Store an entry in the place of another one, or of none; whether that was still so."""
        entries, key, settling = self.entries, entry.key, self._settling
        try:
            self._settling = True
            if held is None:
                there = entries.setdefault(key, entry)
            else:
                # In one line, in which nothing is called, so that no handler comes in between.
                there = entries[key] = entry if entries[key] is held else entries[key]
        except KeyError:
            return False
        finally:
            self._settling = settling
        if there is not entry:
            return False
        self._changes.append((entry, held))
        self._settle(now)
        return True

    def _drop(self, entry: MemoryEntry) -> None:
        if self.entries.get(entry.key) is entry:
            gone = self.entries.pop(entry.key, None)
            if gone is not None:
                self._changes.append((gone, None))

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
                        self._let_go(evictor.evict(now))
            except BaseException:  # a handler has raised, perhaps in the midst of a change
                self._begin_evictor()
                raise
            finally:
                self._settling = False

    def _tell(self, entry: MemoryEntry, old: MemoryEntry | None) -> None:
        evictor, entries, key = self._evictor, self.entries, entry.key
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

    def _let_go(self, chosen: Node) -> None:
        """Drop an entry that the evictor has chosen, and knows no more."""
        entries = self.entries
        if entries.get(chosen.key) is chosen:
            gone = entries.pop(chosen.key, None)
            if gone is not None and gone is not chosen:  # a handler has just stored it
                self._changes.append((gone, None))

    def _begin_evictor(self) -> Evictor:
        """Begin a new evictor, which is told all that there is; the old one."""
        old, self._evictor = self._evictor, Evictor(self.threshold)
        self._changes.extend([(entry, None) for entry in list(self.entries.values())])
        return old

    def forget_parent(self) -> None:
        """A child inherits the entries, and a lock that may never be released."""
        self._lock, self._settling, self._exact = threading.RLock(), False, False
        self._begin_evictor()
        self._settle(0.0)
