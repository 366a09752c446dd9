"""From what a user says about Redis to the transports that lead there."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, cast
from urllib.parse import urlsplit

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from ...exceptions import ConfigurationError
from ...typing import Config
from .._connections.per_loop import PerLoop
from .._connections.secrets import Secrets, host_name, shown
from .client_transport import AnyClient, AsyncClientTransport, ClientTransport, Made
from .endpoint import LIMIT, Endpoint, endpoint_of, taken_by
from .transport import AsyncTransport, Transport
from .verbs import RedisTransport

__all__ = ["client", "cluster", "from_url", "sentinel", "per_loop"]

#: What our constructors take themselves; everything else is for the client.
OURS = (
    "default_timeout",
    "key_prefix",
    "ignore_delete_many_errors",
    "connect_timeout",
    "operation_timeout",
    "max_connections",
    "socket_timeout",
    "socket_connect_timeout",
)


def client(host: str, port: int, password: str | None, db: int, options: Config) -> redis.Redis:
    """A client of redis-py; nothing connects yet.

    :raises ConfigurationError: if it does not take these options.
    """
    try:
        host = host_name(host)
    except ValueError:
        raise ConfigurationError(
            f"CACHE_REDIS_HOST is the name of a host, not {shown(host)}; a URL is given "
            "as CACHE_REDIS_URL"
        ) from None
    for name, number in (("PORT", port), ("DB", db)):
        try:
            int(number)
        except (TypeError, ValueError):
            kind = type(number).__name__
            raise ConfigurationError(f"CACHE_REDIS_{name} must be a number, not a {kind}") from None
    try:
        return redis.Redis(host=host, port=int(port), password=password, db=int(db), **options)
    except (TypeError, ValueError) as error:
        raise _refused(error) from None


def from_url(url: str, db: int, password: str | None, kwargs: Config) -> redis.Redis:
    """A client for a URL; what the URL says wins.

    :param kwargs: what the backend is given: the client's own options are taken out of it, and
        what the URL says about times and limits is put into it.
    :raises ConfigurationError: if it is none, or if redis-py does not know an option.
    """
    said = _parsed(url)
    number = urlsplit(url).path.strip("/")
    if number and not number.isdigit() and not url.startswith("unix:"):
        raise ConfigurationError(
            f"CACHE_REDIS_URL ends in /{number}, which is no number of a database: write /0, or "
            "leave it out"
        )
    kwargs.update({name: said[name] for name in said.keys() & OURS})
    options = {name: kwargs.pop(name) for name in list(kwargs) if name not in OURS}
    if password:
        options = {"password": password, **options}
    _check(options | said, taken_by(said.get("connection_class", redis.Connection)))
    try:
        return redis.Redis.from_url(url, db=db, **options)
    except (TypeError, ValueError) as error:
        raise _refused(error) from None


def _refused(error: Exception) -> ConfigurationError:
    """The error for settings that redis-py does not take."""
    said = _QUOTED.sub("...", str(error)) if isinstance(error, ValueError) else error
    return ConfigurationError(f"redis.Redis does not take these settings: {said}")


def _parsed(url: str) -> Config:
    """What a URL says.

    :raises ConfigurationError: if it is none, or asks for text instead of bytes.
    """
    try:
        said = dict(parse_url(url))
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigurationError(
            "CACHE_REDIS_URL must be redis://, rediss:// (TLS) or unix://, not "
            f"{shown(url)}: {_QUOTED.sub('...', str(error))}"
        ) from None
    if said.get("decode_responses"):
        raise ConfigurationError("decode_responses is not supported by RedisCache")
    return said


#: What an error quotes of a URL: of one that is split wrongly, it may be a part of the password.
_QUOTED = re.compile(r"'.*'|\".*\"", re.DOTALL)


def _check(names: Iterable[str], *takes: Iterable[str]) -> None:
    """Refuse options that redis-py would drop without a word.

    :raises ConfigurationError: if there are any.
    """
    known = {"connection_class", *OURS, *inspect.signature(redis.Redis).parameters}
    unknown = sorted(set(names).difference(known, *takes))
    if unknown:
        raise ConfigurationError(f"redis-py knows no option {', '.join(map(repr, unknown))}")


def per_loop(
    ready: AnyClient, connect: float, operation: float, limit: int | None
) -> PerLoop[RedisTransport]:
    """The transports for a client of either colour.

    :raises ConfigurationError: if it cannot be used.
    """
    if _decodes(ready):
        raise ConfigurationError("decode_responses is not supported by RedisCache")
    pool = getattr(ready, "connection_pool", None)
    endpoint = None if pool is None else endpoint_of(ready, connect, operation, limit)
    if endpoint is not None:
        native = (lambda: AsyncTransport(endpoint)) if endpoint.in_both_colours else None
        where = _where(endpoint.settings)
        own = ready if isinstance(ready, redis.Redis) else _sync_client(endpoint)
        return PerLoop(lambda: Transport(endpoint), native, where, lambda: own)
    execute = getattr(ready, "execute_command", None)
    if isinstance(ready, redis.asyncio.Redis) or inspect.iscoroutinefunction(execute):
        raise ConfigurationError(
            f"{type(ready).__name__} cannot be used from sync code, which every app has: give "
            "CACHE_REDIS_HOST a redis.Redis or a plain redis.asyncio.Redis, or use CACHE_REDIS_URL"
        )
    if not callable(execute):
        raise ConfigurationError(
            f"CACHE_REDIS_HOST must be a host name or a client of redis-py, not {shown(ready)}"
        )
    clustered = hasattr(ready, "mget_nonatomic")
    limit, settings = min(limit or LIMIT, _limit_of(ready)), _settings_of(ready)
    secrets = Secrets([settings.get("password")])

    def over_client() -> ClientTransport:
        return ClientTransport(lambda: ready, limit, operation, secrets, clustered)

    return PerLoop(over_client, None, _where(settings), lambda: ready, clustered)


def _settings_of(ready: AnyClient) -> Config:
    """What a client's connections are made with."""
    for holder in (getattr(ready, "connection_pool", None), getattr(ready, "nodes_manager", None)):
        settings = getattr(holder, "connection_kwargs", None)
        if isinstance(settings, dict):
            return settings
    return {}


def _where(settings: Config) -> str:
    """A server, as errors and the log name it."""
    if settings.get("path"):
        return str(settings["path"])
    return f"{settings['host']}:{settings.get('port', 6379)}" if settings.get("host") else ""


def _decodes(ready: AnyClient) -> bool:
    """Whether a client gives text instead of bytes."""
    try:
        return bool(ready.get_encoder().decode_responses)
    except AttributeError:  # no client of redis-py
        return False


def _limit_of(ready: AnyClient) -> int:
    """How many connections a client has at most, to one node if it is a cluster's."""
    if hasattr(ready, "get_default_node"):
        ready = getattr(ready.get_default_node(), "redis_connection", None)
    limit = getattr(getattr(ready, "connection_pool", None), "max_connections", None)
    return limit if isinstance(limit, int) and limit > 0 else LIMIT


def _sync_client(endpoint: Endpoint) -> redis.Redis:
    """A sync client with the settings of an async one."""
    pool = redis.ConnectionPool(cast(type[redis.Connection], endpoint.kind), **endpoint.settings)
    return redis.Redis(connection_pool=pool)


# --- sentinels ------------------------------------------------------------------------------------


def sentinel(
    where: tuple[list[tuple[str, int]], str],
    settings: Config,
    sentinel_settings: Config,
    budget: tuple[float, float],
    limit: int | None,
) -> PerLoop[RedisTransport]:
    """The transports to the master that sentinels know; reads go there, too.

    :param where: ``(host, port)`` of each sentinel, and the name of the master.
    :raises ConfigurationError: if a setting needs connections of another kind.
    """
    (addresses, master), (connect, operation) = where, budget
    # All of them may have to be asked before one answers.
    patience = connect / len(addresses)
    times = {"socket_timeout": patience, "socket_connect_timeout": patience}
    # RESP 2 needs no greeting, which a Redis before 6 does not know, and quotes.
    asking = {"protocol": 2, **sentinel_settings, **times}
    settings = _without_none(settings)
    sync = redis.sentinel.Sentinel(
        addresses, sentinel_kwargs={**asking, "retry": Retry(NoBackoff(), 0)}, **settings
    )

    def close_idle() -> None:
        for one in sync.sentinels:  # another thread may be asking
            one.connection_pool.disconnect(inuse_connections=False)

    plain = redis.Redis(**settings)  # only for what it makes of the settings
    endpoint = endpoint_of(plain, connect, operation, limit)
    if endpoint is None:
        raise ConfigurationError("redis_connect_func is not supported by RedisSentinelCache")
    for name in ("host", "port"):  # the sentinels say
        endpoint.settings.pop(name, None)
    endpoint.master, endpoint.closing = lambda: sync.discover_master(master), close_idle
    endpoint.secrets = Secrets([settings.get("password"), sentinel_settings.get("password")])

    def on_loop() -> AsyncTransport:
        asking_here = {**asking, "retry": AsyncRetry(NoBackoff(), 0)}
        here = redis.asyncio.sentinel.Sentinel(addresses, sentinel_kwargs=asking_here, **settings)
        own = copy.copy(endpoint)
        own.amaster = lambda: here.discover_master(master)
        own.aclosing = here.aclose
        return AsyncTransport(own)

    native, by_hand = on_loop if endpoint.in_both_colours else None, sync.master_for(master)
    said = f"{master!r} (sentinels {_listed(addresses)})"
    return PerLoop(lambda: Transport(endpoint), native, said, lambda: by_hand)


def _without_none(settings: Config) -> Config:
    """Settings without those that were not given; what a user's option says by ``None`` stays."""
    return {n: v for n, v in settings.items() if v is not None or n.startswith("ssl_")}


def _listed(addresses: Iterable[tuple[str, int]]) -> str:
    return ", ".join([f"{host}:{port}" for host, port in addresses])


# --- clusters -------------------------------------------------------------------------------------


def cluster(
    where: tuple[list[tuple[str, int]], str | None],
    settings: Config,
    budget: tuple[float, float],
    limit: int | None,
) -> PerLoop[RedisTransport]:
    """The transports to a cluster.

    :param where: some of its nodes, or a URL.
    :raises ConfigurationError: if redis-py does not know an option, or the URL is none.
    """
    (nodes, url), (connect, operation) = where, budget
    said = _parsed(url) if url else {}
    kinds = (redis.RedisCluster, redis.asyncio.RedisCluster)
    _check(settings | said, *(inspect.signature(kind).parameters for kind in kinds))
    limit = int(said.get("max_connections", limit or LIMIT))
    settings = _for_nodes(settings, said, budget, limit)

    def make(
        kind: Any, node: Callable[[str, int], object], retry: type[Retry] | type[AsyncRetry]
    ) -> AnyClient:
        # It follows slots that have moved all the same.
        more = {**settings, "retry": retry(NoBackoff(), 0)}
        if url:
            return kind.from_url(url, **more)
        return kind(startup_nodes=[node(*address) for address in nodes], **more)

    def for_threads() -> AnyClient:
        return make(redis.RedisCluster, redis.cluster.ClusterNode, Retry)

    def for_loop() -> AnyClient:
        return make(redis.asyncio.RedisCluster, redis.asyncio.cluster.ClusterNode, AsyncRetry)

    secrets = Secrets([settings.get("password"), said.get("password")])

    def blocking() -> ClientTransport:
        one = Made(for_threads, connect)
        return ClientTransport(one.get, limit, operation, secrets, True, one.forget)

    def native() -> AsyncClientTransport:
        return AsyncClientTransport(for_loop, limit, connect + operation, secrets)

    def client_of_threads() -> AnyClient:
        transport = made.blocking()
        assert isinstance(transport, ClientTransport)
        return transport.client

    made: PerLoop[RedisTransport]
    made = PerLoop(blocking, native, _where(said) or _listed(nodes), client_of_threads, True)
    return made


def _for_nodes(settings: Config, said: Config, budget: tuple[float, float], limit: int) -> Config:
    """What the connections to the nodes of a cluster are made with."""
    connect, operation = budget
    return {"protocol": 2, **_without_none(settings)} | {
        "socket_connect_timeout": said.get("socket_connect_timeout", connect),
        "socket_timeout": said.get("socket_timeout", operation),
        # One to ask where the slots are while all others are busy, and as many as may still be
        # closing: when a node fails, redis-py closes each connection after the call that used it.
        "max_connections": 2 * limit + 1,
    }
