"""The types that users see, checked by mypy --strict and pyright; never imported.

An assignment with an annotation fails if the decorators lose a signature, a binding or a colour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

from flask import Flask, Response, make_response
from flask.views import MethodView, View

from flask_caching_async import (
    Cache,
    CachedResponse,
    Invalidated,
    Stats,
    make_template_fragment_key,
)
from flask_caching_async.backends import BaseCache, FileSystemCache, SimpleCache
from flask_caching_async.testing import FakeClock

app = Flask(__name__)
cache = Cache(app, with_jinja2_ext=False, config={"CACHE_TYPE": "SimpleCache"})
cache.init_app(app, config={"CACHE_TYPE": "SimpleCache"})


# --- functions ------------------------------------------------------------------------------------


@cache.memoize(60, stale_while_revalidate=timedelta(seconds=5), tags=lambda a, b: [f"a:{a}"])
def memoized(a: int, b: str = "x") -> bytes:
    return b""


@cache.memoize(timeout=timedelta(minutes=1), tags=("one", "two"), jitter=0.1, lock=False)
async def amemoized(a: int, b: str = "x") -> bytes:
    return b""


@cache.cached(timeout=lambda value: 5, vary_on=("Accept", lambda: 1), key_prefix="key")
def cached(a: int, *, b: str = "x") -> Response:
    return CachedResponse(make_response("body"), timeout=timedelta(minutes=1))


@cache.cached(60, unless=lambda: False, query_string=True, tags="one", stale_if_error=30)
async def acached(a: int, *, b: str = "x") -> str:
    return ""


@cache.cached(60, http=True, client_timeout=timedelta(minutes=1), shared_timeout=600)
def page() -> str:
    return ""


@cache.cached(http="strict")
async def apage() -> str:
    return ""


@cache.on_invalidate
def purge(event: Invalidated) -> None:
    names: tuple[str, ...] = event.names + event.paths
    print(names, event.everything)


@cache.on_invalidate
async def apurge(event: Invalidated) -> None: ...


purge_itself: Callable[[Invalidated], None] = purge
memoized_result: bytes = memoized(1, b="y")
memoized_function: Callable[[int, str], bytes] = memoized
memoized_uncached: Callable[[int, str], bytes] = memoized.uncached
memoized_refreshed: bytes = memoized.refresh(1, "y")
memoized_key: str = memoized.make_cache_key(memoized.uncached, 1)
memoized.cache_timeout = timedelta(seconds=1)
memoized.delete_memoized()

amemoized_call: Coroutine[Any, Any, bytes] = amemoized(1, "y")
amemoized_function: Callable[[int, str], Awaitable[bytes]] = amemoized
amemoized_refreshed: Coroutine[Any, Any, bytes] = amemoized.refresh(1)

cached_result: Response = cached(1, b="y")
cached_uncached: Callable[[int], Response] = cached.uncached
cached_refreshed: Response = cached.refresh(1, b="y")
cached_key: str = cached.make_cache_key(path="/", query_args={"a": 1})
acached_call: Coroutine[Any, Any, str] = acached(1, b="y")


@cache.cached(60, personal=True, query_string=["page"])
def poll(a: int) -> str:
    return ""


polled: str = poll(1)

app.add_url_rule("/cached/<int:a>", view_func=cached)
app.add_url_rule("/acached/<int:a>", view_func=acached)


@app.route("/route")
@cache.cached()
def route() -> str:
    return ""


# --- classes of views: mypy joins what as_view() may return, so decorate inside -------------------


class Page(View):
    decorators = [cache.cached(60)]  # noqa: RUF012

    def dispatch_request(self) -> str:
        return ""


class Item(MethodView):
    @cache.cached(60)
    def get(self) -> str:
        return ""


app.add_url_rule("/page", view_func=Page.as_view("page"))
app.add_url_rule("/item", view_func=Item.as_view("item"))
cache.delete_cached(Item.get)
cached.delete_cached("/path", {"a": 1})
awaited_deletion: object = acached.adelete_cached(a=1)


# --- methods --------------------------------------------------------------------------------------


class Person:
    @cache.memoize()
    def greet(self, word: str) -> str:
        return word

    @cache.memoize()
    async def agreet(self, word: str) -> str:
        return word

    @cache.cached(key_prefix="everybody")
    def everybody(self) -> list[str]:
        return []

    @classmethod
    @cache.memoize()
    def kind(cls, word: str) -> str:
        return word

    @staticmethod
    @cache.memoize()
    def static(word: str) -> str:
        return word

    async def all_of_them(self) -> str:
        return self.greet("a") + await self.agreet("b")


person = Person()
bound: str = person.greet("hello")
unbound: str = Person.greet(person, "hello")
bound_refreshed: str = person.greet.refresh("hello")
unbound_refreshed: str = Person.greet.refresh(person, "hello")
bound_uncached: str = person.greet.uncached(person, "hello")
abound: Coroutine[Any, Any, str] = person.agreet("hello")
abound_refreshed: Coroutine[Any, Any, str] = person.agreet.refresh("hello")
bound_cached: list[str] = person.everybody()
of_static: str = Person.static("hello")
person.greet.delete_memoized()


# --- operations -----------------------------------------------------------------------------------

stored: bool = cache.set("key", object(), timeout=timedelta(1), tags=["one"])
many: list[str] = cache.set_many({"a": 1}, 5.5, tags="one")
added: bool = cache.add("key", 1, tags=("one",))
there: bool = cache.has("key")
number: int | None = cache.inc("n", 2)
less: int | None = cache.dec("n")
values: list[Any] = cache.get_many("a", "b")
mapping: dict[str, Any] = cache.get_dict("a", "b")
deleted: bool = cache.delete("key")
gone: list[str] = cache.delete_many("a", "b")
unlinked: list[str] = cache.unlink("a")
tagged: bool = cache.delete_tags("one", "two")
cleared: bool = cache.clear()
value: str = cache.get_or_set("key", lambda: "value", 60, tags=["one"])
figures: Stats = cache.stats()
ratio: float = figures.hit_ratio
cache.close()

dropped: bool = cache.delete_memoized(memoized)
cache.delete_memoized(memoized, 1, b="y")
cache.delete_memoized(amemoized, 1)
cache.delete_memoized(person.greet)
cache.delete_memoized(person.greet, "hello")
cache.delete_memoized(Person.greet, person, "hello")
cache.delete_memoized(Person.kind, Person, "hello")
cache.delete_memoized_verhash(person.agreet)
page_dropped: bool = cache.delete_cached(cached, "/cached/1")
cache.delete_cached(acached, query_args=[("a", 1)], a=1)
cache.delete_cached(person.everybody)
cache.delete(make_template_fragment_key("sidebar", [1, "two"]))


async def awaitables() -> None:
    """The same, awaited."""
    async with cache:
        stored: bool = await cache.aset("key", 1, tags=["one"])
        many: list[str] = await cache.aset_many({"a": 1})
        there: bool = await cache.ahas("key")
        number: int | None = await cache.ainc("n")
        values: list[Any] = await cache.aget_many("a")
        mapping: dict[str, Any] = await cache.aget_dict("a")
        deleted: bool = await cache.adelete("key")
        tagged: bool = await cache.adelete_tags("one")
        dropped: bool = await cache.adelete_memoized(amemoized, 1)
        page: bool = await cache.adelete_cached(acached, "/acached/1")
        value: bytes = await amemoized(1)
        await cache.aget_or_set("key", make)
        await cache.aclose()
        print(stored, many, there, number, values, mapping, deleted, tagged, dropped, page, value)


async def make() -> str:
    return "made"


# --- backends -------------------------------------------------------------------------------------


class Mine(BaseCache):
    """A sync backend; the base class has the awaitable half."""

    def get(self, key: str) -> Any:
        return None

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        return True

    def delete(self, key: str) -> bool:
        return True


async def backend(mine: BaseCache, memory: SimpleCache, files: FileSystemCache) -> bool:
    """Both halves of every pair are known to type checkers."""
    mine.get("key")
    await mine.aget("key")
    await memory.aset("key", 1)
    return await files.adelete("key")


clock = FakeClock()
clock.install(cache)
clock.advance(60)
