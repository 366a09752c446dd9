"""MemcachedCache on one server or two: what it may be told, what lies there, and what it costs."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import logging
import math
import os
import pickle
import random
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import pytest_asyncio
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from pymemcache.client.hash import HashClient

from flask_caching_async import Cache
from flask_caching_async._runtime.colour import run_now
from flask_caching_async.backends._memcached import protocol, values
from flask_caching_async.backends._memcached.looking import Question, question_of
from flask_caching_async.backends._memcached.ring import Ring
from flask_caching_async.backends._versioned import contract
from flask_caching_async.backends.memcache import MemcachedCache
from flask_caching_async.exceptions import (
    BackendError,
    BackendTimeout,
    ConfigurationError,
    SerializationError,
)
from flask_caching_async.serializers import JSONSerializer
from flask_caching_async.testing import FakeClock
from support.faces import Face
from support.fault_proxy import FaultProxy
from support.lanes import CAREFUL, PREFIX, Enter, Trips, failures_of, insist, use_everything
from support.memcached_items import life, plant, raw
from support.params import cases, table
from support.servers import HOST, MemcachedServer
from support.waiting import PATIENCE, auntil, together, until

#: Seconds in 30 days, from which on Memcached takes a number for a time since the epoch.
MONTH = 30 * 24 * 3600

Make = Callable[..., Cache]


def cache_on(*servers: Any, **config: Any) -> Cache:
    """A cache on servers (or proxies)."""
    where = [f"{HOST}:{server.port}" for server in servers]
    common = {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": where}
    return Cache(Flask("site"), config={**CAREFUL, **common, **config})


@pytest.fixture
def server(clean_memcached: MemcachedServer) -> MemcachedServer:
    """An empty server."""
    return clean_memcached


@pytest.fixture
def make(server: MemcachedServer) -> Iterator[Make]:
    """Make caches, by default on an empty server."""
    made: list[Cache] = []

    def make_cache(*servers: Any, **config: Any) -> Cache:
        made.append(cache_on(*(servers or (server,)), **config))
        return made[-1]

    yield make_cache
    for cache in made:
        cache.close()


@pytest_asyncio.fixture
async def face(make: Make, enter: Enter) -> Face:
    """A cache on an empty server, in every lane."""
    face: Face = await enter(make())
    return face


async def everything(face: Face) -> None:
    """Do each thing that a cache can do, and clear it."""
    await use_everything(face)
    assert await face.clear()
    assert await face.get_many("c", "n", "made") == [None, None, None]


# --- what it may be told --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_everything_works_in_every_lane(face: Face) -> None:
    """All operations, on one server."""
    await everything(face)


@pytest.mark.asyncio
async def test_everything_works_on_two_servers(
    clean_two_memcached: tuple[Any, Any], make: Make, enter: Enter
) -> None:
    """All operations, while each server has a part of what is stored."""
    await everything(await enter(make(*clean_two_memcached)))
    for one in clean_two_memcached:
        with socket.create_connection((HOST, one.port)) as sock, sock.makefile() as lines:
            sock.sendall(b"stats\r\n")
            stored = next(line for line in lines if "total_items" in line)
            assert int(stored.split()[2]) > 3


def test_a_look_at_two_servers_does_not_mix_up_their_namespaces(
    clean_two_memcached: tuple[MemcachedServer, MemcachedServer],
) -> None:
    """Each has a version of its own under the same name, which a look may ask for on both."""
    backend = MemcachedCache([(HOST, server.port) for server in clean_two_memcached], 60, PREFIX)
    keys = [f"key {number}" for number in range(20)]
    assert backend.set_many(dict.fromkeys(keys, 1)) == keys
    assert [backend.look_up(key, (contract.NAMESPACE,)).value for key in keys] == [1] * 20
    backend.close()


def test_what_cannot_be_read_any_more_is_not_there(make: Make) -> None:
    """Neither for a get, nor for has and add, as on Redis."""
    cache: Any = make()
    cache.cache.set("old", {1, 2})
    cache.cache.serializer = JSONSerializer()
    assert (cache.cache.get("old"), cache.cache.has("old")) == (None, False)
    assert cache.cache.add("old", [3]) and cache.cache.get("old") == [3]


@pytest.mark.parametrize(
    "name", ["MemcachedCache", "flask_caching.backends.MemcachedCache", "flask_caching.backends."
             "memcache.MemcachedCache", "flask_caching_async.backends.memcache.MemcachedCache"]
)  # fmt: skip
def test_the_backend_has_several_names(make: Make, name: str) -> None:
    """Short, as a path of ours, and as the paths that Flask-Caching's users have written."""
    cache = make(CACHE_TYPE=name)
    assert type(cache.cache) is MemcachedCache
    assert cache.set("a", 1) and cache.get("a") == 1


FORMS: dict[str, Callable[[int], Any]] = {
    "text": lambda port: f"{HOST}:{port}",
    "list of texts": lambda port: [f"{HOST}:{port}"],
    "tuple of texts": lambda port: (f"{HOST}:{port}", f"{HOST}:{port}"),
    "pair": lambda port: [(HOST, port)],
    "list": lambda port: [[HOST, str(port)]],
    "localhost": lambda port: [f"localhost:{port}"],  # it may have two addresses
}


@pytest.mark.parametrize("form", FORMS)
def test_servers_may_be_written_in_several_ways(make: Make, server: Any, form: str) -> None:
    """As texts or pairs; one of them needs no list; the same one twice is one."""
    cache = make(CACHE_MEMCACHED_SERVERS=FORMS[form](server.port))
    assert cache.set("a", 1) and raw(server, f"{PREFIX}a")
    asyncio.run(aget_natively(cache, "a"))
    assert len(cache.cache._transports.blocking().pools) == 1


async def aget_natively(cache: Cache, key: str) -> None:
    """A key is found over a connection of a loop."""
    async with cache:
        assert cache.cache.native_here()
        assert await cache.aget(key) == 1


@pytest.mark.parametrize("form", ["{}", "unix:{}"])
def test_a_unix_socket_serves_both_colours(make: Make, form: str) -> None:
    """A loop has connections of its own to it, too."""
    with MemcachedServer(unixsocket=True) as server:
        cache = make(CACHE_MEMCACHED_SERVERS=[form.format(server.socket)])

        async def main() -> None:
            async with cache:
                assert cache.cache.native_here()
                await everything(Face(cache, "async"))

        asyncio.run(main())
        asyncio.run(everything(Face(cache, "sync")))
        cache.close()


def test_by_default_the_server_is_on_this_machine() -> None:
    """At Memcached's own port."""
    (pool,) = MemcachedCache()._transports.blocking().pools
    assert pool.opener.server == ("127.0.0.1", 11211)


@table("servers", [[], [7], ["a:high"], [("a", 1, 2)], [("a", None)], [b"a"]])
def test_wrong_servers_are_refused_with_what_to_write(servers: Any) -> None:
    """When the app is set up, not when it is asked."""
    with pytest.raises(ConfigurationError, match="CACHE_MEMCACHED_SERVERS"):
        cache_on(CACHE_MEMCACHED_SERVERS=servers)


def test_flask_cachings_constructor_arguments(server: MemcachedServer) -> None:
    """``MemcachedCache(servers, default_timeout, key_prefix, pool_size, pool_blocking, …)``."""
    cache = MemcachedCache([f"{HOST}:{server.port}"], 3600, "pre_", 3, False, True)
    assert cache.set("a", 1) and cache.get("a") == 1
    assert 3500 <= (life(server, "pre_a") or 0) <= 3601
    assert (cache.key_prefix, cache.default_timeout) == ("pre_", 3600)
    (pool,) = cache._transports.blocking().pools
    assert (pool.limit, pool.patience, cache.ignore_delete_many_errors) == (3, 0, True)
    cache.close()


def test_options_win_over_the_other_settings(make: Make, server: MemcachedServer) -> None:
    """``CACHE_OPTIONS`` has the constructor's names; ``CACHE_ARGS`` begins with the servers."""
    here, budget = [(HOST, server.port)], {"connect_timeout": 3, "operation_timeout": 4}
    options = {"servers": here, "key_prefix": "o_", "default_timeout": 3600, **budget}
    cache = make(CACHE_MEMCACHED_SERVERS=["nowhere:1"], CACHE_OPTIONS=options)
    assert cache.set("a", 1) and raw(server, "o_a")
    assert 3500 <= (life(server, "o_a") or 0) <= 3601
    (pool,) = cache.cache._transports.blocking().pools
    assert (pool.opener.budget.connect, pool.opener.budget.operation, pool.limit) == (3, 4, 50)
    assert make(CACHE_MEMCACHED_SERVERS=["nowhere:1"], CACHE_ARGS=[here]).set("a", 1)
    with pytest.raises(ConfigurationError, match="nonsense"):
        make(CACHE_OPTIONS={"nonsense": 1})


def test_building_never_connects(memcached_proxy: FaultProxy, make: Make) -> None:
    """The first operation does."""
    cache = make(memcached_proxy)
    asyncio.run(cache.cache.aopen())
    assert memcached_proxy.accepted == 0
    cache.get("a")
    assert memcached_proxy.accepted == 1


def test_the_key_prefix_may_be_asked_on_each_call(make: Make, server: MemcachedServer) -> None:
    """A callable: for tenants, say."""
    tenant = ["one:"]
    cache = make(CACHE_OPTIONS={"key_prefix": lambda: tenant[0]})
    assert cache.set("a", 1)
    tenant[0] = "two:"
    assert cache.get("a") is None and cache.set("a", 2)
    assert cache.clear() and cache.get("a") is None
    tenant[0] = "one:"
    assert cache.get("a") == 1
    assert raw(server, "one:a") and raw(server, "two:a")


def test_a_missing_package_is_named_with_how_to_install_it(server: MemcachedServer) -> None:
    """pymemcache, which chooses the server of a key."""
    script = f"""
        import sys
        sys.modules["pymemcache"] = None
        from flask import Flask
        from flask_caching_async import Cache

        where = {{"CACHE_MEMCACHED_SERVERS": ["{HOST}:{server.port}"]}}
        Cache(Flask("site"), config={{"CACHE_TYPE": "MemcachedCache", **where}})
    """
    done = run_script(script)
    assert "ConfigurationError: MemcachedCache needs a package" in done.stderr
    assert "pip install pymemcache" in done.stderr


#: asyncio complains, where it debugs, of steps that took long: a busy machine is no failure.
UNHURRIED = """
    import logging
    logging.getLogger("asyncio").addFilter(lambda record: not record.msg.startswith("Executing"))
"""


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, where each warning is an error."""
    code = textwrap.dedent(UNHURRIED) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
    )


# --- names ----------------------------------------------------------------------------------------

quick = settings(max_examples=80)

TEXTS = (
    st.text()
    | st.text(min_size=200, max_size=300)
    | st.sampled_from(["~mark~a", "~stamp~", "a~~0"])
)


@quick
@given(prefix=TEXTS, key=TEXTS)
def test_every_key_has_a_name_that_memcached_takes(prefix: str, key: str) -> None:
    """At most 250 bytes, none of them a space or a control character."""
    for name in (values.name_of(prefix, key), values.own_name(prefix, f"~mark~{key}")):
        assert re.fullmatch(r"[!-~]{1,250}", name)


@quick
@given(prefix=TEXTS, keys=st.sets(TEXTS, min_size=2, max_size=2))
def test_no_two_keys_have_the_same_name(prefix: str, keys: set[str]) -> None:
    """Neither as they are, nor one as the digest, the key version or a tag version of the other."""
    one, two = (values.name_of(prefix, key) for key in keys)
    marks = {values.own_name(prefix, f"~mark~{key}") for key in keys}
    pieces = {values.piece_name(name, number) for name in (one, two) for number in (0, 1)}
    assert len({one, two, *marks, *pieces, values.own_name(prefix, values.NAMESPACE)}) == 9
    assert values.name_of(prefix, one.removeprefix(prefix)) == one or "~~" in one


def test_an_ordinary_key_is_found_by_its_own_name(make: Make, server: MemcachedServer) -> None:
    """Prefix and key, up to 250 bytes; a longer one keeps the prefix."""
    cache, long = make(), "x" * (250 - len(PREFIX))
    assert cache.set_many({"view//a?b=c": 1, long: 2, long + "x": 3})
    assert raw(server, f"{PREFIX}view//a?b=c") and raw(server, PREFIX + long)
    digest = values.name_of(PREFIX, long + "x")
    assert raw(server, digest) and digest.startswith(f"{PREFIX}~~")


def test_the_stamp_of_everything_is_the_one_of_the_decorators() -> None:
    """One token dies for values, counters and entries."""
    assert values.NAMESPACE is contract.NAMESPACE


def test_both_colours_and_pymemcache_choose_the_same_server() -> None:
    """For each key, however the servers are ordered; and all of them are used."""
    servers: list[Any] = [("127.0.0.1", 11211), ("10.0.0.7", 11211), "/run/memcached.sock"]
    ring, again = Ring(servers), Ring(servers[::-1])
    theirs = HashClient([])
    for one in servers[:2]:
        theirs.add_server(one)
    names = [f"key-{number}" for number in range(300)]
    assert {ring.at(name) for name in names} == {0, 1, 2}
    assert all(servers[ring.at(name)] == servers[::-1][again.at(name)] for name in names)
    two = Ring(servers[:2])
    assert all(servers[two.at(name)] == theirs._get_client(name).server for name in names)


@pytest.mark.asyncio
async def test_what_one_colour_stores_the_other_finds(
    clean_two_memcached: tuple[Any, Any], make: Make
) -> None:
    """On the server where it looks: natively, in worker threads and in sync code."""
    cache = make(*clean_two_memcached)
    keys = [f"key-{number}" for number in range(40)]
    for number, key in enumerate(keys):
        if number % 2:
            assert cache.set(key, number)
        else:
            async with cache:
                assert await cache.aset(key, number)
    found = [cache.get_many(*keys), await cache.aget_many(*keys)]
    async with cache:
        found.append(await cache.aget_many(*keys))
    assert found == [list(range(40))] * 3
    assert {cache.cache._ring.at(PREFIX + key) for key in keys} == {0, 1}


# --- values ---------------------------------------------------------------------------------------

FOREIGN: dict[str, tuple[int, bytes, Any]] = {
    "bytes": (0, b"plain \x00\xff", b"plain \x00\xff"),
    "digits": (0, b"42", 42),
    "counted down": (0, b"9 ", 9),  # Memcached leaves a space where a digit was
    "a number": (2, b"42", 42),
    "a long number": (4, b"-42", -42),
    "text": (16, "Grüße".encode(), "Grüße"),
    "a pickle": (1, pickle.dumps({"a": [1]}), {"a": [1]}),
    "a compressed pickle": (9, zlib.compress(pickle.dumps([1] * 99)), [1] * 99),
    "compressed": (8, zlib.compress(b"bytes"), b"bytes"),
    "nonsense": (1, b"no pickle", None),
    "no number": (2, b"forty-two", None),
    "not compressed": (8, b"no zlib", None),
    "no text": (16, b"\xff", None),
    "a broken pickle of ours": (0, b"!\x80nonsense", None),
    "a broken header of ours": (0, b"\x00fca nonsense\n!", None),
}


@pytest.mark.asyncio
async def test_what_others_have_stored_is_read(face: Face, server: MemcachedServer) -> None:
    """By the flags that their clients agree on; what nobody can read is missing."""
    assert await face.set("ours", "ours")
    for name, (flags, stored, value) in FOREIGN.items():
        plant(server, f"{PREFIX}{name.replace(' ', '-')}", stored, flags)
        key = name.replace(" ", "-")
        assert await face.get(key) == value, name
        assert type(await face.get(key)) is type(value), name
        assert await face.get_many("ours", key, "ours") == ["ours", value, "ours"], name


@pytest.mark.asyncio
async def test_unknown_flags_break_nothing(face: Face, server: MemcachedServer) -> None:
    """The connection is as good as before, and a cached view finds what it stored."""
    f = face.memoize()(lambda: "computed")
    await face.call(f)
    for flags in (0, 1, 2, 16, 0xFFFF, 2**32 - 1):
        for name in ("a", "~stamp~", "~mark~a"):
            plant(server, f"{PREFIX}{name}", b"\x00\xff", flags)
        await face.get("a")
        assert await face.set("a", 1) and await face.get("a") == 1, flags
        assert await face.call(f) == "computed", flags


@pytest.mark.asyncio
async def test_another_serializer_may_know_no_more_than_json(face: Face) -> None:
    """It is used for values, not for tokens."""
    face.cache.cache.serializer = JSONSerializer()
    await everything(face)
    f = face.memoize()(lambda: {1, 2})
    with pytest.raises(Exception, match="cannot serialize"):
        await face.call(f)


# --- time -----------------------------------------------------------------------------------------


#: How long something must live, and what the server is told: one more, for it may end it earlier.
TOLD = {5: 6, 0.2: 2, 4.999: 6, MONTH - 1: MONTH, 0: 0, math.inf: 0, 100 * 365 * 24 * 3600: 0}


def test_what_the_server_is_told_of_a_life() -> None:
    """Rounded up and one more, because its clock ticks once a second; beyond 30 days, a date."""
    assert {seconds: values.exptime(seconds) for seconds in TOLD} == TOLD
    for seconds in (MONTH, 40 * 24 * 3600.5):
        before = int(time.time())
        told = values.exptime(seconds)
        assert before <= told - math.ceil(seconds) - 1 <= time.time()


@pytest.mark.asyncio
async def test_the_server_keeps_a_value_for_as_long_as_it_is_good(
    make: Make, enter: Enter, server: MemcachedServer
) -> None:
    """However its timeout is written: it frees the memory, and not before."""
    face = await enter(make(CACHE_DEFAULT_TIMEOUT=5000))
    for timeout, kept in (
        (3600, 3601), (dt.timedelta(hours=1), 3601), (3599.5, 3601), (None, 5001), (0, -1),
        (MONTH, MONTH + 1), (40 * 24 * 3600.5, 40 * 24 * 3600.5 + 2), (math.inf, -1),
    ):  # fmt: skip
        assert await face.set("a", 1, timeout)
        left = life(server, f"{PREFIX}a")
        assert left is not None and (left == kept == -1 or abs(left - kept) < 100), timeout
        assert await face.get("a") == 1


@pytest.mark.asyncio
async def test_a_value_is_gone_exactly_when_its_time_is_over(face: Face) -> None:
    """To the microsecond, whatever the server's clock says."""
    clock = FakeClock()
    clock.install(face.cache)
    assert await face.set("a", 1, 2) and await face.add("b", 1, 0.5) and await face.set("n", 5, 2)
    clock.advance(0.499)
    assert await face.has("b") is True
    clock.advance(0.001)
    assert await face.has("b") is False and await face.add("b", 2)
    clock.advance(1.499)
    assert await face.inc("n") == 6  # its time runs on
    assert await face.get("a") == 1
    clock.advance(0.001)
    assert await face.has("a") is False and await face.get_many("a", "n") == [None, None]
    assert await face.inc("n") == 1


@pytest.mark.asyncio
async def test_what_is_over_before_it_began_is_deleted(face: Face, server: MemcachedServer) -> None:
    """A negative timeout, as Memcached's own."""
    backend = face.cache.cache
    await face.set("a", 1)
    assert await face.set("a", 2, -1) and await face.get("a") is None
    assert backend.set("b", 1) and backend.set("b", 2, -1) and not backend.has("b")
    assert backend.add("b", 1, -1) and not backend.has("b")
    assert raw(server, f"{PREFIX}a") is None is raw(server, f"{PREFIX}b")


@pytest.mark.asyncio
async def test_a_mark_outlives_the_entry_that_was_computed_under_it(
    face: Face, server: MemcachedServer
) -> None:
    """Or the entry would die with it, an hour after a deletion."""
    backend = face.cache.cache
    backend.invalidate(["k"])
    look = backend.look_up("k")
    assert look.key_version and 3590 < (life(server, f"{PREFIX}~mark~k") or 0) <= 3601
    assert backend.set_if_current("k", "v", 7200, look.key_version, {}, look.cas)
    assert (life(server, f"{PREFIX}~mark~k") or 0) >= 7199


# --- counting -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_digits_of_others_are_counted_by_the_server(
    face: Face, server: MemcachedServer
) -> None:
    """They stay digits, keep their time and go below 0 no more than with other clients."""
    plant(server, f"{PREFIX}n", b"41", 0, 1000)
    assert await face.inc("n") == 42 and raw(server, f"{PREFIX}n") == f"{PREFIX}n 0 2"
    assert 990 < (life(server, f"{PREFIX}n") or 0) <= 1000
    assert await face.dec("n", 2) == 40 == await face.get("n")
    assert await face.dec("n", 50) == 0


@pytest.mark.asyncio
@cases("digits,delta", [("5", 1.5), ("5", 2**70), ("-5", 1), ("1_0", 1)])
async def test_what_the_server_cannot_count_is_an_error_of_the_caller(
    face: Face, server: MemcachedServer, digits: str, delta: float
) -> None:
    """Digits of others, or what to add to them: it is told at once, and no server is blamed."""
    plant(server, f"{PREFIX}n", digits.encode(), 0, 1000)
    failed = failures_of(face.cache)
    with pytest.raises(SerializationError, match="Memcached cannot add .* to what 'n' has"):
        await face.inc("n", delta)  # type: ignore[arg-type]
    assert failed == [] and raw(server, f"{PREFIX}n") == f"{PREFIX}n 0 {len(digits)}"


@pytest.mark.asyncio
async def test_numbers_of_any_kind_are_counted(face: Face) -> None:
    """Below 0, beyond 64 bits, and with a fraction."""
    assert await face.dec("n", 5) == -5 and await face.inc("n", 2**64) == 2**64 - 5
    assert await face.set("x", 1.5) and await face.inc("x") == 2.5 == await face.get("x")


def test_what_is_no_number_is_not_counted(make: Make) -> None:
    """Nor is it changed."""
    cache = make()
    cache.set("a", "text")
    with pytest.raises(SerializationError, match="what 'a' has is a str, no number"):
        cache.inc("a")
    assert cache.get("a") == "text"


def test_no_count_is_lost_between_processes(make: Make) -> None:
    """Caches with connections of their own count the same key at the same time."""
    caches = [make() for _ in range(6)]

    def count(cache: Cache) -> list[Any]:
        return [cache.inc("n") for _ in range(30)]

    counted = together(*[lambda cache=cache: count(cache) for cache in caches])
    assert sorted(sum(counted, [])) == list(range(1, 181))


# --- clear ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_clear_touches_nothing_of_others(
    clean_two_memcached: tuple[Any, Any], make: Make, enter: Enter
) -> None:
    """Neither raw values nor a cache with another prefix, on any of the servers."""
    face = await enter(make(*clean_two_memcached))
    other = make(*clean_two_memcached, CACHE_KEY_PREFIX="other_")
    for one in clean_two_memcached:
        plant(one, "foreign", b"1")
    f = face.memoize()(lambda x: random.random())
    first = await face.call(f, 1)
    assert other.set_many({str(n): n for n in range(20)})
    assert await face.set_many({str(n): n for n in range(20)}) and await face.inc("n") == 1
    assert await face.clear() is True
    assert await face.get_many(*map(str, range(20)), "n") == [None] * 21
    assert not await face.has("0") and await face.add("0", 1) and await face.inc("n") == 1
    assert await face.call(f, 1) != first
    assert other.get_many(*map(str, range(20))) == list(range(20))
    assert all(raw(one, "foreign") for one in clean_two_memcached)


def test_what_is_set_after_another_process_has_cleared_is_there(make: Make) -> None:
    """Although this process still believes in the old token."""
    one, two = make(), make()
    assert one.set("a", 1) and two.set("b", 1)
    for number in range(3):
        assert two.clear() and one.get_many("a", "b") == [None, None]
        assert one.set_many({"a": number, "c": number}) and two.add("b", number)
        assert one.get_many("a", "b", "c") == two.get_many("a", "b", "c") == [number] * 3
        assert one.set("d", number, tags=["t"]) and two.get("d") == number


def test_the_backend_itself_clears(make: Make) -> None:
    """``cache.cache`` as Flask-Caching's users call it."""
    backend = make().cache
    assert backend.set("a", 1) and backend.inc("n") == 1 and backend.clear() is True
    assert backend.get_many("a", "n") == [None, None] and backend.set("a", 2)
    assert backend.get("a") == 2


# --- too large ------------------------------------------------------------------------------------

LARGE = os.urandom(1_100_000)


@pytest.mark.asyncio
async def test_a_value_that_is_too_large_is_not_stored(
    memcached_proxy: FaultProxy, make: Make, enter: Enter, caplog: Any
) -> None:
    """False and one line for each key, in debug mode too; the connection is as good as before."""
    face = await enter(make(memcached_proxy))
    calls: list[int] = []
    f = face.memoize()(lambda: calls.append(1) or LARGE)
    assert await face.set("a", "small")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await face.set("a", LARGE) is False
            assert await face.get("a") is None  # nobody gets what was there before
            assert await face.add("b", LARGE) is False
            assert await face.set_many({"c": 1, "d": LARGE}) == ["c"]
            assert await face.call(f) == LARGE
            assert face.cache.cache.set_if_current("e", LARGE, 9, None, {}) is False
    told = [line for line in caplog.messages if "too large for Memcached" in line]
    assert len(told) == len(caplog.messages) == 5
    assert len(calls) == 3 and await face.get("c") == 1
    assert memcached_proxy.accepted <= 2


def test_few_of_the_large_values_are_remembered(make: Make, caplog: Any) -> None:
    """The list of those that were complained about does not grow for ever."""
    backend = make().cache
    for number in range(2000):
        backend._too_large(str(number))
    assert len(backend._warned) == 1000


def test_a_large_item_comes_back_whole(make: Make) -> None:
    """Nearly as large as the server takes; and several of them at once."""
    cache, value = make(), os.urandom(1_000_000)
    assert cache.set_many(dict.fromkeys("abc", value)) == ["a", "b", "c"]
    assert cache.get_many("a", "b", "c") == [value] * 3


@pytest.mark.asyncio
async def test_thousands_of_keys_go_in_one_call(
    clean_two_memcached: tuple[Any, Any], make: Make, enter: Enter
) -> None:
    """However many: neither side waits for the other to read."""
    face = await enter(make(*clean_two_memcached))
    many = {f"key-{number}": "x" * 500 + str(number) for number in range(3000)}
    assert await face.set_many(many) == list(many)
    assert await face.get_dict(*many) == many
    assert await face.delete_many(*many) == list(many)
    assert not any(await face.get_many(*many))


# --- a deletion wins ------------------------------------------------------------------------------


INVALIDATIONS: dict[str, Callable[[Cache, Any, str], Any]] = {
    "delete": lambda other, g, key: other.delete(key),
    "set": lambda other, g, key: other.set(key, "by hand"),
    "clear": lambda other, g, key: other.clear(),
    "tag": lambda other, g, key: other.delete_tags("t"),
    "memoized": lambda other, g, key: other.delete_memoized(g),
}


@pytest.mark.asyncio
async def test_what_another_process_invalidates_meanwhile_is_not_stored(
    make: Make, enter: Enter
) -> None:
    """A value that was computed before a deletion or an explicit set never overwrites it."""
    face, other = await enter(make()), make()
    for how, interfere in INVALIDATIONS.items():
        numbers = itertools.count(1)

        def body(how: str) -> str:
            number = next(numbers)  # noqa: B023
            if number == 1:
                interfere(other, g, key)  # noqa: B023
            return f"computed {number}"

        f = face.memoize(tags=["t"])(body)
        g = other.memoize(tags=["t"])(face.dye(body))
        key = f.make_cache_key(body, how)
        assert await face.call(f, how) == "computed 1", how
        expected = "by hand" if how == "set" else "computed 2"
        assert await face.call(f, how) == expected == await face.call(f, how), how
        assert await Face(other, face.colour).call(g, how) == expected, how


def test_an_entry_that_came_too_late_is_withdrawn(make: Make, server: MemcachedServer) -> None:
    """It would be found again when the mark of the deletion ends."""
    backend = make().cache
    look = backend.look_up("k")
    backend.invalidate(["k"])
    assert backend.set_if_current("k", "late", 60, look.key_version, {}, look.cas) is False
    assert raw(server, f"{PREFIX}k") is None
    look = backend.look_up("k")
    assert backend.set_if_current("k", "in time", 60, look.key_version, {}, look.cas) is True
    assert backend.set_if_current("k", "twice", 60, look.key_version, {}, look.cas) is False
    assert backend.get("k") == "in time"


def test_an_explicit_set_is_never_overwritten(make: Make) -> None:
    """Whether there was nothing before, or an old value, or the caller has not looked."""
    backend = make().cache
    for before in (None, "old"):
        if before:
            assert backend.set_if_current("k", before, 60, backend.look_up("k").key_version, {})
        look = backend.look_up("k")
        assert backend.set_and_supersede({"k": "by hand"}) == ["k"]
        for version in (look.cas, None):
            assert backend.set_if_current("k", "late", 60, look.key_version, {}, version) is False
            assert backend.get("k") == "by hand"
        backend.delete("k")


def test_what_was_to_be_replaced_may_have_ended(make: Make, server: MemcachedServer) -> None:
    """An old value that the server has dropped meanwhile is no reason not to store the new one."""
    backend = make().cache
    assert backend.set_if_current("k", "old", 60, None, {})
    look = backend.look_up("k")
    assert server.ask(f"delete {PREFIX}k") == "DELETED"
    assert backend.set_if_current("k", "new", 60, look.key_version, {}, look.cas) is True
    assert backend.get("k") == "new"


def test_one_computation_between_processes(make: Make) -> None:
    """Two caches with connections of their own, each with several callers."""
    caches, calls = [make(), make()], []

    def body() -> int:
        calls.append(1)
        # One computes, and of each process all others wait for it: four here, and five there.
        until(lambda: sum(cache.stats().misses for cache in caches) == 10)
        return 7

    def asyncs(function: Any) -> Any:
        async def main() -> list[Any]:
            async with caches[1]:
                return await asyncio.gather(*[function() for _ in range(5)])

        return asyncio.run(main())

    async def abody() -> int:
        return await asyncio.to_thread(body)

    body.__qualname__ = abody.__qualname__ = "body"
    f, g = (
        caches[0].memoize(make_name=lambda _: "f")(body),
        caches[1].memoize(make_name=lambda _: "f")(abody),
    )
    assert f.make_cache_key(body) == g.make_cache_key(abody)
    results = together(*[f] * 5, lambda: asyncs(g))
    assert results == [7] * 5 + [[7] * 5]
    assert len(calls) == 1


def test_a_lease_is_renewed_and_given_back(make: Make, server: MemcachedServer) -> None:
    """Renewing does not change what it is given back by; nobody else's is freed."""
    backend = make().cache
    lease, other = backend.lease("k@state", 600), backend.lease("k@state", 600)
    assert backend.acquire_lease(lease, "k")[0] and not backend.acquire_lease(other, "k")[0]
    name, whole = f"{PREFIX}~lease~state~k", lease.life
    assert whole / 2 < (life(server, name) or 0) <= whole + 1
    server.ask(f"touch {name} {whole / 2:.0f}")
    assert (life(server, name) or 0) <= whole / 2
    lease.renew()
    assert lease.held and whole / 2 < (life(server, name) or 0) <= whole + 1
    other.renew()
    assert not other.held
    backend.release_lease(other)
    assert raw(server, name)
    backend.release_lease(lease, shared=False)
    assert raw(server, name) is None
    taken, _ = backend.acquire_lease(other, "k")
    assert taken and other.unshared(lease.token)
    backend.release_lease(other)


# --- what it costs --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_how_often_the_server_is_asked(
    memcached_proxy: FaultProxy, make: Make, enter: Enter
) -> None:
    """A hit is one round trip; a miss looks, takes the lease, and stores."""
    face = await enter(make(memcached_proxy))
    f = face.memoize(tags=["t"])(lambda x: x)
    await face.call(f, 0)
    await face.set("a", 1)

    async def trips(step: Any) -> int:
        with Trips(memcached_proxy) as counted:
            await step
        return counted.count

    assert await trips(face.call(f, 1)) == 3
    assert await trips(face.call(f, 1)) == 1
    assert await trips(face.call(f.refresh, 1)) == 3
    assert await trips(face.get("a")) == await trips(face.set("a", 2)) == 1
    assert await trips(face.get_many(*"abcdef")) == 1
    assert await trips(face.set_many(dict.fromkeys("abcdef"))) == 1
    assert await trips(face.delete("a")) == await trips(face.delete_many(*"bcdef")) == 1
    assert await trips(face.delete_memoized(f)) == await trips(face.delete_tags("t")) == 1
    assert await trips(face.inc("n")) == 2


@pytest.mark.asyncio
async def test_two_servers_are_asked_at_the_same_time(
    clean_two_memcached: tuple[MemcachedServer, MemcachedServer], make: Make, enter: Enter
) -> None:
    """Sync code sends to both before it waits for either."""
    first, second = clean_two_memcached
    with FaultProxy(first.port) as one, FaultProxy(second.port) as two:
        face = await enter(make(one, two))
        keys = [str(number) for number in range(20)]
        await face.set_many(dict.fromkeys(keys, 1))
        with Trips(one) as at_one, Trips(two) as at_two:
            asked = one.requests + 1, two.requests + 1
            for server in (first, second):
                server.pause()

            def answer_when_both_were_asked() -> None:
                try:
                    until(lambda: (one.requests, two.requests) == asked)
                finally:
                    first.resume(), second.resume()

            answering = asyncio.ensure_future(asyncio.to_thread(answer_when_both_were_asked))
            await asyncio.sleep(0)  # sync code gives that thread no other chance to be started
            assert await face.get_many(*keys) == [1] * 20
            await answering
        assert (at_one.count, at_two.count) == (1, 1)
        face.cache.cache.close()
        await face.cache.cache.aclose()


# --- connections ----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_whoever_is_cancelled_leaves_no_answer_to_others(
    memcached_proxy: FaultProxy, make: Make
) -> None:
    """Hundreds of cancelled calls, at any moment: nobody ever gets the value of another key."""
    cache = make(memcached_proxy, CACHE_OPTIONS={"pool_size": 3})
    keys = {f"key-{number}": f"value-{number}" * 200 for number in range(20)}
    cache.set_many(keys)
    dice = random.Random(7)
    f = cache.memoize()(acomputed)
    memcached_proxy.delay(0.001)
    async with cache:
        found = 0
        for _ in range(150):
            asked = dice.sample(list(keys), 4)
            tasks = [asyncio.ensure_future(cache.aget(key)) for key in asked]
            tasks += [asyncio.ensure_future(f(dice.randrange(5)))]
            await asyncio.sleep(dice.random() * 0.004)
            for task in dice.sample(tasks, 3):
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for key, answer in zip(asked, answers, strict=False):
                assert isinstance(answer, asyncio.CancelledError) or answer == keys[key]
                found += answer == keys[key]
        assert found > 50
        memcached_proxy.heal()
        assert await cache.aget_dict(*keys) == keys


async def acomputed(x: int) -> int:
    return x


@pytest.mark.asyncio
async def test_an_answer_that_comes_too_late_is_nobodys(
    memcached_proxy: FaultProxy, server: MemcachedServer, make: Make, enter: Enter
) -> None:
    """After a timeout, the connection is closed, and the next call has its own answer."""
    little = {"CACHE_OPERATION_TIMEOUT": 0.2, "CACHE_BREAKER_THRESHOLD": 0}
    face = await enter(make(memcached_proxy, **little))
    assert await insist(lambda: face.set_many({"a": "of a", "b": "of b"})) == ["a", "b"]
    server.pause()
    for _ in range(3):
        with pytest.raises(BackendTimeout):
            await face.get("a")
    server.resume()  # now it answers all that was asked
    accepted = memcached_proxy.accepted
    assert await insist(lambda: face.get("b")) == "of b"
    assert memcached_proxy.accepted > accepted
    assert await insist(lambda: face.get("a")) == "of a"


@pytest.mark.asyncio
async def test_what_is_no_answer_is_an_error(
    memcached_proxy: FaultProxy, make: Make, enter: Enter
) -> None:
    """And the connection is not used again."""
    face = await enter(make(memcached_proxy, CACHE_BREAKER_THRESHOLD=0))
    assert await face.set("a", 1)
    for noise in (b"\0garbage\r\n", b"END\r\nEND\r\n", b"ERROR\r\n",
                  b"SERVER_ERROR out of memory\r\n"):  # fmt: skip
        accepted = memcached_proxy.accepted
        memcached_proxy.garbage(noise)
        with pytest.raises(BackendError):
            await face.get("a")
        memcached_proxy.heal()
        assert await face.get("a") == 1, noise
        assert memcached_proxy.accepted == accepted + 1, noise


@pytest.mark.asyncio
async def test_half_an_answer_is_waited_for_no_longer_than_allowed(
    memcached_proxy: FaultProxy, make: Make, enter: Enter
) -> None:
    """And the connection is not used again."""
    little = {"CACHE_OPERATION_TIMEOUT": 0.2, "CACHE_BREAKER_THRESHOLD": 0}
    face = await enter(make(memcached_proxy, **little))
    assert await insist(lambda: face.set("a", 1))
    memcached_proxy.garbage(f"VALUE {PREFIX}a 0 1 1\r\nx".encode())
    with pytest.raises(BackendTimeout):
        await face.get("a")
    memcached_proxy.heal()
    assert await insist(lambda: face.get("a")) == 1


@pytest.mark.asyncio
async def test_a_connection_that_ended_while_it_lay_idle_is_replaced(
    memcached_proxy: FaultProxy, make: Make, enter: Enter
) -> None:
    """As after a restart of the server, whether it was closed or reset: nobody notices."""
    face = await enter(make(memcached_proxy))
    assert await face.set("a", 1)
    for reset in (False, True) * 3:
        memcached_proxy.cut(reset)
        for _ in range(3):
            await asyncio.sleep(0)  # a loop looks at its sockets in each of its rounds
        assert await face.get("a") == 1


def test_after_a_restart_of_the_server_everything_works(make: Make) -> None:
    """It has forgotten all, the token of the namespace too."""
    with MemcachedServer() as server:
        cache = make(server)
        f = cache.memoize()(lambda: 1)
        assert cache.set("a", 1) and f() == 1
        server.restart()
        assert cache.get("a") is None and f() == 1
        assert cache.set("a", 2) and cache.get("a") == 2
        cache.close()


def test_no_more_connections_than_allowed(memcached_proxy: FaultProxy, make: Make) -> None:
    """The others wait for one of them."""
    cache = make(memcached_proxy, CACHE_OPTIONS={"pool_size": 2})
    cache.set("a", 1)
    memcached_proxy.delay(0.05)
    assert together(*[lambda: cache.get("a")] * 8) == [1] * 8
    assert memcached_proxy.accepted == 2


def test_who_finds_all_connections_taken_may_fail_at_once(
    memcached_proxy: FaultProxy, server: MemcachedServer, make: Make
) -> None:
    """With ``pool_blocking=False``: while one call is being answered, all others fail."""
    options = {"pool_size": 1, "pool_blocking": False}
    cache = make(memcached_proxy, CACHE_OPTIONS=options, CACHE_BREAKER_THRESHOLD=0)
    cache.set("a", 1)
    failed = threading.Semaphore(0)

    def ask() -> Any:
        try:
            return cache.get("a")
        except BackendTimeout:
            failed.release()
            return "failed"

    def answer_when_two_have_failed() -> None:
        try:
            assert failed.acquire(timeout=PATIENCE) and failed.acquire(timeout=PATIENCE)
        finally:
            server.resume()

    server.pause()
    answers = together(*[ask] * 3, answer_when_two_have_failed)
    assert sorted(answers[:3], key=str) == [1, "failed", "failed"]


@pytest.mark.asyncio
async def test_closing_may_be_repeated_and_ends_nothing(
    memcached_proxy: FaultProxy, make: Make
) -> None:
    """All connections are gone; a later call opens new ones."""
    cache = make(memcached_proxy)
    for _ in range(2):
        async with cache:
            assert await cache.aset("a", 1)
        await cache.cache.aclose()
        assert cache.get("a") == 1
        cache.close()
        cache.cache.close()
        until(lambda: memcached_proxy.connections == 0)


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_a_program_ends_without_a_word(server: MemcachedServer, how: str) -> None:
    """Nothing is unclosed, and no thread is in the way, whether the cache was closed or not."""
    done = run_script(f"""
        import asyncio, threading
        from flask import Flask
        from flask_caching_async import Cache

        where = {{"CACHE_MEMCACHED_SERVERS": ["{HOST}:{server.port}"]}}
        cache = Cache(Flask("site"), config={{"CACHE_TYPE": "MemcachedCache", **where}})
        f = cache.memoize()(lambda: 1)

        @cache.memoize()
        async def g():
            return 1

        async def main():
            async with cache:
                assert await g() == 1 == await cache.ainc("n")
        assert f() == 1
        asyncio.run(main())
        asyncio.run(g())
        thread = threading.Thread(target=f)
        thread.start()
        thread.join()
        if "{how}" == "closed":
            cache.close()
            cache.close()
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_a_forked_child_has_connections_of_its_own(make: Make) -> None:
    """Parent and child ask at the same time, and nobody gets the other's answer."""
    cache = make()
    cache.set_many({str(number): number for number in range(50)})
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if all(cache.get(str(n % 50)) == n % 50 for n in range(500)):
                    status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert all(cache.get(str(n % 50)) == n % 50 for n in range(500))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


def test_threads_and_loops_use_it_together(make: Make) -> None:
    """Loops that end, one that lasts, and plain threads: each finds what it has stored."""
    cache = make()

    async def come_and_go(name: str) -> None:
        for number in range(20):
            assert await cache.aset(name, number) and await cache.aget(name) == number

    async def lasting() -> None:
        async with cache:
            await asyncio.gather(*[come_and_go(f"lasting-{n}") for n in range(5)])

    def plain(name: str) -> None:
        for number in range(20):
            assert cache.set(name, number) and cache.get(name) == number

    with ThreadPoolExecutor(9) as pool:
        jobs = [pool.submit(lambda: asyncio.run(lasting()))]
        jobs += [pool.submit(lambda n=n: asyncio.run(come_and_go(f"e-{n}"))) for n in range(4)]
        jobs += [pool.submit(plain, f"plain-{n}") for n in range(4)]
        for job in jobs:
            job.result()


# --- the protocol ---------------------------------------------------------------------------------


@quick
@given(data=st.data())
def test_answers_are_understood_in_whatever_pieces_they_arrive(data: Any) -> None:
    """One byte at a time, or all at once; values may look like answers."""
    item = st.sampled_from([b"", b"END\r\n", b"x" * 70, b"\r", b"VALUE a 0 1 1\r\nx\r\n"])
    asked, sent, expected = [], b"", []
    for _ in range(data.draw(st.integers(1, 4))):
        if data.draw(st.booleans()):
            items = {f"k{n}": raw for n, raw in enumerate(data.draw(st.lists(item, max_size=3)))}
            for name, stored in items.items():
                sent += b"VALUE %b 3 %d 9\r\n%b\r\n" % (name.encode(), len(stored), stored)
            sent += b"END\r\n"
            expected.append({(0, n): protocol.Item(raw, 3, b"9") for n, raw in items.items()})
            asked += protocol.gets([(0, "k"), *((0, name) for name in items)])
        else:
            line = data.draw(st.sampled_from([b"STORED", b"NOT_FOUND", b"42", protocol.TOO_LARGE]))
            expected.append(line)
            sent += line + b"\r\n"
            asked.append(protocol.delete((0, "k")))
    answers = protocol.Answers(asked)
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        piece, sent = sent[:size], sent[size:]
        assert (answers.feed(piece) is None) is bool(sent)
    assert answers.done == expected


def answer_to(question: Question, items: dict[protocol.Place, protocol.Item]) -> bytes:
    """What a server says that has these items."""
    said = b""
    for command in question.commands:
        for name, place in (command.fetched or {}).items():
            if (item := items.get(place)) is not None:
                head = (name, item.flags, len(item.raw), item.unique)
                said += b"VALUE %b %d %d %b\r\n%b\r\n" % (*head, item.raw)
        said += b"END\r\n"
    return said


@quick
@given(data=st.data())
def test_a_look_is_read_quickly_as_it_is_read_carefully(data: Any) -> None:
    """Whatever is there, in whatever pieces it comes, and whatever it looks like."""
    ring = Ring([("a", 1)])
    tags = data.draw(st.lists(st.sampled_from(["~stamp~", "~m:f", "~t:x"]), unique=True))
    question = question_of(ring, "p:", "key", tuple(tags))
    token = st.sampled_from(
        [b"A" * 16, b"." + b"B" * 16, b"x\r\ny", b"\r\n" + b"C" * 14, b"", b"D"]
    )
    entry = st.sampled_from([b"", b"END\r\n", b"x" * 90, b"\r\nEND", b"VALUE k 0 16 1\r\n" * 4])
    items = {}
    for place in (question.spot.entry, question.spot.key_version, question.spot.space):
        if data.draw(st.integers(0, 9)):
            raw = data.draw(entry if place == question.spot.entry else token)
            items[place] = protocol.Item(raw, data.draw(st.sampled_from([0, 0, 1])), b"7")
    for place in question.tags:
        items.setdefault(place, protocol.Item(data.draw(token), 0, b"9"))
    sent = answer_to(question, items)
    expected = question.seen_in(protocol.Answers(question.commands).feed(sent) or [])
    assert (quickly := question.read(sent)) is None or quickly == expected
    reading, found = question.reading(), None
    while sent:
        size = data.draw(st.sampled_from([1, 7, len(sent)]))
        piece, sent = sent[:size], sent[size:]
        found = reading(piece)
        assert (found is None) is bool(sent)
    assert found == [expected]


def test_a_whole_answer_is_read_quickly() -> None:
    """An entry with all versions that it depends on: a hit."""
    question = question_of(Ring([("a", 1)]), "p:", "key", ("~stamp~", "~m:f"))
    tokens = [question.spot.key_version, *question.tags]
    items = {place: protocol.Item(bytes([65 + n]) * 16, 0, b"1") for n, place in enumerate(tokens)}
    for number in range(3):
        items[question.spot.entry] = protocol.Item(b"\r\nEND\r\n" * number, 0, b"4%d" % number)
        seen = question.read(answer_to(question, items))
        assert seen == (items[question.spot.entry], "A" * 16, "B" * 16, ("B" * 16, "C" * 16))
        items[question.tags[1]] = protocol.Item(b"C" * 16, 0, b"2%d" % number)
    items[question.tags[1]] = protocol.Item(b"D" * 16, 0, b"22")
    seen = question.read(answer_to(question, items))
    assert seen is not None and seen.tags == ("B" * 16, "D" * 16)


@table("size", [b"-2", b"+0", b"0_0", b"x"])
def test_a_size_that_is_no_number_is_no_answer(size: bytes) -> None:
    """What follows it would be taken for something else."""
    answers = protocol.Answers(protocol.gets([(0, "k")]))
    with pytest.raises(BackendError, match="VALUE k"):
        answers.feed(b"VALUE k 0 %b 9\r\n\r\nEND\r\n" % size)


def test_an_item_that_nobody_asked_for_is_no_answer() -> None:
    """It is the answer to another question."""
    answers = protocol.Answers(protocol.gets([(0, "k")]))
    with pytest.raises(BackendError, match="VALUE j"):
        answers.feed(b"VALUE j 0 1 9\r\nx\r\nEND\r\n")


# --- in apps --------------------------------------------------------------------------------------


def test_views_of_both_colours_are_cached(make: Make) -> None:
    """Each async view on a loop that ends with its request."""
    cache = make()
    app, calls = cache.app, itertools.count()

    @app.get("/sync")
    @cache.cached(60)
    def sync_view() -> str:
        return f"sync {next(calls)}"

    @app.get("/async")
    @cache.cached(60, query_string=True)
    async def async_view() -> str:
        await cache.ainc("asked")
        return f"async {next(calls)} {await cache.aget('asked')}"

    client = app.test_client()
    assert client.get("/sync").text == client.get("/sync").text
    first = client.get("/async?a=1").text
    assert client.get("/async?a=1").text == first != client.get("/async?a=2").text
    assert cache.delete("view//sync") and cache.get("asked") == 2
    assert client.get("/sync").text == "sync 3"
    cache.clear()
    assert client.get("/async?a=1").text == "async 4 1"


@pytest.mark.asyncio
async def test_many_tasks_of_a_lasting_loop_cause_one_computation(make: Make) -> None:
    """Natively, also of a method of an object."""
    cache, calls = make(), []

    class Works:
        def __repr__(self) -> str:
            return "Works()"

        @cache.memoize(60)
        async def number(self, x: int) -> int:
            calls.append(x)
            if len(calls) == 1:
                await auntil(lambda: cache.stats().waits == 29)
            return x

    async with cache:
        works = Works()
        assert await asyncio.gather(*[works.number(1) for _ in range(30)]) == [1] * 30
        assert calls == [1]
        await cache.adelete_memoized(works.number)
        assert await works.number(1) == 1 and calls == [1, 1]


def test_sync_code_on_many_threads_causes_one_computation(make: Make) -> None:
    """As in a WSGI server."""
    cache, calls = make(), []

    @cache.memoize(60)
    def slow(x: int) -> int:
        calls.append(x)
        until(lambda: cache.stats().waits == 11)
        return x

    assert together(*[lambda: slow(3)] * 12) == [3] * 12
    assert calls == [3]


def test_run_now_drives_every_step(make: Make) -> None:
    """The blocking wire never suspends."""
    backend = make().cache
    wire = backend._transports.blocking()
    assert run_now(wire.batch([])) == []
