"""What users do by hand: ``get`` and ``aget``, ``set`` and ``aset``, and so on, side by side.

Each pair is one step of the store. The sync half runs it at once, the async half awaits it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol, Self

from ._entries.entry import MISSING
from ._runtime.colour import run_now
from ._runtime.threads import offload
from .decorators.plan import user_tags
from .get_or_set import GetOrSet
from .typing import Timeout, Value

__all__ = ["Operations"]


class Occasions(Protocol):
    """What happens when a loop begins to use the cache natively, and when it ends."""

    async def begin(self) -> None: ...
    async def end(self) -> None: ...


class Operations(GetOrSet):
    """The operations of a :class:`.Cache`."""

    def _serving(self) -> Occasions:
        raise NotImplementedError

    # --- reading ----------------------------------------------------------------------------------

    def get(self, key: str, default: Value = None) -> Value:
        """The value of ``key``, or ``default`` if there is none, or it is ``None``.

        What a server has stored for ``None`` cannot be told from nothing: :meth:`has` asks it.
        """
        binding = self._only or self._binding()
        engines, alone = binding.engines, asyncio._get_running_loop() is None
        if alone and engines.direct is not None:
            value = engines.direct.get_directly(key)
        elif alone and engines.sole is not None and engines.sole.quick is not None:
            value = engines.sole.quick.get_now(key)
        else:
            value = run_now(self._sync("get").get((key,)))[0]
        gets = binding.ledger.gets
        if value is MISSING:
            gets.misses += 1
            return default
        gets.hits += 1
        return default if value is None else value

    async def aget(self, key: str, default: Value = None) -> Value:
        """Awaitable :meth:`get`."""
        binding = self._only or self._binding()
        direct = binding.engines.direct
        if direct is not None:
            value = direct.get_directly(key)
        else:
            value = (await self._aio().get((key,)))[0]
        gets = binding.ledger.gets
        if value is MISSING:
            gets.misses += 1
            return default
        gets.hits += 1
        return default if value is None else value

    def has(self, key: str) -> bool:
        """Whether ``key`` has a value, be it ``None``."""
        return run_now(self._sync("has").has(key))

    async def ahas(self, key: str) -> bool:
        """Awaitable :meth:`has`."""
        return await self._aio().has(key)

    def get_many(self, *keys: str) -> list[Value]:
        """The values of ``keys`` in their order, ``None`` for what is missing."""
        return self._read("get_many", keys)

    async def aget_many(self, *keys: str) -> list[Value]:
        """Awaitable :meth:`get_many`."""
        return await self._aread(keys)

    def get_dict(self, *keys: str) -> dict[str, Value]:
        """Like :meth:`get_many`, as a dict."""
        return dict(zip(keys, self._read("get_dict", keys), strict=True))

    async def aget_dict(self, *keys: str) -> dict[str, Value]:
        """Awaitable :meth:`get_dict`."""
        return dict(zip(keys, await self._aread(keys), strict=True))

    def _read(self, name: str, keys: tuple[str, ...]) -> list[Value]:
        steps = self._sync(name, 4)
        return self._got(run_now(steps.get(keys))) if keys else []

    async def _aread(self, keys: tuple[str, ...]) -> list[Value]:
        return self._got(await self._aio().get(keys)) if keys else []

    def _got(self, values: list[Value]) -> list[Value]:
        """Count what was found of several keys; ``None`` stands for what was not."""
        gets, missing = self._binding().ledger.gets, sum(value is MISSING for value in values)
        gets.misses += missing
        gets.hits += len(values) - missing
        return [None if value is MISSING else value for value in values]

    # --- writing ----------------------------------------------------------------------------------

    def set(
        self, key: str, value: Value, timeout: Timeout | None = None, *, tags: Iterable[str] = ()
    ) -> bool:
        """Store a value. No computation of this key that is under way will overwrite it.

        :param timeout: seconds or a ``timedelta``; ``None`` is the default timeout, 0 never
            expires.
        :param tags: names by which :meth:`delete_tags` finds it.
        :raises SerializationError: if the value cannot be stored.
        """
        binding = self._only or self._binding()
        engine, direct = binding.engines.sole, binding.engines.direct
        alone = asyncio._get_running_loop() is None
        if tags or engine is None or direct is None or not alone:
            return bool(self._set("set", {key: value}, timeout, tags))
        try:
            stored = direct.set_one_directly(key, value, timeout)
        finally:
            engine.flights.forget((key,))
        binding.ledger.sets.stored += stored
        return stored

    async def aset(
        self, key: str, value: Value, timeout: Timeout | None = None, *, tags: Iterable[str] = ()
    ) -> bool:
        """Awaitable :meth:`set`."""
        binding = self._only or self._binding()
        engine, direct = binding.engines.sole, binding.engines.direct
        if tags or engine is None or direct is None:
            return bool(await self._aset({key: value}, timeout, tags))
        try:
            stored = direct.set_one_directly(key, value, timeout)
        finally:
            engine.flights.forget((key,))
        binding.ledger.sets.stored += stored
        return stored

    def set_many(
        self,
        mapping: Mapping[str, Value],
        timeout: Timeout | None = None,
        *,
        tags: Iterable[str] = (),
    ) -> list[str]:
        """Store several values; the keys that were stored."""
        return self._set("set_many", mapping, timeout, tags)

    async def aset_many(
        self,
        mapping: Mapping[str, Value],
        timeout: Timeout | None = None,
        *,
        tags: Iterable[str] = (),
    ) -> list[str]:
        """Awaitable :meth:`set_many`."""
        return await self._aset(mapping, timeout, tags)

    def _set(
        self, name: str, mapping: Mapping[str, Value], timeout: Timeout | None, tags: Iterable[str]
    ) -> list[str]:
        named = user_tags(tags) if tags else ()
        try:
            if (direct := self._direct()) is not None:
                stored = direct.set_directly(mapping, timeout, named)
            else:
                stored = run_now(self._sync(name, 4).set_many(mapping, timeout, named))
        finally:
            self._forget_flights(mapping)
        self._binding().ledger.sets.stored += len(stored)
        return stored

    async def _aset(
        self, mapping: Mapping[str, Value], timeout: Timeout | None, tags: Iterable[str]
    ) -> list[str]:
        named = user_tags(tags) if tags else ()
        try:
            if (direct := self._adirect()) is not None:
                stored = direct.set_directly(mapping, timeout, named)
            else:
                stored = await self._aio().set_many(mapping, timeout, named)
        finally:
            self._forget_flights(mapping)
        self._binding().ledger.sets.stored += len(stored)
        return stored

    def add(
        self, key: str, value: Value, timeout: Timeout | None = None, *, tags: Iterable[str] = ()
    ) -> bool:
        """Store a value unless the key has one; whether it was stored."""
        stored = run_now(self._sync("add").add(key, value, timeout, user_tags(tags)))
        self._binding().ledger.sets.stored += stored
        return stored

    async def aadd(
        self, key: str, value: Value, timeout: Timeout | None = None, *, tags: Iterable[str] = ()
    ) -> bool:
        """Awaitable :meth:`add`."""
        stored = await self._aio().add(key, value, timeout, user_tags(tags))
        self._binding().ledger.sets.stored += stored
        return stored

    def touch(self, key: str, timeout: Timeout | None = None) -> bool:
        """Let a value live for ``timeout`` from now, as if it were set now; whether there is one.

        It keeps its tags, and a computation of this key that is under way goes on.

        :param timeout: seconds or a ``timedelta``; ``None`` is the default timeout, 0 never
            expires.
        """
        return run_now(self._sync("touch").touch(key, timeout))

    async def atouch(self, key: str, timeout: Timeout | None = None) -> bool:
        """Awaitable :meth:`touch`."""
        return await self._aio().touch(key, timeout)

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to the number under ``key`` (0 if there is none), atomically; the sum."""
        return run_now(self._sync("inc").inc(key, _number(delta)))

    async def ainc(self, key: str, delta: int = 1) -> int | None:
        """Awaitable :meth:`inc`."""
        return await self._aio().inc(key, _number(delta))

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract from the number under ``key``, atomically; the difference."""
        return run_now(self._sync("dec").inc(key, -delta))

    async def adec(self, key: str, delta: int = 1) -> int | None:
        """Awaitable :meth:`dec`."""
        return await self._aio().inc(key, -delta)

    # --- around it --------------------------------------------------------------------------------

    def drain(self, timeout: float | None = None) -> bool:
        """Wait for the refreshes that run in the background now; whether they ended in time.

        For a test, or a job that must not end before them. On the loop that makes them, await
        :meth:`adrain`.

        :param timeout: seconds; ``None`` waits for as long as they take.
        """
        self._sync("drain")
        return self._binding().engine.background.wait(timeout)

    async def adrain(self, timeout: float | None = None) -> bool:
        """Awaitable :meth:`drain`."""
        return await offload(self._binding().engine.background.wait, timeout)

    def close(self) -> None:
        """Release what the backend holds; a later use opens it again."""
        run_now(self._sync("close").close())

    async def aclose(self) -> None:
        """Awaitable :meth:`close`."""
        await self._aio().close()

    async def __aenter__(self) -> Self:
        """Use the server natively on the running loop, until the end of the block."""
        await self._serving().begin()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._serving().end()


def _number(delta: int) -> int:
    if isinstance(delta, (int, float)):
        return delta
    raise TypeError(f"delta must be a number, not {delta!r}")
