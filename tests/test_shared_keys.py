"""Two functions under one key: neither has the value of the other, unless the user says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.testing import FakeClock
from support.backends import config_for, config_of_ours
from support.faces import Face
from support.waiting import until

pytestmark = pytest.mark.asyncio

KEY = "view//k"


def two(face: Face, **options: Any) -> tuple[Any, Any]:
    """Two functions; in one request, both have the key of its path."""
    names = ("first", "second")

    def made(name: str) -> Any:
        def function() -> str:
            return name

        function.__name__ = function.__qualname__ = name
        return face.cached(**options)(function)

    first, second = map(made, names)
    return first, second


@pytest.fixture(autouse=True)
def request_for_k(app: Flask) -> Iterator[None]:
    """A request, for functions whose key is its path."""
    with app.test_request_context("/k"):
        yield


async def test_two_functions_never_share_an_entry(app: Flask, any_face: Face) -> None:
    """Each computes its own value, and overwrites that of the other."""
    first, second = two(any_face)
    for _ in range(2):
        assert await any_face.call(first) == "first"
        assert await any_face.call(second) == "second"
        assert await any_face.call(second) == "second"
    assert any_face.cache.stats().hits == 2


async def test_functions_that_were_given_one_key_share_its_entry(any_face: Face) -> None:
    """As in Flask-Caching: a key without the path is the user's own word."""
    first, second = two(any_face, key_prefix="mine")
    assert await any_face.call(first) == await any_face.call(second) == "first"
    assert await any_face.call(second) == "first"


async def test_a_value_that_was_set_by_hand_answers_each_of_them(
    app: Flask, any_face: Face
) -> None:
    """A program that names the key means it, with tags or without."""
    first, second = two(any_face)
    for tags in ((), ("t",)):
        await any_face.set(KEY, "by hand", tags=tags)
        assert await any_face.call(first) == await any_face.call(second) == "by hand"
    await any_face.delete_tags("t")
    assert await any_face.call(second) == "second"


async def test_what_get_or_set_stored_answers_each_of_them(app: Flask, any_face: Face) -> None:
    """And it takes whatever is stored there."""
    first, second = two(any_face)
    assert await any_face.get_or_set(KEY, "made") == "made"
    assert await any_face.call(first) == await any_face.call(second) == "made"
    await any_face.delete(KEY)
    assert await any_face.call(first) == "first"
    assert await any_face.get_or_set(KEY, "made") == "first"


async def test_an_entry_without_a_tag_that_a_later_release_adds_is_a_miss(
    any_cache: Cache, any_face: Face
) -> None:
    """Nobody could drop it by that tag."""

    def price() -> int:
        return len(calls)

    calls: list[int] = []
    old = any_face.memoize()(price)
    assert await any_face.call(old) == 0
    calls.append(1)
    new = any_face.memoize(tags="prices")(price)
    assert await any_face.call(old) == 0
    assert await any_face.call(new) == 1
    await any_face.delete_tags("prices")
    calls.append(2)
    assert await any_face.call(new) == 2


async def test_a_helper_with_the_default_key_is_not_the_page(app: Flask, tmp_path: Any) -> None:
    """A view calls a function that was cached as if it were a view, under the same path."""
    for backend in ("SimpleCache", "FileSystemCache"):
        cache = Cache(app, config=config_for(backend, tmp_path))

        @cache.cached()
        def helper() -> str:
            return "helper"

        @cache.cached()
        def page() -> str:
            return f"page with {helper()}"  # noqa: B023

        for _ in range(2):
            with app.test_request_context("/page"):
                assert page() == "page with helper"


async def test_a_soft_timeout_does_not_wait_for_another_function(app: Flask) -> None:
    """Whoever has an old value of its own is not given the new one of the other."""
    cache, clock, go = Cache(app, config={"CACHE_TYPE": "SimpleCache"}), FakeClock(), []
    cache.cache.clock = clock
    begun = threading.Event()

    @cache.cached(timeout=10, stale_if_error=60, soft_timeout=30)
    def first() -> str:
        return "first"

    @cache.cached(timeout=10)
    def second() -> str:
        begun.set()
        until(lambda: go or cache.stats().waits)
        return "second"

    def other() -> None:
        with app.test_request_context("/k"):
            second()

    assert first() == "first"
    clock.advance(20)
    thread = threading.Thread(target=other)
    thread.start()
    assert begun.wait(30)
    assert await asyncio.to_thread(first) == "first"
    go.append(True)
    thread.join()
    assert cache.stats().waits == 0


@pytest.mark.parametrize("kind", ["FileSystemCache", "RedisCache", "MemcachedCache"])
async def test_two_apps_under_one_prefix_never_share_a_page(
    kind: str, colour: str, tmp_path: Path, request: pytest.FixtureRequest, caplog: Any
) -> None:
    """Though their views have one name; it is said once in each of them."""
    config = config_of_ours(kind, tmp_path, request.getfixturevalue)

    def site(name: str) -> tuple[Flask, Face, Any]:
        app = Flask(name)
        face = Face(Cache(app, config=config), colour)

        def index() -> str:
            return name

        index.__qualname__ = "index"
        return app, face, face.cached(60)(index)

    sites = [site("shop"), site("blog")]
    for app, face, index in sites * 2:
        with app.test_request_context("/"):
            assert await face.call(index) == app.name
            assert await face.call(index) == app.name
    assert [face.cache.stats().hits for _, face, _ in sites] == [2, 2]
    said = [line for line in caplog.messages if "CACHE_KEY_PREFIX" in line]
    assert (
        len(said) == 2
        and "'view//' holds what shop has stored, and is asked for by blog" in said[0]
    )
    for _, face, _ in sites:
        face.cache.close()
