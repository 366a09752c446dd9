"""RedisSentinelCache: the master that sentinels name, before, during and after a failover."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from flask import Flask
from flow.crowd import together, until
from helpers import Face
from redis import Connection
from redis.exceptions import ReadOnlyError, ResponseError
from servers import HOST, FaultProxy, RedisReplicaSet, RedisServer
from servers import until as eventually

from flask_caching_async import Cache
from flask_caching_async._runtime.colour import run_now
from flask_caching_async.backends._redis import scripts as lua
from flask_caching_async.backends._redis.transport import AsyncWire, Target, Wire, is_replica
from flask_caching_async.backends.redissentinel import RedisSentinelCache
from flask_caching_async.exceptions import BackendError, ConfigurationError

LANES = ("sync", "async", "native")
PREFIX = "flask_cache_"


def cache_on(replicas: RedisReplicaSet, **config: Any) -> Cache:
    """A cache on a replica set that raises what goes wrong, on a machine that is busy."""
    common: dict[str, Any] = {"CACHE_TYPE": "RedisSentinelCache", "CACHE_ON_ERROR": "raise"}
    common |= {"CACHE_CONNECT_TIMEOUT": 10, "CACHE_OPERATION_TIMEOUT": 10}
    common |= {"CACHE_REDIS_SENTINELS": [(HOST, replicas.sentinel.port)]}
    return Cache(Flask("site"), config={**common, **config})


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


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> str:
    """Who asks: sync code, async code on any loop, or on one with connections of its own."""
    return str(request.param)


@pytest_asyncio.fixture
async def enter(lane: str) -> AsyncIterator[Callable[[Cache], Any]]:
    """Use a cache in a lane, until the end of the test."""
    entered: list[Cache] = []

    async def enter_cache(cache: Cache) -> Face:
        if lane == "native":
            await cache.__aenter__()
            entered.append(cache)
            assert cache.cache.native_here()
        return Face(cache, "sync" if lane == "sync" else "async")

    yield enter_cache
    for cache in entered:
        await cache.__aexit__(None, None, None)


async def everything(face: Face) -> None:
    """Do each kind of thing that a cache can do."""
    assert await face.set("a", [1]) and await face.get("a") == [1]
    assert await face.set_many({"b": 2, "c": 3}) and await face.get_many("b", "c") == [2, 3]
    assert await face.add("d", 4) and await face.inc("n") == 1
    f = face.memoize(tags=["t"])(lambda x: x + 1)
    assert [await face.call(f, 1), await face.call(f, 1)] == [2, 2]
    assert face.cache.stats().hits >= 1
    assert await face.delete_memoized(f) and await face.delete_tags("t")
    assert await face.delete("a") and await face.get("a") is None


def commands(server: RedisServer) -> set[str]:
    """The commands that were sent to a server since ``CONFIG RESETSTAT``."""
    return {name.removeprefix("cmdstat_") for name in server.ask("INFO", "commandstats")}


@pytest.mark.asyncio
async def test_it_works_in_every_lane_and_only_on_the_master(
    make: Callable[..., Cache], enter: Callable[..., Any], clean_replica_set: RedisReplicaSet
) -> None:
    """The replica, which may be behind, is never asked."""
    clean_replica_set.replica.ask("CONFIG", "RESETSTAT")
    face = await enter(make())
    await everything(face)
    assert {"mget", "eval", "incrby"} <= commands(clean_replica_set.master)
    assert not {"mget", "get", "exists", "eval"} & commands(clean_replica_set.replica)
    assert await face.clear() and clean_replica_set.master.ask("DBSIZE") == 0


@pytest.mark.parametrize("form", ["text", "tuple", "flask_caching", "database"])
@pytest.mark.asyncio
async def test_what_it_may_be_told(
    make: Callable[..., Cache],
    enter: Callable[..., Any],
    clean_replica_set: RedisReplicaSet,
    form: str,
) -> None:
    """Sentinels as text or pairs (one that is dead among them), the master's name, a database."""
    port = clean_replica_set.sentinel.port
    config: dict[str, Any] = {
        "text": {"CACHE_REDIS_SENTINELS": f"{HOST}:1, {HOST}:{port}"},
        "tuple": {"CACHE_REDIS_SENTINELS": ((HOST, 1), [HOST, str(port)])},
        "flask_caching": {"CACHE_TYPE": "flask_caching.backends.RedisSentinelCache"},
        "database": {"CACHE_REDIS_DB": 4, "CACHE_REDIS_SENTINEL_MASTER": "mymaster"},
    }[form]
    face = await enter(make(**config))
    await everything(face)
    assert type(face.cache.cache) is RedisSentinelCache
    used = set(clean_replica_set.master.ask("INFO", "keyspace"))
    assert used == {"db4" if form == "database" else "db0"}
    assert face.cache.cache._write_client.ping()


def test_flask_cachings_constructor_arguments(clean_replica_set: RedisReplicaSet) -> None:
    """``(sentinels, master, password, db, default_timeout, key_prefix)``, by position."""
    where = [(HOST, clean_replica_set.sentinel.port)]
    cache = RedisSentinelCache(
        where, "mymaster", None, 0, 60, "pre_", True, sentinel_socket_keepalive=True
    )
    assert cache.set("a", 1) and cache.get("a") == 1
    assert 59_000 < clean_replica_set.master.ask("PTTL", "pre_a") <= 60_000
    cache.close()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"CACHE_REDIS_SENTINELS": "here"}, "CACHE_REDIS_SENTINELS must be a list of .host, port"),
        ({"CACHE_REDIS_SENTINELS": [7]}, "CACHE_REDIS_SENTINELS must be a list"),
        ({"CACHE_REDIS_SENTINELS": [("a", "b")]}, "CACHE_REDIS_SENTINELS must be a list"),
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
    target = cache._wires.blocking().pool.opener.target
    assert target.settings["password"] == "master's" and "username" not in target.settings


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


def test_no_sentinel_at_all_costs_the_time_to_connect(
    clean_replica_set: RedisReplicaSet,
) -> None:
    """Silent ones share it, however many there are."""
    with FaultProxy(clean_replica_set.sentinel.port) as proxy:
        proxy.silence()
        sentinels = [(HOST, proxy.port)] * 4
        config: dict[str, Any] = {"CACHE_CONNECT_TIMEOUT": 0.4, "CACHE_OPERATION_TIMEOUT": 5}
        cache = cache_on(clean_replica_set, CACHE_REDIS_SENTINELS=sentinels, **config)
        for ask in (lambda: cache.get("a"), lambda: asyncio.run(natively(cache))):
            began = time.monotonic()
            with pytest.raises(BackendError):
                ask()
            assert 0.2 < time.monotonic() - began < 3
        cache.close()


async def natively(cache: Cache) -> Any:
    """Read a key natively."""
    async with cache:
        return await cache.aget("a")


# --- failovers ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_after_a_failover_the_cache_comes_back_by_itself(
    make: Callable[..., Cache], enter: Callable[..., Any], clean_replica_set: RedisReplicaSet
) -> None:
    """Pages are answered meanwhile; then the new master is used, and what it has is found."""
    replicas = clean_replica_set
    config: dict[str, Any] = {"CACHE_CONNECT_TIMEOUT": 1, "CACHE_OPERATION_TIMEOUT": 0.5}
    face = await enter(make(CACHE_ON_ERROR="log", CACHE_BREAKER_RESET=0.2, **config))
    f = face.memoize()(lambda n: [n])
    assert await face.set("kept", 1) and await face.set("deleted", 1)
    assert await face.call(f, 1) == [1]
    until(replicas.in_sync)
    failing = asyncio.ensure_future(asyncio.to_thread(replicas.failover))
    slowest = 0.0
    deleted = False
    while not failing.done():
        began = time.monotonic()
        assert await face.call(f, 1) == [1]
        slowest = max(slowest, time.monotonic() - began)
        if not deleted and replicas.master.pid == 0:
            deleted = True
            assert await face.delete("deleted") is False
        await asyncio.sleep(0.01)
    old = await failing
    assert old is replicas.master and replicas.current() is replicas.replica
    assert slowest < 5
    began = time.monotonic()
    while await face.get("kept") != 1:
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.01)
    assert await face.get("deleted") is None
    assert replicas.current().ask("EXISTS", PREFIX + "deleted") == 0
    assert await face.set("new", 2) and await face.get("new") == 2
    assert replicas.current().ask("EXISTS", PREFIX + "new") == 1
    before = face.cache.stats().hits
    assert await face.call(f, 2) == [2] == await face.call(f, 2)
    assert face.cache.stats().hits == before + 1


@pytest.mark.asyncio
async def test_a_master_that_was_demoted_is_left(
    make: Callable[..., Cache], enter: Callable[..., Any], clean_replica_set: RedisReplicaSet
) -> None:
    """``SENTINEL FAILOVER`` while the old master lives on as a replica: nothing is lost for long,
    and nobody reads from it any more."""
    replicas = clean_replica_set
    face = await enter(make(CACHE_ON_ERROR="log", CACHE_BREAKER_RESET=0.2))
    assert await face.set("a", 1)
    until(replicas.in_sync)
    replicas.sentinel.ask("SENTINEL", "FAILOVER", replicas.name)
    eventually(lambda: replicas.current() is replicas.replica, "a failover")
    eventually(lambda: replicas.master.ask("ROLE")[0] == "slave", "a demoted master")
    began = time.monotonic()
    while not await face.set("b", 2):
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.01)
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


def target_of(servers: list[RedisServer]) -> Target:
    """Where connections go: to the first of the servers at the time when they are opened."""
    target = Target(Connection, {}, 10, 10, 5)
    target.master = lambda: (HOST, servers[0].port)

    async def amaster() -> tuple[str, int]:
        return HOST, servers[0].port

    target.amaster = amaster
    return target


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
        wire = Wire(target_of(known))
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
        wire = AsyncWire(target_of(known))
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
