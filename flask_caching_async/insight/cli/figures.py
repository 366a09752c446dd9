"""``flask cache stats``: what each view and function has done, over all workers."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Mapping

import click

from ...exceptions import BackendError
from ...stats import CAUSES, Counters, StatsByUse, Timings, UseStats
from ...typing import Value
from .apps import Target
from .interrupting import Repetition
from .output import duration, elapsed, note, one_line, say, say_json, table
from .running import of_cache, perform

__all__ = ["stats"]

#: Seconds from one look to the next, if ``--watch`` says no other.
INTERVAL = 2.0

HEADING = (
    *("name", "kind", "calls", "hit %", "misses", "stale", "waits", "stored", "not stored"),
    *("compute", "p95", "hit"),
)
#: What stands there where nothing was measured, or asked.
NOTHING = "-"


@click.command("stats")
@click.option("--json", "as_json", is_flag=True, help="For programs: times in seconds.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=INTERVAL,
    metavar="[SECONDS]",
    help=f"Look again and again, each {INTERVAL:.0f} seconds or as given, until Ctrl-C.",
)
@click.option("--reset", is_flag=True, help="Count from now on, in all workers.")
@of_cache
def stats(target: Target, as_json: bool, watch: float | None, reset: bool) -> None:
    """Show what views and functions have done.

    The figures are those of all workers that share the backend, where it is shared. With --json and
    --watch, each look is one line.
    """
    if reset:
        perform(target, functools.partial(_reset, target))
        note("Counting begins anew.")
    if watch is not None:
        _watch(target, as_json, watch)
    elif not reset:
        _show(target, as_json)


async def _reset(target: Target) -> None:
    """Let all workers count from now on.

    :raises BackendError: if the backend could not tell them.
    """
    if not await target.cache.areset_stats():
        health = await target.cache.aping()
        why = health.error or "another process is changing them; try again"
        raise BackendError(f"{target.described} could not reset the figures: {why}")


def _look(target: Target) -> StatsByUse:
    """The figures of all workers.

    :raises BackendError: if the backend does not give them. Then an app is given its own instead;
        those of a command say nothing.
    """
    return perform(target, functools.partial(_figures, target))


async def _figures(target: Target) -> StatsByUse:
    found = await target.cache.ashared_stats()
    if not found.workers and target.binding.sharing is not None:
        health = await target.cache.aping()
        if not health:
            raise BackendError(f"{target.described} has not given the figures: {health.error}")
    return found


def _show(target: Target, as_json: bool, **layout: Value) -> None:
    found = _look(target)
    if as_json:
        say_json(data_of(target, found), **layout)
    else:
        _write(target, found)


def _watch(target: Target, as_json: bool, interval: float) -> None:
    """Look again and again; a backend that fails after the first look may come back."""
    seen, looks = False, Repetition()
    with looks.until_interrupted():
        while not looks.has_ended:
            if not as_json:
                click.clear()  # on a terminal only
            try:
                _show(target, as_json, **({"indent": None} if as_json else {}))
                seen = True
            except BackendError as error:
                if not seen:
                    raise
                say(one_line(str(error)), err=True, fg="red")
            if not as_json:
                say()
            looks.pause(interval)


# --- for people -----------------------------------------------------------------------------------


def _write(target: Target, found: StatsByUse) -> None:
    backend, pending = found.backend, len(found.backend.pending)
    place = f" at {backend.where}" if backend.where else ""
    say(f"{target.name}: {one_line(backend.name + place)}", bold=True)
    state = "open: the backend is left alone" if backend.is_open else "closed"
    waiting = f", {pending} deletions pending" if pending else ""
    say(f"breaker {state}, {backend.errors} errors of the backend{waiting}")
    say(f"since {_moment(found.since)}, {_of_workers(target, found)}")
    if not found:
        say("Nothing has used this cache yet.")
        return
    say()
    heading, *rows = table([HEADING, *_rows(found.values())], left=2)
    say(heading, bold=True)
    for row in rows:
        say(row)
    _write_causes(found)


def _moment(since: float) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))
    return f"{when} ({elapsed(max(time.time() - since, 0))} ago)"


def _of_workers(target: Target, found: StatsByUse) -> str:
    if not found.workers:
        return "in this process" if target.binding.sharing is None else "no worker is running"
    names = ", ".join(one_line(worker.name) for worker in found.workers)
    many = f"{len(found.workers)} workers are" if len(found.workers) > 1 else "1 worker is"
    return f"{many} running: {names}"


def _rows(uses: Iterable[UseStats]) -> Iterator[tuple[str, ...]]:
    uses = list(uses)
    yield from map(_row, uses)
    yield _row(_total(uses), "")


def _row(use: UseStats, kind: str | None = None) -> tuple[str, ...]:
    compute, hit = use.compute, use.hit
    return (
        use.name,
        use.kind if kind is None else kind,
        *(str(use.calls), f"{use.hit_ratio * 100:.1f}" if use.calls else NOTHING),
        *(str(n) for n in (use.misses, use.stale, use.waits, use.stored)),
        str(sum(use.not_stored.values())),
        duration(compute.mean) if compute.count else NOTHING,
        duration(compute.percentile(95)) if compute.count else NOTHING,
        duration(hit.mean) if hit.count else NOTHING,
    )


def _total(uses: list[UseStats]) -> UseStats:
    """All uses together, as one."""
    numbers = {name: sum(getattr(use, name) for use in uses) for name in Counters.NUMBERS}
    causes = {c: sum(use.not_stored.get(c, 0) for use in uses) for c in CAUSES}
    return UseStats(
        "explicit",
        "total",
        **numbers,
        not_stored={cause: count for cause, count in causes.items() if count},
        compute=_together(use.compute for use in uses),
        hit=_together(use.hit for use in uses),
    )


def _together(several: Iterable[Timings]) -> Timings:
    several, buckets = list(several), dict[float, int]()
    for timings in several:
        for bound, count in timings.buckets:
            buckets[bound] = buckets.get(bound, 0) + count
    return Timings(sum(timings.total for timings in several), tuple(sorted(buckets.items())))


def _write_causes(found: StatsByUse) -> None:
    """Say of each use why it was not stored; the causes that are most often first."""
    causes = [
        (name, str(count), cause, CAUSES.get(cause, ""))
        for name, use in found.items()
        for cause, count in sorted(use.not_stored.items(), key=lambda item: -item[1])
    ]
    if causes:
        say()
        say("Not stored, or past the cache:", bold=True)
        for line in table([(name, f"{n} x", *more) for name, n, *more in causes], left=4):
            say(f"  {line}")


# --- for programs ---------------------------------------------------------------------------------


def data_of(target: Target, found: StatsByUse) -> Mapping[str, Value]:
    """The same figures as they stand in JSON; seconds throughout."""
    backend = found.backend
    return {
        "cache": target.name,
        "since": found.since,
        "backend": {
            "name": backend.name,
            "where": backend.where,
            "errors": backend.errors,
            "breaker_open": backend.is_open,
            "pending": list(backend.pending),
        },
        "workers": [
            {"name": worker.name, "started": worker.started, "seen": worker.seen}
            for worker in found.workers
        ],
        "total": _data_of_use(_total(list(found.values()))),
        "uses": [_data_of_use(use) for use in found.values()],
    }


def _data_of_use(use: UseStats) -> dict[str, Value]:
    return {
        "name": use.name,
        "kind": use.kind,
        "calls": use.calls,
        "hit_ratio": use.hit_ratio,
        **{name: getattr(use, name) for name in Counters.NUMBERS},
        "not_stored": dict(use.not_stored),
        "compute": _data_of_timings(use.compute),
        "hit": _data_of_timings(use.hit),
    }


def _data_of_timings(timings: Timings) -> dict[str, float]:
    percentiles = {f"p{n}": timings.percentile(n) for n in (50, 95, 99)}
    return {
        "count": timings.count, "total": timings.total, "mean": timings.mean, **percentiles
    }  # fmt: skip
