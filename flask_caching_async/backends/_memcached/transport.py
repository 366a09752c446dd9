"""Transports to Memcached: connections to each server, and one verb for all that is asked.

The sockets are ours. A driver's public client sends one command and waits for its answer before it
sends the next, so that a look at an entry, its versions and its namespace would take a trip each;
and aiomcache's gives a connection back to its pool when a call was cancelled, with the answer still
to come: the next caller gets it. What is left of a driver without its client is ``connect``.
pymemcache, with public functions, decides which server has which key.

A transport sends to all servers that a question is for, and then reads what each of them answers. A
connection that failed in any way is closed.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from pymemcache.client.base import normalize_server_spec
from pymemcache.client.rendezvous import RendezvousHash

from ..._runtime.deadline import Deadline
from ...exceptions import BackendError, ConfigurationError
from .._connections.per_loop import PerLoop
from .._connections.pool import AsyncPool, SyncPool
from .._connections.secrets import host_name, shown
from .._connections.server import Budget
from .protocol import Answer, Answers, Command, MemcachedTransport, portions, raise_errors
from .sockets import Socket

__all__ = ["AsyncTransport", "Ring", "Transport", "per_loop", "servers_of"]

#: ``(host, port)``, or the path of a socket.
Server: TypeAlias = tuple[str, int] | str

#: Commands for one server.
Part: TypeAlias = tuple[int, Sequence[Command]]

#: How much is read at once.
SIZE = 1 << 16


def servers_of(given: Any) -> list[Server]:
    """The servers that a user means.

    :param given: one or several of ``"host:port"``, ``(host, port)``, ``"/path"``; or ``None``.
    :raises ConfigurationError: if it is something else.
    """
    if given is None:
        given = "127.0.0.1:11211"
    found: dict[Server, None] = {}
    for one in given if isinstance(given, (list, tuple)) else [given]:
        try:
            spec = normalize_server_spec(tuple(one) if isinstance(one, list) else one)
            if not isinstance(spec, str):
                host, port = spec
                spec = host_name(host), int(port)
        except (TypeError, ValueError):
            raise ConfigurationError(
                "CACHE_MEMCACHED_SERVERS must be a list of 'host:port', (host, port) and paths of "
                f"sockets, or a client; {shown(one)} is none of these"
            ) from None
        found[spec] = None
    if not found:
        raise ConfigurationError("CACHE_MEMCACHED_SERVERS names no server")
    return list(found)


class Ring:
    """Which server has which name: the same one in every process, and for pymemcache's clients.

    It is pymemcache's own rendezvous hash: another program finds what was stored here, and a server
    that is added or taken away moves only its own share of the names.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        names = list(map(_named, servers))
        self._numbers = {name: number for number, name in enumerate(names)}
        self._hash = RendezvousHash(names)
        #: The names of all servers, by their numbers.
        self.names = names
        #: The numbers of all servers.
        self.numbers = range(len(names))
        #: The number of the server for a name.
        self.at: Callable[[str], int] = functools.lru_cache(4096)(self._choose)
        if len(names) == 1:
            self.at = lambda name: 0

    def only(self, number: int) -> Ring:
        """The part of this ring that is on one server."""
        part = copy.copy(self)
        part.numbers, part.at = range(number, number + 1), lambda name: number
        return part

    def _choose(self, name: str) -> int:
        return self._numbers[str(self._hash.get_node(name))]


def per_loop(servers: Sequence[Server], budget: Budget) -> PerLoop[MemcachedTransport]:
    """The transports to some servers."""
    where = ", ".join(map(_named, servers))
    return PerLoop(
        lambda: Transport(servers, budget), lambda: AsyncTransport(servers, budget), where
    )


def _named(server: Server) -> str:
    return server if isinstance(server, str) else f"{server[0]}:{server[1]}"


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
        error.filename = _named(server)
    return error


# --- blocking -------------------------------------------------------------------------------------


class _Opener:
    """Opens connections to one server for sync code."""

    harmless: tuple[type[BaseException], ...] = ()

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
                connection.limit(self.budget.operation)
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
            return not connection.has_more()
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

    def _ask(self, parts: list[Part]) -> dict[int, list[Answer]]:
        (at, commands), *others = parts

        def use(connection: Socket) -> dict[int, list[Answer]]:
            try:
                connection.sendall(b"".join([command.sent for command in commands]))
                answered = self._ask(others) if others else {}  # while this server is at it
                answers = Answers(commands)
                while not answers.feed(connection.recv(SIZE)):
                    pass
            except BlockingIOError:  # the kernel's word for it
                raise TimeoutError("timed out") from None
            answered[at] = answers.done
            return answered

        return self.pools[at].run(use)

    async def close(self) -> None:
        """Close what is idle."""
        for pool in self.pools:
            pool.close()


# --- on an event loop -----------------------------------------------------------------------------


class Conversation(asyncio.Protocol):
    """A connection of an event loop: questions go out, and their answers are read as they come."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._answers: Answers | None = None
        self._complete: asyncio.Future[None] | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Something has come: a part of the answers, or what was not asked."""
        if self._answers is None:
            self.transport.abort()
            return
        try:
            if self._answers.feed(data):
                self._end(None)
        except BackendError as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """It stands no more."""
        self.ended = True
        self._end(exc or BackendError("Memcached closed the connection"))

    def _end(self, error: Exception | None) -> None:
        complete, self._answers, self._complete = self._complete, None, None
        if complete is None or complete.done():  # no caller waits (any more)
            return
        if error is None:
            complete.set_result(None)
        else:
            complete.set_exception(error)

    async def ask(self, commands: Sequence[Command]) -> list[Answer]:
        """The answers to some commands; one caller at a time.

        :raises BackendError: if something else came, or the connection was closed.
        """
        if self.ended:
            raise BackendError("Memcached closed the connection")
        answers = self._answers = Answers(commands)
        self._complete = asyncio.get_running_loop().create_future()
        self.transport.write(b"".join([command.sent for command in commands]))
        await self._complete
        return answers.done


class _AsyncOpener:
    """Opens connections to one server for the running loop."""

    harmless: tuple[type[BaseException], ...] = ()

    def __init__(self, server: Server, budget: Budget) -> None:
        self.server, self.budget = server, budget

    async def connect(self) -> Conversation:
        loop = asyncio.get_running_loop()
        try:
            async with Deadline(self.budget.connect):
                if isinstance(self.server, str):
                    return (await loop.create_unix_connection(Conversation, self.server))[1]
                return (await loop.create_connection(Conversation, *self.server))[1]
        except OSError as error:
            raise _naming(self.server, error)  # noqa: B904

    def usable(self, connection: Conversation) -> bool:
        return not (connection.ended or connection.transport.is_closing())

    async def close(self, connection: Conversation) -> None:
        connection.transport.abort()


class AsyncTransport(_InPortions):
    """The transport of one event loop."""

    def __init__(self, servers: Sequence[Server], budget: Budget) -> None:
        self.pools = [
            AsyncPool(_AsyncOpener(server, budget), budget.limit, budget.patience)
            for server in servers
        ]
        self._patience = budget.operation

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

    async def _ask(self, at: int, commands: Sequence[Command]) -> list[Answer]:
        async def use(connection: Conversation) -> list[Answer]:
            async with Deadline(self._patience):
                return await connection.ask(commands)

        return await self.pools[at].run(use)

    async def close(self) -> None:
        """Close what is idle, before this loop may end."""
        for pool in self.pools:
            await pool.close()
        await asyncio.sleep(0)  # the transports close in the loop's next round
