"""What a request demands of the cache (RFC 9111, 5.2.1); it counts with ``http="strict"`` alone.

Else anybody could make a view be called, as often as he likes.
"""

from __future__ import annotations

from typing import NamedTuple

from werkzeug.http import parse_cache_control_header
from werkzeug.sansio.request import Request

from .._entries.entry import AnyEntry

__all__ = ["Demand", "demand_of"]


class Demand(NamedTuple):
    """What a request demands.

    :param max_age: seconds that a page may be old; ``None`` for any age.
    :param only_stored: whether it would rather have an error than make the view be called.
    """

    max_age: float | None
    only_stored: bool

    def refuses(self, entry: AnyEntry | None, now: float) -> bool:
        """Whether a stored page is not good enough.

        :param now: seconds since the epoch.
        """
        if entry is None or self.max_age is None:
            return False
        return self.max_age == 0 or now - entry.created > self.max_age


def demand_of(request: Request) -> Demand | None:
    """What a request demands; ``None`` for nothing."""
    said = request.headers.get("Cache-Control")
    if said is None:
        if "no-cache" in request.headers.get("Pragma", "").lower():
            return Demand(0, False)
        return None
    told = parse_cache_control_header(said)
    only_stored = "only-if-cached" in told
    if "no-cache" in told:
        return Demand(0, only_stored)
    age = str(told.get("max-age", "")).strip()
    max_age = float(age) if age.isdecimal() else None
    return Demand(max_age, only_stored) if only_stored or max_age is not None else None
