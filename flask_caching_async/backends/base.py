"""What every backend is: the plain operations, in both colours, and the guarded ones.

**Two colours.** Each operation is a pair, ``get`` and ``aget``. The author of a backend writes
whichever side is natural, and this class derives the other when the subclass is created: an
awaitable from a blocking method runs it in a worker thread (or inline, where :attr:`blocking` is
False), a blocking method from an awaitable one runs it on an event loop of the process. A
sync backend must write ``get``, ``set`` and ``delete``, an async-only one ``aget``, ``aset`` and
``adelete``; everything else has a correct, slower default.

**Guarded operations** (``read``, ``fill``, ``expel`` …) are what the decorators need beyond get and
set; see ``guarded.py``. They have defaults too.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from cachelib import BaseCache as CachelibBaseCache

from .._entries.times import seconds
from .._runtime.process_loop import on_process_loop
from .._runtime.threads import offload
from ._versioned.contract import TOMBSTONE_LIFE, Lease, Snapshot, new_token
from ._versioned.operations import GuardedOperations

__all__ = ["TOMBSTONE_LIFE", "BaseCache", "Lease", "Snapshot", "new_token"]


class BaseCache(GuardedOperations, CachelibBaseCache):
    """Base class of all backends; subclass it to write one.

    :param default_timeout: seconds (or a ``timedelta``) that :meth:`set` uses when it is given no
        timeout; 0 never expires.
    :param ignore_delete_many_errors: whether :meth:`delete_many` skips a key that cannot be
        deleted instead of raising ``RuntimeError``.
    """

    #: Whether the sync methods wait for I/O. Where they never do, async callers run them inline.
    blocking: ClassVar[bool] = True
    #: Whether ``aget`` was written and ``get`` derived from it.
    async_native: ClassVar[bool] = False
    #: Whether both colours were written: see ``_twin.py``.
    two_coloured: ClassVar[bool] = False
    #: Whether other processes see the same entries.
    shared: ClassVar[bool] = False
    #: Put in front of every key by the backends that share a server with others.
    key_prefix: Any = ""
    #: Seconds since the epoch, as :func:`time.time`. Replace it in tests.
    clock: Callable[[], float] = staticmethod(time.time)

    def __init__(
        self,
        default_timeout: float | dt.timedelta = 300,
        ignore_delete_many_errors: bool = False,
    ) -> None:
        super().__init__(0, ignore_delete_many_errors)
        # Set here, because cachelib deprecates seconds with a fraction, and we do not.
        self.default_timeout = seconds(default_timeout)  # type: ignore[assignment]

    @classmethod
    def factory(
        cls, app: Any, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]
    ) -> BaseCache:
        """Build the backend from an app's configuration.

        :param config: every ``CACHE_*`` setting, defaults filled in.
        :param args: a copy of ``CACHE_ARGS``.
        :param kwargs: ``default_timeout`` and ``ignore_delete_many_errors``, updated with
            ``CACHE_OPTIONS``.
        """
        return cls()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _adopt_mixins(cls)
        written = vars(cls)
        if "aget" in written or "get" in written:
            cls.async_native = "get" not in written
        for name in PAIRS:
            if name in written and "a" + name not in written:
                setattr(cls, "a" + name, _awaitable(written[name], name))
            elif "a" + name in written and name not in written:
                setattr(cls, name, _blocking(written["a" + name], name))

    def _normalize_timeout(self, timeout: float | dt.timedelta | None) -> int:
        # cachelib deprecates float seconds; ours are allowed everywhere, and rounded up here.
        # Towards something shorter than 0 if it is negative: 0 would be for ever.
        if isinstance(timeout, float):
            timeout = math.ceil(timeout) if timeout > 0 else math.floor(timeout)
        return super()._normalize_timeout(timeout)

    # --- plain operations: what a subclass writes, in either colour -------------------------------

    def get(self, key: str) -> Any:
        """The value of ``key``, or ``None``."""
        raise NotImplementedError(f"{type(self).__name__} has neither get nor aget")

    async def aget(self, key: str) -> Any:
        """Awaitable :meth:`get`."""
        return await self._away(self.get, key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool | None:
        """Store ``value``; False if it could not be stored."""
        raise NotImplementedError(f"{type(self).__name__} has neither set nor aset")

    async def aset(self, key: str, value: Any, timeout: Any = None) -> bool | None:
        """Awaitable :meth:`set`."""
        return await self._away(self.set, key, value, timeout)  # type: ignore[no-any-return]

    def delete(self, key: str) -> bool:
        """Delete a key; whether it existed."""
        raise NotImplementedError(f"{type(self).__name__} has neither delete nor adelete")

    async def adelete(self, key: str) -> bool:
        """Awaitable :meth:`delete`."""
        return bool(await self._away(self.delete, key))

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store ``value`` unless the key exists; whether it was stored."""
        return not self.has(key) and self.set(key, value, timeout) is not False

    async def aadd(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Awaitable :meth:`add`."""
        if self.async_native:
            return not await self.ahas(key) and await self.aset(key, value, timeout) is not False
        return bool(await self._away(self.add, key, value, timeout))

    def has(self, key: str) -> bool:
        """Whether the key exists (a stored ``None`` cannot be told from nothing here)."""
        return self.get(key) is not None

    async def ahas(self, key: str) -> bool:
        """Awaitable :meth:`has`."""
        if self.async_native:
            return await self.aget(key) is not None
        return await self._away(self.has, key)  # type: ignore[no-any-return]

    def get_many(self, *keys: str) -> list[Any]:
        """The values of ``keys``, ``None`` for what is missing."""
        return [self.get(key) for key in keys]

    async def aget_many(self, *keys: str) -> list[Any]:
        """Awaitable :meth:`get_many`."""
        if self.async_native:
            return [await self.aget(key) for key in keys]
        return await self._away(self.get_many, *keys)  # type: ignore[no-any-return]

    def get_dict(self, *keys: str) -> dict[str, Any]:
        """Like :meth:`get_many`, as a dict."""
        return dict(zip(keys, self.get_many(*keys), strict=True))

    async def aget_dict(self, *keys: str) -> dict[str, Any]:
        """Awaitable :meth:`get_dict`."""
        return dict(zip(keys, await self.aget_many(*keys), strict=True))

    def set_many(self, mapping: Mapping[str, Any], timeout: Any = None) -> list[Any]:
        """Store several values; the list of the keys that were stored."""
        return [key for key, value in mapping.items() if self.set(key, value, timeout) is not False]

    async def aset_many(self, mapping: Mapping[str, Any], timeout: Any = None) -> list[Any]:
        """Awaitable :meth:`set_many`."""
        if not self.async_native:
            return await self._away(self.set_many, mapping, timeout)  # type: ignore[no-any-return]
        stored = []
        for key, value in mapping.items():
            if await self.aset(key, value, timeout) is not False:
                stored.append(key)
        return stored

    def delete_many(self, *keys: str) -> list[Any]:
        """Delete several keys; the list of the keys that are gone now."""
        for key in keys:
            self.delete(key)
        return list(keys)

    async def adelete_many(self, *keys: str) -> list[Any]:
        """Awaitable :meth:`delete_many`."""
        if not self.async_native:
            return await self._away(self.delete_many, *keys)  # type: ignore[no-any-return]
        for key in keys:
            await self.adelete(key)
        return list(keys)

    def unlink(self, *keys: str) -> list[Any]:
        """Delete several keys; on Redis, freeing their memory in the background."""
        return self.delete_many(*keys)

    async def aunlink(self, *keys: str) -> list[Any]:
        """Awaitable :meth:`unlink`."""
        return await self.adelete_many(*keys)

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add ``delta`` to the number under ``key`` (0 if there is none) and return the sum."""
        value = (self.get(key) or 0) + delta
        return value if self.set(key, value) is not False else None

    async def ainc(self, key: str, delta: int = 1) -> int | None:
        """Awaitable :meth:`inc`."""
        if not self.async_native:
            return await self._away(self.inc, key, delta)  # type: ignore[no-any-return]
        value = (await self.aget(key) or 0) + delta
        return value if await self.aset(key, value) is not False else None

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract ``delta`` from the number under ``key`` and return the difference."""
        return self.inc(key, -delta)

    async def adec(self, key: str, delta: int = 1) -> int | None:
        """Awaitable :meth:`dec`."""
        return await self.ainc(key, -delta)

    def clear(self) -> bool:
        """Drop everything that this backend stored. False where it cannot."""
        return False

    async def aclear(self) -> bool:
        """Awaitable :meth:`clear`."""
        return False if self.async_native else await self._away(self.clear)

    def close(self) -> None:  # noqa: B027
        """Release what is held (connections, files). A later call opens it again."""

    async def aclose(self) -> None:
        """Awaitable :meth:`close`."""
        if not self.async_native:
            await self._away(self.close)

    def open(self) -> None:  # noqa: B027
        """Sync code needs no call of this: it connects when it must."""

    async def aopen(self) -> None:
        """Awaitable :meth:`open`: let the running loop own connections, until :meth:`aclose`.

        That loop must not end before. Without this call, awaitable methods use worker threads.
        """

    def for_prefix(self, prefix: str) -> BaseCache:
        """This backend under another key prefix, over the same connections."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, key_prefix=prefix)
        return twin

    def native_here(self) -> bool:
        """Whether the running loop owns connections of this backend."""
        return False

    async def _away(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a sync method without blocking the loop."""
        return await offload(method, *args) if self.blocking else method(*args)


# --- deriving one colour from the other -----------------------------------------------------------

#: The sync names of all operations that come in pairs.
PAIRS = (
    "get set add has delete get_many set_many get_dict delete_many unlink inc dec clear close "
    "read ensure fill put expel claim deliver release"
).split()


def _adopt_mixins(cls: type) -> None:
    """``class Mine(BaseCache, cachelib.FileSystemCache)`` means cachelib's methods, not ours."""
    for name in PAIRS:
        homes = [kind for kind in cls.__mro__ if name in vars(kind)]
        if homes and homes[0] is BaseCache:
            others = [k for k in homes if not issubclass(BaseCache, k)]
            if others:
                setattr(cls, name, vars(others[0])[name])


def _awaitable(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    async def derived(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        # Looked up again, so that a subclass which overrides the sync method is heard.
        bound = functools.partial(getattr(self, name), *args, **kwargs)
        return await offload(bound) if self.blocking else bound()

    derived.__name__, derived.__qualname__ = "a" + name, f"{method.__qualname__} (awaitable)"
    derived.__doc__ = f"Awaitable :meth:`{name}`."
    return derived


def _blocking(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def derived(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        return on_process_loop(functools.partial(getattr(self, "a" + name), *args, **kwargs))

    derived.__name__, derived.__qualname__ = name, f"{method.__qualname__} (blocking)"
    derived.__doc__ = f"Blocking :meth:`a{name}`."
    return derived
