"""However many ask for a key at the same time, and from wherever: one of them computes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import trio
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async._flow.ports import SyncPorts
from flask_caching_async._runtime.colour import run_now
from flask_caching_async.backends.base import Lease
from flask_caching_async.testing import FakeClock
from support.params import cases, each_pace
from support.stages import Body, Stage, story
from support.waiting import auntil, together, until

STATES = ("cold", "expired", "deleted", "forced")

#: A key in each state on our backends; on others, what a computation is shared in is the same.
each_state = pytest.mark.parametrize(
    ("embedded", "state"),
    [(kind, state) for kind in ("SimpleCache", "FileSystemCache") for state in STATES]
    + [(kind, "cold") for kind in ("cachelib", "async-only")],
    indirect=["embedded"],
)


class Shared:
    """A sync and an async function under one key, whose call lasts until all others wait for it."""

    def __init__(self, cache: Cache, crowd: int) -> None:
        self.cache, self.crowd = cache, crowd
        self.forced = False
        self.slow = False
        self.calls = 0
        self._numbers = itertools.count(1)
        options: Any = {"timeout": 60, "key_prefix": "k", "forced_update": lambda: self.forced}
        self.plain = cache.cached(**options)(self._plain)
        self.coroutine = cache.cached(**options)(self._coroutine)

    def _plain(self) -> int:
        self.calls = number = next(self._numbers)
        if self.slow:
            until(self._all_wait)
        return number

    async def _coroutine(self) -> int:
        self.calls = number = next(self._numbers)
        if self.slow:
            await auntil(self._all_wait)
        return number

    def _all_wait(self) -> bool:
        return self.cache.stats().waits >= self.crowd - 1

    def prepare(self, state: str, clock: FakeClock) -> int:
        """Bring the key into a state; the number that the next computation will return."""
        if state != "cold":
            assert self.plain() == 1
        if state == "expired":
            clock.advance(60)
        elif state == "deleted":
            self.cache.delete("k")
        self.forced = state == "forced"
        self.slow = True
        return 1 if state == "cold" else 2


def test_64_threads_cause_one_computation(any_cache: Cache, any_clock: FakeClock) -> None:
    """Threads share a computation of an expired key."""
    shared = Shared(any_cache, 64)
    expected = shared.prepare("expired", any_clock)
    assert together(*[shared.plain] * 64) == [expected] * 64
    assert shared.calls == expected


def test_64_tasks_cause_one_computation(any_cache: Cache, any_clock: FakeClock) -> None:
    """Tasks of one loop share a computation."""
    shared = Shared(any_cache, 64)
    expected = shared.prepare("expired", any_clock)

    async def main() -> list[int]:
        return await asyncio.gather(*[shared.coroutine() for _ in range(64)])

    assert asyncio.run(main()) == [expected] * 64
    assert shared.calls == expected


@each_state
def test_threads_asyncio_loops_and_trio_share_one_computation(
    any_cache: Cache, any_clock: FakeClock, state: str
) -> None:
    """Threads, sixteen asyncio loops and a trio run ask for one key at once: one call.

    Whether it is cold, expired, deleted or force-updated.
    """
    shared = Shared(any_cache, 16 + 16 * 2 + 4)
    expected = shared.prepare(state, any_clock)

    async def on_asyncio() -> list[int]:
        return await asyncio.gather(shared.coroutine(), shared.coroutine())

    async def on_trio() -> list[int]:
        results = []

        async def one() -> None:
            results.append(await shared.coroutine())

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
        return results

    results = together(
        *[shared.plain] * 16,
        *[lambda: asyncio.run(on_asyncio())] * 16,
        lambda: trio.run(on_trio),
    )
    assert results == [expected] * 16 + [[expected] * 2] * 16 + [[expected] * 4]
    assert shared.calls == expected


def test_get_or_set_computes_once_for_all_regimes(any_cache: Cache) -> None:
    """``get_or_set`` and ``aget_or_set`` share a computation like decorated functions do."""
    calls = []

    def default() -> str:
        calls.append(1)
        until(lambda: any_cache.stats().waits >= 15)
        return "value"

    async def adefault() -> str:
        calls.append(1)
        await auntil(lambda: any_cache.stats().waits >= 15)
        return "value"

    results = together(
        *[lambda: any_cache.get_or_set("k", default)] * 8,
        *[lambda: asyncio.run(any_cache.aget_or_set("k", adefault))] * 4,
        *[lambda: trio.run(any_cache.aget_or_set, "k", adefault)] * 4,
    )
    assert results == ["value"] * 16
    assert len(calls) == 1


@cases("leader", ["memoize", "get_or_set"])
@story
async def test_a_memoized_call_and_get_or_set_of_its_key_join(
    any_stage: Stage, leader: str
) -> None:
    """Whoever of the two leads, the other follows."""
    body = Body(any_stage, 1)
    f = any_stage.memoize()(body.function())
    key = f.make_cache_key(f.uncached, 5)
    default = any_stage.dye(body.__call__)

    async def by_hand() -> Any:
        return await any_stage.get_or_set(key, default)

    by_hand_now: Callable[[], Any] = by_hand if any_stage.is_async else lambda: run_now(by_hand())
    calls = [lambda: f(5), by_hand_now]
    if leader == "get_or_set":
        calls.reverse()
    first = any_stage.start(calls[0])
    await body.entered()
    rest = [any_stage.start(call) for call in calls * 4]
    await any_stage.waiting(8)
    body.go.set()
    assert [await one.result() for one in (first, *rest)] == [1] * 9
    assert await any_stage.call(f, 5) == 1
    assert body.calls == 1


def test_64_requests_to_a_cold_async_view_cause_one_computation(
    app: Flask, any_cache: Cache
) -> None:
    """Each request under WSGI has a loop of its own, and all wait for one computation."""
    calls = []

    @app.route("/works")
    @any_cache.cached()
    async def works() -> str:
        calls.append(1)
        await auntil(lambda: any_cache.stats().waits >= 63)
        return "page"

    def request() -> tuple[int, str]:
        response = app.test_client().get("/works")
        return response.status_code, response.text

    assert together(*[request] * 64) == [(200, "page")] * 64
    assert len(calls) == 1


@each_pace
@story
async def test_different_keys_do_not_wait_for_one_another(any_stage: Stage) -> None:
    """A slow computation holds up only callers of its own key."""
    body = Body(any_stage, 1)
    f = any_stage.memoize()(body.function())
    slow = any_stage.start(f, 1)
    await body.entered()
    assert await any_stage.call(f, 2) == 2
    assert await any_stage.crowd(4, f, 3) == [3] * 4
    body.go.set()
    assert await slow.result() == 1


@story
async def test_without_lock_everybody_computes(stage: Stage) -> None:
    """``lock=False`` turns waiting off for one function."""
    body = Body(stage, 1, 2, 3)
    f = stage.memoize(lock=False)(body.function())
    started = [stage.start(f) for _ in range(3)]
    await body.entered(3)
    body.go.set()
    assert sorted([await one.result() for one in started]) == [1, 2, 3]
    assert stage.cache.stats().waits == 0


def test_a_null_cache_computes_each_call(app: Flask) -> None:
    """With NullCache caching is off, and so are the flights."""
    cache = Cache(app, config={"CACHE_TYPE": "NullCache", "CACHE_NO_NULL_WARNING": True})
    calls: list[int] = []
    f = cache.memoize()(lambda: until(lambda: len(calls) == 4) if calls.append(1) else None)
    together(*[f] * 4)
    assert len(calls) == 4


class Slot(Lease):
    """A lease that counts what is done to it."""

    taken = given_back = 0

    def acquire(self) -> bool:
        self.taken += 1
        return True

    def release(self, shared: bool = True) -> None:
        self.given_back += 1


def test_a_lease_that_comes_after_its_caller_was_cancelled_is_given_back(app: Flask) -> None:
    """A worker thread may take it when the task that asked for it is gone already."""
    cache = Cache(app, config={"CACHE_TYPE": "cachelib.SimpleCache"})
    engine = cache._binding().engine
    lease, lost = Slot(), Slot()
    assert run_now(engine.sync.acquire_lease(lease, "key", ()))[0] and lease.given_back == 0
    SyncPorts(engine).release(lost, True)
    run_now(engine.sync.acquire_lease(lost, "key", ()))
    assert (lost.taken, lost.given_back) == (1, 2)
