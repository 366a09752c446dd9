"""RedisSentinelCache: the master that sentinels name, before, during and after a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from redis import Connection
from redis.exceptions import ReadOnlyError, ResponseError

from flask_caching_async import Cache
from flask_caching_async._runtime.colour import run_now
from flask_caching_async.backends._connections.server import Budget
from flask_caching_async.backends._redis import scripts as lua
from flask_caching_async.backends._redis.endpoint import Endpoint
from flask_caching_async.backends._redis.transport import AsyncTransport, Transport, is_replica
from flask_caching_async.backends.redissentinel import RedisSentinelCache
from flask_caching_async.exceptions import BackendError, ConfigurationError
from support.fault_proxy import FaultProxy
from support.lanes import CAREFUL, PREFIX, Enter, failures_of, insist, use_everything
from support.params import table
from support.server_groups import RedisReplicaSet
from support.servers import HOST, RedisServer, eventually
from support.waiting import auntil, together, until

Make = Callable[..., Cache]


def cache_on(replicas: RedisReplicaSet, **config: Any) -> Cache:
    """A cache on a replica set."""
    common: dict[str, Any] = {"CACHE_TYPE": "RedisSentinelCache"}
    common["CACHE_REDIS_SENTINELS"] = [(HOST, replicas.sentinel.port)]
    return Cache(Flask("site"), config={**CAREFUL, **common, **config})


@pytest.fixture
def make(clean_replica_set: RedisReplicaSet) -> Iterator[Callable[..., Cache]]:
    """Make caches on an empty replica set."""
    made: list[Cache] = []

    def make_cache(**config: Any) -> Cache:
        made.append(cache_on(clean_replica_set, **config))
        return made[-1]

    yield make_cache
    for cache in made:
        cache.close()


def commands(server: RedisServer) -> set[str]:
    """The commands that were sent to a server since ``CONFIG RESETSTAT``."""
    return {name.removeprefix("cmdstat_") for name in server.ask("INFO", "commandstats")}


@pytest.mark.asyncio
async def test_it_works_in_every_lane_and_only_on_the_master(
    make: Make, enter: Enter, clean_replica_set: RedisReplicaSet
) -> None:
    """The replica, which may be behind, is never asked."""
    clean_replica_set.replica.ask("CONFIG", "RESETSTAT")
    face = await enter(make())
    await use_everything(face)
    assert {"mget", "eval", "incrby"} <= commands(clean_replica_set.master)
    assert not {"mget", "get", "exists", "eval"} & commands(clean_replica_set.replica)
    assert await face.clear() and clean_replica_set.master.ask("DBSIZE") == 0


@pytest.mark.asyncio
async def test_what_it_may_be_told(
    make: Make, enter: Enter, clean_replica_set: RedisReplicaSet
) -> None:
    """Sentinels as text or pairs (one that is dead among them), the master's name, a database."""
    port = clean_replica_set.sentinel.port
    master = clean_replica_set.master
    forms: list[dict[str, Any]] = [
        {"CACHE_REDIS_SENTINELS": f"{HOST}:1, {HOST}:{port}"},
        {"CACHE_REDIS_SENTINELS": ((HOST, 1), [HOST, str(port)])},
        {"CACHE_TYPE": "flask_caching.backends.RedisSentinelCache"},
        {"CACHE_REDIS_DB": 4, "CACHE_REDIS_SENTINEL_MASTER": "mymaster"},
    ]
    for form in forms:
        face = await enter(make(**form))
        await use_everything(face)
        assert type(face.cache.cache) is RedisSentinelCache
        used = {"db4" if "CACHE_REDIS_DB" in form else "db0"}
        assert set(master.ask("INFO", "keyspace")) == used, form
        assert face.cache.cache._write_client.ping()
        master.flush()


def test_flask_cachings_constructor_arguments(clean_replica_set: RedisReplicaSet) -> None:
    """``(sentinels, master, password, db, default_timeout, key_prefix)``, by position."""
    where = [(HOST, clean_replica_set.sentinel.port)]
    cache = RedisSentinelCache(
        where, "mymaster", None, 0, 3600, "pre_", True, sentinel_socket_keepalive=True
    )
    assert cache.set("a", 1) and cache.get("a") == 1
    assert 3_500_000 < clean_replica_set.master.ask("PTTL", "pre_a") <= 3_600_000
    cache.close()


@table(
    "config,message",
    [
        ({"CACHE_REDIS_SENTINELS": "here"}, "CACHE_REDIS_SENTINELS must be a list of .host, port"),
        ({"CACHE_REDIS_SENTINELS": [7]}, "CACHE_REDIS_SENTINELS must be a list"),
        ({"CACHE_REDIS_SENTINELS": [("a", "b")]}, "CACHE_REDIS_SENTINELS must be a list"),
        ({"CACHE_OPTIONS": {"redis_connect_func": print}}, "redis_connect_func is not supported"),
        ({"CACHE_OPTIONS": {"nonsense": 1}}, "redis does not take these settings.*'nonsense'"),
        ({"CACHE_OPTIONS": {"sentinel_nonsense": 1}}, "does not take these settings.*'nonsense'"),
        ({"CACHE_OPTIONS": {"decode_responses": True}}, "decode_responses is not supported"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(config: dict[str, Any], message: str) -> None:
    """When the app is set up, though nothing connects then."""
    with pytest.raises(ConfigurationError, match=message):
        Cache(Flask("site"), config={"CACHE_TYPE": "RedisSentinelCache", **config})


def test_passwords_of_the_sentinels_and_of_the_master_are_different_things() -> None:
    """Neither is told to the other."""
    cache = RedisSentinelCache(
        [(HOST, 1)], password="master's", sentinel_password="sentinel's", sentinel_username="s"
    )
    sentinels = cache._write_client.connection_pool.sentinel_manager.sentinels
    asked = sentinels[0].connection_pool.connection_kwargs
    assert (asked["password"], asked["username"]) == ("sentinel's", "s")
    endpoint = cache._transports.blocking().pool.opener.endpoint
    assert endpoint.settings["password"] == "master's" and "username" not in endpoint.settings


def test_building_never_connects(clean_replica_set: RedisReplicaSet) -> None:
    """The first operation asks a sentinel, and the second one does not."""
    with FaultProxy(clean_replica_set.sentinel.port) as proxy:
        cache = cache_on(clean_replica_set, CACHE_REDIS_SENTINELS=[(HOST, proxy.port)])
        assert proxy.accepted == 0
        assert cache.set("a", 1)
        asked = proxy.requests
        assert asked
        assert cache.get("a") == 1
        assert proxy.requests == asked
        cache.close()


def test_a_cache_that_was_closed_leaves_no_connection_to_a_sentinel(
    clean_replica_set: RedisReplicaSet,
) -> None:
    """Neither of threads, nor of a loop; a later call opens it again."""
    cache, sentinel = cache_on(clean_replica_set), clean_replica_set.sentinel

    def connected() -> set[str]:
        lines = str(sentinel.ask("CLIENT", "LIST")).splitlines()
        return {line.split()[0] for line in lines if "cmd=client" not in line}  # but who asks

    before = connected()
    for _ in range(2):
        assert cache.set("a", 1) and connected() - before
        cache.close()
        until(lambda: not connected() - before)
    asyncio.run(natively(cache))
    until(lambda: not connected() - before)


def test_no_sentinel_at_all_costs_the_time_to_connect(
    clean_replica_set: RedisReplicaSet,
) -> None:
    """Silent ones share it, however many there are, and each is asked once."""
    with FaultProxy(clean_replica_set.sentinel.port) as proxy:
        proxy.silence()
        sentinels = [(HOST, proxy.port)] * 4
        cache = cache_on(
            clean_replica_set,
            CACHE_REDIS_SENTINELS=sentinels,
            CACHE_CONNECT_TIMEOUT=0.4,
            CACHE_OPERATION_TIMEOUT=1000,  # longer than a test may last
        )
        for ask in (lambda: cache.get("a"), lambda: asyncio.run(natively(cache))):
            accepted = proxy.accepted
            with pytest.raises(BackendError):
                ask()
            assert proxy.accepted <= accepted + 4
        known = cache.cache._write_client.connection_pool.sentinel_manager.sentinels
        given = [each.connection_pool.connection_kwargs for each in known]
        assert [each["socket_timeout"] for each in given] == [0.1] * 4
        assert [each["socket_connect_timeout"] for each in given] == [0.1] * 4
        cache.close()


async def natively(cache: Cache) -> Any:
    """Read a key natively."""
    async with cache:
        return await cache.aget("a")


# --- failovers ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_after_a_failover_the_cache_comes_back_by_itself(
    make: Make, enter: Enter, clean_replica_set: RedisReplicaSet
) -> None:
    """Pages are answered meanwhile, each after one attempt at most; then the new master is used,
    and what it has is found."""
    replicas = clean_replica_set
    config: dict[str, Any] = {"CACHE_CONNECT_TIMEOUT": 1, "CACHE_OPERATION_TIMEOUT": 0.5}
    face = await enter(make(CACHE_ON_ERROR="log", CACHE_BREAKER_RESET=0.2, **config))
    failed = failures_of(face.cache)
    f = face.memoize()(lambda n: [n])
    assert await insist(lambda: face.set("kept", 1)) and await insist(lambda: face.set("gone", 1))
    assert await face.call(f, 1) == [1]
    until(replicas.in_sync)
    replicas.sentinel.pause()  # it replaces nobody yet
    replicas.master.kill()
    assert await face.delete("gone") is False
    replicas.sentinel.resume()
    replaced = asyncio.ensure_future(asyncio.to_thread(replicas.wait_for_failover))
    while not replaced.done():
        failed.clear()
        assert await face.call(f, 1) == [1]
        assert len(failed) <= 1
        await asyncio.sleep(0.01)
    await replaced
    assert replicas.current() is replicas.replica
    assert await insist(lambda: face.get("kept")) == 1
    assert await face.get("gone") is None
    await auntil(lambda: replicas.current().ask("EXISTS", PREFIX + "gone") == 0)
    assert await insist(lambda: face.set("new", 2)) and await insist(lambda: face.get("new")) == 2
    assert replicas.current().ask("EXISTS", PREFIX + "new") == 1

    async def hits() -> bool:
        before = face.cache.stats().hits
        assert await face.call(f, 2) == [2] == await face.call(f, 2)
        return bool(face.cache.stats().hits > before)

    assert await insist(hits)


@pytest.mark.asyncio
async def test_a_master_that_was_demoted_is_left(
    make: Make, enter: Enter, clean_replica_set: RedisReplicaSet
) -> None:
    """``SENTINEL FAILOVER`` while the old master lives on as a replica: nothing is lost for long,
    and nobody reads from it any more."""
    replicas = clean_replica_set
    face = await enter(make(CACHE_ON_ERROR="log", CACHE_BREAKER_RESET=0.2))
    assert await face.set("a", 1)
    until(replicas.in_sync)
    replicas.demote()
    eventually(lambda: replicas.master.ask("ROLE")[0] == "slave", "a demoted master")
    assert await insist(lambda: face.set("b", 2))
    replicas.master.ask("CONFIG", "RESETSTAT")
    assert await face.get("b") == 2
    assert await face.get_many("b", "c") == [2, None]
    assert not {"mget", "eval"} & commands(replicas.master)
    assert replicas.replica.ask("EXISTS", PREFIX + "b") == 1


@pytest.fixture
def roles(clean_redis: RedisServer) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Two servers; the first becomes a replica of the second when a test wants it."""
    with RedisServer() as other:
        yield clean_redis, other
    clean_redis.ask("REPLICAOF", "NO", "ONE")


def endpoint_of(servers: list[RedisServer]) -> Endpoint:
    """Where connections go: to the first of the servers at the time when they are opened."""
    endpoint = Endpoint(Connection, {}, Budget(10, 10, 10, 5))
    endpoint.master = lambda: (HOST, servers[0].port)

    async def amaster() -> tuple[str, int]:
        return HOST, servers[0].port

    endpoint.amaster = amaster
    return endpoint


PUT = ("EVAL", lua.PUT, 2, "a", "m", "1", "0", "t", "1000")


def test_whoever_meets_a_replica_asks_for_the_master_again(
    roles: tuple[RedisServer, RedisServer],
) -> None:
    """A command, a script or one of several commands is refused once; then all connections are
    new."""
    first, second = roles
    for write in (
        lambda wire: wire.run("SET", "a", 1),
        lambda wire: wire.run(*PUT),
        lambda wire: wire.batch([("GET", "a"), ("SET", "a", 1)]),
        lambda wire: wire.batch([PUT]),
    ):
        first.ask("REPLICAOF", "NO", "ONE")
        known = [first]
        wire = Transport(endpoint_of(known))
        together(*[lambda wire=wire: run_now(wire.run("PING"))] * 5)
        first.ask("REPLICAOF", HOST, second.port)
        known[0] = second
        with pytest.raises(ReadOnlyError):
            run_now(write(wire))
        for _ in range(5):
            run_now(write(wire))
        assert second.ask("EXISTS", "a") == 1
        run_now(wire.close())
        second.flush()


@pytest.mark.asyncio
async def test_whoever_meets_a_replica_on_a_loop_asks_for_the_master_again(
    roles: tuple[RedisServer, RedisServer],
) -> None:
    """The same on a loop with connections of its own."""
    first, second = roles
    for write in (
        lambda wire: wire.run("SET", "a", 1),
        lambda wire: wire.run(*PUT),
        lambda wire: wire.batch([("GET", "a"), ("SET", "a", 1)]),
        lambda wire: wire.batch([PUT]),
    ):
        first.ask("REPLICAOF", "NO", "ONE")
        known = [first]
        wire = AsyncTransport(endpoint_of(known))
        await asyncio.gather(*[wire.run("PING") for _ in range(5)])
        first.ask("REPLICAOF", HOST, second.port)
        known[0] = second
        with pytest.raises(ReadOnlyError):
            await write(wire)
        for _ in range(5):
            await write(wire)
        assert second.ask("EXISTS", "a") == 1
        await wire.close()
        second.flush()


def test_an_error_of_a_script_on_an_old_server_is_understood() -> None:
    """Before Redis 7, it only quotes the reason."""
    text = "Error running script (call to f_1): @user_script:1: -READONLY You can't write against"
    assert is_replica(ResponseError(text)) and is_replica(ReadOnlyError("You can't"))
    assert not is_replica(ResponseError("wrong number of arguments")) and not is_replica(b"x")
