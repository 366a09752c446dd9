"""The sync lane: an ``async def`` view that is answered from the cache starts no event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import AsyncToSync
from flask import Flask, Response, abort, g, request
from flask.views import MethodView, View

from flask_caching_async import Cache, CachedResponse
from flask_caching_async.testing import FakeClock
from support.faces import own_colour
from support.sites import Site, background


@pytest.fixture
def site(app: Flask, any_cache: Cache) -> Site:
    """A site of async views on each kind of backend."""
    return Site(app, any_cache, "async")


@pytest.fixture
def lane(app: Flask, cache: Cache) -> Site:
    """A site of async views on a cache in memory."""
    return Site(app, cache, "async")


class Loops:
    """How many loops were started, by asgiref or by anybody else."""

    def __init__(self) -> None:
        self.started = 0

    def during(self, function: Callable[[], Any]) -> int:
        """How many during one call."""
        before = self.started
        function()
        return self.started - before


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loops]:
    """Counts the loops that are started."""
    loops = Loops()
    new_event_loop, call = asyncio.new_event_loop, AsyncToSync.__call__
    # The process-wide loop of async-only backends is nobody's request.
    from flask_caching_async._runtime import process_loop

    process_loop._process_loop()

    def counted_loop(*args: Any) -> Any:
        loops.started += 1
        return new_event_loop(*args)

    def counted_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        loops.started += 1
        return call(self, *args, **kwargs)

    monkeypatch.setattr(asyncio, "new_event_loop", counted_loop)
    monkeypatch.setattr(asyncio.events, "new_event_loop", counted_loop)
    monkeypatch.setattr(AsyncToSync, "__call__", counted_call)
    yield loops


PAGES: dict[str, Any] = {
    "text": lambda: "page",
    "tuple": lambda: ({"a": 1}, 201, {"X-A": "1"}),
    "dict": lambda: {"a": [1, 2]},
    "response": lambda: Response("page"),
    "cached-response": lambda: CachedResponse(Response("page"), 9),
    "abort": lambda: abort(404),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_hit_starts_no_loop(lane: Site, loops: Loops, page: str) -> None:
    """A miss does, and a hit costs what it costs a sync view."""
    check_hit(lane, loops, {page: PAGES[page]})


def test_a_hit_from_any_backend_starts_no_loop(site: Site, loops: Loops) -> None:
    """Though its own client may need one."""
    check_hit(site, loops, PAGES)


def check_hit(site: Site, loops: Loops, pages: dict[str, Any]) -> None:
    """Ask for pages, which start a loop the first time and not again."""
    site.view("/<page>")(lambda page: pages[page]())
    for calls, page in enumerate(pages, 1):
        assert loops.during(lambda page=page: site.get(f"/{page}")) > 0, page
        assert loops.during(lambda page=page: site.get(f"/{page}")) == 0, page
        first, second = site.get(f"/{page}"), site.get(f"/{page}")
        assert (first.status, first.data) == (second.status, second.data), page
        assert site.calls == calls, page


OPTIONS: dict[str, dict[str, Any]] = {
    "query": {"query_string": True},
    "vary": {"vary_on": ["X-A", "cookie:a", lambda: g.get("user")]},
    "prefix": {"key_prefix": lambda: request.path},
    "constant": {"key_prefix": "mine"},
    "key": {"make_cache_key": lambda: "mine"},
    "unless": {"unless": lambda: False},
    "forced": {"forced_update": lambda: False},
    "stale": {"is_stale": lambda value: False},
    "filter": {"response_filter": lambda value: True},
    "tags": {"tags": lambda: ["a"]},
    "timeout": {"timeout": lambda value: 60},
    "header": {"response_hit_indication": True},
    "source": {"source_check": True},
    "windows": {"stale_while_revalidate": 5, "stale_if_error": 5},
    "unlocked": {"lock": False},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_hit_starts_no_loop_with_any_option(lane: Site, loops: Loops, option: str) -> None:
    """As long as no callback is async."""
    lane.view(**OPTIONS[option])(lambda: "page")
    assert loops.during(lane.get) > 0
    assert loops.during(lane.get) == 0


@pytest.mark.parametrize("debug", [False, True])
def test_a_hit_starts_no_loop_with_signals_and_in_debug_mode(
    app: Flask, loops: Loops, debug: bool
) -> None:
    """Watching costs a little, not a loop."""
    config = {"CACHE_TYPE": "SimpleCache", "CACHE_ENABLE_SIGNALS": True}
    app.debug = debug
    site = Site(app, Cache(app, config=config), "async")
    site.view()(lambda: "page")
    assert loops.during(site.get) > 0
    assert loops.during(site.get) == 0


@pytest.mark.parametrize("base", [View, MethodView], ids=lambda base: base.__name__)
@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("written", ["as a class statement", "with type()"])
def test_a_hit_of_a_view_class_starts_no_loop(
    lane: Site, loops: Loops, base: Any, once: bool, written: str
) -> None:
    """Bound methods are recognized."""
    if written == "with type()":
        body = lane.face.cached()(lane.counted(lambda self: "page"))
        name = "dispatch_request" if base is View else "get"
        kind = type("Works", (base,), {name: body, "init_every_request": once})
    else:

        class Works(base):  # type: ignore[misc, valid-type]
            init_every_request = once

            @lane.cache.cached()
            async def get(self) -> str:
                lane.calls += 1
                return "page"

            if base is View:
                dispatch_request = get

        kind = Works
    lane.app.add_url_rule("/works", view_func=kind.as_view("works"))
    assert loops.during(lane.get) > 0
    assert loops.during(lane.get) == 0
    assert lane.calls == 1


def test_a_hit_of_a_cached_hook_starts_no_loop(lane: Site, loops: Loops) -> None:
    """Whatever Flask gives to ``async_to_sync``."""
    lane.app.before_request(
        lane.cache.cached(key_prefix="k", cache_none=True)(lane.face.dye(lambda: None))
    )
    lane.app.add_url_rule("/works", "works", lambda: "page")
    assert loops.during(lane.get) > 0
    assert loops.during(lane.get) == 0


@pytest.mark.parametrize("callbacks", ["sync", "async"])
def test_callbacks_are_asked_exactly_once_per_request(lane: Site, callbacks: str) -> None:
    """On a miss the question is not asked again on the loop."""
    asked: dict[str, int] = {}

    def question(name: str, answer: Any) -> Any:
        def callback(*args: Any) -> Any:
            asked[name] = asked.get(name, 0) + 1
            return answer

        return own_colour(callback, callbacks)

    always = {
        "unless": False, "forced_update": False, "key_prefix": "k", "vary_on": "v", "tags": ["t"]
    }  # fmt: skip
    lane.numbers(
        is_stale=question("is_stale", False),
        response_filter=question("response_filter", True),
        timeout=question("timeout", 60),
        **{name: question(name, answer) for name, answer in always.items()},
    )
    assert lane.text() == "1"
    assert asked == dict.fromkeys([*always, "response_filter", "timeout"], 1)
    asked.clear()
    assert lane.text() == "1"
    assert asked == dict.fromkeys([*always, "is_stale"], 1)


def test_a_sync_callback_may_return_an_awaitable(lane: Site) -> None:
    """A lambda around a coroutine function is async without looking so."""

    async def key() -> str:
        return f"k{request.args.get('a')}"

    async def stale(value: Any) -> bool:
        return bool(value == "2")

    lane.numbers(key_prefix=lambda: key(), is_stale=lambda value: stale(value))
    assert [lane.text("/works?a=1"), lane.text("/works?a=1"), lane.text("/works?a=2")] == list(
        "112"
    )
    assert [lane.text("/works?a=2"), lane.text("/works?a=2")] == ["3", "3"]


def test_what_the_cache_has_nothing_to_do_with_goes_the_usual_way(lane: Site) -> None:
    """A bypassed view, another method, an uncached async view."""
    lane.numbers("/unless", endpoint="unless", unless=lambda: True)
    lane.numbers("/post", endpoint="post", methods=["POST"])

    async def plain() -> str:
        await asyncio.sleep(0)
        return "plain"

    lane.app.add_url_rule("/plain", "plain", plain)
    client = lane.app.test_client()
    for number in (1, 3):
        assert client.get("/unless").text == str(number)
        assert client.post("/post").text == str(number + 1)
        assert client.get("/plain").text == "plain"


def test_two_caches_on_one_app_wrap_once(app: Flask) -> None:
    """And ``init_app`` twice; each async call goes through the app's own ``async_to_sync`` once."""
    calls: list[Any] = []
    original = app.async_to_sync

    def counting(func: Any) -> Any:
        calls.append(func)
        return original(func)

    app.async_to_sync = counting  # type: ignore[method-assign]
    one = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    wrapped = app.async_to_sync
    two = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    one.init_app(app, {"CACHE_TYPE": "SimpleCache"})
    assert app.async_to_sync is wrapped
    for cache, path in ((one, "/one"), (two, "/two")):
        site = Site(app, cache, "async")
        site.numbers(path, endpoint=path)
    client = app.test_client()
    for _ in range(2):
        assert [client.get("/one").text, client.get("/two").text] == ["1", "1"]
    assert len(calls) == 2


def test_an_async_to_sync_of_a_subclass_is_honoured(tmp_path: Any) -> None:
    """Flask's documented override point still decides how coroutines run."""
    ran: list[str] = []

    class MyFlask(Flask):
        def async_to_sync(self, func: Any) -> Any:
            def run(*args: Any, **kwargs: Any) -> Any:
                ran.append(getattr(func, "__name__", "?"))
                return asyncio.run(func(*args, **kwargs))

            return run

    app = MyFlask(__name__)
    site = Site(app, Cache(app, config={"CACHE_TYPE": "SimpleCache"}), "async")
    site.numbers()
    assert [site.text(), site.text()] == ["1", "1"]
    assert len(ran) == 1


def test_an_ensure_sync_of_a_subclass_is_honoured() -> None:
    """It need not ask ``async_to_sync`` at all."""

    class MyFlask(Flask):
        def ensure_sync(self, func: Any) -> Any:
            if asyncio.iscoroutinefunction(func):
                return lambda *args, **kwargs: asyncio.run(func(*args, **kwargs))
            return func

    app = MyFlask(__name__)
    site = Site(app, Cache(app, config={"CACHE_TYPE": "SimpleCache"}), "async")
    site.numbers()
    assert [site.text(), site.text()] == ["1", "1"]


def test_an_async_to_sync_assigned_later_works_without_the_lane(lane: Site) -> None:
    """It is slower then, not wrong."""
    lane.numbers()
    lane.app.async_to_sync = lambda func: lambda *a, **k: asyncio.run(func(*a, **k))  # type: ignore
    assert [lane.text(), lane.text()] == ["1", "1"]


def test_an_exception_keeps_its_traceback_through_the_lane(lane: Site) -> None:
    """The line of the view that raised it is there."""
    error = LookupError("mine")

    def body() -> str:
        raise error

    lane.view()(body)
    with pytest.raises(LookupError) as caught:
        lane.get()
    assert caught.value is error
    assert "body" in [entry.name for entry in caught.traceback]


def test_a_stale_hit_is_answered_at_once_and_refreshed(
    lane: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refresh runs in the background, with a loop of its own and the request's context."""
    clock = FakeClock()
    clock.install(lane.cache)

    async def works() -> str:
        lane.calls += 1
        await asyncio.sleep(0)
        await lane.cache.aset("seen", request.path)
        return f"{request.path} {lane.calls}"

    view = lane.cache.cached(10, stale_while_revalidate=10)(works)
    lane.app.add_url_rule("/works", "works", view)
    with background(monkeypatch) as wait:
        lane.get()
        clock.advance(10)
        assert lane.text() == "/works 1"
        wait()
        assert lane.text() == "/works 2"


def test_context_of_the_view_is_the_requests(lane: Site) -> None:
    """``g`` and ``request`` before, in and after an async view are the same."""
    lane.app.before_request(lambda: setattr(g, "seen", []))

    def body() -> str:
        g.seen.append(request.path)
        return "page"

    lane.view()(body)
    seen: list[Any] = []
    lane.app.after_request(lambda response: seen.append(list(g.seen)) or response)
    lane.get()
    lane.get()
    assert seen == [["/works"], []]


def test_wrong_arguments_are_the_functions_own_type_error(lane: Site) -> None:
    """A view that does not take what its rule gives."""
    lane.view("/<int:n>")(lambda: "page")
    with pytest.raises(TypeError):
        lane.get("/1")
