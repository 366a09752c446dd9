"""What the followers of a computation get, for each way in which it may end."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from typing import Any

import pytest
import trio
from flask import Flask, abort

from flask_caching_async import Cache
from flask_caching_async._flow.ports import SyncPorts
from flask_caching_async._flow.singleflight import Flights
from flask_caching_async.testing import FakeClock
from support.backends import AsyncOnly, SyncOnly
from support.params import cases, each_pace
from support.stages import Body, Stage, story
from support.waiting import Raised, auntil, together, until

PACKAGE = "flask_caching_async"


class Boom(Exception):
    """An error whose ``__init__`` wants something else than it keeps."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


# --- a stored value -------------------------------------------------------------------------------


@story
async def test_each_follower_gets_a_copy_of_its_own(any_stage: Stage) -> None:
    """What one caller does to the value, no other caller sees, nor the cache."""
    body = Body(any_stage, 1)

    async def answer(number: int) -> Any:
        return {"rows": [1, 2]}

    body.answer = answer  # type: ignore[method-assign]
    f = any_stage.memoize()(body.function())
    leader = any_stage.start(f)
    await body.entered()
    followers = [any_stage.start(f) for _ in range(5)]
    await any_stage.waiting(5)
    body.go.set()
    for caller in (leader, *followers):
        value = await caller.result()
        assert value == {"rows": [1, 2]}
        value["rows"].append(3)
        value["more"] = True
    if isinstance(any_stage.cache.cache, (SyncOnly, AsyncOnly)):
        return  # these keep the very objects they are given
    for _ in range(2):
        value = await any_stage.call(f)
        assert value == {"rows": [1, 2]}
        value.clear()
    assert body.calls == 1


@story
async def test_what_cannot_be_copied_is_computed_by_everybody(stage: Stage) -> None:
    """A value that can neither be stored nor shared is returned all the same, without a convoy."""
    body = Body(stage, 1)

    async def answer(number: int) -> Any:
        if number > 1:  # nobody's computation ends before all others have begun
            await body.entered(11)
        return threading.Lock()

    body.answer = answer  # type: ignore[method-assign]
    f = stage.memoize()(body.function())
    leader = stage.start(f)
    await body.entered()
    followers = [stage.start(f) for _ in range(10)]
    await stage.waiting(10)
    body.go.set()
    values = [await caller.result() for caller in (leader, *followers)]
    assert len({id(value) for value in values}) == 11 == body.calls


# --- a value that may not be stored ---------------------------------------------------------------


@each_pace
@story
async def test_a_filtered_value_makes_no_convoy(any_stage: Stage) -> None:
    """Of 20 callers of a function whose value is not stored, the 19 others compute together."""
    body = Body(any_stage, 1)

    async def answer(number: int) -> int:
        if number > 1:  # nobody's computation ends before all others have begun
            await body.entered(20)
        return number

    body.answer = answer  # type: ignore[method-assign]
    f = any_stage.memoize(response_filter=lambda value: False)(body.function())
    leader = any_stage.start(f)
    await body.entered()
    followers = [any_stage.start(f) for _ in range(19)]
    await any_stage.waiting(19)
    body.go.set()
    values = [await caller.result() for caller in (leader, *followers)]
    assert sorted(values) == list(range(1, 21))
    assert any_stage.cache.stats().stored == 0


@each_pace
@story
async def test_none_is_not_stored_and_makes_no_convoy(any_stage: Stage) -> None:
    """``None`` counts as nothing, unless ``cache_none`` says otherwise."""
    body, kept = Body(any_stage, 1), Body(any_stage)

    async def answer(number: int) -> None:
        if number > 1:  # nobody's computation ends before all others have begun
            await body.entered(11)

    async def nothing(number: int) -> None:
        return None

    body.answer = answer  # type: ignore[method-assign, assignment]
    f = any_stage.memoize()(body.function())
    leader = any_stage.start(f)
    await body.entered()
    followers = [any_stage.start(f) for _ in range(10)]
    await any_stage.waiting(10)
    body.go.set()
    assert [await caller.result() for caller in (leader, *followers)] == [None] * 11
    assert body.calls == 11
    kept.answer = nothing  # type: ignore[method-assign, assignment]
    g = any_stage.memoize(cache_none=True)(kept.function("g"))
    assert await any_stage.crowd(5, g) == [None] * 5
    assert kept.calls == 1


# --- an error -------------------------------------------------------------------------------------


@each_pace
@story
async def test_followers_get_an_equal_error_with_a_traceback_of_their_own(
    any_stage: Stage,
) -> None:
    """One call of the function, one exception object for each caller, and nothing is stored."""
    body = Body(any_stage, 1)

    async def answer(number: int) -> Any:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise Boom(7, reason="no luck") from cause

    body.answer = answer  # type: ignore[method-assign]
    f = any_stage.memoize()(body.function())
    leader = any_stage.start(f)
    await body.entered()
    followers = [any_stage.start(f) for _ in range(4)]
    await any_stage.waiting(4)
    body.go.set()
    raised = [await caller.result() for caller in (leader, *followers)]
    errors = [one.error for one in raised]
    assert len({id(error) for error in errors}) == 5
    assert len({id(error.__traceback__) for error in errors}) == 5
    for error in errors:
        assert type(error) is Boom
        assert (str(error), error.args, error.code) == ("no luck (7)", ("no luck (7)",), 7)
        assert isinstance(error.__cause__, KeyError)
    depth = [len(traceback.extract_tb(error.__traceback__)) for error in errors[1:]]
    assert max(depth) < 12  # not one on top of the other
    assert body.calls == 1
    body.answer = Body(any_stage).answer  # type: ignore[method-assign]
    assert await any_stage.call(f) == 2


@each_pace
@story
async def test_an_old_value_is_served_instead_of_an_error(
    any_stage: Stage, any_clock: FakeClock
) -> None:
    """``stale_if_error``: leader and followers get the old value for so long, then the error."""
    body = Body(any_stage, 2)

    async def answer(number: int) -> int:
        if number > 1:
            raise Boom(number, reason="down")
        return number

    body.answer = answer  # type: ignore[method-assign]
    f = any_stage.memoize(timeout=10, stale_if_error=60)(body.function())
    assert await any_stage.call(f) == 1
    any_clock.advance(10)
    leader = any_stage.start(f)
    await body.entered(2)
    followers = [any_stage.start(f) for _ in range(3)]
    await any_stage.waiting(3)
    body.go.set()
    assert [await caller.result() for caller in (leader, *followers)] == [1] * 4
    assert body.calls == 2
    any_clock.advance(59)
    assert await any_stage.call(f) == 1
    any_clock.advance(1)
    with pytest.raises(Boom):
        await any_stage.call(f)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_view_that_answers_5xx_serves_its_old_page(
    app: Flask, any_cache: Cache, any_clock: FakeClock, is_async: bool
) -> None:
    """``stale_if_error`` of a view covers a 5xx, returned, raised or aborted with."""
    answers: list[Any] = ["page", ("down", 503), RuntimeError("down"), 500]

    def answer() -> Any:
        what = answers.pop(0)
        if isinstance(what, Exception):
            raise what
        return abort(what) if isinstance(what, int) else what

    async def aanswer() -> Any:
        return answer()

    view = any_cache.cached(timeout=10, stale_if_error=60)(aanswer if is_async else answer)
    app.add_url_rule("/", "page", view)
    client = app.test_client()
    for _ in range(4):
        response = client.get("/")
        assert (response.status_code, response.text) == (200, "page")
        any_clock.advance(15)
    assert not answers
    any_clock.advance(60)
    answers.append(("down", 503))
    assert client.get("/").status_code == 503


@story
async def test_stop_iteration_of_the_function_is_kept(stage: Stage) -> None:
    """A sync function may raise it, to leader and followers alike; a coroutine cannot."""
    body = Body(stage, 1)

    def function() -> Any:
        body.calls += 1
        until(body.go.is_set)
        raise StopIteration("done")

    f = stage.cache.memoize()(function)
    if stage.is_async:
        body.go.set()
        with pytest.raises(StopIteration, match="done"):
            f()
        return
    callers = [stage.start(lambda: Catching(f)()) for _ in range(4)]
    await stage.waiting(3)
    body.go.set()
    assert [await caller.result() for caller in callers] == ["done"] * 4
    assert body.calls == 1


class Catching:
    """Catches a StopIteration, which may not leave a coroutine."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self) -> Any:
        try:
            return self.function()
        except StopIteration as stop:
            return stop.value


def test_a_traceback_shows_at_most_four_frames_of_ours(app: Flask, cache: Cache) -> None:
    """Who debugs a function wants to see it, not us: leader, follower, sync and async."""

    def fail() -> None:
        raise Boom(1, reason="here")

    async def afail() -> None:
        raise Boom(1, reason="here")

    with app.test_request_context("/"):
        for decorate in (cache.memoize(), cache.cached()):
            coroutine = decorate(afail)
            for call in (decorate(fail), lambda f=coroutine: asyncio.run(f())):
                with pytest.raises(Boom) as caught:
                    call()
                frames = traceback.extract_tb(caught.value.__traceback__)
                ours = [frame for frame in frames if f"/{PACKAGE}/" in frame.filename]
                assert 1 <= len(ours) <= 4, ours


# --- a leader that goes away ----------------------------------------------------------------------


def test_of_the_followers_of_a_cancelled_task_exactly_one_takes_over(any_cache: Cache) -> None:
    """Cancellation harms only its own caller."""
    calls = []

    async def body() -> int:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.sleep(30)
        await auntil(lambda: any_cache.stats().waits >= 5 + 4)
        return len(calls)

    f = any_cache.memoize()(body)

    async def main() -> None:
        leader = asyncio.create_task(f())
        await auntil(lambda: calls)
        followers = [asyncio.create_task(f()) for _ in range(5)]
        await auntil(lambda: any_cache.stats().waits == 5)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        assert await asyncio.gather(*followers) == [2] * 5
        assert await f() == 2

    asyncio.run(main())
    assert len(calls) == 2


def test_a_thread_takes_over_from_a_cancelled_task(any_cache: Cache) -> None:
    """The successor may live in another colour, and another kind of loop."""
    calls = []

    async def never() -> str:
        calls.append("never")
        await asyncio.sleep(30)
        return "never"

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            task = any_cache.aget_or_set("k", never)
            async with asyncio.timeout(None) as limit:
                asyncio.get_running_loop().create_task(reschedule(limit))
                await task

    async def reschedule(limit: asyncio.Timeout) -> None:
        await auntil(lambda: any_cache.stats().waits >= 3)
        limit.reschedule(0)

    def value() -> str:
        calls.append("value")
        return "value"

    def follow() -> Any:
        until(lambda: calls)
        return any_cache.get_or_set("k", value)

    async def afollow() -> Any:
        return await any_cache.aget_or_set("k", value)

    def on_trio() -> Any:
        until(lambda: calls)
        return trio.run(afollow)

    results = together(lambda: asyncio.run(cancelled()), follow, follow, on_trio)
    assert results == [None, "value", "value", "value"]
    assert calls == ["never", "value"]


def test_a_cancelled_trio_task_hands_over_too(any_cache: Cache) -> None:
    """trio's cancellation is an exception of its own."""
    calls = []

    async def body() -> int:
        calls.append(1)
        if len(calls) == 1:
            await trio.sleep(30)
        return len(calls)

    f = any_cache.memoize()(body)
    results = []

    async def follow() -> None:
        results.append(await f())

    async def main() -> None:
        scope = trio.CancelScope()

        async def lead() -> None:
            with scope:
                await f()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lead)
            await auntil(lambda: calls)
            for _ in range(3):
                nursery.start_soon(follow)
            await auntil(lambda: any_cache.stats().waits == 3)
            scope.cancel()

    trio.run(main)
    assert results == [2] * 3
    assert len(calls) == 2


@cases("end", [SystemExit, KeyboardInterrupt])
def test_a_thread_that_ends_in_its_computation_hands_over(
    any_cache: Cache, end: type[BaseException]
) -> None:
    """``SystemExit`` in a leader reaches nobody else: one of the others takes over."""
    calls = []

    def body() -> int:
        calls.append(1)
        if len(calls) == 1:
            until(lambda: any_cache.stats().waits >= 7)
            raise end("over")
        return len(calls)

    f = any_cache.memoize()(body)
    results = together(*[f] * 8)
    ends = [result for result in results if isinstance(result, Raised)]
    assert [type(one.error) for one in ends] == [end]
    assert [result for result in results if not isinstance(result, Raised)] == [2] * 7
    assert len(calls) == 2


def test_nobody_notices_a_cancelled_follower(any_cache: Cache) -> None:
    """Neither the leader nor the other followers, on whatever loop."""
    calls = []
    go = threading.Event()

    async def body() -> str:
        calls.append(1)
        await auntil(go.is_set)
        return "value"

    f = any_cache.memoize()(body)

    async def main() -> None:
        leader = asyncio.create_task(f())
        await auntil(lambda: calls)
        followers = [asyncio.create_task(f()) for _ in range(4)]
        await auntil(lambda: any_cache.stats().waits == 4)
        for task in followers[:2]:
            task.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(f(), 0.01)
        go.set()
        results = await asyncio.gather(leader, *followers, return_exceptions=True)
        cancelled = [result for result in results if result != "value"]
        assert [type(result) for result in cancelled] == [asyncio.CancelledError] * 2
        assert len(results) == 5

    asyncio.run(main())
    assert len(calls) == 1


def test_the_loop_of_a_cancelled_follower_may_end_before_the_leader(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    """A leader that lands has nobody to call on a loop that is closed."""
    go, entered = threading.Event(), threading.Event()

    def body() -> str:
        entered.set()
        until(go.is_set)
        return "value"

    async def follow() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cache.aget_or_set("k", body), 0.01)

    def leader() -> Any:
        return cache.get_or_set("k", body)

    def follower() -> None:
        until(entered.is_set)
        asyncio.run(follow())
        go.set()

    with caplog.at_level(logging.DEBUG):
        assert together(leader, follower) == ["value", None]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- a slow leader --------------------------------------------------------------------------------


class Watch:
    """A clock in the place of ``time`` that moves by hand, and counts how often it is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.reads = 0.0, 0
        for kind in (Flights, SyncPorts):
            monkeypatch.setattr(sys.modules[kind.__module__], "time", self)

    sleep = staticmethod(time.sleep)

    def monotonic(self) -> float:
        self.reads += 1
        return self.now


@each_pace
@story
async def test_followers_of_a_slow_leader_compute_alone_and_its_value_is_stored(
    any_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ``lock_timeout`` they stop waiting; what takes longer is still worth storing."""
    watch, body = Watch(monkeypatch), Body(any_stage, 1)
    f = any_stage.memoize(lock_timeout=0.02, response_filter=lambda value: value == 1)(
        body.function()
    )
    leader = any_stage.start(f)
    await body.entered()
    followers = [any_stage.start(f) for _ in range(3)]
    await any_stage.until(lambda: watch.reads >= 20)
    assert body.calls == 1, "they look at the clock, and wait"
    watch.now = 0.02
    assert sorted([await follower.result() for follower in followers]) == [2, 3, 4]
    body.go.set()
    assert await leader.result() == 1
    assert await any_stage.call(f) == 1
    assert body.calls == 4


@story
async def test_patience_begins_anew_with_a_new_leader(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``lock_timeout`` is how long one leader is waited for, not how long all of them are."""
    watch = Watch(monkeypatch)
    body, go = Body(stage, 1), threading.Event()

    async def answer(number: int) -> int:
        if number == 1:  # SystemExit would end a loop
            raise asyncio.CancelledError if stage.is_async else SystemExit
        await stage.until(go.is_set)
        return number

    body.answer = answer  # type: ignore[method-assign]
    f = stage.memoize(lock_timeout=0.02)(body.function())
    first = stage.start(f)
    await body.entered()
    others = [stage.start(f) for _ in range(3)]
    await stage.waiting(3)
    watch.now = 0.015
    body.go.set()
    await body.entered(2)
    watch.now = 0.03  # more than that for both leaders, less for each
    seen = watch.reads
    await stage.until(lambda: watch.reads >= seen + 20)  # the others look at it, and wait on
    go.set()
    assert isinstance(await first.result(), Raised)
    assert {await other.result() for other in others} == {2}
    assert body.calls == 2
