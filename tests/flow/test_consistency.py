"""A model: no reader that starts after an invalidation returned sees anything older."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_caching_async import Cache
from support.backends import config_for
from support.waiting import PATIENCE

READS = ("call", "acall", "get", "get_or_set", "refresh")
WRITES = ("delete", "delete_many", "clear", "delete_memoized", "delete_call", "delete_tags", "set")
#: What one actor does: a few steps, each with a pause in milliseconds before it.
STEPS = st.lists(
    st.tuples(st.sampled_from(READS + WRITES), st.integers(0, 2)), min_size=1, max_size=8
)


class Model:
    """A function that returns the version which it found when it was called.

    A version is counted up before each invalidation. ``floor`` is the newest one whose invalidation
    has returned: from then on, nothing below it may be seen.
    """

    def __init__(self, cache: Cache, slow: float) -> None:
        self.cache, self.slow = cache, slow
        self.version = self.floor = 0
        self.writing = threading.Lock()
        self.wrong: list[str] = []
        options: Any = {"key_prefix": "k", "tags": ["tag"]}
        self.plain = cache.cached(**options)(self._plain)
        self.coroutine = cache.cached(**options)(self._coroutine)
        self.memoized = cache.memoize(tags=["tag"])(self._memoized)

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def _plain(self) -> int:
        version = self.version
        time.sleep(self.slow)
        return version

    async def _coroutine(self) -> int:
        version = self.version
        await asyncio.sleep(self.slow)
        return version

    def _memoized(self) -> int:
        return self._plain()

    def check(self, what: str, floor: int, seen: Any) -> None:
        if seen is not None and seen < floor:
            self.wrong.append(f"{what} saw {seen} after {floor}")

    def do(self, what: str) -> None:
        floor = self.floor
        if what in WRITES:
            self.write(what)
        elif what == "refresh":
            self.check(what, floor, self.plain.refresh())
        elif what == "get":
            self.check(what, floor, self.cache.get("k"))
        elif what == "get_or_set":
            self.check(what, floor, self.cache.get_or_set("k", self._plain, tags=["tag"]))
        else:
            self.check(what, floor, self.plain())
            self.check("memoized", floor, self.memoized())

    async def ado(self, what: str) -> None:
        floor = self.floor
        if what in WRITES:
            await asyncio.to_thread(self.write, what)
        elif what == "refresh":
            self.check("arefresh", floor, await self.coroutine.refresh())
        elif what == "get":
            self.check("aget", floor, await self.cache.aget("k"))
        elif what == "get_or_set":
            value = await self.cache.aget_or_set("k", self._coroutine, tags=["tag"])
            self.check("aget_or_set", floor, value)
        else:
            self.check("acall", floor, await self.coroutine())

    def write(self, what: str) -> None:
        cache = self.cache
        key = self.memoized.make_cache_key(self.memoized.uncached)
        with self.writing:
            self.version = version = self.version + 1
            if what == "delete":
                cache.delete("k")
                cache.delete(key)
            elif what == "delete_many":
                cache.delete_many("k", key)
            elif what == "clear":
                cache.clear()
            elif what == "delete_memoized":
                cache.delete_cached(self.plain)
                cache.delete_cached(self.coroutine)
                cache.delete_memoized(self.memoized)
                cache.delete("k")
            elif what == "delete_call":
                cache.delete_memoized(self.memoized)
                cache.delete("k")
            elif what == "delete_tags":
                cache.delete_tags("tag")
            else:
                # Not the memoized key: what is put there by hand is no call of the function.
                cache.set("k", version, tags=["tag"])
                cache.delete(key)
            self.floor = version


def run(model: Model, threads: list[Any], tasks: list[Any]) -> None:
    """Let all actors go at once."""
    barrier = threading.Barrier(len(threads) + 1)

    def actor(steps: Any) -> None:
        barrier.wait(PATIENCE)
        for what, pause in steps:
            time.sleep(pause / 1000)
            model.do(what)

    async def atask(steps: Any) -> None:
        for what, pause in steps:
            await asyncio.sleep(pause / 1000)
            await model.ado(what)

    async def loop() -> None:
        barrier.wait(PATIENCE)
        async with asyncio.TaskGroup() as group:
            for steps in tasks:
                group.create_task(atask(steps))

    errors: list[BaseException] = []

    def caught(work: Any, *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=caught, args=(actor, steps)) for steps in threads]
    workers.append(threading.Thread(target=caught, args=(asyncio.run, loop())))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
        assert not worker.is_alive()
    assert not errors, errors


@pytest.mark.parametrize("backend", ["SimpleCache", "FileSystemCache", "cachelib", "sync-only"])
def test_no_reader_sees_what_was_invalidated_before_it_began(backend: str) -> None:
    """Reads, writes and invalidations from several threads and a loop, in any order."""

    @settings(
        max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        threads=st.lists(STEPS, min_size=2, max_size=4),
        tasks=st.lists(STEPS, min_size=1, max_size=4),
        slow=st.integers(0, 3),
    )
    def schedules(threads: list[Any], tasks: list[Any], slow: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            cache = Cache(Flask(__name__), config=config_for(backend, Path(folder)))
            model = Model(cache, slow / 1000)
            run(model, threads, tasks)
            assert not model.wrong
            floor = model.floor
            for what in ("call", "get", "get_or_set"):
                model.do(what)
            asyncio.run(model.ado("acall"))
            assert not model.wrong and model.floor == floor

    schedules()


@pytest.mark.parametrize("backend", ["SimpleCache", "FileSystemCache", "cachelib"])
def test_a_storm_of_reads_and_invalidations_shows_nothing_old(backend: str, tmp_path: Path) -> None:
    """The same for many more steps, chosen evenly."""
    cache = Cache(Flask(__name__), config=config_for(backend, tmp_path))
    model = Model(cache, 0)
    readers = [(what, 0) for what in READS * 16]
    writers = [(what, 0) for what in WRITES * 8]
    run(model, [readers, readers[::-1], writers], [readers, readers[::-1]])
    assert not model.wrong
