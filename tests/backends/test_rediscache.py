"""RedisCache on one server: what it may be told, what lies there, and what it costs."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
import redis
import redis.asyncio
from cachelib.serializers import JSONSerializer as CachelibJSONSerializer
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from flask_caching_async import Cache
from flask_caching_async._runtime.colour import run_now
from flask_caching_async.backends._redis import wires
from flask_caching_async.backends._redis.wires import packed
from flask_caching_async.backends.rediscache import RedisCache
from flask_caching_async.exceptions import (
    BackendError,
    BackendTimeout,
    CacheWarning,
    ConfigurationError,
    SerializationError,
)
from flask_caching_async.serializers import JSONSerializer, MsgpackSerializer, PickleSerializer
from support.faces import COLOURS, Face
from support.fault_proxy import FaultProxy
from support.lanes import (
    CAREFUL,
    LANES,
    PREFIX,
    Enter,
    Trips,
    failures_of,
    insist,
    use_everything,
)
from support.params import table
from support.servers import HOST, RedisServer
from support.waiting import PATIENCE, auntil, together, until

Make = Callable[..., Cache]


def cache_on(server: Any, **config: Any) -> Cache:
    """A cache on a server (or a proxy)."""
    common: dict[str, Any] = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_HOST": HOST}
    if "CACHE_REDIS_URL" not in config:
        common["CACHE_REDIS_PORT"] = server.port
    return Cache(Flask("site"), config={**CAREFUL, **common, **config})


@pytest.fixture
def make(clean_redis: RedisServer) -> Iterator[Callable[..., Cache]]:
    """Make caches on an empty server."""
    made: list[Cache] = []

    def make_cache(server: Any = clean_redis, **config: Any) -> Cache:
        made.append(cache_on(server, **config))
        return made[-1]

    yield make_cache
    for cache in made:
        cache.close()


@pytest_asyncio.fixture
async def face(make: Make, enter: Enter) -> Face:
    """A cache on an empty server, in every lane."""
    face: Face = await enter(make())
    return face


def commands(server: RedisServer) -> dict[str, int]:
    """How often each command was called since the last ``CONFIG RESETSTAT``."""
    told = server.ask("INFO", "commandstats")
    return {name.removeprefix("cmdstat_"): stats["calls"] for name, stats in told.items()}


def names(server: RedisServer, pattern: str = "*") -> list[str]:
    """The names of all keys, sorted."""
    return sorted(server.ask("KEYS", pattern))


def connections(server: RedisServer) -> set[int]:
    """The ids of all connections but the one that asks."""
    lines = server.ask("CLIENT", "LIST").splitlines()
    return {int(line.split()[0][3:]) for line in lines if "cmd=client|list" not in line}


# --- what it may be told --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_everything_works_in_every_lane(face: Face, clean_redis: RedisServer) -> None:
    """All operations, and ``clear`` leaves nothing behind."""
    await use_everything(face)
    assert await face.clear()
    assert names(clean_redis) == []


@given(
    verb=st.sampled_from(["MGET", "EVAL", "SCRIPT LOAD"]),
    arguments=st.lists(
        st.text(st.characters(codec="utf-8")) | st.binary() | st.integers() | st.floats()
    ),
)
def test_a_command_is_packed_as_the_driver_does(
    verb: str, arguments: list[str | bytes | int | float]
) -> None:
    """Byte by byte, though not in Python."""
    connection: Any = redis.asyncio.Connection()
    command = [verb, *arguments, "x" * 10_000]
    assert packed(connection, [command]) == b"".join(connection.pack_command(*command))


@pytest.mark.parametrize(
    "setting",
    [
        {"protocol": 3},
        {"encoding": "latin-1"},
        {"encoding_errors": "replace"},
        {"health_check_interval": 1},
        {"protocol": "2"},
    ],
)
@pytest.mark.asyncio
async def test_what_only_the_driver_can_read_is_read_by_it(
    clean_redis: RedisServer, make: Make, enter: Enter, setting: dict[str, Any]
) -> None:
    """Another protocol, for example; whatever it would encode is UTF-8, in both colours."""
    cache = make(CACHE_OPTIONS=setting)
    face = await enter(cache)
    await use_everything(face)
    assert await face.clear() and await face.set("schön", 1)
    with redis.Redis.from_url(clean_redis.url) as client:
        stored: Any = client.keys("*sch*n")
    assert f"{PREFIX}schön".encode() in stored
    transports = cache.cache._transports
    transport = transports.here() or transports.blocking()
    with pytest.raises(redis.ResponseError, match="wrong kind of value"):
        await transport.batch([("PING",), ("LPOP", f"{PREFIX}schön"), ("PING",)])
    assert await transport.run("PING") in (b"PONG", "PONG")


def test_a_socket_with_tls_is_read_by_hiredis_and_kept(tls: RedisServer) -> None:
    """One connection for all that one thread asks for."""
    trust = {"ssl_ca_certs": tls.certificate}
    cache, used = cache_on(tls, CACHE_REDIS_URL=tls.url, CACHE_OPTIONS=trust), set()
    for number in range(5):
        assert cache.set("a", number) and cache.get("a") == number
        (wire,) = cache.cache._transports.blocking().pool._free
        assert type(wire) is wires.SocketWire
        used.add(wire)
    assert len(used) == 1
    cache.close()


@pytest.mark.asyncio
async def test_without_hiredis_the_driver_reads(
    make: Make, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a part of the extra, but not of redis-py."""
    monkeypatch.setattr(wires, "hiredis", None)
    await use_everything(await enter(make()))


def test_a_socket_that_is_none_of_the_systems_stays_what_it_is(
    clean_redis: RedisServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a library that puts its own in the place of sockets, late."""

    class Replaced(socket.socket):
        detached = False

        def detach(self) -> int:
            Replaced.detached = True
            return super().detach()

    cache = make()
    with monkeypatch.context() as patching:
        patching.setattr(socket, "socket", Replaced)
        assert cache.set("a", 1) and cache.get("a") == 1
    assert not Replaced.detached


def test_what_a_driver_packs_is_packed_by_it() -> None:
    """Where hiredis does not know an argument."""
    connection: Any = redis.asyncio.Connection()
    command: Any = ["SET", "a", memoryview(b"x")]
    assert packed(connection, [command]) == b"".join(connection.pack_command(*command))


@pytest.mark.parametrize(
    "name", ["RedisCache", "flask_caching.backends.RedisCache", "flask_caching_async.backends."
             "rediscache.RedisCache", "flask_caching.backends.rediscache.RedisCache"]
)  # fmt: skip
def test_the_backend_has_several_names(make: Make, name: str) -> None:
    """Short, as a path of ours, and as the paths that Flask-Caching's users have written."""
    cache = make(CACHE_TYPE=name)
    assert type(cache.cache) is RedisCache
    assert cache.set("a", 1) and cache.get("a") == 1


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A server with a password, which listens on a Unix socket, too."""
    with RedisServer(requirepass="s3cr3t!", unixsocket=True) as server:
        yield server


def databases(server: RedisServer) -> set[str]:
    """The databases of a server that hold anything; they are empty afterwards."""
    used = set(server.ask("INFO", "keyspace"))
    server.flush()
    return used


@pytest.mark.asyncio
async def test_host_port_password_and_database(guarded: RedisServer, enter: Enter) -> None:
    """The settings of Flask-Caching lead to that server and database; numbers may be text."""
    config = {"CACHE_REDIS_PASSWORD": "s3cr3t!", "CACHE_REDIS_DB": "3"}
    cache = cache_on(guarded, CACHE_REDIS_PORT=str(guarded.port), **config)
    await use_everything(await enter(cache))
    assert databases(guarded) == {"db3"}
    cache.close()
    with pytest.raises(BackendError, match="failed to store"):
        cache_on(guarded, CACHE_REDIS_PASSWORD="wrong").set("a", 1)


@pytest.mark.asyncio
async def test_what_the_url_says_wins(guarded: RedisServer, enter: Enter) -> None:
    """Its database and password are used, whatever the settings and options say."""
    for query, limit, patience in (
        ("/7", 9, 20),
        ("?db=7", 9, 20),
        ("/7?socket_timeout=15.5&max_connections=3", 3, 15.5),
    ):
        cache = cache_on(
            guarded,
            CACHE_REDIS_URL=guarded.url + query,
            CACHE_REDIS_PASSWORD="wrong",
            CACHE_REDIS_DB=2,
            CACHE_OPTIONS={"db": 4, "max_connections": 9},
        )
        await use_everything(await enter(cache))
        assert databases(guarded) == {"db7"}, query
        pool = cache.cache._transports.blocking().pool
        assert (pool.limit, pool.patience) == (limit, patience), query
        cache.close()


@pytest.mark.asyncio
async def test_a_url_without_password_and_database_takes_those_of_the_settings(
    guarded: RedisServer, enter: Enter
) -> None:
    """``CACHE_REDIS_PASSWORD`` and ``CACHE_REDIS_DB`` fill in what a URL leaves out."""
    config = {"CACHE_REDIS_PASSWORD": "s3cr3t!", "CACHE_REDIS_DB": 5}
    cache = cache_on(guarded, CACHE_REDIS_URL=f"redis://{HOST}:{guarded.port}", **config)
    await use_everything(await enter(cache))
    assert databases(guarded) == {"db5"}
    cache.close()


@pytest.mark.asyncio
async def test_a_unix_socket(guarded: RedisServer, enter: Enter) -> None:
    """As a URL, or as redis-py's option ``unix_socket_path``."""
    for config in (
        {"CACHE_REDIS_URL": f"unix://{guarded.socket}"},
        {"CACHE_OPTIONS": {"unix_socket_path": guarded.socket}},
    ):
        cache = cache_on(guarded, CACHE_REDIS_PASSWORD="s3cr3t!", **config)
        await use_everything(await enter(cache))
        assert databases(guarded) == {"db0"}, config
        cache.close()


@pytest.fixture(scope="module")
def tls() -> Iterator[RedisServer]:
    """A server that speaks only TLS."""
    with RedisServer(tls=True) as server:
        yield server


@pytest.mark.asyncio
async def test_tls(tls: RedisServer, enter: Enter) -> None:
    """``rediss://`` or ``ssl=True``, with the certificate of whom to trust."""
    trust = {"ssl_ca_certs": tls.certificate}
    for config in (
        {"CACHE_REDIS_URL": tls.url, "CACHE_OPTIONS": trust},
        {"CACHE_REDIS_URL": f"{tls.url}?ssl_ca_certs={tls.certificate}"},
        {"CACHE_REDIS_URL": tls.url, "CACHE_OPTIONS": {"ssl_cert_reqs": None}},
        {"CACHE_REDIS_HOST": redis.Redis(port=tls.port, ssl=True, ssl_cert_reqs=None)},
        {"CACHE_OPTIONS": {"ssl": True, **trust}},
    ):
        cache = cache_on(tls, **config)
        face = await enter(cache)
        await use_everything(face)
        assert await face.clear() and tls.ask("DBSIZE") == 0, config
        cache.close()


@pytest.mark.asyncio
async def test_a_server_whom_nobody_vouches_for_is_not_trusted(
    tls: RedisServer, enter: Enter
) -> None:
    """Without its certificate there is no connection; with ``ssl_cert_reqs="none"`` there is."""
    face = await enter(cache_on(tls, CACHE_REDIS_URL=tls.url))
    with pytest.raises(BackendError) as caught:
        await face.set("a", 1)
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value.__cause__)
    trusting = cache_on(tls, CACHE_REDIS_URL=f"{tls.url}?ssl_cert_reqs=none")
    face = await enter(trusting)
    assert await face.set("a", 1) and await face.get("a") == 1
    trusting.close()


READY: dict[str, Callable[[int], Any]] = {
    "Redis": lambda port: redis.Redis(host=HOST, port=port),
    "StrictRedis": lambda port: redis.StrictRedis(port=port),
    "asyncio": lambda port: redis.asyncio.Redis(host=HOST, port=port),
    "asyncio URL": lambda port: redis.asyncio.from_url(f"redis://{HOST}:{port}"),
    "pool": lambda port: redis.Redis(connection_pool=redis.BlockingConnectionPool(port=port)),
    "subclass": lambda port: type("Mine", (redis.Redis,), {})(port=port),
    "hook": lambda port: redis.Redis(port=port, redis_connect_func=lambda c: c.on_connect()),
    "foreign": lambda port: Foreign(port),
}


class Foreign:
    """A client that is none of redis-py's: it can execute a command, and many at once."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(host=HOST, port=port)

    def execute_command(self, *command: Any, **options: Any) -> Any:
        return self._client.execute_command(*command, **options)

    def pipeline(self, transaction: bool = True) -> Any:
        return self._client.pipeline(transaction=transaction)

    def close(self) -> None:
        self._client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", READY)
async def test_a_ready_client_is_as_good_as_a_host(
    clean_redis: RedisServer, make: Make, kind: str
) -> None:
    """Its settings are taken over, or it is used itself, and it is never closed."""
    ready = READY[kind](clean_redis.port)
    cache = make(CACHE_REDIS_HOST=ready)
    for colour in COLOURS:
        await use_everything(Face(cache, colour))
        assert cache.clear()
    async with cache:
        await use_everything(Face(cache, "async"))
        assert await cache.aclear()
    assert names(clean_redis) == []
    if kind not in ("subclass", "hook", "foreign"):
        until(lambda: not connections(clean_redis))
    answer = ready.execute_command("PING")
    assert (await answer if asyncio.iscoroutine(answer) else answer) in (True, b"PONG")
    await ready.aclose() if hasattr(ready, "aclose") else ready.close()
    if kind == "pool":
        ready.connection_pool.disconnect()


def test_an_options_pool_and_a_clients_limit_are_respected(make: Make) -> None:
    """Where nobody says how many connections there may be, there are 50."""

    def limit(**config: Any) -> int:
        return int(make(**config).cache._transports.blocking().pool.limit)

    few = redis.Redis(max_connections=3)
    assert limit() == 50 == limit(CACHE_REDIS_HOST=redis.Redis())
    assert limit(CACHE_REDIS_HOST=few) == 3
    assert limit(CACHE_REDIS_HOST=few, CACHE_OPTIONS={"max_connections": 4}) == 4
    assert limit(CACHE_OPTIONS={"max_connections": 7}) == 7


def test_flask_cachings_constructor_arguments(clean_redis: RedisServer) -> None:
    """``RedisCache(host, port, password, db, default_timeout, key_prefix)``, by position."""
    cache = RedisCache(HOST, clean_redis.port, None, 2, 3600, "pre_", True)
    assert cache.set("a", 1) and cache.get("a") == 1
    assert (cache.key_prefix, cache.default_timeout) == ("pre_", 3600)
    assert cache.ignore_delete_many_errors is True
    with redis.Redis(port=clean_redis.port, db=2) as client:
        assert 3_500_000 < client.pttl("pre_a") <= 3_600_000
    cache.close()


def test_building_never_connects(clean_redis: RedisServer) -> None:
    """Not for a host, a URL or a client: the first operation does."""
    with FaultProxy(clean_redis.port) as proxy:
        made = [
            cache_on(proxy),
            cache_on(proxy, CACHE_REDIS_URL=f"redis://{HOST}:{proxy.port}/3"),
            cache_on(proxy, CACHE_REDIS_HOST=redis.Redis(port=proxy.port)),
            cache_on(proxy, CACHE_REDIS_HOST=redis.asyncio.Redis(port=proxy.port)),
        ]
        assert proxy.accepted == 0
        for number, cache in enumerate(made):
            assert cache.get("a") is None
            cache.close()
            assert proxy.accepted == number + 1


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no host": (
        {"CACHE_REDIS_HOST": None},
        "^RedisCache host parameter may not be None$",
    ),
    "a number": ({"CACHE_REDIS_HOST": 7}, "must be a host name or a client of redis-py, not 7"),
    "a port": ({"CACHE_REDIS_PORT": "s3cr3t"}, "CACHE_REDIS_PORT must be a number, not a str"),
    "a database": ({"CACHE_REDIS_DB": "s3cr3t"}, "CACHE_REDIS_DB must be a number, not a str"),
    "the rest of a URL as the host": (
        {"CACHE_REDIS_HOST": "user:s3cr3t@here"},
        "CACHE_REDIS_HOST is the name of a host, not text without a scheme",
    ),
    "a URL's option": (
        {"CACHE_REDIS_URL": "redis://here?socket_timeout=s3cr3t"},
        r"CACHE_REDIS_URL must be .*, not redis://\.\.\.: Invalid value",
    ),
    "an option": ({"CACHE_OPTIONS": {"nonsense": 1}}, "does not take these settings.*nonsense"),
    "an option with a URL": (
        {"CACHE_REDIS_URL": "redis://here", "CACHE_OPTIONS": {"nonsense": 1}},
        "redis-py knows no option 'nonsense'",
    ),
    "an option in a URL": (
        {"CACHE_REDIS_URL": "redis://here?a=1&b=2&socket_timeout=3"},
        "redis-py knows no option 'a', 'b'",
    ),
    "a scheme": (
        {"CACHE_REDIS_URL": "http://user:s3cr3t@here"},
        r"CACHE_REDIS_URL must be redis://, rediss:// \(TLS\) or unix://, not http://\.\.\.:",
    ),
    "a URL's port": (
        {"CACHE_REDIS_URL": "redis://:s3cr3t@here:high"},
        r"CACHE_REDIS_URL must be .*, not redis://\.\.\.: Port could not be cast",
    ),
    "a password that splits the URL": (
        {"CACHE_REDIS_URL": "redis://user:s3cr3t/2@here:6379"},
        r"CACHE_REDIS_URL must be .*, not redis://\.\.\.: Port could not be cast",
    ),
    "a URL without a scheme": (
        {"CACHE_REDIS_URL": ":s3cr3t@here:6379"},
        "CACHE_REDIS_URL must be .*, not text without a scheme: Redis URL must specify",
    ),
    "a URL as bytes": (
        {"CACHE_REDIS_URL": b"redis://:s3cr3t@here"},
        "CACHE_REDIS_URL must be .*, not a bytes",
    ),
    "a URL as the host": (
        {"CACHE_REDIS_HOST": "redis://:s3cr3t@here"},
        r"not redis://\.\.\.; a URL is given as CACHE_REDIS_URL",
    ),
    "settings as the host": (
        {"CACHE_REDIS_HOST": {"password": "s3cr3t"}},
        "must be a host name or a client of redis-py, not a dict",
    ),
    "no URL": ({"CACHE_REDIS_URL": 6379}, "CACHE_REDIS_URL must be .*, not 6379"),
    "decode_responses": (
        {"CACHE_OPTIONS": {"decode_responses": True}},
        "decode_responses is not supported by RedisCache",
    ),
    "a decoding URL": (
        {"CACHE_REDIS_URL": "redis://here?decode_responses=yes"},
        "decode_responses is not supported by RedisCache",
    ),
    "a decoding client": (
        {"CACHE_REDIS_HOST": redis.Redis(decode_responses=True)},
        "decode_responses is not supported by RedisCache",
    ),
    "a decoding async client": (
        {"CACHE_REDIS_HOST": redis.asyncio.Redis(decode_responses=True)},
        "decode_responses is not supported by RedisCache",
    ),
    "an async client of another kind": (
        {"CACHE_REDIS_HOST": type("Other", (redis.asyncio.Redis,), {})()},
        "Other cannot be used from sync code, which every app has: give CACHE_REDIS_HOST a",
    ),
    "an async cluster": (
        {"CACHE_REDIS_HOST": redis.asyncio.RedisCluster(host=HOST)},
        "RedisCluster cannot be used from sync code",
    ),
}


@table("name", WRONG)
def test_a_wrong_setting_says_what_is_wrong(name: str) -> None:
    """When the app is set up, as a ValueError, and without telling a password."""
    config, message = WRONG[name]
    config = {"CACHE_TYPE": "RedisCache", **config}
    with pytest.raises(ConfigurationError, match=message) as caught:
        Cache(Flask("site"), config=config)
    assert isinstance(caught.value, ValueError)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_an_empty_prefix_warns(make: Make, clean_redis: RedisServer) -> None:
    """Then ``clear`` empties the whole database, as in Flask-Caching."""
    with pytest.warns(CacheWarning, match=r"CACHE_KEY_PREFIX is empty, so clear\(\) empties"):
        cache = make(CACHE_KEY_PREFIX="")
    clean_redis.ask("SET", "foreign", 1)
    cache.set("a", 1)
    assert clean_redis.ask("GET", "a") == "1"
    assert cache.clear() and clean_redis.ask("DBSIZE") == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(CACHE_KEY_PREFIX="mine:")


@pytest.mark.parametrize("prefix", ["shop", "shop2", "Läden"])
def test_a_prefix_that_clears_another_one_warns(make: Make, prefix: str) -> None:
    """Names are a prefix and a key, so what begins with a longer prefix cannot be told apart."""
    with pytest.warns(CacheWarning, match=f"what another cache keeps under '{prefix}2'"):
        cache = make(CACHE_KEY_PREFIX=prefix)
    with pytest.warns(CacheWarning):
        other, apart = make(CACHE_KEY_PREFIX=f"{prefix}2"), make(CACHE_KEY_PREFIX="other:")
    other.set("a", 1), apart.set("a", 1)
    assert cache.clear() and other.get("a") is None and apart.get("a") == 1


def test_redis_need_not_be_installed_until_it_is_used() -> None:
    """Without redis-py, the error at set-up names the package."""
    script = """
        import sys
        sys.modules["redis"] = None
        import flask, flask_caching_async as fca
        from flask_caching_async.backends import RedisCache
        try:
            fca.Cache(flask.Flask("x"), config={"CACHE_TYPE": "RedisCache"})
        except fca.ConfigurationError as error:
            print(error)
        """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == "RedisCache needs a package that is not installed: pip install redis\n"


# --- what lies there ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_foreign_raw_values_can_be_read(face: Face, clean_redis: RedisServer) -> None:
    """Plain bytes come as bytes, digits as a number, and pickles as Flask-Caching left them."""
    with redis.Redis(port=clean_redis.port) as client:
        client.set(PREFIX + "text", b"\xff plain")
        client.set(PREFIX + "digits", b"42")
        client.set(PREFIX + "pickle", b"!" + pickle.dumps({"a": [1]}, 2))
        client.rpush(PREFIX + "list", 1)
    expected = [b"\xff plain", 42, {"a": [1]}, None]
    assert await face.get_many("text", "digits", "pickle", "list") == expected
    assert [await face.get(key) for key in ("text", "digits", "pickle", "list")] == expected
    assert await face.inc("digits") == 43
    assert await face.set("list", 1) and await face.get("list") == 1


def test_flask_caching_can_read_what_is_set_by_hand(make: Make, clean_redis: RedisServer) -> None:
    """Values without tags lie as cachelib's RedisCache stores them, under the same names."""
    cache = make()
    cache.set_many({"number": 7, "text": "x", "list": [1]})
    with redis.Redis(port=clean_redis.port) as client:
        assert client.get(PREFIX + "number") == b"7"
        raw = client.get(PREFIX + "list")
        assert raw[:1] == b"!" and pickle.loads(raw[1:]) == [1]


@pytest.mark.asyncio
async def test_the_server_keeps_the_time(
    make: Make, enter: Enter, clean_redis: RedisServer
) -> None:
    """To the millisecond; no timeout is the default, and 0 never expires."""
    face = await enter(make(CACHE_DEFAULT_TIMEOUT=7200))
    for timeout, milliseconds in (
        (3600, 3_600_000),
        (3600.25, 3_600_250),
        (dt.timedelta(hours=1), 3_600_000),
        (None, 7_200_000),
        (0, -1),
    ):
        await face.clear()
        began = time.monotonic()
        f = face.memoize(timeout=timeout)(lambda: 1)
        await face.set("set", 1, timeout)
        await face.set_many({"many": 1, "other": 1}, timeout)
        await face.add("add", 1, timeout)
        await face.get_or_set("or", 1, timeout)
        await face.call(f)
        for name in ("set", "many", "other", "add", "or", f.make_cache_key(f.uncached)):
            left = clean_redis.ask("PTTL", PREFIX + name)
            passed = 1000 * (time.monotonic() - began) + 1
            computed = name in ("or", f.make_cache_key(f.uncached))  # its entry knows the rest
            assert left <= milliseconds + (1000 if computed else 0), (name, timeout)
            assert left == -1 == milliseconds or left >= milliseconds - passed, (name, timeout)
    assert await face.set("set", 1, -1) and await face.get("set") is None


@pytest.mark.asyncio
async def test_what_nobody_can_decode_is_a_miss_and_is_overwritten(
    face: Face, clean_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Garbage, and a value whose class has moved; every way to store works on it."""
    module = types.ModuleType("moved")
    exec("class Thing: pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "moved", module)
    f = face.memoize()(lambda: 1)
    key = f.make_cache_key(f.uncached)
    moved = b"!" + pickle.dumps(module.Thing())
    monkeypatch.delitem(sys.modules, "moved")
    with redis.Redis(port=clean_redis.port) as client:
        for raw in (moved, b"!garbage", b"!"):
            for name in ("a", "b", "c", "n", "or", key):
                client.set(PREFIX + name, raw)
            assert await face.get("a") is None and not await face.has("a")
            assert await face.get_many("a", "b") == [None, None]
            assert await face.set("a", 2) and await face.get("a") == 2
            assert await face.add("b", 3) and await face.get("b") == 3
            assert await face.inc("n") == 1 and await face.get("n") == 1
            assert await face.get_or_set("or", 4) == 4 == await face.get("or")
            assert await face.call(f) == 1
            assert await face.get(key) == 1
            assert await face.delete("c") and not await face.has("c")


class Counting(PickleSerializer):
    """A serializer that counts."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def dumps(self, value: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> bytes:
        self.calls.append("dumps")
        return super().dumps(value, protocol)

    def loads(self, bvalue: bytes) -> Any:
        self.calls.append("loads")
        return super().loads(bvalue)


def test_the_serializer_runs_once_per_set_and_once_per_get(make: Make) -> None:
    """It is replaceable, and versions and leases do not use it."""
    cache = make()
    cache.cache.serializer = serializer = Counting()
    f = cache.memoize(tags="t")(lambda: [1])
    for call, expected in (
        (lambda: cache.set("a", [1]), ["dumps"]),
        (lambda: cache.get("a"), ["loads"]),
        (lambda: cache.get_many("a", "b"), ["loads"]),
        (f, ["dumps"]),
        (f, ["loads"]),
        (lambda: cache.delete_memoized(f), []),
        (lambda: cache.delete("a"), []),
    ):
        serializer.calls.clear()
        call()
        assert serializer.calls == expected


@pytest.mark.asyncio
async def test_every_serializer_serves_all_operations(make: Make, enter: Enter) -> None:
    """Entries, tags, counters and a stored ``None`` work with any of them."""
    for kind in (JSONSerializer, MsgpackSerializer, PickleSerializer, CachelibJSONSerializer):
        cache = make(CACHE_SERIALIZER=kind, CACHE_KEY_PREFIX=f"{kind.__module__}:")
        face = await enter(cache)
        await use_everything(face)
        value = {"a": [1, 2.5, None, True], "b": "ä"}
        f = face.memoize(cache_none=True)(lambda x: x)
        computed = cache.stats().computed
        for each in (value, None, ("not found", 404), 7):
            assert await face.call(f, each) == each
            assert await face.call(f, each) == each
        assert cache.stats().computed == computed + 4
        assert await face.set("none", None) and await face.has("none")
        assert not await face.add("none", 1)
        assert await face.set("n", 5) and await face.inc("n", 2) == 7 == await face.get("n")
        assert await face.dec("new", 3) == -3 == await face.get("new")


@pytest.mark.asyncio
async def test_a_value_that_cannot_be_stored_is_an_error_of_its_own(
    make: Make, enter: Enter
) -> None:
    """SerializationError, whatever ``CACHE_ON_ERROR`` says, and the backend is not blamed."""
    cache = make(CACHE_ON_ERROR="log")
    face = await enter(cache)
    for _ in range(10):
        with pytest.raises(SerializationError):
            await face.set("a", threading.Lock())
        await face.set("text", "x")
        with pytest.raises(SerializationError, match="'text' has is a str, no number"):
            await face.inc("text")
    assert await face.set("a", 1) and await face.get("a") == 1
    assert not cache._binding().engine.store.failures.breaker.is_open


@pytest.mark.asyncio
@pytest.mark.parametrize("delta", [True, 0.5, 2**70])
async def test_any_number_is_added(face: Face, delta: float) -> None:
    """Also one that redis-py does not send, or Redis does not count; no server is blamed for it."""
    failed = failures_of(face.cache)
    assert await face.inc("n", delta) == delta  # type: ignore[arg-type]
    assert await face.inc("n", delta) == 2 * delta and failed == []  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_counters_are_atomic_with_any_serializer(make: Make, enter: Enter) -> None:
    """Also where the server cannot count by itself, and their time goes on."""

    async def count(face: Face) -> None:
        for _ in range(10):
            await face.inc("n")

    for serializer in (None, MsgpackSerializer):
        face = await enter(make(CACHE_SERIALIZER=serializer, CACHE_KEY_PREFIX=f"{serializer}:"))
        await face.set("n", 0, 60)
        if face.is_async:
            await asyncio.gather(*[count(face) for _ in range(10)])
        else:
            together(*[lambda face=face: run_now(count(face))] * 10)
        assert await face.get("n") == 100
    assert await face.set("huge", 2**63 - 1) and await face.inc("huge") == 2**63


class Shouting(RedisCache):
    """A subclass with an idea of its own about values, in sync code."""

    def get(self, key: str) -> Any:
        value = super().get(key)
        return value[0] if isinstance(value, list) else value

    def set(self, key: str, value: Any, timeout: Any = None) -> bool | None:
        return super().set(key, [value], timeout)


class Whispering(RedisCache):
    """The same in async code."""

    async def aget(self, key: str) -> Any:
        value = await super().aget(key)
        return value[0] if isinstance(value, list) else value

    async def aset(self, key: str, value: Any, timeout: Any = None) -> bool | None:
        return await super().aset(key, [value], timeout)


@pytest.mark.parametrize("kind", [Shouting, Whispering])
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.asyncio
async def test_a_subclass_that_overrides_get_and_set_is_heard(
    make: Make, clean_redis: RedisServer, kind: Any, colour: str
) -> None:
    """By ``memoize``, ``get_many`` and everything else, in both colours."""
    face = Face(make(CACHE_TYPE=kind.factory), colour)
    f = face.memoize(tags=["t"])(lambda x: x)
    assert await face.set("a", 1) and await face.get("a") == 1
    assert await face.set_many({"b": 2}) and await face.get_many("a", "b") == [1, 2]
    assert [await face.call(f, 5), await face.call(f, 5)] == [5, 5]
    assert face.cache.stats().computed == 1 == face.cache.stats().hits
    with redis.Redis(port=clean_redis.port) as client:
        for key in ("a", "b", f.make_cache_key(f.uncached, 5)):
            raw = client.get(PREFIX + key)
            assert type(pickle.loads(raw[1:])) is list, "its set was asked"
    assert await face.delete_memoized(f) and await face.call(f, 5) == 5
    assert face.cache.stats().computed == 2
    async with face.cache:
        assert await face.cache.aget("a") == 1


class Remembering(RedisCache):
    """A subclass that wants to know what is deleted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.deleted: list[str] = []

    def delete(self, key: str) -> bool:
        self.deleted.append(key.rpartition("~")[2])
        return super().delete(key)


def test_a_subclass_that_overrides_delete_hears_of_every_deletion(
    make: Make,
) -> None:
    """Also of those that come in numbers."""
    cache = make(CACHE_TYPE=Remembering.factory)
    cache.set_many({"a": 1, "b": 2, "c": 3, "d": 4})
    cache.delete("a")
    cache.delete_many("b", "c")
    assert cache.cache.deleted == ["a", "b", "c"] or {"a", "b", "c"} <= set(cache.cache.deleted)
    cache.cache.unlink("d")
    assert "d" in cache.cache.deleted and cache.get("d") is None


# --- what is not ours -----------------------------------------------------------------------------


#: Of these, all but the first look like a pattern, or like something that Redis looks at twice.
ODD_PREFIXES = ("mine_", "a*[b]?", "a\\", "^[a-z]*", "{tag}", "}{", "ä\x00 ")
FOREIGN = ("other_a", "minx_a", "min", "axxb?", "a*[b]", "ab?x", "aXbYz", "a", "b", "{tag", "z")


def test_clear_takes_a_prefix_literally(make: Make, clean_redis: RedisServer) -> None:
    """Whatever it looks like, no other key goes, and none under it stays."""
    with redis.Redis(port=clean_redis.port) as here:
        for prefix in ODD_PREFIXES:
            here.mset(dict.fromkeys(FOREIGN, "foreign"))
            cache = make(CACHE_KEY_PREFIX=prefix)
            assert cache.set_many({"a": 1, "b*": 2, "": 3}, tags=["t"]) and cache.inc("n") == 1
            assert cache.clear() and cache.get_many("a", "b*", "", "n") == [None] * 4
            assert sorted(name.decode() for name in here.keys()) == sorted(FOREIGN), prefix
            assert here.mget(FOREIGN) == [b"foreign"] * len(FOREIGN), prefix


@pytest.mark.asyncio
async def test_nothing_touches_a_foreign_key(
    make: Make, enter: Enter, clean_redis: RedisServer
) -> None:
    """Not under another prefix, in another database, or by a prefix that looks like a pattern."""
    prefix = "a*[b]?"
    with (
        redis.Redis(port=clean_redis.port) as here,
        redis.Redis(port=clean_redis.port, db=1) as elsewhere,
    ):
        for name in FOREIGN:
            here.set(name, "foreign")
            elsewhere.set(prefix + name, "foreign")
        clean_redis.ask("CONFIG", "RESETSTAT")
        face = await enter(make(CACHE_KEY_PREFIX=prefix))
        await use_everything(face)
        used = {name.decode() for name in here.keys()}
        assert all(name.startswith(prefix) for name in used - set(FOREIGN))
        assert await face.clear()
        sent = commands(clean_redis)
        assert sorted(name.decode() for name in here.keys()) == sorted(FOREIGN)
        assert here.mget(FOREIGN) == [b"foreign"] * len(FOREIGN)
        assert elsewhere.dbsize() == len(FOREIGN)
    assert sent["scan"] and sent["keys"] == 1  # our own, above
    assert not sent.keys() & {"flushdb", "flushall"}


@pytest.mark.asyncio
async def test_clear_works_in_batches(face: Face, clean_redis: RedisServer) -> None:
    """Thousands of keys go in a few commands, of which none takes long."""
    for number in range(0, 6000, 1000):
        await face.set_many({f"{n}": n for n in range(number, number + 1000)})
    assert clean_redis.ask("DBSIZE") >= 6000
    clean_redis.ask("CONFIG", "RESETSTAT")
    assert await face.clear()
    sent = commands(clean_redis)
    assert clean_redis.ask("DBSIZE") == 0
    assert 6 <= sent["unlink"] <= sent["scan"] + 1 <= 30


# --- what it costs --------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def near(make: Make, enter: Enter, redis_proxy: FaultProxy) -> Face:
    """A cache behind ``redis_proxy``, with a connection that is open already."""
    face: Face = await enter(make(redis_proxy))
    await face.get("warm up")
    return face


class Work:
    """A class with a memoized method."""

    def __repr__(self) -> str:
        return "Work()"

    def count(self, a: int) -> int:
        return a


@pytest.mark.asyncio
async def test_a_hit_is_one_round_trip(near: Face, redis_proxy: FaultProxy) -> None:
    """Of a cached function, a memoized one, one with tags, a method, and ``get_or_set``."""
    method = near.memoize(tags=["works", "numbers"])(Work.count)
    plain, tagged = near.memoize()(lambda a: a), near.memoize(tags=lambda a: f"t{a}")(lambda a: a)
    cached = near.cached(key_prefix="page", tags=["works"])(lambda: 1)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (plain, (1,)), (tagged, (1,)), (method, (Work(), 1)), (cached, ())
    ]  # fmt: skip
    for function, args in calls:
        await near.call(function, *args)
        with Trips(redis_proxy) as trips:
            assert await near.call(function, *args) == 1
        assert trips.count == 1
    await near.get_or_set("or", 1)
    with Trips(redis_proxy) as trips:
        assert await near.get_or_set("or", 1) == 1
    assert trips.count == 1


@pytest.mark.parametrize("view_is", ["sync", "async"])
def test_a_hit_of_a_view_is_one_round_trip(
    make: Make, redis_proxy: FaultProxy, view_is: str
) -> None:
    """With query string, tags and variants, and in an async view without a loop."""
    cache = make(redis_proxy)
    options: dict[str, Any] = {"query_string": True, "tags": "t", "vary_on": "Accept-Language"}
    view = Face(cache, view_is).cached(**options)(lambda: "page")
    cache.app.add_url_rule("/", "view", view)
    client = cache.app.test_client()
    client.get("/?a=1")
    with Trips(redis_proxy) as trips:
        assert client.get("/?a=1").text == "page"
    assert trips.count == 1


@pytest.mark.asyncio
async def test_operations_on_many_keys_are_one_round_trip(
    near: Face, redis_proxy: FaultProxy
) -> None:
    """And so are those on one; a tagged value set by hand costs a second one."""
    pairs = {f"k{n}": n for n in range(5)}
    for expected, operation in (
        (1, lambda: near.set_many(pairs)),
        (1, lambda: near.get_many(*pairs)),
        (1, lambda: near.get_dict(*pairs)),
        (1, lambda: near.set("a", 1)),
        (1, lambda: near.get("a")),
        (1, lambda: near.inc("n")),
        (1, lambda: near.delete("a")),
        (1, lambda: near.delete_many(*pairs)),
        (1, lambda: near.unlink(*pairs)),
        (2, lambda: near.set("a", 1, tags=["t"])),
    ):
        with Trips(redis_proxy) as trips:
            await operation()
        assert trips.count == expected


@pytest.mark.asyncio
async def test_a_miss_is_four_round_trips_at_most(near: Face, redis_proxy: FaultProxy) -> None:
    """Look, tag versions (the first time), lease, store: with tags and on methods, too."""
    method = near.memoize(tags=["works", "numbers"])(Work.count)
    view = near.cached(key_prefix="page")(lambda: 1)
    for function, args in ((method, (Work(),)), (view, ())):
        for number, most in ((1, 4), (2, 3), (3, 3)):
            with Trips(redis_proxy) as trips:
                await near.call(function, *args, *([number] if args else []))
            assert trips.count <= most
            await near.delete("page")
    with Trips(redis_proxy) as trips:
        await near.get_or_set("or", 1, tags=["new"])
    assert trips.count <= 4


@pytest.mark.asyncio
async def test_an_invalidation_costs_the_same_for_any_number_of_entries(
    make: Make,
    enter: Enter,
    clean_redis: RedisServer,
    redis_proxy: FaultProxy,
) -> None:
    """One trip, and the same commands, whether one entry dies or three hundred."""
    cache = make(redis_proxy)
    face = await enter(cache)
    f = face.memoize(tags=["t"])(lambda n: n)
    view = face.cached(query_string=True)(lambda: "page")
    cache.app.add_url_rule("/", "view", view)
    client = cache.app.test_client()
    costs = []
    for count in (1, 300):
        for n in range(count):
            await face.call(f, n)
        for n in range(min(count, 20)):
            await asyncio.to_thread(client.get, f"/?n={n}")
        clean_redis.ask("CONFIG", "RESETSTAT")
        with Trips(redis_proxy) as trips:
            await face.delete_memoized(f)
            await face.delete_tags("t")
            await face.delete_cached(view)
        assert trips.count == 3
        costs.append({**commands(clean_redis), "config|resetstat": 0, "info": 0})
        assert cache.stats().computed == sum(min(n, 20) + n for n in (1, 300) if n <= count)
    assert costs[0] == costs[1]


# --- pools, and connections that break ------------------------------------------------------------

#: For commands that are to come too late; others have to be insisted on, on a machine that is busy.
LITTLE_TIME: dict[str, Any] = {"CACHE_OPERATION_TIMEOUT": 0.2, "CACHE_BREAKER_THRESHOLD": 0}


def test_two_hundred_threads_wait_for_five_connections(
    make: Make, clean_redis: RedisServer
) -> None:
    """Nobody is turned away, nobody gets another one's answer, and there are never more."""
    cache = make(CACHE_OPTIONS={"max_connections": 5})
    before = clean_redis.ask("INFO", "stats")["total_connections_received"]

    def work(n: int) -> bool:
        cache.set(f"k{n}", n)
        many = cache.get_many(f"k{n}", "none", f"k{n}")
        return (cache.get(f"k{n}"), many) == (n, [n, None, n])

    assert together(*[lambda n=n: work(n) for n in range(200)]) == [True] * 200
    after = clean_redis.ask("INFO", "stats")["total_connections_received"]
    assert after - before - 1 <= 5


@pytest.mark.parametrize("lane", ["async", "native"])
@pytest.mark.asyncio
async def test_five_hundred_tasks_wait_for_five_connections(
    make: Make, enter: Enter, clean_redis: RedisServer
) -> None:
    """On any loop, and on one with connections of its own."""
    cache = make(CACHE_OPTIONS={"max_connections": 5})
    before = clean_redis.ask("INFO", "stats")["total_connections_received"]
    face = await enter(cache)

    async def work(n: int) -> bool:
        await face.set(f"k{n}", n)
        return bool(await face.get_many(f"k{n}", "none") == [n, None])

    assert await asyncio.gather(*[work(n) for n in range(500)]) == [True] * 500
    after = clean_redis.ask("INFO", "stats")["total_connections_received"]
    assert after - before - 1 <= 5


@pytest.mark.asyncio
async def test_waiting_for_a_connection_ends(
    make: Make, enter: Enter, redis_proxy: FaultProxy
) -> None:
    """After ``CACHE_OPERATION_TIMEOUT``, with an error that says so."""
    face = await enter(make(redis_proxy, CACHE_OPTIONS={"max_connections": 1}, **LITTLE_TIME))
    assert await insist(lambda: face.set("a", 1))
    redis_proxy.silence()
    calls = [face.get] * 2
    if face.is_async:
        results = await asyncio.gather(*[call("a") for call in calls], return_exceptions=True)
    else:
        results = [r.error for r in together(*[lambda: face.cache.get("a")] * 2)]
    assert [type(error) for error in results] == [BackendTimeout] * 2
    redis_proxy.heal()
    assert await insist(lambda: face.get("a")) == 1


@pytest.mark.asyncio
async def test_a_socket_timeout_among_the_options_is_the_time_for_a_command(
    make: Make, enter: Enter, redis_proxy: FaultProxy
) -> None:
    """It wins over ``CACHE_OPERATION_TIMEOUT``, and the next command has a new connection."""
    # The limit of a test is less than the time that each command would have without the option.
    config = {**LITTLE_TIME, "CACHE_OPERATION_TIMEOUT": 1000, "CACHE_CONNECT_TIMEOUT": 1000}
    options = {"socket_timeout": 0.2, "socket_connect_timeout": 20}
    face = await enter(make(redis_proxy, CACHE_OPTIONS=options, **config))
    assert await insist(lambda: face.set("a", 1))
    redis_proxy.silence()
    with pytest.raises(BackendTimeout):
        await face.get("a")
    redis_proxy.heal()
    accepted = redis_proxy.accepted
    assert await insist(lambda: face.get("a")) == 1
    assert redis_proxy.accepted > accepted


@pytest.mark.asyncio
async def test_a_late_answer_is_nobody_elses(
    make: Make, enter: Enter, clean_redis: RedisServer
) -> None:
    """What comes after the time is over is never given to the next who asks."""
    face = await enter(make(**{**LITTLE_TIME, "CACHE_ON_ERROR": "log"}))
    pairs = {f"k{n}": f"v{n}" for n in range(10)}
    assert await insist(lambda: face.set_many(pairs)) == [*pairs]
    for number, (key, value) in enumerate([*pairs.items()] * 2):
        late = number % 5 == 2
        if late:
            clean_redis.pause()
        found = await face.get(key)
        clean_redis.resume()  # now it answers what was asked
        assert found is None if late else found in (value, None)
        assert (await face.get_many(key, "no"))[0] in (value, None)


@pytest.mark.asyncio
async def test_a_server_that_restarts_costs_nothing_but_its_values(
    enter: Enter,
) -> None:
    """Connections that died while they lay idle are not used again: no error, just a miss."""
    with RedisServer() as server:
        cache = cache_on(server)
        face = await enter(cache)
        assert await face.set("a", 1)
        server.restart()
        for _ in range(3):
            await asyncio.sleep(0)  # the loop hears of it
        assert await face.get("a") is None
        assert await face.set("a", 2) and await face.get("a") == 2
        cache.close()


def test_close_lets_go_of_all_connections_and_a_later_use_opens_new_ones(
    make: Make, clean_redis: RedisServer
) -> None:
    """Also of one that is in use meanwhile, as soon as it is given back."""
    cache = make()
    wire = cache.cache._transports.blocking()
    together(*[lambda: cache.set("a", 1)] * 10)
    assert connections(clean_redis)

    def use(connection: Any) -> None:
        cache.close()
        until(lambda: len(connections(clean_redis)) == 1)

    wire.pool.run(use)
    until(lambda: not connections(clean_redis))
    run_now(wire.run("PING"))  # somebody who still has it
    until(lambda: not connections(clean_redis))
    assert cache.get("a") == 1 and len(connections(clean_redis)) == 1
    cache.close()
    cache.close()
    until(lambda: not connections(clean_redis))


# --- one computation, and invalidations that win --------------------------------------------------


@contextmanager
def running(cache: Cache, function: Callable[..., Any]) -> Iterator[Callable[[], Any]]:
    """A call in a thread, while the block is run; gives a function for its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(PATIENCE)
        return results[0]

    yield result
    thread.join(PATIENCE)


INVALIDATIONS: dict[str, Callable[[Face, Any, str], Any]] = {
    "delete": lambda face, f, key: face.delete(key),
    "delete_many": lambda face, f, key: face.delete_many("other", key),
    "unlink": lambda face, f, key: face.unlink(key),
    "set": lambda face, f, key: face.set(key, "by hand"),
    "set_many": lambda face, f, key: face.set_many({key: "by hand", "other": 1}),
    "clear": lambda face, f, key: face.clear(),
    "delete_memoized": lambda face, f, key: face.delete_memoized(f),
    "delete_tags": lambda face, f, key: face.delete_tags("t"),
}


@pytest.mark.asyncio
async def test_an_invalidation_elsewhere_beats_a_running_computation(
    make: Make, enter: Enter
) -> None:
    """What one process computes is dead when another one has deleted it meanwhile."""
    here = make()
    face = await enter(make())  # a cache of its own: nothing is shared but the server
    for how, invalidate in INVALIDATIONS.items():
        entered, go = threading.Event(), threading.Event()

        def slow(how: str) -> str:
            entered.set()  # noqa: B023
            assert go.wait(PATIENCE)  # noqa: B023
            return "old"

        f, twin = here.memoize(tags=["t"])(slow), face.memoize(tags=["t"])(slow)
        key = f.make_cache_key(f.uncached, how)
        with running(here, lambda: f(how)) as result:  # noqa: B023
            assert await asyncio.to_thread(entered.wait, PATIENCE)
            await invalidate(face, twin, key)
            go.set()
            assert await asyncio.to_thread(result) == "old"
        expected = "by hand" if how.startswith("set") else None
        assert await face.get(key) == expected == here.get(key), how


def test_a_lease_holds_as_long_as_its_holder_computes(make: Make, clean_redis: RedisServer) -> None:
    """Longer than its own life: it is renewed, and who waits, in any lane, takes the value over."""
    here, caches = make(), {lane: make() for lane in LANES}
    calls: list[str] = []

    def ends() -> float:
        """When the server would end the lease, on our clock."""
        (name,) = clean_redis.ask("KEYS", "*~lease~*")
        return time.monotonic() + clean_redis.ask("PTTL", name) / 1000

    def slow(who: str) -> str:
        calls.append(who)
        end = ends()
        until(lambda: time.monotonic() > end and all(c.stats().misses for c in caches.values()))
        return "value"

    def function(face: Face, who: str, lock_timeout: float) -> Any:
        return face.cached(key_prefix="k", lock_timeout=lock_timeout)(lambda: slow(who))

    def follow(lane: str) -> Any:
        face = Face(caches[lane], "sync" if lane == "sync" else "async")
        f = function(face, lane, 60)

        async def main() -> Any:
            if lane == "native":
                async with face.cache:
                    return await f()
            return await f()

        until(lambda: calls)
        return f() if lane == "sync" else asyncio.run(main())

    lead = function(Face(here, "sync"), "here", 9)
    followers = [lambda lane=lane: follow(lane) for lane in LANES]
    assert together(lead, *followers) == ["value"] * 4
    assert calls == ["here"]


@pytest.mark.asyncio
async def test_the_lease_of_a_dead_holder_ends(
    make: Make, enter: Enter, clean_redis: RedisServer
) -> None:
    """After its time somebody else computes."""
    cache = make()
    face = await enter(make())
    dead = cache.cache.lease("k@state", 60)
    assert cache.cache.acquire_lease(dead, "k")[0]
    dead.given_back()  # nobody renews it any more, and nobody has told the server
    lease = face.cache.cache.lease("k@state", 60)
    face = Face(face.cache.cache, face.colour)
    assert not (await face.acquire_lease(lease, "k"))[0]
    left = clean_redis.ask("PTTL", dead.name)
    assert 0 < left <= 60_000, "the server ends it by itself"
    clean_redis.ask("PEXPIRE", dead.name, 1)
    await auntil(lambda: not clean_redis.ask("EXISTS", dead.name))
    assert (await face.acquire_lease(lease, "k"))[0]
    await face.release_lease(lease)
    assert (await face.acquire_lease(again := cache.cache.lease("k@state", 60), "k"))[0]
    await face.release_lease(again)


# --- forking --------------------------------------------------------------------------------------

FORK = """
    import asyncio, gc, os, signal, sys, threading, traceback
    from flask import Flask
    from flask_caching_async import Cache
    from flask_caching_async._runtime.colour import run_now

    config = {config!r}
    cache = Cache(Flask("site"), config=config)
    wires = cache.cache._transports

    def my_ids():
        plain = config["CACHE_TYPE"] == "RedisCache"
        return {{run_now(wires.blocking().run("CLIENT", "ID"))}} if plain else set()

    def work(who, count=60):
        for n in range(count):
            cache.set(f"{{who}} {{n}}", f"{{who}} {{n}}")
            found = cache.get_many(f"{{who}} {{n}}", f"{{who}} {{n - 1}}")
            assert found == [f"{{who}} {{n}}", f"{{who}} {{n - 1}}" if n else None], found

    async def awork(who, count=40):
        async with cache:
            for n in range(count):
                await cache.aset(f"{{who}} {{n}}", f"{{who}} {{n}}")
                assert await cache.aget(f"{{who}} {{n}}") == f"{{who}} {{n}}"

    def in_child(before):
        signal.alarm(20)
        work("child")
        asyncio.run(awork("child's loop"))
        assert asyncio.run(cache.aget("child 1")) == "child 1"
        assert not before & my_ids()
        gc.collect()

    def fork():
        before = my_ids()
        pid = os.fork()
        if not pid:
            try:
                in_child(before)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        work("parent")
        assert before == my_ids(), "the parent keeps its connection"
        assert os.waitpid(pid, 0)[1] == 0

    async def main():
        async with cache:
            await cache.aset("native", 1)
            fork()
            for n in range(50):
                assert await cache.aget("native") == 1
            await awork("parent's loop")

    work("before")
    fork()
    asyncio.run(main())
    print("end")
    """


def run_fork(config: dict[str, Any]) -> None:
    """Run that script; it may warn of nothing but forking with threads."""
    script = textwrap.dedent(FORK).format(config=config)
    ignore = "ignore:This process:DeprecationWarning"
    command = [sys.executable, "-W", "error", "-W", ignore, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=45)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
@pytest.mark.parametrize("kind", ["RedisCache", "RedisClusterCache", "RedisSentinelCache"])
def test_a_forked_child_has_connections_of_its_own(
    request: pytest.FixtureRequest, kind: str
) -> None:
    """Child and parent go on at the same time, on different connections: no answer is mixed up."""
    config = {"CACHE_TYPE": kind, "CACHE_ON_ERROR": "raise"}
    config |= {"CACHE_CONNECT_TIMEOUT": 10, "CACHE_OPERATION_TIMEOUT": 10}  # type: ignore[dict-item]
    if kind == "RedisSentinelCache":
        replicas = request.getfixturevalue("clean_replica_set")
        config["CACHE_REDIS_SENTINELS"] = f"{HOST}:{replicas.sentinel.port}"
    else:
        name = "clean_redis" if kind == "RedisCache" else "clean_cluster"
        config["CACHE_REDIS_URL"] = request.getfixturevalue(name).url
    run_fork(config)
