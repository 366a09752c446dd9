"""What one cache is to one app: settings, backend, store, flights, counters and host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import cachelib

from ._flow.drive import Engine
from ._flow.entry import Entry
from ._hosts import Host, pick
from ._workers import warn_of_many_workers
from .backends.base import BaseCache
from .backends.nullcache import NullCache
from .backends.simplecache import SimpleCache
from .config import Settings, adapted, build_backend, effective_config, serializer_of
from .exceptions import warn
from .stats import Counters
from .store import open_store

__all__ = ["Binding", "bind"]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Binding:
    """One cache on one app; frozen, so that no other app's set-up changes it.

    :param backend: what users see in ``app.extensions["cache"]``.
    :param peek: looks up an entry without a round trip, where the backend is memory.
    :param null: whether caching is off.
    """

    app: Any
    settings: Settings
    backend: Any
    host: Host
    engines: Engines
    counters: Counters
    peek: Callable[[str], Entry | None] | None
    clock: Callable[[], float]
    null: bool
    #: What each decorated function keeps for this app; see ``plans.State``.
    states: WeakKeyDictionary[Any, Any] = field(default_factory=WeakKeyDictionary)

    @property
    def engine(self) -> Engine:
        """What serves the calls of the current tenant; there is one, unless the key prefix is
        callable."""
        engines = self.engines
        return engines.sole or engines.current()

    @property
    def raising(self) -> bool:
        """Whether errors of the backend are raised instead of logged."""
        return _raising(self.settings, self.host)


class Engines:
    """One engine, or one for each key prefix where that is a callable.

    Tenants share a server and its connections, but neither keys nor flights: what one of them
    computes must never be an answer for another.
    """

    def __init__(self, engine: Engine, backend: BaseCache) -> None:
        self._first, self.backend = engine, backend
        self._tenants: dict[str, Engine] = {}
        #: The only engine, if there is only one.
        self.sole = None if callable(backend.key_prefix) else engine

    def current(self) -> Engine:
        """The engine for the prefix that the callable gives now."""
        prefix = str(self.backend.key_prefix())
        engine = self._tenants.get(prefix)
        if engine is None:
            first = self._first
            store = first.store.for_tenant(self.backend.for_prefix(prefix))
            made = Engine(store, first.stats, first.spawn)
            engine = self._tenants.setdefault(prefix, made)
        return engine


def _raising(settings: Settings, host: Host) -> bool:
    return settings.on_error == "raise" or (settings.on_error is None and host.debug)


def bind(app: Any, *layers: dict[str, Any] | None) -> Binding:
    """Set up a cache on an app.

    :param layers: configurations; later ones win.
    :raises ConfigurationError: if one is wrong. Nothing has been changed on the app then.
    """
    config = effective_config(*layers)
    settings = Settings.read(config)
    serializer = serializer_of(config)
    backend = build_backend(app, config)
    if serializer is not None:
        if hasattr(backend, "serializer"):
            backend.serializer = serializer
        else:
            warn(f"CACHE_SERIALIZER is set, but {type(backend).__name__} uses no serializer")
    if isinstance(backend, (SimpleCache, cachelib.SimpleCache)):
        warn_of_many_workers(type(backend).__name__)
    return assemble(app, settings, backend)


def assemble(app: Any, settings: Settings, backend: Any) -> Binding:
    """A binding of a backend that is already there."""
    host = pick(app)
    ours: BaseCache = adapted(backend)
    counters = Counters()
    store = open_store(ours, lambda: _raising(settings, host), settings.limits)
    return Binding(
        app=app,
        settings=settings,
        backend=backend,
        host=host,
        engines=Engines(Engine(store, counters, host.spawn), ours),
        counters=counters,
        peek=store.peek,
        clock=store.clock,
        null=isinstance(backend, NullCache),
    )
