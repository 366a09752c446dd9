"""A time limit for asyncio code that does not blame a server for a loop which was late itself."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["Deadline"]

#: Seconds more, once the limit has passed. If the loop was blocked meanwhile, by a view that
#: computes for a second, say, the answer has come long ago: this lets it be read.
GRACE = 0.02


class Deadline:
    """Like :func:`asyncio.timeout`, but for its grace.

    ::

        async with Deadline(0.5):
            await connection.read()

    :param seconds: after them, and the grace, the block is cancelled.
    :raises TimeoutError: when the block was cancelled for that reason.
    """

    __slots__ = ("_seconds", "_task", "_handle", "_fired", "_cancelling")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._fired = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "there is always a task here"
        self._task, self._cancelling = task, task.cancelling()
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._late)
        return self

    def _late(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(GRACE, self._cancel)

    def _cancel(self) -> None:
        self._fired = True
        self._task.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handle.cancel()
        if self._fired and self._task.uncancel() <= self._cancelling:
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError from error
