"""Transports to Redis over connections of our own.

The connections are redis-py's, which speaks the protocol, TLS and authentication; its clients are
not used where they need not be, because they add 35 µs to a command that takes 26.

Where a line differs in the two colours, both stand next to each other.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, cast

import redis
import redis.asyncio
from redis.asyncio import connection as async_connections
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, ReadOnlyError, ResponseError
from redis.retry import Retry

from ..._runtime.deadline import Deadline
from ...typing import Config
from .._connections.pool import AsyncPool, SyncPool
from .._connections.server import Budget
from .verbs import Argument, Command, RedisTransport, Reply

__all__ = ["LIMIT", "AsyncTransport", "Endpoint", "Transport", "endpoint_of", "taken_by"]

#: Connections of one pool, where no setting says how many.
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


class Connection(Protocol):
    """What a connection of redis-py can do, of which its own types say little."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def can_read(self) -> bool: ...
    def send_command(self, *command: Argument) -> None: ...
    def pack_commands(self, commands: Sequence[Command], /) -> list[bytes]: ...
    def send_packed_command(self, packed: list[bytes], /) -> None: ...
    def read_response(self) -> Reply: ...


class AsyncConnection(Protocol):
    """The same of ``redis.asyncio``."""

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = False) -> None: ...
    async def send_command(self, *command: Argument) -> None: ...
    def pack_commands(self, commands: Sequence[Command], /) -> list[bytes]: ...
    async def send_packed_command(self, packed: list[bytes], /) -> None: ...
    async def read_response(self) -> Reply: ...


#: Makes a connection.
Kind: TypeAlias = Callable[..., Connection]
AsyncKind: TypeAlias = Callable[..., AsyncConnection]

#: Connections that exist in both colours.
CLASSES = cast(
    dict[Kind, AsyncKind],
    {
        redis.Connection: async_connections.Connection,
        redis.SSLConnection: async_connections.SSLConnection,
        redis.UnixDomainSocketConnection: async_connections.UnixDomainSocketConnection,
    },
)
BACK: dict[object, Kind] = {theirs: ours for ours, theirs in CLASSES.items()}

#: Where the master is now, as sentinels say.
Address: TypeAlias = tuple[str, int]


class Endpoint:
    """Where connections go, and what they may cost.

    :param kind: the sync connection class.
    :param settings: its arguments.
    """

    def __init__(self, kind: Kind, settings: Config, budget: Budget) -> None:
        self.kind, self.settings, self.budget = kind, settings, budget
        #: Asks sentinels where the master is, in sync and in async code.
        self.master: Callable[[], Address] | None = None
        self.amaster: Callable[[], Awaitable[Address]] | None = None
        #: Closes what a loop's connections were found with.
        self.aclosing: Callable[[], Awaitable[object]] | None = None

    def arguments(self, kind: Kind | AsyncKind) -> Config:
        """What a connection class of either colour is called with."""
        takes = taken_by(kind)
        quiet = ("driver_info",) if "driver_info" in takes else ("lib_name", "lib_version")
        # Each of these is a round trip of the handshake; RESP 2 needs no greeting either.
        fixed = dict.fromkeys((name for name in quiet if name in takes), None)
        given = {name: value for name, value in self.settings.items() if name in takes}
        return {**fixed, "protocol": 2, **given, "socket_connect_timeout": self.budget.connect}

    @property
    def in_both_colours(self) -> bool:
        """Whether the async connection class knows all settings that are in use, too."""
        ours, theirs = taken_by(self.kind), taken_by(CLASSES[self.kind])
        return not any(value for n, value in self.settings.items() if n in ours - theirs)


def taken_by(kind: Kind | AsyncKind) -> set[str]:
    """The names of all arguments that a connection class takes, its base classes included."""
    bases = cast(type, kind).__mro__
    inits = [vars(base)["__init__"] for base in bases if "__init__" in vars(base)]
    return {name for init in inits[:-1] for name in inspect.signature(init).parameters}


def endpoint_of(
    client: redis.Redis | redis.asyncio.Redis,
    connect: float,
    operation: float,
    limit: int | None = None,
) -> Endpoint | None:
    """The endpoint of a client of either colour; ``None`` where its connections are special."""
    pool = client.connection_pool
    kind = BACK.get(pool.connection_class, cast(Kind, pool.connection_class))
    if kind not in CLASSES or type(client) not in (redis.Redis, redis.asyncio.Redis):
        return None
    if pool.connection_kwargs.get("redis_connect_func"):
        return None  # a function of the user's does something to each new connection
    settings = {n: v for n, v in pool.connection_kwargs.items() if n in KNOWN and v is not None}
    if pool.max_connections != redis.ConnectionPool().max_connections:
        limit = limit or pool.max_connections
    return Endpoint(kind, settings, Budget(connect, operation, operation, limit or LIMIT))


class _Opener:
    """Opens sync connections."""

    harmless: tuple[type[BaseException], ...] = (ResponseError,)

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.arguments = endpoint.arguments(endpoint.kind)

    def connect(self) -> Connection:
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


def _streams_of(
    connection: AsyncConnection,
) -> tuple[asyncio.StreamReader | None, asyncio.StreamWriter | None]:
    """The streams of a connection that stands.

    They are private to redis-py, which has no public way to ask whether an idle connection still
    stands without waiting for it, nor to close one at once. Nothing else here knows their names.
    """
    return getattr(connection, "_reader", None), getattr(connection, "_writer", None)


class _Verbs(RedisTransport, Protocol):
    """What both colours of a transport over connections say in the same words."""

    async def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """The values of several names, in one trip."""
        found: list[bytes | None] = await self.run("MGET", *names)
        return found

    async def sweep(self, pattern: str) -> None:
        """Remove all keys that match, in batches, without blocking the server."""
        cursor = 0
        while True:
            then, names = await self.run("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            if names:
                await self.run("UNLINK", *names)
            cursor = int(then)
            if cursor == 0:
                return


class Transport(_Verbs):
    """The blocking transport over pooled connections; its coroutines never suspend."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.pool = SyncPool(_Opener(endpoint), endpoint.budget.limit, endpoint.budget.patience)

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


class AsyncTransport(_Verbs):
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
                await connection.send_command(*command)
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


def is_replica(answer: object) -> bool:
    """Whether a server answered that it is a replica (now), so that the master must be elsewhere.

    Before Redis 7, an error in a script is an error of its own kind that quotes it.
    """
    return isinstance(answer, ResponseError) and (
        isinstance(answer, ReadOnlyError) or "-READONLY " in str(answer)
    )


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
