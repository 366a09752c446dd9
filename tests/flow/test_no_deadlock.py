"""Nobody waits for what can only end after them: they compute alone, and at once."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio

from flask_caching_async import Cache
from flask_caching_async._flow.singleflight import Flights
from support.backends import config_for
from support.params import each_pace
from support.stages import Stage, story
from support.waiting import auntil, together, until


@pytest.fixture
def any_cache(embedded: str, host_app: Any, tmp_path: Path) -> Cache:
    """A cache on each kind of backend, where who waits for nothing waits for ever."""
    config = {"CACHE_LOCK_TIMEOUT": 3600}
    return Cache(host_app, config={**config_for(embedded, tmp_path), **config})


@each_pace
@story
async def test_recursion_on_the_same_key_computes_alone(any_stage: Stage) -> None:
    """A function that asks for its own key gets an inner computation, not a deadlock."""
    calls = []

    async def body() -> int:
        calls.append(1)
        return 0 if len(calls) == 3 else 1 + await any_stage.call(f)

    f = any_stage.memoize()(body)
    assert await any_stage.call(f) == 2
    assert len(calls) == 3


@each_pace
@story
async def test_recursion_on_other_keys_works(any_stage: Stage) -> None:
    """Fibonacci: each number is computed once."""
    calls = []

    async def fib(n: int) -> int:
        calls.append(n)
        return n if n < 2 else await any_stage.call(f, n - 1) + await any_stage.call(f, n - 2)

    f = any_stage.memoize()(fib)
    assert await any_stage.call(f, 12) == 144
    assert sorted(calls) == list(range(13))


def test_recursion_through_a_child_task_computes_alone(any_cache: Cache) -> None:
    """``gather`` and ``TaskGroup`` give the inner call a task of its own."""
    calls = []

    @any_cache.memoize()
    async def f() -> int:
        calls.append(1)
        if len(calls) == 1:
            return sum(await asyncio.gather(f(), f()))
        return 1

    @any_cache.memoize()
    async def g() -> int:
        calls.append(1)
        if len(calls) == 1:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(g())
            return task.result()
        return 5

    assert asyncio.run(f()) == 2
    calls.clear()
    assert asyncio.run(g()) == 5
    assert len(calls) == 2


def test_recursion_through_a_trio_nursery_computes_alone(any_cache: Cache) -> None:
    """The same, with trio."""
    calls = []

    @any_cache.memoize()
    async def f() -> int:
        calls.append(1)
        if len(calls) == 1:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(f)
        return len(calls)

    assert trio.run(f) == 2


def test_recursion_through_a_worker_thread_computes_alone(any_cache: Cache) -> None:
    """A thread that was given the leader's context knows for whom it must not wait."""
    calls = []

    @any_cache.memoize()
    def f() -> int:
        calls.append(1)
        if len(calls) == 1:
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(contextvars.copy_context().run, f).result()
        return 7

    @any_cache.cached(key_prefix="k")
    def inner() -> int:
        calls.append(1)
        return 8

    @any_cache.cached(key_prefix="k")
    async def outer() -> int:
        return await asyncio.to_thread(inner)

    assert f() == 7
    assert asyncio.run(outer()) == 8
    assert len(calls) == 3


def test_a_sync_follower_on_the_loop_of_its_leader_computes_alone(any_cache: Cache) -> None:
    """Blocking there would stop the leader for ever."""
    go, inside = threading.Event(), threading.Event()

    @any_cache.cached(key_prefix="k")
    async def leader() -> str:
        inside.set()
        await auntil(go.is_set)
        return "leader"

    @any_cache.cached(key_prefix="k")
    def follower() -> str:
        return "follower"

    async def main() -> None:
        task = asyncio.create_task(leader())
        await auntil(inside.is_set)
        assert follower() == "follower"
        go.set()
        assert await task == "leader"

    asyncio.run(main())


def test_a_sync_follower_does_not_wait_for_who_waits_for_its_loop(any_cache: Cache) -> None:
    """A thread computes b and waits for a task that computes a; b is asked for on that loop."""
    go, inside, leading = (threading.Event() for _ in range(3))

    @any_cache.cached(key_prefix="a")
    async def a() -> str:
        leading.set()
        await auntil(go.is_set)
        return "a"

    @any_cache.cached(key_prefix="a")
    def a_in_thread() -> str:
        return "never"

    @any_cache.cached(key_prefix="b")
    def b() -> str:
        if not inside.is_set():
            inside.set()
            return "b after " + a_in_thread()
        return "b alone"

    async def main() -> None:
        first = asyncio.create_task(a())
        await auntil(leading.is_set)
        thread = threading.Thread(target=b)
        thread.start()
        await auntil(lambda: any_cache.stats().waits == 1)
        assert b() == "b alone"
        go.set()
        assert await first == "a"
        await asyncio.to_thread(thread.join)

    asyncio.run(main())


@each_pace
@story
async def test_mutual_waits_end_at_once(any_stage: Stage) -> None:
    """a needs b and b needs a, each computed by somebody else: one of them computes alone."""
    entered: set[str] = set()

    def make(name: str, other: Callable[[], Any]) -> Callable[..., Any]:
        async def body() -> str:
            if name in entered:
                return name
            entered.add(name)
            await any_stage.until(lambda: len(entered) == 2)
            return f"{name}({await any_stage.call(other())})"

        return any_stage.cached(key_prefix=name)(body)

    a = make("a", lambda: b)
    b = make("b", lambda: a)
    started = [any_stage.start(a), any_stage.start(b)]
    results = [await one.result() for one in started]
    assert results in (["a(b)", "b(a(b))"], ["a(b(a))", "b(a)"], ["a(b)", "b(a)"])


def test_a_circle_of_three_colours_ends_at_once(any_cache: Cache) -> None:
    """a thread, an asyncio loop and a trio run wait for one another."""
    entered: set[str] = set()
    names = "xyz"

    def needs(name: str) -> str:
        return names[(names.index(name) + 1) % 3]

    def plain(name: str) -> str:
        def compute() -> str:
            if name in entered:
                return name
            entered.add(name)
            until(lambda: len(entered) == 3)
            return f"{name}{plain(needs(name))}"

        return any_cache.get_or_set(name, compute)

    async def coroutine(name: str) -> str:
        async def compute() -> str:
            if name in entered:
                return name
            entered.add(name)
            await auntil(lambda: len(entered) == 3)
            return f"{name}{await coroutine(needs(name))}"

        return await any_cache.aget_or_set(name, compute)

    results = together(
        lambda: plain("x"),
        lambda: asyncio.run(coroutine("y")),
        lambda: trio.run(coroutine, "z"),
    )
    assert all(isinstance(result, str) for result in results), results


@story
async def test_a_task_started_in_a_computation_may_wait_for_the_next(stage: Stage) -> None:
    """What a leader started and left behind is no part of it any more once it landed."""
    if not stage.is_async:
        return  # only tasks outlive the call that started them
    tasks: list[asyncio.Task[int]] = []
    go = asyncio.Event()

    @stage.cache.memoize(timeout=60)
    async def f() -> int:
        if not tasks:
            tasks.append(asyncio.create_task(later()))
            return 1
        await asyncio.sleep(0.01)
        return 2

    async def later() -> int:
        await go.wait()
        return await f()

    assert await f() == 1
    stage.cache.clear()
    second = asyncio.create_task(f())
    await stage.until(lambda: stage.cache.stats().misses == 2)
    go.set()
    assert await second == 2 == await tasks[0]
    assert stage.cache.stats().computed == 2


def test_what_waits_leaves_no_trace_behind() -> None:
    """A leader that waited for another one is not blocked on it afterwards."""
    from flask_caching_async._flow.singleflight import leading

    flights = Flights()
    mine, _ = flights.join("mine")
    other, _ = flights.join("other")

    def wait() -> None:
        leading.set((mine,))
        assert flights.follow(other)
        assert mine.blocked_on == [other]
        leading_other = contextvars.copy_context()
        leading_other.run(leading.set, (other,))
        assert not leading_other.run(flights.follow, mine)
        flights.unfollow(other)
        assert mine.blocked_on == []

    contextvars.copy_context().run(wait)
