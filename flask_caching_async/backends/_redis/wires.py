"""Connections to Redis that stand: what is sent over them, and what is answered.

redis-py connects, greets and logs in. From then on hiredis reads the socket here, if it can: the
driver's own methods take 10 to 15 µs more for a command. Elsewhere (with another protocol, or
without hiredis) they are what is used.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeAlias

import redis
from redis.exceptions import InvalidResponse, ResponseError

from ..._runtime.deadline import Deadline
from .._connections.conversation import Conversation
from .._connections.sockets import Socket, has_more, limit
from .endpoint import AsyncConnection, Connection
from .verbs import Command, Reply

try:
    import hiredis
except ImportError:
    hiredis = None  # type: ignore[assignment]

__all__ = ["AsyncWire", "Wire", "awire_over", "packed", "wire_over"]

#: How much is read at once.
SIZE = 1 << 16
#: What a reader says that waits for more.
MORE = object()

#: A reader of hiredis.
Reader: TypeAlias = Any


class Wire(Protocol):
    """A connection of sync code."""

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The answers to some commands, in one trip: errors are among them."""
        ...

    def usable(self) -> bool:
        """Whether it stands, and has nothing to say that was not asked."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class AsyncWire(Protocol):
    """A connection of an event loop."""

    def ask(self, commands: Sequence[Command]) -> Awaitable[list[Reply]]:
        """The answers to some commands, in one trip: errors are among them."""
        ...

    def usable(self) -> bool:
        """Whether it stands, and has nothing to say that was not asked."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


# --- what both colours read -----------------------------------------------------------------------


def _reader_for(connection: Any, settings: dict[str, Any]) -> Reader | None:
    """A reader for what comes over a connection; ``None`` where the driver has to read it."""
    parse_error = getattr(getattr(connection, "_parser", None), "parse_error", None)
    if hiredis is None or parse_error is None:
        return None
    if settings.get("health_check_interval") or str(settings.get("protocol") or 2) != "2":
        return None
    return hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=MORE)


def packed(connection: Connection | AsyncConnection, commands: Sequence[Command]) -> bytes:
    """Commands as bytes, in C."""
    return b"".join([_packed(connection, command) for command in commands])


def _packed(connection: Connection | AsyncConnection, command: Command) -> bytes:
    if " " not in command[0]:  # type: ignore[operator]
        try:
            raw: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]
            return raw
        except TypeError:  # an argument that only the client's encoder knows
            pass
    return b"".join(connection.pack_commands([command]))


def _next(reader: Reader) -> Reply:
    """The next answer of those that have come, or ``MORE``.

    :raises redis.ConnectionError: if the server says that it does not let us go on.
    """
    try:
        reply = reader.gets()
    except ValueError as error:  # no number where one must be: this is no Redis
        raise InvalidResponse(f"the server speaks another protocol: {error}") from error
    if isinstance(reply, redis.ConnectionError):
        raise reply
    return reply


# --- blocking -------------------------------------------------------------------------------------


class SocketWire:
    """The socket of a connection, read by hiredis."""

    def __init__(self, connection: Connection, sock: socket.socket, reader: Reader) -> None:
        self._connection, self._socket, self._reader = connection, sock, reader

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The answers to some commands."""
        replies: list[Reply] = []
        reader = self._reader
        try:
            self._socket.sendall(packed(self._connection, commands))
            while len(replies) < len(commands):
                reply = _next(reader)
                if reply is not MORE:
                    replies.append(reply)
                elif data := self._socket.recv(SIZE):
                    reader.feed(data)
                else:
                    raise _closed()
        except BlockingIOError:  # the kernel's word for it
            raise redis.TimeoutError("Timeout reading from socket") from None
        return replies

    def usable(self) -> bool:
        """Whether it stands."""
        return not (self._reader.has_data() or self._connection.can_read())

    def close(self) -> None:
        """Close it."""
        self._connection.disconnect()


class OwnSocketWire(SocketWire):
    """The socket of a connection, taken from it: a plain one of the system's."""

    def __init__(
        self, connection: Connection, sock: socket.socket, reader: Reader, patience: float
    ) -> None:
        ours = Socket(sock.family, sock.type, sock.proto, sock.detach())
        limit(ours, patience)
        super().__init__(connection, ours, reader)

    def usable(self) -> bool:
        """Whether it stands."""
        return not (self._reader.has_data() or has_more(self._socket))

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class DriverWire:
    """A connection, read by redis-py."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The answers to some commands."""
        connection = self._connection
        connection.send_packed_command(connection.pack_commands(commands))
        return [_answer_or_error(connection) for _ in commands]

    def usable(self) -> bool:
        """Whether it stands."""
        return not self._connection.can_read()  # nothing is expected: an end of file, or garbage

    def close(self) -> None:
        """Close it."""
        self._connection.disconnect()


def _answer_or_error(connection: Connection) -> Reply:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
    except ValueError as error:
        raise InvalidResponse(f"the server speaks another protocol: {error}") from error


def wire_over(connection: Connection, settings: dict[str, Any], patience: float) -> Wire:
    """What stands now.

    :param settings: what the connection was made with.
    :param patience: seconds for an answer.
    """
    reader = _reader_for(connection, settings)
    sock: Any = getattr(connection, "_sock", None)
    if reader is None or sock is None:
        return DriverWire(connection)
    # Neither one with TLS, nor what gevent or eventlet have put in the place of sockets since ours
    # was made.
    if type(sock) in Socket.__bases__:
        return OwnSocketWire(connection, sock, reader, patience)
    return SocketWire(connection, sock, reader)


# --- on an event loop -----------------------------------------------------------------------------


class ProtocolWire(Conversation):
    """The transport of a connection, read by hiredis as it comes."""

    def __init__(
        self, connection: AsyncConnection, transport: Any, reader: Reader, patience: float
    ) -> None:
        super().__init__(patience, _closed)
        self._connection, self._reader = connection, reader
        transport.set_protocol(self)
        self.connection_made(transport)

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:
        """The answers to some commands."""
        replies: list[Reply] = []
        reader, count = self._reader, len(commands)

        def read(data: bytes) -> list[Reply] | None:
            reader.feed(data)
            while len(replies) < count:
                reply = _next(reader)
                if reply is MORE:
                    return None
                replies.append(reply)
            return replies

        return self.send(packed(self._connection, commands), read)

    def usable(self) -> bool:
        """Whether it stands."""
        return self.stands and not self._reader.has_data()

    async def close(self) -> None:
        """Close it."""
        self.transport.abort()
        await self._connection.disconnect(nowait=True)


class AsyncDriverWire:
    """A connection of a loop, read by ``redis.asyncio``."""

    def __init__(self, connection: AsyncConnection, patience: float) -> None:
        self._connection, self._patience = connection, patience

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The answers to some commands."""
        connection = self._connection
        async with Deadline(self._patience):
            await connection.send_packed_command(connection.pack_commands(commands))
            return [await _aanswer_or_error(connection) for _ in commands]

    def usable(self) -> bool:
        """Whether it stands."""
        reader, _ = streams_of(self._connection)
        # Nothing is expected: neither the end of the stream nor anything that came unasked.
        return reader is not None and not reader.at_eof() and not getattr(reader, "_buffer", b"")

    async def close(self) -> None:
        """Close it."""
        await aclose(self._connection)


async def _aanswer_or_error(connection: AsyncConnection) -> Reply:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
    except ValueError as error:
        raise InvalidResponse(f"the server speaks another protocol: {error}") from error


def awire_over(connection: AsyncConnection, settings: dict[str, Any], patience: float) -> AsyncWire:
    """What stands now: see :func:`wire_over`."""
    _, writer = streams_of(connection)
    reader = _reader_for(connection, settings)
    if reader is None or writer is None:
        return AsyncDriverWire(connection, patience)
    return ProtocolWire(connection, writer.transport, reader, patience)


async def aclose(connection: AsyncConnection) -> None:
    """Close a connection at once."""
    _, writer = streams_of(connection)
    if writer is not None:
        # Neither TLS nor what was not sent yet may keep it open when this loop has ended.
        writer.transport.abort()
    await connection.disconnect(nowait=True)


def streams_of(
    connection: AsyncConnection,
) -> tuple[asyncio.StreamReader | None, asyncio.StreamWriter | None]:
    """The streams of a connection that stands.

    They are private to redis-py, which has no public way to ask whether an idle connection still
    stands without waiting for it, nor to close one at once.
    """
    return getattr(connection, "_reader", None), getattr(connection, "_writer", None)


def _closed() -> redis.ConnectionError:
    return redis.ConnectionError("Connection closed by server.")
