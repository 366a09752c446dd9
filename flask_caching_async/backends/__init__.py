"""Backends by name; each is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .base import BaseCache

if TYPE_CHECKING:
    from ._memcached.sasl import SASLMemcachedCache, SpreadSASLMemcachedCache
    from .filesystemcache import FileSystemCache
    from .memcache import MemcachedCache
    from .nullcache import NullCache
    from .rediscache import RedisCache
    from .rediscluster import RedisClusterCache
    from .redissentinel import RedisSentinelCache
    from .simplecache import SimpleCache

__all__ = [
    "BaseCache",
    "FileSystemCache",
    "MemcachedCache",
    "NullCache",
    "RedisCache",
    "RedisClusterCache",
    "RedisSentinelCache",
    "SASLMemcachedCache",
    "SimpleCache",
    "SpreadSASLMemcachedCache",
]

#: What ``CACHE_TYPE`` may name, and where it is.
NAMES = {
    "NullCache": "nullcache",
    "SimpleCache": "simplecache",
    "FileSystemCache": "filesystemcache",
    "RedisCache": "rediscache",
    "RedisSentinelCache": "redissentinel",
    "RedisClusterCache": "rediscluster",
    "MemcachedCache": "memcache",
    "SASLMemcachedCache": "memcache",
    "SpreadSASLMemcachedCache": "memcache",
}


def __getattr__(name: str) -> type[BaseCache]:
    if name in NAMES:
        kind: type[BaseCache] = getattr(importlib.import_module(f"{__name__}.{NAMES[name]}"), name)
        return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
