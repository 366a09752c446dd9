"""What one cache is to one app: settings, backend, store, flights, counters and host."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from ._flow.drive import Engine
from ._flow.entry import Entry
from ._hosts import Host, pick
from .backends.base import BaseCache
from .backends.nullcache import NullCache
from .config import Settings, adapted, build_backend, effective_config, outside, serializer_of
from .exceptions import CacheWarning
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
    engine: Engine
    counters: Counters
    peek: Callable[[str], Entry | None] | None
    clock: Callable[[], float]
    null: bool
    #: What each decorated function keeps for this app; see ``plans.State``.
    states: WeakKeyDictionary[Any, Any] = field(default_factory=WeakKeyDictionary)

    @property
    def raising(self) -> bool:
        """Whether errors of the backend are raised instead of logged."""
        return _raising(self.settings, self.host)


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
            _warn(f"CACHE_SERIALIZER is set, but {type(backend).__name__} uses no serializer")
    return assemble(app, settings, backend)


def assemble(app: Any, settings: Settings, backend: Any) -> Binding:
    """A binding of a backend that is already there."""
    host = pick(app)
    ours: BaseCache = adapted(backend)
    counters = Counters()
    store = open_store(ours, lambda: _raising(settings, host))
    return Binding(
        app=app,
        settings=settings,
        backend=backend,
        host=host,
        engine=Engine(store, counters, host.spawn),
        counters=counters,
        peek=store.peek,
        clock=store.clock,
        null=isinstance(backend, NullCache),
    )


def _warn(message: str) -> None:
    warnings.warn(message, CacheWarning, stacklevel=outside())
