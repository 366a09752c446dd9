"""An invalidation wins over every computation that began before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async._runtime.colour import run_now
from flask_caching_async.backends import BaseCache
from support.faces import COLOURS
from support.params import WAYS
from support.stages import Body, Stage, stage_of, story


class Case:
    """Something cached, and one way to invalidate it."""

    #: What is served after it: ``None`` for what a new computation returns.
    put: Any = None

    def __init__(self, stage: Stage, app: Flask, body: Body) -> None:
        self.stage, self.app = stage, app
        self.function: Any = self.decorate(body)

    def decorate(self, body: Body) -> Any:
        return self.stage.memoize(tags=["tag"])(body.function())

    async def call(self) -> Any:
        return await self.stage.call(self.function, 1)

    async def refresh(self) -> Any:
        return await self.stage.call(self.function.refresh, 1)

    @property
    def key(self) -> str:
        return str(self.function.make_cache_key(self.function.uncached, 1))

    async def invalidate(self) -> None:
        raise NotImplementedError


class Delete(Case):
    async def invalidate(self) -> None:
        await self.stage.delete(self.key)


class DeleteMany(Case):
    async def invalidate(self) -> None:
        await self.stage.delete_many("other", self.key)


class Unlink(Case):
    async def invalidate(self) -> None:
        await self.stage.unlink("other", self.key)


class Clear(Case):
    async def invalidate(self) -> None:
        await self.stage.clear()


class Memoized(Case):
    async def invalidate(self) -> None:
        assert await self.stage.delete_memoized(self.function)


class MemoizedCall(Case):
    async def invalidate(self) -> None:
        assert await self.stage.delete_memoized(self.function, 1)


class Verhash(Case):
    async def invalidate(self) -> None:
        assert await self.stage.delete_memoized_verhash(self.function)


class Tags(Case):
    async def invalidate(self) -> None:
        assert await self.stage.delete_tags("other", "tag")


class Set(Case):
    put = "put"

    async def invalidate(self) -> None:
        assert await self.stage.set(self.key, "put")


class SetMany(Case):
    put = "put"

    async def invalidate(self) -> None:
        assert await self.stage.set_many({"other": 1, self.key: "put"}, tags=["tag"])


class Method(Case):
    def decorate(self, body: Body) -> Any:
        function = self.stage.memoize()(self.stage.dye(body_of_method(body)))

        class Thing:
            method = function

            def __caching_id__(self) -> str:
                return "thing"

        Thing.method = self.stage.cache.memoize()(self.stage.dye(body_of_method(body)))
        self.thing = Thing()
        return Thing.method

    async def call(self) -> Any:
        return await self.stage.call(self.function, self.thing, 1)

    async def refresh(self) -> Any:
        return await self.stage.call(self.function.refresh, self.thing, 1)

    async def invalidate(self) -> None:
        assert await self.stage.delete_memoized(self.thing.method)


def body_of_method(body: Body) -> Callable[..., Any]:
    async def method(self: Any, n: int) -> Any:
        return await body()

    return method


class View(Case):
    def decorate(self, body: Body) -> Any:
        view = self.stage.cached()(body.function())
        self.app.add_url_rule("/works", "works", view)
        return view

    async def call(self) -> Any:
        with self.app.test_request_context("/works"):
            return await self.stage.call(self.function)

    async def refresh(self) -> Any:
        with self.app.test_request_context("/works"):
            return await self.stage.call(self.function.refresh)

    async def invalidate(self) -> None:
        assert await self.stage.delete_cached(self.function)


class ViewPath(View):
    async def invalidate(self) -> None:
        assert await self.stage.delete_cached(self.function, "/works")


class ViewKey(View):
    async def invalidate(self) -> None:
        await self.stage.delete("view//works")


CASES = (
    Delete, DeleteMany, Unlink, Clear, Memoized, MemoizedCall, Verhash, Tags, Set, SetMany,
    Method, View, ViewPath, ViewKey,
)  # fmt: skip


#: One way for each operation of the store.
OPERATIONS = (Delete, DeleteMany, Clear, Memoized, Tags, Set, SetMany, Method, View)

#: Each way in memory, and each operation wherever it runs another way.
INVALIDATED = [
    (embedded, colour, kind)
    for embedded, colour in WAYS
    if colour in COLOURS
    for kind in (CASES if embedded == "SimpleCache" else OPERATIONS)
]


@pytest.mark.parametrize("stored", [False, True], ids=["cold", "stored"])
@pytest.mark.parametrize(
    ("embedded", "colour", "kind"), INVALIDATED, indirect=["embedded", "colour"]
)
@story
async def test_an_invalidation_wins_over_a_computation_under_way(
    app: Flask, any_stage: Stage, kind: type[Case], stored: bool
) -> None:
    """What began before it is neither stored nor served to a call that starts after it."""
    held = 2 if stored else 1
    body = Body(any_stage, held)
    case = kind(any_stage, app, body)
    if stored:
        assert await case.call() == 1
    ask = any_stage.dye(case.refresh if stored else case.call)
    leader = any_stage.start(ask)
    await body.entered(held)
    joined = any_stage.start(ask)
    await any_stage.waiting(1)
    await case.invalidate()
    fresh = held + 1 if case.put is None else case.put
    assert await case.call() == fresh
    body.go.set()
    assert await leader.result() == held
    assert await joined.result() in (held, fresh)
    assert await case.call() == fresh
    assert body.calls == (held + 1 if case.put is None else held)


@story
async def test_who_asks_after_an_invalidation_shares_a_new_computation(any_stage: Stage) -> None:
    """The flight that was overtaken takes no new passengers; the next one does."""
    body = Body(any_stage, 1, 2)
    f = any_stage.memoize()(body.function())
    old = any_stage.start(f)
    await body.entered(1)
    await any_stage.delete_memoized(f)
    new = [any_stage.start(f) for _ in range(5)]
    await body.entered(2)
    await any_stage.waiting(4)
    body.go.set()
    assert await old.result() == 1
    assert [await one.result() for one in new] == [2] * 5
    assert await any_stage.call(f) == 2


@story
async def test_an_invalidation_of_something_else_changes_nothing(
    app: Flask, any_stage: Stage
) -> None:
    """Other keys, tags, functions, instances and pages stay, also while they are computed."""
    body = Body(any_stage, 1)
    f = any_stage.memoize(tags=["mine"])(body.function())
    other = any_stage.memoize(tags=["other"])(Body(any_stage).function("other"))
    assert await any_stage.call(other) == 1
    leader = any_stage.start(f, 1)
    await body.entered()
    await any_stage.delete("other")
    await any_stage.delete_tags("other")
    await any_stage.delete_memoized(other)
    await any_stage.delete_memoized(f, 2)
    await any_stage.set("other", 1)
    body.go.set()
    assert await leader.result() == 1 == await any_stage.call(f, 1)
    assert body.calls == 1


class Interrupted(BaseCache):
    """A backend without atomic operations, on which something happens before or after a set."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Any] = {}
        self.before: dict[str, Callable[[], Any]] = {}
        self.after: dict[str, Callable[[], Any]] = {}

    def get(self, key: str) -> Any:
        return self.held.get(key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.before.pop(key, lambda: None)()
        self.held[key] = value
        self.after.pop(key, lambda: None)()
        return True

    def delete(self, key: str) -> bool:
        return self.held.pop(key, None) is not None

    def clear(self) -> bool:
        self.held.clear()
        return True


@pytest.mark.parametrize("kind", [k for k in CASES if k.put is None])
def test_an_invalidation_wins_over_a_value_that_is_being_stored(
    app: Flask, kind: type[Case]
) -> None:
    """Also where checking and storing are two steps: no reader in between sees the old value."""
    cache = Cache(app, config={"CACHE_TYPE": lambda *_: Interrupted()})
    backend: Any = cache.cache
    stage = stage_of(cache, "sync")
    case = kind(stage, app, Body(stage))
    seen: list[Any] = []
    key = "view//works" if isinstance(case, View) else ""
    if isinstance(case, Method):
        key = case.function.make_cache_key(case.function.uncached, case.thing, 1)
    key = key or case.key

    def after() -> None:
        seen.append(cache.get(key))
        seen.append(run_now(case.call()))

    backend.before[key] = lambda: run_now(case.invalidate())
    backend.after[key] = after
    assert run_now(case.call()) == 1
    assert seen == [None, 2]
    assert run_now(case.call()) != 1


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_backend_that_forgets_a_deletion_brings_nothing_back(app: Flask, colour: str) -> None:
    """Where the mark of a deletion is evicted, the flight still knows that it was overtaken."""
    backend = Interrupted()
    cache = Cache(app, config={"CACHE_TYPE": lambda *_: backend})
    stage = stage_of(cache, colour)

    async def play(stage: Stage) -> None:
        body = Body(stage, 1)
        f = stage.memoize()(body.function())
        key = f.make_cache_key(f.uncached)
        leader = stage.start(f)
        await body.entered()
        await stage.delete(key)
        for name in [name for name in backend.held if key in name]:
            del backend.held[name]
        body.go.set()
        assert await leader.result() == 1
        assert await stage.call(f) == 2

    story(play)(stage=stage)
