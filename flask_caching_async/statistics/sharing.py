"""The figures of all processes that share a backend.

Each process is a *member*: every few seconds a thread of its own writes all that it has counted
under a key that no other process writes. The *index* names the members, and keeps what those that
have ended had counted; it is only changed when one begins or ends, under a lock. Figures are the
sum of all.

What a member writes is not what came since it wrote last, but everything, so nothing that is lost
on the way is missing for longer than until it writes again: ``clear()`` and evictions, for example.
Who finds no index writes the one that he saw last. A process that is killed loses what it had not
written yet; another one adds the rest to the index a minute later.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace

from .._runtime.fork import begin_in_child
from ..backends._versioned.contract import new_token
from ..backends.base import BaseCache
from ..stats import BackendStats, StatsByUse, Worker
from ..typing import Value
from .index_lock import IndexLock
from .ledger import ZERO, Ledger, use_stats
from .record import ByUse, Index, Member, added, read_index, read_member

__all__ = ["Sharing"]

log = logging.getLogger("flask_caching_async")

#: Seconds that records live without being written again.
LIFE = 30 * 24 * 3600
#: How many times a member writes between two looks for those that have ended.
LOOK = 12
#: Seconds that the end of the program may spend on it.
SHUTDOWN = 2.0


class Sharing:
    """What one process knows of the figures of all.

    :param ledger: what this process has counted.
    :param backend: without the prefix of any tenant. It is asked past the store: what fails here is
        nothing that a visitor has asked for, and is neither logged nor made up for.
    :param condition: how the backend is.
    :param name: tells apart the caches and apps that share a backend.
    :param interval: seconds between two writes.
    """

    def __init__(
        self,
        ledger: Ledger,
        backend: BaseCache,
        condition: Callable[[], BackendStats],
        name: str,
        interval: float,
    ) -> None:
        self.ledger, self.interval = ledger, interval
        self._backend, self._condition = backend, condition
        self._index_key = f"~stats~{name}"
        self._index_lock = IndexLock(
            backend, f"{self._index_key}:lock", lambda: condition().is_open
        )
        self._lock = threading.RLock()  # reentrant, for handlers
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self._begin_anew({})
        _all.add(self)

    def _begin_anew(self, base: ByUse) -> None:
        """Be a new member, that has counted nothing yet.

        :param base: what was counted before, and is not its own.
        """
        self._id, self._started = new_token(), time.time()
        self._base = self._written = base
        self._errors = self._condition().errors if base else 0
        self._seen: Index | None = None
        self._writes = 0

    # --- the thread -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Share from here on; called by whatever shows that this process serves."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._end.is_set():
                    self._thread = threading.Thread(
                        target=_share, args=(weakref.ref(self), self._end, self.interval),
                        name="flask-caching-async-stats", daemon=True,
                    )  # fmt: skip
                    self._thread.start()

    @property
    def has_begun(self) -> bool:
        """Whether this process shares its figures."""
        return self._thread is not None

    def in_child(self) -> None:
        """In a forked child, what was counted until now is the parent's."""
        self._lock = threading.RLock()  # reentrant, for handlers
        began, self._thread = self._thread is not None, None
        self._end = threading.Event()
        self._begin_anew(self.ledger.figures())
        if began:
            self.begin()

    def flush(self) -> None:
        """Write what this process has counted."""
        with self._lock:
            if not self._condition().is_open:
                self._flush()

    def leave(self) -> None:
        """Let the index have what this process has counted: it ends."""
        self._end.set()
        if self._thread is None:
            return
        with self._lock:
            if not self._condition().is_open:
                self._leave()

    # --- figures ----------------------------------------------------------------------------------

    def _mine(self) -> ByUse:
        """What this member has counted."""
        base = self._base
        found = {use: f.minus(base.get(use, ZERO)) for use, f in self.ledger.figures().items()}
        return {use: figures for use, figures in found.items() if figures != ZERO}

    def _member(self, epoch: str) -> Member:
        name, errors = f"{socket.gethostname()}:{os.getpid()}", self._condition().errors
        what = (self._started, time.time(), self.interval, errors - self._errors)
        return Member(name, epoch, *what, self._mine())

    def _others(self) -> tuple[Index | None, list[Member]] | None:
        """The index and the other members; ``None`` where the backend does not answer."""
        if self._condition().is_open:
            return None
        try:
            index = read_index(self._get(self._index_key)[0]) or self._seen
            names = [] if index is None else [n for n in index.members if n != self._id]
            raws = self._get(*map(self._key, names)) if names else []
        except Exception as error:
            log.debug("the figures of others could not be read: %r", error)
            return None
        return index, [member for member in map(read_member, raws) if member is not None]

    def read(self) -> StatsByUse:
        """The figures of all members; where the backend does not answer, those of this process.

        Then there are no ``workers``.
        """
        others = self._others()
        index, members = (None, []) if others is None else others
        mine = self._member("" if index is None else index.epoch)
        own_is_shared = index is None or self._seen is None or self._seen.epoch == index.epoch
        uses, errors = (mine.uses, mine.errors) if own_is_shared else ({}, 0)
        if index is not None:
            uses, errors = added(uses, index.uses), errors + index.errors
            for member in members:
                if member.epoch == index.epoch:
                    uses, errors = added(uses, member.uses), errors + member.errors
        now = time.time()
        working = [mine] if self.has_begun and others is not None else []
        working += [member for member in members if member.is_working(now)]
        return StatsByUse(
            tuple([use_stats(*use, figures) for use, figures in uses.items()]),
            self.ledger.since if index is None else index.since,
            replace(self._condition(), errors=errors),
            tuple([Worker(m.name, m.started, m.seen) for m in working]),
        )

    # --- keys and the lock ------------------------------------------------------------------------

    def _get(self, *keys: str) -> list[Value]:
        return self._backend.get_many(*keys)

    def _set(self, key: str, text: str) -> bool:
        return self._backend.set(key, text, LIFE) is not False

    def _key(self, name: str) -> str:
        return f"{self._index_key}:{name}"

    def _index(self) -> Index | None:
        """The index as it is stored; the one that was seen last, if that is a newer one."""
        found, seen = read_index(self._get(self._index_key)[0]), self._seen
        return seen if found is None or found.is_before(seen) else found

    def _write(self, index: Index) -> bool:
        stored = self._set(self._index_key, index.dumps())
        if stored:
            self._seen = index
        return bool(stored)

    # --- writing ----------------------------------------------------------------------------------

    def _flush(self) -> bool:
        """Write this member's record; whether that was done."""
        index = stored = read_index(self._get(self._index_key)[0])
        seen = self._seen
        if (
            stored is None
            or seen is None
            or stored.epoch != seen.epoch
            or stored.is_before(seen)
            or self._id not in stored.members
        ):
            index = self._join()
        if index is None:
            return False
        self._seen, figures = index, self.ledger.figures()
        record = self._member(index.epoch)
        if not self._set(self._key(self._id), record.dumps()):
            return False
        self._written = figures
        self._writes += 1
        if self._writes % LOOK == 0:
            self._retire(index)
        return True

    def _join(self) -> Index | None:
        """Be in the index; ``None`` if that could not be done now."""
        if not self._index_lock.take(self._id):
            return None
        try:
            now = time.time()
            index = self._index()
            if index is None:
                index = Index(f"{now:017.6f}{self._id}", 0, now, (), (), 0, {})
            seen = self._seen
            if seen is not None and index.epoch != seen.epoch:  # the figures were reset
                self._base, self._errors = self._written, self._condition().errors
            elif self._id in index.gone:
                # It was taken for ended: all that it had written is in the index.
                self._begin_anew(self._written)
            index = index.with_member(self._id)
            return index if self._write(index) else None
        finally:
            self._index_lock.give_back()

    def _retire(self, index: Index) -> None:
        """Let the index have the figures of members that have ended without a word."""
        now, names = time.time(), [name for name in index.members if name != self._id]
        raws = self._get(*map(self._key, names)) if names else []
        members = {name: read_member(raw) for name, raw in zip(names, raws, strict=True)}
        gone = [name for name, m in members.items() if m is not None and m.is_gone(now)]
        if not gone or not self._index_lock.take(self._id):
            return
        try:
            found = self._index()
            left = [] if found is None else [name for name in gone if name in found.members]
            if found is not None and left:
                for name in left:
                    found = found.without(name, members[name])
                if self._write(found):
                    self._backend.delete_many(*map(self._key, left))
        finally:
            self._index_lock.give_back()

    def _leave(self) -> None:
        if not self._flush() or not self._index_lock.take(self._id):
            return
        try:
            index = self._index()
            if index is not None and self._id in index.members:
                left = index.without(self._id, self._member(index.epoch))
                if self._write(left):
                    self._backend.delete(self._key(self._id))
        finally:
            self._index_lock.give_back()

    def reset(self) -> bool:
        """Let all members count from here on; whether that could be told to them."""
        with self._lock:
            try:
                return not self._condition().is_open and self._reset()
            except Exception as error:
                log.debug("the figures of all could not be reset: %r", error)
                return False

    def _reset(self) -> bool:
        if not self._index_lock.take(self._id):
            return False
        try:
            now, found = time.time(), self._index()
            members = () if found is None else found.members
            epoch = f"{now:017.6f}{new_token()}"
            self._base = self._written = self.ledger.figures()
            self._errors = self._condition().errors
            return self._write(Index(epoch, 0, now, members, (), 0, {}))
        finally:
            self._index_lock.give_back()


def _share(sharing: weakref.ref[Sharing], end: threading.Event, interval: float) -> None:
    """Write every few seconds, as long as there is something to write for."""
    while not end.wait(interval):
        living = sharing()
        if living is None:
            return
        try:
            living.flush()
        except Exception as error:
            log.debug("the figures could not be shared: %r", error)
        del living


#: Those of all caches of this process.
_all: weakref.WeakSet[Sharing] = weakref.WeakSet()


@begin_in_child
def _begin_in_child() -> None:
    for sharing in list(_all):
        sharing.in_child()


@atexit.register
def _at_exit() -> None:
    deadline = time.monotonic() + SHUTDOWN
    for sharing in list(_all):
        if time.monotonic() < deadline:
            try:
                sharing.leave()
            except Exception as error:
                log.debug("the last figures could not be shared: %r", error)
