"""Refreshes that fail in the background: tried again after a while, and then after a longer one."""

from __future__ import annotations

import contextlib

__all__ = ["Backoff"]

#: Seconds before the second attempt, and the most before any later one; each doubles the last.
FIRST, MOST = 1.0, 60.0
#: How many failing keys are remembered.
BOUND = 10_000


class Backoff:
    """The keys whose last refresh failed (truncated exponential backoff)."""

    def __init__(self) -> None:
        self._failing: dict[str, tuple[int, float]] = {}

    def ready(self, key: str, now: float) -> bool:
        """Whether it is time for another attempt.

        :param now: seconds since the epoch.
        """
        failing = self._failing.get(key)
        return failing is None or now >= failing[1]

    def failed(self, key: str, now: float) -> bool:
        """An attempt failed; whether it was the first in a row."""
        failures = self._failing.pop(key, (0, 0.0))[0]
        while len(self._failing) >= BOUND:
            with contextlib.suppress(RuntimeError):  # another thread or a handler has added one
                self._failing.pop(next(iter(self._failing)), None)
        self._failing[key] = (failures + 1, now + min(FIRST * 2 ** min(failures, 10), MOST))
        return failures == 0

    def worked(self, key: str) -> bool:
        """An attempt succeeded; whether the one before it had failed."""
        return self._failing.pop(key, None) is not None
