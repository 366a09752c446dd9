"""Backends that are native in both colours: blocking connections here, connections of a loop there.

Each operation is written once, as a coroutine ``_get(wire, key)`` over a *wire* to the server.
:func:`two_colours` makes ``get`` and ``aget`` of it. The blocking wire never suspends, and all
threads share it. An event loop has a wire of its own, but only where somebody said that the loop
lives long (:meth:`TwinCache.aopen`): a loop that ends with its request must never own a
connection, so that there the blocking operation is called in a worker thread.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from .._colour import offload, run_now
from .base import PAIRS, BaseCache
from .guarded import GuardedOperations

__all__ = ["TwinCache", "Wires", "two_colours"]

C = TypeVar("C", bound="type[TwinCache]")


class Wires:
    """The wires of one backend: one for all threads, and one for each loop that lives long.

    :param connect: makes the blocking wire; it does not connect yet.
    :param aconnect: makes a wire for the running loop, or ``None`` where there is no such client.
    """

    def __init__(
        self, connect: Callable[[], Any], aconnect: Callable[[], Any] | None = None
    ) -> None:
        self._connect, self._aconnect = connect, aconnect
        #: Gives the driver's own client for sync code, where there is one.
        self.client: Callable[[], Any] = lambda: None
        #: Whether the keys of one operation may lie on different servers.
        self.clustered = False
        self._lock = threading.Lock()
        self._blocking: Any = None
        self._of_loops: dict[asyncio.AbstractEventLoop, Any] = {}
        self._openings: dict[asyncio.AbstractEventLoop, int] = {}
        _all.add(self)

    def blocking(self) -> Any:
        """The wire for sync code."""
        wire = self._blocking
        if wire is None:
            with self._lock:
                if self._blocking is None:
                    self._blocking = self._connect()
                wire = self._blocking
        return wire

    def here(self) -> Any:
        """The wire of the running loop, or ``None`` if it has none."""
        if not self._of_loops:
            return None
        loop = asyncio._get_running_loop()
        return None if loop is None else self._of_loops.get(loop)

    def open(self) -> None:
        """Give the running loop a wire, if it is a loop of asyncio."""
        loop = asyncio._get_running_loop()
        if loop is None or self._aconnect is None:
            return
        with self._lock:
            for old in [old for old in self._of_loops if old.is_closed()]:
                del self._of_loops[old], self._openings[old]
            if loop not in self._of_loops:
                self._of_loops[loop] = self._aconnect()
            self._openings[loop] = self._openings.get(loop, 0) + 1

    async def aclose(self) -> bool:
        """Close the running loop's wire; False if somebody else who opened it still needs it."""
        loop = asyncio._get_running_loop()
        if loop is None:
            return True
        with self._lock:
            self._openings[loop] = left = self._openings.get(loop, 0) - 1
            if left > 0:
                return False
            del self._openings[loop]
            wire = self._of_loops.pop(loop, None)
        if wire is not None:
            await wire.close()
        return True

    def close(self) -> None:
        """Close the blocking wire."""
        with self._lock:
            wire, self._blocking = self._blocking, None
        if wire is not None:
            run_now(wire.close())

    def forget(self) -> None:
        """In a forked child, no loop of the parent runs any more, and its locks may be held."""
        self._lock = threading.Lock()
        # Kept, so that nothing complains about open transports.
        _lost.append((self._blocking, self._of_loops))
        self._blocking, self._of_loops, self._openings = None, {}, {}


_all: weakref.WeakSet[Wires] = weakref.WeakSet()
_lost: list[Any] = []


class TwinCache(BaseCache):
    """Base of the backends that have a client in either colour."""

    two_coloured: ClassVar[bool] = True
    shared = True
    _wires: Wires

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = [name for name in PLAIN if name in vars(cls) or "a" + name in vars(cls)]
        if own:
            _hear(cls, own)

    def native_here(self) -> bool:
        """Whether the running loop has connections of its own."""
        return self._wires.here() is not None

    async def aopen(self) -> None:
        """Awaitable :meth:`open`: let the running loop own connections, until :meth:`aclose`."""
        self._wires.open()

    def close(self) -> None:
        """Close the connections that threads share. A later call opens new ones."""
        self._wires.close()

    async def aclose(self) -> None:
        """Close the running loop's connections, and those that threads share.

        Where :meth:`aopen` was called several times on this loop, the last call does it.
        """
        if await self._wires.aclose():
            self._wires.close()  # what is idle only: no waiting


def two_colours(cls: C) -> C:
    """Make ``get`` and ``aget`` of each ``async def _get(self, wire, …)``, and so on."""
    for name in PAIRS:
        step = vars(cls).get("_" + name)
        if step is not None and name not in ("close",):
            setattr(cls, name, blocking := _blocking(step, name))
            setattr(cls, "a" + name, _native(step, name, blocking))
    return cls


def _blocking(step: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(step)
    def method(self: TwinCache, *args: Any, **kwargs: Any) -> Any:
        return run_now(step(self, self._wires.blocking(), *args, **kwargs))

    method.__name__ = name
    return method


def _native(
    step: Callable[..., Any], name: str, blocking: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(step)
    async def method(self: TwinCache, *args: Any, **kwargs: Any) -> Any:
        wire = self._wires.here()
        if wire is None:
            # Not self.get: a subclass may have made that of its own aget, which called this.
            return await offload(functools.partial(blocking, self, *args, **kwargs))
        return await step(self, wire, *args, **kwargs)

    method.__name__, method.__doc__ = "a" + name, f"Awaitable :meth:`{name}`."
    return method


#: What a subclass may have its own idea of, and what is made of it where a subclass has.
PLAIN = ("get", "set", "add", "has", "delete", "get_many", "set_many", "delete_many")
GUARDED = ("read", "ensure", "fill", "put", "expel", "claim", "deliver", "release")


def _hear(cls: type[TwinCache], own: list[str]) -> None:
    """Let a subclass with its own ``get`` or ``set`` be heard by everything else, too."""
    cls.two_coloured = False
    for name in GUARDED:
        for colour in (name, "a" + name):
            setattr(cls, colour, vars(GuardedOperations)[colour])
    cls.lease = BaseCache.lease  # type: ignore[method-assign]
    for one, many in (("get", "get_many"), ("set", "set_many"), ("delete", "delete_many")):
        if one in own and many not in own:
            own.append(many)
            for colour in (many, "a" + many):
                setattr(cls, colour, vars(BaseCache)[colour])
    if "delete_many" in own and "unlink" not in vars(cls):
        cls.unlink, cls.aunlink = BaseCache.unlink, BaseCache.aunlink  # type: ignore[method-assign]


def _forget_all() -> None:
    for wires in list(_all):
        wires.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
