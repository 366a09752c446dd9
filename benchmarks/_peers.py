"""The libraries that are compared, ours among them, each behind the same small interface.

A peer is made for one *store*: memory, a directory, Redis or Memcached. What a library does not
have is ``None`` here, or raises ``LeftOut``; a library that is not installed is left out with a
line that says so. All keep what they store for ``TIMEOUT`` seconds.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from _harness import OURS, LeftOut, awaited, version_of
from flask import Flask

TIMEOUT = 300
COPY, VERY_OBJECT, SHALLOW = "a copy", "the very object", "a shallow copy"


@dataclass(frozen=True)
class Store:
    """Where values are kept."""

    kind: str
    port: int = 0
    folder: str = ""
    #: The most entries in memory.
    capacity: int = 500

    def redis(self, database: int) -> str:
        """The URL of a database of its own for each peer."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    @property
    def memcached(self) -> str:
        """The address of the server."""
        return f"127.0.0.1:{self.port}"


MEMORY = Store("memory")


class Peer:
    """A library over one store."""

    name: ClassVar[str]
    distribution: ClassVar[str]
    module: ClassVar[str]
    database: ClassVar[int]
    #: What a hit in memory hands out of a value that can be changed.
    gives = COPY
    #: Whether what it makes of an async function is awaited.
    awaits = True
    #: What else is to be said of its memoized functions.
    note = ""
    #: Whether a method may be decorated as it is, and what it keeps is kept for each instance.
    keeps_instances_apart = False
    #: Whether there is a bound to what it keeps in memory.
    bounded = True

    #: By hand: ``get(key)``, ``set(key, value)``, ``get_many(*keys)``, ``set_many(mapping)``.
    get: Any = None
    set: Any = None
    get_many: Any = None
    set_many: Any = None
    aget: Any = None
    aset: Any = None
    aget_many: Any = None
    aset_many: Any = None
    #: The key of ``function(7, b=2)``, as the decorator makes it.
    key: Any = None

    def __init__(self, store: Store) -> None:
        self.store = store
        opening = getattr(self, f"on_{store.kind}", None)
        if opening is None:
            raise LeftOut(f"has nothing for {store.kind}")
        opening(store)

    def memoize(self, function: Callable[..., Any]) -> Any:
        """The function with a cache, called without ``await``."""
        raise LeftOut("caches async functions only")

    def amemoize(self, function: Callable[..., Any]) -> Any:
        """The coroutine function with a cache."""
        raise LeftOut("caches sync functions only")

    def close(self) -> None:
        """Release what it holds."""


class Ours(Peer):
    name, distribution, module = OURS, "flask-caching-async", "flask_caching_async"
    database, keeps_instances_apart = 1, True

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.by_hand(self.cache)
        self.entered = False

    def by_hand(self, cache: Any) -> None:
        self.get, self.get_many = cache.get, cache.get_many
        self.set, self.set_many = cache.set, cache.set_many
        self.aget, self.aget_many = cache.aget, cache.aget_many
        self.aset, self.aset_many = cache.aset, cache.aset_many

    def open(self, **config: Any) -> None:
        module = importlib.import_module(self.module)
        self.app = Flask("benchmark")
        config["CACHE_DEFAULT_TIMEOUT"] = TIMEOUT
        self.cache = module.Cache(self.app, config=config)

    def on_memory(self, store: Store) -> None:
        self.open(CACHE_TYPE="SimpleCache", CACHE_THRESHOLD=store.capacity)

    def on_redis(self, store: Store) -> None:
        self.open(CACHE_TYPE="RedisCache", CACHE_REDIS_URL=store.redis(self.database))

    def on_memcached(self, store: Store) -> None:
        self.open(CACHE_TYPE="MemcachedCache", CACHE_MEMCACHED_SERVERS=[store.memcached])

    def on_files(self, store: Store) -> None:
        folder = os.path.join(store.folder, self.module)
        self.open(CACHE_TYPE="FileSystemCache", CACHE_DIR=folder, CACHE_THRESHOLD=100_000)

    def memoize(self, function: Callable[..., Any]) -> Any:
        return self.cache.memoize(TIMEOUT)(function)

    def amemoize(self, function: Callable[..., Any]) -> Any:
        return self.cache.memoize(TIMEOUT)(function)

    def enter(self) -> None:
        """As in ``async with cache``: the loop of the benchmarks lives long."""
        awaited(self.cache.__aenter__())
        self.entered = True

    def close(self) -> None:
        if self.entered:
            awaited(self.cache.__aexit__(None, None, None))
        self.cache.close()

    def key(self, function: Callable[..., Any]) -> Callable[[], Any]:
        make = self.memoize(function).make_cache_key
        return lambda: make(function, 7, b=2)


class FlaskCaching(Ours):
    name, distribution, module = "Flask-Caching", "Flask-Caching", "flask_caching"
    database, awaits = 2, False

    def by_hand(self, cache: Any) -> None:
        self.get, self.get_many = cache.get, cache.get_many
        self.set, self.set_many = cache.set, cache.set_many

    def on_memcached(self, store: Store) -> None:
        if importlib.util.find_spec("pylibmc") is None:
            raise LeftOut("needs pylibmc for memcached")
        # A harmless error of pylibmc on newer Pythons, once for each of its options.
        sys.unraisablehook, hook = lambda problem: None, sys.unraisablehook
        try:
            super().on_memcached(store)
        finally:
            sys.unraisablehook = hook

    def close(self) -> None:
        """It has nothing to release."""


class AioCache(Peer):
    name, distribution, module, database = "aiocache", "aiocache", "aiocache", 3
    gives, bounded = VERY_OBJECT, False

    def open(self, kind: str, **config: Any) -> None:
        import aiocache
        from aiocache.serializers import NullSerializer, PickleSerializer

        self.kind, self.config = getattr(aiocache, kind), config
        serializer = NullSerializer if kind == "SimpleMemoryCache" else PickleSerializer
        config["serializer"] = serializer()
        cache = self.kind(**config)
        self.aget = cache.get
        self.aset = lambda key, value: cache.set(key, value, ttl=TIMEOUT)
        self.aget_many = lambda *keys: cache.multi_get(keys)
        self.aset_many = lambda mapping: cache.multi_set(mapping.items(), ttl=TIMEOUT)

    def on_memory(self, store: Store) -> None:
        self.open("SimpleMemoryCache")

    def on_redis(self, store: Store) -> None:
        self.open("RedisCache", endpoint="127.0.0.1", port=store.port, db=self.database)

    def on_memcached(self, store: Store) -> None:
        self.open("MemcachedCache", endpoint="127.0.0.1", port=store.port)

    def amemoize(self, function: Callable[..., Any]) -> Any:
        from aiocache import cached

        return cached(ttl=TIMEOUT, cache=self.kind, **self.config)(function)

    def key(self, function: Callable[..., Any]) -> Callable[[], Any]:
        from aiocache import cached

        decorator = cached(ttl=TIMEOUT)
        return lambda: decorator.get_cache_key(function, (7,), {"b": 2})


class Cashews(Peer):
    name, distribution, module, database = "cashews", "cashews", "cashews", 4
    gives, keeps_instances_apart = VERY_OBJECT, True

    def open(self, url: str, **options: Any) -> None:
        from cashews import Cache

        self.cache = cache = Cache()
        cache.setup(url, **options)
        self.aget, self.aget_many = cache.get, cache.get_many
        self.aset = lambda key, value: cache.set(key, value, expire=TIMEOUT)
        self.aset_many = lambda mapping: cache.set_many(mapping, expire=TIMEOUT)

    def on_memory(self, store: Store) -> None:
        self.open("mem://", size=store.capacity)

    def on_redis(self, store: Store) -> None:
        self.open(store.redis(self.database), client_side=False)

    def amemoize(self, function: Callable[..., Any]) -> Any:
        return self.cache(ttl=TIMEOUT)(function)

    def close(self) -> None:
        awaited(self.cache.close())

    def key(self, function: Callable[..., Any]) -> Callable[[], Any]:
        from cashews.key import get_cache_key, get_cache_key_template

        template = get_cache_key_template(function)
        return lambda: get_cache_key(function, template, (7,), {"b": 2})


class Dogpile(Peer):
    name, distribution, module, database = "dogpile.cache", "dogpile.cache", "dogpile.cache", 5
    gives, bounded = VERY_OBJECT, False

    def open(self, backend: str, **arguments: Any) -> None:
        from dogpile.cache import make_region

        self.region = region = make_region()
        region.configure(f"dogpile.cache.{backend}", TIMEOUT, arguments=arguments)
        self.get, self.set = region.get, region.set
        self.get_many = lambda *keys: region.get_multi(keys)
        self.set_many = region.set_multi

    def on_memory(self, store: Store) -> None:
        self.open("memory")

    def on_redis(self, store: Store) -> None:
        self.open("redis", host="127.0.0.1", port=store.port, db=self.database)

    def on_memcached(self, store: Store) -> None:
        self.open("pymemcache", url=store.memcached, memcached_expire_time=TIMEOUT)

    def on_files(self, store: Store) -> None:
        self.open("dbm", filename=os.path.join(store.folder, "dogpile.dbm"))

    def memoize(self, function: Callable[..., Any]) -> Any:
        return self.region.cache_on_arguments()(function)

    def key(self, function: Callable[..., Any]) -> Callable[[], Any]:
        from dogpile.cache.util import kwarg_function_key_generator

        generate = kwarg_function_key_generator(None, function)
        return lambda: generate(7, b=2)


class CacheBox(Peer):
    name, distribution, module, database = "cachebox", "cachebox", "cachebox", 6
    gives, keeps_instances_apart = SHALLOW, True

    def on_memory(self, store: Store) -> None:
        from cachebox import TTLCache

        cache = TTLCache(store.capacity, float(TIMEOUT))
        self.get, self.set, self.set_many = cache.get, cache.insert, cache.update

    def memoize(self, function: Callable[..., Any]) -> Any:
        from cachebox import TTLCache, cached

        return cached(TTLCache(self.store.capacity, float(TIMEOUT)))(function)

    amemoize = memoize

    def key(self, function: Callable[..., Any]) -> Callable[[], Any]:
        from cachebox import make_key

        return lambda: hash(make_key(7, b=2))


class DiskCache(Peer):
    name, distribution, module, database = "diskcache", "diskcache", "diskcache", 7

    def on_files(self, store: Store) -> None:
        from diskcache import Cache

        self.cache = cache = Cache(os.path.join(store.folder, "diskcache"))
        self.get = cache.get
        self.set = lambda key, value: cache.set(key, value, TIMEOUT)

    def memoize(self, function: Callable[..., Any]) -> Any:
        return self.cache.memoize(expire=TIMEOUT)(function)

    def close(self) -> None:
        self.cache.close()


class CacheKit(Peer):
    """With its preset for speed, without its second cache in memory where it has a server."""

    name, distribution, module, database = "cachekit", "cachekit", "cachekit", 8
    gives = VERY_OBJECT

    def on_memory(self, store: Store) -> None:
        self.options: dict[str, Any] = {"backend": None}

    def on_redis(self, store: Store) -> None:
        from cachekit.backends.redis import RedisBackend

        backend = RedisBackend(store.redis(self.database))
        self.options = {"backend": backend, "l1_enabled": False}

    def on_memcached(self, store: Store) -> None:
        from cachekit.backends.memcached import MemcachedBackend
        from cachekit.backends.memcached.config import MemcachedBackendConfig

        backend = MemcachedBackend(MemcachedBackendConfig(servers=[store.memcached]))
        self.options = {"backend": backend, "l1_enabled": False}

    def on_files(self, store: Store) -> None:
        from cachekit.backends.file import FileBackend
        from cachekit.backends.file.config import FileBackendConfig

        backend = FileBackend(FileBackendConfig(cache_dir=os.path.join(store.folder, "cachekit")))
        self.options = {"backend": backend, "l1_enabled": False}

    def memoize(self, function: Callable[..., Any]) -> Any:
        from cachekit import cache

        return cache.minimal(ttl=TIMEOUT, **self.options)(function)

    amemoize = memoize

    def key(self, function: Callable[..., Any]) -> Callable[[], Any]:
        from cachekit.key_generator import CacheKeyGenerator

        generate = CacheKeyGenerator().generate_key
        return lambda: generate(function, (7,), {"b": 2})


class Django(Peer):
    """It has no decorator for functions: ``get_or_set``, with a key that is written by hand."""

    name, distribution, module, database = "Django", "Django", "django", 9
    note = "get_or_set, its key made by hand"

    def open(self, kind: str, where: str, **options: Any) -> None:
        from django.conf import settings

        if not settings.configured:
            settings.configure()
        module = importlib.import_module(f"django.core.cache.backends.{kind.split('.')[0]}")
        parameters = {"TIMEOUT": TIMEOUT, "OPTIONS": options}
        self.cache = cache = getattr(module, kind.split(".")[1])(where, parameters)
        self.get, self.set, self.set_many = cache.get, cache.set, cache.set_many
        self.get_many = lambda *keys: cache.get_many(keys)

    def on_memory(self, store: Store) -> None:
        where = f"benchmark {id(self)}"
        self.open("locmem.LocMemCache", where, MAX_ENTRIES=store.capacity)

    def on_redis(self, store: Store) -> None:
        self.open("redis.RedisCache", store.redis(self.database))

    def on_memcached(self, store: Store) -> None:
        self.open("memcached.PyMemcacheCache", store.memcached)

    def on_files(self, store: Store) -> None:
        folder = os.path.join(store.folder, "django")
        self.open("filebased.FileBasedCache", folder, MAX_ENTRIES=100_000)

    def memoize(self, function: Callable[..., Any]) -> Any:
        get_or_set, name = self.cache.get_or_set, function.__name__

        def memoized(number: Any) -> Any:
            return get_or_set(f"{name}:{number}", lambda: function(number))

        return memoized


PEERS: list[type[Peer]] = [
    Ours, FlaskCaching, AioCache, Cashews, Dogpile, CacheBox, DiskCache, CacheKit, Django,
]  # fmt: skip

_said: set[str] = set()


def peers(store: Store) -> Iterator[Peer]:
    """Those that are installed and have something for this store, each with entries of its own."""
    for kind in PEERS:
        if version_of(kind.distribution) is None and kind is not Ours:
            say(f"{kind.name} is not installed: left out")
            continue
        with contextlib.suppress(LeftOut):
            try:
                yield kind(store)
            except ImportError as error:
                say(f"{kind.name} is left out on {store.kind}: {error}")


def say(text: str) -> None:
    """Print a line once."""
    if text not in _said:
        _said.add(text)
        print(text, flush=True)
