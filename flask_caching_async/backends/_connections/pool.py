"""Connections to a server: a few of them, taken and given back, in both colours.

A pool of our own because of three rules that drivers' pools do not all keep: a connection that
failed or was cancelled in the middle of an operation, by whatever exception, is closed and never
used again; a caller who finds all of them taken waits instead of failing; and a forked child closes
what it inherited without a word to the server.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from ..._runtime.deadline import Deadline
from ..._runtime.fork import forgets_parent
from .slots import AsyncSlots, Slots

__all__ = ["AsyncOpener", "AsyncPool", "Opener", "SyncPool"]

T = TypeVar("T")
#: A connection of some driver.
C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


class _Known(Protocol[C_contra]):
    """What a pool must know of connections in either colour."""

    def usable(self, connection: C_contra) -> bool:
        """Whether a connection that lay idle still stands."""
        ...


class Opener(_Known[C], Protocol[C]):
    """Opens and closes connections for sync code."""

    def connect(self) -> C:
        """A new connection."""
        ...

    def close(self, connection: C) -> None:
        """Close a connection."""
        ...


class AsyncOpener(_Known[C], Protocol[C]):
    """Opens and closes connections of the running loop."""

    async def connect(self) -> C:
        """A new connection."""
        ...

    async def close(self, connection: C) -> None:
        """Close a connection."""
        ...


class SyncPool(Generic[C]):
    """Connections that threads share.

    :param limit: how many there may be.
    :param patience: seconds to wait for a free one.
    """

    def __init__(self, opener: Opener[C], limit: int, patience: float) -> None:
        self.opener, self.limit, self.patience = opener, limit, patience
        self._free: deque[C] = deque()
        self._slots = Slots(limit)
        self._closed = False
        forgets_parent(self)

    def run(self, use: Callable[[C], T]) -> T:
        """Give a connection to ``use``, and return what that returns.

        :raises TimeoutError: if none became free in time.
        """
        slots = self._slots
        slots.take(self.patience)
        try:
            free, connection = self._free, self._take()
            try:
                result = use(connection)
            except BaseException:
                self._discard(connection)
                raise
            free.append(connection)
            if self._closed or free is not self._free:  # closed or renewed while it was in use
                self._drain(free)
            return result
        finally:
            slots.give_back()

    def _take(self) -> C:
        while True:
            try:
                connection = self._free.pop()  # that was given back last
            except IndexError:
                return self.opener.connect()
            if self.opener.usable(connection):
                return connection
            self._discard(connection)

    def _discard(self, connection: C) -> None:
        with contextlib.suppress(Exception):
            self.opener.close(connection)

    def _drain(self, free: deque[C]) -> None:
        while free:
            with contextlib.suppress(IndexError):
                self._discard(free.pop())

    def renew(self) -> None:
        """Close what is idle now, and what is in use as soon as it is given back."""
        old, self._free = self._free, deque()
        self._drain(old)

    def close(self) -> None:
        """Close everything, as :meth:`renew` does, and keep no connection any more."""
        self._closed = True
        self.renew()

    def forget_parent(self) -> None:
        """In a forked child: start anew, and leave the parent's connections to the parent."""
        self._slots = Slots(self.limit)
        inherited, self._free = self._free, deque()
        for connection in inherited:
            self._discard(connection)  # its file descriptor only


class AsyncPool(Generic[C]):
    """Connections that the tasks of one event loop share; see :class:`SyncPool`."""

    def __init__(self, opener: AsyncOpener[C], limit: int, patience: float) -> None:
        self.opener, self.limit, self.patience = opener, limit, patience
        self._free: deque[C] = deque()
        self._slots = AsyncSlots(limit)
        self._closed = False

    async def run(self, use: Callable[[C], Awaitable[T]]) -> T:
        """Give a connection to ``use``, and return what that returns.

        :raises TimeoutError: if none became free in time.
        """
        slots = self._slots
        if not slots.take_now():
            async with Deadline(self.patience):
                await slots.take()
        try:
            free, connection = self._free, await self._take()
            try:
                result = await use(connection)
            except BaseException:
                await self._discard(connection)
                raise
            free.append(connection)
            if self._closed or free is not self._free:
                await self._drain(free)
            return result
        finally:
            slots.give_back()

    async def _take(self) -> C:
        while self._free:
            connection = self._free.pop()
            if self.opener.usable(connection):
                return connection
            await self._discard(connection)
        return await self.opener.connect()

    async def _discard(self, connection: C) -> None:
        with contextlib.suppress(Exception):
            await self.opener.close(connection)

    async def _drain(self, free: deque[C]) -> None:
        while free:
            await self._discard(free.pop())

    async def renew(self) -> None:
        """Close what is idle now, and what is in use as soon as it is given back."""
        old, self._free = self._free, deque()
        await self._drain(old)

    async def close(self) -> None:
        """Close everything, as :meth:`renew` does, and keep no connection any more."""
        self._closed = True
        await self.renew()
