"""A backend that fails: pages go on, quickly, and what was deleted meanwhile stays deleted."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.exceptions import BackendError, BackendTimeout, CacheError
from support.faces import COLOURS, Face
from support.fault_proxy import FaultProxy
from support.network import Traffic
from support.params import cases
from support.servers import RedisServer
from support.waiting import until

#: Faults that are seen at once, and those that only a time limit ends.
QUICK, SILENT = ("refuse", "garbage", "killed"), ("silence", "stopped")
FAULTS = (*QUICK, *SILENT)

#: A busy machine is no dead server; but where that is tested, a limit must pass.
PATIENT: dict[str, Any] = {"CACHE_CONNECT_TIMEOUT": 10, "CACHE_OPERATION_TIMEOUT": 10}
LIMITED: dict[str, Any] = {"CACHE_CONNECT_TIMEOUT": 0.3, "CACHE_OPERATION_TIMEOUT": 0.3}


def limits(fault: str) -> dict[str, Any]:
    """The settings of a cache whose server will have a fault."""
    return {**LIMITED, "CACHE_BREAKER_THRESHOLD": 2} if fault in SILENT else {}


class Broken:
    """A server behind a proxy, and the ways in which it can fail."""

    def __init__(self, server: Any, proxy: FaultProxy) -> None:
        self.server, self.proxy = server, proxy

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def break_it(self, fault: str) -> None:
        """Let it fail."""
        if fault == "stopped":
            self.server.pause()
        elif fault == "killed":
            self.server.kill()
        else:
            getattr(self.proxy, fault)()

    def mend(self, fault: str) -> None:
        """Let it work again."""
        if fault == "stopped":
            self.server.resume()
        elif fault == "killed":
            self.server.restart()
        else:
            self.proxy.heal()


@pytest.fixture(params=["redis", "memcached"])
def broken(request: pytest.FixtureRequest) -> Iterator[Broken]:
    """A server of each kind."""
    server = request.getfixturevalue(f"clean_{request.param}")
    with FaultProxy(server.port) as proxy:
        yield Broken(server, proxy)


def config_of(broken: Broken, **more: Any) -> dict[str, Any]:
    """The configuration of a cache on that server."""
    port = broken.proxy.port
    if isinstance(broken.server, RedisServer):
        where = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": f"redis://127.0.0.1:{port}"}
    else:
        where = {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": [f"127.0.0.1:{port}"]}
    return {**where, **PATIENT, "CACHE_BREAKER_RESET": 0.2, "CACHE_ON_ERROR": "log", **more}


class Pages:
    """An app with a sync and an async page, which say how often they were computed."""

    def __init__(self, broken: Broken, **config: Any) -> None:
        self.app = Flask(__name__)
        self.cache = Cache(self.app, config=config_of(broken, **config))
        self.computed = {"sync": 0, "async": 0}
        for colour in self.computed:
            self._add(colour)
        self.client = self.app.test_client()

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def _add(self, colour: str) -> None:
        def page() -> str:
            self.computed[colour] += 1
            return f"{colour} page"

        view = Face(self.cache, colour).cached(60)(page)
        self.app.add_url_rule(f"/{colour}", colour, view)

    def get(self, colour: str) -> None:
        """Ask for a page."""
        answer = self.client.get(f"/{colour}")
        assert (answer.status_code, answer.text) == (200, f"{colour} page")

    def is_hit(self, colour: str) -> bool:
        """Ask for a page; whether it was there."""
        before = self.computed[colour]
        self.get(colour)
        return self.computed[colour] == before

    def is_down(self) -> bool:
        """Whether the breaker is open."""
        return bool(self.cache._binding().engine.store.failures.breaker.is_open)

    def wear_out(self, colour: str) -> int:
        """Ask until the breaker opens; how many requests that took."""
        for asked in itertools.count():
            if self.is_down():
                return asked
            self.get(colour)
        raise AssertionError("unreachable")

    async def wait_for_recovery(self) -> None:
        """Wait until the backend has been found again."""
        await asyncio.to_thread(until, lambda: not self.is_down())


@cases(
    "fault",
    FAULTS,
    ways=("broken,colour", itertools.product(["redis", "memcached"], COLOURS)),
    whole=("redis-sync", "memcached-sync"),
    everywhere=("refuse", "silence"),
)
def test_a_dead_backend_costs_a_few_attempts_and_then_none(
    broken: Broken, colour: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first requests lose a time limit at most, later ones nothing; then it is back."""
    site = Pages(broken, **limits(fault))
    site.get(colour)
    until(lambda: site.is_hit(colour))
    broken.break_it(fault)
    assert site.wear_out(colour) <= (2 if fault in SILENT else 5)
    traffic = Traffic(broken.proxy.port).watch(monkeypatch)
    for _ in range(40):
        site.get(colour)
    assert traffic.attempts == 0 and site.is_down()
    broken.mend(fault)
    until(lambda: not site.is_down())
    until(lambda: site.is_hit(colour))
    assert traffic.attempts > 0


def test_a_slow_backend_is_waited_for(broken: Broken, colour: str) -> None:
    """100 ms for an answer is slow, but it is an answer."""
    site = Pages(broken)
    site.get(colour)
    until(lambda: site.is_hit(colour))
    broken.proxy.delay(0.1)
    assert [site.is_hit(colour) for _ in range(3)] == [True] * 3
    assert not site.is_down()


@pytest.mark.parametrize("fault", ["refuse", "silence"])
def test_a_deletion_while_the_backend_is_down_is_not_undone(
    broken: Broken, colour: str, fault: str
) -> None:
    """It says False, and is made before anything is read again: of each kind of deletion."""

    async def story() -> None:
        site = Pages(broken, **limits(fault))
        face = Face(site.cache, colour)
        numbers: list[int] = []

        def count(a: int) -> int:
            numbers.append(a)
            return len(numbers)

        def also(a: int) -> int:
            return count(a)

        def tagged(a: int) -> int:
            return count(a)

        by_call, by_function = face.memoize(60)(count), face.memoize(60)(also)
        by_tag = face.memoize(60, tags=["t"])(tagged)
        first = [await face.call(f, 1) for f in (by_call, by_function, by_tag)]
        await face.set("key", "old")
        await face.set("other", "old")
        broken.break_it(fault)
        while not site.is_down():
            await face.get("anything")
        assert not await face.delete("key")
        assert await face.delete_many("other") == []
        assert not await face.delete_tags("t")
        await face.delete_memoized(by_call, 1)
        await face.delete_memoized(by_function)
        broken.mend(fault)
        await site.wait_for_recovery()
        assert await face.get_many("key", "other") == [None, None]
        again = [await face.call(f, 1) for f in (by_call, by_function, by_tag)]
        assert again == [first[-1] + 1, first[-1] + 2, first[-1] + 3]

    asyncio.run(story())


@pytest.mark.asyncio
async def test_clear_while_the_backend_is_down_is_made_up_for(broken: Broken, colour: str) -> None:
    """Everything goes, plain values too."""
    site = Pages(broken)
    face = Face(site.cache, colour)
    await face.set("key", "old")
    broken.break_it("refuse")
    while not site.is_down():
        await face.get("anything")
    assert not await face.clear()
    broken.mend("refuse")
    await site.wait_for_recovery()
    assert await face.get("key") is None


@pytest.mark.asyncio
async def test_a_set_that_failed_leaves_no_older_value(broken: Broken, colour: str) -> None:
    """And a later one that succeeds is not deleted."""
    site = Pages(broken, CACHE_BREAKER_THRESHOLD=0)
    face = Face(site.cache, colour)
    await face.set("key", "old")
    await face.set("other", "old")
    broken.break_it("refuse")
    assert not await face.set("key", "new")
    assert not await face.set("other", "new")
    broken.mend("refuse")
    assert await face.set("other", "newer")
    assert await face.get_many("key", "other") == [None, "newer"]


@pytest.mark.asyncio
async def test_one_deletion_that_timed_out_is_made_up_for_before_the_next_read(
    broken: Broken, colour: str
) -> None:
    """The breaker need not have opened for that."""
    site = Pages(broken, **LIMITED)
    face = Face(site.cache, colour)
    await face.set("key", "old")
    broken.break_it("silence")
    assert not await face.delete("key")
    assert not site.is_down()
    broken.mend("silence")
    assert await face.get("key") is None


@pytest.mark.asyncio
async def test_a_value_computed_before_a_deletion_that_failed_is_not_served(
    broken: Broken, colour: str
) -> None:
    """It is stored by nobody, be the backend back before it ends."""
    site = Pages(broken)
    face = Face(site.cache, colour)
    calls: list[int] = []

    def body(a: int) -> int:
        calls.append(a)
        if len(calls) == 1:
            broken.break_it("refuse")
            assert not site.cache.delete_memoized(function)
            broken.mend("refuse")
        return len(calls)

    function = face.memoize(60)(body)
    assert await face.call(function, 1) == 1
    assert await face.call(function, 1) == 2


@pytest.mark.asyncio
async def test_too_many_deletions_become_one_of_everything(broken: Broken, colour: str) -> None:
    """What is remembered is bounded."""
    site = Pages(broken)
    face = Face(site.cache, colour)
    await face.set("kept by nobody", 1)
    broken.break_it("refuse")
    while not site.is_down():
        await face.get("anything")
    await face.delete_many(*[f"key {n}" for n in range(1500)])
    owed = site.cache._binding().engine.sync.pending
    assert owed.everything and owed.look()[1:3] == ([], [])
    broken.mend("refuse")
    await site.wait_for_recovery()
    assert await face.get("kept by nobody") is None and not owed


def test_an_outage_is_a_few_lines_in_the_log(
    broken: Broken, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """When it begins, the first deletion that was not made, and when it is over.

    And that the backend is left alone, and is not any more.
    """
    site = Pages(broken)
    site.get(colour)
    with caplog.at_level(logging.INFO, logger="flask_caching_async"):
        broken.break_it("refuse")
        site.wear_out(colour)
        for n in range(50):
            site.get(colour)
            site.cache.delete(f"key {n}")
        broken.mend("refuse")
        until(lambda: not site.is_down())
        for _ in range(10):
            site.get(colour)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 6, lines
    assert "go on without it" in lines[0] and "is left alone" in lines[1]
    assert "is not deleted yet" in lines[2] and "are made" in lines[3]
    assert "works again" in lines[4] and "left alone no more" in lines[5]


@pytest.mark.asyncio
@pytest.mark.parametrize(("fault", "kind"), [("refuse", BackendError), ("silence", BackendTimeout)])
async def test_errors_are_one_tree_where_they_are_raised(
    broken: Broken, colour: str, fault: str, kind: type[Exception]
) -> None:
    """``CACHE_ON_ERROR="raise"``: the driver's error is the cause."""
    site = Pages(broken, CACHE_ON_ERROR="raise", **LIMITED)
    face = Face(site.cache, colour)
    function = face.memoize()(lambda a: a)
    broken.break_it(fault)
    calls: list[Callable[[], Any]] = [
        lambda: face.get("key"),
        lambda: face.set("key", 1),
        lambda: face.delete("key"),
        lambda: face.call(function, 1),
    ]
    for call in calls:
        with pytest.raises(kind) as caught:
            await call()
        assert isinstance(caught.value, CacheError) and caught.value.__cause__ is not None
    with pytest.raises(BackendError):
        await face.clear()
    with pytest.raises(BackendError, match="is down"):
        await face.get("key")


@pytest.mark.asyncio
async def test_after_a_failed_operation_a_call_makes_no_further_one(
    broken: Broken, colour: str
) -> None:
    """One timeout for each call, not one for each step of it."""
    site = Pages(broken, **LIMITED)
    face = Face(site.cache, colour)
    function = face.memoize(60, tags=["t"])(lambda a: a)
    await face.call(function, 0)
    broken.break_it("silence")
    before = broken.proxy.requests
    assert await face.call(function, 1) == 1
    assert broken.proxy.requests - before <= 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_native_loop_is_as_safe(
    broken: Broken, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``redis.asyncio`` and ``aiomcache`` on a loop of their own."""

    async def story() -> None:
        site = Pages(broken, **limits(fault))

        @site.cache.memoize(60)
        async def double(n: int) -> int:
            return 2 * n

        async def is_hit() -> bool:
            computed = site.cache.stats().computed
            assert await double(2) == 4
            return site.cache.stats().computed == computed

        async with site.cache:
            assert await double(2) == 4
            broken.break_it(fault)
            while not site.is_down():
                assert await double(2) == 4
            with monkeypatch.context() as patch:
                traffic = Traffic(broken.proxy.port).watch(patch)
                assert [await double(n) for n in range(20)] == [2 * n for n in range(20)]
                assert traffic.attempts == 0
            broken.mend(fault)
            await site.wait_for_recovery()
            while not await is_hit():
                pass

    asyncio.run(story())
