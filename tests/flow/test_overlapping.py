"""Computations of one key that overlap without waiting for one another: the newer one is kept.

So it is with ``lock=False``, and where a computation is slower than ``lock_timeout``.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.testing import FakeClock
from support.backends import OURS, config_of_ours
from support.faces import COLOURS
from support.params import cases
from support.stages import Stage, Started, story

#: On each backend of ours, in both colours.
EACH = ("stage,colour", list(itertools.product(OURS, COLOURS)))


@pytest.fixture(params=OURS)
def stage(request: pytest.FixtureRequest, tmp_path: Path, colour: str) -> Iterator[Stage]:
    """On each backend of ours, in both colours."""
    config = config_of_ours(request.param, tmp_path, request.getfixturevalue)
    cache = Cache(Flask(__name__), config=config)
    yield Stage(cache, colour)
    cache.close()


class Held:
    """A function whose calls wait, each for a sign of its own, and return their numbers."""

    def __init__(self, stage: Stage, *held: int) -> None:
        self.stage, self.calls = stage, 0
        self.go = {number: threading.Event() for number in held}

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def function(self, **options: Any) -> Any:
        """It, memoized in the colour of the stage."""

        async def function() -> int:
            self.calls = number = self.calls + 1
            if number in self.go:
                await self.stage.until(self.go[number].is_set)
            return number

        return self.stage.memoize(**options)(function)

    async def entered(self, count: int) -> None:
        """Wait until it has been called so often."""
        await self.stage.until(lambda: self.calls >= count)


@cases("options", [{"lock": False}, {"lock_timeout": 0.05}], ways=EACH)
@story
async def test_what_began_before_a_refresh_is_not_stored_after_it(
    stage: Stage, options: dict[str, Any]
) -> None:
    """A slow computation that ends later returns its value, and leaves the newer one alone."""
    held = Held(stage, 1)
    f = held.function(**options)
    slow = stage.start(f)
    await held.entered(1)
    assert await stage.call(f.refresh) == 2
    held.go[1].set()
    assert await slow.result() == 1
    assert await stage.call(f) == 2


@pytest.mark.parametrize("stage", ["SimpleCache", "RedisCache"], indirect=True)
@pytest.mark.parametrize("older_is", ["a call", "a refresh"])
@story
async def test_a_refresh_is_stored_after_what_began_before_it(stage: Stage, older_is: str) -> None:
    """It took longer, and is newer all the same, also than a refresh that was stored first."""
    held = Held(stage, 1, 2)
    f = held.function(lock=False)
    older = stage.start(f if older_is == "a call" else f.refresh)
    await held.entered(1)
    newer = stage.start(f.refresh)
    await held.entered(2)
    held.go[1].set()
    assert await older.result() == 1
    held.go[2].set()
    assert await newer.result() == 2
    assert await stage.call(f) == 2


@story
async def test_a_deletion_wins_over_a_refresh_that_began_before_it(stage: Stage) -> None:
    """Also when another refresh was stored in between."""
    held = Held(stage, 1)
    f = held.function(lock=False)
    slow = stage.start(f.refresh)
    await held.entered(1)
    assert await stage.call(f.refresh) == 2
    await stage.delete_memoized(f)
    held.go[1].set()
    assert await slow.result() == 1
    assert await stage.call(f) == 3


@pytest.mark.parametrize("stage", ["SimpleCache"], indirect=True)
@story
async def test_in_memory_the_order_of_refreshes_is_that_of_their_beginnings(stage: Stage) -> None:
    """An older one that ends last is not stored."""
    held = Held(stage, 1)
    f = held.function(lock=False)
    older = stage.start(f.refresh)
    await held.entered(1)
    assert await stage.call(f.refresh) == 2
    held.go[1].set()
    assert await older.result() == 1
    assert await stage.call(f) == 2


# --- clocks ---------------------------------------------------------------------------------------


@cases(
    "forced,shift",
    itertools.product(["refresh", "forced_update"], [1000, -1000]),
    ways=EACH,
    whole=[f"{kind}-sync" for kind in OURS],  # each compares times in code of its own
)
@story
async def test_a_refresh_computes_whatever_a_clock_says(
    stage: Stage, shift: float, forced: str
) -> None:
    """One worker's clock is ahead when it stores, or is set back before the next one refreshes."""
    held, force = Held(stage), []
    clock = FakeClock()
    clock.install(stage.cache)
    f = held.function(forced_update=lambda: force)
    clock.advance(max(shift, 0))
    assert await stage.call(f) == 1
    clock.advance(-abs(shift))
    if forced == "refresh":
        assert await stage.call(f.refresh) == 2
    else:
        force.append(1)
        assert await stage.call(f) == 2
        force.clear()
    assert await stage.call(f) == 2


# --- counting -------------------------------------------------------------------------------------


@story
async def test_what_was_counted_is_not_overwritten_by_what_began_before_it(stage: Stage) -> None:
    """``get_or_set`` of a key that is counted meanwhile returns its default, and stores nothing."""
    entered, go = threading.Event(), threading.Event()

    async def default() -> int:
        entered.set()
        await stage.until(go.is_set)
        return 100

    async def begin() -> Any:
        return await stage.get_or_set("visits", stage.dye(default))

    slow = Started(stage, begin)
    await stage.until(entered.is_set)
    assert await stage.inc("visits") == 1
    go.set()
    assert await slow.result() == 100
    assert await stage.inc("visits", 2**53) == 2**53 + 1
    assert await stage.get("visits") == 2**53 + 1
