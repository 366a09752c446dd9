"""Where connections to Redis go, with what settings, and what they may cost.

The connections are redis-py's, which speaks the protocol, TLS and authentication; its clients are
not used where they need not be, because they add 35 µs to a command that takes 26.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, cast

import redis
import redis.asyncio
from redis.asyncio import connection as async_connections

from ...typing import Config
from .._connections.secrets import Secrets
from .._connections.server import Budget
from .verbs import Argument, Command, Reply

__all__ = [
    "CLASSES",
    "LIMIT",
    "AsyncConnection",
    "Connection",
    "Endpoint",
    "endpoint_of",
    "taken_by",
]

#: Connections of one pool, where no setting says how many.
LIMIT = 50

#: The settings of a client that its connections are made with here. Not its encoding: redis-py
#: respects that in one colour and, with hiredis, not in the other. What we send as text is UTF-8.
KNOWN = (
    "host port path db username password credential_provider client_name "
    "socket_keepalive socket_keepalive_options socket_type socket_read_size "
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
        #: What no error may show.
        self.secrets = Secrets([settings.get("password")])
        #: Asks sentinels where the master is, in sync and in async code.
        self.master: Callable[[], Address] | None = None
        self.amaster: Callable[[], Awaitable[Address]] | None = None
        #: Closes what connections were found with, those of threads and those of a loop.
        self.closing: Callable[[], object] | None = None
        self.aclosing: Callable[[], Awaitable[object]] | None = None

    def arguments(self, kind: Kind | AsyncKind) -> Config:
        """What a connection class of either colour is called with."""
        # Neither says who we are, nor greets: each would be a round trip of the handshake.
        fixed = {"driver_info": None, "protocol": 2}
        takes = taken_by(kind)
        given = {name: value for name, value in self.settings.items() if name in takes}
        return {**fixed, **given, "socket_connect_timeout": self.budget.connect}

    @property
    def in_both_colours(self) -> bool:
        """Whether the async connection class knows all settings that are in use, too."""
        ours, theirs = taken_by(self.kind), taken_by(CLASSES[self.kind])
        return not any(value for n, value in self.settings.items() if n in ours - theirs)


def _parameters(kind: Kind | AsyncKind) -> list[inspect.Parameter]:
    """All that a connection class takes, its base classes included."""
    inits = [vars(base).get("__init__") for base in cast(type, kind).__mro__[:-1]]
    return [p for init in inits if init for p in inspect.signature(init).parameters.values()]


def taken_by(kind: Kind | AsyncKind) -> set[str]:
    """The names of all arguments that a connection class takes."""
    return {parameter.name for parameter in _parameters(kind)}


def _said_by_none(kind: Kind) -> set[str]:
    """The arguments of a connection class in which ``None`` is not what they are by default.

    ``ssl_cert_reqs=None`` asks for no certificate.
    """
    return {p.name for p in _parameters(kind) if p.default not in (None, p.empty)}


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
    none_means_more = _said_by_none(kind)
    settings = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if name in KNOWN and (value is not None or name in none_means_more)
    }
    if pool.max_connections != redis.ConnectionPool().max_connections:
        limit = limit or pool.max_connections
    return Endpoint(kind, settings, Budget(connect, operation, operation, limit or LIMIT))
