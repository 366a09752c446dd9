"""Transports to Redis over connections of our own: see ``endpoint.py``.

Where a line differs in the two colours, both stand next to each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, ResponseError
from redis.retry import Retry

from ..._runtime.deadline import Deadline
from .._connections.pool import AsyncPool, SyncPool
from .endpoint import CLASSES, Endpoint
from .verbs import Argument, Command, RedisTransport, Reply
from .wires import AsyncWire, Wire, aclose, awire_over, wire_over

__all__ = ["AsyncTransport", "Transport"]


class _Opener:
    """Opens sync connections."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.arguments = endpoint.arguments(endpoint.kind)

    def connect(self) -> Wire:
        with self.endpoint.secrets:
            try:
                return self._connect()
            except ResponseError as error:
                raise _not_let_in(error) from error

    def _connect(self) -> Wire:
        endpoint, arguments = self.endpoint, self.arguments
        if endpoint.master is not None:
            host, port = endpoint.master()
            arguments = {**arguments, "host": host, "port": port}
        connection = endpoint.kind(
            **arguments, socket_timeout=endpoint.budget.operation, retry=Retry(NoBackoff(), 0)
        )
        try:
            connection.connect()
            return wire_over(connection, endpoint.settings, endpoint.budget.operation)
        except BaseException:
            connection.disconnect()
            raise

    def usable(self, connection: Wire) -> bool:
        try:
            return connection.usable()
        except Exception:
            return False

    def close(self, connection: Wire) -> None:
        connection.close()


class _AsyncOpener:
    """Opens connections of the running loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.kind = endpoint, CLASSES[endpoint.kind]
        self.arguments = endpoint.arguments(self.kind)

    async def connect(self) -> AsyncWire:
        with self.endpoint.secrets:
            try:
                return await self._connect()
            except ResponseError as error:
                raise _not_let_in(error) from error

    async def _connect(self) -> AsyncWire:
        endpoint, arguments = self.endpoint, self.arguments
        async with Deadline(endpoint.budget.connect):
            if endpoint.amaster is not None:
                host, port = await endpoint.amaster()
                arguments = {**arguments, "host": host, "port": port}
            # No timeout of its own for reading: the transport has one for the whole command.
            connection = self.kind(
                **arguments, socket_timeout=None, retry=AsyncRetry(NoBackoff(), 0)
            )
            try:
                await connection.connect()
                return awire_over(connection, endpoint.settings, endpoint.budget.operation)
            except BaseException:
                await aclose(connection)
                raise

    def usable(self, connection: AsyncWire) -> bool:
        return connection.usable()

    async def close(self, connection: AsyncWire) -> None:
        await connection.close()


def _not_let_in(error: ResponseError) -> redis.ConnectionError:
    """The error for a server that refuses a connection: no answer to the operation that asked.

    Whatever is asked next will fail as well, so that it must count against the server.
    """
    return redis.ConnectionError(f"the server does not let us in: {error}")


class Transport(RedisTransport):
    """The blocking transport over pooled connections; its coroutines never suspend."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.pool = SyncPool(_Opener(endpoint), endpoint.budget.limit, endpoint.budget.patience)
        self._closing = endpoint.closing

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The answers to several commands, in one trip: errors are among them."""
        answers = self.pool.run(lambda wire: wire.ask(commands))
        if any(map(is_replica, answers)):
            self.pool.renew()
        return answers

    async def run(self, *command: Argument) -> Reply:
        """One command."""
        return _all_well(self.ask([command]))[0]

    async def batch(self, commands: Sequence[Command]) -> list[Reply]:
        """Several commands in one trip; the first error is raised after all were answered."""
        return _all_well(self.ask(commands))

    def mget_now(self, names: Sequence[str]) -> list[bytes | None]:
        """The values of several names, in one trip."""
        commands = [("MGET", *names)]
        found: list[bytes | None]
        (found,) = _all_well(self.pool.run(lambda wire: wire.ask(commands)))
        return found

    async def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        self.pool.close()
        if self._closing is not None:
            self._closing()


class AsyncTransport(RedisTransport):
    """The transport of one event loop, over pooled connections."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.pool = AsyncPool(
            _AsyncOpener(endpoint), endpoint.budget.limit, endpoint.budget.patience
        )
        self._aclosing = endpoint.aclosing

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The answers to several commands, in one trip: errors are among them."""
        answers = await self.pool.run(lambda wire: wire.ask(commands))
        if any(map(is_replica, answers)):
            await self.pool.renew()
        return answers

    async def run(self, *command: Argument) -> Reply:
        """One command."""
        return _all_well(await self.ask([command]))[0]

    async def batch(self, commands: Sequence[Command]) -> list[Reply]:
        """Several commands in one trip; the first error is raised after all were answered."""
        return _all_well(await self.ask(commands))

    async def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """The values of several names, in one trip."""
        commands = [("MGET", *names)]
        found: list[bytes | None]
        (found,) = _all_well(await self.pool.run(lambda wire: wire.ask(commands)))
        return found

    async def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        await self.pool.close()
        await asyncio.sleep(0)  # only now have their sockets been closed
        if self._aclosing is not None:
            await self._aclosing()


def is_replica(answer: object) -> bool:
    """Whether a server answered that it is a replica (now), so that the master must be elsewhere.

    Before Redis 7, an error in a script is an error of its own kind that quotes it.
    """
    return isinstance(answer, ResponseError) and (
        isinstance(answer, ReadOnlyError) or "-READONLY " in str(answer)
    )


def _all_well(answers: list[Reply]) -> list[Reply]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
