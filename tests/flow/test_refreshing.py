"""Refreshes that fail, refreshes that take too long, refreshes of pages, and periodic ones."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, g, request
from flask.views import MethodView

from flask_caching_async import Cache, NotStoredError
from flask_caching_async._flow.backoff import Backoff
from flask_caching_async.exceptions import ConfigurationError
from flask_caching_async.testing import FakeClock
from support.faces import Face
from support.params import cases, each_pace
from support.stages import Body, Stage, story
from support.waiting import PATIENCE, until

SWR: Any = {"timeout": 10, "stale_while_revalidate": 10_000}
SOFT: Any = {"timeout": 10, "stale_if_error": 600, "soft_timeout": 0.05}


# --- that fail ------------------------------------------------------------------------------------


@story
async def test_a_refresh_that_goes_on_failing_backs_off_and_is_logged_once(
    stage: Stage, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After 1, 2, 4 … seconds it is tried again; the old value is served all the time."""
    body = Body(stage)

    async def answer(number: int) -> int:
        if 2 <= number <= 5:
            raise OSError("down")
        return number

    body.answer = answer  # type: ignore[method-assign]
    f = stage.memoize(**SWR)(body.function())
    flights = stage.cache._binding().engine.flights
    assert await stage.call(f) == 1
    clock.advance(10)
    with caplog.at_level(logging.INFO, "flask_caching_async"):
        for attempt, wait in enumerate((1, 2, 4, 8), 2):
            assert await stage.call(f) == 1
            await stage.until(lambda n=attempt: body.ended == n and not flights._flights)  # type: ignore[misc]
            clock.advance(wait - 0.1)
            assert await stage.call(f) == 1
            assert body.calls == attempt
            clock.advance(0.1)
        assert await stage.call(f) == 1
        await stage.until(lambda: stage.cache.stats().stored == 2)
    assert await stage.call(f) == 6
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_backing_off_is_bounded_in_time_and_in_memory() -> None:
    """A minute at most, for ten thousand keys at most."""
    backoff = Backoff()
    assert backoff.ready("key", 0)
    assert [backoff.failed("key", 0) for _ in range(20)] == [True] + [False] * 19
    assert not backoff.ready("key", 59) and backoff.ready("key", 60)
    assert backoff.worked("key") and not backoff.worked("key") and backoff.ready("key", 0)
    for n in range(11_000):
        backoff.failed(str(n), 0)
    assert len(backoff._failing) == 10_000 and backoff.ready("0", 0)


def test_a_view_that_answers_5xx_in_a_refresh_backs_off(
    app: Flask, cache: Cache, clock: FakeClock, colour: str, caplog: Any
) -> None:
    """It is a failure as an answer; the old page stays."""
    calls: list[int] = []

    def page() -> Any:
        calls.append(1)
        return ("down", 503) if len(calls) > 1 else "fine"

    app.add_url_rule("/", "page", Face(cache, colour).cached(**SWR)(page))
    client = app.test_client()
    assert client.get("/").text == "fine"
    clock.advance(10)
    assert client.get("/").text == "fine"
    until(lambda: caplog.records)
    assert "503" in caplog.text and client.get("/").text == "fine" and len(calls) == 2


# --- that take too long ---------------------------------------------------------------------------


@each_pace
@story
async def test_after_the_soft_timeout_a_caller_gets_the_old_value(
    any_stage: Stage, clock: FakeClock, any_clock: FakeClock
) -> None:
    """And the computation goes on, and is stored."""
    body = Body(any_stage, 2)
    f = any_stage.memoize(**SOFT)(body.function())
    assert await any_stage.call(f) == 1
    any_clock.advance(10)
    assert await any_stage.crowd(5, f) == [1] * 5
    assert await any_stage.call(f) == 1 and body.calls == 2
    body.go.set()
    await any_stage.until(lambda: any_stage.cache.stats().stored == 2)
    assert await any_stage.call(f) == 2 and body.calls == 2


@each_pace
@story
async def test_a_function_that_is_faster_than_the_soft_timeout_gives_the_new_value(
    any_stage: Stage, any_clock: FakeClock
) -> None:
    """Callers wait for it that long."""
    body = Body(any_stage)
    f = any_stage.memoize(timeout=10, stale_if_error=600, soft_timeout=20)(body.function())
    assert await any_stage.call(f) == 1
    any_clock.advance(10)
    assert set(await any_stage.crowd(5, f)) == {2}


@story
async def test_without_an_old_value_the_soft_timeout_waits(stage: Stage, clock: FakeClock) -> None:
    """A cold key, one that was deleted, and a refresh are computed to their end."""
    body = Body(stage)

    async def answer(number: int) -> int:
        await stage.pause(0.1)
        return number

    body.answer = answer  # type: ignore[method-assign]
    f = stage.memoize(**SOFT)(body.function())
    assert await stage.call(f) == 1
    await stage.delete_memoized(f)
    assert await stage.call(f) == 2
    clock.advance(10)
    assert await stage.call(f.refresh) == 3
    clock.advance(610)
    assert await stage.call(f) == 4


@story
async def test_a_slow_failure_leaves_the_old_value(stage: Stage, clock: FakeClock) -> None:
    """It is what stale_if_error is for."""
    body = Body(stage)

    async def answer(number: int) -> int:
        if number == 2:
            raise OSError("down")
        return number

    body.answer = answer  # type: ignore[method-assign]
    f = stage.memoize(timeout=10, stale_if_error=600, soft_timeout=20)(body.function())
    assert await stage.call(f) == 1
    clock.advance(10)
    assert await stage.call(f) == 1
    await stage.until(lambda: body.ended == 2)


def test_a_soft_timeout_without_stale_values_is_a_mistake(cache: Cache) -> None:
    """There would be nothing to serve."""
    with pytest.raises(ConfigurationError, match="stale_if_error"):
        cache.memoize(soft_timeout=1)
    with pytest.raises(ConfigurationError, match="soft_timeout"):
        cache.cached(soft_timeout=-1, stale_if_error=5)


# --- of pages -------------------------------------------------------------------------------------


class Shop:
    """An app with pages that say what they saw of their request."""

    def __init__(self, app: Flask, cache: Cache, colour: str) -> None:
        self.calls = 0
        self.is_async = colour == "async"
        app.before_request(self.before)

        def works(number: int) -> str:
            self.calls += 1
            query, language = request.args.get("q"), request.headers.get("Accept-Language")
            return f"{number} {query} {language} {request.method} {g.before} {self.calls}"

        face = Face(cache, colour)
        self.works = face.cached(60, query_string=True, vary_on="Accept-Language")(works)
        app.add_url_rule("/works/<int:number>", "works", self.works)
        app.add_url_rule("/other", "other", lambda: "other")
        self.client = app.test_client()

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def before(self) -> Any:
        g.before = "before"
        if request.args.get("q") == "closed":
            return Response("closed", 403)
        return None

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        answer = self.works.refresh(*args, **kwargs)
        return asyncio.run(_awaited(answer)) if self.is_async else answer


async def _awaited(answer: Any) -> Any:
    return await answer


def test_a_page_is_refreshed_from_outside_a_request(app: Flask, cache: Cache, colour: str) -> None:
    """By its path, as a job does it; the next visitor gets what was computed."""
    shop = Shop(app, cache, colour)
    assert shop.client.get("/works/3?q=a").text == "3 a None GET before 1"
    assert shop.refresh(path="/works/3", query_args={"q": "a"}) == "3 a None GET before 2"
    assert shop.client.get("/works/3?q=a").text == "3 a None GET before 2"
    assert shop.refresh(path="/works/3?q=b") == "3 b None GET before 3"
    assert shop.client.get("/works/3?q=b").text == "3 b None GET before 3"


def test_a_variant_of_a_page_is_refreshed_by_its_headers(
    app: Flask, cache: Cache, colour: str
) -> None:
    """What the page varies on is part of the request."""
    shop = Shop(app, cache, colour)
    page = shop.refresh(path="/works/3", headers={"Accept-Language": "de"})
    assert page == "3 None de GET before 1"
    german = shop.client.get("/works/3", headers={"Accept-Language": "de"}).text
    assert german == page and shop.client.get("/works/3").text == "3 None None GET before 2"


def test_a_page_is_refreshed_by_the_arguments_of_its_view(
    app: Flask, cache: Cache, colour: str
) -> None:
    """The path is built from them, without SERVER_NAME."""
    shop = Shop(app, cache, colour)
    assert shop.refresh(number=4) == "4 None None GET before 1"
    assert shop.refresh(5) == "5 None None GET before 2"
    assert shop.client.get("/works/4").text == "4 None None GET before 1"


def test_in_a_request_a_refresh_is_of_that_request(app: Flask, cache: Cache, colour: str) -> None:
    """As it always was."""
    shop = Shop(app, cache, colour)
    with app.test_request_context("/works/6"):
        g.before = "mine"
        assert shop.refresh(6) == "6 None None GET mine 1"
    assert shop.client.get("/works/6").text == "6 None None GET mine 1"


@cases(
    "path,error,text",
    [
        ("/nowhere", ValueError, "no view answers '/nowhere'"),
        ("/other", ValueError, "does not lead to"),
        ("/works/3?q=closed", RuntimeError, "before_request"),
    ],
)
def test_a_path_that_cannot_be_refreshed_says_why(
    app: Flask, cache: Cache, colour: str, path: str, error: type[Exception], text: str
) -> None:
    """Nothing is computed, and nothing is stored."""
    shop = Shop(app, cache, colour)
    with pytest.raises(error, match=text):
        shop.refresh(path=path)
    assert shop.calls == 0


def test_a_sync_function_is_refreshed_by_async_code_without_blocking_it(
    app: Flask, cache: Cache
) -> None:
    """``await f.arefresh()`` runs it in a worker thread."""
    shop = Shop(app, cache, "sync")
    threads: list[int] = []

    @cache.memoize()
    def double(n: int) -> int:
        threads.append(threading.get_ident())
        return 2 * n

    async def job() -> None:
        assert await shop.works.arefresh(path="/works/3") == "3 None None GET before 1"
        assert await double.arefresh(4) == 8

    asyncio.run(job())
    assert threads != [threading.get_ident()]


def test_a_method_of_a_class_view_is_refreshed_by_its_path(app: Flask, cache: Cache) -> None:
    """On an instance of its class."""

    class Works(MethodView):
        calls = 0

        @cache.cached(60)
        def get(self, number: int) -> str:
            Works.calls += 1
            return f"{number} {Works.calls}"

    app.add_url_rule("/works/<int:number>", view_func=Works.as_view("works"))
    assert Works.get.refresh(path="/works/1") == "1 1"
    assert app.test_client().get("/works/1").text == "1 1"


def test_an_abort_is_refreshed_as_the_answer_that_it_is(app: Flask, cache: Cache) -> None:
    """It is stored, and raised."""

    @app.get("/gone")
    @cache.cached(60)
    def gone() -> str:
        abort(404, "gone for good")

    with pytest.raises(Exception, match="gone for good"):
        gone.refresh(path="/gone")
    assert app.test_client().get("/gone").status_code == 404


# --- periodic -------------------------------------------------------------------------------------


UNSTORED: dict[str, tuple[dict[str, Any], Callable[[], Any], str]] = {
    "a failure": ({}, lambda: ("down", 500), "the answer has the status 500"),
    "an abort": ({"stale_if_error": 60}, lambda: abort(503), "the answer has the status 503"),
    "a cookie": ({}, lambda: Response("x", headers={"Set-Cookie": "a=b"}), "sets a cookie"),
    "private": (
        {}, lambda: Response("x", headers={"Cache-Control": "private"}), "Cache-Control: private"
    ),
    "a stream": ({}, lambda: Response(iter("x")), "the answer is a stream"),
    "a filter": ({"response_filter": lambda page: False}, lambda: "x", "response_filter said no"),
}  # fmt: skip


@cases("name", UNSTORED, everywhere=("a failure", "an abort"))
def test_a_refresh_can_insist_on_being_stored(app: Flask, colour: str, name: str) -> None:
    """Then what is not stored is an error that says why, with the value; else it is returned."""
    options, body, why = UNSTORED[name]
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    good = [True]

    def page() -> Any:
        return "stored" if good[0] else body()

    face = Face(cache, colour)
    view = face.cached(60, **options)(page)
    app.add_url_rule("/", "page", view)
    if name != "a filter":
        assert answered(view.refresh(path="/", strict=True)) == "stored"
    good[0] = False
    with pytest.raises(NotStoredError, match=f"was computed, and not stored: .*{why}") as caught:
        answered(view.refresh(path="/", strict=True))
    assert caught.value.value is not None
    if name != "an abort":
        answered(view.refresh(path="/", strict=False)), answered(view.refresh(path="/"))


def answered(value: Any) -> Any:
    """A value, whatever the colour."""
    return asyncio.run(_awaited(value)) if asyncio.iscoroutine(value) else value


def test_what_no_backend_stores_is_said_by_a_strict_refresh(app: Flask, colour: str) -> None:
    """Caching that is off, ``None``, a deletion meanwhile; an argument of that name is its own."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    face = Face(cache, colour)
    with pytest.raises(NotStoredError, match="returned None"):
        answered(face.memoize()(lambda: None).refresh(strict=True))
    deleting: Any = face.memoize()(lambda: cache.delete_memoized(deleting))
    with pytest.raises(NotStoredError, match="deleted, or set, while it was computed"):
        answered(deleting.refresh(strict=True))
    own = face.memoize()(lambda strict: strict)
    assert answered(own.refresh(strict=5)) == 5
    off = Face(
        Cache(Flask("off"), config={"CACHE_TYPE": "NullCache", "CACHE_NO_NULL_WARNING": True}),
        colour,
    )
    with pytest.raises(NotStoredError, match="NullCache"):
        answered(off.memoize()(lambda: 1).refresh(strict=True))


def test_drain_waits_for_what_is_refreshed_in_the_background(app: Flask, colour: str) -> None:
    """For a test, or a job: until all have ended, or for so long; in all ways of starting one."""
    cache, clock = Cache(app, config={"CACHE_TYPE": "SimpleCache"}), FakeClock()
    clock.install(cache)
    go, calls = threading.Event(), []

    def work() -> int:
        calls.append(1)
        assert len(calls) == 1 or go.wait(PATIENCE)
        return len(calls)

    async def awork() -> int:
        return await asyncio.to_thread(work)

    f = cache.memoize(10, stale_while_revalidate=100)(work if colour == "sync" else awork)

    async def story() -> None:
        assert await cache.adrain() is True
        await _awaited(f()) if colour == "async" else f()
        clock.advance(11)
        assert (await f() if colour == "async" else f()) == 1
        assert await cache.adrain(0.01) is False
        go.set()
        assert await cache.adrain() is True and await cache.adrain(0)
        assert (await f() if colour == "async" else f()) == 2

    if colour == "async":
        asyncio.run(story())
        return
    f(), clock.advance(11)
    assert cache.drain(0) and f() == 1 and not cache.drain(0.01)
    go.set()
    assert cache.drain() and f() == 2 and len(calls) == 2


@pytest.mark.parametrize("backend", ["SimpleCache", "FileSystemCache"])
def test_functions_and_pages_are_renewed_again_and_again(
    app: Flask, tmp_path: Path, colour: str, backend: str
) -> None:
    """Visitors find what the last round has computed, and wait for nothing."""
    cache = Cache(app, config={"CACHE_TYPE": backend, "CACHE_DIR": str(tmp_path)})
    shop = Shop(app, cache, colour)
    face = Face(cache, colour)
    counted: list[int] = []

    def count(n: int) -> int:
        counted.append(n)
        return len(counted)

    rates = face.memoize(60)(count)
    renewals = [
        cache.refresh_every(0.01, rates, 7),
        cache.refresh_every(0.01, shop.works, path="/works/3"),
    ]
    assert not counted, "this process serves nobody yet"
    shop.client.get("/elsewhere")
    try:
        until(lambda: len(counted) >= 3 and shop.calls >= 3)
    finally:
        for renewal in renewals:
            renewal.stop()
    made = len(counted)
    answer = rates(7)
    assert (asyncio.run(_awaited(answer)) if face.is_async else answer) == made
    assert shop.client.get("/works/3").text.endswith(f" {shop.calls}")
    time.sleep(0.05)
    assert len(counted) == made


def test_a_renewal_that_fails_goes_on_and_is_logged_once(cache: Cache, caplog: Any) -> None:
    """Once when it begins to fail, once when it works again."""
    calls: list[int] = []

    @cache.memoize()
    def rates() -> int:
        calls.append(1)
        if len(calls) <= 3:
            raise OSError("down")
        return len(calls)

    renewal = cache.refresh_every(3600, rates)
    renewal.start()
    until(lambda: calls)
    while len(calls) < 5:
        assert renewal.run()
    renewal.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines
    assert "could not be renewed" in lines[0] and "is renewed again" in lines[1]


def test_renewals_can_be_turned_off_and_made_by_hand(app: Flask) -> None:
    """``CACHE_RENEWALS = False`` in tests; ``run()`` makes one round."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache", "CACHE_RENEWALS": False})
    calls: list[int] = []
    rates = cache.memoize()(lambda: calls.append(1) or len(calls))  # type: ignore[func-returns-value]
    renewal = cache.refresh_every(0.001, rates)
    time.sleep(0.03)
    assert calls == [] and renewal.run() and rates() == 1 and calls == [1]
    renewal.stop()


def test_renewal_runs_where_requests_are_served(app: Flask) -> None:
    """A command makes the app, and uses it; only a worker has requests. Or the program says so."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    calls: list[str] = []
    first, second, third = (
        cache.memoize()(lambda name=name: calls.append(name))
        for name in ("first", "second", "third")
    )
    renewals = [cache.refresh_every(3600, first), cache.refresh_every(3600, second)]
    renewals[1].start()
    until(lambda: calls == ["second"])
    app.test_cli_runner().invoke(args=["routes"])
    with app.test_request_context(), app.app_context():
        first()
    assert calls == ["second", "first"] and renewals[0]._rounds[0]._thread is None
    app.test_client().get("/")
    until(lambda: calls == ["second", "first", "first"])
    renewals.append(cache.refresh_every(3600, third))
    until(lambda: calls[3:] == ["third"])
    app.test_client().get("/")
    for renewal in renewals:
        renewal.stop()
    assert len(calls) == 4


def test_a_renewal_may_be_arranged_before_there_is_an_app() -> None:
    """It begins with the first request to each app that the cache is set up for."""
    cache = Cache(config={"CACHE_TYPE": "SimpleCache"})
    calls: list[int] = []
    rates = cache.memoize()(lambda: calls.append(1) or 5)  # type: ignore[func-returns-value]
    renewal = cache.refresh_every(3600, rates)
    assert calls == []
    for number, name in enumerate(("one", "two")):
        app = Flask(name)
        cache.init_app(app)
        assert len(calls) == number
        app.test_client().get("/")
        until(lambda wanted=number + 1: len(calls) == wanted)
    renewal.stop()


def test_of_several_processes_one_renews_until_it_ends(tmp_path: Path) -> None:
    """The lease decides; a second one takes over from the first."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path), "CACHE_RENEWALS": False}
    made: list[str] = []

    def rates() -> str:
        made.append("made")
        return "rates"

    def process(name: str) -> Any:
        cache = Cache(Flask(name), config=config)
        return cache.refresh_every(60, cache.memoize()(rates))

    first, second = process("first"), process("second")
    assert [first.run(), second.run(), first.run(), second.run()] == [True, False, True, False]
    first.stop()
    assert second.run() and len(made) == 3
    second.stop()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((0, "rates"), "more than 0"),
        (("often", "rates"), "every must be"),
        ((5, "plain"), "neither memoized nor cached"),
    ],
)
def test_what_cannot_be_renewed_is_refused(cache: Cache, args: Any, text: str) -> None:
    """At once, not in the background."""
    functions = {"rates": cache.memoize()(lambda: 1), "plain": lambda: 1}
    with pytest.raises(TypeError, match=text):
        cache.refresh_every(args[0], functions[args[1]])


ENDING = """
import sys, threading, time
from flask import Flask
from flask_caching_async import Cache
from flask_caching_async._runtime import background
background.SHUTDOWN = 0.3
app = Flask("app")
cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
begun = threading.Event()

@cache.memoize(0.001, stale_while_revalidate=600)
def slow(n):
    if begun.is_set() or n:
        pass
    if len(seen):
        begun.set()
        time.sleep(60)
    seen.append(1)
    return 1

seen = []
slow(0)
time.sleep(0.01)
slow(0)
begun.wait(30)
print("end", flush=True)
"""


def test_the_end_of_a_program_waits_a_bounded_time_for_refreshes() -> None:
    """Then it abandons them, and says so; this one would have taken a minute."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", ENDING], capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    assert "abandoned" in done.stderr
