"""A clock that only moves when it is told to."""

from __future__ import annotations

from typing import Any

__all__ = ["FakeClock"]


class FakeClock:
    """A clock for caches under test.

    ::

        clock = FakeClock()
        clock.install(cache)
        clock.advance(60)

    :param now: seconds since the epoch at which it starts.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def install(self, cache: Any) -> None:
        """Make a cache on the current app tell the time by this clock.

        Entries of a foreign backend (cachelib's) also expire by that backend's own clock.
        """
        cache._binding().engine.store.backend.clock = self
