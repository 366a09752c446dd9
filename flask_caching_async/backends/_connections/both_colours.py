"""Backends that are native in both colours: blocking connections here, connections of a loop there.

Each operation is written once, as a step ``_get(self, transport, key)`` over a *transport* to the
server, and :func:`over_transport` makes ``get`` and ``aget`` of it. The blocking transport never
suspends, and all threads share it. An event loop has a transport of its own, but only where a
program said that the loop lives long (:meth:`TwoColouredCache.aopen`): a loop that ends with its
request must never own a connection, so that there the blocking operation is called in a worker
thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar

from ..._runtime.colour import halves, run_now
from ..._runtime.threads import offload
from ...typing import Args, Coro, Kwargs
from .._versioned.contract import PLAIN, VERSIONED
from .._versioned.operations import VersionedOperations
from ..base import BaseCache
from .per_loop import Closable, PerLoop

__all__ = ["TwoColouredCache", "over_transport", "respect_overrides"]

S = TypeVar("S")
T = TypeVar("T", bound=Closable)
P = ParamSpec("P")
R = TypeVar("R")
Step = Callable[Concatenate[S, T, P], Coro[R]]
Pair = tuple[Callable[Concatenate[S, P], R], Callable[Concatenate[S, P], Coro[R]]]


def over_transport(step: Step[S, T, P, R]) -> Pair[S, P, R]:
    """Both halves of an operation: ``get, aget = over_transport(_get)``."""
    both = halves(step, _run, _arun)
    _made.update(both)
    return both


#: All halves that were made here: they are no overrides of a subclass.
_made: set[Callable[..., object]] = set()


def _run(backend: TwoColouredCache[T], step: Step[Any, T, ..., R], args: Args, kwargs: Kwargs) -> R:
    return run_now(step(backend, backend._transports.blocking(), *args, **kwargs))


async def _arun(
    backend: TwoColouredCache[T], step: Step[Any, T, ..., R], args: Args, kwargs: Kwargs
) -> R:
    transport = backend._transports.here()
    if transport is None:
        # Not by its name: a subclass may have made the sync half of its own aget, which called
        # this.
        return await offload(functools.partial(_run, backend, step, args, kwargs))
    return await step(backend, transport, *args, **kwargs)


class TwoColouredCache(BaseCache, Generic[T]):
    """Base of the backends that have a client in either colour."""

    two_coloured: ClassVar[bool] = True
    shared = True
    _transports: PerLoop[T]

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        halves_of = ((name, (vars(cls).get(name), vars(cls).get("a" + name))) for name in PLAIN)
        own = [name for name, both in halves_of if any(half and half not in _made for half in both)]
        if own:
            respect_overrides(cls, own)

    def native_here(self) -> bool:
        """Whether the running loop has connections of its own."""
        return self._transports.here() is not None

    async def aopen(self) -> None:
        """Awaitable :meth:`open`: let the running loop own connections, until :meth:`aclose`."""
        self._transports.open()

    def close(self) -> None:
        """Close the connections that threads share. A later call opens new ones."""
        self._transports.close()

    async def aclose(self) -> None:
        """Close the running loop's connections, and those that threads share.

        Where :meth:`aopen` was called several times on this loop, the last call does it.
        """
        await self._transports.aclose()


def respect_overrides(cls: type[TwoColouredCache[Any]], own: list[str]) -> None:
    """Where a subclass has its own ``get`` or ``set``, let everything else go through it, too."""
    cls.two_coloured = False
    for name in VERSIONED:
        for half in (name, "a" + name):
            setattr(cls, half, vars(VersionedOperations)[half])
    cls.lease = BaseCache.lease  # type: ignore[method-assign]
    for one, many in (("get", "get_many"), ("set", "set_many"), ("delete", "delete_many")):
        if one in own and many not in own:
            own.append(many)
            for half in (many, "a" + many):
                setattr(cls, half, vars(BaseCache)[half])
