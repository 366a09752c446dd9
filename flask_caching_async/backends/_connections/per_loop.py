"""One transport for all threads, and one for each event loop that lives long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from ..._runtime.colour import run_now
from ..._runtime.fork import forgets_parent

__all__ = ["PerLoop"]

#: What forked children have inherited: kept, so that nothing complains about open transports.
_lost: list[object] = []


class Closable(Protocol):
    """What every transport can do."""

    async def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        ...


T = TypeVar("T", bound=Closable)


class PerLoop(Generic[T]):
    """The transports of one backend: one for all threads, and one for each loop that lives long.

    :param connect: makes the blocking transport; it does not connect yet.
    :param aconnect: makes a transport for the running loop, or ``None`` where no driver can.
    :param where: the server, as errors and the log name it; no password stands in it.
    :param client: gives the driver's own client for sync code, where there is one.
    :param clustered: whether the keys of one operation may lie on different servers.
    """

    def __init__(
        self,
        connect: Callable[[], T],
        aconnect: Callable[[], T] | None,
        where: str,
        client: Callable[[], Any] = lambda: None,
        clustered: bool = False,
    ) -> None:
        self._connect, self._aconnect = connect, aconnect
        self.where, self.client, self.clustered = where, client, clustered
        # Reentrant, for handlers: of two transports that were made at once, one is kept.
        self._lock = threading.RLock()
        self._blocking: T | None = None
        self._of_loops: dict[asyncio.AbstractEventLoop, T] = {}
        self._openings: dict[asyncio.AbstractEventLoop, int] = {}
        forgets_parent(self)

    def blocking(self) -> T:
        """The transport for sync code."""
        transport = self._blocking
        if transport is None:
            with self._lock:
                made = self._blocking or self._connect()  # it has no connection yet
                transport = self._blocking = self._blocking or made
        return transport

    def here(self) -> T | None:
        """The transport of the running loop, or ``None`` if it has none."""
        if not self._of_loops:
            return None
        loop = asyncio._get_running_loop()
        return None if loop is None else self._of_loops.get(loop)

    def for_renewal(self, taken_over: T | None) -> T | None:
        """The blocking transport, for the thread that renews a lease.

        ``None`` if what the lease was taken over is closed: that must open no new connection, which
        no later call would close.

        :param taken_over: the transport over which the lease was asked for.
        """
        with self._lock:
            if taken_over is not None and taken_over is self._blocking:
                return taken_over
            if not any(taken_over is transport for transport in self._of_loops.values()):
                return None
            return self.blocking()

    def for_release(self, offered: T, taken_over: T | None) -> T:
        """The transport over which a lease is given back: the one that the operation has.

        Where all that the lease knew is closed by now, it is a blocking one that keeps no
        connection.
        """
        with self._lock:
            loops = self._of_loops.values()
            if any(known is offered or known is taken_over for known in loops):
                return offered
            if taken_over is None or taken_over is offered:
                return offered
        parting = self._connect()
        run_now(parting.close())
        return parting

    def open(self) -> None:
        """Give the running loop a transport, if it is a loop of asyncio."""
        loop = asyncio._get_running_loop()
        if loop is None or self._aconnect is None:
            return
        with self._lock:
            for old in [old for old in self._of_loops if old.is_closed()]:
                del self._of_loops[old], self._openings[old]
            if loop not in self._of_loops:
                self._of_loops[loop] = self._aconnect()
            self._openings[loop] = self._openings.get(loop, 0) + 1

    async def aclose(self) -> None:
        """Close the running loop's transport and the blocking one.

        Where :meth:`open` was called several times on this loop, the last call does it.
        """
        loop, transport = asyncio._get_running_loop(), None
        if loop is not None:
            with self._lock:
                self._openings[loop] = left = self._openings.get(loop, 0) - 1
                if left > 0:
                    return
                del self._openings[loop]
                transport = self._of_loops.pop(loop, None)
        try:
            if transport is not None:
                await transport.close()
        finally:
            self.close()  # what is idle only: no waiting

    def close(self) -> None:
        """Close the blocking transport."""
        with self._lock:
            transport, self._blocking = self._blocking, None
        if transport is not None:
            run_now(transport.close())

    def forget_parent(self) -> None:
        """In a forked child, no loop of the parent runs any more, and its locks may be held."""
        self._lock = threading.RLock()
        # Kept, so that nothing complains about open transports.
        _lost.append((self._blocking, self._of_loops))
        self._blocking, self._of_loops, self._openings = None, {}, {}
