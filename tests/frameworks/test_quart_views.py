"""Quart's views: what they return, their keys, their callbacks, and what may be stored of them.

Most tests run with ``def`` views, which Quart calls in threads, and with ``async def`` ones; many
of them on each backend, where the loop that serves has connections of its own.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import flask
import pytest
import quart
from quart import Blueprint, Response, abort, g, jsonify, make_response, request, websocket
from quart.views import MethodView, View
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.local import LocalProxy

from flask_caching_async import (
    AddressKeyWarning,
    Cache,
    CachedResponse,
    cache_memoize_hit,
    cache_memoize_miss,
    cache_view_hit,
    cache_view_miss,
    make_template_fragment_key,
)
from flask_caching_async.exceptions import ColourError
from flask_caching_async.serializers import JSONSerializer, MsgpackSerializer
from flask_caching_async.testing import FakeClock
from support.faces import own_colour
from support.params import cases
from support.quart_sites import (
    QuartSite,
    Threads,
    any_config,
    any_site,
    quart_app,
    redis_config,
    served,
    site,
    unserved,
)
from support.waiting import PATIENCE, auntil

__all__ = ["any_config", "any_site", "redis_config", "site"]

ASYNC = pytest.mark.parametrize("colour", ["async"], indirect=True)
#: The colours that a view and its callbacks may have; the fourth is an error.
MIXED = pytest.mark.parametrize(
    ("colour", "callbacks"), [("sync", "sync"), ("async", "sync"), ("async", "async")]
)


@pytest.fixture
def clock(site: QuartSite) -> FakeClock:
    """The clock of the site in memory."""
    clock = FakeClock()
    clock.install(site.cache)
    return clock


# --- pages and keys -------------------------------------------------------------------------------


@served
async def test_a_view_is_computed_once_for_each_path(site: QuartSite) -> None:
    """The second request for a path is answered with the first one's page."""
    site.numbers("/works/<int:number>")
    paths = [f"/works/{n}" for n in (1, 1, 2, 1, 2)]
    assert await site.texts(*paths) == ["1", "1", "2", "1", "2"]


def test_each_backend_serves_pages_their_variants_and_deletions(any_site: QuartSite) -> None:
    """Query strings, ``vary_on``, memoized functions, and all that drops them."""

    async def main() -> None:
        site, cache = any_site, any_site.cache
        view = site.numbers(query_string=True, vary_on="Accept-Language", tags=["tag"])

        @cache.memoize()
        async def double(n: int) -> int:
            site.calls += 1
            return 2 * n

        async def pages() -> list[str]:
            german = {"headers": {"Accept-Language": "de"}}
            return [*await site.texts("/works", "/works?a=1&b=2"), await site.text(**german)]

        async with site.app.test_app():
            assert await pages() == await pages() == ["1", "2", "3"]
            assert await site.text("/works?b=2&a=1") == "2"
            assert [await double(2), await double(2), site.calls] == [4, 4, 4]
            assert await cache.adelete_cached(view, "/works", {"a": 1, "b": 2})
            assert await pages() == ["1", "5", "3"]
            assert await cache.adelete_cached(view, path="/works")
            assert await pages() == ["6", "7", "8"]
            assert await cache.adelete_cached(view)
            assert await pages() == ["9", "10", "11"]
            assert await cache.adelete_tags("tag") and await cache.adelete_memoized(double)
            assert [*await pages(), await double(2), site.calls] == ["12", "13", "14", 4, 15]
            await cache.adelete("view//works")
            assert await pages() == ["16", "17", "18"]
            assert await cache.aclear()
            assert await pages() == ["19", "20", "21"]

    asyncio.run(main())


@served
async def test_pages_are_dropped_by_their_views_arguments(site: QuartSite) -> None:
    """The path is built with Quart's ``url_for``, in a context of the app."""
    view = site.numbers("/works/<name>/<int:number>")
    paths = ["/works/ü/1", "/works/ü/2"]
    assert await site.texts(*paths, *paths) == ["1", "2", "1", "2"]
    async with site.app.test_request_context("/"):
        assert await site.cache.adelete_cached(view, name="ü", number=1)
        assert await site.cache.adelete_cached(view, name="ü", number=7)
    assert await site.texts(*paths) == ["3", "2"]


@served
async def test_a_deletion_drops_all_pages_that_it_is_meant_for(site: QuartSite) -> None:
    """Over all rules, however a path is written; outside of requests, too."""
    view = site.face.cached()(site.counted(lambda n: str(site.calls)))
    pets = Blueprint("pets", __name__)
    pets.add_url_rule("/<int:n>", "view", view, strict_slashes=False)
    site.app.register_blueprint(pets, url_prefix="/ü")
    site.app.register_blueprint(pets, url_prefix="/b", name="b")
    paths = ["/ü/3", "/b/3", "/b/003", "/b/3/"]

    async def dropped(*args: Any, **kwargs: Any) -> list[str]:
        before = await site.texts(*paths)
        assert await site.texts(*paths) == before
        assert await site.cache.adelete_cached(view, *args, **kwargs)
        after = await site.texts(*paths)
        return [path for path, *two in zip(paths, before, after, strict=True) if len({*two}) == 2]

    assert await dropped(n=3) == await dropped(3) == paths
    for spelling in ("/ü/3", "/%C3%BC/3", "ü/3", "http://localhost/%C3%BC/3"):
        assert await dropped(spelling) == ["/ü/3"]
    assert await dropped("/b/003") == ["/b/003"]
    async with site.app.test_request_context("/", root_path="/ä"):
        url = quart.url_for("pets.view", n=3)
        assert url.startswith("/ä/") and await dropped(url) == ["/ü/3"]
    for nothing in ({"n": -1}, {"path": "/c/3"}, {"m": 3}):
        with pytest.raises(ValueError, match="no rule"):
            await site.cache.adelete_cached(view, **nothing)


@served
async def test_an_app_that_is_mounted_twice_has_pages_of_each_mount(site: QuartSite) -> None:
    """Its links begin with the root of its mount. Deletions of the path drop those of all."""
    site.app.config["APPLICATION_ROOT"] = "/b"
    view = site.view("/works")(lambda: f"{request.root_path} {site.calls}")

    async def pages() -> list[str]:
        """Of each mount, visited twice."""
        roots = ("/a", "/b", "") * 2
        found = [await site.text(f"{root}/works", root_path=root) for root in roots]
        assert found[:3] == found[3:]
        return found[:3]

    assert await pages() == ["/a 1", "/b 2", " 3"]
    assert await site.cache.adelete_cached(view, "/works")
    assert await pages() == ["/a 4", "/b 5", " 6"]
    assert await view.arefresh(path="/b/works") == "/b 7"
    async with site.app.test_request_context("/", root_path="/a"):
        assert await view.arefresh(path="/works") == "/a 8"
    assert await pages() == ["/a 8", "/b 7", " 6"]


@served
async def test_a_view_deletes_its_own_and_other_pages(site: QuartSite) -> None:
    """In the colour of the view, with the awaitable twins or the plain names."""
    site.app.debug = False
    works, other = site.numbers(), site.numbers("/other", endpoint="other")

    def forget() -> str:
        return str([site.cache.delete_cached(works), site.cache.delete_cached(other, "/other")])

    async def aforget() -> str:
        done = [await site.cache.adelete_cached(works)]
        return str([*done, await site.cache.adelete_cached(other, "/other")])

    site.app.add_url_rule("/forget", "forget", aforget if site.is_async else forget)
    assert await site.texts("/works", "/other", "/works", "/other") == ["1", "2", "1", "2"]
    assert await site.text("/forget") == "[True, True]"
    assert await site.texts("/works", "/other") == ["3", "4"]


@served
async def test_keys_are_the_same_as_under_flask(site: QuartSite) -> None:
    """The path, percent signs decoded; a hash of the sorted query string; the view's own value."""
    site.numbers("/works/<name>")
    site.numbers("/query", endpoint="query", query_string=True)
    await site.texts("/works/%C3%BC%20x", "/query?b=2&a=1")
    assert await site.cache.aget("view//works/ü x") == "1"
    twin = flask.Flask(__name__)
    cache = Cache(twin, config={"CACHE_TYPE": "SimpleCache"})
    view = cache.cached(query_string=True)(lambda: "")
    with twin.test_request_context("/query?a=1&b=2"):
        assert await site.cache.aget(view.make_cache_key(use_request=True)) == "2"


@served
async def test_pages_vary_on_headers_cookies_and_callables(site: QuartSite) -> None:
    """Each of them makes a page of its own."""
    site.app.secret_key = "secret"
    theme = own_colour(lambda: request.args.get("theme"), site.face.colour)
    site.numbers(vary_on=["Accept-Language", "cookie:size", theme])
    asked: list[dict[str, Any]] = [
        {},
        {"headers": {"Accept-Language": "de"}},
        {"headers": {"Cookie": "size=large"}},
        {"headers": {"Cookie": "size=large; other=1"}},
        {"query_string": {"theme": "dark"}},
        {"query_string": {"theme": "dark", "more": "1"}},
    ]
    for _ in range(2):
        assert [await site.text(**one) for one in asked] == ["1", "2", "3", "3", "4", "4"]


@ASYNC
@served
async def test_an_async_key_may_await_the_body_of_the_request(site: QuartSite) -> None:
    """With a key of one's own a POST is cached, too."""

    async def key(*args: Any, **kwargs: Any) -> str:
        asked = await request.get_json()
        return f"search:{asked['q']}:{kwargs['page']}"

    async def search(page: int) -> dict[str, Any]:
        site.calls += 1
        return {"found": (await request.get_json())["q"], "n": site.calls}

    view = site.cache.cached(make_cache_key=key)(search)
    site.app.add_url_rule("/search/<int:page>", "search", view, methods=["POST"])

    async def post(q: str, page: int) -> Any:
        return await (await site.client.post(f"/search/{page}", json={"q": q})).get_json()

    answers = [await post(q, page) for q, page in (("a", 1), ("b", 1), ("a", 1), ("a", 2))]
    assert [(one["found"], one["n"]) for one in answers] == [("a", 1), ("b", 2), ("a", 1), ("a", 3)]
    assert (await site.cache.aget("search:b:1"))["found"] == "b"
    with pytest.raises(ColourError, match="amake_cache_key"):
        view.make_cache_key(page=1)


# --- callbacks ------------------------------------------------------------------------------------


@MIXED
@served
async def test_unless_bypasses_the_cache(site: QuartSite, callbacks: str) -> None:
    """It reads the request, in the colour of its author."""
    site.numbers(unless=own_colour(lambda: "X-User" in request.headers, callbacks))
    alice = {"headers": {"X-User": "alice"}}
    assert [await site.text(), await site.text(**alice), await site.text()] == ["1", "2", "1"]


@MIXED
@served
async def test_forced_update_computes_anew_and_stores(site: QuartSite, callbacks: str) -> None:
    """Who comes later gets the new page."""
    site.numbers(forced_update=own_colour(lambda: "force" in request.args, callbacks))
    assert await site.texts("/works", "/works", "/works?force", "/works") == ["1", "1", "2", "2"]


@MIXED
@served
async def test_response_filter_decides_what_is_stored(site: QuartSite, callbacks: str) -> None:
    """It is given what the view returned."""
    site.numbers(response_filter=own_colour(lambda value: int(value) > 2, callbacks))
    assert await site.texts(*["/works"] * 4) == ["1", "2", "3", "3"]


@MIXED
@served
async def test_is_stale_has_a_page_computed_again(site: QuartSite, callbacks: str) -> None:
    """It is given the stored page."""
    site.numbers(is_stale=own_colour(lambda value: value == "1", callbacks))
    assert await site.texts(*["/works"] * 4) == ["1", "2", "2", "2"]


@MIXED
@served
async def test_timeouts_may_be_callables(site: QuartSite, clock: FakeClock, callbacks: str) -> None:
    """On what the view returned."""
    site.numbers("/works", own_colour(lambda value: 10 * int(value), callbacks))
    assert await site.text() == "1"
    clock.advance(10)
    assert await site.text() == "2"
    clock.advance(19.9)
    assert await site.text() == "2"
    clock.advance(0.1)
    assert await site.text() == "3"


@MIXED
@served
async def test_prefixes_and_tags_may_be_callables(site: QuartSite, callbacks: str) -> None:
    """The prefix is asked in the request, the tags with the view's arguments."""
    site.view(
        "/works/<name>",
        key_prefix=own_colour(lambda: f"mine{request.path}", callbacks),
        tags=own_colour(lambda name: [f"tag-{name}"], callbacks),
    )(lambda name: f"{name} {site.calls}")
    assert await site.texts("/works/a", "/works/b", "/works/a") == ["a 1", "b 2", "a 1"]
    assert await site.cache.aget("mine/works/b") == "b 2"
    await site.cache.adelete_tags("tag-a")
    assert await site.texts("/works/a", "/works/b") == ["a 3", "b 2"]


@ASYNC
@served
async def test_an_async_callback_of_a_sync_view_is_an_error_at_once(site: QuartSite) -> None:
    """When the view is decorated, not when it is asked for."""

    async def callback(*args: Any) -> bool:
        return True

    for name in ("unless", "forced_update", "response_filter", "make_cache_key", "timeout"):
        with pytest.raises(ColourError, match=name):
            site.cache.cached(**{name: callback})(lambda: "page")


# --- what views return ----------------------------------------------------------------------------


async def pieces() -> AsyncIterator[str]:
    """A page in pieces."""
    for piece in ("page ", "in ", "pieces"):
        yield piece


def lines() -> Iterator[bytes]:
    """Another one."""
    yield b"\x00page"
    yield b"\xff"


async def with_status() -> Response:
    """A response with a status and headers of its own."""
    return await make_response("page", 203, {"X-A": "1"})


ANSWERS: dict[str, Callable[[], Any]] = {
    "str": lambda: "page",
    "bytes": lambda: b"\x00page\xff",
    "dict": lambda: {"a": {"b": [1, None]}},
    "list": lambda: [1, {"a": None}],
    "body-status": lambda: ("page", 201),
    "body-headers": lambda: ("page", {"X-A": "1", "Content-Type": "text/plain"}),
    "body-header-pairs": lambda: ("page", [("X-A", "1")]),
    "body-status-headers": lambda: ("page", 202, {"X-A": "1"}),
    "dict-status": lambda: ({"error": "gone"}, 410),
    "response": lambda: Response("page", 203, {"X-A": "1"}, mimetype="text/plain"),
    "response-bytes": lambda: Response(b"\x00\xff", content_type="image/x"),
    "response-in-a-tuple": lambda: (Response("page"), 202, {"X-A": "1"}),
    "response-without-body": lambda: Response(status=204, headers={"X-A": "1"}),
    "response-without-body-in-a-tuple": lambda: (Response(headers={"X-A": "1"}), 201),
    "of-werkzeug": lambda: flask.Response("page", 203, {"X-A": "1"}),
    "jsonify": lambda: jsonify([1, 2]),
    "redirect": lambda: quart.redirect("/elsewhere", 307),
    "http-exception": lambda: NotFound("nothing here"),
    "generator": lambda: lines(),
    "async-generator": lambda: pieces(),
    "make-response": with_status,
    "template": lambda: quart.render_template_string("{{ request.path }}"),
    "streamed-template": lambda: quart.stream_template_string("{{ request.path }}"),
}


async def facts(response: Any) -> tuple[Any, ...]:
    """What a client sees, but for a length, which a page has as soon as it is whole."""
    headers = sorted(pair for pair in response.headers.items() if pair[0] != "Content-Length")
    return response.status, headers, await response.get_data(as_text=False)


def as_async(body: Callable[[], Any]) -> Callable[[], Any]:
    """A view that awaits what the body returned, if need be."""

    async def view() -> Any:
        answer = body()
        return await answer if inspect.iscoroutine(answer) else answer

    return view


@cases(
    "kind",
    ANSWERS,
    ways=("colour", ["async", "sync"]),
    everywhere=("str", "generator", "http-exception"),
)
@served
async def test_a_hit_is_what_an_uncached_view_answers(site: QuartSite, kind: str) -> None:
    """Status, headers and body, for everything that Quart takes."""
    body = as_async(ANSWERS[kind]) if site.is_async else ANSWERS[kind]
    calls: list[int] = []

    @functools.wraps(body)
    def counted() -> Any:
        calls.append(1)
        return body()

    async def acounted() -> Any:
        return await counted()

    plain = quart_app()
    plain.add_url_rule("/works", "plain", body)
    expected = await facts(await plain.test_client().get("/works"))
    view = site.cache.cached()(acounted if site.is_async else counted)
    site.app.add_url_rule("/works", "cached", view)
    for _ in range(3):
        assert await facts(await site.get()) == expected
    assert len(calls) == 1


class Shouted(Response):
    """A response with a constructor of its own."""

    default_mimetype = "text/loud"

    def __init__(self, text: str) -> None:
        super().__init__(text.upper(), 201, {"X-A": "1"})


async def gives_back(site: QuartSite) -> None:
    """Everything that a view returned comes back from the cache as what it was."""
    bodies: dict[str, Callable[[], Any]] = {
        "tuple": lambda: ("page", 201, {"X-A": "1"}),
        "response": lambda: Response("page", 201, {"X-A": "1"}),
        "bytes": lambda: Response(b"page\xff", 201, {"X-A": "1"}),
        "own": lambda: CachedResponse(Response("page", 201, {"X-A": "1"}), 50),
        "abort": lambda: abort(Response("page", 201, {"X-A": "1"})),
        "nested": lambda: (Response("page"), 201, {"X-A": "1"}),
        "subclass": lambda: Shouted("page"),
    }
    for name, body in bodies.items():
        site.view(f"/{name}", endpoint=name)(body)
    async with site.app.test_app():
        for calls, name in enumerate(bodies, 1):
            for _ in range(2):
                response = await site.get(f"/{name}")
                data = (await response.get_data(as_text=False)).lower().rstrip(b"\xff")
                told = data, response.status_code, response.headers["X-A"]
                assert told == (b"page", 201, "1"), name
            assert site.calls == calls, name
        assert (await site.get("/subclass")).mimetype == "text/loud"
        assert type(await site.cache.aget("view//subclass")) is Shouted
        found = await site.cache.aget("view//own")
        assert (type(found), found.cache_timeout) == (type(bodies["own"]()), 50)
        assert await found.get_data(as_text=False) == b"page"


async def stores_no_body(site: QuartSite) -> None:
    """A page without a body is a page."""
    site.view("/none", endpoint="none")(lambda: Response(status=204, headers={"X-A": "1"}))
    site.view("/nested", endpoint="nested")(lambda: (Response(headers={"X-A": "1"}), 202))
    async with site.app.test_app():
        for calls, (path, status) in enumerate([("/none", 204), ("/nested", 202)], 1):
            for _ in range(2):
                response = await site.get(path)
                assert (response.status_code, response.headers["X-A"]) == (status, "1")
                assert await response.get_data(as_text=False) == b""
            assert site.calls == calls


def test_each_backend_stores_a_response_without_a_body(any_site: QuartSite) -> None:
    """``Response(status=204)``: what Quart sends for it is an iterable, but no stream."""
    asyncio.run(stores_no_body(any_site))


def test_each_backend_gives_back_what_views_returned(any_site: QuartSite) -> None:
    """Responses with their class, ``abort()`` with its response, tuples as tuples."""
    asyncio.run(gives_back(any_site))


@pytest.mark.parametrize("serializer", [JSONSerializer, MsgpackSerializer])
@unserved
async def test_serializers_of_plain_objects_give_it_back_too(
    tmp_path: Path, serializer: Any
) -> None:
    """They know nothing of Quart's responses."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path)}
    app = quart_app()
    cache = Cache(app, config={**config, "CACHE_SERIALIZER": serializer})
    await gives_back(QuartSite(app, cache))


@served
async def test_a_stored_response_is_nobodys_own(site: QuartSite) -> None:
    """Who changes one changes no other; nor does the app, which sets headers on it."""
    site.view()(lambda: Response("page", headers={"X-A": "1"}))

    @site.app.after_request
    async def stamp(response: Any) -> Any:
        response.headers.add("X-B", "2")
        return response

    for _ in range(3):
        assert (await site.get()).headers.getlist("X-B") == ["2"]
    one, two = await site.cache.aget("view//works"), await site.cache.aget("view//works")
    one.headers["X-A"] = "changed"
    one.set_data("changed")
    assert (two.headers["X-A"], await two.get_data(), "X-B" in two.headers) == ("1", b"page", False)


@pytest.mark.parametrize(
    ("own", "life"),
    [(None, 60), (5, 5), (2.5, 2.5), (timedelta(seconds=7), 7), (0, 10**9)],
    ids=["none", "seconds", "fraction", "timedelta", "forever"],
)
@ASYNC
@served
async def test_a_response_may_have_a_timeout_of_its_own(
    site: QuartSite, clock: FakeClock, own: Any, life: float
) -> None:
    """``None`` takes the decorator's, 0 never expires; the time to send it is another matter."""

    @site.app.route("/works")
    @site.cache.cached(timeout=60)
    async def works() -> Any:
        site.calls += 1
        response = CachedResponse(await make_response(str(site.calls), {"X-A": "1"}), own)
        assert response.timeout is ...  # type: ignore[comparison-overlap]
        return response

    assert await site.text() == "1"
    clock.advance(life - 0.5)
    response = await site.get()
    assert (await response.get_data(), response.headers["X-A"]) == (b"1", "1")
    clock.advance(0.5 if life < 10**9 else 0)
    assert await site.text() == ("2" if life < 10**9 else "1")


@served
async def test_the_time_to_send_a_response_is_not_the_time_to_keep_it(
    site: QuartSite, clock: FakeClock
) -> None:
    """Quart's responses have a ``timeout`` already, which survives the cache."""

    def body() -> Response:
        response = Response("page")
        response.timeout = 1.5
        return response

    site.view(timeout=60)(body)
    await site.get()
    clock.advance(50)
    await site.get()
    assert (site.calls, (await site.cache.aget("view//works")).timeout) == (1, 1.5)


@ASYNC
@served
async def test_an_async_generator_view_is_joined(site: QuartSite) -> None:
    """An ``async def`` that yields, for every method."""

    @site.cache.cached()
    async def works() -> AsyncIterator[str]:
        site.calls += 1
        yield request.method
        yield str(site.calls)

    site.app.add_url_rule("/works", "works", works, methods=["GET", "POST"])
    assert await site.texts("/works", "/works") == ["GET1", "GET1"]
    assert await site.text(method="POST") == "POST2"


@served
async def test_hits_say_that_they_are_hits(site: QuartSite) -> None:
    """``response_hit_indication``; for async views it costs no thread."""
    site.numbers(response_hit_indication=True)
    assert "hit_cache" not in (await site.get()).headers
    with Threads() as threads:
        for _ in range(3):
            assert (await site.get()).headers["hit_cache"] == "True"
    assert not (site.is_async and threads.started)


class User:
    """A visitor who has no text but an address, which is that of the last one."""

    def __repr__(self) -> str:
        return "<tests.User object at 0x7f0000000000>"


@served
async def test_a_visitor_never_gets_the_page_of_one_whose_address_comes_again(
    site: QuartSite,
) -> None:
    """One warning says so, and nothing is stored."""
    site.app.before_request(lambda: setattr(g, "user", User()))
    site.view(vary_on=lambda: LocalProxy(lambda: g.user))(lambda: str(site.calls))
    with pytest.warns(AddressKeyWarning, match="vary_on") as caught:
        assert [await site.text() for _ in range(3)] == ["1", "2", "3"]
    assert len(caught) == 1


# --- what may be stored ---------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["GET", "HEAD"])
@served
async def test_get_and_head_share_one_entry(site: QuartSite, first: str) -> None:
    """Quart runs one view for both."""
    site.numbers()
    await site.client.open("/works", method=first)
    head, get = await site.client.head("/works"), await site.get()
    assert (await get.get_data(), site.calls) == (b"1", 1)
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == "1"


@pytest.mark.parametrize("first", ["GET", "HEAD"])
@served
async def test_a_view_with_an_answer_of_its_own_for_head_keeps_it(
    site: QuartSite, first: str
) -> None:
    """A ``head`` method of its class, or code that looks at the method; no GET ever gets it."""

    class Works(MethodView):
        decorators = [site.cache.cached()]

        async def get(self) -> str:
            return "page"

        async def head(self) -> Any:
            return Response("", headers={"X-Head": "1"})

    site.app.add_url_rule("/class", view_func=Works.as_view("class"))
    site.view("/looks")(lambda: "" if request.method == "HEAD" else "page")
    for path in ("/class", "/looks"):
        await site.client.open(path, method=first)
        for _ in range(2):
            head, get = await site.client.head(path), await site.get(path)
            assert await get.get_data(as_text=True) == "page"
            assert head.headers["Content-Length"] == "0"
            assert ("X-Head" in head.headers) == (path == "/class")
    assert site.cache.stats().computed == 2


@pytest.mark.parametrize("first", ["GET", "HEAD"])
@served
async def test_what_a_view_calls_finds_a_get_where_head_shares_its_page(
    site: QuartSite, first: str
) -> None:
    """What is stored is what a GET gives, also of what yields after the view has returned."""

    def method() -> Iterator[str]:
        yield str(request.method)

    site.view()(lambda: next(method()))
    site.view("/stream", endpoint="stream")(lambda: method())
    for path in ("/works", "/stream"):
        await site.client.open(path, method=first)
        assert await site.text(path) == "GET"
    assert site.cache.stats().computed == 2


@served
async def test_other_methods_pass_through_with_the_default_key(site: QuartSite) -> None:
    """M10: a POST is neither answered with a page nor stored as one."""
    others = ["POST", "PUT", "DELETE"]
    site.view("/<path>", methods=["GET", *others])(lambda path: f"{request.method} {path}")
    for path in others:
        for method in (path, "GET", path, "GET"):
            assert await site.text(f"/{path}", method=method) == f"{method} {path}"
    assert site.calls == len(others) * 3


@pytest.mark.parametrize(
    "own", [{"make_cache_key": lambda: "mine"}, {"key_prefix": "mine"}], ids=["key", "prefix"]
)
@served
async def test_any_method_is_cached_under_a_key_of_the_users_own(
    site: QuartSite, own: dict[str, Any]
) -> None:
    """It is the user's word that the method does not matter."""
    site.numbers(methods=["GET", "POST"], **own)
    assert [await site.text(method=m) for m in ("POST", "POST", "GET")] == ["1", "1", "1"]


def with_headers(**headers: str) -> Callable[[QuartSite], Any]:
    """A view that answers with these headers."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda site: Response(f"page {site.calls}", headers=names)


def with_cookie(site: QuartSite) -> Response:
    """A view that says hello."""
    response = Response(f"page {site.calls}")
    response.set_cookie("uid", request.headers.get("X-User", ""))
    return response


PRIVATE: dict[str, Callable[[QuartSite], Any]] = {
    "set-cookie": with_cookie,
    "no-store": with_headers(Cache_Control="no-store"),
    "private": with_headers(Cache_Control="max-age=5, Private"),
    "tuple": lambda site: (f"page {site.calls}", {"cache-control": "private"}),
    "tuple-pairs": lambda site: (f"page {site.calls}", 200, [("SET-COOKIE", "a=1")]),
    "tuple-response": lambda site: (with_cookie(site), 201),
    "abort": lambda site: abort(with_cookie(site)),
    "partial": lambda site: (f"page {site.calls}", 206),
    "not-modified": lambda site: Response(f"page {site.calls}", 304),
    "error": lambda site: (f"page {site.calls}", 500),
    "unavailable": lambda site: Response(f"page {site.calls}", 503),
}


@served
async def test_an_answer_that_is_nobody_elses_is_not_stored(site: QuartSite) -> None:
    """M11: cookies, ``private``, ``no-store``, 206, 304 and 5xx are passed on as they are."""
    site.view("/<kind>")(lambda kind: PRIVATE[kind](site))
    for kind in PRIVATE:
        calls, path = site.calls, f"/{kind}"
        assert await site.texts(path, path) == [f"page {calls + 1}", f"page {calls + 2}"], kind
        assert await site.cache.aget(f"view/{path}") is None, kind
    assert site.cache.stats().stored == 0


@served
async def test_two_waiting_users_get_their_own_cookies(site: QuartSite) -> None:
    """Not even who waited for the same computation gets somebody else's."""

    def body() -> Response:
        return with_cookie(site)

    async def abody() -> Response:
        await auntil(lambda: site.cache.stats().misses >= 4)
        return with_cookie(site)

    view = site.cache.cached()(abody if site.is_async else body)
    site.app.add_url_rule("/works", "works", view)

    async def visit(user: str) -> bool:
        response = await site.get(headers={"X-User": user})
        return f"uid={user};" in response.headers["Set-Cookie"]

    users = ["alice", "bob", "carol", "dave"]
    assert await asyncio.gather(*[visit(user) for user in users]) == [True] * 4


@served
async def test_the_sessions_own_cookie_is_no_part_of_the_page(site: QuartSite) -> None:
    """Quart sets it after the view; what is stored has none."""
    site.app.secret_key = "secret"

    def body() -> str:
        quart.session["user"] = "alice"
        return "page"

    site.view(personal=True)(body)
    assert "Set-Cookie" in (await site.get()).headers
    assert "Set-Cookie" not in (await site.get()).headers
    assert site.calls == 1


async def stream(site: QuartSite) -> AsyncIterator[bytes]:
    """A page in pieces."""
    yield b"page "
    yield str(site.calls).encode()


async def a_file(site: QuartSite) -> Response:
    """A page from a file."""
    folder = Path(site.app.config["FOLDER"])
    (folder / "page").write_text(f"page {site.calls}")
    return await quart.send_file(folder / "page", cache_timeout=0)  # type: ignore[call-arg]


async def from_memory(site: QuartSite) -> Response:
    """A page from a file in memory."""
    return await quart.send_file(io.BytesIO(f"page {site.calls}".encode()), "text/plain")


STREAMS: dict[str, Callable[[QuartSite], Any]] = {
    "response": lambda site: Response(stream(site)),
    "response-in-a-tuple": lambda site: (Response(stream(site)), 201),
    "async-generator-in-a-tuple": lambda site: (stream(site), 200, {"X-A": "1"}),
    "generator-in-a-tuple": lambda site: ((str(n) for n in ["page ", site.calls]), {"X-A": "1"}),
    "send_file": a_file,
    "send_file-from-memory": from_memory,
}


@pytest.mark.parametrize("debug", [False, True], ids=["production", "debug"])
@ASYNC
@served
async def test_a_streamed_response_is_passed_on_and_not_stored(
    site: QuartSite, debug: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Untouched, and without a word."""
    site.app.config["FOLDER"] = str(tmp_path)
    site.app.debug = debug

    @site.cache.cached()
    async def works(kind: str) -> Any:
        site.calls += 1
        answer = STREAMS[kind](site)
        return await answer if inspect.iscoroutine(answer) else answer

    site.app.add_url_rule("/<kind>", "works", works)
    for kind in STREAMS:
        calls, path = site.calls, f"/{kind}"
        assert await site.texts(path, path) == [f"page {calls + 1}", f"page {calls + 2}"], kind
        assert await site.cache.aget(f"view/{path}") is None, kind
    assert site.cache.stats().stored == 0
    assert not caplog.records


@ASYNC
@served
async def test_a_stream_is_not_read_before_it_is_sent(site: QuartSite) -> None:
    """The first piece leaves before the second is made."""
    go = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"first"
        await go.wait()
        yield b"second"

    site.view()(lambda: Response(endless()))
    async with site.client.request("/works") as connection:
        await connection.send_complete()
        async with asyncio.timeout(PATIENCE):
            assert await connection.receive() == b"first"
            go.set()
            assert await connection.receive() == b"second"


@served
async def test_an_abort_is_stored_and_raised_again(site: QuartSite) -> None:
    """Error handlers run each time, with the original description."""
    handled: list[Any] = []

    @site.app.errorhandler(404)
    async def not_found(error: HTTPException) -> Any:
        handled.append((type(error), error.description))
        return f"sorry: {error.description}", 404

    site.view()(lambda: abort(404, description="no such work"))
    assert await site.texts(*["/works"] * 3) == ["sorry: no such work"] * 3
    assert handled == [(NotFound, "no such work")] * 3
    assert site.calls == 1


@served
async def test_an_abort_with_503_and_other_errors_are_not_stored(site: QuartSite) -> None:
    """They reach Quart as they are, each time."""
    site.view("/down", endpoint="down")(lambda: abort(503))

    def broken() -> str:
        raise LookupError(f"no {site.calls}")

    site.view("/broken", endpoint="broken")(broken)
    for _ in range(2):
        assert (await site.get("/down")).status_code == 503
    for number in (3, 4):
        with pytest.raises(LookupError, match=f"no {number}"):
            await site.get("/broken")


# --- where views come from ------------------------------------------------------------------------


@served
async def test_many_who_want_a_cold_page_cause_one_computation(site: QuartSite) -> None:
    """Of tasks, and of the threads of ``def`` views."""
    go = threading.Event()

    def body() -> str:
        assert go.wait(PATIENCE)
        return str(site.calls)

    async def abody() -> str:
        await auntil(go.is_set)
        return str(site.calls)

    view = site.cache.cached()(site.counted(body))
    if site.is_async:
        counted = site.counted(abody)

        @site.cache.cached()
        async def view() -> str:
            return str(await counted())

    site.app.add_url_rule("/works", "works", view)
    visits = [asyncio.ensure_future(site.text()) for _ in range(4)]
    await auntil(lambda: site.cache.stats().waits >= 3)
    go.set()
    assert await asyncio.gather(*visits) == ["1"] * 4


@ASYNC
@served
async def test_a_visitor_who_leaves_takes_the_page_from_nobody(site: QuartSite) -> None:
    """Whoever computes it disconnects: one of those who wait takes over."""
    go = asyncio.Event()

    @site.app.route("/works")
    @site.cache.cached()
    async def works() -> str:
        site.calls += 1
        await go.wait()
        return str(site.calls)

    async with site.client.request("/works") as connection:
        await connection.send_complete()
        await auntil(lambda: site.calls == 1)
        visits = [asyncio.ensure_future(site.text()) for _ in range(3)]
        await auntil(lambda: site.cache.stats().waits == 3)
        await connection.disconnect()
        await auntil(lambda: site.calls == 2)
    go.set()
    assert await asyncio.gather(*visits) == ["2"] * 3


@served
async def test_views_of_blueprints_and_nested_ones_are_cached(site: QuartSite) -> None:
    """The same name in two blueprints is two views."""

    def blueprint(name: str) -> tuple[Blueprint, Any]:
        blueprint = Blueprint(name, __name__, url_prefix=f"/{name}")

        def works(n: int) -> str:
            return f"{name} {n} {site.calls}"

        view = site.face.cached()(site.counted(works))
        blueprint.add_url_rule("/works/<int:n>", view_func=view)
        return blueprint, view

    (outer, outer_view), (inner, inner_view) = blueprint("outer"), blueprint("inner")
    outer.register_blueprint(inner)
    site.app.register_blueprint(outer)
    paths = ["/outer/works/1", "/outer/inner/works/1"]
    assert await site.texts(*paths, *paths) == ["outer 1 1", "inner 1 2"] * 2
    async with site.app.test_request_context("/"):
        await site.cache.adelete_cached(outer_view, n=1)
    assert await site.texts(*paths) == ["outer 1 3", "inner 1 2"]
    async with site.app.test_request_context("/"):
        await site.cache.adelete_cached(inner_view, n=1)
    assert await site.texts(*paths) == ["outer 1 3", "inner 1 4"]


@pytest.mark.parametrize("every_request", [True, False])
@served
async def test_class_views_are_cached(site: QuartSite, every_request: bool) -> None:
    """``View`` and ``MethodView``, decorated in the class or by ``decorators``."""

    class Works(View):
        init_every_request = every_request
        dispatch_request = site.face.cached()(
            site.counted(lambda self, n: f"{type(self).__name__} {n} {site.calls}")
        )

    class Listed(View):
        init_every_request = every_request
        decorators = [site.cache.cached()]
        dispatch_request = site.face.dye(lambda self, n: f"listed {n} {site.counted(int)() + 1}")

    site.app.add_url_rule("/works/<int:n>", view_func=Works.as_view("works"))
    site.app.add_url_rule("/listed/<int:n>", view_func=Listed.as_view("listed"))
    for _ in range(2):
        assert await site.texts("/works/1", "/listed/1") == ["Works 1 1", "listed 1 1"]
    assert site.calls == 2
    async with site.app.test_request_context("/"):
        await site.cache.adelete_cached(Works.dispatch_request, n=1)
    assert await site.text("/works/1") == "Works 1 3"


@served
@pytest.mark.parametrize("once", [True, False], ids=["each request", "one instance"])
async def test_a_refresh_makes_the_class_of_a_view_as_the_app_does(
    site: QuartSite, once: bool
) -> None:
    """With the arguments of ``as_view`` of the endpoint that the path leads to."""

    class Works(View):
        init_every_request = once

        def __init__(self, token: str) -> None:
            self.token = token

        @site.face.cached()
        def dispatch_request(self, n: int) -> str:
            site.calls += 1
            return f"{self.token} {n} {site.calls}"

    for name in ("a", "b"):
        site.app.add_url_rule(f"/{name}/<int:n>", view_func=Works.as_view(name, token=name))
    view = Works.dispatch_request
    assert await site.texts("/a/1", "/b/1") == ["a 1 1", "b 1 2"]
    assert await view.arefresh(path="/b/1") == "b 1 3"
    assert await view.arefresh(n=1) == "a 1 4"
    renewal = site.cache.refresh_every(3600, view, path="/b/1")  # which begins at once
    assert await renewal.arun()
    renewal.stop()
    assert await site.text("/a/1") == "a 1 4"
    assert await site.text("/b/1") in ("b 1 5", "b 1 6")


def method_views(cache: Cache, calls: list[str]) -> type[MethodView]:
    """A class with sync and async methods."""

    class Works(MethodView):
        @cache.cached()
        async def get(self, n: int) -> str:
            calls.append("get")
            return f"{type(self).__name__} {n} {len(calls)}"

        @cache.cached()
        def post(self, n: int) -> str:
            calls.append("post")
            return f"post {n} {len(calls)}"

    return Works


@ASYNC
@served
async def test_the_methods_of_a_method_view_do_not_share_a_page(site: QuartSite) -> None:
    """``get`` is cached, ``post`` passes through though it is decorated."""
    calls: list[str] = []
    site.app.add_url_rule("/<int:n>", view_func=method_views(site.cache, calls).as_view("works"))
    texts = [await site.text("/1", method=m) for m in ("POST", "GET", "POST", "GET", "HEAD")]
    assert texts == ["post 1 1", "Works 1 2", "post 1 3", "Works 1 2", "Works 1 2"]
    assert calls == ["post", "get", "post"]


@served
async def test_a_check_above_the_cache_is_never_skipped(site: QuartSite) -> None:
    """Whatever ``functools.wraps`` copies."""
    view = site.face.cached()(site.counted(lambda: f"secret {site.calls}"))

    @functools.wraps(view)
    async def checked(*args: Any, **kwargs: Any) -> Any:
        if "X-User" not in request.headers:
            return "who are you?", 401
        return await site.app.ensure_async(view)(*args, **kwargs)

    site.app.add_url_rule("/works", "works", checked)
    for _ in range(2):
        assert (await site.get()).status_code == 401
        assert await site.text(headers={"X-User": "alice"}) == "secret 1"


@ASYNC
@served
async def test_websockets_call_memoized_functions(site: QuartSite) -> None:
    """Sync and async ones, with the websocket around them; a page needs a request."""
    calls: list[Any] = []

    @site.cache.memoize()
    async def double(n: int) -> str:
        calls.append(n)
        return f"{2 * n} {websocket.path}"

    @site.cache.memoize()
    def triple(n: int) -> str:
        calls.append(n)
        return f"{3 * n} {websocket.path}"

    @site.app.websocket("/talk")
    async def talk() -> None:
        while True:
            n = int(await websocket.receive())
            await site.cache.aset("last", n)
            await websocket.send(f"{await double(n)} {triple(n)} {await site.cache.aget('last')}")

    async with site.client.websocket("/talk") as talking:
        for n, answer in ((1, "2 /talk 3 /talk 1"), (2, "4 /talk 6 /talk 2")) * 2:
            await talking.send(str(n))
            assert await talking.receive() == answer
    assert calls == [1, 1, 2, 2]


@served
async def test_the_request_g_and_session_are_quarts(site: QuartSite) -> None:
    """In a view that is computed, in a thread or not, and in what it calls."""
    site.app.secret_key = "secret"

    @site.app.before_request
    def before() -> None:
        g.user = request.headers["X-User"]
        quart.session["user"] = g.user

    inner = site.cache.memoize()(lambda n: f"{request.path} {g.user} {quart.session['user']} {n}")

    def body() -> str:
        g.seen = True
        app = quart.current_app._get_current_object()  # type: ignore[attr-defined]
        return f"{inner(1)} {app is site.app} {flask.has_request_context()}"

    site.view(personal=True)(body)
    assert await site.text(headers={"X-User": "alice"}) == "/works alice alice 1 True False"


# --- templates ------------------------------------------------------------------------------------

FRAGMENT = "{% cache 60, 'name' %}{{ count() }}{% endcache %}"


def room(site: QuartSite, folder: Path) -> None:
    """Pages that render fragments."""
    (folder / "page.html").write_text("<p>{% cache 60 %}{{ count() }}{% endcache %}</p>")
    site.app.template_folder = str(folder)
    site.app.jinja_env.globals["count"] = site.counted(lambda: site.calls)

    async def from_text() -> str:
        return await quart.render_template_string(FRAGMENT)

    async def from_file() -> str:
        return await quart.render_template("page.html")

    async def delete() -> str:
        return await quart.render_template_string(FRAGMENT.replace("60", "'del'"))

    for view in (from_text, from_file, delete):
        site.app.add_url_rule(f"/{view.__name__}", view.__name__, view)


@ASYNC
def test_a_fragment_is_rendered_once_on_each_backend(any_site: QuartSite, tmp_path: Path) -> None:
    """M15: of a string and of a file; ``"del"`` drops it and renders the body."""

    async def main() -> None:
        site = any_site
        room(site, tmp_path)
        async with site.app.test_app():
            assert await site.texts("/from_text", "/from_file") == ["1", "<p>2</p>"]
            assert await site.texts("/from_text", "/from_file") == ["1", "<p>2</p>"]
            assert await site.cache.aget(make_template_fragment_key("name")) == "1"
            assert await site.texts("/delete", "/from_text", "/from_text") == ["3", "4", "4"]
            file = str(tmp_path / "page.html")
            assert await site.cache.adelete(make_template_fragment_key(f"{file}1"))
            assert await site.texts("/from_text", "/from_file") == ["4", "<p>5</p>"]

    asyncio.run(main())


@ASYNC
@served
async def test_many_who_want_a_cold_fragment_render_it_once(site: QuartSite) -> None:
    """With an async function in its body."""

    async def slow() -> int:
        site.calls += 1
        await auntil(lambda: site.cache.stats().misses >= 5)
        return site.calls

    async def page() -> str:
        source = "{% cache 60, 'name' %}{{ slow() }}{% endcache %}"
        return await quart.render_template_string(source, slow=slow)

    site.app.add_url_rule("/", "page", page)
    assert await asyncio.gather(*[site.text("/") for _ in range(5)]) == ["1"] * 5


@ASYNC
@served
async def test_fragments_in_a_cached_view_live_on_without_it(site: QuartSite) -> None:
    """Two layers, each dropped by itself."""
    site.app.jinja_env.globals["count"] = site.counted(lambda: site.calls)

    @site.app.route("/works")
    @site.cache.cached()
    async def works() -> str:
        return (
            f"{site.counted(lambda: site.calls)()} {await quart.render_template_string(FRAGMENT)}"
        )

    assert await site.texts("/works", "/works") == ["1 2", "1 2"]
    await site.cache.adelete_cached(works)
    assert await site.text() == "3 2"


# --- signals and counters -------------------------------------------------------------------------


@served
async def test_hits_and_misses_are_told_and_counted(site: QuartSite) -> None:
    """By signals, with key and arguments, and by ``stats()``."""
    site.cache.enable_signals = True
    heard: list[tuple[str, Any, Any]] = []
    names = {cache_view_hit: "hit", cache_view_miss: "miss"}
    names |= {cache_memoize_hit: "memo hit", cache_memoize_miss: "memo miss"}

    def listener(name: str) -> Any:
        def listen(sender: Any, **told: Any) -> None:
            heard.append((name, told["cache_key"].partition("(")[0], told["kwargs"]))

        return listen

    listeners = {signal: listener(name) for signal, name in names.items()}
    for signal, listen in listeners.items():
        signal.connect(listen)
    try:
        site.view("/works/<int:n>")(lambda n: str(n))
        await site.texts("/works/1", "/works/1", "/works/2")
    finally:
        for signal, listen in listeners.items():
            signal.disconnect(listen)
    one, two = ("view//works/1", {"n": 1}), ("view//works/2", {"n": 2})
    assert heard == [("miss", *one), ("hit", *one), ("miss", *two)]
    stats = site.cache.stats()
    assert (stats.hits, stats.misses, stats.computed, stats.stored) == (1, 2, 2, 2)


# --- hosts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("matching", ["host", "subdomain"])
def test_hosts_do_not_share_pages_where_the_app_routes_by_them(colour: str, matching: str) -> None:
    """M10: two subdomains are two sites; a deletion of the path reaches both."""

    async def main() -> None:
        rule: dict[str, str] = {"subdomain": "<name>"}
        if matching == "host":
            app = quart_app(host_matching=True, static_host="static")
            rule = {"host": "<name>.example.org"}
        else:
            app = quart_app()
            app.subdomain_matching = True
            app.config["SERVER_NAME"] = "example.org"
        site = QuartSite(app, Cache(app, config={"CACHE_TYPE": "SimpleCache"}), colour)
        view = site.face.cached()(site.counted(lambda name: f"{name} {site.calls}"))
        app.add_url_rule("/works", "works", view, **rule)

        async def texts() -> list[str]:
            names = ["a", "b"]
            return [await site.text(headers={"Host": f"{name}.example.org"}) for name in names]

        async with app.test_app():
            assert await texts() == await texts() == ["a 1", "b 2"]
            assert await site.cache.adelete_cached(view, "/works")
            assert await texts() == ["a 3", "b 4"]
            assert await site.cache.adelete_cached(view)
            assert await texts() == ["a 5", "b 6"]

    asyncio.run(main())


@served
async def test_hosts_share_pages_where_the_app_does_not_route_by_them(site: QuartSite) -> None:
    """Then the key is Flask-Caching's."""
    site.numbers()
    hosts = ("a.org", "b.org")
    assert [await site.text(headers={"Host": host}) for host in hosts] == ["1", "1"]
