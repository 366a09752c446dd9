"""The numbers of the page: for its table, and as JSON for the script that keeps them alive.

All are sums since counting began; what happened between two moments is made of two answers, by the
script.
"""

from __future__ import annotations

import operator
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from ..._frameworks.asking import Colour
from ...stats import CAUSES, StatsByUse, Timings, UseStats
from ...typing import Value
from ..health import Health

__all__ = ["COLUMNS", "Cause", "Column", "Row", "as_json", "causes_of", "rows_of", "state_of"]
__all__ += ["figures_of", "hit_ratio", "totals_of"]

#: What JSON can have.
Json: TypeAlias = Value

#: What operations by hand are left out of totals, as in ``cache.stats()``: a ``get`` computes
#: nothing where it finds nothing.
BY_HAND = ("get", "set", "delete")
#: How many functions are named with a cause.
NAMED = 4


class Column(NamedTuple):
    """One column of the table.

    :param form: how its numbers are written: the name of a function of ``units.py``, or ``name``.
    :param help: what it means, in a sentence.
    """

    key: str
    title: str
    form: str
    help: str


COLUMNS = (
    Column("name", "Name", "name", "The view, function, fragment or operation"),
    Column("calls", "Calls", "count", "Calls that the cache was asked about"),
    Column("ratio", "Hit rate", "percent", "The share of calls answered from the cache"),
    Column("hits", "Hits", "count", "Calls answered from a fresh entry"),
    Column("stale", "Stale", "count", "Calls answered from a stale entry, refreshed meanwhile"),
    Column("misses", "Misses", "count", "Calls that found nothing to be answered with at once"),
    Column("computed", "Computed", "count", "Times that the function was called, and returned"),
    Column("failed", "Failed", "count", "Times that the function was called, and raised"),
    Column("unstored", "Not stored", "count", "Values not stored, and calls past the cache"),
    Column("hit", "Hit p95", "duration", "95 % of the hits that were measured took no longer"),
    Column("compute", "Computed p95", "duration", "95 % of the computations took no longer"),
    Column("size", "Stored", "size", "Bytes of all that was stored, one after the other"),
)


class Row(NamedTuple):
    """One use of the cache in the table; its fields are the keys of the columns."""

    kind: str
    name: str
    calls: int
    ratio: float | None
    hits: int
    stale: int
    misses: int
    computed: int
    failed: int
    unstored: int
    hit: float | None
    compute: float | None
    size: int


class Cause(NamedTuple):
    """Why something was not stored.

    :param text: a sentence for people.
    :param uses: where, the most frequent first.
    """

    cause: str
    text: str
    number: int
    uses: tuple[str, ...]


async def figures_of(cache: Value, colour: Colour) -> StatsByUse:
    """The figures of all workers; those of this one if the backend is down, or left alone."""
    own: StatsByUse = cache.stats(by="function")
    if own.backend.is_open:
        return own
    try:
        shared: StatsByUse = await colour.of_cache("shared_stats")
    except Exception:  # of the driver; how the backend is stands on the page
        return own
    return shared


def _row(use: UseStats) -> Row:
    return Row(
        use.kind,
        use.name,
        use.calls,
        use.hit_ratio if use.calls else None,
        use.hits,
        use.stale,
        use.misses,
        use.computed,
        use.failed,
        sum(use.not_stored.values()),
        use.hit.percentile(95) or None,
        use.compute.percentile(95) or None,
        use.size,
    )


def rows_of(stats: StatsByUse, sort: str = "", down: bool = True) -> list[Row]:
    """The rows of the table.

    :param sort: the key of the column by which they are sorted; else by calls.
    :param down: whether the largest comes first.
    """
    rows = [_row(use) for use in stats.values()]
    sort = sort if sort in Row._fields else "calls"
    found = [row for row in rows if getattr(row, sort) is not None]
    found.sort(key=operator.attrgetter("name"))
    found.sort(key=operator.attrgetter(sort), reverse=down)
    return found + [row for row in rows if getattr(row, sort) is None]  # unknown: last, always


def _counted(stats: StatsByUse) -> Iterable[UseStats]:
    return (use for use in stats.values() if use.kind != "explicit" or use.name not in BY_HAND)


def totals_of(stats: StatsByUse) -> dict[str, int]:
    """The sums over all uses, as ``cache.stats()`` has them, and how much was not stored."""
    names = ("hits", "stale", "misses", "waits", "computed", "failed", "stored", "rescued")
    uses = list(_counted(stats))
    totals = {name: sum([getattr(use, name) for use in uses]) for name in names}
    totals["unstored"] = sum([sum(use.not_stored.values()) for use in uses])
    totals["calls"] = totals["hits"] + totals["stale"] + totals["misses"]
    return totals


def hit_ratio(totals: dict[str, int]) -> float | None:
    """The share of calls that were answered from the cache, 0.0 to 1.0; ``None`` without any."""
    calls = totals["calls"]
    return (totals["hits"] + totals["stale"]) / calls if calls else None


def causes_of(uses: Iterable[UseStats]) -> list[Cause]:
    """Why values were not stored, the most frequent cause first."""
    sums: Counter[str] = Counter()
    where: dict[str, Counter[str]] = {}
    for use in uses:
        for cause, number in use.not_stored.items():
            sums[cause] += number
            where.setdefault(cause, Counter())[use.name] += number
    return [
        Cause(c, CAUSES.get(c, c), n, tuple([name for name, _ in where[c].most_common(NAMED)]))
        for c, n in sums.most_common()
    ]


def _merged(timings: Iterable[Timings]) -> Json:
    """Durations of all uses together: their sum in seconds, and how many are below each bound."""
    total, buckets = 0.0, Counter[float]()
    for timing in timings:
        total += timing.total
        for bound, number in timing.buckets:
            buckets[bound] += number
    return {"total": total, "buckets": sorted(buckets.items())}


def state_of(health: Health) -> tuple[str, str]:
    """How the backend is, in a word and in a sentence."""
    if health.is_open:
        return "open", "left alone after failures: the circuit breaker is open"
    if not health.ok:
        return "down", "does not answer"
    return "ok", "answers"


def as_json(stats: StatsByUse, health: Health) -> Json:
    """All that the script shows."""
    uses, (state, text) = list(_counted(stats)), state_of(health)
    return {
        "now": time.time(),
        "since": stats.since,
        "totals": totals_of(stats),
        "hit": _merged(use.hit for use in uses),
        "compute": _merged(use.compute for use in uses),
        "rows": [row._asdict() for row in rows_of(stats)],
        "causes": [cause._asdict() for cause in causes_of(stats.values())],
        "backend": {
            "state": state,
            "name": health.backend,
            "text": text,
            "seconds": health.seconds,
            "errors": stats.backend.errors,
            "pending": max(health.pending, len(stats.backend.pending)),
            "error": health.error,
        },
        "workers": [worker_json for worker_json in map(_worker, stats.workers)],
    }


def _worker(worker: Value) -> Json:
    return {"name": worker.name, "started": worker.started, "seen": worker.seen}
