"""Backends that are native in both colours: blocking connections here, connections of a loop there.

Each operation is written once, as a coroutine ``_get(wire, key)`` over a *wire* to the server.
:func:`two_colours` makes ``get`` and ``aget`` of it. The blocking wire never suspends, and all
threads share it. An event loop has a wire of its own, but only where somebody said that the loop
lives long (:meth:`TwinCache.aopen`): a loop that ends with its request must never own a
connection, so that there the blocking operation is called in a worker thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from ..._runtime.colour import run_now
from ..._runtime.threads import offload
from .._versioned.operations import GuardedOperations
from ..base import PAIRS, BaseCache
from .per_loop import Wires

__all__ = ["TwinCache", "two_colours"]

C = TypeVar("C", bound="type[TwinCache]")


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
