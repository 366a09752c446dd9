"""What a cache has done: the counters of one use of it, and the snapshots that users look at.

A *use* is one view, one memoized function, one fragment of a template, or an operation by hand. It
has counters of its own, so that a hit counts itself with one addition, as it would in a total.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

__all__ = [
    "CAUSES",
    "BackendStats",
    "Counters",
    "Histogram",
    "Kind",
    "Stats",
    "StatsByUse",
    "Timings",
    "UseStats",
    "Worker",
    "bucket_of",
    "upper_bound",
]

#: What uses a cache.
Kind: TypeAlias = Literal["view", "function", "fragment", "explicit"]

#: Why a value was not stored, or a call bypassed the cache, by the word that counts it.
CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "personal": "it was made from what belongs to one visitor",
        "set-cookie": "the answer sets a cookie",
        "cache-control": "the answer says that it is private, or not to be stored",
        "status": "the answer is an error, or a part",
        "streamed": "the answer is a stream",
        "vary": "the answer was made from something else each time",
        "variants": "there are too many variants of its page",
        "filter": "response_filter said no",
        "none": "it is None, and cache_none is not set",
        "too-large": "the server does not take a value of this size",
        "unserializable": "no serializer takes it",
        "overtaken": "it was deleted, or set, while it was computed",
        "timeout": "its own timeout is over at once",
        "backend": "the backend failed, or was left alone",
        "null": "CACHE_TYPE is NullCache",
        "unless": "unless said that the call bypasses the cache",
        "method": "the request asks for no page",
        "key": "an argument, or what makes the key, has no text",
        "callback": "a callback failed",
    }
)


@dataclass(frozen=True, slots=True)
class Stats:
    """What a cache has done since its app was set up, in this process.

    :param hits: calls answered from a fresh entry.
    :param stale: calls answered from a stale entry while a refresh ran in the background.
    :param misses: calls that found nothing they could be answered with at once.
    :param waits: of the misses, those that waited for another caller's computation, also in another
        process.
    :param computed: functions that were called and returned.
    :param failed: functions that were called and raised.
    :param stored: computed values that were stored.
    :param rescued: errors that were answered with an older value.
    """

    hits: int
    stale: int
    misses: int
    waits: int
    computed: int
    failed: int
    stored: int
    rescued: int

    @property
    def hit_ratio(self) -> float:
        """The share of calls that were answered from the cache, 0.0 to 1.0."""
        return _ratio(self.hits + self.stale, self.misses)


def _ratio(served: int, misses: int) -> float:
    return served / (served + misses) if served + misses else 0.0


# --- durations ------------------------------------------------------------------------------------

#: Each power of two has this many buckets; a percentile is off by less than an eighth.
STEPS = 4
#: How many buckets there are: up to 2**42 ns, which is 73 minutes.
SHIFTS = 42 - 3
BUCKETS = SHIFTS * STEPS + STEPS


def bucket_of(nanoseconds: int) -> int:
    """The bucket of a duration: its highest bit, and the two that follow it.

    The layout is that of Gil Tene's HdrHistogram (with two significant bits): fixed in size, so
    that those of several processes can be added.
    """
    nanoseconds = max(nanoseconds, 4)
    shift = nanoseconds.bit_length() - 3
    return min(shift * STEPS + (nanoseconds >> shift) - STEPS, BUCKETS - 1)


def upper_bound(bucket: int) -> float:
    """The seconds that all durations of a bucket are below."""
    shift, step = divmod(bucket, STEPS)
    return ((step + STEPS + 1) << shift) / 1e9


class Histogram:
    """Durations, in buckets of a fixed number."""

    __slots__ = ("total", "buckets")

    def __init__(self) -> None:
        #: The sum of all durations, in nanoseconds.
        self.total = 0
        self.buckets = [0] * BUCKETS

    def note(self, nanoseconds: int) -> None:
        """Count a duration."""
        shift = nanoseconds.bit_length() - 3
        if 0 < shift < SHIFTS:  # `bucket_of` without a call, for a miss
            self.buckets[shift * STEPS + (nanoseconds >> shift) - STEPS] += 1
        else:
            self.buckets[bucket_of(nanoseconds)] += 1
        self.total += nanoseconds


@dataclass(frozen=True, slots=True)
class Timings:
    """How long something took, as a histogram of a fixed size.

    :param total: seconds, of all of them together.
    :param buckets: upper bounds in seconds, rising, each with the number of durations between the
        one before and it. Only those that hold any.
    """

    total: float = 0.0
    buckets: tuple[tuple[float, int], ...] = ()

    @property
    def count(self) -> int:
        """How many durations were measured."""
        return sum(count for _, count in self.buckets)

    @property
    def mean(self) -> float:
        """Seconds on average; 0.0 if nothing was measured."""
        count = self.count
        return self.total / count if count else 0.0

    def percentile(self, percent: float) -> float:
        """Seconds that ``percent`` of the durations do not exceed, an eighth too many at most.

        :param percent: 0 to 100; 50 is the median.
        :returns: 0.0 if nothing was measured.
        :raises ValueError: if it is no percentage.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is one of 0 to 100, not {percent!r}")
        wanted, seen = self.count * percent / 100, 0
        for bound, count in self.buckets:
            seen += count
            if seen >= wanted:
                return bound
        return 0.0


# --- one use of a cache ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UseStats:
    """What one view, function, fragment or operation by hand has done.

    Its first eight numbers are those of :class:`Stats`.

    :param kind: ``"view"``, ``"function"`` (memoized), ``"fragment"`` (of a template) or
        ``"explicit"`` (``get``, ``set``, ``delete`` and ``get_or_set``).
    :param name: the module and the name of the function, the name or the place of the fragment, or
        the name of the operation.
    :param refreshes: computations in the background, or by ``refresh()``.
    :param invalidations: deletions of its values: all, some, or one.
    :param size: about the bytes of all values that were stored, one after the other.
    :param not_stored: how many values were not stored, or calls bypassed the cache, by cause (see
        :data:`CAUSES`).
    :param compute: how long the function took.
    :param hit: how long hits took. Over a server all of them are measured; in memory, where
        measuring would take a good part of a hit, the first after each computation and after each
        look at the statistics.
    """

    kind: Kind
    name: str
    hits: int = 0
    stale: int = 0
    misses: int = 0
    waits: int = 0
    computed: int = 0
    failed: int = 0
    stored: int = 0
    rescued: int = 0
    refreshes: int = 0
    invalidations: int = 0
    size: int = 0
    not_stored: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    compute: Timings = Timings()
    hit: Timings = Timings()

    @property
    def calls(self) -> int:
        """How many calls the cache was asked about."""
        return self.hits + self.stale + self.misses

    @property
    def hit_ratio(self) -> float:
        """The share of calls that were answered from the cache, 0.0 to 1.0."""
        return _ratio(self.hits + self.stale, self.misses)


@dataclass(frozen=True, slots=True)
class BackendStats:
    """How the backend is, as this process sees it, and how often it failed.

    :param name: the class.
    :param where: its server or folder, without passwords; empty for memory.
    :param errors: operations that failed.
    :param is_open: whether its circuit breaker is open, so that it is left alone.
    :param pending: names of what is to be deleted as soon as it answers again.
    """

    name: str
    where: str = ""
    errors: int = 0
    is_open: bool = False
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that shares its figures.

    :param name: host and number of the process.
    :param started: when it began to count, in seconds since the epoch.
    :param seen: when it last shared its figures.
    """

    name: str
    started: float
    seen: float


class StatsByUse(Mapping[str, UseStats]):
    """A frozen snapshot of the figures of each use, by its name.

    Where two uses have one name, as a function that is both cached and memoized, the second is
    found as ``"name (kind)"``.

    :param since: when counting began, in seconds since the epoch.
    :param workers: the processes whose figures these are, as far as they share them.
    """

    __slots__ = ("_uses", "since", "backend", "workers")

    _uses: dict[str, UseStats]
    since: float
    backend: BackendStats
    workers: tuple[Worker, ...]

    def __init__(
        self,
        uses: Iterator[UseStats] | tuple[UseStats, ...],
        since: float,
        backend: BackendStats,
        workers: tuple[Worker, ...] = (),
    ) -> None:
        found: dict[str, UseStats] = {}
        for use in sorted(uses, key=lambda use: (-use.calls, use.name, use.kind)):
            name = use.name if use.name not in found else f"{use.name} ({use.kind})"
            found[name] = use
        for slot, value in (
            ("_uses", found), ("since", since), ("backend", backend), ("workers", workers),
        ):  # fmt: skip
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a snapshot is frozen: {name} cannot be set")

    def __getitem__(self, name: str) -> UseStats:
        try:
            return self._uses[name]
        except KeyError:
            near = difflib.get_close_matches(str(name), self._uses, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise KeyError(f"nothing called {name!r} has used this cache{meant}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._uses)

    def __len__(self) -> int:
        return len(self._uses)

    def __repr__(self) -> str:
        return f"<StatsByUse of {', '.join(self) or 'nothing'}>"


# --- counting -------------------------------------------------------------------------------------


class Counters:
    """The counters of one use.

    A plain ``+=`` on a slot or an item: the interpreter lets another thread run only at a call or a
    jump, and none lies between its load and its store.
    """

    NUMBERS = (
        *("hits", "stale", "misses", "waits", "computed", "failed", "stored", "rescued"),
        *("refreshes", "invalidations", "size"),
    )

    __slots__ = (
        *("hits", "stale", "misses", "waits", "computed", "failed", "stored", "rescued"),
        *("refreshes", "invalidations", "size"),
        *("kind", "name", "not_stored", "compute", "hit", "unstored"),
    )
    #: How many keys are remembered whose values were not stored.
    REMEMBERED = 100

    def __init__(self, kind: Kind, name: str) -> None:
        self.kind = kind
        self.name = name
        self.hits = self.stale = self.misses = self.waits = 0
        self.computed = self.failed = self.stored = self.rescued = 0
        self.refreshes = self.invalidations = self.size = 0
        self.not_stored = dict.fromkeys(CAUSES, 0)
        self.compute = Histogram()
        self.hit = Histogram()
        #: Why the last value of a key was not stored: cause and text.
        self.unstored: dict[str, tuple[str, str]] = {}

    def remember(self, key: str, why: tuple[str, str]) -> None:
        """Remember why the last value of a key was not stored."""
        if len(self.unstored) >= self.REMEMBERED:
            self.unstored.clear()
        self.unstored[key] = why
