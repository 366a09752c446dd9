"""Where an exporter has its figures from: caches on apps, by the names that tell them apart."""

from __future__ import annotations

import copy
import threading
import time
from typing import NamedTuple

from .._frameworks import App
from .._runtime.fork import forgets_parent
from .._runtime.loops import running_loop_kind
from .._runtime.threads import in_worker
from ..binding import EXTENSION
from ..cache import Cache
from ..exceptions import CacheError, ConfigurationError, NotInitializedError, not_initialized
from ..stats import StatsByUse

__all__ = ["Figures", "Source", "named_source"]

#: Seconds for which figures that were read need not be read again.
RECENT = 1.0


class Source(NamedTuple):
    """One cache, on one of its apps.

    :param app: ``None`` for the app that was set up last.
    """

    name: str
    cache: Cache
    app: App | None

    def on_app(self) -> Cache:
        """The cache, which is on that app wherever it is asked.

        :raises NotInitializedError: as long as it is not set up for it.
        """
        app = self.cache.app if self.app is None else self.app
        binding = None if app is None else app.extensions.get(EXTENSION, {}).get(self.cache)
        if binding is None:
            raise not_initialized(app)
        view = copy.copy(self.cache)
        view._only = view._last = binding
        return view


def named_source(cache: Cache, app: App | None, name: str | None) -> Source:
    """A source with the name that is given, or else with that of the cache.

    :raises ConfigurationError: if the cache is none, or was not set up for that app.
    """
    if not isinstance(cache, Cache):
        raise ConfigurationError(f"figures are those of a Cache, not of {cache!r}")
    if app is not None and cache not in app.extensions.get(EXTENSION, {}):
        raise ConfigurationError(f"that cache was not set up for {app!r}: call init_app() first")
    return Source(str(name or getattr(cache, "name", None) or "cache"), cache, app)


class Figures:
    """The figures of one source, which are read without blocking an event loop.

    :param shared: whether those of all workers that share the backend.
    """

    def __init__(self, source: Source, shared: bool) -> None:
        self.source, self.shared = source, shared
        self._last: StatsByUse | None = None
        self._at = float("-inf")
        self._reading = threading.Lock()
        forgets_parent(self)

    def forget_parent(self) -> None:
        """In a forked child, no thread of the parent goes on reading."""
        self._reading = threading.Lock()

    def look(self) -> StatsByUse | None:
        """The figures now; ``None`` as long as the cache is not set up.

        On an event loop, where reading would block: those that were read last, or else those of
        this process. They are read again by a worker thread, for the next look.
        """
        try:
            cache = self.source.on_app()
        except NotInitializedError:
            return None
        if not self.shared:
            return cache.stats(by="function")
        if running_loop_kind() is None or _is_memory(cache):
            return self._read(cache)
        if time.monotonic() - self._at > RECENT:
            in_worker(lambda: self._read_alone(cache))
        return self._with_state_of(cache.stats(by="function"))

    async def aread(self) -> None:
        """Read them, so that the next look on this loop finds these."""
        try:
            cache = self.source.on_app()
            found = await cache.ashared_stats() if self.shared else None
        except CacheError:  # a look says what there is
            return
        if found is not None:
            self._keep(found)

    def _read_alone(self, cache: Cache) -> None:
        """Read them, unless another thread is at it."""
        if self._reading.acquire(blocking=False):
            try:
                self._read(cache)
            finally:
                self._reading.release()

    def _read(self, cache: Cache) -> StatsByUse:
        try:
            return self._keep(cache.shared_stats())
        except CacheError:  # the backend is down
            return self._with_state_of(cache.stats(by="function"))

    def _keep(self, found: StatsByUse) -> StatsByUse:
        if self._last is not None and self._last.workers and not found.workers:
            return self._with_state_of(found)  # of this process alone: the others do not answer
        self._last, self._at = found, time.monotonic()
        return found

    def _with_state_of(self, own: StatsByUse) -> StatsByUse:
        """The figures that are known, with what this process knows of the backend.

        Not its own figures in their place: totals that fell would look like a restart, and their
        return like a burst of requests.
        """
        last = self._last
        if last is None:
            return own
        return StatsByUse(tuple(last.values()), last.since, own.backend, last.workers)


def _is_memory(cache: Cache) -> bool:
    """Whether reading figures is no I/O."""
    engine = cache._binding().engines.sole
    return engine is not None and engine.store.direct is not None
