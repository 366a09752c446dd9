"""How figures are written down for other processes: JSON, of numbers and names only.

A *member* is a process that shares its figures: its record has all that it has counted. The *index*
names the members, and has the figures of those that have ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from ..stats import BUCKETS, CAUSES, Counters, Kind
from .ledger import Figures

__all__ = ["ByUse", "Index", "Member", "added", "read_index", "read_member"]

Record = TypeVar("Record")

#: The figures of each use.
ByUse: TypeAlias = dict[tuple[Kind, str], Figures]

#: How many names of those that were taken for ended are kept.
GONE = 200
#: The layout of what is written; what has another one is not read.
LAYOUT = 1


class Member(NamedTuple):
    """One process.

    :param epoch: that of the index when it counted: figures of another one were reset.
    :param seen: when it wrote this, in seconds since the epoch of time.
    :param interval: seconds after which it writes again.
    :param errors: operations of the backend that failed.
    """

    name: str
    epoch: str
    started: float
    seen: float
    interval: float
    errors: int
    uses: ByUse

    def is_gone(self, now: float) -> bool:
        """Whether it has not written for so long that it must have ended."""
        return now - self.seen > max(60.0, 10 * self.interval)

    def is_working(self, now: float) -> bool:
        """Whether it has written lately."""
        return now - self.seen <= 3 * self.interval + 5

    def dumps(self) -> str:
        """As it is written."""
        return json.dumps([LAYOUT, *self[:-1], _plain(self.uses)], separators=(",", ":"))


class Index(NamedTuple):
    """All processes.

    :param epoch: changes when the figures are reset; later ones sort after earlier ones.
    :param version: how many changes there have been in this epoch.
    :param since: when that was, in seconds since the epoch of time.
    :param gone: who was taken for ended, and may only have slept.
    :param errors: of those that have ended.
    :param uses: what those that have ended had counted.
    """

    epoch: str
    version: int
    since: float
    members: tuple[str, ...]
    gone: tuple[str, ...]
    errors: int
    uses: ByUse

    def dumps(self) -> str:
        """As it is written."""
        return json.dumps([LAYOUT, *self[:-1], _plain(self.uses)], separators=(",", ":"))

    def with_member(self, name: str) -> Index:
        """The index with one more member."""
        if name in self.members:
            return self
        return self._replace(version=self.version + 1, members=(*self.members, name))

    def is_before(self, other: Index | None) -> bool:
        """Whether another index has what came later."""
        return other is not None and self[:2] < other[:2]

    def without(self, name: str, member: Member | None) -> Index:
        """The index after a member has ended, with what that had counted."""
        left = self._replace(
            version=self.version + 1,
            members=tuple([m for m in self.members if m != name]),
            gone=(*self.gone, name)[-GONE:],
        )
        if member is None or member.epoch != self.epoch:
            return left
        return left._replace(uses=added(self.uses, member.uses), errors=self.errors + member.errors)


def added(one: ByUse, other: ByUse) -> ByUse:
    """Both together."""
    total = dict(one)
    for use, figures in other.items():
        total[use] = total[use].plus(figures) if use in total else figures
    return total


def _plain(uses: ByUse) -> list[Any]:
    def histogram(total: int, buckets: tuple[int, ...]) -> list[Any]:
        return [total, [[n, count] for n, count in enumerate(buckets) if count]]

    return [
        [
            *use,
            figures.numbers,
            {cause: n for cause, n in zip(CAUSES, figures.not_stored, strict=True) if n},
            histogram(*figures.compute),
            histogram(*figures.hit),
        ]
        for use, figures in uses.items()
    ]


def _uses(rows: Any) -> ByUse:
    def histogram(total: Any, filled: Any) -> tuple[int, tuple[int, ...]]:
        buckets = [0] * BUCKETS
        for n, count in filled:
            buckets[n] = int(count)
        return int(total), tuple(buckets)

    found: ByUse = {}
    for kind, name, numbers, causes, compute, hit in rows:
        counts = tuple(map(int, numbers))
        if len(counts) != len(Counters.NUMBERS):
            raise ValueError("figures of another version")
        not_stored = tuple([int(causes.get(cause, 0)) for cause in CAUSES])
        figures = Figures(counts, not_stored, histogram(*compute), histogram(*hit))
        found[cast(Kind, str(kind)), str(name)] = figures
    return found


def _read(raw: object, fields: int, make: Callable[..., Record]) -> Record | None:
    """The record that was written; ``None`` for what we did not write, or in another layout."""
    if not isinstance(raw, str):
        return None
    try:
        layout, *rest = json.loads(raw)
        if layout != LAYOUT or len(rest) != fields:
            return None
        return make(*rest[:-1], _uses(rest[-1]))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return None


def read_member(raw: object) -> Member | None:
    """The record of a process; ``None`` if it is none."""

    def made(name: Any, epoch: Any, started: Any, seen: Any, *rest: Any) -> Member:
        interval, errors, uses = rest
        times = float(started), float(seen), float(interval)
        return Member(str(name), str(epoch), *times, int(errors), uses)

    return _read(raw, len(Member._fields), made)


def read_index(raw: object) -> Index | None:
    """The index; ``None`` if it is none."""

    def made(epoch: Any, version: Any, since: Any, members: Any, gone: Any, *rest: Any) -> Index:
        names = tuple(map(str, members)), tuple(map(str, gone))
        return Index(str(epoch), int(version), float(since), *names, int(rest[0]), rest[1])

    return _read(raw, len(Index._fields), made)
