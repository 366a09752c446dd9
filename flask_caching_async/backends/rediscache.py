"""Redis and Valkey: the cache on one server.

``_redis/versioned.py`` says how entries, versions and leases lie on the server.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib
from typing import Any, NamedTuple

from .._entries.envelope import counted
from ..exceptions import ConfigurationError, warn
from ..typing import Config, Timeout, Value
from ._connections.both_colours import over_transport
from ._connections.per_loop import PerLoop
from ._connections.server import KeyPrefix, common_settings, warn_of_prefix
from ._redis import scripts as lua
from ._redis.verbs import RedisTransport
from ._redis.versioned import TOMBSTONE, RedisVersioned
from ._versioned.contract import NAMESPACE, new_token
from ._versioned.defaults import unpack_living

__all__ = ["RedisCache"]


class Where(NamedTuple):
    """What a user says of the server, besides its name.

    :param budget: seconds to open a connection, and for a command.
    :param limit: how many connections there may be; ``None`` for the usual number.
    :param options: everything that is for redis-py.
    """

    port: int
    password: str | None
    db: int
    budget: tuple[float, float]
    limit: int | None
    options: Config


class RedisCache(RedisVersioned):
    """A cache on one Redis or Valkey server.

    Nothing connects before the first operation.

    :param host: the server's name, or a client: ``redis.Redis`` or ``redis.asyncio.Redis``. Its
        settings are taken over, and connections of each colour are made with them.
    :param port: its port.
    :param password: its password.
    :param db: the number of the database.
    :param default_timeout: seconds that a value lives when it is given no timeout; 0 never expires.
    :param key_prefix: put in front of all keys: text, or a callable that is asked on each call.
    :param ignore_delete_many_errors: accepted for compatibility.
    :param connect_timeout: seconds that opening a connection may take.
    :param operation_timeout: seconds that a command may take, or the wait for a free connection.
    :param max_connections: how many connections all threads share, and each event loop has.
    :param kwargs: everything else is given to ``redis.Redis``: ``ssl``, ``unix_socket_path`` …
    :raises ConfigurationError: if they make no sense together.
    """

    def __init__(
        self,
        host: Any = "localhost",
        port: int = 6379,
        password: str | None = None,
        db: int = 0,
        default_timeout: float | dt.timedelta = 300,
        key_prefix: KeyPrefix = None,
        ignore_delete_many_errors: bool = False,
        connect_timeout: float = 1.0,
        operation_timeout: float = 0.5,
        max_connections: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(default_timeout, key_prefix, ignore_delete_many_errors)
        budget = (
            float(kwargs.pop("socket_connect_timeout", None) or connect_timeout),
            float(kwargs.pop("socket_timeout", None) or operation_timeout),
        )
        if kwargs.get("decode_responses"):
            raise ConfigurationError("decode_responses is not supported by RedisCache")
        where = Where(port, password, db, budget, max_connections, kwargs)
        self._transports = self._link(host, where)
        self.where = self._transports.where

    def _link(self, host: Any, where: Where) -> PerLoop[RedisTransport]:
        """Where the server is."""
        from ._redis import connect as clients

        if host is None:
            raise ConfigurationError("RedisCache host parameter may not be None")
        if isinstance(host, str):
            host = clients.client(host, where.port, where.password, where.db, where.options)
        return clients.per_loop(host, *where.budget, where.limit)

    @property
    def _write_client(self) -> Any:
        """The client of redis-py for sync code, for what this class has no method for."""
        return self._transports.client()

    _read_client = _write_client

    @classmethod
    def factory(cls, app: object, config: Config, args: list[Any], kwargs: Config) -> RedisCache:
        """Build it from ``CACHE_REDIS_URL`` or ``_HOST`` and ``_PORT``; ``_PASSWORD``, ``_DB``."""
        from ._redis import connect as clients

        common(config, kwargs)
        url, password = config.get("CACHE_REDIS_URL"), config.get("CACHE_REDIS_PASSWORD")
        db = config.get("CACHE_REDIS_DB", kwargs.pop("db", 0)) or 0
        if not url and "CACHE_REDIS_URL" in config and not config.get("CACHE_REDIS_HOST"):
            warn(
                f"CACHE_REDIS_URL is {url!r}, so the cache is on localhost:6379: say where Redis "
                "is, or set CACHE_REDIS_HOST"
            )
        if url:
            kwargs["host"] = clients.from_url(url, db, password, kwargs)
        else:
            kwargs["host"] = config.get("CACHE_REDIS_HOST", kwargs.get("host", "localhost"))
            kwargs["port"] = config.get("CACHE_REDIS_PORT", kwargs.get("port", 6379))
            kwargs["db"] = db
            if password:
                kwargs["password"] = password
        return cls(*args, **kwargs)

    # --- what its errors mean ---------------------------------------------------------------------

    def is_answer(self, error: Exception) -> bool:
        """Whether the server itself said that it cannot do something: then it is up."""
        from redis.exceptions import ResponseError

        return isinstance(error, ResponseError)

    def is_timeout(self, error: BaseException) -> bool:
        """Whether the server did not answer in time; redis-py has an error of its own for that."""
        from redis.exceptions import TimeoutError as RedisTimeout

        return isinstance(error, (TimeoutError, RedisTimeout))

    # --- plain operations -------------------------------------------------------------------------

    async def _get(self, transport: RedisTransport, key: str) -> Value:
        """The value of ``key``, or ``None``."""
        return self._loads(await self._raw(transport, self._full(self._prefix(), key)))

    get, aget = over_transport(_get)

    async def _raw(self, transport: RedisTransport, name: str) -> bytes | None:
        """The bytes under a name; what is no string is nothing."""
        raw: bytes | None = (await transport.run("MGET", name))[0]
        return raw

    async def _get_many(self, transport: RedisTransport, *keys: str) -> list[Value]:
        """The values of ``keys``, ``None`` for what is missing."""
        if not keys:
            return []
        prefix = self._prefix()
        found = await transport.mget([self._full(prefix, key) for key in keys])
        return [self._loads(raw) for raw in found]

    get_many, aget_many = over_transport(_get_many)

    async def _has(self, transport: RedisTransport, key: str) -> bool:
        """Whether there is a value, be it ``None``."""
        return self._readable(await self._raw(transport, self._full(self._prefix(), key)))

    has, ahas = over_transport(_has)

    async def _add(
        self, transport: RedisTransport, key: str, value: Value, timeout: Timeout | None = None
    ) -> bool:
        """Store a value unless there is one; of several callers anywhere, one succeeds."""
        adding = self._putting(self._prefix(), lua.ADD, key, value, timeout)
        if await transport.run(*adding):
            return True
        names = self._names(self._prefix(), key)
        raw = await self._raw(transport, names[0])
        if raw is None or self._readable(raw):
            return False
        superseding = (new_token(), TOMBSTONE)
        await transport.run("EVAL", lua.SWAP, 2, *names, *superseding, raw, b"")  # it is unreadable
        return bool(await transport.run(*adding))

    add, aadd = over_transport(_add)

    async def _inc(self, transport: RedisTransport, key: str, delta: int = 1) -> int:
        """Add to the number under ``key``, atomically; the sum.

        A computation that is under way will not overwrite it.
        """
        from redis.exceptions import ResponseError

        names, superseding = self._names(self._prefix(), key), (new_token(), TOMBSTONE)
        if self._dumps(10) == b"10" and type(delta) is int:
            try:
                return int(await transport.run("EVAL", lua.COUNT, 2, *names, *superseding, delta))
            except ResponseError:
                pass  # what is there is no number, for Redis at least
        look_up = functools.partial(self._look_up, transport)
        while True:
            raw = await self._raw(transport, names[0])
            old = self._loads(raw)
            entry, _ = await unpack_living(look_up, key, old, self.clock())
            total, stored = counted(key, None if entry is None else old, delta)
            swap = (raw or b"", self._dumps(stored))
            if await transport.run("EVAL", lua.SWAP, 2, *names, *superseding, *swap):
                count: int = total
                return count

    inc, ainc = over_transport(_inc)

    async def _ping(self, transport: RedisTransport) -> str:
        """Ask the server, or each master of a cluster, for its version."""
        from redis.exceptions import ResponseError

        try:
            return version_in((await transport.told())[0])
        except ResponseError:  # this user may not ask for that
            await self._raw(transport, self._full(self._prefix(), NAMESPACE))
            return ""

    ping, aping = over_transport(_ping)

    async def _clear(self, transport: RedisTransport) -> bool:
        """Remove every key with our prefix, in batches."""
        pattern = "".join(f"\\{c}" if c in "*?[]\\^" else c for c in self._prefix()) + "*"
        await transport.sweep(pattern)
        return True

    clear, aclear = over_transport(_clear)


def __getattr__(name: str) -> type[RedisCache]:
    # Where Flask-Caching has them.
    home = {"RedisClusterCache": "rediscluster", "RedisSentinelCache": "redissentinel"}.get(name)
    if home is not None:
        kind: type[RedisCache] = getattr(importlib.import_module(f"{__package__}.{home}"), name)
        return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def version_in(told: Any) -> str:
    """The version in what a server says of itself: bytes, or what redis-py has made of them."""
    if isinstance(told, bytes):
        lines = [line.partition(":") for line in told.decode("utf-8", "replace").splitlines()]
        told = {name: value for name, _, value in lines}
    found = told if isinstance(told, dict) else {}
    return str(found.get("valkey_version") or found.get("redis_version") or "")


def common(config: Config, kwargs: Config) -> None:
    """What all Redis backends take from a configuration."""
    common_settings(config, kwargs)
    if not kwargs["key_prefix"]:
        warn("CACHE_KEY_PREFIX is empty, so clear() empties the whole Redis database")
    warn_of_prefix(kwargs["key_prefix"])
