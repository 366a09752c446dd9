"""Backends of users: written in one colour, working in both."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cachelib
import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends import BaseCache
from support.backends import AsyncOnly, SyncOnly
from support.faces import Face
from support.waiting import auntil


class Placed(AsyncOnly):
    """An async-only backend that notes on which loop and thread it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.loops: set[int] = set()
        self.threads: set[int] = set()
        self.kept: list[asyncio.AbstractEventLoop] = []

    def _note(self) -> None:
        loop = asyncio.get_running_loop()
        self.kept.append(loop)  # so that no other loop can get its id
        self.loops.add(id(loop))
        self.threads.add(threading.get_ident())

    async def aget(self, key: str) -> Any:
        self._note()
        await asyncio.sleep(0)
        return await super().aget(key)

    async def aset(self, key: str, value: Any, timeout: Any = None) -> bool:
        self._note()
        await asyncio.sleep(0)
        return await super().aset(key, value, timeout)

    async def adelete(self, key: str) -> bool:
        self._note()
        return await super().adelete(key)


class Threaded(SyncOnly):
    """A sync backend that notes on which threads it was called, and whether a loop ran there."""

    def __init__(self) -> None:
        super().__init__()
        self.on_a_loop: list[bool] = []

    def get(self, key: str) -> Any:
        self.on_a_loop.append(asyncio._get_running_loop() is not None)
        return super().get(key)


class Inline(Threaded):
    """The same, but it never waits for I/O."""

    blocking = False


async def everything(face: Face) -> None:
    """Use each operation once."""
    f = face.memoize(tags=["t"])(lambda a: a)
    assert [await face.call(f, 1) for _ in range(2)] == [1, 1]
    await face.delete_memoized(f, 1)
    await face.call(f, 1)
    await face.delete_memoized(f)
    await face.call(f, 1)
    await face.delete_tags("t")
    assert await face.set("a", 1)
    assert await face.set_many({"b": 2, "c": 3}, tags=["t"]) == ["b", "c"]
    assert await face.add("a", 2) is False
    assert await face.get_many("a", "b", "c", "d") == [1, 2, 3, None]
    assert await face.get_dict("a") == {"a": 1}
    assert await face.has("a") is True
    assert (await face.inc("n", 3), await face.dec("n")) == (3, 2)
    assert await face.get_or_set("made", lambda: "made") == "made"
    assert await face.delete("a") is True
    assert await face.delete_many("b", "c") == ["b", "c"]
    assert await face.unlink("n") == ["n"]
    await face.clear()
    await face.close()


@pytest.mark.parametrize("backend", [SyncOnly, AsyncOnly, Placed, Threaded, Inline])
def test_everything_works_in_both_colours(app: Flask, colour: str, backend: type) -> None:
    """Three methods are enough."""
    cache = Cache(app, config={"CACHE_TYPE": backend})
    asyncio.run(everything(Face(cache, colour)))


def test_an_async_only_backend_is_always_called_on_one_loop(app: Flask) -> None:
    """From sync code, from many loops, from many threads, from views: its client may be kept."""
    cache = Cache(app, config={"CACHE_TYPE": Placed})
    for colour in ("sync", "async"):
        view = Face(cache, colour).cached()(lambda: "page")
        app.add_url_rule(f"/{colour}", view_func=view, endpoint=colour)

    def work(number: int) -> None:
        for colour in ("sync", "async"):
            asyncio.run(everything(Face(cache, colour)))
        cache.get("key")
        assert app.test_client().get("/sync").text == "page"
        assert app.test_client().get("/async").text == "page"

    for number in range(3):
        work(number)
    with ThreadPoolExecutor(4) as pool:
        for result in [pool.submit(asyncio.run, cache.aget(f"key {n}")) for n in range(20)]:
            assert result.result() is None
    assert len(cache.cache.loops) == len(cache.cache.threads) == 1
    assert threading.get_ident() not in cache.cache.threads


@pytest.mark.asyncio
async def test_a_blocking_backend_never_runs_on_the_loop_of_its_caller(app: Flask) -> None:
    """It is called in a worker thread."""
    cache = Cache(app, config={"CACHE_TYPE": Threaded})
    await everything(Face(cache, "async"))
    assert set(cache.cache.on_a_loop) == {False}


@pytest.mark.asyncio
async def test_a_backend_that_never_blocks_is_called_inline(app: Flask) -> None:
    """``blocking = False``: no thread is paid for."""
    cache = Cache(app, config={"CACHE_TYPE": Inline})
    await everything(Face(cache, "async"))
    assert set(cache.cache.on_a_loop) == {True}


@pytest.mark.parametrize("backend", [SyncOnly, AsyncOnly])
def test_the_derived_half_can_be_called_directly(backend: type) -> None:
    """On the backend itself, without a Cache."""
    made: Any = backend()
    assert made.set("key", 1) is True
    assert made.get("key") == 1
    assert made.get_many("key", "nothing") == [1, None]
    assert made.add("key", 2) is False
    assert made.inc("n") == 1
    assert made.delete("key") is True

    async def use() -> None:
        assert await made.aset("key", 1) is True
        assert await made.aget("key") == 1
        assert await made.ahas("key") is True
        assert await made.aget_dict("key") == {"key": 1}
        assert await made.aset_many({"a": 1}) == ["a"]
        assert await made.adelete_many("a", "key") == ["a", "key"]
        assert (await made.ainc("n"), await made.adec("n")) == (2, 1)
        await made.aclear()
        await made.aclose()

    asyncio.run(use())
    derived = made.aset if backend is SyncOnly else made.set
    assert derived.__doc__ in ("Awaitable :meth:`set`.", "Blocking :meth:`aset`.")


def test_a_backend_without_its_methods_says_what_is_missing(app: Flask) -> None:
    """Not "None" for ever."""

    class Empty(BaseCache):
        pass

    for call in (lambda b: b.get("k"), lambda b: b.set("k", 1), lambda b: b.delete("k")):
        with pytest.raises(NotImplementedError, match="Empty has neither"):
            call(Empty())
    with pytest.raises(NotImplementedError):
        asyncio.run(Empty().aget("key"))


def test_a_mixin_of_cachelib_brings_its_methods(app: Flask, tmp_path: Any) -> None:
    """``class Mine(BaseCache, cachelib.FileSystemCache)``, as Flask-Caching's own backends are."""

    class Mine(BaseCache, cachelib.FileSystemCache):  # type: ignore[misc]
        def __init__(self) -> None:
            cachelib.FileSystemCache.__init__(self, str(tmp_path))

    cache = Cache(app, config={"CACHE_TYPE": Mine})
    cache.set("key", 1)
    assert cache.cache.has("key") is True
    assert asyncio.run(cache.cache.aget("key")) == 1
    assert cache.clear() is True
    assert cache.get("key") is None
    for colour in ("sync", "async"):
        asyncio.run(everything(Face(cache, colour)))


def test_a_subclass_may_write_the_other_half_too() -> None:
    """Then nothing is derived."""

    class Both(SyncOnly):
        async def aget(self, key: str) -> Any:
            return "async half"

    class More(Both):
        def get(self, key: str) -> Any:
            return "sync half"

    assert asyncio.run(Both().aget("key")) == "async half"
    assert More().get("key") == "sync half"


def test_a_blocking_method_on_the_loop_that_must_serve_it_is_an_error(app: Flask) -> None:
    """It would wait for itself for ever."""

    class Wrong(AsyncOnly):
        async def aget(self, key: str) -> Any:
            return self.get(key + "!")  # must be: await self.aget(...)

    cache = Cache(app, config={"CACHE_TYPE": Wrong, "CACHE_ON_ERROR": "raise"})
    with pytest.raises(Exception, match="await the a-methods"):
        cache.get("key")


@pytest.mark.parametrize("backend", [SyncOnly, AsyncOnly])
def test_many_concurrent_callers_share_one_computation(app: Flask, backend: type) -> None:
    """On a backend of the user's as on ours."""
    cache = Cache(app, config={"CACHE_TYPE": backend})
    calls: list[int] = []

    @cache.memoize()
    async def f() -> str:
        calls.append(1)
        await auntil(lambda: cache.stats().waits == 9)
        return "value"

    async def gather() -> list[str]:
        return list(await asyncio.gather(*(f() for _ in range(10))))

    assert asyncio.run(gather()) == ["value"] * 10
    assert len(calls) == 1
