"""A connection of an event loop: questions go out, and their answers are read as they come.

Streams, as asyncio has them, wake a reader, hand it what has come, and are asked again: a protocol
is called with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from ..._runtime.deadline import GRACE

__all__ = ["Conversation", "Reading"]

#: Is given what has come; what was answered, or ``None`` as long as more is to come. It raises what
#: is wrong with it.
Reading: TypeAlias = Callable[[bytes], list[Any] | None]


class Conversation(asyncio.Protocol):
    """A connection over which one caller at a time asks.

    :param patience: seconds for an answer.
    :param closed: makes the error for a connection that the server has closed.
    """

    transport: asyncio.Transport

    def __init__(self, patience: float, closed: Callable[[], Exception]) -> None:
        self._patience, self._closed = patience, closed
        self._loop = asyncio.get_running_loop()
        self._reading: Reading | None = None
        self._answered: asyncio.Future[list[Any]] | None = None
        self._asked = 0.0
        # One for all questions that are asked before it rings, since most are answered by then.
        self._alarm: asyncio.TimerHandle | None = None
        #: Whether it stands no more.
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Something has come: a part of the answers, or what was not asked."""
        if self._reading is None:
            self.transport.abort()
            return
        try:
            answers = self._reading(data)
        except Exception as error:
            self._fail(error)
            return
        if answers is not None:
            answered, self._reading, self._answered = self._answered, None, None
            if answered is not None and not answered.done():
                answered.set_result(answers)

    def connection_lost(self, exc: Exception | None) -> None:
        """It stands no more."""
        self.ended = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._fail(exc or self._closed())

    def _fail(self, error: Exception) -> None:
        answered, self._reading, self._answered = self._answered, None, None
        if answered is not None and not answered.done():  # else no caller waits (any more)
            answered.set_exception(error)

    @property
    def stands(self) -> bool:
        """Whether it stands."""
        return not (self.ended or self.transport.is_closing())

    def send(self, sent: bytes, reading: Reading) -> asyncio.Future[list[Any]]:
        """Send a question; what ``reading`` makes of the answer.

        Who does not wait for it must close the connection.

        :raises TimeoutError: of the future, if it does not come in time.
        """
        if self.ended:
            raise self._closed()
        loop = self._loop
        self._reading, self._asked = reading, loop.time()
        answered = self._answered = loop.create_future()
        if self._alarm is None:
            self._alarm = loop.call_later(self._patience, self._ring)
        self.transport.write(sent)
        return answered

    def _ring(self) -> None:
        """Look whether an answer is late."""
        self._alarm, answered = None, self._answered
        if answered is None or answered.done():
            return
        left = self._asked + self._patience - self._loop.time()
        if left > 0:  # it was asked later
            self._alarm = self._loop.call_later(left, self._ring)
        else:  # perhaps it is there, and this loop was blocked: then it is read first
            self._alarm = self._loop.call_later(GRACE, self._give_up, answered)

    def _give_up(self, answered: asyncio.Future[list[Any]]) -> None:
        self._alarm = None
        if answered is self._answered:
            self._fail(TimeoutError("timed out"))
        else:
            self._ring()
