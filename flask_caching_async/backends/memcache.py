"""Memcached: the cache on one server or several.

``_memcached/values.py`` says how values lie on the servers, and ``_memcached/versioned.py`` how
none is stored that was invalidated.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from .._entries.entry import MISSING
from .._entries.envelope import counted, is_entry
from ..exceptions import BackendError, ConfigurationError, SerializationError
from ..typing import Config, Timeout, Value
from ._connections.both_colours import over_transport, respect_overrides
from ._connections.secrets import shown
from ._connections.server import Budget, KeyPrefix, common_settings
from ._memcached.clients import Client, ClientCache, pooled_client, shared_client
from ._memcached.entries import Look, replacing, superseding, token_of
from ._memcached.protocol import (
    CANNOT_COUNT,
    STORED,
    TOO_LARGE,
    add_to,
    found_in,
    gets,
    version,
)
from ._memcached.values import Header, split
from ._memcached.verbs import MemcachedTransport
from ._memcached.versioned import TRIES, MemcachedVersioned
from ._versioned.contract import NAMESPACE, PLAIN
from ._versioned.defaults import unpack_living

if TYPE_CHECKING:
    from ._memcached.sasl import SASLMemcachedCache, SpreadSASLMemcachedCache

__all__ = ["MemcachedCache", "SASLMemcachedCache", "SpreadSASLMemcachedCache"]


class MemcachedCache(MemcachedVersioned):
    """A cache on Memcached.

    Nothing connects before the first operation. ``clear`` invalidates what is under the key prefix,
    and touches nothing else on the servers; the memory is freed when the server needs it.

    :param servers: a list of ``"host:port"``, ``(host, port)`` and paths of sockets; ``None`` is
        ``127.0.0.1:11211``. Or a client with the API of python-memcached, pylibmc, libmc or
        pymemcache: then that is used, by one thread at a time, and async code calls it in worker
        threads.
    :param default_timeout: seconds that a value lives when it is given no timeout; 0 never expires.
    :param key_prefix: put in front of all keys: text, or a callable that is asked on each call.
    :param pool_size: how many connections to each server all threads share, and each event loop
        has; 50 if it is ``None``.
    :param pool_blocking: whether to wait for a free connection.
    :param ignore_delete_many_errors: accepted for compatibility.
    :param connect_timeout: seconds that opening a connection may take.
    :param operation_timeout: seconds that an answer may take, or the wait for a free connection.
    :raises ConfigurationError: if the servers make no sense.
    """

    def __new__(cls, servers: Any = None, *args: Any, **kwargs: Any) -> MemcachedCache:
        """One over a client, if one is given."""
        named = servers is None or isinstance(servers, (list, tuple, str))
        return object.__new__(cls if named or cls is not MemcachedCache else ReadyMemcachedCache)

    def __init__(
        self,
        servers: Any = None,
        default_timeout: float | dt.timedelta = 300,
        key_prefix: KeyPrefix = None,
        pool_size: int | None = None,
        pool_blocking: bool = True,
        ignore_delete_many_errors: bool = False,
        connect_timeout: float = 1.0,
        operation_timeout: float = 0.5,
    ) -> None:
        super().__init__(default_timeout, key_prefix, ignore_delete_many_errors)
        self._warned = {}
        self._tokens = {}
        patience = operation_timeout if pool_blocking else 0.0
        self._link(servers, Budget(connect_timeout, operation_timeout, patience, pool_size or 50))

    def _link(self, servers: Any, budget: Budget) -> None:
        """Where the servers are."""
        from ._memcached.ring import Ring, servers_of
        from ._memcached.transport import per_loop

        found = servers_of(servers)
        self._ring, self._transports = Ring(found), per_loop(found, budget)
        self.where = self._transports.where

    @classmethod
    def factory(
        cls, app: object, config: Config, args: list[Any], kwargs: Config
    ) -> MemcachedCache:
        """Build it with ``CACHE_MEMCACHED_SERVERS``; ``CACHE_OPTIONS`` wins."""
        if not args:
            kwargs.setdefault("servers", config["CACHE_MEMCACHED_SERVERS"])
        common_settings(config, kwargs)
        return cls(*args, **kwargs)

    # --- plain operations -------------------------------------------------------------------------

    async def _get(self, transport: MemcachedTransport, key: str) -> Value:
        """The value of ``key``, or ``None``."""
        return (await self._get_many(transport, key))[0]

    get, aget = over_transport(_get)

    async def _get_many(self, transport: MemcachedTransport, *keys: str) -> list[Value]:
        """The values of ``keys``, ``None`` for what is missing."""
        if not keys:
            return []
        prefix = self._prefix()
        spots = [self._spot(prefix, key) for key in keys]
        wanted = [place for entry, _, space in spots for place in (entry, space)]
        found = found_in(await transport.batch(gets(wanted)))
        values = [
            self._value(found.get(entry), token_of(found.get(space))) for entry, _, space in spots
        ]
        return [None if value is MISSING else value for value in values]

    get_many, aget_many = over_transport(_get_many)

    async def _has(self, transport: MemcachedTransport, key: str) -> bool:
        """Whether there is a value, be it ``None``."""
        spot = self._spot(self._prefix(), key)
        look = Look.of(spot, found_in(await transport.batch(gets([spot.entry, spot.space]))))
        return self._value(look.item, look.token) is not MISSING

    has, ahas = over_transport(_has)

    async def _add(
        self, transport: MemcachedTransport, key: str, value: Value, timeout: Timeout | None = None
    ) -> bool:
        """Store a value unless there is one; of several callers anywhere, one succeeds."""
        life, spot = self._life(timeout), self._spot(self._prefix(), key)
        payload = self._dumps(value)
        for _ in range(TRIES):
            look = Look.of(spot, found_in(await transport.batch(gets(spot))))
            if self._value(look.item, look.token) is not MISSING:
                return False
            if life < 0:  # over before it began
                return True
            token = look.token or await self._space(transport, spot.space)
            raw = Header(token, self.clock() + life).around(payload)
            change = replacing(look.item, spot.entry, raw, life)
            _, result = await transport.batch([superseding(spot.key_version), change])
            if result == TOO_LARGE:
                self._too_large(key)
                return False
            if result == STORED:
                return True
        return False

    add, aadd = over_transport(_add)

    async def _inc(self, transport: MemcachedTransport, key: str, delta: int = 1) -> Value:
        """Add to the number under ``key``, atomically; the sum. Its time runs on.

        What another program has stored as digits is counted by the server: not below 0.
        """
        spot, look_up = self._spot(self._prefix(), key), functools.partial(self._look_up, transport)
        looking = gets([spot.entry, spot.space])
        answers = await transport.batch(looking)
        for _ in range(TRIES):
            item, _, token = Look.of(spot, found_in(answers))
            value = self._value(item, token)
            header = None if item is None else split(item.raw)[0]
            entry, _ = await unpack_living(look_up, key, value, self.clock())
            if entry is None or value is MISSING:
                value, token = None, token or await self._space(transport, spot.space)
                header = Header(token, self.clock() + self._life(None))
            total, stored = counted(key, value, delta)
            if header is not None:
                raw, life = header.around(self._dumps(stored)), header.until - self.clock()
                change = replacing(item, spot.entry, raw, life)
            elif entry is not None and is_entry(value):  # of a decorator
                life = entry.usable_until - self.clock()
                change = replacing(item, spot.entry, self._dumps(stored), life)
            else:
                change = add_to(spot.entry, delta)
            result, *answers = await transport.batch([change, *looking])
            if result == STORED or result.isdigit():
                return total if result == STORED else int(result)
            if result.startswith(CANNOT_COUNT):
                raise SerializationError(f"Memcached cannot add {delta} to what {key!r} has")
        raise BackendError(f"too many count {key!r} at once")

    inc, ainc = over_transport(_inc)

    async def _ping(self, transport: MemcachedTransport) -> str:
        """Ask all servers for their version, at the same time; that of the first.

        :raises BackendError: with the name of one that does not answer, if there are several.
        """
        numbers = self._ring.numbers
        try:
            told, *_ = await transport.batch([version(at) for at in numbers])
            return str(told.decode("utf-8", "replace").removeprefix("VERSION "))
        except Exception:
            if len(numbers) == 1:
                raise
        for at in numbers:
            try:
                await transport.batch([version(at)])
            except Exception as error:
                name, kind = self._ring.names[at], type(error).__name__
                raise BackendError(f"{name} does not answer: {kind}: {error}") from error
        return ""  # it was a moment's failure

    ping, aping = over_transport(_ping)

    async def _clear(self, transport: MemcachedTransport) -> bool:
        """Invalidate all that lies under our prefix, and nothing else."""
        await self._invalidate(transport, (), (NAMESPACE,))
        return True

    clear, aclear = over_transport(_clear)


class ReadyMemcachedCache(ClientCache[Client], MemcachedCache):
    """A :class:`MemcachedCache` over a client that was given."""

    def _link(self, servers: Any, budget: Budget) -> None:
        if inspect.iscoroutinefunction(getattr(servers, "get", None)):
            raise ConfigurationError(
                f"{type(servers).__name__} cannot be used from sync code, which every app has: "
                "give CACHE_MEMCACHED_SERVERS the addresses of the servers"
            )
        if not (callable(getattr(servers, "get", None)) or hasattr(servers, "reserve")):
            raise ConfigurationError(
                "CACHE_MEMCACHED_SERVERS must be a list of 'host:port', (host, port) and paths of "
                f"sockets, or a client, not {shown(servers)}"
            )
        self._client = servers
        pooled = hasattr(servers, "reserve")
        self._lend = pooled_client(servers) if pooled else shared_client(servers, budget.operation)


respect_overrides(ReadyMemcachedCache, list(PLAIN))


def __getattr__(name: str) -> type[SASLMemcachedCache]:
    # Where Flask-Caching has them; few apps need them.
    if name in ("SASLMemcachedCache", "SpreadSASLMemcachedCache"):
        module = importlib.import_module(f"{__package__}._memcached.sasl")
        kind: type[SASLMemcachedCache] = getattr(module, name)
        return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
