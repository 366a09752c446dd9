"""Metrics and spans for OpenTelemetry.

::

    from flask_caching_async.contrib.opentelemetry import instrument

    cache.init_app(app)
    instrument(cache)

Each process has a resource of its own there, so the metrics are those of this process. Spans are
around computations, and around the operations of a backend that is a server or a folder. A hit in
memory has none, and costs what it did.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from .._frameworks import App
from ..binding import EXTENSION, Binding
from ..cache import Cache
from ..exceptions import ConfigurationError, not_initialized
from ._opentelemetry.metrics import SCOPE, Told, told_by
from ._opentelemetry.spans import Computation, place_of, watched_steps
from ._sources import Figures, Source, named_source

# After our own, which say so if the package is missing.
from opentelemetry import trace  # isort: skip
from opentelemetry.metrics import MeterProvider  # isort: skip
from opentelemetry.trace import TracerProvider  # isort: skip

__all__ = ["instrument", "uninstrument"]

#: The caches that are seen.
_instrumented: dict[Cache, Instrumentation] = {}


def instrument(
    cache: Cache,
    *,
    app: App | None = None,
    name: str | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Let OpenTelemetry see a cache, on all apps that it was set up for by now.

    :param app: one app that is meant alone.
    :param name: what its spans and metrics say in ``flask_caching.cache``; by default the name of
        the cache.
    :param tracer_provider: by default the global one.
    :param meter_provider: by default the global one.
    :raises NotInitializedError: if the cache was not set up for any app yet.
    :raises ConfigurationError: if it is instrumented already, or not set up for ``app``.
    """
    source = named_source(cache, app, name)
    if cache in _instrumented:
        raise ConfigurationError(f"the cache {source.name!r} is instrumented already")
    apps = list(cache._apps) if app is None else [app]
    if not apps:
        raise not_initialized()
    tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
    _instrumented[cache] = Instrumentation(source, apps, tracer, meter_provider)


def uninstrument(cache: Cache) -> None:
    """Let OpenTelemetry see nothing of a cache any more; nothing happens if it sees nothing."""
    made = _instrumented.pop(cache, None)
    if made is not None:
        made.end()


class Instrumentation:
    """What OpenTelemetry sees of one cache."""

    def __init__(
        self,
        source: Source,
        apps: Iterable[App],
        tracer: trace.Tracer,
        meter_provider: MeterProvider | None,
    ) -> None:
        self.bindings: list[Binding] = [app.extensions[EXTENSION][source.cache] for app in apps]
        self.told = told_by(meter_provider)
        self.by: list[Told] = []
        for binding in self.bindings:
            own = {"flask_caching.cache": source.name}
            around = functools.partial(Computation, tracer, source.name)
            steps = functools.partial(watched_steps, tracer, {**place_of(binding), **own})
            binding.engines._first.watch.set(around, steps)
            if len(self.bindings) > 1:
                own["flask_caching.app"] = binding.app_name
            self.by.append((Figures(source._replace(app=binding.app), shared=False), own))
        self.told += self.by

    def end(self) -> None:
        """No more spans, and no more figures."""
        for each in self.by:
            self.told.remove(each)
        for binding in self.bindings:
            binding.engines._first.watch.set(None, None)
