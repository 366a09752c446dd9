"""What users drop by hand: ``delete`` and ``adelete``, and so on, and who is told of it.

The sync half of a pair runs a step of the store at once, the async half awaits it.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Collection
from typing import TypeVar

from ._flow.engine import Engine
from ._flow.store_protocol import DirectSteps, StoreSteps
from ._runtime.colour import run_now
from .binding import Binding
from .decorators.deletion import Invalidation, of_keys
from .decorators.plan import user_tags
from .exceptions import CacheWarning
from .pages.purging import Invalidated, Listener, Listeners, invalidated
from .stats import Counters

__all__ = ["Deletions"]

ToldCallback = TypeVar("ToldCallback", bound=Listener)
#: What listeners are told when all was dropped.
EVERYTHING = Invalidated(everything=True)


class Deletions:
    """The deletions of a :class:`.Cache`, and the steps that all its operations take."""

    #: The binding, where there is only one app; looked at by every call.
    _only: Binding | None = None
    _warned_of_blocking = False
    #: Who is told of invalidations.
    _listeners: Listeners

    def _binding(self) -> Binding:
        raise NotImplementedError

    def _sync(self, name: str, depth: int = 3) -> StoreSteps:
        """The steps for sync code.

        :param name: the method that the user called.
        :param depth: how far up the stack that was.
        """
        binding = self._only or self._binding()
        if asyncio._get_running_loop() is not None and not self._warned_of_blocking:
            if binding.framework.debug:
                self._warned_of_blocking = True
                warnings.warn(
                    f"cache.{name}() was called on a thread whose event loop runs, and blocks it; "
                    f"await cache.a{name}() instead",
                    CacheWarning,
                    stacklevel=depth,
                )
        return binding.engine.sync

    def _sole(self) -> Engine | None:
        """The engine for sync code, if there is only one, and no event loop runs on this thread."""
        if asyncio._get_running_loop() is not None:
            return None
        return (self._only or self._binding()).engines.sole

    def _asole(self) -> Engine | None:
        """The engine for async code, if there is only one."""
        return (self._only or self._binding()).engines.sole

    def _direct(self) -> DirectSteps | None:
        """The steps of a store in memory as plain functions; ``None`` if there is more to it."""
        if asyncio._get_running_loop() is not None:
            return None
        return (self._only or self._binding()).engines.direct

    def _adirect(self) -> DirectSteps | None:
        """:meth:`_direct` for async code."""
        return (self._only or self._binding()).engines.direct

    def _aio(self) -> StoreSteps:
        """The steps for async code."""
        return (self._only or self._binding()).engine.aio

    def _forget_flights(self, keys: Collection[str], tags: Collection[str] = ()) -> None:
        """After a deletion or a set, however it ended: no new caller joins what it overtakes."""
        (self._only or self._binding()).engine.flights.forget(keys, tags)

    def _count(self, counters: Counters | None = None) -> None:
        """Count an invalidation: of a function's values, or else as one by hand."""
        counters = counters or (self._only or self._binding()).ledger.deletes
        counters.invalidations += 1

    # --- deleting ---------------------------------------------------------------------------------

    def delete(self, key: str) -> bool:
        """Delete a key, and all variants of the page whose base it is; whether the key existed."""
        return bool(self._invalidate("delete", of_keys([key])))

    async def adelete(self, key: str) -> bool:
        """Awaitable :meth:`delete`."""
        return bool(await self._ainvalidate(of_keys([key])))

    def delete_many(self, *keys: str) -> list[str]:
        """Delete several keys; those that are gone now (what never existed counts)."""
        return list(keys) if self._invalidate("delete_many", of_keys(keys)) is not None else []

    async def adelete_many(self, *keys: str) -> list[str]:
        """Awaitable :meth:`delete_many`."""
        return list(keys) if await self._ainvalidate(of_keys(keys)) is not None else []

    def unlink(self, *keys: str) -> list[str]:
        """Delete several keys; on Redis their memory is freed in the background."""
        return list(keys) if self._invalidate("unlink", of_keys(keys)) is not None else []

    async def aunlink(self, *keys: str) -> list[str]:
        """Awaitable :meth:`unlink`."""
        return await self.adelete_many(*keys)

    def delete_tags(self, *tags: str) -> bool:
        """Drop every entry that carries one of ``tags``, at the cost of one; whether it was."""
        return self._invalidate("delete_tags", Invalidation([], list(user_tags(tags)))) is not None

    async def adelete_tags(self, *tags: str) -> bool:
        """Awaitable :meth:`delete_tags`."""
        return await self._ainvalidate(Invalidation([], list(user_tags(tags)))) is not None

    def clear(self) -> bool:
        """Drop everything that this cache stored; whether it was done."""
        steps = self._sync("clear")
        try:
            done = bool(run_now(steps.clear()))
        finally:
            self._binding().engine.flights.forget_all()
        self._count()
        self._listeners.tell(EVERYTHING)
        return done

    async def aclear(self) -> bool:
        """Awaitable :meth:`clear`."""
        steps = self._aio()
        try:
            done = bool(await steps.clear())
        finally:
            self._binding().engine.flights.forget_all()
        self._count()
        await self._listeners.atell(EVERYTHING)
        return done

    def _invalidate(self, name: str, invalidation: Invalidation) -> list[str] | None:
        steps, (keys, tags, paths, counters) = self._sync(name, 4), invalidation
        try:
            gone = run_now(steps.invalidate(keys, tags))
        finally:
            self._forget_flights(keys, tags)
        self._count(counters)
        if self._listeners:
            self._listeners.tell(invalidated(keys, tags, paths))
        return gone

    async def _ainvalidate(self, invalidation: Invalidation) -> list[str] | None:
        steps, (keys, tags, paths, counters) = self._aio(), invalidation
        try:
            gone = await steps.invalidate(keys, tags)
        finally:
            self._forget_flights(keys, tags)
        self._count(counters)
        if self._listeners:
            await self._listeners.atell(invalidated(keys, tags, paths))
        return gone

    def on_invalidate(self, callback: ToldCallback) -> ToldCallback:
        """Let a callback be told of each invalidation, after it was made in this process.

        For asking a CDN to purge the same. It may be async, and this may be used as a decorator. If
        it fails, that is logged.

        :param callback: given one :class:`.Invalidated`.
        """
        self._listeners.add(callback)
        return callback
