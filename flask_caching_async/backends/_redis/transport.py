"""Transports to Redis over connections of our own: see ``endpoint.py``.

Where a line differs in the two colours, both stand next to each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, ReadOnlyError, ResponseError
from redis.retry import Retry

from ..._runtime.deadline import Deadline
from .._connections.pool import AsyncPool, SyncPool
from .endpoint import CLASSES, AsyncConnection, Connection, Endpoint
from .verbs import Argument, Command, RedisTransport, Reply

try:
    from hiredis import pack_command
except ImportError:
    pack_command = None  # type: ignore[assignment]

__all__ = ["AsyncTransport", "Transport", "packed"]


class _Opener:
    """Opens sync connections."""

    harmless: tuple[type[BaseException], ...] = (ResponseError,)

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.arguments = endpoint.arguments(endpoint.kind)

    def connect(self) -> Connection:
        with self.endpoint.secrets:
            try:
                return self._connect()
            except ResponseError as error:
                raise _not_let_in(error) from error

    def _connect(self) -> Connection:
        endpoint, arguments = self.endpoint, self.arguments
        if endpoint.master is not None:
            host, port = endpoint.master()
            arguments = {**arguments, "host": host, "port": port}
        connection = endpoint.kind(
            **arguments, socket_timeout=endpoint.budget.operation, retry=Retry(NoBackoff(), 0)
        )
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def usable(self, connection: Connection) -> bool:
        try:
            return not connection.can_read()  # nothing is expected: an end of file, or garbage
        except Exception:
            return False

    def close(self, connection: Connection) -> None:
        connection.disconnect()


class _AsyncOpener:
    """Opens connections of the running loop."""

    harmless = _Opener.harmless

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.kind = endpoint, CLASSES[endpoint.kind]
        self.arguments = endpoint.arguments(self.kind)

    async def connect(self) -> AsyncConnection:
        with self.endpoint.secrets:
            try:
                return await self._connect()
            except ResponseError as error:
                raise _not_let_in(error) from error

    async def _connect(self) -> AsyncConnection:
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
            except BaseException:
                await self.close(connection)
                raise
        return connection

    def usable(self, connection: AsyncConnection) -> bool:
        reader, _ = _streams_of(connection)
        # Nothing is expected: neither the end of the stream nor anything that came unasked.
        return reader is not None and not reader.at_eof() and not getattr(reader, "_buffer", b"")

    async def close(self, connection: AsyncConnection) -> None:
        _, writer = _streams_of(connection)
        if writer is not None:
            # Neither TLS nor what was not sent yet may keep it open when this loop has ended.
            writer.transport.abort()
        await connection.disconnect(nowait=True)


def _not_let_in(error: ResponseError) -> redis.ConnectionError:
    """The error for a server that refuses a connection: no answer to the operation that asked.

    Whatever is asked next will fail as well, so that it must count against the server.
    """
    return redis.ConnectionError(f"the server does not let us in: {error}")


def _streams_of(
    connection: AsyncConnection,
) -> tuple[asyncio.StreamReader | None, asyncio.StreamWriter | None]:
    """The streams of a connection that stands.

    They are private to redis-py, which has no public way to ask whether an idle connection still
    stands without waiting for it, nor to close one at once. Nothing else here knows their names.
    """
    return getattr(connection, "_reader", None), getattr(connection, "_writer", None)


class Transport(RedisTransport):
    """The blocking transport over pooled connections; its coroutines never suspend."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.pool = SyncPool(_Opener(endpoint), endpoint.budget.limit, endpoint.budget.patience)
        self._closing = endpoint.closing

    async def run(self, *command: Argument) -> Reply:
        """One command."""

        def use(connection: Connection) -> Reply:
            connection.send_command(*command)
            return _answer(connection)

        try:
            return self.pool.run(use)
        except ResponseError as error:
            if is_replica(error):
                self.pool.renew()
            raise

    async def batch(self, commands: Sequence[Command]) -> list[Reply]:
        """Several commands in one trip; the first error is raised after all were answered."""

        def use(connection: Connection) -> list[Reply]:
            connection.send_packed_command(connection.pack_commands(commands))
            return [_answer_or_error(connection) for _ in commands]

        answers = self.pool.run(use)
        if any(map(is_replica, answers)):
            self.pool.renew()
        return _all_well(answers)

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
        self._patience, self._aclosing = endpoint.budget.operation, endpoint.aclosing

    async def run(self, *command: Argument) -> Reply:
        """One command."""

        async def use(connection: AsyncConnection) -> Reply:
            async with Deadline(self._patience):
                await connection.send_packed_command(packed(connection, command))
                return await _aanswer(connection)

        try:
            return await self.pool.run(use)
        except ResponseError as error:
            if is_replica(error):
                await self.pool.renew()
            raise

    async def batch(self, commands: Sequence[Command]) -> list[Reply]:
        """Several commands in one trip; the first error is raised after all were answered."""

        async def use(connection: AsyncConnection) -> list[Reply]:
            async with Deadline(self._patience):
                sent = [part for command in commands for part in packed(connection, command)]
                await connection.send_packed_command(sent)
                return [await _aanswer_or_error(connection) for _ in commands]

        answers = await self.pool.run(use)
        if any(map(is_replica, answers)):
            await self.pool.renew()
        return _all_well(answers)

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


def packed(connection: AsyncConnection, command: Command) -> list[bytes]:
    """A command as bytes, in C if that can be had: ``redis.asyncio`` does it in Python."""
    if pack_command is not None and " " not in str(command[0]):
        try:
            return [pack_command(tuple(command))]  # type: ignore[arg-type]
        except TypeError:  # an argument that only the client's encoder knows
            pass
    return connection.pack_command(*command)


def _answer(connection: Connection) -> Reply:
    try:
        return connection.read_response()
    except ValueError as error:  # no number where one must be: this is no Redis
        raise InvalidResponse(f"the server speaks another protocol: {error}") from error


async def _aanswer(connection: AsyncConnection) -> Reply:
    try:
        return await connection.read_response()
    except ValueError as error:
        raise InvalidResponse(f"the server speaks another protocol: {error}") from error


def _answer_or_error(connection: Connection) -> Reply:
    try:
        return _answer(connection)
    except ResponseError as error:
        return error


async def _aanswer_or_error(connection: AsyncConnection) -> Reply:
    try:
        return await _aanswer(connection)
    except ResponseError as error:
        return error


def _all_well(answers: list[Reply]) -> list[Reply]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
