"""Transports to Memcached: connections to each server, and one verb for all that is asked.

The sockets are ours. A driver's public client sends one command and waits for its answer before it
sends the next, so that a look at an entry, its versions and its namespace would take a trip each;
and aiomcache's gives a connection back to its pool when a call was cancelled, with the answer still
to come: the next caller gets it. What is left of a driver without its client is ``connect``.
pymemcache, with public functions, decides which server has which key: ``ring.py``.

A transport sends to all servers that a question is for, and then reads what each of them answers. A
connection that failed in any way is closed.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from ..._runtime.deadline import Deadline
from .._connections.conversation import Conversation, Reading
from .._connections.per_loop import PerLoop
from .._connections.pool import AsyncPool, SyncPool
from .._connections.server import Budget
from .._connections.sockets import Socket, has_more, limit
from .looking import Question, Seen
from .protocol import (
    Answer,
    Answers,
    Command,
    closed,
    portions,
    raise_errors,
)
from .ring import Server, named
from .verbs import MemcachedTransport

__all__ = ["AsyncTransport", "Transport", "per_loop"]

#: Commands for one server.
Part: TypeAlias = tuple[int, Sequence[Command]]

#: How much is read at once.
SIZE = 1 << 16


def per_loop(servers: Sequence[Server], budget: Budget) -> PerLoop[MemcachedTransport]:
    """The transports to some servers."""
    where = ", ".join(map(named, servers))
    return PerLoop(
        lambda: Transport(servers, budget), lambda: AsyncTransport(servers, budget), where
    )


def _by_server(commands: Sequence[Command]) -> list[Part]:
    """Commands by server, always in the same order of servers."""
    parts: dict[int, list[Command]] = {}
    for command in commands:
        parts.setdefault(command.at, []).append(command)
    return [(at, parts[at]) for at in sorted(parts)]


def _in_order(commands: Sequence[Command], answers: dict[int, list[Answer]]) -> Iterator[Answer]:
    """The answers in the order of the commands."""
    queues = {at: iter(of_server) for at, of_server in answers.items()}
    return (next(queues[command.at]) for command in commands)


def _naming(server: Server, error: OSError) -> OSError:
    """The same error, which says now where one of several servers is that cannot be reached."""
    if error.errno is not None:
        error.filename = named(server)
    return error


# --- blocking -------------------------------------------------------------------------------------


class _Opener:
    """Opens connections to one server for sync code."""

    def __init__(self, server: Server, budget: Budget) -> None:
        self.server, self.budget = server, budget

    def connect(self) -> Socket:
        """A new connection, to the first address of the name where a server listens."""
        deadline = time.monotonic() + self.budget.connect
        failure = OSError(f"{self.server!r} has no address")
        for family, kind, address in self._addresses():
            connection = Socket(family, kind)
            try:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                connection.connect(address)
                if family != getattr(socket, "AF_UNIX", None):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                limit(connection, self.budget.operation)
                return connection
            except OSError as error:
                connection.close()
                failure = error
        raise _naming(self.server, failure)

    def _addresses(self) -> Iterable[tuple[int, int, tuple[object, ...] | str]]:
        """Family, kind and address of each socket that may lead to the server."""
        if isinstance(self.server, str):
            return [(socket.AF_UNIX, socket.SOCK_STREAM, self.server)]
        found = socket.getaddrinfo(*self.server, type=socket.SOCK_STREAM)
        return [(family, kind, address) for family, kind, _, _, address in found]

    def usable(self, connection: Socket) -> bool:
        """Whether the connection stands, and has nothing to say that was not asked."""
        try:
            # What has_more() asks of most: a call of Python is as long as what the kernel does.
            return not (has_more(connection) if (poll := connection.poll) is None else poll(0))
        except OSError:
            return False

    def close(self, connection: Socket) -> None:
        connection.close()


class _InPortions(MemcachedTransport, Protocol):
    """What both transports do with many commands; a trip is what differs."""

    async def _trip(self, parts: list[Part]) -> dict[int, list[Answer]]: ...

    async def batch(self, commands: Sequence[Command]) -> list[Answer]:
        """The answers to several commands, in one trip to each server."""
        if len(commands) == 1:  # as hits are
            at = commands[0].at
            return raise_errors((await self._trip([(at, commands)]))[at])
        answers: list[Answer] = []
        for portion in portions(commands):
            answers += _in_order(portion, await self._trip(_by_server(portion)))
        return raise_errors(answers)


class Transport(_InPortions):
    """The blocking transport; its coroutines never suspend."""

    def __init__(self, servers: Sequence[Server], budget: Budget) -> None:
        self.pools = [
            SyncPool(_Opener(server, budget), budget.limit, budget.patience) for server in servers
        ]

    async def _trip(self, parts: list[Part]) -> dict[int, list[Answer]]:
        return self._ask(parts)

    def look_now(self, question: Question) -> Seen:
        """What a look sees."""
        if question.sent is None:
            return super().look_now(question)
        pool = self.pools[question.commands[0].at]
        return pool.run(functools.partial(_look, question, question.sent))

    def _ask(self, parts: list[Part]) -> dict[int, list[Answer]]:
        (at, commands), *others = parts

        def meanwhile() -> None:
            if others:
                answered.update(self._ask(others))

        def use(connection: Socket) -> list[Answer]:
            sent = b"".join([command.sent for command in commands])
            return _converse(connection, sent, Answers(commands).feed, meanwhile)

        answered: dict[int, list[Answer]] = {}
        answered[at] = self.pools[at].run(use)
        return answered

    async def close(self) -> None:
        """Close what is idle."""
        for pool in self.pools:
            pool.close()


def _look(question: Question, sent: bytes, connection: Socket) -> Seen:
    """:func:`_converse` of a look, whose answer mostly comes at once."""
    try:
        connection.sendall(sent)
        data = connection.recv(SIZE)
        seen = question.read(data)
        if seen is None:
            reading = question.reading()
            while (answers := reading(data)) is None:
                data = connection.recv(SIZE)
            seen = answers[0]
        return seen
    except BlockingIOError:  # the kernel's word for it
        raise TimeoutError("timed out") from None


def _converse(
    connection: Socket, sent: bytes, reading: Reading, meanwhile: Callable[[], object]
) -> list[Any]:
    """Send a question; what ``reading`` makes of its answer.

    :param meanwhile: called while the server is at it.
    """
    try:
        connection.sendall(sent)
        meanwhile()
        while (answers := reading(connection.recv(SIZE))) is None:
            pass
    except BlockingIOError:  # the kernel's word for it
        raise TimeoutError("timed out") from None
    return answers


# --- on an event loop -----------------------------------------------------------------------------


class _AsyncOpener:
    """Opens connections to one server for the running loop."""

    def __init__(self, server: Server, budget: Budget) -> None:
        self.server, self.budget = server, budget

    async def connect(self) -> Conversation:
        loop = asyncio.get_running_loop()
        try:
            async with Deadline(self.budget.connect):
                if isinstance(self.server, str):
                    return (await loop.create_unix_connection(self._begin, self.server))[1]
                return (await loop.create_connection(self._begin, *self.server))[1]
        except OSError as error:
            raise _naming(self.server, error)  # noqa: B904

    def _begin(self) -> Conversation:
        return Conversation(self.budget.operation, closed)

    def usable(self, connection: Conversation) -> bool:
        return connection.stands

    async def close(self, connection: Conversation) -> None:
        connection.transport.abort()


class AsyncTransport(_InPortions):
    """The transport of one event loop."""

    def __init__(self, servers: Sequence[Server], budget: Budget) -> None:
        self.pools = [
            AsyncPool(_AsyncOpener(server, budget), budget.limit, budget.patience)
            for server in servers
        ]

    async def _trip(self, parts: list[Part]) -> dict[int, list[Answer]]:
        if len(parts) == 1:  # without tasks
            return {parts[0][0]: await self._ask(*parts[0])}
        asking = [self._ask(*part) for part in parts]
        answered = await asyncio.gather(*asking, return_exceptions=True)
        found: dict[int, list[Answer]] = {}
        for (at, _), answer in zip(parts, answered, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            found[at] = answer
        return found

    async def look(self, question: Question) -> Seen:
        """What a look sees."""
        sent, reading = question.sent, question.reading()
        if sent is None:
            return await super().look(question)
        pool = self.pools[question.commands[0].at]
        seen: Seen = (await pool.run(lambda connection: connection.send(sent, reading)))[0]
        return seen

    async def _ask(self, at: int, commands: Sequence[Command]) -> list[Answer]:
        sent = b"".join([command.sent for command in commands])
        answers = Answers(commands)
        return await self.pools[at].run(lambda connection: connection.send(sent, answers.feed))

    async def close(self) -> None:
        """Close what is idle, before this loop may end."""
        for pool in self.pools:
            await pool.close()
        await asyncio.sleep(0)  # the transports close in the loop's next round
