"""``forced_update`` and ``refresh``: compute although there is a value."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async._entries.envelope import is_entry
from flask_caching_async.testing import FakeClock
from support.backends import SyncOnly
from support.params import cases, each_pace
from support.stages import Body, Stage, stage_of, story
from support.waiting import PATIENCE


@each_pace
@story
async def test_refresh_computes_stores_and_returns(any_stage: Stage, any_clock: FakeClock) -> None:
    """However fresh the stored value is, and even if no time has passed on the clock."""
    body = Body(any_stage)
    f = any_stage.memoize()(body.function())
    assert await any_stage.call(f) == 1
    assert await any_stage.call(f.refresh) == 2
    assert await any_stage.call(f) == 2
    any_clock.advance(1)
    assert await any_stage.call(f.refresh) == 3
    assert await any_stage.call(f) == 3


@story
async def test_forced_update_computes_each_time_it_is_true(stage: Stage) -> None:
    """Truthiness counts; what it computed is stored for the others."""
    forced: list[int] = []
    body = Body(stage)
    f = stage.memoize(forced_update=lambda: forced)(body.function())
    assert [await stage.call(f) for _ in range(2)] == [1, 1]
    forced.append(1)
    assert [await stage.call(f) for _ in range(2)] == [2, 3]
    forced.clear()
    assert await stage.call(f) == 3


@cases("stored", [False, True])
@story
async def test_forced_callers_share_one_computation(any_stage: Stage, stored: bool) -> None:
    """N of them at once cost one call, whether there was a value or not."""
    body = Body(any_stage, 1 + stored)
    f = any_stage.memoize()(body.function())
    if stored:
        assert await any_stage.call(f) == 1
    first = any_stage.start(f.refresh)
    await body.entered(1 + stored)
    rest = [any_stage.start(f.refresh) for _ in range(9)]
    await any_stage.waiting(9)
    body.go.set()
    assert [await one.result() for one in (first, *rest)] == [1 + stored] * 10
    assert body.calls == 1 + stored


@each_pace
@story
async def test_a_forced_caller_joins_a_computation_that_is_running(any_stage: Stage) -> None:
    """What ends after its call is new enough, whoever began it and why."""
    body = Body(any_stage, 1)
    f = any_stage.memoize()(body.function())
    plain = any_stage.start(f)
    await body.entered()
    forced = any_stage.start(f.refresh)
    await any_stage.waiting(1)
    body.go.set()
    assert [await plain.result(), await forced.result()] == [1, 1]
    assert body.calls == 1


@each_pace
@story
async def test_while_a_refresh_runs_others_get_the_fresh_value_that_is_there(
    any_stage: Stage,
) -> None:
    """A refresh holds up nobody but those who ask for it."""
    body = Body(any_stage, 2)
    f = any_stage.memoize()(body.function())
    assert await any_stage.call(f) == 1
    forced = any_stage.start(f.refresh)
    await body.entered(2)
    assert await any_stage.call(f) == 1
    body.go.set()
    assert await forced.result() == 2 == await any_stage.call(f)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_forced_caller_takes_no_value_that_is_only_being_stored(app: Flask, colour: str) -> None:
    """A computation that had ended before the call is too old, though its flight has not landed."""
    storing, go = threading.Event(), threading.Event()

    class Slow(SyncOnly):
        def set(self, key: str, value: Any, timeout: Any = None) -> bool:
            if is_entry(value) and not storing.is_set():
                storing.set()
                assert go.wait(PATIENCE)
            return super().set(key, value, timeout)

    async def play(stage: Stage) -> None:
        body = Body(stage)
        f = stage.memoize()(body.function())
        first = stage.start(f)
        await stage.until(storing.is_set)
        second = stage.start(f.refresh)
        await stage.waiting(1)
        plain = stage.start(f)
        await stage.waiting(2)
        go.set()
        assert await first.result() == 1 == await plain.result()
        assert await second.result() == 2 == await stage.call(f)

    cache = Cache(app, config={"CACHE_TYPE": lambda *_: Slow()})
    story(play)(stage=stage_of(cache, colour))


@each_pace
@story
async def test_is_stale_makes_callers_compute(any_stage: Stage) -> None:
    """A value that the callback calls stale is computed anew, once for all who are told so."""
    body = Body(any_stage, 2)
    f = any_stage.memoize(is_stale=lambda value: value < 2)(body.function())
    assert await any_stage.call(f) == 1
    first = any_stage.start(f)
    await body.entered(2)
    rest = [any_stage.start(f) for _ in range(4)]
    await any_stage.waiting(4)
    body.go.set()
    assert [await one.result() for one in (first, *rest)] == [2] * 5
    assert await any_stage.call(f) == 2
    assert body.calls == 2


@each_pace
@story
async def test_a_forced_caller_after_a_stale_hit_joins_the_refresh_behind_it(
    any_stage: Stage, any_clock: FakeClock
) -> None:
    """The background refresh is a computation like any other, also for the thread it came from."""
    body = Body(any_stage, 2)
    f = any_stage.memoize(timeout=10, stale_while_revalidate=60)(body.function())
    assert await any_stage.call(f) == 1
    any_clock.advance(10)
    assert await any_stage.call(f) == 1
    await body.entered(2)

    async def let_go() -> None:
        await any_stage.waiting(1)
        body.go.set()

    opener = any_stage.start(any_stage.dye(let_go))
    assert await any_stage.call(f.refresh) == 2
    await opener.result()
    assert body.calls == 2


@each_pace
@story
async def test_what_a_computation_leaves_in_the_background_is_not_part_of_it(
    any_stage: Stage, any_clock: FakeClock
) -> None:
    """A refresh that a function caused waits for that function like everybody else."""
    inner = Body(any_stage)
    state: dict[str, Any] = {}

    async def answer(number: int) -> int:
        if number == 2:  # in the background, while f computes
            state["f"] = await any_stage.call(f)
        return number

    inner.answer = answer  # type: ignore[method-assign]
    g = any_stage.memoize(timeout=10, stale_while_revalidate=60)(inner.function("g"))
    assert await any_stage.call(g) == 1
    any_clock.advance(10)
    calls = []

    async def body() -> str:
        calls.append(await any_stage.call(g))
        await any_stage.until(lambda: any_stage.cache.stats().waits == 1)
        return "f"

    f = any_stage.memoize()(body)
    assert await any_stage.call(f) == "f"
    await any_stage.until(lambda: state)
    assert (state["f"], calls) == ("f", [1])
