"""What a backend may honestly be unable to do, and how its tests treat time."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from unittest import SkipTest

from ...backends.base import BaseCache
from ..clock import FakeClock

__all__ = ["Abilities", "needs"]

#: What each serializer can do, JSON too.
PLAIN: tuple[Any, ...] = (
    *(0, 1, -1, 2**63, -(2**70), True, False, 0.0, -1.5, 1e300),
    *("", "text", "12", "!", "Grüße, 世界 🎉", "line\r\nline\0", "\t"),
    *([], [1, [2, [3]], None], {}, {"a": {"b": [{"c": None}]}, "é": 1}),
)

NOON = dt.datetime(2026, 2, 3, 12, 0, 0, 123456)

#: What pickle can do, too.
ALL: tuple[Any, ...] = (
    *PLAIN,
    *(b"", b"bytes", b"12", b"!", bytes(range(256)), bytearray(b"x"), 1j, Decimal("1.10")),
    *((), (1,), (1, ("a", [2])), {1: (2, {3}), (4, 5): None}, {1}, frozenset({"a"})),
    *(NOON, NOON.replace(tzinfo=dt.UTC), NOON.date(), dt.timedelta(0, 1, 2)),
)


class Abilities:
    """Class attributes of the kit. A subclass changes those that its backend cannot keep."""

    #: Whether values end with their timeouts.
    expires = True
    #: Whether that is by a clock that cannot be set: a server's, or ``time.time``. Otherwise the
    #: kit replaces ``backend.clock``.
    expires_in_real_time = False
    #: The shortest timeout that the backend can tell, in seconds.
    short_timeout: float = 1
    #: Values that come back equal and of the same types.
    values: Sequence[Any] = ALL
    #: Those of them that JSON can do.
    plain_values: Sequence[Any] = PLAIN
    #: Whether nobody can change what is stored by mutating what was set or got.
    copies_values = True
    #: Whether ``add`` and ``inc`` have one winner, and lose no count, between threads.
    atomic = True
    #: Whether ``delete`` says if the key existed, and ``delete_many`` also names what was missing.
    reports_deletions = True
    #: Whether ``clear`` can remove everything, and says so.
    clears = True
    #: The shortest life of a lease that the backend can tell, in seconds.
    lease_life = 0.5

    @contextmanager
    def passing_time(self, backend: BaseCache) -> Iterator[Callable[[float], None]]:
        """A function that lets time pass."""
        if self.expires_in_real_time:
            yield time.sleep
            return
        own = vars(backend).get("clock")
        backend.clock = clock = FakeClock()
        try:
            yield clock.advance
        finally:
            if own is None:
                del backend.clock
            else:
                backend.clock = own


def needs(ability: bool, what: str) -> None:
    """Skip the test of a backend that does not have an ability.

    :raises unittest.SkipTest: which pytest understands, too.
    """
    if not ability:
        raise SkipTest(f"the backend {what}")
