"""``stats()``: what is counted, for whom, and that it costs nobody anything."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache, Stats
from flask_caching_async.testing import FakeClock
from support.faces import Face
from support.params import each_form
from support.waiting import PATIENCE, until


@each_form
@pytest.mark.asyncio
async def test_hits_misses_and_stored_values_are_counted(any_face: Face) -> None:
    """Of decorated functions and ``get_or_set``; not of ``get`` and ``set``."""
    f = any_face.memoize()(lambda a: a)
    assert any_face.cache.stats() == Stats(0, 0, 0, 0, 0, 0, 0, 0)
    for _ in range(3):
        await any_face.call(f, 1)
    await any_face.get_or_set("key", 1)
    await any_face.get_or_set("key", 1)
    await any_face.set("other", 1)
    await any_face.get("other")
    found = any_face.cache.stats()
    assert (found.hits, found.misses, found.computed, found.stored) == (3, 2, 2, 2)
    assert (found.stale, found.waits, found.failed, found.rescued) == (0, 0, 0, 0)
    assert found.hit_ratio == 3 / 5


@pytest.mark.asyncio
async def test_failures_and_rescues_are_counted(face: Face, clock: FakeClock) -> None:
    """A function that raises, with and without an older value."""
    broken: list[bool] = [True]

    @face.memoize(timeout=10, stale_if_error=100)
    def f() -> int:
        return 1 // (not broken)

    with pytest.raises(ZeroDivisionError):
        await face.call(f)
    broken.clear()
    await face.call(f)
    broken.append(True)
    clock.advance(10)
    await face.call(f)
    found = face.cache.stats()
    assert (found.failed, found.rescued, found.computed, found.misses) == (2, 1, 1, 3)


@pytest.mark.asyncio
async def test_what_is_not_stored_is_computed_and_not_stored(face: Face) -> None:
    """``response_filter``, ``None`` and ``unless``."""
    f = face.memoize(response_filter=lambda value: False)(lambda: 1)
    g = face.memoize(make_name=lambda name: "g")(lambda: None)
    h = face.memoize(unless=lambda: True)(lambda: 1)
    for function in (f, g, h):
        await face.call(function)
    found = face.cache.stats()
    assert (found.computed, found.stored, found.misses, found.hits) == (2, 0, 2, 0)


def test_views_are_counted_however_they_are_answered(app: Flask, any_cache: Cache) -> None:
    """An async view that is answered without a loop, too."""
    for colour in ("sync", "async"):
        view = Face(any_cache, colour).cached()(lambda: "page")
        app.add_url_rule(f"/{colour}", view_func=view, endpoint=colour)
    client = app.test_client()
    for _ in range(3):
        client.get("/sync")
        client.get("/async")
    found = any_cache.stats()
    assert (found.hits, found.misses, found.computed, found.stored) == (4, 2, 2, 2)


def test_waiting_for_somebody_elses_computation_is_counted(cache: Cache) -> None:
    """It is a miss, and no computation."""
    inside, go = threading.Event(), threading.Event()

    @cache.memoize()
    def f() -> int:
        inside.set()
        assert go.wait(PATIENCE)
        return 1

    threads = [threading.Thread(target=f) for _ in range(3)]
    threads[0].start()
    assert inside.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    until(lambda: cache.stats().waits == 2)
    go.set()
    for thread in threads:
        thread.join()
    found = cache.stats()
    assert (found.misses, found.waits, found.computed, found.hits) == (3, 2, 1, 0)


def test_a_snapshot_is_frozen_and_does_not_move(cache: Cache) -> None:
    """It is what was, when it was asked for."""
    before: Any = cache.stats()
    cache.memoize()(lambda: 1)()
    assert before.misses == 0
    assert cache.stats().misses == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.misses = 5
    assert dataclasses.asdict(before).keys() == {
        "hits", "stale", "misses", "waits", "computed", "failed", "stored", "rescued"
    }  # fmt: skip


def test_nothing_asked_is_a_ratio_of_zero() -> None:
    """And no division by it."""
    assert Stats(0, 0, 0, 0, 0, 0, 0, 0).hit_ratio == 0.0
    assert Stats(1, 1, 2, 0, 0, 0, 0, 0).hit_ratio == 0.5


def test_waits_for_other_processes_are_counted(tmp_path: Path) -> None:
    """Two caches over one folder are to each other what two processes are."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path)}
    go, entered = threading.Event(), threading.Event()

    def rates() -> int:
        entered.set()
        assert go.wait(PATIENCE)
        return 1

    first, second = (Cache(Flask("site"), config=config) for _ in range(2))
    functions = [cache.memoize()(rates) for cache in (first, second)]
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(functions[0])
        assert entered.wait(PATIENCE)
        follower = pool.submit(functions[1])
        until(lambda: second.stats().waits == 1)
        go.set()
        assert leader.result() == follower.result() == 1
    assert (first.stats().waits, first.stats().computed) == (0, 1)
    assert (second.stats().waits, second.stats().misses, second.stats().computed) == (1, 1, 0)
