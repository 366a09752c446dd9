"""One transport for all threads, and one for each event loop that lives long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from ..._runtime.colour import run_now
from ..._runtime.fork import forgets_parent

__all__ = ["Wires"]

#: What forked children have inherited: kept, so that nothing complains about open transports.
_lost: list[Any] = []


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
        forgets_parent(self)

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

    def forget_parent(self) -> None:
        """In a forked child, no loop of the parent runs any more, and its locks may be held."""
        self._lock = threading.Lock()
        # Kept, so that nothing complains about open transports.
        _lost.append((self._blocking, self._of_loops))
        self._blocking, self._of_loops, self._openings = None, {}, {}
