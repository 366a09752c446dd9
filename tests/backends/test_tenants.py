"""Tenants: a callable ``CACHE_KEY_PREFIX`` says whose turn it is; nobody sees what is others'."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import pytest_asyncio
from flask import Flask, g, request

from flask_caching_async import Cache, binding
from flask_caching_async.exceptions import InvalidKeyError
from flask_caching_async.testing import FakeClock
from support.faces import COLOURS, Face
from support.fault_proxy import FaultProxy
from support.lanes import CAREFUL, LANES, Enter, failures_of, insist
from support.params import cases
from support.servers import HOST, RedisServer
from support.waiting import PATIENCE, auntil, together, until

#: Whose turn it is.
tenant: ContextVar[str] = ContextVar("tenant")


def prefix() -> str:
    """Where the current tenant's keys are; raises where there is no tenant."""
    return f"{tenant.get()}:"


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Be a tenant for a while."""
    token = tenant.set(name)
    try:
        yield
    finally:
        tenant.reset(token)


def cache_on(server: Any, **config: Any) -> Cache:
    """A cache of several tenants."""
    common: dict[str, Any] = {"CACHE_TYPE": "RedisCache", "CACHE_KEY_PREFIX": prefix}
    common["CACHE_REDIS_URL"] = f"redis://{HOST}:{server.port}"
    return Cache(Flask("site"), config={**CAREFUL, **common, **config})


@pytest.fixture
def cache(clean_redis: RedisServer) -> Iterator[Cache]:
    """A cache of several tenants on an empty server."""
    cache = cache_on(clean_redis)
    yield cache
    cache.cache.close()


@pytest_asyncio.fixture
async def face(cache: Cache, enter: Enter) -> Face:
    """A cache of several tenants, in every lane."""
    face: Face = await enter(cache)
    return face


def owners(server: RedisServer) -> set[str]:
    """What stands before the first colon in all names."""
    return {name.partition(":")[0] for name in server.ask("KEYS", "*")}


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_no_operation_reaches_another_tenants_keys(
    face: Face, clean_redis: RedisServer
) -> None:
    """All of them, under the same names; deletions and ``clear`` hit only one's own."""
    for number, name in enumerate(("a", "b", "c")):
        with acting_as(name):
            assert await face.get("k") is None and not await face.has("k")
            assert await face.set("k", name) and await face.set("tagged", name, tags=["t"])
            assert await face.set_many({"x": number, "y": [name]})
            assert await face.add("added", name) and await face.inc("n", number + 1) == number + 1
            assert await face.get_or_set("or", lambda name=name: name) == name
    for deletion in (
        lambda: face.delete("k"),
        lambda: face.delete_many("x", "y"),
        lambda: face.unlink("added"),
        lambda: face.delete_tags("t"),
        lambda: face.clear(),
    ):
        with acting_as("a"):
            assert await deletion()
        with acting_as("b"):
            found = await face.get_many("k", "x", "y", "tagged", "added", "n", "or")
            assert found == ["b", 1, ["b"], "b", "b", 2, "b"]
            assert not await face.add("added", 1)
    with acting_as("a"):
        assert await face.get_many("k", "x", "tagged", "n", "or") == [None] * 5
    assert owners(clean_redis) == {"b", "c"}


@pytest.mark.asyncio
async def test_what_functions_return_is_kept_for_each_tenant(face: Face) -> None:
    """Memoized calls and pages under one key; each deletion is for one tenant."""
    f = face.memoize(tags=["t"])(lambda n: f"{tenant.get()} {n}")
    page = face.cached(key_prefix="page")(lambda: tenant.get())
    for _ in range(2):
        for name in ("a", "b"):
            with acting_as(name):
                assert await face.call(f, 1) == f"{name} 1" and await face.call(page) == name
    assert face.cache.stats().computed == 4 == face.cache.stats().hits
    computed = 4
    for deletion in (
        lambda: face.delete_memoized(f),
        lambda: face.delete_memoized(f, 1),
        lambda: face.delete_tags("t"),
        lambda: face.delete_cached(page),
        lambda: face.call(f.refresh, 1),
    ):
        with acting_as("a"):
            assert await deletion()
            assert await face.call(f, 1) == "a 1" and await face.call(page) == "a"
            computed += 1
            assert face.cache.stats().computed == computed
        with acting_as("b"):
            assert await face.call(f, 1) == "b 1" and await face.call(page) == "b"
        assert face.cache.stats().computed == computed


@pytest.mark.asyncio
async def test_a_prefix_may_look_like_a_pattern_or_be_a_number(
    clean_redis: RedisServer, enter: Enter
) -> None:
    """``clear`` takes it literally."""
    numbers: ContextVar[Any] = ContextVar("numbers")
    cache = cache_on(clean_redis, CACHE_KEY_PREFIX=numbers.get)
    face = await enter(cache)
    for name in ("a*:", "ab:", "a?:", "[ab]:", 7, 17):
        numbers.set(name)
        assert await face.set("k", name)
    for name in ("a*:", "[ab]:", 7):
        numbers.set(name)
        assert await face.clear() and await face.get("k") is None
    for name in ("ab:", "a?:", 17):
        numbers.set(name)
        assert await face.get("k") == name
    cache.cache.close()


@pytest.mark.asyncio
async def test_many_tenants_at_once_share_connections_and_nothing_else(
    clean_redis: RedisServer, enter: Enter
) -> None:
    """A hundred of them, by turns in the same tasks and threads, over three connections."""
    cache = cache_on(clean_redis, CACHE_OPTIONS={"max_connections": 3})
    face = await enter(cache)
    f = face.memoize()(lambda n: f"{tenant.get()} {n}")
    before = clean_redis.ask("INFO", "stats")["total_connections_received"]

    async def work(number: int) -> bool:
        for turn in range(3):
            name = f"tenant {(number + turn) % 100}"
            with acting_as(name):
                await face.set("k", name)
                assert await face.get_many("k", "none") == [name, None]
                assert await face.call(f, turn) == f"{name} {turn}"
        return True

    if face.is_async:
        assert await asyncio.gather(*[work(n) for n in range(100)]) == [True] * 100
    else:
        threads = [lambda n=n: asyncio.run(work(n)) for n in range(100)]
        assert await asyncio.to_thread(together, *threads) == [True] * 100
    received = clean_redis.ask("INFO", "stats")["total_connections_received"] - before - 1
    assert received <= 3 + 3 * face.is_async
    cache.cache.close()


def test_the_backend_itself_asks_whose_turn_it_is(cache: Cache) -> None:
    """Also where somebody uses it without the cache around it."""
    with acting_as("a"):
        assert cache.cache.set("k", 1) and cache.cache.get("k") == 1 == cache.get("k")
        assert asyncio.run(cache.cache.aget("k")) == 1
    with acting_as("b"):
        assert cache.cache.get("k") is None
        assert cache.cache.get_many("k") == [None]


# --- what names no tenant -------------------------------------------------------------------------

#: What a callable may answer by mistake, and how the error calls it.
NO_TENANT = {"": "empty text", None: "a NoneType", b"a": "a bytes", False: "a bool", (): "a tuple"}


@pytest.mark.asyncio
@cases("answer", NO_TENANT, ways=("lane", LANES))
async def test_a_prefix_that_names_no_tenant_is_refused(
    clean_redis: RedisServer, enter: Enter, answer: Any
) -> None:
    """``clear`` would empty the database of all tenants. Each operation says what to do."""
    clean_redis.ask("SET", "foreign", 1)
    cache = cache_on(clean_redis, CACHE_KEY_PREFIX=lambda: answer, CACHE_ON_ERROR="log")
    face = await enter(cache)
    message = f"CACHE_KEY_PREFIX answered {NO_TENANT[answer]}, .*let it return text"
    for operation in (
        lambda: face.clear(),
        lambda: face.get("k"),
        lambda: face.set("k", 1),
        lambda: face.delete("k"),
        lambda: face.get_or_set("k", 1),
    ):
        with pytest.raises(InvalidKeyError, match=message):
            await operation()
    with pytest.raises(InvalidKeyError, match=message):
        cache.cache.clear()
    assert clean_redis.ask("KEYS", "*") == ["foreign"]
    cache.cache.close()


@pytest.mark.parametrize("view_is", COLOURS)
@pytest.mark.parametrize("on_error", ["log", "raise"])
def test_a_page_whose_prefix_fails_is_answered_without_the_cache(
    clean_redis: RedisServer, view_is: str, on_error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As where any callback that makes the key fails; where errors are raised, this one is, too."""
    for fail in (lambda: "", lambda: tenant.get()):  # which raises: there is none
        cache = cache_on(clean_redis, CACHE_KEY_PREFIX=fail, CACHE_ON_ERROR=on_error)
        app, calls = cache.app, list[int]()
        assert app is not None
        app.testing = True
        view = Face(cache, view_is).cached(60)(lambda calls=calls: calls.append(1) or "page")
        app.add_url_rule("/", "page", view)
        if on_error == "raise":
            with pytest.raises((InvalidKeyError, LookupError)):
                app.test_client().get("/")
        else:
            assert [app.test_client().get("/").text for _ in range(3)] == ["page"] * 3
            assert len(calls) == 3 and "it is called without the cache" in caplog.text
        cache.cache.close()


# --- any number of tenants ------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_so_many_tenants_take_a_bounded_memory(
    cache: Cache, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefix may be made of what visitors send. Who has not come for long is forgotten here, and
    not on the server."""
    monkeypatch.setattr(binding, "TENANTS", 20)
    face = await enter(cache)
    f = face.memoize()(lambda: f"of {tenant.get()}")
    for n in range(100):
        with acting_as(f"host {n}"):
            assert await face.set("k", n) and await face.call(f) == f"of host {n}"
    gc.collect()
    engines = cache._binding().engines
    assert len(engines._recent) == 20 and len(engines._living) <= 21
    failures = engines._first.store.failures
    assert not failures.owing and len(failures._of_prefixes) <= 22
    computed = cache.stats().computed
    for n in (0, 50, 99):
        with acting_as(f"host {n}"):
            assert await face.get("k") == n and await face.call(f) == f"of host {n}"
    assert cache.stats().computed == computed
    assert next(reversed(engines._recent)) == "host 99:"


@pytest.mark.asyncio
async def test_what_a_forgotten_tenant_has_deleted_stays_deleted(
    redis_proxy: FaultProxy, clean_redis: RedisServer, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion that is pending is kept until it was made, by its tenant or by the recovery."""
    monkeypatch.setattr(binding, "TENANTS", 3)
    for recovers in (False, True):
        more = {"CACHE_BREAKER_THRESHOLD": 2 * recovers, "CACHE_BREAKER_RESET": 0.05}
        cache = cache_on(redis_proxy, CACHE_ON_ERROR="log", **more)
        face = await enter(cache)
        with acting_as("a"):
            assert await insist(lambda face=face: face.set("k", "old"))
        redis_proxy.refuse()
        for n in range(9):
            with acting_as(f"{n}" if n else "a"):
                assert await face.delete("k") is False
        gc.collect()
        engines = cache._binding().engines
        assert "a:" not in engines._recent and len(engines._first.store.failures.owing) == 9
        redis_proxy.heal()
        if recovers:
            await auntil(lambda: not engines._first.store.failures.owing)  # noqa: B023
            assert clean_redis.ask("EXISTS", "a:k") == 0
        with acting_as("a"):
            assert await face.get("k") is None
        cache.cache.close()


@pytest.mark.asyncio
async def test_a_tenant_that_computes_is_found_again(
    cache: Cache, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many others come meanwhile: its callers follow the one who computes."""
    monkeypatch.setattr(binding, "TENANTS", 3)
    face = await enter(cache)
    go, calls = threading.Event(), list[str]()

    def slow() -> str:
        calls.append(tenant.get())
        assert go.wait(PATIENCE)
        return "value"

    f = cache.memoize()(slow)
    with acting_as("a"):
        leading = asyncio.ensure_future(asyncio.to_thread(f))
        await auntil(lambda: calls == ["a"])
    for n in range(9):
        with acting_as(f"{n}"):
            assert await face.set("k", n)
    gc.collect()
    assert "a:" not in cache._binding().engines._recent
    with acting_as("a"):
        following = asyncio.ensure_future(asyncio.to_thread(f))
        await auntil(lambda: cache.stats().waits == 1)
    go.set()
    assert await leading == await following == "value" and calls == ["a"]


# --- flights --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_tenants_do_not_wait_for_one_another(face: Face) -> None:
    """The same key at the same time: each computes its own, and only one's own callers follow."""
    entered, go = threading.Event(), threading.Event()
    calls: list[str] = []

    def body() -> str:
        calls.append(tenant.get())
        if tenant.get() == "a":
            entered.set()
            assert go.wait(PATIENCE)
        return tenant.get()

    slow = face.cache.memoize()(body)
    f = face.memoize()(body)
    with acting_as("a"):
        leading = [asyncio.ensure_future(asyncio.to_thread(slow)) for _ in range(3)]
        await auntil(lambda: entered.is_set() and face.cache.stats().waits == 2)
    with acting_as("b"):
        assert await face.call(f) == "b"
        assert await face.get_or_set(f.make_cache_key(f.uncached), lambda: "new") == "b"
        assert await face.delete_memoized(f) and await face.clear()
    go.set()
    assert await asyncio.gather(*leading) == ["a"] * 3
    assert calls == ["a", "b"]
    with acting_as("a"):
        assert await face.call(f) == "a", "what b has deleted was b's"
    assert calls == ["a", "b"]


# --- a server that is down ------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_one_tenant_owes_is_its_own(
    redis_proxy: FaultProxy, clean_redis: RedisServer, enter: Enter
) -> None:
    """A deletion that failed is made up for by whose it was; another one's equal key stays."""
    cache = cache_on(redis_proxy, CACHE_ON_ERROR="log", CACHE_BREAKER_THRESHOLD=0)
    face = await enter(cache)
    for name in ("a", "b"):
        with acting_as(name):
            assert await face.set_many({"k": name, "other": name})
    redis_proxy.refuse()
    with acting_as("a"):
        assert await face.delete("k") is False
    redis_proxy.heal()
    with acting_as("b"):
        assert await face.get_many("k", "other") == ["b", "b"]
    assert clean_redis.ask("EXISTS", "a:k", "b:k") == 2, "it is not b's to pay"
    with acting_as("a"):
        assert await face.get_many("k", "other") == [None, "a"]
    assert clean_redis.ask("EXISTS", "a:k", "b:k") == 1
    cache.cache.close()


@pytest.mark.parametrize("fault", ["refuse", "silence"])
@pytest.mark.asyncio
async def test_a_server_that_was_down_is_found_again_though_nobody_has_a_turn(
    redis_proxy: FaultProxy, clean_redis: RedisServer, enter: Enter, fault: str
) -> None:
    """The thread that looks for it is no tenant; then the debts of all tenants are paid."""
    times = {"CACHE_CONNECT_TIMEOUT": 0.2, "CACHE_OPERATION_TIMEOUT": 0.2}
    cache = cache_on(redis_proxy, CACHE_ON_ERROR="log", CACHE_BREAKER_RESET=0.1, **times)
    face = await enter(cache)
    for name in ("a", "b", "c"):
        with acting_as(name):
            assert await insist(lambda name=name: face.set("k", name))
    with acting_as("a"):
        failed = failures_of(cache)  # those of all tenants
    breaker = cache._binding().engines._first.store.failures.breaker
    getattr(redis_proxy, fault)()
    while not breaker.is_open:
        with acting_as("c"):
            assert await face.get("k") is None
    failed.clear()
    for name in ("a", "b"):
        with acting_as(name):
            assert await face.delete("k") is False
    assert failed == [], "nobody tries: it has failed for all of them"
    redis_proxy.heal()
    await auntil(lambda: not breaker.is_open)
    assert clean_redis.ask("EXISTS", "a:k", "b:k", "c:k") == 1
    with acting_as("c"):
        assert await insist(lambda: face.get("k")) == "c"
    cache.cache.close()


# --- in an app ------------------------------------------------------------------------------------


class TenantSite:
    """An app whose pages name their tenant, with the prefix taken from somewhere."""

    def __init__(self, server: RedisServer, prefix: Callable[[], Any], view_is: str) -> None:
        self.cache = cache_on(server, CACHE_KEY_PREFIX=prefix)
        self.clock = self.cache.cache.clock = FakeClock()  # nobody has a turn yet
        self.face = Face(self.cache, view_is)
        self.app = self.cache.app
        self.app.before_request(self.arrive)
        self.calls: list[str] = []
        view = self.face.cached(10, stale_while_revalidate=600)(self.page)
        self.app.add_url_rule("/", "page", view)
        self.data = self.face.memoize(10, stale_while_revalidate=600)(self.load)
        self.app.add_url_rule("/data", "data", self.face.dye(self.show))
        if view_is == "async":
            self.app.view_functions["data"] = self.ashow
        self.go = threading.Event()
        self.go.set()

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def arrive(self) -> None:
        g.tenant = request.headers["X-Tenant"]
        tenant.set(g.tenant)

    def page(self) -> str:
        assert self.go.wait(PATIENCE)
        self.calls.append(g.tenant)
        return f"page of {g.tenant}, {self.calls.count(g.tenant)}"

    def load(self, n: int) -> str:
        assert self.go.wait(PATIENCE)
        self.calls.append(g.tenant)
        return f"data of {g.tenant}, {self.calls.count(g.tenant)}"

    def show(self) -> str:
        return str(self.data(1))

    async def ashow(self) -> str:
        return str(await self.data(1))

    def get(self, name: str, path: str = "/") -> str:
        """What a visitor of a tenant sees."""
        response = self.app.test_client().get(path, headers={"X-Tenant": name})
        assert response.status_code == 200
        return response.text


#: What lies at a path: a cached view, and a view of a memoized function.
PATHS = {"/": "page", "/data": "data"}

PREFIXES: dict[str, Callable[[], Any]] = {
    "g": lambda: f"{g.tenant}:",
    "request": lambda: f"{request.headers['X-Tenant']}:",
    "context variable": prefix,
}


@pytest.mark.parametrize("view_is", COLOURS)
@pytest.mark.parametrize("source", PREFIXES)
def test_a_prefix_from_the_request(clean_redis: RedisServer, source: str, view_is: str) -> None:
    """From ``flask.g``, the request or a context variable; in views of both colours."""
    for path, kind in PATHS.items():
        clean_redis.flush()
        site = TenantSite(clean_redis, PREFIXES[source], view_is)
        for name in ("a", "b", "a", "b"):
            assert site.get(name, path) == f"{kind} of {name}, 1"
        names = [f"{n}" for n in range(8)] * 3
        answers = together(*[lambda name=name: site.get(name, path) for name in names])  # noqa: B023
        assert answers == [f"{kind} of {name}, 1" for name in names]
        assert owners(clean_redis) == {"a", "b", *names}
        site.cache.cache.close()


@pytest.mark.parametrize("view_is", COLOURS)
@pytest.mark.parametrize("source", PREFIXES)
def test_a_background_refresh_stays_with_its_tenant(
    clean_redis: RedisServer, source: str, view_is: str
) -> None:
    """It goes on when the request is over and other tenants are served, and is stored where it
    belongs."""
    for path, kind in PATHS.items():
        clean_redis.flush()
        site = TenantSite(clean_redis, PREFIXES[source], view_is)
        for name in ("a", "b"):
            assert site.get(name, path) == f"{kind} of {name}, 1"
        site.clock.advance(11)
        site.go.clear()
        for name in ("a", "b", "a"):
            assert site.get(name, path) == f"{kind} of {name}, 1", "stale, and at once"
        site.go.set()
        until(lambda: len(site.calls) == 4)  # noqa: B023
        for name in ("a", "b"):
            fresh = f"{kind} of {name}, 2"
            until(lambda: site.get(name, path) == fresh)  # noqa: B023
        assert sorted(site.calls) == ["a", "a", "b", "b"]
        assert owners(clean_redis) == {"a", "b"}
        site.cache.cache.close()
