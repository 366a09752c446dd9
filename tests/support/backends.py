"""The backends that tests run on, by name, and the custom ones among them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask_caching_async.backends import BaseCache
from support.waiting import PATIENCE

#: Backends without a server: two of ours, a foreign one, and two of the kinds that users write.
EMBEDDED = ("SimpleCache", "FileSystemCache", "cachelib", "sync-only", "async-only")

#: One backend for each kind of store: memory, our own operations, and those that are derived from
#: sync or from async methods.
STORES = ("SimpleCache", "FileSystemCache", "cachelib", "async-only")

#: Backends with a server, which several processes share.
ON_SERVERS = ("RedisCache", "MemcachedCache")

#: Backends that several processes share.
SHARED = ("FileSystemCache", *ON_SERVERS)

#: Every kind of store that has code of its own in this package.
OURS = ("SimpleCache", "FileSystemCache", *ON_SERVERS)


class SyncOnly(BaseCache):
    """A custom backend as Flask-Caching's users write them: sync, and no more than necessary."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.held.get(key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.held[key] = value
        return True

    def delete(self, key: str) -> bool:
        return self.held.pop(key, None) is not None

    def clear(self) -> bool:
        self.held.clear()
        return True


class AsyncOnly(BaseCache):
    """A custom backend whose client is async: no more than the three methods it must have."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Any] = {}

    async def aget(self, key: str) -> Any:
        return self.held.get(key)

    async def aset(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.held[key] = value
        return True

    async def adelete(self, key: str) -> bool:
        return self.held.pop(key, None) is not None


def sync_only(app: Any, config: Any, args: Any, kwargs: Any) -> SyncOnly:
    """A factory function for ``CACHE_TYPE``."""
    return SyncOnly()


def async_only(app: Any, config: Any, args: Any, kwargs: Any) -> AsyncOnly:
    """A factory function for ``CACHE_TYPE``."""
    return AsyncOnly()


def config_for(backend: str, folder: Path) -> dict[str, Any]:
    """The configuration of one of the :data:`EMBEDDED` backends."""
    return {
        "SimpleCache": {"CACHE_TYPE": "SimpleCache"},
        "FileSystemCache": {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(folder)},
        "cachelib": {"CACHE_TYPE": "cachelib.SimpleCache"},
        "sync-only": {"CACHE_TYPE": sync_only},
        "async-only": {"CACHE_TYPE": async_only},
    }[backend]


class FileBackend:
    """An empty folder, and the configuration of the caches that use it."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = config_for("FileSystemCache", folder)
        self.config["CACHE_LOCK_TIMEOUT"] = 20


class ServerBackend:
    """An empty server, and the configuration of the caches that use it.

    :param kind: one of :data:`ON_SERVERS`.
    :param fixture: gives the fixture with a name.
    """

    def __init__(self, kind: str, fixture: Callable[[str], Any]) -> None:
        self.is_redis = kind == "RedisCache"
        self.server = fixture("redis_server" if self.is_redis else "memcached_server").restore()
        # A busy machine is no dead server.
        self.config: dict[str, Any] = {"CACHE_CONNECT_TIMEOUT": 20, "CACHE_OPERATION_TIMEOUT": 20}
        self.config |= {"CACHE_TYPE": kind, "CACHE_LOCK_TIMEOUT": 20}
        if self.is_redis:
            self.config["CACHE_REDIS_URL"] = self.server.url
        else:
            self.config["CACHE_MEMCACHED_SERVERS"] = [f"{self.server.host}:{self.server.port}"]

    def limit(self, connections: int) -> dict[str, int]:
        """The option for a process that may have so many, in each loop and for all threads."""
        return {"max_connections" if self.is_redis else "pool_size": connections}

    def connections(self) -> int:
        """How many are open, without the one that is needed to ask."""
        if self.is_redis:
            return len(self.server.ask("CLIENT", "LIST").splitlines()) - 1
        with socket.create_connection((self.server.host, self.server.port), PATIENCE) as asking:
            asking.sendall(b"stats\r\nquit\r\n")
            told = asking.makefile().read().split()
        return int(told[told.index("curr_connections") + 1]) - 1


def config_of_ours(backend: str, folder: Path, fixture: Callable[[str], Any]) -> dict[str, Any]:
    """The configuration of one of :data:`OURS`, which is empty.

    :param fixture: gives the fixture with a name.
    """
    if backend in ON_SERVERS:
        return ServerBackend(backend, fixture).config
    return config_for(backend, folder / "cache")
