"""Old values served on purpose, refreshes in the background, and how long values live."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
import trio
from flask import Flask, current_app, g, request

from flask_caching_async import Cache, CachedResponse
from flask_caching_async.testing import FakeClock
from support.params import WAYS, cases, each_pace
from support.stages import Body, Stage, story
from support.waiting import PATIENCE, auntil, together, until

#: Of what a value says of itself only when it is there, a backend may forget the stamps after a
#: month: then it is computed anew.
LONG = 25 * 24 * 3600

SWR: Any = {"timeout": 10, "stale_while_revalidate": 60}


@each_pace
@story
async def test_stale_hits_are_served_at_once_and_cause_one_refresh(
    any_stage: Stage, any_clock: FakeClock
) -> None:
    """However many get the old value meanwhile: one computation, and then the new value."""
    body = Body(any_stage, 2)
    f = any_stage.memoize(**SWR)(body.function())
    assert await any_stage.call(f) == 1
    any_clock.advance(10)
    assert await any_stage.crowd(20, f) == [1] * 20
    await body.entered(2)
    assert await any_stage.crowd(5, f) == [1] * 5
    body.go.set()
    await any_stage.until(lambda: any_stage.cache.stats().stored == 2)
    assert await any_stage.call(f) == 2
    assert body.calls == 2
    assert any_stage.cache.stats().stale == 25


@each_pace
@story
async def test_after_the_stale_window_callers_wait(any_stage: Stage, any_clock: FakeClock) -> None:
    """At its very end the old value is gone."""
    body = Body(any_stage)
    f = any_stage.memoize(**SWR)(body.function())
    assert await any_stage.call(f) == 1
    any_clock.advance(69.5)
    assert await any_stage.call(f) == 1
    await any_stage.until(lambda: any_stage.cache.stats().stored == 2)
    any_clock.advance(70)
    assert await any_stage.call(f) == 3


@each_pace
@story
async def test_a_failing_refresh_keeps_the_old_value_and_is_logged(
    any_stage: Stage, any_clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And a stale hit tries again, after a second."""
    body = Body(any_stage)

    async def answer(number: int) -> int:
        if number == 2:
            raise OSError("down")
        return number

    body.answer = answer  # type: ignore[method-assign]
    f = any_stage.memoize(**SWR)(body.function())
    assert await any_stage.call(f) == 1
    any_clock.advance(10)
    with caplog.at_level(logging.ERROR, "flask_caching_async"):
        assert await any_stage.call(f) == 1
        await any_stage.until(lambda: caplog.records)
    assert "the old value is kept" in caplog.text and "OSError: down" in caplog.text
    assert await any_stage.call(f) == 1 and body.calls == 2
    any_clock.advance(1)
    while any_stage.cache.stats().stored < 2:  # the lease of the first may still be given back
        assert await any_stage.call(f) in (1, 3)
        await any_stage.pause(0.01)
    assert await any_stage.call(f) == 3


@story
async def test_an_invalidation_wins_over_a_refresh(any_stage: Stage, any_clock: FakeClock) -> None:
    """What a background refresh computed is not stored over a later deletion."""
    body = Body(any_stage, 2)
    f = any_stage.memoize(**SWR)(body.function())
    assert await any_stage.call(f) == 1
    any_clock.advance(10)
    assert await any_stage.call(f) == 1
    await body.entered(2)
    await any_stage.delete_memoized(f)
    assert await any_stage.call(f) == 3
    body.go.set()
    await any_stage.until(lambda: any_stage.cache.stats().computed == 3)
    await any_stage.pause(0.01)
    assert await any_stage.call(f) == 3


@story
async def test_a_refresh_that_could_not_be_started_breaks_no_call(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """The stale value is served, the failure logged, and the key is not blocked for ever."""
    body = Body(stage)
    f = stage.memoize(**SWR)(body.function())
    assert await stage.call(f) == 1
    clock.advance(10)
    engine = stage.cache._binding().engine

    def fail(*args: Any) -> None:
        raise RuntimeError("no thread")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "spawn", fail)
        assert await stage.call(f) == 1
    assert "no thread" in caplog.text
    assert await stage.call(f.refresh) == 2


# --- where a refresh runs -------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
def test_a_view_is_refreshed_with_its_app_and_request_after_the_request_ended(
    app: Flask, any_cache: Cache, any_clock: FakeClock, is_async: bool
) -> None:
    """It outlives the request and its loop, and sees path, arguments, headers and method."""
    go = threading.Event()
    seen: list[Any] = []

    def answer(name: str) -> str:
        seen.append(
            (current_app.name, request.path, request.args["q"], request.headers["X-Me"],
             request.method, name)
        )  # fmt: skip
        return f"page {len(seen)}"

    def view(name: str) -> str:
        if seen:
            until(go.is_set)
        return answer(name)

    async def aview(name: str) -> str:
        if seen:
            await auntil(go.is_set)
        return answer(name)

    decorated = any_cache.cached(**SWR)(aview if is_async else view)
    app.add_url_rule("/works/<name>", "works", decorated)
    client = app.test_client()

    def get() -> str:
        return client.get("/works/one", query_string={"q": "1"}, headers={"X-Me": "me"}).text

    assert get() == "page 1"
    any_clock.advance(10)
    assert [get() for _ in range(3)] == ["page 1"] * 3
    go.set()
    until(lambda: any_cache.stats().stored == 2)
    assert get() == "page 2"
    assert seen == [(app.name, "/works/one", "1", "me", "GET", "one")] * 2


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
def test_a_function_is_refreshed_in_the_app_context_of_its_caller(
    app: Flask, cache: Cache, clock: FakeClock, is_async: bool
) -> None:
    """``current_app`` is there, also outside any request."""
    names: list[str] = []

    def function() -> int:
        names.append(current_app.name)
        g.mine = True
        return len(names)

    async def coroutine() -> int:
        return function()

    f = cache.memoize(**SWR)(coroutine if is_async else function)

    def call() -> Any:
        with app.app_context():
            return asyncio.run(f()) if is_async else f()

    assert call() == 1
    clock.advance(10)
    assert call() == 1
    until(lambda: cache.stats().stored == 2)
    assert call() == 2
    assert names == [app.name] * 2


def test_on_plain_asyncio_a_refresh_is_a_task_of_the_same_loop(
    any_cache: Cache, any_clock: FakeClock
) -> None:
    """So that the function may use what is bound to that loop."""
    loops = []

    @any_cache.memoize(**SWR)
    async def f() -> int:
        loops.append(asyncio.get_running_loop())
        return len(loops)

    async def main() -> None:
        assert await f() == 1
        any_clock.advance(10)
        assert await f() == 1
        await auntil(lambda: any_cache.stats().stored == 2)
        assert await f() == 2

    asyncio.run(main())
    assert loops[0] is loops[1]


def test_on_trio_a_refresh_runs_on_trio(any_cache: Cache, any_clock: FakeClock) -> None:
    """A function that uses trio is refreshed where trio runs."""
    calls = []

    @any_cache.memoize(**SWR)
    async def f() -> int:
        await trio.sleep(0.001)
        calls.append(trio.current_time())
        return len(calls)

    async def main() -> None:
        assert await f() == 1
        any_clock.advance(10)
        assert await f() == 1
        await auntil(lambda: any_cache.stats().stored == 2)
        assert await f() == 2

    trio.run(main)


def test_a_refresh_that_its_loop_never_began_is_begun_by_the_next_hit(
    cache: Cache, clock: FakeClock
) -> None:
    """A loop may end right after a stale hit; the key must not stay "being refreshed" for ever."""
    calls = []

    @cache.memoize(**SWR, lock_timeout=0.05)
    async def f() -> int:
        calls.append(1)
        return len(calls)

    assert asyncio.run(f()) == 1
    clock.advance(10)

    async def end_at_once() -> None:
        assert await f() == 1
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(end_at_once())
    assert len(calls) == 1

    async def main() -> None:
        await asyncio.sleep(0.06)
        assert await f() == 1
        await auntil(lambda: cache.stats().stored == 2)
        assert await f() == 2

    asyncio.run(main())


@cases("refreshing", [True, False], ids=["refreshing", "computing"])
def test_a_loop_that_is_closed_in_the_middle_is_no_obstacle(
    any_cache: Cache, any_clock: FakeClock, refreshing: bool
) -> None:
    """What it was computing is begun anew by who asks next, once, and is stored."""
    entered, calls = [], []

    @any_cache.memoize(**SWR)
    async def f() -> int:
        calls.append(1)
        if len(calls) == 1 + refreshing:
            entered.append(asyncio.get_running_loop().create_future())
            await entered[0]
        return len(calls)

    async def begin() -> asyncio.Task[int] | None:
        task = asyncio.create_task(f())
        await auntil(lambda: entered)
        return task

    if refreshing:
        assert asyncio.run(f()) == 1
        any_clock.advance(10)
    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(begin())
    for pending in asyncio.all_tasks(loop):  # asyncio complains when the collector finds them
        pending._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()

    async def crowd() -> None:
        answers = await asyncio.gather(*[f() for _ in range(5)])
        assert answers == [1 if refreshing else 2] * 5
        async with asyncio.timeout(PATIENCE):
            # A refresh does not wait for the lease of the lost one, which is being given back.
            while any_cache.stats().stored < 1 + refreshing:
                await f()
                await asyncio.sleep(0.005)
        assert await f() == 2 + refreshing

    asyncio.run(crowd())
    assert len(calls) == 2 + refreshing
    del task


def test_stale_hits_in_all_regimes_cause_one_refresh(
    any_cache: Cache, any_clock: FakeClock
) -> None:
    """Threads, loops and trio at once, one key, one refresh."""
    calls = []

    def slow() -> None:
        calls.append(1)
        if len(calls) > 1:
            until(lambda: any_cache.stats().stale == 16)

    @any_cache.cached(key_prefix="k", **SWR)
    def plain() -> int:
        slow()
        return len(calls)

    @any_cache.cached(key_prefix="k", **SWR)
    async def coroutine() -> int:
        await asyncio.to_thread(slow) if asyncio._get_running_loop() else slow()
        return len(calls)

    assert plain() == 1
    any_clock.advance(10)

    async def main() -> int:
        value = await coroutine()
        await auntil(lambda: any_cache.stats().stored == 2)
        return value

    results = together(
        *[plain] * 8, *[lambda: asyncio.run(main())] * 6, *[lambda: trio.run(main)] * 2
    )
    assert results == [1] * 16
    assert plain() == 2


# --- how long values live -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("embedded", "colour"), [way for way in WAYS if way[1] != "sync"], indirect=True
)
@story
async def test_an_async_callable_may_give_the_timeout_of_an_async_function(
    any_stage: Stage, any_clock: FakeClock
) -> None:
    """And may say ``None`` for the default, or 0 for ever."""
    answers: list[float | None] = [None, 5, 0]

    async def timeout(value: Any) -> float | None:
        return answers.pop(0)

    body = Body(any_stage)
    f = any_stage.memoize(timeout)(body.function())
    for life, number in ((300, 1), (5, 2)):
        assert await any_stage.call(f) == number
        any_clock.advance(life - 0.01)
        assert await any_stage.call(f) == number
        any_clock.advance(0.01)
    assert await any_stage.call(f) == 3
    any_clock.advance(LONG)
    assert await any_stage.call(f) == 3


def test_a_response_brings_its_own_timeout(
    app: Flask, any_cache: Cache, any_clock: FakeClock
) -> None:
    """``CachedResponse`` overrides the decorator; with ``None`` it does not."""
    timeouts: list[float | None] = [5, None, 0]
    calls: list[int] = []

    @app.route("/")
    @any_cache.cached(timeout=50)
    def view() -> CachedResponse:
        calls.append(1)
        return CachedResponse(app.make_response(str(len(calls))), timeouts.pop(0))

    client = app.test_client()
    for life, page in ((5, "1"), (50, "2")):
        assert client.get("/").text == page
        any_clock.advance(life - 0.01)
        assert client.get("/").text == page
        any_clock.advance(0.01)
    assert client.get("/").text == "3"
    any_clock.advance(LONG)
    assert client.get("/").text == "3"


@each_pace
@story
async def test_what_is_over_before_it_began_is_not_stored(
    any_stage: Stage, any_clock: FakeClock
) -> None:
    """A callable may say so with a negative timeout."""
    body = Body(any_stage)
    f = any_stage.memoize(lambda value: -0.5)(body.function())
    assert [await any_stage.call(f) for _ in range(2)] == [1, 2]
    assert any_stage.cache.stats().stored == 0
