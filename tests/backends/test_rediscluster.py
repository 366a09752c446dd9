"""RedisClusterCache: keys that lie on several servers, which may move, die and come back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
import redis
from flask import Flask
from flow.crowd import auntil, together, until
from helpers import Face
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot
from servers import HOST, FaultProxy, RedisCluster, free_port

from flask_caching_async import Cache
from flask_caching_async.backends.rediscache import RedisCache
from flask_caching_async.backends.rediscluster import RedisClusterCache
from flask_caching_async.exceptions import BackendError, ConfigurationError
from flask_caching_async.serializers import MsgpackSerializer

LANES = ("sync", "async", "native")
PREFIX = "flask_cache_"
#: Keys that Redis would look at twice.
BRACES = ("{", "}", "{}", "}{", "{a}", "a{b}c", "a}b{c}", "{}{a}", "{{a}}", "a{b", "a}b", "{a}{b}")


def cache_on(cluster: RedisCluster, **config: Any) -> Cache:
    """A cache on a cluster that raises what goes wrong, on a machine that is busy."""
    common = {"CACHE_TYPE": "RedisClusterCache", "CACHE_ON_ERROR": "raise"}
    common |= {"CACHE_CONNECT_TIMEOUT": 10, "CACHE_OPERATION_TIMEOUT": 10}  # type: ignore[dict-item]
    common |= {"CACHE_REDIS_CLUSTER": ",".join(f"{HOST}:{node.port}" for node in cluster.nodes)}
    return Cache(Flask("site"), config={**common, **config})


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


@pytest_asyncio.fixture
async def face(make: Callable[..., Cache], enter: Callable[..., Any]) -> Face:
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


async def everything(face: Face) -> None:
    """Do each thing that a cache can do, with keys that lie all over the cluster."""
    pairs = {f"key {n}": n for n in range(30)}
    assert await face.set("a", [1]) and await face.set("tagged", 1, tags=["t", "u", "v"])
    assert await face.set_many(pairs) == list(pairs)
    assert await face.get("a") == [1] and await face.get("tagged") == 1
    assert await face.get_many(*reversed(pairs), "no") == [*reversed(pairs.values()), None]
    assert await face.get_dict("a", "no") == {"a": [1], "no": None}
    assert await face.has("a") and not await face.has("no")
    assert await face.add("d", 4) and not await face.add("d", 5)
    assert await face.inc("n", 5) == 5 and await face.dec("n") == 4
    assert await face.get_or_set("e", lambda: 6, tags=["t"]) == 6 == await face.get("e")
    f = face.memoize(tags=["t", "u"])(lambda x: x + 1)
    assert [await face.call(f, 1), await face.call(f, 1), await face.call(f, 2)] == [2, 2, 3]
    assert await face.call(f.refresh, 1) == 2
    assert await face.delete_memoized(f, 1) and await face.delete_memoized(f)
    assert await face.call(f, 1) == 2
    assert await face.delete("a") and not await face.delete("a")
    assert await face.delete_many(*pairs, "no") == [*pairs, "no"]
    assert await face.unlink("d") == ["d"]
    assert await face.delete_tags("t", "w")
    gone = await face.get_many("a", "key 0", "key 29", "d", "tagged", "e", "n")
    assert gone == [None] * 6 + [4]


# --- what it may be told --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_everything_works_in_every_lane(face: Face, clean_cluster: RedisCluster) -> None:
    """All operations over all nodes, and ``clear`` leaves nothing behind on any."""
    await everything(face)
    assert all(node.ask("DBSIZE") for node in clean_cluster.nodes)
    assert await face.clear()
    assert names(clean_cluster) == []


@pytest.mark.parametrize("form", ["one node", "URL", "options", "flask_caching"])
def test_one_node_leads_to_all_others(
    make: Callable[..., Cache], clean_cluster: RedisCluster, form: str
) -> None:
    """As a list with one, as a URL, with redis-py's options, and by Flask-Caching's path."""
    node = clean_cluster.nodes[1]
    config: dict[str, Any] = {
        "one node": {"CACHE_REDIS_CLUSTER": f" {HOST}:{node.port} "},
        "URL": {"CACHE_REDIS_CLUSTER": "", "CACHE_REDIS_URL": f"{node.url}?socket_timeout=5"},
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
    cache = RedisClusterCache(f"{HOST}:{node.port}", "", 60, "pre_", True)
    assert cache.set("a", 1) and cache.get("a") == 1
    assert (cache.key_prefix, cache.default_timeout) == ("pre_", 60)
    assert 59_000 < clean_cluster.holder("pre_a").ask("PTTL", "pre_a") <= 60_000
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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"CACHE_REDIS_CLUSTER": ""}, "CACHE_REDIS_CLUSTER must list nodes as 'host1:port1,host2"),
        ({"CACHE_REDIS_CLUSTER": "a:1,b"}, "CACHE_REDIS_CLUSTER must list nodes"),
        ({"CACHE_REDIS_CLUSTER": "a:x"}, "CACHE_REDIS_CLUSTER must list nodes"),
        ({"CACHE_REDIS_CLUSTER": 7}, "CACHE_REDIS_CLUSTER must list nodes"),
        ({"CACHE_REDIS_URL": "http://a"}, "CACHE_REDIS_URL must be redis://"),
        ({"CACHE_REDIS_URL": "redis://a?z=1"}, "redis-py knows no option 'z'"),
        ({"CACHE_OPTIONS": {"nonsense": 1}}, "redis-py knows no option 'nonsense'"),
        ({"CACHE_OPTIONS": {"decode_responses": True}}, "decode_responses is not supported"),
        ({"CACHE_KEY_PREFIX": "a{b"}, "CACHE_KEY_PREFIX 'a{b' has an open brace"),
        ({"CACHE_KEY_PREFIX": "{}a"}, "CACHE_KEY_PREFIX '{}a' has an open brace"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(config: dict[str, Any], message: str) -> None:
    """When the app is set up, though nothing connects then."""
    common = {"CACHE_TYPE": "RedisClusterCache", "CACHE_REDIS_CLUSTER": f"{HOST}:1"}
    with pytest.raises(ConfigurationError, match=message):
        Cache(Flask("site"), config={**common, **config})


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.asyncio
async def test_a_ready_client_of_a_cluster_is_as_good(
    clean_cluster: RedisCluster, colour: str
) -> None:
    """``CACHE_REDIS_HOST`` may be a ``redis.RedisCluster``, which stays the user's own."""
    ready = redis.RedisCluster(host=HOST, port=clean_cluster.nodes[0].port, max_connections=4)
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_HOST": ready, "CACHE_ON_ERROR": "raise"}
    cache = Cache(Flask("site"), config=config)
    assert type(cache.cache) is RedisCache
    await everything(Face(cache, colour))
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


@pytest.mark.parametrize("prefix", ["", "pre_", "{app}", "x{app}y", "a}b"])
@given(key=st.text(alphabet="{}ab~", max_size=8), other=st.text(alphabet="{}ab~", max_size=8))
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
    make: Callable[..., Cache], enter: Callable[..., Any], clean_cluster: RedisCluster
) -> None:
    """Neither does anything else, and neither KEYS nor FLUSHDB is ever sent."""
    foreign = [f"{name}{n}" for name in ("other", "min", "mine*", "a*[b]?") for n in range(10)]
    for name in foreign:
        clean_cluster.holder(name).ask("SET", name, "foreign")
    commands(clean_cluster)
    face = await enter(make(CACHE_KEY_PREFIX="mine_?"))
    await everything(face)
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
        (lambda: face.call(f, 0), {"mget": 6}),  # the entry with its mark, and five stamps
    ):
        commands(clean_cluster)
        await operation()
        sent = commands(clean_cluster)
        asked = {name for name in sent if name.startswith(("command", "cluster"))}
        assert asked == set()
        assert {name: sent[name] for name in expected} == expected


@pytest.mark.asyncio
async def test_each_of_several_tags_drops_an_entry(face: Face) -> None:
    """Wherever its stamp lies; and dropping them costs the same for any number of entries."""
    tags = [f"tag {n}" for n in range(8)]
    f = face.memoize(tags=tags)(lambda n: [n])
    for tag in tags:
        for n in range(3):
            assert await face.call(f, n) == [n] == await face.call(f, n)
        assert await face.delete_tags(tag)
    assert face.cache.stats().computed == 3 * len(tags)


@pytest.mark.asyncio
async def test_counters_with_a_serializer_that_writes_no_digits(
    make: Callable[..., Cache], enter: Callable[..., Any]
) -> None:
    """They are compared and swapped where they lie."""
    face = await enter(make(CACHE_SERIALIZER=MsgpackSerializer))
    for key in ("a", "b", "c}"):
        assert await face.inc(key, 5) == 5 and await face.dec(key) == 4 == await face.get(key)


# --- one computation, and invalidations that win --------------------------------------------------


@pytest.mark.parametrize("how", ["delete", "set", "delete_tags", "delete_memoized", "clear"])
@pytest.mark.asyncio
async def test_an_invalidation_elsewhere_beats_a_running_computation(
    make: Callable[..., Cache], enter: Callable[..., Any], how: str
) -> None:
    """What one process computes is dead when another one has deleted it meanwhile."""
    entered, go = threading.Event(), threading.Event()
    here = make()
    face = await enter(make())  # a cache of its own: nothing is shared but the cluster

    def slow() -> str:
        entered.set()
        assert go.wait(20)
        return "old"

    f, twin = here.memoize(tags=["t", "u"])(slow), face.memoize(tags=["t", "u"])(slow)
    key = f.make_cache_key(f.uncached)
    invalidate: Callable[[], Any] = {
        "delete": lambda: face.delete(key),
        "set": lambda: face.set(key, "by hand"),
        "delete_tags": lambda: face.delete_tags("u"),
        "delete_memoized": lambda: face.delete_memoized(twin),
        "clear": face.clear,
    }[how]
    computing = asyncio.ensure_future(asyncio.to_thread(f))
    await auntil(entered.is_set)
    await invalidate()
    go.set()
    assert await computing == "old"
    expected = "by hand" if how == "set" else None
    assert await face.get(key) == expected == here.get(key)


@pytest.mark.asyncio
async def test_two_processes_share_one_computation(
    make: Callable[..., Cache], enter: Callable[..., Any]
) -> None:
    """The lease lies beside the entry, wherever that is."""
    entered, go = threading.Event(), threading.Event()
    here, face = make(), await enter(make())
    calls: list[str] = []

    def body(who: str) -> str:
        calls.append(who)
        entered.set()
        assert go.wait(20)
        return "value"

    for key in ("k", "{k}", "k}"):
        entered.clear(), go.clear(), calls.clear()
        f = here.cached(key_prefix=key)(lambda: body("here"))
        twin = face.cached(key_prefix=key)(lambda: body("there"))
        computing = asyncio.ensure_future(asyncio.to_thread(f))
        await auntil(entered.is_set)
        threading.Timer(0.1, go.set).start()
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


def timed(call: Callable[[], Any]) -> float:
    """How many seconds a call takes."""
    began = time.monotonic()
    call()
    return time.monotonic() - began


@pytest.mark.parametrize("fault", ["kill", "pause"])
@pytest.mark.asyncio
async def test_a_node_that_dies_costs_little_and_is_used_again_when_it_is_back(
    make: Callable[..., Cache], enter: Callable[..., Any], clean_cluster: RedisCluster, fault: str
) -> None:
    """Functions are answered without it meanwhile, and nobody has to do anything afterwards."""
    face = await enter(
        make(
            CACHE_ON_ERROR="log",
            CACHE_CONNECT_TIMEOUT=0.5,
            CACHE_OPERATION_TIMEOUT=0.3,
            CACHE_BREAKER_RESET=0.3,
            CACHE_LOCK_TIMEOUT=1,
        )
    )
    f = face.memoize()(lambda n: [n])
    for n in range(12):
        assert await face.call(f, n) == [n]
    node = clean_cluster.nodes[2]
    getattr(node, fault)()
    took = []
    for n in range(12):
        began = time.monotonic()
        assert await face.call(f, n) == [n]
        took.append(time.monotonic() - began)
    assert max(took) < 4 and sum(took) < 12
    node.resume()
    clean_cluster.start()

    async def works() -> bool:
        before = face.cache.stats().hits
        for n in range(12):
            assert await face.call(f, n) == [n]
        return bool(face.cache.stats().hits == before + 12)

    deadline = time.monotonic() + 20
    while not await works():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_what_could_not_be_deleted_is_deleted_when_the_node_is_back(
    make: Callable[..., Cache], enter: Callable[..., Any], clean_cluster: RedisCluster
) -> None:
    """And it is not served before."""
    cache = make(
        CACHE_ON_ERROR="log",
        CACHE_CONNECT_TIMEOUT=0.5,
        CACHE_OPERATION_TIMEOUT=0.3,
        CACHE_BREAKER_RESET=0.2,
    )
    face = await enter(cache)
    keys = [f"k{n}" for n in range(12)]
    await face.set_many(dict.fromkeys(keys, "old"))
    for node in clean_cluster.nodes:
        node.pause()
    assert await face.delete_many(*keys) == []
    for node in clean_cluster.nodes:
        node.resume()
    clean_cluster.start()
    other = make()
    deadline = time.monotonic() + 20
    while "old" in other.get_many(*keys):
        assert await face.get_many(*keys) == [None] * len(keys)
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_a_cluster_that_is_not_there_costs_its_budget_and_no_more(free: int) -> None:
    """However many ask at once, and it is found when it comes."""
    cache = Cache(
        Flask("site"),
        config={
            "CACHE_TYPE": "RedisClusterCache",
            "CACHE_REDIS_CLUSTER": f"{HOST}:{free}",
            "CACHE_CONNECT_TIMEOUT": 0.5,
            "CACHE_ON_ERROR": "raise",
            "CACHE_BREAKER_THRESHOLD": 0,
        },
    )
    before = threading.active_count()

    def ask() -> bool:
        with pytest.raises(BackendError):
            cache.get("a")
        return True

    assert timed(lambda: together(*[ask] * 20)) < 10
    until(lambda: threading.active_count() <= before)


@pytest.fixture
def free() -> int:
    """A port where nobody listens."""
    return free_port()


def test_two_hundred_threads_wait_for_five_connections(make: Callable[..., Cache]) -> None:
    """Nobody is turned away, as redis-py's own pools would do."""
    cache = make(CACHE_OPTIONS={"max_connections": 5})

    def work(n: int) -> bool:
        cache.set(f"k{n}", n)
        return bool(cache.get_many(f"k{n}", "none", f"k{n}") == [n, None, n])

    assert together(*[lambda n=n: work(n) for n in range(200)]) == [True] * 200


@pytest.mark.asyncio
async def test_two_hundred_tasks_wait_for_five_connections(make: Callable[..., Cache]) -> None:
    """On a loop with connections of its own, too."""
    cache = make(CACHE_OPTIONS={"max_connections": 5})

    async def work(n: int) -> bool:
        await cache.aset(f"k{n}", n)
        return bool(await cache.aget_many(f"k{n}", "none", f"k{n}") == [n, None, n])

    async with cache:
        assert await asyncio.gather(*[work(n) for n in range(200)]) == [True] * 200
