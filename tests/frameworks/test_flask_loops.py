"""Async views that use the cache by themselves: a loop for each request, and no error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from support.sites import Site
from support.waiting import at_once


def site_of_everything(app: Flask, cache: Cache) -> Site:
    """A view that awaits all there is."""
    site = Site(app, cache, "async")

    @cache.memoize()
    async def double(n: int) -> int:
        site.calls += 1
        await asyncio.sleep(0)
        return n * 2

    @cache.memoize()
    def triple(n: int) -> int:
        site.calls += 1
        return n * 3

    async def default() -> int:
        site.calls += 1
        return 7

    async def works(n: int) -> dict[str, Any]:
        await cache.aset(f"k{n}", n)
        return {
            "get": await cache.aget(f"k{n}"),
            "many": await cache.aget_many(f"k{n}", "nothing"),
            "double": await double(n),
            "triple": triple(n),
            "or_set": await cache.aget_or_set("or", default),
            "both": await asyncio.gather(double(n), double(n)),
        }

    app.add_url_rule("/works/<int:n>", "works", works)
    return site


def expected(n: int) -> dict[str, Any]:
    """What it answers."""
    return {
        "get": n, "many": [n, None], "double": 2 * n, "triple": 3 * n, "or_set": 7,
        "both": [2 * n, 2 * n],
    }  # fmt: skip


def test_two_hundred_requests_make_no_error_and_hit(app: Flask, any_cache: Cache) -> None:
    """M2, M3, M4: not every second one fails, and none silently computes again."""
    site = site_of_everything(app, any_cache)
    client = app.test_client()
    for number in range(200):
        response = client.get(f"/works/{number % 5}")
        assert (response.status_code, response.json) == (200, expected(number % 5))
    assert site.calls == 5 + 5 + 1


def test_requests_from_many_threads_make_no_error(app: Flask, any_cache: Cache) -> None:
    """M4: from six threads with six loops at once."""
    site = site_of_everything(app, any_cache)

    def visit() -> bool:
        client = app.test_client()
        return all(client.get(f"/works/{n % 3}").json == expected(n % 3) for n in range(20))

    assert at_once(6, visit) == [True] * 6
    assert site.calls == 3 + 3 + 1


def test_a_memoized_coroutine_can_be_awaited_in_a_cached_async_view(
    app: Flask, any_cache: Cache
) -> None:
    """M7: no ``AsyncToSync`` in a thread whose loop runs."""
    calls: list[str] = []

    @any_cache.memoize()
    async def inner(n: int) -> int:
        calls.append("inner")
        return n

    @any_cache.cached(query_string=True)
    async def works() -> str:
        calls.append("view")
        return str(await inner(5))

    app.add_url_rule("/works", "works", works)
    client = app.test_client()
    assert [client.get(f"/works?n={n}").text for n in (1, 2, 1, 2)] == ["5"] * 4
    assert calls == ["view", "inner", "view"]


def test_a_cached_coroutine_can_be_awaited_by_another(app: Flask, any_cache: Cache) -> None:
    """A decorated view is a coroutine function for everybody."""
    calls: list[int] = []

    @any_cache.cached(key_prefix="shared")
    async def shared() -> str:
        calls.append(1)
        return "shared"

    async def one() -> str:
        return f"one {await shared()}"

    async def both() -> str:
        return " ".join(await asyncio.gather(shared(), shared()))

    app.add_url_rule("/one", "one", one)
    app.add_url_rule("/both", "both", both)
    app.add_url_rule("/shared", "shared", shared)
    client = app.test_client()
    texts = [client.get(path).text for path in ("/both", "/one", "/shared")]
    assert texts == ["shared shared", "one shared", "shared"]
    assert len(calls) == 1


def test_deleting_in_an_async_view_is_awaited_there(app: Flask, any_cache: Cache) -> None:
    """The awaitable twins of all deletions."""
    site = Site(app, any_cache, "async")
    view = site.numbers()
    memoized = site.face.memoize()(site.counted(lambda n: str(site.calls)))

    async def forget() -> str:
        done = [
            await any_cache.adelete_cached(view, "/works"),
            await any_cache.adelete_memoized(memoized, 1),
            await any_cache.adelete_tags("tag"),
            await view.amake_cache_key(path="/works"),
        ]
        return repr(done)

    async def call() -> str:
        return str(await memoized(1))

    app.add_url_rule("/forget", "forget", forget)
    app.add_url_rule("/call", "call", call)
    assert [site.text(), site.text("/call"), site.text(), site.text("/call")] == list("1212")
    assert site.text("/forget") == "[True, True, True, 'view//works']"
    assert [site.text(), site.text("/call")] == ["3", "4"]


@pytest.mark.parametrize("where", ["sync view", "async view"])
def test_a_refresh_of_an_async_view_is_awaited(app: Flask, any_cache: Cache, where: str) -> None:
    """Background renewal from a job's view."""
    site = Site(app, any_cache, "async")
    view = site.numbers()

    async def renew() -> str:
        with app.test_request_context("/works"):
            return str(await view.refresh())

    def sync_renew() -> str:
        with app.test_request_context("/works"):
            return str(app.ensure_sync(view.refresh)())

    app.add_url_rule("/renew", "renew", renew if where == "async view" else sync_renew)
    assert [site.text(), site.text("/renew"), site.text()] == ["1", "2", "2"]
