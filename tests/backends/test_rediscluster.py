"""RedisClusterCache: keys that lie on several servers, which may move, die and come back."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
import redis
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from flask_caching_async import Cache
from flask_caching_async.backends.rediscache import RedisCache
from flask_caching_async.backends.rediscluster import RedisClusterCache
from flask_caching_async.exceptions import BackendError, BackendTimeout, ConfigurationError
from flask_caching_async.serializers import MsgpackSerializer
from support.faces import COLOURS, Face
from support.fault_proxy import FaultProxy
from support.lanes import CAREFUL, PREFIX, Enter, failures_of, insist, use_everything
from support.params import table
from support.server_groups import RedisCluster
from support.servers import HOST
from support.waiting import PATIENCE, auntil, together, until

#: Keys that Redis would look at twice.
BRACES = ("{", "}", "{}", "}{", "{a}", "a{b}c", "a}b{c}", "{}{a}", "{{a}}", "a{b", "a}b", "{a}{b}")


Make = Callable[..., Cache]


def cache_on(cluster: RedisCluster, **config: Any) -> Cache:
    """A cache on a cluster."""
    nodes = ",".join(f"{HOST}:{node.port}" for node in cluster.nodes)
    common = {"CACHE_TYPE": "RedisClusterCache", "CACHE_REDIS_CLUSTER": nodes}
    return Cache(Flask("site"), config={**CAREFUL, **common, **config})


@pytest.fixture
def make(clean_cluster: RedisCluster) -> Iterator[Callable[..., Cache]]:
    """Make caches on an empty cluster."""
    made: list[Cache] = []

    def make_cache(**config: Any) -> Cache:
        made.append(cache_on(clean_cluster, **config))
        return made[-1]

    yield make_cache
    for cache in made:
        cache.close()


@pytest_asyncio.fixture
async def face(make: Make, enter: Enter) -> Face:
    """A cache on an empty cluster, in every lane."""
    face: Face = await enter(make())
    return face


def names(cluster: RedisCluster) -> list[str]:
    """The names of all keys on all nodes, sorted."""
    return sorted(name for node in cluster.nodes for name in node.ask("KEYS", "*"))


def commands(cluster: RedisCluster) -> Counter[str]:
    """How often each command was called, on all nodes, since the last time."""
    counted: Counter[str] = Counter()
    for node in cluster.nodes:
        for name, stats in node.ask("INFO", "commandstats").items():
            counted[name.removeprefix("cmdstat_")] += stats["calls"]
        node.ask("CONFIG", "RESETSTAT")
    return counted


# --- what it may be told --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_everything_works_in_every_lane(face: Face, clean_cluster: RedisCluster) -> None:
    """All operations over all nodes, and ``clear`` leaves nothing behind on any."""
    await use_everything(face)
    assert all(node.ask("DBSIZE") for node in clean_cluster.nodes)
    assert await face.clear()
    assert names(clean_cluster) == []


@pytest.mark.parametrize("form", ["one node", "URL", "options", "flask_caching"])
def test_one_node_leads_to_all_others(make: Make, clean_cluster: RedisCluster, form: str) -> None:
    """As a list with one, as a URL, with redis-py's options, and by Flask-Caching's path."""
    node = clean_cluster.nodes[1]
    config: dict[str, Any] = {
        "one node": {"CACHE_REDIS_CLUSTER": f" {HOST}:{node.port} "},
        "URL": {"CACHE_REDIS_CLUSTER": "", "CACHE_REDIS_URL": f"{node.url}?socket_timeout=15"},
        "options": {"CACHE_OPTIONS": {"skip_full_coverage_check": True, "max_connections": 4}},
        "flask_caching": {"CACHE_TYPE": "flask_caching.backends.RedisClusterCache"},
    }[form]
    cache = make(**config)
    assert type(cache.cache) is RedisClusterCache
    pairs = {f"k{n}": n for n in range(20)}
    assert cache.set_many(pairs) and cache.get_dict(*pairs) == pairs
    assert all(node.ask("DBSIZE") for node in clean_cluster.nodes)


def test_flask_cachings_constructor_arguments(clean_cluster: RedisCluster) -> None:
    """``RedisClusterCache(cluster, password, default_timeout, key_prefix)``, by position."""
    node = clean_cluster.nodes[0]
    cache = RedisClusterCache(f"{HOST}:{node.port}", "", 3600, "pre_", True)
    assert cache.set("a", 1) and cache.get("a") == 1
    assert (cache.key_prefix, cache.default_timeout) == ("pre_", 3600)
    assert 3_500_000 < clean_cluster.holder("pre_a").ask("PTTL", "pre_a") <= 3_600_000
    assert cache._write_client.get("pre_a") == b"1"
    cache.close()


def test_a_password() -> None:
    """From the settings or from the URL."""
    with RedisCluster(requirepass="s3cr3t") as cluster:
        url = f"redis://{HOST}:{cluster.nodes[0].port}"
        for config in (
            {"CACHE_REDIS_PASSWORD": "s3cr3t"},
            {"CACHE_REDIS_PASSWORD": "s3cr3t", "CACHE_REDIS_URL": url},
            {"CACHE_REDIS_URL": cluster.url},
        ):
            cache = cache_on(cluster, **config)
            assert cache.set("a", 1) and cache.get("a") == 1
            asyncio.run(in_block(cache))
            cache.close()


async def in_block(cache: Cache) -> None:
    """Use a cache natively."""
    async with cache:
        assert await cache.aset("b", 2) and await cache.aget_many("a", "b") == [1, 2]


def test_building_never_connects(clean_cluster: RedisCluster) -> None:
    """Neither for nodes nor for a URL: the first operation does."""
    with FaultProxy(clean_cluster.nodes[0].port) as proxy:
        where = f"{HOST}:{proxy.port}"
        made = [
            cache_on(clean_cluster, CACHE_REDIS_CLUSTER=where),
            cache_on(clean_cluster, CACHE_REDIS_URL=f"redis://{where}"),
        ]
        assert proxy.accepted == 0
        for cache in made:
            assert cache.get("a") is None
            cache.close()
        assert proxy.accepted >= 2


@table(
    "config,message",
    [
        ({"CACHE_REDIS_CLUSTER": ""}, "CACHE_REDIS_CLUSTER must list nodes as 'host1:port1,host2"),
        ({"CACHE_REDIS_CLUSTER": "a:1,b"}, "CACHE_REDIS_CLUSTER must list nodes"),
        ({"CACHE_REDIS_CLUSTER": "a:x"}, "CACHE_REDIS_CLUSTER must list nodes"),
        ({"CACHE_REDIS_CLUSTER": 7}, "CACHE_REDIS_CLUSTER must list nodes"),
        ({"CACHE_REDIS_URL": "http://a"}, "CACHE_REDIS_URL must be redis://"),
        ({"CACHE_REDIS_URL": "redis://a?z=1"}, "redis-py knows no option 'z'"),
        ({"CACHE_REDIS_URL": "redis://a?decode_responses=1"}, "decode_responses is not supported"),
        ({"CACHE_OPTIONS": {"nonsense": 1}}, "redis-py knows no option 'nonsense'"),
        ({"CACHE_OPTIONS": {"decode_responses": True}}, "decode_responses is not supported"),
        ({"CACHE_KEY_PREFIX": "a{b:"}, "CACHE_KEY_PREFIX 'a{b:' has an open brace"),
        ({"CACHE_KEY_PREFIX": "{}a:"}, "CACHE_KEY_PREFIX '{}a:' has an open brace"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(config: dict[str, Any], message: str) -> None:
    """When the app is set up, though nothing connects then."""
    common = {"CACHE_TYPE": "RedisClusterCache", "CACHE_REDIS_CLUSTER": f"{HOST}:1"}
    with pytest.raises(ConfigurationError, match=message):
        Cache(Flask("site"), config={**common, **config})


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.asyncio
async def test_a_ready_client_of_a_cluster_is_as_good(
    clean_cluster: RedisCluster, colour: str
) -> None:
    """``CACHE_REDIS_HOST`` may be a ``redis.RedisCluster``, which stays the user's own."""
    ready = redis.RedisCluster(host=HOST, port=clean_cluster.nodes[0].port, max_connections=4)
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_HOST": ready, "CACHE_ON_ERROR": "raise"}
    cache = Cache(Flask("site"), config=config)
    assert type(cache.cache) is RedisCache
    await use_everything(Face(cache, colour))
    assert cache.clear() and names(clean_cluster) == []
    if colour == "sync":
        work = lambda n: cache.set(f"k{n}", n) and cache.get(f"k{n}") == n  # noqa: E731
        assert together(*[lambda n=n: work(n) for n in range(40)]) == [True] * 40
    cache.close()
    assert ready.ping()
    ready.close()
    decoding = redis.RedisCluster(
        host=HOST, port=clean_cluster.nodes[0].port, decode_responses=True
    )
    with pytest.raises(ConfigurationError, match="decode_responses is not supported"):
        Cache(Flask("site"), config={**config, "CACHE_REDIS_HOST": decoding})
    decoding.close()


# --- where things lie -----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_keys_with_braces(face: Face, clean_cluster: RedisCluster) -> None:
    """Redis decides by braces on which node a key lies; any key works all the same."""
    pairs = {key: f"value of {key}" for key in BRACES}
    assert await face.set_many(pairs) == list(pairs)
    assert await face.get_dict(*pairs) == pairs
    f = face.memoize(make_name=lambda name: "{f}}{", tags=["{t}", "}"])(lambda key: [key])
    for key in BRACES:
        assert await face.get(key) == pairs[key] and await face.delete(key)
        assert await face.add(key, 1) and await face.inc(key) == 2
        assert await face.get_or_set(key + "!", lambda: 3, tags=[key]) == 3
        assert await face.delete_tags(key) and await face.get(key + "!") is None
        assert await face.call(f, key) == [key] == await face.call(f, key)
    assert face.cache.stats().computed == 2 * len(BRACES)
    assert await face.delete_many(*BRACES) == list(BRACES)
    assert await face.get_many(*BRACES) == [None] * len(BRACES)
    assert await face.clear() and names(clean_cluster) == []


@pytest.mark.asyncio
async def test_a_close_that_is_cancelled_leaves_it_to_the_last_call(
    make: Make, clean_cluster: RedisCluster
) -> None:
    """No connection of the loop stays open."""

    def connected() -> set[tuple[int, str]]:
        return {
            (number, line.split()[0])
            for number, node in enumerate(clean_cluster.nodes)
            for line in str(node.ask("CLIENT", "LIST")).splitlines()
            if "cmd=client" not in line  # but who asks
        }

    backend: Any = make(CACHE_OPERATION_TIMEOUT=PATIENCE).cache
    before = connected()
    await backend.aopen()
    transport = backend._transports.here()
    call = asyncio.ensure_future(transport.run("BLPOP", "nothing", 0.3))
    await auntil(lambda: connected() - before)
    closing = asyncio.ensure_future(backend.aclose())
    await asyncio.sleep(0)
    assert closing.cancel()
    await asyncio.wait([call, closing])
    await auntil(lambda: not connected() - before)


@given(
    prefix=st.sampled_from(["", "pre_", "{app}", "x{app}y", "a}b"]),
    key=st.text(alphabet="{}ab~", max_size=8),
    other=st.text(alphabet="{}ab~", max_size=8),
)
def test_an_entry_its_mark_and_its_lease_lie_together(prefix: str, key: str, other: str) -> None:
    """On one node, whatever is in the key; and different keys have different names."""
    cache = RedisClusterCache(f"{HOST}:1", key_prefix=prefix)
    full = cache._full(prefix, key)
    mark, lease = cache._beside(prefix, "~mark~", key), cache.lease(f"{key}@state", 10)
    assert len({key_slot(name.encode()) for name in (full, mark, lease.name)}) == 1
    assert all(name.startswith(prefix) for name in (full, mark, lease.name))
    assert len({full, mark, lease.name}) == 3
    assert (key == other) == (full == cache._full(prefix, other))


@pytest.mark.asyncio
async def test_clear_touches_no_foreign_key_on_any_node(
    make: Make, enter: Enter, clean_cluster: RedisCluster
) -> None:
    """Neither does anything else, and neither KEYS nor FLUSHDB is ever sent."""
    foreign = [f"{name}{n}" for name in ("other", "min", "mine*", "a*[b]?") for n in range(10)]
    for name in foreign:
        clean_cluster.holder(name).ask("SET", name, "foreign")
    commands(clean_cluster)
    face = await enter(make(CACHE_KEY_PREFIX="mine_?"))
    await use_everything(face)
    await face.set_many({f"k{n}": n for n in range(2000)})
    assert await face.clear()
    sent = commands(clean_cluster)
    assert names(clean_cluster) == sorted(foreign)
    assert not sent.keys() & {"keys", "flushdb", "flushall"}
    assert sent["scan"] >= 3


@pytest.mark.asyncio
async def test_operations_on_many_keys_send_what_they_must_and_no_more(
    face: Face, clean_cluster: RedisCluster
) -> None:
    """No question to a server about where keys are: everybody knows."""
    pairs = {f"k{n}": n for n in range(20)}
    f = face.memoize(tags=["a", "b", "c"])(lambda n: n)
    await face.call(f, 0)
    for operation, expected in (
        (lambda: face.set_many(pairs), {"eval": 20}),
        (lambda: face.delete_many(*pairs), {"unlink": 40, "set": 20}),
        (lambda: face.call(f, 0), {"mget": 6}),  # the entry with its version, and five of tags
    ):
        commands(clean_cluster)
        await operation()
        sent = commands(clean_cluster)
        asked = {name for name in sent if name.startswith(("command", "cluster"))}
        assert asked == set()
        assert {name: sent[name] for name in expected} == expected


@pytest.mark.asyncio
async def test_each_of_several_tags_drops_an_entry(face: Face) -> None:
    """Wherever its version lies; and dropping them costs the same for any number of entries."""
    tags = [f"tag {n}" for n in range(8)]
    f = face.memoize(tags=tags)(lambda n: [n])
    for tag in tags:
        for n in range(3):
            assert await face.call(f, n) == [n] == await face.call(f, n)
        assert await face.delete_tags(tag)
    assert face.cache.stats().computed == 3 * len(tags)


@pytest.mark.asyncio
async def test_counters_with_a_serializer_that_writes_no_digits(make: Make, enter: Enter) -> None:
    """They are compared and swapped where they lie."""
    face = await enter(make(CACHE_SERIALIZER=MsgpackSerializer))
    for key in ("a", "b", "c}"):
        assert await face.inc(key, 5) == 5 and await face.dec(key) == 4 == await face.get(key)


# --- one computation, and invalidations that win --------------------------------------------------


INVALIDATIONS: dict[str, Callable[[Face, Any, str], Any]] = {
    "delete": lambda face, twin, key: face.delete(key),
    "set": lambda face, twin, key: face.set(key, "by hand"),
    "delete_tags": lambda face, twin, key: face.delete_tags("u"),
    "delete_memoized": lambda face, twin, key: face.delete_memoized(twin),
    "clear": lambda face, twin, key: face.clear(),
}


@pytest.mark.asyncio
async def test_an_invalidation_elsewhere_beats_a_running_computation(
    make: Make, enter: Enter
) -> None:
    """What one process computes is dead when another one has deleted it meanwhile."""
    here = make()
    face = await enter(make())  # a cache of its own: nothing is shared but the cluster
    for how, invalidate in INVALIDATIONS.items():
        entered, go = threading.Event(), threading.Event()

        def slow(how: str) -> str:
            entered.set()  # noqa: B023
            assert go.wait(PATIENCE)  # noqa: B023
            return "old"

        f, twin = here.memoize(tags=["t", "u"])(slow), face.memoize(tags=["t", "u"])(slow)
        key = f.make_cache_key(f.uncached, how)
        computing = asyncio.ensure_future(asyncio.to_thread(f, how))
        await auntil(entered.is_set)
        await invalidate(face, twin, key)
        go.set()
        assert await computing == "old"
        expected = "by hand" if how == "set" else None
        assert await face.get(key) == expected == here.get(key), how


@pytest.mark.asyncio
async def test_two_processes_share_one_computation(make: Make, enter: Enter) -> None:
    """The lease lies beside the entry, wherever that is."""
    here, face = make(), await enter(make())
    calls: list[str] = []

    def body(who: str, missed: int) -> str:
        calls.append(who)
        until(lambda: face.cache.stats().misses > missed)  # the other one has looked, too
        return "value"

    for key in ("k", "{k}", "k}"):
        calls.clear()
        missed = face.cache.stats().misses
        f = here.cached(key_prefix=key)(lambda: body("here", missed))  # noqa: B023
        twin = face.cached(key_prefix=key)(lambda: body("there", missed))  # noqa: B023
        computing = asyncio.ensure_future(asyncio.to_thread(f))
        await auntil(lambda: calls)
        assert await face.call(twin) == "value" == await computing
        assert calls == ["here"]


# --- servers that move, die and come back ---------------------------------------------------------


@pytest.mark.asyncio
async def test_a_slot_that_has_moved_is_followed(face: Face, clean_cluster: RedisCluster) -> None:
    """Without an error, for each operation that meets it first."""
    keys = ("a", "b", "c", "d", "e")
    await face.set_many(dict.fromkeys(keys, 1))
    ids = {node: node.ask("CLUSTER", "MYID") for node in clean_cluster.nodes}
    home = {key: clean_cluster.holder(PREFIX + key) for key in keys}

    def move(key: str, source: Any, target: Any) -> None:
        slot = source.ask("CLUSTER", "KEYSLOT", PREFIX + key)
        for name in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("DEL", name)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        for node in (target, source, *clean_cluster.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    away = {key: next(node for node in ids if node is not home[key]) for key in keys}
    try:
        for key in keys:
            move(key, home[key], away[key])
        assert await face.get("a") is None and await face.set("a", 2) and await face.get("a") == 2
        assert await face.set_many({"b": 3, "x": 1}) and await face.get("b") == 3
        assert await face.inc("c") == 1
        assert await face.get_many("d", "x", "a") == [None, 1, 2]
        assert await face.get_or_set("e", 5) == 5 == await face.get("e")
        assert await face.delete_many(*keys) and await face.get_many(*keys) == [None] * 5
    finally:
        for key in keys:
            move(key, away[key], home[key])


#: A server that is dead is found out soon.
LITTLE_TIME: dict[str, Any] = {
    "CACHE_ON_ERROR": "log",
    "CACHE_CONNECT_TIMEOUT": 0.5,
    "CACHE_OPERATION_TIMEOUT": 0.2,
    "CACHE_BREAKER_RESET": 0.3,
}


@pytest.mark.parametrize("fault", ["kill", "pause"])
@pytest.mark.asyncio
async def test_a_node_that_dies_costs_little_and_is_used_again_when_it_is_back(
    make: Make, enter: Enter, clean_cluster: RedisCluster, fault: str
) -> None:
    """A function costs one attempt at most meanwhile, and nobody has to do anything afterwards."""
    face = await enter(make(**LITTLE_TIME, CACHE_LOCK_TIMEOUT=1))
    failed = failures_of(face.cache)
    f = face.memoize()(lambda n: [n])

    async def hits() -> int:
        before = face.cache.stats().hits
        for n in range(12):
            assert await face.call(f, n) == [n]
        return int(face.cache.stats().hits - before)

    async def all_hit() -> bool:
        return await hits() == 12

    assert await insist(all_hit)
    node = clean_cluster.nodes[2]
    getattr(node, fault)()
    for n in range(12):
        failed.clear()
        assert await face.call(f, n) == [n]
        assert len(failed) <= 1
    node.resume()
    clean_cluster.start()
    assert await insist(all_hit)


@pytest.mark.asyncio
async def test_what_could_not_be_deleted_is_deleted_when_the_node_is_back(
    make: Make, enter: Enter, clean_cluster: RedisCluster
) -> None:
    """And it is not served before."""
    face, other = await enter(make(**LITTLE_TIME)), make()
    keys = [f"k{n}" for n in range(12)]
    assert other.set_many(dict.fromkeys(keys, "old")) == keys

    async def seen() -> bool:
        return bool(await face.get_many(*keys) == ["old"] * 12)

    assert await insist(seen)
    for node in clean_cluster.nodes:
        node.pause()
    assert await face.delete_many(*keys) == []
    for node in clean_cluster.nodes:
        node.resume()
    clean_cluster.start()

    async def deleted() -> bool:
        assert await face.get_many(*keys) == [None] * len(keys)
        return "old" not in other.get_many(*keys)

    assert await insist(deleted)


def test_a_cluster_that_is_not_there_is_looked_for_by_one(clean_cluster: RedisCluster) -> None:
    """However many ask at once, and it is found when it comes."""
    with FaultProxy(clean_cluster.nodes[0].port) as proxy:
        proxy.silence()
        config = {**LITTLE_TIME, "CACHE_ON_ERROR": "raise", "CACHE_BREAKER_THRESHOLD": 0}
        cache = cache_on(clean_cluster, CACHE_REDIS_CLUSTER=f"{HOST}:{proxy.port}", **config)
        before = threading.active_count()
        failed = [answer.error for answer in together(*[lambda: cache.get("a")] * 20)]
        assert {*map(type, failed)} <= {BackendError, BackendTimeout} and len(failed) == 20
        assert proxy.accepted < 20
        until(lambda: threading.active_count() <= before)
        proxy.heal()

        def found() -> Any:
            with suppress(BackendError):
                return cache.set("a", 1) and cache.get("a") == 1

        until(found)
        cache.close()


def test_two_hundred_threads_wait_for_five_connections(make: Make) -> None:
    """Nobody is turned away, as redis-py's own pools would do."""
    cache = make(CACHE_OPTIONS={"max_connections": 5})

    def work(n: int) -> bool:
        cache.set(f"k{n}", n)
        return bool(cache.get_many(f"k{n}", "none", f"k{n}") == [n, None, n])

    assert together(*[lambda n=n: work(n) for n in range(200)]) == [True] * 200


@pytest.mark.asyncio
async def test_two_hundred_tasks_wait_for_five_connections(make: Make) -> None:
    """On a loop with connections of its own, too."""
    cache = make(CACHE_OPTIONS={"max_connections": 5})

    async def work(n: int) -> bool:
        await cache.aset(f"k{n}", n)
        return bool(await cache.aget_many(f"k{n}", "none", f"k{n}") == [n, None, n])

    async with cache:
        assert await asyncio.gather(*[work(n) for n in range(200)]) == [True] * 200
