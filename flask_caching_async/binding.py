"""What one cache is to one app: settings, backend, store, flights, figures and framework."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import cachelib

from ._entries.entry import PeekedEntry
from ._flow.engine import Engine
from ._frameworks import App, pick
from ._frameworks.base import Framework
from ._runtime.commands import in_command
from ._runtime.fork import forgets_parent
from ._runtime.server_workers import warn_of_many_workers
from ._store.open import open_store
from .backends._connections.server import prefix_now
from .backends.base import BaseCache
from .backends.nullcache import NullCache
from .backends.simplecache import SimpleCache
from .config import Settings, adapted, build_backend, effective_config, serializer_of
from .exceptions import CacheWarning, overheard, warn
from .statistics.ledger import Ledger
from .statistics.sharing import Sharing
from .typing import Callback, Config, Value

__all__ = ["EXTENSION", "Adjustable", "Binding", "bind"]


#: How many tenants are kept that no call is using.
TENANTS = 500

#: Where an app keeps the bindings of its caches.
EXTENSION = "flask_caching_async"


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Binding:
    """One cache on one app; frozen, so that no other app's set-up changes it.

    :param backend: what users see in ``app.extensions["cache"]``.
    :param peek: looks up an entry without a round trip, where the backend is memory.
    :param timekeeper: has the clock, which tests replace.
    :param null: whether caching is off.
    """

    app: App
    settings: Settings
    backend: Value
    framework: Framework
    engines: Engines
    ledger: Ledger
    #: The figures of all processes; ``None`` where the backend is not shared by any.
    sharing: Sharing | None
    #: What tells the caches of an app apart.
    name: str
    peek: Callable[[str], PeekedEntry | None] | None
    timekeeper: BaseCache
    null: bool
    #: What each decorated function keeps for this app; see ``decorators.plan.State``.
    states: WeakKeyDictionary[object, Any] = field(default_factory=WeakKeyDictionary)
    #: What was warned of on this app.
    warned: set[str] = field(default_factory=set)
    #: The settings as they were given, with the defaults; there may be passwords among them.
    config: Config = field(default_factory=dict, repr=False)

    def begin_sharing(self) -> None:
        """From here on this process shares its figures, if there is anyone to share them with."""
        if self.sharing is not None:
            self.sharing.begin()

    @property
    def engine(self) -> Engine:
        """What serves the calls of the current tenant; there is one, unless the key prefix is
        callable."""
        engines = self.engines
        return engines.sole or engines.current()

    @property
    def app_name(self) -> str:
        """What tells apps apart that share a server."""
        return str(getattr(self.app, "name", ""))

    @property
    def raising(self) -> bool:
        """Whether errors of the backend are raised instead of logged."""
        return _raising(self.settings, self.framework)

    def warn_once(
        self,
        place: str,
        message: str,
        category: type[CacheWarning],
        at: tuple[str, int] | None = None,
    ) -> None:
        """Warn of something once for each place in the code.

        :param at: its file and line, if that is known.
        """
        if (told := overheard.get()) is not None:
            told.append(message)
        elif place not in self.warned:
            self.warned.add(place)
            warn(message, category, at)


class Engines:
    """One engine, or one for each key prefix where that is a callable.

    Tenants share a server and its connections, but neither keys nor flights: what one of them
    computes must never be an answer for another. There may be any number of them (a prefix may be
    made of a header of the request), so only those that were used last are kept. One that is in use
    is found again by its prefix as long as a call holds it, with its flights; what is pending of
    one is kept by ``Failures.owing``.
    """

    def __init__(self, engine: Engine, backend: BaseCache) -> None:
        self._first, self.backend = engine, backend
        #: The engines that were used last, the oldest first.
        self._recent: OrderedDict[str, Engine] = OrderedDict()
        self._living: WeakValueDictionary[str, Engine] = WeakValueDictionary()
        self._lock = threading.RLock()  # reentrant, for handlers
        #: The only engine, if there is only one.
        self.sole = None if callable(backend.key_prefix) else engine
        #: The steps of its store as plain functions, if it has them.
        self.direct = None if self.sole is None else engine.direct
        forgets_parent(self)

    def forget_parent(self) -> None:
        """In a forked child: another thread may have held the lock."""
        self._lock = threading.RLock()

    def plain_backend(self) -> BaseCache:
        """The backend without the prefix of any tenant."""
        return self.backend if self.sole is not None else self.backend.for_prefix("")

    def current(self) -> Engine:
        """The engine for the prefix that the callable gives now.

        :raises InvalidKeyError: if that is none.
        """
        prefix = prefix_now(self.backend.key_prefix)
        engine = self._recent.get(prefix)
        if engine is None:
            return self._adopt(prefix)
        with contextlib.suppress(KeyError):  # another thread has let it go
            self._recent.move_to_end(prefix)
        return engine

    def _adopt(self, prefix: str) -> Engine:
        first = self._first
        first.store.check((prefix,))
        with self._lock:
            engine = self._living.get(prefix)
            if engine is None:
                store = first.store.for_tenant(self.backend.for_prefix(prefix))
                engine = self._living[prefix] = first.beside(store)
            self._recent[prefix] = engine
            while len(self._recent) > TENANTS:
                self._recent.popitem(last=False)
            return engine


def _raising(settings: Settings, framework: Framework) -> bool:
    if in_command.get() or settings.on_error == "raise":
        return True
    return settings.on_error is None and framework.debug


def bind(app: App, name: str, *layers: Config | None) -> Binding:
    """Set up a cache on an app.

    :param name: what tells the caches of the app apart.
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
    if isinstance(backend, BaseCache):
        backend._warn_of_risks()
    if isinstance(backend, (SimpleCache, cachelib.SimpleCache)):
        warn_of_many_workers(type(backend).__name__)
    return replace(assemble(app, settings, backend, name), config=config)


def assemble(app: App, settings: Settings, backend: Value, name: str = "cache") -> Binding:
    """A binding of a backend that is already there."""
    framework = pick(app)
    ours: BaseCache = adapted(backend)
    store = open_store(ours, lambda: _raising(settings, framework), settings.limits)
    engines, ledger = Engines(Engine(store, framework.spawn), ours), Ledger(store.condition)
    sharing = None
    if settings.stats_interval and ours.shared:
        whose = f"{getattr(app, 'name', '')}:{name}"
        sharing = Sharing(
            ledger, engines.plain_backend(), store.condition, whose, settings.stats_interval
        )
    return Binding(
        app=app,
        settings=settings,
        backend=backend,
        framework=framework,
        engines=engines,
        ledger=ledger,
        sharing=sharing,
        name=name,
        peek=store.peek,
        timekeeper=ours,
        null=isinstance(backend, NullCache),
    )


class Adjustable:
    """The settings of a :class:`.Cache` on the current app."""

    cache: Value
    _last: Binding | None
    _only: Binding | None

    def _binding(self) -> Binding:
        raise NotImplementedError

    @property
    def hash_method(self) -> Callback | None:
        """The hash method of keys; assign one to change it for the current app."""
        return self._setting("hash_method")  # type: ignore[no-any-return]

    @hash_method.setter
    def hash_method(self, value: Callback) -> None:
        self._change(hash_method=value)

    @property
    def source_check(self) -> bool | None:
        """Whether keys contain the source of their function."""
        return self._setting("source_check")  # type: ignore[no-any-return]

    @source_check.setter
    def source_check(self, value: bool) -> None:
        self._change(source_check=value)

    @property
    def enable_signals(self) -> bool:
        """Whether hits and misses send signals."""
        return bool(self._setting("signals"))

    @enable_signals.setter
    def enable_signals(self, value: bool) -> None:
        self._change(signals=value)

    @property
    def serializer(self) -> Value:
        """The serializer of the current app's backend, if it has one."""
        return None if self._last is None else getattr(self.cache, "serializer", None)

    def _setting(self, name: str) -> Value:
        return None if self._last is None else getattr(self._binding().settings, name)

    def _change(self, **settings: Value) -> None:
        """Replace settings; the backend and what it holds stay."""
        old = self._binding()
        settings_now = replace(old.settings, **settings)
        new = replace(old, settings=settings_now, states=WeakKeyDictionary())
        old.app.extensions[EXTENSION][self] = new
        self._last = new if self._last is old else self._last
        self._only = new if self._only is old else None
