"""``on_invalidate``: who is told of an invalidation, of what, and when."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache, Invalidated
from flask_caching_async.decorators.wrappers import plan_of
from flask_caching_async.pages.http import header_name
from support.faces import Face
from support.sites import Site


@pytest.fixture
def site(app: Flask, cache: Cache, colour: str) -> Site:
    """A site in memory, in both colours."""
    return Site(app, cache, colour)


@pytest.fixture
def told(cache: Cache) -> list[Invalidated]:
    """What a listener was told."""
    events: list[Invalidated] = []
    cache.on_invalidate(events.append)
    return events


def test_each_operation_tells_what_it_was_about(site: Site, told: list[Invalidated]) -> None:
    """Keys, tags, views, paths, everything: in the terms of who deleted it."""
    view = site.view("/works/<int:n>")(lambda n: "page")
    listed = site.view("/list", query_string=True, endpoint="list")(lambda: "page")
    function = site.face.memoize()(lambda n: n)
    name, memoized = plan_of(view).name, plan_of(function)
    done: list[tuple[Callable[[], Any], Invalidated]] = [
        (lambda: site.do("delete", "k"), Invalidated(keys=("k",))),
        (lambda: site.do("delete", "view//works/1"),
         Invalidated(keys=("view//works/1",), paths=("/works/1",))),
        (lambda: site.do("delete_many", "a", "b"), Invalidated(keys=("a", "b"))),
        (lambda: site.do("unlink", "a"), Invalidated(keys=("a",))),
        (lambda: site.do("delete_tags", "a", "b c"), Invalidated(tags=("a", "b c"))),
        (lambda: site.do("delete_cached", view), Invalidated(views=(name,))),
        (lambda: site.do("delete_cached", view, n=3),
         Invalidated(keys=("view//works/3",), paths=("/works/3",))),
        (lambda: site.do("delete_cached", view, "/works/4"),
         Invalidated(keys=("view//works/4",), paths=("/works/4",))),
        (lambda: site.do("delete_memoized", function), Invalidated(functions=(memoized.name,))),
        (lambda: site.do("delete_memoized_verhash", function),
         Invalidated(functions=(memoized.name,))),
        (lambda: site.do("clear"), Invalidated(everything=True)),
    ]  # fmt: skip
    for operation, event in done:
        operation()
        assert told == [event]
        told.clear()
    site.do("delete_memoized", function, 1)
    assert told[0].keys and not told[0].functions
    site.do("delete_cached", listed, "/list", {"a": 1})
    assert told[1].paths == ("/list",) and told[1].keys[0].startswith("view//list")


def test_it_is_told_after_the_invalidation(site: Site) -> None:
    """Who purges then finds that nothing old is served any more."""
    site.face.cache.set("k", 1)
    seen: list[Any] = []
    site.cache.on_invalidate(lambda event: seen.append(site.cache.get("k")))
    site.do("delete", "k")
    assert seen == [None]


def test_reading_and_writing_tell_nothing(site: Site, told: list[Invalidated]) -> None:
    """Only what was deleted is told."""
    site.do("set", "k", 1, tags=["a"])
    site.do("get", "k")
    site.do("get_or_set", "k", 2)
    assert told == []


def test_a_listener_may_be_async(site: Site) -> None:
    """From sync code it runs to its end before the deletion returns, on a loop that stays."""
    import asyncio

    seen: list[tuple[Invalidated, str]] = []

    @site.cache.on_invalidate
    async def purge(event: Invalidated) -> None:
        await asyncio.sleep(0)
        seen.append((event, threading.current_thread().name))

    site.do("delete", "k")
    site.do("clear")
    assert [event for event, _ in seen] == [Invalidated(keys=("k",)), Invalidated(everything=True)]
    on_loop = {name == "flask-caching-async-loop" for _, name in seen}
    assert on_loop == {not site.is_async}


def test_a_blocking_listener_does_not_block_a_loop(site: Site) -> None:
    """Async code calls it in a worker thread."""
    threads: list[bool] = []
    here = threading.current_thread()
    site.cache.on_invalidate(lambda event: threads.append(threading.current_thread() is here))
    site.do("delete", "k")
    assert threads == [not site.is_async]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_listener_that_fails_fails_nothing(
    site: Site, told: list[Invalidated], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the others are told all the same."""

    def fail(event: Invalidated) -> None:
        raise OSError("no CDN")

    async def afail(event: Invalidated) -> None:
        raise OSError("no CDN")

    last: list[Invalidated] = []
    site.cache.on_invalidate(fail if kind == "sync" else afail)
    site.cache.on_invalidate(last.append)
    site.do("set", "k", 1)
    with caplog.at_level(logging.ERROR):
        assert site.do("delete", "k") is True
    assert told == last == [Invalidated(keys=("k",))]
    assert "was told of an invalidation" in caplog.text and "no CDN" in caplog.text


def test_a_deletion_that_is_refused_is_not_told(face: Face) -> None:
    """Nothing was invalidated."""
    events: list[Invalidated] = []
    face.cache.on_invalidate(events.append)
    with pytest.raises(ValueError):
        face.cache.delete_cached(lambda: None)
    assert events == []


def test_the_names_are_those_of_the_tag_header() -> None:
    """A purge is asked for in the words that the pages came with."""
    event = Invalidated(tags=("a", "b c"), views=("shop.<locals>.ä",))
    assert event.names == ("a", "b%20c", header_name("shop.<locals>.ä"))
    with pytest.raises(AttributeError):
        event.tags = ()  # type: ignore[misc]


def test_it_works_on_the_process_loop_itself(cache: Cache, caplog: Any) -> None:
    """Sync code there cannot wait for that loop: it says so in the log, and loses no coroutine."""
    from flask_caching_async._runtime.process_loop import on_process_loop

    async def purge(event: Invalidated) -> None:
        raise AssertionError("it cannot run")

    async def delete() -> bool:
        return cache.delete("k")

    cache.on_invalidate(purge)
    assert on_process_loop(delete) is False
    assert "was told of an invalidation" in caplog.text
