"""Figures for Prometheus: a collector, which reads them when it is asked.

::

    from prometheus_client import REGISTRY

    from flask_caching_async.contrib.prometheus import CacheCollector

    REGISTRY.register(CacheCollector(cache))

The workers of a server share their figures by the cache's own backend, so that each of them answers
a scrape with the totals of all. Nothing is needed of prometheus-client's mode for several
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self, TypeAlias

from .._frameworks import App
from ..cache import Cache
from ..exceptions import ConfigurationError
from ..stats import StatsByUse, Timings, UseStats
from ._sources import Figures, named_source

try:
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
    from prometheus_client.samples import Exemplar
except ImportError as error:
    raise ConfigurationError(
        "figures for Prometheus need prometheus-client: pip install "
        '"flask-caching-async[prometheus]"'
    ) from error

__all__ = ["CacheCollector"]

Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily

#: What each metric of a use is labelled with.
USE = ("cache", "kind", "function")

#: Bounds in seconds: powers of two of nanoseconds, since each of them ends a bucket of ``Timings``.
COMPUTE_BOUNDS = tuple(
    2**n / 1e9 for n in (14, 16, 18, 20, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 34, 36)
)
HIT_BOUNDS = tuple(2**n / 1e9 for n in (10, 12, 14, 16, 18, 19, 20, 21, 22, 23, 24, 26, 28, 30))

#: Counters of a use that have no further label: what they count, and where it stands.
PLAIN: dict[str, tuple[str, Callable[[UseStats], int]]] = {
    "flask_caching_waits": (
        "Misses that waited for another caller's computation.",
        lambda use: use.waits,
    ),
    "flask_caching_failed": ("Functions that were called and raised.", lambda use: use.failed),
    "flask_caching_rescued": (
        "Errors that were answered with an older value.",
        lambda use: use.rescued,
    ),
    "flask_caching_stored": ("Values that were stored.", lambda use: use.stored),
    "flask_caching_stored_bytes": (
        "About the bytes of all values that were stored, one after the other.",
        lambda use: use.size,
    ),
    "flask_caching_refreshes": (
        "Computations in the background, or by refresh().",
        lambda use: use.refreshes,
    ),
    "flask_caching_invalidations": ("Deletions.", lambda use: use.invalidations),
}


class CacheCollector(Collector):
    """Gives Prometheus the figures of one cache, or of several.

    Labels are names of caches, functions and causes, never a key or what a visitor sent. A cache
    that is not set up yet has no figures.

    On an event loop, reading what other workers have shared would block it. There, a scrape is
    answered with what was read for the one before, or since; ``await collector.aread()`` first to
    have the newest.

    :param cache: a first cache; more by :meth:`add`.
    :param app: one of the apps that the cache was set up for; ``None`` for the last of them.
    :param name: the label ``cache``; by default the name of the cache.
    :param shared: whether the figures are those of all workers that share the backend. If not, they
        are those of the worker that answers the scrape, which then has to be scraped by itself.
    :raises ConfigurationError: for what is no cache, or is not set up for that app.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        app: App | None = None,
        name: str | None = None,
        shared: bool = True,
    ) -> None:
        self.shared = shared
        self._figures: dict[str, Figures] = {}
        self.add(cache, app=app, name=name)

    def add(self, cache: Cache, *, app: App | None = None, name: str | None = None) -> Self:
        """Give the figures of one more cache, or of the same one on another app.

        :returns: this collector.
        :raises ConfigurationError: if the name is that of another one.
        """
        source = named_source(cache, app, name)
        if source.name in self._figures:
            raise ConfigurationError(
                f"two caches are called {source.name!r} in the metrics: give one of them another "
                "label, as in add(cache, name='pages')"
            )
        self._figures[source.name] = Figures(source, self.shared)
        return self

    async def aread(self) -> None:
        """Read what other workers have shared, for a scrape on this loop."""
        for figures in self._figures.values():
            await figures.aread()

    def describe(self) -> Iterable[Metric]:
        """The metrics without figures: to register the collector asks nothing of the backend."""
        return [*_families().values(), *_histograms().values()]

    def collect(self) -> Iterable[Metric]:
        """The metrics."""
        families, histograms = _families(), _histograms()
        for name, figures in self._figures.items():
            found = figures.look()
            if found is not None:
                for use in found.values():
                    _add_use(families, (name, use.kind, use.name), use)
                    _add_timings(histograms, (name, use.kind, use.name), use)
                _add_backend(families, name, found)
        return [*families.values(), *histograms.values()]


def _histograms() -> dict[str, HistogramMetricFamily]:
    """The metrics that are histograms, without figures."""
    told = {"compute": "How long functions took.", "hit": "How long hits took."}
    return {
        what: HistogramMetricFamily(f"flask_caching_{what}_seconds", text, labels=USE)
        for what, text in told.items()
    }


def _families() -> dict[str, Family]:
    """The other metrics, without figures."""
    families: list[Family] = [
        CounterMetricFamily(
            "flask_caching_requests", "Calls that the cache was asked about.",
            labels=(*USE, "result"),
        ),
        CounterMetricFamily(
            "flask_caching_not_stored", "Values that were not stored, and calls that bypassed the "
            "cache.", labels=(*USE, "cause"),
        ),
        *(CounterMetricFamily(name, text, labels=USE) for name, (text, _) in PLAIN.items()),
        CounterMetricFamily(
            "flask_caching_backend_errors", "Operations of the backend that failed.",
            labels=("cache", "backend"),
        ),
        GaugeMetricFamily(
            "flask_caching_breaker_open", "1 while the backend is left alone.",
            labels=("cache", "backend"),
        ),
        GaugeMetricFamily(
            "flask_caching_pending_invalidations", "Keys and tags that are still to be deleted.",
            labels=("cache", "backend"),
        ),
        GaugeMetricFamily(
            "flask_caching_workers", "Processes that share their figures.", labels=("cache",)
        ),
    ]  # fmt: skip
    return {family.name: family for family in families}


def _add_use(families: dict[str, Family], labels: tuple[str, ...], use: UseStats) -> None:
    for result, count in (("hit", use.hits), ("stale", use.stale), ("miss", use.misses)):
        families["flask_caching_requests"].add_metric((*labels, result), count)
    for cause, count in use.not_stored.items():
        families["flask_caching_not_stored"].add_metric((*labels, cause), count)
    for name, (_, count_of) in PLAIN.items():
        families[name].add_metric(labels, count_of(use))


def _add_timings(
    histograms: dict[str, HistogramMetricFamily], labels: tuple[str, ...], use: UseStats
) -> None:
    for what, bounds, timings in (
        ("compute", COMPUTE_BOUNDS, use.compute),
        ("hit", HIT_BOUNDS, use.hit),
    ):
        if timings.count:
            histograms[what].add_metric(labels, _buckets(timings, bounds), timings.total)


def _add_backend(families: dict[str, Family], name: str, found: StatsByUse) -> None:
    backend = found.backend
    labels = (name, backend.name)
    families["flask_caching_backend_errors"].add_metric(labels, backend.errors)
    families["flask_caching_breaker_open"].add_metric(labels, int(backend.is_open))
    families["flask_caching_pending_invalidations"].add_metric(labels, len(backend.pending))
    families["flask_caching_workers"].add_metric((name,), max(len(found.workers), 1))


Bucket: TypeAlias = tuple[str, float] | tuple[str, float, Exemplar]


def _buckets(timings: Timings, bounds: tuple[float, ...]) -> list[Bucket]:
    """How many durations are below each bound, as Prometheus wants to have it."""
    found: list[Bucket] = []
    filled, seen = iter((*timings.buckets, (float("inf"), 0))), 0
    upper, count = next(filled)
    for bound in bounds:
        while upper <= bound:
            seen += count
            upper, count = next(filled)
        found.append((repr(bound), float(seen)))
    return [*found, ("+Inf", float(timings.count))]
