"""Wires to Memcached: connections to each server, and one verb for all that is asked.

The connections are opened by pymemcache and aiomcache; what is said on them is said here. Their
clients send one command after the other, and aiomcache's gives a connection back to its pool when
a call was cancelled, with the answer still to come: the next one to ask gets it. Here, a connection
that failed in any way is closed.

The wires send to all servers that a question is for, and then read what each of them answers.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pymemcache.client.base import Client, normalize_server_spec
from pymemcache.client.rendezvous import RendezvousHash

from ..._runtime.deadline import Deadline
from ...exceptions import ConfigurationError
from .._connections.per_loop import PerLoop
from .._connections.pool import AsyncPool, SyncPool
from .protocol import Answers, Command, portions, raise_errors

__all__ = ["Budget", "Ring", "servers_of", "per_loop"]

#: ``(host, port)``, or the path of a socket.
Server = tuple[str, int] | str

#: Commands for one server.
Part = tuple[int, Sequence[Command]]

#: How much is read at once.
SIZE = 1 << 16


class Budget:
    """What connections may cost.

    :param connect: seconds to open one.
    :param operation: seconds for an answer.
    :param patience: seconds to wait for a free one.
    :param limit: how many there may be to each server, of all threads or of one loop.
    """

    def __init__(self, connect: float, operation: float, patience: float, limit: int) -> None:
        self.connect, self.operation = connect, operation
        self.patience, self.limit = patience, limit


def servers_of(told: Any) -> list[Server]:
    """The servers that a user means.

    :param told: one or several of ``"host:port"``, ``(host, port)``, ``"/path"``; or ``None``.
    :raises ConfigurationError: if it is something else.
    """
    if told is None:
        told = "127.0.0.1:11211"
    found: dict[Server, None] = {}
    for one in told if isinstance(told, (list, tuple)) else [told]:
        try:
            spec = normalize_server_spec(tuple(one) if isinstance(one, list) else one)
            if not isinstance(spec, str):
                host, port = spec
                spec = str(host), int(port)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                "CACHE_MEMCACHED_SERVERS must be a list of 'host:port', (host, port) and paths of "
                f"sockets, or a client; {one!r} is none of these"
            ) from error
        found[spec] = None
    if not found:
        raise ConfigurationError("CACHE_MEMCACHED_SERVERS names no server")
    return list(found)


class Ring:
    """Which server has which name: the same one in every process, and for pymemcache's clients."""

    def __init__(self, servers: Sequence[Server]) -> None:
        names = [one if isinstance(one, str) else f"{one[0]}:{one[1]}" for one in servers]
        self._numbers = {name: number for number, name in enumerate(names)}
        self._hash = RendezvousHash(names)
        #: The number of the server for a name.
        self.at: Callable[[str], int] = functools.lru_cache(4096)(self._choose)
        if len(names) == 1:
            self.at = lambda name: 0

    def _choose(self, name: str) -> int:
        return self._numbers[str(self._hash.get_node(name))]


def per_loop(servers: Sequence[Server], budget: Budget) -> PerLoop[Any]:
    """The wires to some servers; without aiomcache, or to a path, only blocking ones."""
    try:
        from aiomcache.pool import MemcachePool
    except ImportError:
        return PerLoop(lambda: Transport(servers, budget))
    if any(isinstance(server, str) for server in servers):
        return PerLoop(lambda: Transport(servers, budget))
    return PerLoop(
        lambda: Transport(servers, budget), lambda: AsyncTransport(servers, budget, MemcachePool)
    )


def _by_server(commands: Sequence[Command]) -> list[Part]:
    """Commands by server, always in the same order of servers."""
    parts: dict[int, list[Command]] = {}
    for command in commands:
        parts.setdefault(command.at, []).append(command)
    return [(at, parts[at]) for at in sorted(parts)]


def _in_order(commands: Sequence[Command], answers: dict[int, list[Any]]) -> Iterator[Any]:
    """The answers in the order of the commands."""
    queues = {at: iter(of_server) for at, of_server in answers.items()}
    return (next(queues[command.at]) for command in commands)


# --- blocking -------------------------------------------------------------------------------------


class _Connection(Client):  # type: ignore[misc]
    """A client of pymemcache, of which only the connection is used."""

    def __del__(self) -> None:
        self.close()  # nobody has to close a cache before a program ends


class _Opener:
    """Opens connections to one server for sync code."""

    harmless: tuple[type[BaseException], ...] = ()

    def __init__(self, server: Server, budget: Budget) -> None:
        self.server, self.budget = server, budget

    def connect(self) -> Any:
        """A new connection.

        pymemcache itself tries only the first address of a name, which for ``localhost`` is often
        the one where nobody listens.
        """
        deadline = time.monotonic() + self.budget.connect
        if isinstance(self.server, str):
            return self._connected(self.server, self.budget.connect)
        *others, last = socket.getaddrinfo(*self.server, type=socket.SOCK_STREAM)
        for *_, address in others:
            try:
                return self._connected(address[:2], deadline - time.monotonic())
            except OSError:
                pass
        return self._connected(last[-1][:2], deadline - time.monotonic())

    def _connected(self, server: Any, patience: float) -> Any:
        connection = _Connection(
            server,
            connect_timeout=max(patience, 0.001),
            timeout=self.budget.operation,
            no_delay=True,
            default_noreply=False,
        )
        connection._connect()
        return connection

    def usable(self, connection: Any) -> bool:
        """Whether the connection stands, and has nothing to say that nobody asked for."""
        sock = connection.sock
        try:
            sock.settimeout(0)
            sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            sock.settimeout(self.budget.operation)
            return True
        except OSError:
            pass
        return False

    def close(self, connection: Any) -> None:
        connection.close()


class Transport:
    """The blocking wire; its coroutines never suspend."""

    def __init__(self, servers: Sequence[Server], budget: Budget) -> None:
        self.pools = [
            SyncPool(_Opener(server, budget), budget.limit, budget.patience) for server in servers
        ]

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to several commands, in one trip to each server."""
        if len(commands) == 1:  # as hits are
            return raise_errors(self._trip([(commands[0].at, commands)])[commands[0].at])
        answers: list[Any] = []
        for portion in portions(commands):
            answers += _in_order(portion, self._trip(_by_server(portion)))
        return raise_errors(answers)

    def _trip(self, parts: list[Part]) -> dict[int, list[Any]]:
        (at, commands), *others = parts

        def use(connection: Any) -> dict[int, list[Any]]:
            sock = connection.sock
            sock.sendall(b"".join([command.sent for command in commands]))
            answered = self._trip(others) if others else {}  # while this server is at it
            answers = Answers(commands)
            while not answers.feed(sock.recv(SIZE)):
                pass
            answered[at] = answers.done
            return answered

        return self.pools[at].run(use)

    async def close(self) -> None:
        """Close what is idle."""
        for pool in self.pools:
            pool.close()


# --- on an event loop -----------------------------------------------------------------------------


class _AsyncOpener:
    """Opens connections to one server for the running loop.

    :param kind: aiomcache's pool; each has one connection, which stays with us.
    """

    harmless: tuple[type[BaseException], ...] = ()

    def __init__(self, server: Server, budget: Budget, kind: Any) -> None:
        self.server, self.budget, self.kind = server, budget, kind

    async def connect(self) -> Any:
        async with Deadline(self.budget.connect):
            return await self.kind(*self.server, minsize=1, maxsize=1).acquire()

    def usable(self, connection: Any) -> bool:
        reader, writer = connection
        return not (reader.at_eof() or reader.exception() or writer.is_closing())

    async def close(self, connection: Any) -> None:
        connection[1].transport.abort()


class AsyncTransport:
    """The wire of one event loop."""

    def __init__(self, servers: Sequence[Server], budget: Budget, kind: Any) -> None:
        self.pools = [
            AsyncPool(_AsyncOpener(server, budget, kind), budget.limit, budget.patience)
            for server in servers
        ]
        self._patience = budget.operation

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to several commands, in one trip to each server, to all at once."""
        if len(commands) == 1:  # as hits are
            return raise_errors(await self._ask(commands[0].at, commands))
        answers: list[Any] = []
        for portion in portions(commands):
            answers += _in_order(portion, await self._trip(_by_server(portion)))
        return raise_errors(answers)

    async def _trip(self, parts: list[Part]) -> dict[int, list[Any]]:
        if len(parts) == 1:
            return {parts[0][0]: await self._ask(*parts[0])}
        asking = [self._ask(*part) for part in parts]
        answered: list[Any] = await asyncio.gather(*asking, return_exceptions=True)
        for answer in answered:
            if isinstance(answer, BaseException):
                raise answer
        return {at: answer for (at, _), answer in zip(parts, answered, strict=True)}

    async def _ask(self, at: int, commands: Sequence[Command]) -> list[Any]:
        async def use(connection: Any) -> list[Any]:
            reader, writer = connection
            async with Deadline(self._patience):
                writer.write(b"".join([command.sent for command in commands]))
                await writer.drain()
                answers = Answers(commands)
                while not answers.feed(await reader.read(SIZE)):
                    pass
            return answers.done

        return await self.pools[at].run(use)

    async def close(self) -> None:
        """Close what is idle, before this loop may end."""
        for pool in self.pools:
            await pool.close()
        await asyncio.sleep(0)  # the transports close in the loop's next round
