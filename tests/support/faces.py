"""One cache in one colour, so that a test is written once."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from flask_caching_async import Cache

COLOURS = ("sync", "async")
#: A third one where it makes a difference: async, with the cache on a Quart app that is served.
QUART = "quart"


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

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

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


def own_colour(callback: Callable[..., Any], colour: str) -> Callable[..., Any]:
    """A plain callback as it is, or as an ``async def`` with the same parameters."""
    if colour == "sync":
        return callback

    @functools.wraps(callback)
    async def dyed(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return callback(*args, **kwargs)

    return dyed
