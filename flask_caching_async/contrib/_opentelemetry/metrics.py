"""Metrics: observable instruments, which look at the figures of this process when they are asked.

One set of them for all caches: an SDK does not take a second instrument of the same name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TypeAlias
from weakref import WeakKeyDictionary

from opentelemetry.metrics import (
    CallbackOptions,
    Meter,
    MeterProvider,
    Observation,
    get_meter,
    get_meter_provider,
)

from ...stats import StatsByUse, UseStats
from .._sources import Figures

__all__ = ["COUNTERS", "GAUGES", "SCOPE", "Told", "told_by"]

#: The scope of all that is made here.
SCOPE = "flask_caching_async"

#: Figures, and the attributes that tell them apart from others.
Told: TypeAlias = tuple[Figures, dict[str, str]]

#: Values with their attributes.
Measured: TypeAlias = Callable[[StatsByUse], Iterable[tuple[float, dict[str, str]]]]


def _use(use: UseStats) -> dict[str, str]:
    return {"flask_caching.kind": use.kind, "flask_caching.function": use.name}


def _each(value_of: Callable[[UseStats], float]) -> Measured:
    """One value of each use."""
    return lambda found: [(value_of(use), _use(use)) for use in found.values()]


def _requests(found: StatsByUse) -> Iterable[tuple[float, dict[str, str]]]:
    for use in found.values():
        for result, count in (("hit", use.hits), ("stale", use.stale), ("miss", use.misses)):
            yield count, {**_use(use), "flask_caching.result": result}


def _not_stored(found: StatsByUse) -> Iterable[tuple[float, dict[str, str]]]:
    for use in found.values():
        for cause, count in use.not_stored.items():
            yield count, {**_use(use), "flask_caching.cause": cause}


def _of_backend(value_of: Callable[[StatsByUse], float]) -> Measured:
    return lambda found: [(value_of(found), {"flask_caching.backend": found.backend.name})]


COUNTERS: dict[str, tuple[str, str, Measured]] = {
    "flask_caching.requests": ("Calls that the cache was asked about.", "{request}", _requests),
    "flask_caching.not_stored": (
        "Values that were not stored, and calls that bypassed the cache.", "{value}", _not_stored
    ),
    "flask_caching.computed": (
        "Functions whose duration is in flask_caching.compute.time.", "{call}",
        _each(lambda use: use.compute.count),
    ),
    "flask_caching.compute.time": (
        "How long functions took, all together.", "s", _each(lambda use: use.compute.total)
    ),
    "flask_caching.failed": (
        "Functions that were called and raised.", "{call}", _each(lambda use: use.failed)
    ),
    "flask_caching.rescued": (
        "Errors that were answered with an older value.", "{error}", _each(lambda use: use.rescued)
    ),
    "flask_caching.waits": (
        "Misses that waited for another caller's computation.", "{request}",
        _each(lambda use: use.waits),
    ),
    "flask_caching.stored": ("Values that were stored.", "{value}", _each(lambda use: use.stored)),
    "flask_caching.stored.size": (
        "About the bytes of all values that were stored.", "By", _each(lambda use: use.size)
    ),
    "flask_caching.refreshes": (
        "Computations in the background, or by refresh().", "{call}",
        _each(lambda use: use.refreshes),
    ),
    "flask_caching.invalidations": (
        "Deletions.", "{deletion}", _each(lambda use: use.invalidations)
    ),
    "flask_caching.backend.errors": (
        "Operations of the backend that failed.", "{error}",
        _of_backend(lambda found: found.backend.errors),
    ),
}  # fmt: skip

GAUGES: dict[str, tuple[str, str, Measured]] = {
    "flask_caching.breaker.open": (
        "1 while the backend is left alone.", "1",
        _of_backend(lambda found: int(found.backend.is_open)),
    ),
    "flask_caching.pending_invalidations": (
        "Keys and tags that are still to be deleted.", "{name}",
        _of_backend(lambda found: len(found.backend.pending)),
    ),
}  # fmt: skip


class _Global:
    """Stands for the global provider, which may be set later than a cache is seen."""


_GLOBAL = _Global()

#: Whose figures the instruments of each provider tell, and with which attributes.
_told: WeakKeyDictionary[MeterProvider | _Global, list[Told]] = WeakKeyDictionary()


def told_by(provider: MeterProvider | None) -> list[Told]:
    """Whose figures a provider's instruments tell; they are made when they are first asked for.

    They cannot be removed again, but have nothing to tell of an empty list.

    :param provider: ``None`` for the global one.
    """
    is_global = provider is None or provider is get_meter_provider()
    key = _GLOBAL if provider is None or is_global else provider
    if key not in _told:
        _told[key] = []
        _measure(get_meter(SCOPE, meter_provider=None if is_global else provider), _told[key])
    return _told[key]


def _measure(meter: Meter, figures: list[Told]) -> None:
    for name, (text, unit, measured) in COUNTERS.items():
        observe = functools.partial(_observe, measured, figures)
        meter.create_observable_counter(name, [observe], unit, text)
    for name, (text, unit, measured) in GAUGES.items():
        observe = functools.partial(_observe, measured, figures)
        meter.create_observable_gauge(name, [observe], unit, text)


def _observe(
    measured: Measured, all_told: list[Told], options: CallbackOptions
) -> Iterable[Observation]:
    for figures, own in list(all_told):
        found = figures.look()
        if found is not None:
            for value, attributes in measured(found):
                yield Observation(value, {**own, **attributes})
