"""The counters of all uses of one cache on one app, in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

from .._runtime.fork import forgets_parent
from ..stats import (
    CAUSES,
    BackendStats,
    Counters,
    Kind,
    Stats,
    StatsByUse,
    Timings,
    UseStats,
    upper_bound,
)

__all__ = ["Figures", "Ledger", "use_stats"]

#: How many uses are counted one by one; a name that is made anew for each request would fill the
#: memory.
USES = 1000
#: What all further ones are counted as.
OTHERS = "(others)"


class Figures(NamedTuple):
    """The figures of one use, as numbers that can be added and subtracted."""

    numbers: tuple[int, ...]
    not_stored: tuple[int, ...]
    #: Nanoseconds, and how many durations are in each bucket.
    compute: tuple[int, tuple[int, ...]]
    hit: tuple[int, tuple[int, ...]]

    def minus(self, other: Figures) -> Figures:
        """What was counted since ``other``."""
        return self._joined(other, -1)

    def plus(self, other: Figures) -> Figures:
        """Both together."""
        return self._joined(other, 1)

    def _joined(self, other: Figures, sign: int) -> Figures:
        def join(ours: tuple[int, ...], theirs: tuple[int, ...]) -> tuple[int, ...]:
            return tuple([a + sign * b for a, b in zip(ours, theirs, strict=True)])

        return Figures(
            join(self.numbers, other.numbers),
            join(self.not_stored, other.not_stored),
            (self.compute[0] + sign * other.compute[0], join(self.compute[1], other.compute[1])),
            (self.hit[0] + sign * other.hit[0], join(self.hit[1], other.hit[1])),
        )


def _figures(counters: Counters) -> Figures:
    """What has been counted until now."""
    return Figures(
        tuple([getattr(counters, name) for name in Counters.NUMBERS]),
        tuple(counters.not_stored.values()),
        (counters.compute.total, tuple(counters.compute.buckets)),
        (counters.hit.total, tuple(counters.hit.buckets)),
    )


#: Nothing at all.
ZERO = _figures(Counters("explicit", ""))


def _timings(total: int, buckets: tuple[int, ...]) -> Timings:
    filled = [(upper_bound(n), count) for n, count in enumerate(buckets) if count]
    return Timings(total / 1e9, tuple(filled))


def use_stats(kind: Kind, name: str, figures: Figures) -> UseStats:
    """The figures of one use as users look at them."""
    numbers = dict(zip(Counters.NUMBERS, figures.numbers, strict=True))
    causes = {c: n for c, n in zip(CAUSES, figures.not_stored, strict=True) if n}
    return UseStats(
        kind,
        name,
        **numbers,
        not_stored=MappingProxyType(causes),
        compute=_timings(*figures.compute),
        hit=_timings(*figures.hit),
    )


class Ledger:
    """The counters of all uses of one cache on one app, in this process.

    They only ever grow: what :meth:`reset` does is to remember where they were, since nothing could
    be set to 0 between the two halves of an addition.

    :param backend: how the backend is now.
    """

    def __init__(self, backend: Callable[[], BackendStats]) -> None:
        self.backend = backend
        self.since = time.time()
        self._uses: dict[tuple[Kind, str], Counters] = {}
        self._baseline: dict[tuple[Kind, str], Figures] = {}
        self._lock = threading.RLock()  # reentrant, for handlers
        self.deletes = self.of("explicit", "delete")
        self.gets, self.sets = self.of("explicit", "get"), self.of("explicit", "set")
        self.get_or_sets = self.of("explicit", "get_or_set")
        forgets_parent(self)

    def forget_parent(self) -> None:
        """In a forked child: another thread may have held the lock."""
        self._lock = threading.RLock()

    def of(self, kind: Kind, name: str) -> Counters:
        """The counters of a use."""
        found = self._uses.get((kind, name))
        return self._begin(kind, name) if found is None else found

    def _begin(self, kind: Kind, name: str) -> Counters:
        with self._lock:
            if len(self._uses) >= USES:
                name = OTHERS
            found = self._uses.get((kind, name))
            if found is None:
                found = self._uses[kind, name] = Counters(kind, name)
            return found

    def figures(self) -> dict[tuple[Kind, str], Figures]:
        """All that has been counted in this process, whether it was reset since or not."""
        with self._lock:
            uses = list(self._uses.items())
        return {use: _figures(counters) for use, counters in uses}

    def since_reset(self) -> dict[tuple[Kind, str], Figures]:
        """What has been counted since the last reset."""
        base = self._baseline
        return {use: f.minus(base.get(use, ZERO)) for use, f in self.figures().items()}

    def totals(self) -> Stats:
        """What decorated functions, fragments and ``get_or_set`` have done together."""
        left_out = [("explicit", name) for name in ("get", "set", "delete")]
        rows = [f.numbers[:8] for use, f in self.since_reset().items() if use not in left_out]
        return Stats(*map(sum, zip(*rows, strict=True)))

    def by_use(self) -> StatsByUse:
        """The figures of each use that has done anything."""
        found = self.since_reset()
        rows = tuple([use_stats(*use, f) for use, f in found.items() if f != ZERO])
        return StatsByUse(rows, self.since, self.backend())

    def reset(self) -> None:
        """Count from here on."""
        self._baseline, self.since = self.figures(), time.time()
