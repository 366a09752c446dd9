"""What several test files use."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from flask_caching_async import Cache
from flask_caching_async.backends import BaseCache

COLOURS = ("sync", "async")
#: A third one where it makes a difference: async, with the cache on a Quart app that is served.
QUART = "quart"


def named(value: Any) -> str:
    """A name for a parameter: its repr, without an address, which differs from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


class Face:
    """One cache in one colour, so that a test is written once and run in both.

    ``await face.get("k")`` calls ``cache.get`` or awaits ``cache.aget``. ``face.memoize()(body)``
    decorates a plain ``def`` body as it is, or as an ``async def``; ``await face.call(f, 1)`` calls
    it.
    """

    def __init__(self, cache: Cache, colour: str) -> None:
        self.cache = cache
        self.colour = colour
        self.is_async = colour != "sync"

    def dye(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """The body in this colour."""
        if not self.is_async:
            return body

        @functools.wraps(body)
        async def dyed(*args: Any, **kwargs: Any) -> Any:
            return body(*args, **kwargs)

        return dyed

    def memoize(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """``cache.memoize`` for a plain body."""
        return lambda body: self.cache.memoize(*args, **kwargs)(self.dye(body))

    def cached(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """``cache.cached`` for a plain body."""
        return lambda body: self.cache.cached(*args, **kwargs)(self.dye(body))

    async def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a decorated function, or its ``refresh``."""
        answer = function(*args, **kwargs)
        return await answer if self.is_async else answer

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.cache, "a" + name if self.is_async else name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            return await answer if self.is_async else answer

        return call


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
