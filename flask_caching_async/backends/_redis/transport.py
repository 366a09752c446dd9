"""Wires to Redis: a few verbs, over connections of our own.

The connections are redis-py's, which speaks the protocol, TLS and authentication; its clients are
not used where they need not be, because they add 35 µs to a command that takes 26.

Every wire has ``run`` (one command), ``batch`` (several in one trip), ``mget`` and ``sweep``. Sync
pieces stand next to their async twins.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio import connection as async_connections
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, ResponseError
from redis.retry import Retry

from ..._runtime.deadline import Deadline
from .._connections.pool import AsyncPool, SyncPool

__all__ = ["LIMIT", "AsyncTransport", "Endpoint", "Transport", "taken_by", "endpoint_of"]

Command = Sequence[Any]

#: Connections of one pool, where nobody says how many.
LIMIT = 50

#: The settings of a client that its connections are made with here.
KNOWN = (
    "host port path db username password credential_provider client_name encoding "
    "encoding_errors socket_keepalive socket_keepalive_options socket_type socket_read_size "
    "protocol health_check_interval ssl_keyfile ssl_certfile ssl_cert_reqs ssl_ca_certs "
    "ssl_ca_data ssl_ca_path ssl_check_hostname ssl_password ssl_min_version ssl_ciphers "
    "ssl_include_verify_flags ssl_exclude_verify_flags ssl_validate_ocsp "
    "ssl_validate_ocsp_stapled ssl_ocsp_context ssl_ocsp_expected_cert"
).split()

#: Connections that exist in both colours.
CLASSES: dict[Any, Any] = {
    redis.Connection: async_connections.Connection,
    redis.SSLConnection: async_connections.SSLConnection,
    redis.UnixDomainSocketConnection: async_connections.UnixDomainSocketConnection,
}
BACK = {theirs: ours for ours, theirs in CLASSES.items()}


class Endpoint:
    """Where connections go, and the time that they may take.

    :param kind: the sync connection class.
    :param settings: its arguments.
    :param connect: seconds to open a connection, its handshake included.
    :param operation: seconds for a command on an open connection, or to wait for a free one.
    :param limit: how many connections there may be in one pool.
    :param master: asks sentinels for ``(host, port)``; :attr:`amaster` is its awaitable twin.
    """

    def __init__(
        self,
        kind: Any,
        settings: dict[str, Any],
        connect: float,
        operation: float,
        limit: int,
    ) -> None:
        self.kind, self.settings = kind, settings
        self.connect, self.operation, self.limit = connect, operation, limit
        self.master: Callable[[], Any] | None = None
        self.amaster: Callable[[], Any] | None = None
        self.aclosing: Callable[[], Any] | None = None

    def arguments(self, kind: Any) -> dict[str, Any]:
        """What a connection class of either colour is called with."""
        takes = taken_by(kind)
        quiet = ("driver_info",) if "driver_info" in takes else ("lib_name", "lib_version")
        # Each of these is a round trip of the handshake; RESP 2 needs no greeting either.
        fixed = dict.fromkeys((name for name in quiet if name in takes), None)
        given = {name: value for name, value in self.settings.items() if name in takes}
        return {**fixed, "protocol": 2, **given, "socket_connect_timeout": self.connect}

    @property
    def in_both_colours(self) -> bool:
        """Whether the async connection class knows all settings that are in use, too."""
        ours, theirs = taken_by(self.kind), taken_by(CLASSES[self.kind])
        return not any(value for n, value in self.settings.items() if n in ours - theirs)


def taken_by(kind: Any) -> set[str]:
    """The names of all arguments that a connection class takes, its base classes included."""
    inits = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)]
    return {name for init in inits[:-1] for name in inspect.signature(init).parameters}


def endpoint_of(
    client: Any, connect: float, operation: float, limit: int | None = None
) -> Endpoint | None:
    """The target of a client of either colour; ``None`` if its connections are no ordinary ones."""
    pool = client.connection_pool
    kind = BACK.get(pool.connection_class, pool.connection_class)
    if kind not in CLASSES or type(client) not in (redis.Redis, redis.asyncio.Redis):
        return None
    if pool.connection_kwargs.get("redis_connect_func"):
        return None  # it does who knows what with each new connection
    settings = {n: v for n, v in pool.connection_kwargs.items() if n in KNOWN and v is not None}
    if pool.max_connections != redis.ConnectionPool().max_connections:
        limit = limit or pool.max_connections
    return Endpoint(kind, settings, connect, operation, limit or LIMIT)


class _Opener:
    """Opens sync connections."""

    harmless: tuple[type[BaseException], ...] = (ResponseError,)

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.arguments = endpoint.arguments(endpoint.kind)

    def connect(self) -> Any:
        endpoint, arguments = self.endpoint, self.arguments
        if endpoint.master is not None:
            host, port = endpoint.master()
            arguments = {**arguments, "host": host, "port": port}
        connection = endpoint.kind(
            **arguments, socket_timeout=endpoint.operation, retry=Retry(NoBackoff(), 0)
        )
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def usable(self, connection: Any) -> bool:
        try:
            return not connection.can_read()  # nothing is expected: an end of file, or garbage
        except Exception:
            return False

    def close(self, connection: Any) -> None:
        connection.disconnect()


class _AsyncOpener(_Opener):
    """Opens connections of the running loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.kind = CLASSES[endpoint.kind]
        self.arguments = endpoint.arguments(self.kind)

    async def connect(self) -> Any:
        endpoint, arguments = self.endpoint, self.arguments
        async with Deadline(endpoint.connect):
            if endpoint.amaster is not None:
                host, port = await endpoint.amaster()
                arguments = {**arguments, "host": host, "port": port}
            # No timeout of its own for reading: the wire has one for the whole command.
            connection = self.kind(
                **arguments, socket_timeout=None, retry=AsyncRetry(NoBackoff(), 0)
            )
            try:
                await connection.connect()
            except BaseException:
                await self.close(connection)
                raise
        return connection

    def usable(self, connection: Any) -> bool:
        reader = getattr(connection, "_reader", None)
        # Nothing is expected: neither the end of the stream nor anything that came unasked.
        return reader is not None and not reader.at_eof() and not getattr(reader, "_buffer", b"")

    async def close(self, connection: Any) -> None:  # type: ignore[override]
        writer = getattr(connection, "_writer", None)
        if writer is not None:
            # Neither TLS nor what was not sent yet may keep it open until nobody runs this loop.
            writer.transport.abort()
        await connection.disconnect(nowait=True)


class _Verbs:
    """What both colours of a wire over connections say in the same words."""

    run: Callable[..., Any]
    batch: Callable[[Sequence[Command]], Any]

    async def mget(self, names: Sequence[str]) -> Any:
        """The values of several names, in one trip."""
        return await self.run("MGET", *names)

    async def sweep(self, pattern: str) -> None:
        """Remove all keys that match, in batches, without blocking the server."""
        cursor: Any = 0
        while True:
            cursor, names = await self.run("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            if names:
                await self.run("UNLINK", *names)
            if int(cursor) == 0:
                return


class Transport(_Verbs):
    """The blocking wire over pooled connections; its coroutines never suspend."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.pool = SyncPool(_Opener(endpoint), endpoint.limit, endpoint.operation)

    async def run(self, *command: Any) -> Any:
        """One command."""

        def use(connection: Any) -> Any:
            connection.send_command(*command)
            return connection.read_response()

        try:
            return self.pool.run(use)
        except ResponseError as error:
            if is_replica(error):
                self.pool.renew()
            raise

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """Several commands in one trip; the first error is raised after all were answered."""

        def use(connection: Any) -> list[Any]:
            connection.send_packed_command(connection.pack_commands(commands))
            return [_answer_or_error(connection) for _ in commands]

        answers = self.pool.run(use)
        if any(map(is_replica, answers)):
            self.pool.renew()
        return _all_well(answers)

    async def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        self.pool.close()


class AsyncTransport(_Verbs):
    """The wire of one event loop, over pooled connections."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.pool = AsyncPool(_AsyncOpener(endpoint), endpoint.limit, endpoint.operation)
        self._patience, self._aclosing = endpoint.operation, endpoint.aclosing

    async def run(self, *command: Any) -> Any:
        """One command."""

        async def use(connection: Any) -> Any:
            async with Deadline(self._patience):
                await connection.send_command(*command)
                return await connection.read_response()

        try:
            return await self.pool.run(use)
        except ResponseError as error:
            if is_replica(error):
                await self.pool.renew()
            raise

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """Several commands in one trip; the first error is raised after all were answered."""

        async def use(connection: Any) -> list[Any]:
            async with Deadline(self._patience):
                await connection.send_packed_command(connection.pack_commands(commands))
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


def is_replica(answer: Any) -> bool:
    """Whether a server answered that it is a replica (now), so that the master must be elsewhere.

    Before Redis 7, an error in a script is an error of its own kind that quotes it.
    """
    return isinstance(answer, ResponseError) and (
        isinstance(answer, ReadOnlyError) or "-READONLY " in str(answer)
    )


def _answer_or_error(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


async def _aanswer_or_error(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _all_well(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
