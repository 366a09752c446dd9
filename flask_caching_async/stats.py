"""Counters of one cache on one app."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counters", "Stats"]


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
        served = self.hits + self.stale
        return served / (served + self.misses) if served + self.misses else 0.0


class Counters:
    """The counters themselves.

    A plain ``+=`` on a slot: under the GIL no other thread comes between its load and its store,
    and a count that is lost on a build without one does no harm.
    """

    __slots__ = ("hits", "stale", "misses", "waits", "computed", "failed", "stored", "rescued")

    def __init__(self) -> None:
        self.hits = self.stale = self.misses = self.waits = 0
        self.computed = self.failed = self.stored = self.rescued = 0

    def snapshot(self) -> Stats:
        """The counters as they are now."""
        return Stats(**{name: getattr(self, name) for name in self.__slots__})
