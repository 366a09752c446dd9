"""What a view may store: nothing leaks between users, hosts, methods and errors."""

from __future__ import annotations

import functools
import io
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import (
    Flask,
    Response,
    abort,
    make_response,
    redirect,
    render_template_string,
    request,
    send_file,
    stream_template_string,
)
from flask import session as flask_session
from flask.views import MethodView, View
from werkzeug.exceptions import HTTPException, NotFound

from flask_caching_async import Cache
from flask_caching_async.testing import FakeClock
from support.backends import config_for
from support.params import cases, each_form, each_pace
from support.sites import Site, background
from support.waiting import PATIENCE, at_once, together, until


@pytest.fixture
def site(app: Flask, cache: Cache, colour: str) -> Site:
    """A site on a cache in memory, in both colours."""
    return Site(app, cache, colour)


@pytest.fixture
def any_site(app: Flask, any_cache: Cache, colour: str) -> Site:
    """A site on each kind of backend, in both colours."""
    return Site(app, any_cache, colour)


# --- methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["GET", "HEAD"])
def test_get_and_head_share_one_entry(site: Site, first: str) -> None:
    """The framework runs one view for both, and strips the body of a HEAD itself."""
    site.view()(lambda: f"page {site.calls}")
    client = site.app.test_client()
    client.open("/works", method=first)
    head, get = client.head("/works"), client.get("/works")
    assert (head.data, get.data, site.calls) == (b"", b"page 1", 1)
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == "6"


def by_method() -> str:
    """A view that answers each method in its own way."""
    return "" if request.method == "HEAD" else "page"


def by_environment() -> str:
    """Another one."""
    return "" if request.environ["REQUEST_METHOD"] == "HEAD" else "page"


def class_with(cached: Any, where: str) -> Any:
    """A view of a class that has a ``head`` of its own, or dispatches by itself."""

    class Works(MethodView):
        decorators = [cached] if where == "decorators" else []

        def get(self) -> str:
            return "page"

        def head(self) -> Any:
            return Response("", headers={"X-Head": "1"})

        if where == "get":
            get = cached(get)
        if where == "head":
            get, head = cached(get), cached(head)
        if where == "dispatch_request":

            @cached
            def dispatch_request(self, **kwargs: Any) -> Any:
                return super().dispatch_request(**kwargs)

    class Dispatching(View):
        decorators = [cached]

        def dispatch_request(self) -> str:
            return "" if request.method == "HEAD" else "page"

    return (Dispatching if where == "View" else Works).as_view("works")


@cases(
    "where,first",
    itertools.product(["decorators", "get", "head", "dispatch_request", "View"], ["GET", "HEAD"]),
)
def test_a_class_with_an_answer_of_its_own_for_head_keeps_it(
    app: Flask, any_cache: Cache, where: str, first: str
) -> None:
    """It is neither the page of a GET, nor answered with that."""
    app.add_url_rule("/works", view_func=class_with(any_cache.cached(), where))
    client = app.test_client()
    client.open("/works", method=first)
    for _ in range(2):
        head, get = client.head("/works"), client.get("/works")
        assert (get.text, "X-Head" in get.headers) == ("page", False)
        assert head.headers["Content-Length"] == "0"
        assert ("X-Head" in head.headers) == (where != "View")
    assert any_cache.stats().computed == 1


@cases(
    "body,first",
    itertools.product(
        [by_method, by_environment, functools.wraps(by_method)(lambda: by_method())],
        ["HEAD", "GET"],
    ),
    ids=map("-".join, itertools.product(["method", "environ", "wrapped"], ["HEAD", "GET"])),
)
def test_a_view_that_looks_at_the_method_answers_head_by_itself(
    any_site: Site, body: Any, first: str
) -> None:
    """And its answer to a HEAD is no page."""
    any_site.view()(body)
    client = any_site.app.test_client()
    client.open("/works", method=first)
    for _ in range(2):
        assert client.head("/works").headers["Content-Length"] == "0"
        assert client.get("/works").text == "page"
    assert any_site.cache.stats().computed == 1


@cases(
    "first,render",
    itertools.product(["HEAD", "GET"], [render_template_string, stream_template_string]),
)
def test_what_a_view_calls_finds_a_get_where_head_shares_its_page(
    any_site: Site, first: str, render: Any
) -> None:
    """A template or a function that looks at the method: what is stored is what a GET gives.

    Also where the template is rendered after the view has returned.
    """
    methods: list[str] = []

    def after(response: Any) -> Any:
        methods.append(request.method)
        return response

    any_site.app.after_request(after)
    any_site.view()(lambda: render("{{ request.method }}{{ page() }}", page=by_method))
    client = any_site.app.test_client()
    client.open("/works", method=first)
    assert client.head("/works").headers["Content-Length"] == "7"
    assert client.get("/works").text == "GETpage"
    assert any_site.cache.stats().computed == 1
    assert methods == [first, "HEAD", "GET"]


def test_a_refresh_in_the_background_of_a_head_stores_the_page_of_a_get(
    site: Site, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the method of the request that it stands for."""
    site.view(timeout=10, stale_while_revalidate=60)(
        lambda: render_template_string("{{ request.method }}") + str(site.calls)
    )
    client = site.app.test_client()
    with background(monkeypatch) as wait:
        assert client.get("/works").text == "GET1"
        clock.advance(20)
        assert client.head("/works").status_code == 200
        wait()
        assert client.get("/works").text == "GET2"


def test_other_methods_pass_through_with_the_default_key(site: Site) -> None:
    """M10: a POST is neither answered with a page nor stored as one."""
    others = ["POST", "PUT", "PATCH", "DELETE"]
    site.view("/works/<path>", methods=["GET", *others])(lambda path: f"{request.method} {path}")
    client = site.app.test_client()
    for path in others:
        for method in (path, "GET", path, "GET"):
            assert client.open(f"/works/{path}", method=method).text == f"{method} {path}"
    assert site.calls == len(others) * 3


OWN_KEYS: dict[str, dict[str, Any]] = {
    "make_cache_key": {"make_cache_key": lambda: "mine"},
    "callable-prefix": {"key_prefix": lambda: "mine"},
    "constant-prefix": {"key_prefix": "mine"},
}


@pytest.mark.parametrize("own", OWN_KEYS)
def test_any_method_is_cached_under_a_key_of_the_users_own(site: Site, own: str) -> None:
    """It is the user's word that the method does not matter."""
    site.numbers(methods=["GET", "POST"], **OWN_KEYS[own])
    client = site.app.test_client()
    assert [client.post("/works").text, client.post("/works").text] == ["1", "1"]
    assert client.get("/works").text == "1"
    assert site.cache.get("mine") == "1"


# --- answers that are nobody else's ---------------------------------------------------------------


def with_headers(**headers: str) -> Callable[[Site], Any]:
    """A view that answers with these headers."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda site: Response(f"page {site.calls}", headers=names)


def with_cookie(site: Site) -> Response:
    """A view that says hello."""
    response = make_response(f"page {site.calls}")
    response.set_cookie("uid", request.headers.get("X-User", ""))
    return response


PRIVATE: dict[str, Callable[[Site], Any]] = {
    "set-cookie": with_cookie,
    "no-store": with_headers(Cache_Control="no-store"),
    "private": with_headers(Cache_Control="max-age=5, Private"),
    "private-fields": with_headers(Cache_Control='private="X-A"'),
    "tuple-dict": lambda site: (f"page {site.calls}", {"cache-control": "private"}),
    "tuple-pairs": lambda site: (f"page {site.calls}", 200, [("SET-COOKIE", "a=1")]),
    "tuple-list": lambda site: (f"page {site.calls}", {"Set-Cookie": ["a=1", "b=2"]}),
    "tuple-response": lambda site: (with_cookie(site), 201),
    "tuple-headers": lambda site: (f"page {site.calls}", 200, with_cookie(site).headers),
    "abort-response": lambda site: abort(with_cookie(site)),
}


def private(site: Site) -> list[str]:
    """The paths of views that give such answers."""
    for kind, body in PRIVATE.items():
        site.view(f"/{kind}", endpoint=kind)(lambda body=body: body(site))
    return [f"/{kind}" for kind in PRIVATE]


def test_a_private_answer_is_passed_on_and_not_stored(site: Site) -> None:
    """M11: Alice's cookie is never sent to Bob, in whatever shape the view returned it."""
    for path in private(site):
        calls = site.calls
        texts = [site.text(path), site.text(path)]
        assert texts == [f"page {calls + 1}", f"page {calls + 2}"], path
        assert site.cache.get(f"view/{path}") is None, path
    assert site.cache.stats().stored == 0


@each_form
def test_nothing_of_what_is_not_stored_reaches_a_backend(any_site: Site) -> None:
    """Neither private answers nor errors, whatever a value is kept as."""
    any_site.view("/error", endpoint="error")(lambda: ("page", 500))
    any_site.view("/stream", endpoint="stream")(lambda: Response(iter(["page"])))
    for path in (*private(any_site), "/error", "/stream"):
        calls = any_site.calls
        for _ in range(2):
            any_site.get(path)
        assert (any_site.calls, any_site.cache.get(f"view/{path}")) == (calls + 2, None), path
    assert any_site.cache.stats().stored == 0


def test_cache_store_private_stores_them(app: Flask, colour: str) -> None:
    """Where the app says that all its pages are everybody's."""
    config = {"CACHE_TYPE": "SimpleCache", "CACHE_STORE_PRIVATE": True}
    site = Site(app, Cache(app, config=config), colour)
    for number, path in enumerate(private(site), 1):
        first, second = site.get(path), site.get(path)
        assert (first.text, second.text) == (f"page {number}", f"page {number}"), path
        assert list(first.headers) == list(second.headers), path


@each_pace
def test_two_waiting_users_get_their_own_cookies(any_site: Site) -> None:
    """Not even who waited for the same computation gets somebody else's."""

    def body() -> Response:
        until(lambda: any_site.cache.stats().misses >= 4)
        return with_cookie(any_site)

    any_site.view()(body)
    users = iter(["alice", "bob", "carol", "dave"])

    def visit() -> bool:
        user = next(users)
        return f"uid={user};" in any_site.get(headers={"X-User": user}).headers["Set-Cookie"]

    assert at_once(4, visit) == [True] * 4
    assert any_site.calls == 4


def test_other_headers_are_no_obstacle(site: Site) -> None:
    """They are stored with the page."""
    given: list[dict[str, str]] = [
        {"Cache-Control": "public, max-age=5"}, {"X-Private": "private"}, {}
    ]  # fmt: skip
    site.view("/<int:n>")(lambda n: (str(site.calls), given[n]))
    for n, headers in enumerate(given):
        first, second = site.get(f"/{n}"), site.get(f"/{n}")
        assert (second.text, list(second.headers)) == (str(n + 1), list(first.headers)), headers


def test_the_sessions_own_cookie_is_no_part_of_the_page(site: Site) -> None:
    """The framework sets it after the view; what is stored has none."""
    site.app.secret_key = "secret"

    def body() -> str:
        flask_session["user"] = "alice"
        return "page"

    site.view(personal=True)(body)
    assert "Set-Cookie" in site.get().headers
    assert "Set-Cookie" not in site.get().headers
    assert site.calls == 1


# --- status codes ---------------------------------------------------------------------------------


def raised(code: int) -> Any:
    """An ``abort()`` with any code."""
    if code in (200, 206, 304):
        abort(Response("page", code))
    abort(code)


SHAPES: dict[str, Callable[[int], Any]] = {
    "response": lambda code: make_response("page", code),
    "tuple": lambda code: ("page", code),
    "tuple-of-3": lambda code: ("page", code, {"X-A": "1"}),
    "text": lambda code: ("page", f"{code} SAID SO"),
    "response-in-a-tuple": lambda code: (make_response("page"), code),
    "abort": raised,
}


def visits(site: Site, *codes: int) -> Iterator[tuple[str, int, list[Any], int]]:
    """Ask twice for a page in each shape with each code: its path, code, answers, calls."""
    site.view("/<shape>/<int:code>")(lambda shape, code: SHAPES[shape](code))
    for shape in SHAPES:
        for code in codes:
            if (shape, code) != ("abort", 599):  # which Werkzeug does not know
                path, calls = f"/{shape}/{code}", site.calls
                yield path, code, [site.get(path), site.get(path)], site.calls - calls


def test_errors_and_partial_answers_are_not_stored(site: Site) -> None:
    """5xx, 206, 304, and the 4xx that speak of one request, are passed on as they are."""
    codes = (500, 502, 503, 599, 206, 304, 400, 401, 403, 409, 418, 429)
    for path, code, answers, calls in visits(site, *codes):
        assert [answer.status_code for answer in answers] == [code, code], path
        assert (calls, site.cache.get(f"view/{path}")) == (2, None), path


def test_other_status_codes_are_stored(site: Site) -> None:
    """A 404 is an answer, too: it speaks of the page."""
    for path, code, (first, second), calls in visits(site, 200, 404, 405, 410, 414, 451):
        assert (first.status, first.data) == (second.status, second.data), path
        assert (second.status_code, calls) == (code, 1), path


def test_an_abort_is_raised_again_on_hits(site: Site) -> None:
    """Error handlers run each time, with the original description."""
    handled: list[Any] = []

    @site.app.errorhandler(404)
    def not_found(error: NotFound) -> Any:
        handled.append((type(error), error.description))
        return f"sorry: {error.description}", 404

    site.view()(lambda: abort(404, description="no such work"))
    assert [site.text() for _ in range(3)] == ["sorry: no such work"] * 3
    assert handled == [(NotFound, "no such work")] * 3
    assert site.calls == 1


def test_an_abort_with_a_response_is_that_response_on_hits(site: Site) -> None:
    """``abort(make_response(...))``, with its headers."""
    site.view()(lambda: abort(make_response("gone", 410, {"X-A": "1"})))
    for _ in range(3):
        response = site.get()
        assert (response.status_code, response.text, response.headers["X-A"]) == (410, "gone", "1")
    assert site.calls == 1


def test_a_returned_http_exception_is_stored_like_a_raised_one(site: Site) -> None:
    """Both are answers."""
    site.view()(lambda: NotFound("nothing here"))
    for _ in range(2):
        assert (site.get().status_code, "nothing here" in site.text()) == (404, True)
    assert site.calls == 1


class TeapotError(HTTPException):
    """An exception with more than Werkzeug's."""

    code = 451

    def __init__(self, size: str = "small") -> None:
        super().__init__(f"a {size} teapot")
        self.size = size


@each_form
def test_an_http_exception_of_ones_own_keeps_what_it_carries(any_site: Site) -> None:
    """Its class and attributes, on hits too."""

    @any_site.app.errorhandler(TeapotError)
    def handle(error: TeapotError) -> Any:
        return f"{error.size}: {error.description}", 451

    def body() -> Any:
        raise TeapotError("large")

    any_site.view()(body)
    assert [any_site.text(), any_site.text(), any_site.calls] == ["large: a large teapot"] * 2 + [1]


class SoldOutError(HTTPException):
    """An exception that cannot be made without arguments, which it keeps in its own way."""

    code = 410

    def __init__(self, item: str, *, since: tuple[int, ...]) -> None:
        super().__init__(f"{item} is sold out")
        self.item, self.since = item, since


@each_form
def test_an_http_exception_whose_constructor_wants_arguments_is_stored(
    any_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """And raised again on hits, with all that it carries; without a word."""

    @any_site.app.errorhandler(SoldOutError)
    def handle(error: SoldOutError) -> Any:
        return f"{error.item} {error.since} {error.description}", 410

    def body() -> Any:
        raise SoldOutError("tea", since=(2026, 1))

    any_site.view()(body)
    assert [any_site.text() for _ in range(3)] == ["tea (2026, 1) tea is sold out"] * 3
    assert any_site.calls == 1 and not caplog.records


@each_form
def test_followers_get_the_http_exception_of_their_leader(any_site: Site) -> None:
    """Each its own, however it is made."""
    entered, go = threading.Event(), threading.Event()
    handled: list[SoldOutError] = []

    @any_site.app.errorhandler(SoldOutError)
    def handle(error: SoldOutError) -> Any:
        handled.append(error)
        return f"{error.item} {error.since}", 410

    def body() -> Any:
        entered.set()
        assert go.wait(PATIENCE)
        raise SoldOutError("tea", since=(2026, 1))

    any_site.view()(body)

    def lead() -> Any:
        return any_site.get()

    def follow() -> Any:
        assert entered.wait(PATIENCE)
        return any_site.get()

    def let_go() -> None:
        until(lambda: any_site.cache.stats().waits >= 3)
        go.set()

    *pages, _ = together(lead, follow, follow, follow, let_go)
    assert [(page.status_code, page.text) for page in pages] == [(410, "tea (2026, 1)")] * 4
    assert any_site.calls == 1 and len({id(error) for error in handled}) == 4


def test_other_exceptions_are_not_stored(site: Site) -> None:
    """They reach the framework as they are, each time."""

    def body() -> Any:
        raise LookupError(f"no {site.calls}")

    site.view()(body)
    for number in (1, 2):
        with pytest.raises(LookupError, match=f"no {number}"):
            site.get()


def test_a_redirect_is_stored(site: Site) -> None:
    """It is a response like others."""
    site.view()(lambda: redirect(f"/new/{site.calls}"))
    assert [site.get().location, site.get().location] == ["/new/1", "/new/1"]


# --- streams --------------------------------------------------------------------------------------


def stream(site: Site) -> Iterator[str]:
    """A page in pieces."""
    yield "page "
    yield str(site.calls)


STREAMS: dict[str, Callable[[Site], Any]] = {
    "response": lambda site: Response(stream(site)),
    "response-in-a-tuple": lambda site: (Response(stream(site)), 201),
    "generator-in-a-tuple": lambda site: (stream(site), {"Content-Type": "text/csv"}),
    "iterator": lambda site: map(str, ["page ", site.calls]),
    "send_file": lambda site: send_file(
        io.BytesIO(f"page {site.calls}".encode()), "text/plain", conditional=False
    ),
    "passthrough": lambda site: Response([f"page {site.calls}"], direct_passthrough=True),
}


@pytest.mark.parametrize("debug", [False, True], ids=["production", "debug"])
def test_a_streamed_response_is_passed_on_and_not_stored(
    site: Site, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Untouched, and without a word."""
    site.app.debug = debug
    site.view("/<kind>")(lambda kind: STREAMS[kind](site))
    for kind in STREAMS:
        calls = site.calls
        texts = [site.text(f"/{kind}"), site.text(f"/{kind}")]
        assert texts == [f"page {calls + 1}", f"page {calls + 2}"], kind
    assert site.cache.stats().stored == 0
    assert not caplog.records


def test_a_stream_is_not_read_before_it_is_sent(site: Site) -> None:
    """The first piece leaves before the second is made."""
    made: list[int] = []

    def pieces() -> Iterator[str]:
        for number in range(3):
            made.append(number)
            yield str(number)

    site.view()(lambda: Response(pieces()))
    response = site.get(buffered=False)
    assert len(made) < 3
    assert response.text == "012"


def test_a_bare_generator_is_joined_and_stored(site: Site) -> None:
    """As in Flask-Caching."""
    site.view()(lambda: stream(site))
    assert [site.text(), site.text(), site.calls] == ["page 1", "page 1", 1]
    assert site.cache.get("view//works") == "page 1"


# --- hosts ----------------------------------------------------------------------------------------


def hosts_app(matching: str) -> Flask:
    """An app that routes by host, or by subdomain."""
    if matching == "host":
        return Flask(__name__, host_matching=True, static_host="static")
    app = Flask(__name__, subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.org"
    return app


@pytest.mark.parametrize("matching", ["host", "subdomain"])
def test_hosts_do_not_share_pages_where_the_app_routes_by_them(
    colour: str, matching: str, tmp_path: Any
) -> None:
    """M10: two subdomains are two sites; a deletion of the path reaches both."""
    for options in ({}, {"query_string": True}):
        app = hosts_app(matching)
        config = config_for("FileSystemCache", tmp_path / str(len(options)))
        site = Site(app, Cache(app, config=config), colour)
        check_hosts(site, matching, options)


def check_hosts(site: Site, matching: str, options: dict[str, Any]) -> None:
    """Its pages are two, and dropped together."""
    view = site.face.cached(**options)(site.counted(lambda name: f"{name} {site.calls}"))
    rule = {"host": "<name>.example.org"} if matching == "host" else {"subdomain": "<name>"}
    site.app.add_url_rule("/works", "works", view, **rule)

    def text(name: str) -> str:
        return site.text(base_url=f"http://{name}.example.org")

    assert [text("a"), text("b"), text("a"), text("b")] == ["a 1", "b 2", "a 1", "b 2"]
    assert site.do("delete_cached", view, "/works")
    assert [text("a"), text("b")] == ["a 3", "b 4"]
    site.do("delete", "view//works")
    assert [text("a"), text("b")] == ["a 5", "b 6"]
    assert site.do("delete_cached", view)
    assert [text("a"), text("b")] == ["a 7", "b 8"]


def test_hosts_share_pages_where_the_app_does_not_route_by_them(site: Site) -> None:
    """Then the key is Flask-Caching's, because users delete by it."""
    site.numbers()
    assert [site.text(base_url=f"http://{host}") for host in ("a.org", "b.org")] == ["1", "1"]
    assert site.cache.get("view//works") == "1"


def test_keys_are_flask_cachings(site: Site) -> None:
    """The path, or the path and a SHA-256 of the sorted query string."""
    import hashlib

    site.numbers()
    site.numbers("/q", endpoint="q", query_string=True)
    site.get()
    site.get("/q?b=2&a=1")
    query = hashlib.sha256(str((("a", "1"), ("b", "2"))).encode()).hexdigest()
    assert (site.cache.get("view//works"), site.cache.get(f"view//q{query}")) == ("1", "2")
    assert re.fullmatch("[0-9a-f]{64}", query)
