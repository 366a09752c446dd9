"""What Flask calls: views, classes, hooks and handlers, in both colours, and what they return."""

from __future__ import annotations

import functools
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    g,
    jsonify,
    make_response,
    redirect,
    render_template_string,
    request,
    stream_template_string,
    stream_with_context,
)
from flask.views import MethodView, View

from flask_caching_async import Cache
from support.params import cases, each_form
from support.sites import Site
from support.waiting import at_once


@pytest.fixture
def site(app: Flask, cache: Cache, colour: str) -> Site:
    """A site on a cache in memory, in both colours."""
    return Site(app, cache, colour)


@pytest.fixture
def any_site(app: Flask, any_cache: Cache, colour: str) -> Site:
    """A site on each kind of backend, in both colours."""
    return Site(app, any_cache, colour)


# --- what views return ----------------------------------------------------------------------------

ANSWERS: dict[str, Any] = {
    "str": lambda: "page",
    "bytes": lambda: b"\x00page\xff",
    "dict": lambda: {"a": 1},
    "list": lambda: [1, {"a": None}],
    "body-status": lambda: ("page", 201),
    "body-status-text": lambda: ("page", "201 MADE"),
    "body-headers": lambda: ("page", {"X-A": "1"}),
    "body-header-pairs": lambda: ("page", [("X-A", "1"), ("X-A", "2")]),
    "body-status-headers": lambda: ("page", 202, {"X-A": ["1", "2"]}),
    "dict-status": lambda: ({"error": "gone"}, 410),
    "response-status": lambda: (make_response("page"), 202, {"X-A": "1"}),
    "response": lambda: Response("page", 203, {"X-A": "1"}, mimetype="text/plain"),
    "jsonify": lambda: jsonify([1, 2]),
    "redirect": lambda: redirect("/elsewhere", 307),
    "template": lambda: render_template_string("{{ request.path }}"),
    "generator": lambda: (piece for piece in ("a", "b")),
    "bytes-generator": lambda: (piece for piece in (b"a", b"\xff")),
    "streamed-template": lambda: stream_template_string("{{ request.path }}"),
    "with-context": lambda: stream_with_context(str(n) + request.path for n in range(3)),
}


def check_hits(site: Site, kinds: dict[str, Any]) -> None:
    """A hit has the status, headers and body that an uncached view answers with."""
    site.view("/<kind>", endpoint="cached")(lambda kind: kinds[kind]())
    app = Flask(__name__)
    app.add_url_rule("/<kind>", "plain", lambda kind: kinds[kind]())
    for calls, kind in enumerate(kinds, 1):
        plain = app.test_client().get(f"/{kind}")
        expected = {name: plain.headers.getlist(name) for name in plain.headers.keys()}
        expected["Content-Length"] = [str(len(plain.data))]
        for _ in range(3):
            response = site.get(f"/{kind}")
            assert (response.status, response.data) == (plain.status, plain.data), kind
            given = {name: response.headers.getlist(name) for name in response.headers.keys()}
            assert given == expected, kind
        assert site.calls == calls, kind


@cases("kind", ANSWERS, everywhere=("str", "response-status", "generator", "streamed-template"))
def test_a_hit_is_what_an_uncached_view_answers(site: Site, kind: str) -> None:
    """Status, headers and body, for everything that Flask takes."""
    check_hits(site, {kind: ANSWERS[kind]})


@each_form
def test_a_hit_from_any_backend_is_what_an_uncached_view_answers(any_site: Site) -> None:
    """Whatever the answer is kept as there."""
    check_hits(any_site, ANSWERS)


def test_an_async_generator_view_is_joined(app: Flask, cache: Cache) -> None:
    """An ``async def`` that yields."""
    site = Site(app, cache, "async")

    @cache.cached()
    async def works() -> AsyncIterator[str]:
        site.calls += 1
        yield "a"
        yield str(site.calls)

    app.add_url_rule("/works", "works", works)
    assert [site.text(), site.text()] == ["a1", "a1"]


def test_an_async_generator_view_is_joined_where_the_cache_is_bypassed(
    app: Flask, cache: Cache
) -> None:
    """A POST gets the same text, not JSON of its pieces."""

    @cache.cached()
    async def works() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    app.add_url_rule("/works", "works", works, methods=["GET", "POST"])
    client = app.test_client()
    assert [client.get("/works").text, client.post("/works").text] == ["ab", "ab"]


def test_a_generator_may_read_the_request(site: Site) -> None:
    """It runs in the view's own context, on the first call already."""

    def body() -> Iterator[str]:
        yield request.path
        yield str(g.setdefault("seen", site.calls))

    site.view()(body)
    assert [site.text(), site.text()] == ["/works1", "/works1"]


# --- where views come from ------------------------------------------------------------------------


def test_the_same_name_in_two_blueprints_is_two_views(site: Site) -> None:
    """Nested ones, with prefixes; deleting one page leaves the other."""

    def blueprint(name: str) -> tuple[Blueprint, Any]:
        blueprint = Blueprint(name, __name__)

        def works(n: int) -> str:
            return f"{name} {n} {site.calls}"

        view = site.face.cached()(site.counted(works))
        blueprint.add_url_rule("/works/<int:n>", view_func=view)
        return blueprint, view

    (one, view_one), (two, _) = blueprint("one"), blueprint("two")
    outer = Blueprint("outer", __name__, url_prefix="/outer")
    outer.register_blueprint(two, url_prefix="/two")
    site.app.register_blueprint(one, url_prefix="/one")
    site.app.register_blueprint(outer)
    assert [site.text("/one/works/1"), site.text("/outer/two/works/1")] == ["one 1 1", "two 1 2"]
    with site.app.test_request_context():
        assert site.do("delete_cached", view_one, n=1)
    assert [site.text("/one/works/1"), site.text("/outer/two/works/1")] == ["one 1 3", "two 1 2"]


def test_one_view_may_have_several_rules(site: Site) -> None:
    """A page for each path."""
    view = site.numbers("/a", endpoint="a")
    site.app.add_url_rule("/b", "b", view)
    site.app.add_url_rule("/c/", "c", view)
    assert [site.text(p) for p in ("/a", "/b", "/a", "/c/", "/b")] == ["1", "2", "1", "3", "2"]


def test_converters_and_defaults_reach_the_view(site: Site) -> None:
    """As they do without a cache."""
    view = site.face.cached()(lambda x, y, z: repr((x, y, z)))
    site.app.add_url_rule("/<int:x>/<float:y>/<path:z>", "v", view)
    site.app.add_url_rule("/<int:x>", "w", view, defaults={"y": 0.5, "z": "z"})
    for _ in range(2):
        assert site.text("/1/2.5/a/b") == "(1, 2.5, 'a/b')"
        assert site.text("/3") == "(3, 0.5, 'z')"


def test_a_view_registered_with_app_route(app: Flask, cache: Cache) -> None:
    """As users write it."""
    calls = []

    @app.get("/sync/<int:n>")
    @cache.cached(timeout=50)
    def sync_view(n: int) -> str:
        calls.append(n)
        return f"sync {n}"

    @app.route("/async/<int:n>")
    @cache.cached(timeout=50)
    async def async_view(n: int) -> str:
        calls.append(n)
        return f"async {n}"

    client = app.test_client()
    for _ in range(3):
        assert [client.get("/sync/1").text, client.get("/async/2").text] == ["sync 1", "async 2"]
    assert calls == [1, 2]


def class_view(site: Site, base: Any, once: bool) -> tuple[Any, Any]:
    """A view class in the site's colour, and the name of its method."""
    name = "dispatch_request" if base is View else "get"

    def body(self: Any, n: int) -> str:
        assert isinstance(self, base)
        return f"{n} {site.calls} {self.token}"

    namespace = {
        "init_every_request": once,
        "__init__": lambda self, token: setattr(self, "token", token),
        name: site.face.cached()(site.counted(body)),
    }
    return type("Works", (base,), namespace), name


@cases("base,once", itertools.product([View, MethodView], [True, False]))
def test_methods_of_view_classes_are_cached_by_path(site: Site, base: Any, once: bool) -> None:
    """``dispatch_request`` and ``get``, with an instance per request or one for all."""
    kind, name = class_view(site, base, once)
    site.app.add_url_rule("/works/<int:n>", view_func=kind.as_view("works", "t"))
    assert [site.text(f"/works/{n}") for n in (1, 1, 2, 1)] == ["1 1 t", "1 1 t", "2 2 t", "1 1 t"]
    assert site.do("delete_cached", getattr(kind, name), "/works/1")
    assert [site.text(f"/works/{n}") for n in (1, 2)] == ["1 3 t", "2 2 t"]
    assert site.do("delete_cached", getattr(kind, name))
    assert [site.text(f"/works/{n}") for n in (1, 2)] == ["1 4 t", "2 5 t"]


@pytest.mark.parametrize("base", [View, MethodView], ids=lambda base: base.__name__)
def test_pages_of_view_classes_can_be_deleted_by_the_views_arguments(site: Site, base: Any) -> None:
    """The endpoint is the one of the class."""
    kind, name = class_view(site, base, True)
    site.app.add_url_rule("/works/<int:n>", view_func=kind.as_view("some_endpoint", "t"))
    site.get("/works/1")
    with site.app.test_request_context():
        assert site.do("delete_cached", getattr(kind, name), n=1)
    assert site.text("/works/1") == "1 2 t"


def plainly(view: Any) -> Any:
    """A decorator that does not use ``functools.wraps``."""

    def around(**view_args: Any) -> Any:
        return view(**view_args)

    return around


def wrapping(view: Any) -> Any:
    """A decorator that does."""
    return functools.wraps(view)(plainly(view))


@cases(
    "base,once,above",
    itertools.product(
        [View, MethodView],
        [True, False],
        [(None, None), (plainly, None), (wrapping, wrapping)],
    ),
    ids=map(
        "-".join,
        itertools.product(
            ["View", "MethodView"],
            ["each request", "one instance"],
            ["bare", "a decorator of the class", "one above, too"],
        ),
    ),
)
def test_a_refresh_makes_the_class_of_a_view_as_the_app_does(
    site: Site, base: Any, once: bool, above: tuple[Any, Any]
) -> None:
    """With the arguments of ``as_view`` of the endpoint that the path leads to."""
    inside, outside = above
    kind, name = class_view(site, base, once)
    kind.decorators = [inside] if inside else []
    for rule, args, kwargs in (("/a/<int:n>", ("a",), {}), ("/b/<int:n>", (), {"token": "b"})):
        view = kind.as_view(rule[1], *args, **kwargs)
        site.app.add_url_rule(rule, rule[1], outside(view) if outside else view)
    method = getattr(kind, name)
    assert [site.text("/a/1"), site.text("/b/1")] == ["1 1 a", "1 2 b"]
    assert site.call(method.refresh, path="/a/1") == "1 3 a"
    assert site.call(method.refresh, path="/b/1") == "1 4 b"
    assert [site.text("/a/1"), site.text("/b/1")] == ["1 3 a", "1 4 b"]
    assert site.call(method.refresh, n=1) == "1 5 a" == site.text("/a/1")
    renewal = site.cache.refresh_every(3600, method, path="/b/1")  # which begins at once
    assert renewal.run()
    renewal.stop()
    assert site.text("/b/1") in ("1 6 b", "1 7 b")


def test_a_refresh_asks_for_a_rule_that_has_the_arguments(site: Site) -> None:
    """Of classes that inherit a method, the first may have other ones."""

    class Pet(MethodView):
        @site.face.cached()
        def get(self, **names: str) -> str:
            return f"{type(self).__name__} {names}"

    for kind, rule in (("Cat", "/cat/<cat>"), ("Dog", "/dog/<dog>")):
        view = type(kind, (Pet,), {}).as_view(kind)  # type: ignore[attr-defined]
        site.app.add_url_rule(rule, view_func=view)
    assert site.call(Pet.get.refresh, dog="Rex") == "Dog {'dog': 'Rex'}" == site.text("/dog/Rex")
    assert site.call(Pet.get.refresh, cat="Tom") == "Cat {'cat': 'Tom'}" == site.text("/cat/Tom")


def test_the_methods_of_a_method_view_do_not_share_a_page(app: Flask, cache: Cache) -> None:
    """``get`` is cached, ``post`` passes through though it is decorated; ``head`` is ``get``."""
    calls: list[str] = []

    class Works(MethodView):
        @cache.cached()
        def get(self) -> str:
            calls.append("get")
            return f"get {len(calls)}"

        @cache.cached()
        async def post(self) -> str:
            calls.append("post")
            return f"post {len(calls)}"

    app.add_url_rule("/works", view_func=Works.as_view("works"))
    client = app.test_client()
    texts = [client.open("/works", method=m).text for m in ("POST", "GET", "POST", "GET")]
    assert texts == ["post 1", "get 2", "post 3", "get 2"]
    assert client.head("/works").status_code == 200
    assert calls == ["post", "get", "post"]


def test_methods_in_the_body_of_a_class_statement_are_cached(app: Flask, cache: Cache) -> None:
    """With ``self``, inheritance and ``super()``."""
    calls: list[str] = []

    class Base(MethodView):
        @cache.cached(vary_on=lambda: request.args.get("page"))
        async def get(self, n: int) -> str:
            calls.append(type(self).__name__)
            return f"{type(self).__name__} {n}"

    class Sub(Base):
        async def get(self, n: int) -> str:
            return f"sub of {await super().get(n)}"

    app.add_url_rule("/base/<int:n>", view_func=Base.as_view("base"))
    app.add_url_rule("/sub/<int:n>", view_func=Sub.as_view("sub"))
    client = app.test_client()
    for _ in range(2):
        assert [client.get("/base/1").text, client.get("/sub/1").text] == ["Base 1", "sub of Sub 1"]
    assert calls == ["Base", "Sub"]


def test_view_decorators_of_a_class_may_be_the_cache(site: Site) -> None:
    """``decorators = [cache.cached()]``, around a sync or async ``dispatch_request``."""

    def body(self: Any) -> str:
        return str(site.calls)

    namespace = {
        "decorators": [site.cache.cached()],
        "dispatch_request": site.face.dye(site.counted(body)),
    }
    site.app.add_url_rule("/works", view_func=type("Works", (View,), namespace).as_view("works"))
    assert [site.text(), site.text()] == ["1", "1"]


# --- decorators around ----------------------------------------------------------------------------


def login_required(site: Site, how: str) -> Any:
    """A decorator that lets nobody in without a header."""

    def decorator(view: Any) -> Any:
        def check(*args: Any, **kwargs: Any) -> Any:
            if "X-User" not in request.headers:
                return "who are you?", 401
            return None

        if how == "sync wrapper":

            @functools.wraps(view)
            def outer(*args: Any, **kwargs: Any) -> Any:
                return check() or site.app.ensure_sync(view)(*args, **kwargs)

            return outer

        async def aouter(*args: Any, **kwargs: Any) -> Any:
            denied = check()
            if denied:
                return denied
            answer = view(*args, **kwargs)
            return await answer if site.is_async else answer

        return functools.wraps(view)(aouter) if how == "async wrapper" else aouter

    return decorator


HOWS = ["sync wrapper", "async wrapper", "async without wraps"]


@pytest.mark.parametrize("how", HOWS)
def test_a_check_above_the_cache_is_never_skipped(site: Site, how: str) -> None:
    """Not on a hit, not in the sync lane, though ``wraps`` copies every attribute of the view."""
    view = site.face.cached()(site.counted(lambda: f"secret {site.calls}"))
    site.app.add_url_rule("/works", "works", login_required(site, how)(view))
    alice = {"headers": {"X-User": "alice"}}
    for _ in range(2):
        assert site.get().status_code == 401
        assert site.text(**alice) == "secret 1"


@pytest.mark.parametrize("how", HOWS)
def test_a_check_above_a_cached_method_is_never_skipped(site: Site, how: str) -> None:
    """In a view class, bound methods included."""

    def body(self: Any) -> str:
        return f"secret {site.calls}"

    method = login_required(site, how)(site.face.cached()(site.counted(body)))
    kind = type("Works", (MethodView,), {"get": method, "init_every_request": False})
    site.app.add_url_rule("/works", view_func=kind.as_view("works"))
    alice = {"headers": {"X-User": "alice"}}
    for _ in range(2):
        assert site.get().status_code == 401
        assert site.text(**alice) == "secret 1"


def test_a_check_above_a_method_in_a_class_statement_is_never_skipped(
    app: Flask, cache: Cache
) -> None:
    """There the decorator sees more than a function."""
    site = Site(app, cache, "async")

    class Works(MethodView):
        @login_required(site, "async wrapper")
        @cache.cached()
        async def get(self) -> str:
            return "secret"

        @login_required(site, "sync wrapper")
        @cache.cached(key_prefix="post")
        async def post(self) -> str:
            return "secret"

    app.add_url_rule("/works", view_func=Works.as_view("works"))
    client = app.test_client()
    for method in ("GET", "POST", "GET", "POST"):
        assert client.open("/works", method=method).status_code == 401
        response = client.open("/works", method=method, headers={"X-User": "alice"})
        assert response.text == "secret"


def test_a_partial_of_a_cached_view_is_not_the_view(site: Site) -> None:
    """What was bound reaches it."""
    view = site.face.cached()(site.counted(lambda a, b: f"{a} {b} {site.calls}"))
    site.app.add_url_rule("/<a>", "partial", functools.partial(view, b="bound"))
    assert [site.text("/x"), site.text("/x")] == ["x bound 1", "x bound 1"]


def test_a_decorator_below_the_cache_runs_on_misses_only(site: Site) -> None:
    """What it answers is stored for those of whom it reads the same."""
    view = site.face.cached()(login_required(site, "async wrapper")(
        site.face.dye(lambda: "secret"))
        if site.is_async else login_required(site, "sync wrapper")(lambda: "secret"))  # fmt: skip
    site.app.add_url_rule("/works", "works", view)
    for _ in range(2):
        assert site.get(headers={"X-User": "alice"}).text == "secret"
        assert site.get().text == "who are you?"
    assert site.cache.stats().hits == 1  # a 401 is nobody else's


def test_a_sync_decorator_that_runs_an_async_view_can_be_cached(app: Flask, cache: Cache) -> None:
    """``ensure_sync`` below the cache: the cached function is a plain ``def``."""
    calls: list[int] = []

    async def body() -> str:
        calls.append(1)
        return "page"

    view = cache.cached()(lambda: app.ensure_sync(body)())
    app.add_url_rule("/works", "works", view)
    client = app.test_client()
    assert [client.get("/works").text for _ in range(2)] == ["page", "page"]
    assert len(calls) == 1


def test_two_caches_on_one_view_are_two_caches(app: Flask, colour: str) -> None:
    """Stacked: the outer one answers first, and what is deleted there is found in the inner."""
    outer, inner = (Cache(app, config={"CACHE_TYPE": "SimpleCache"}) for _ in range(2))
    site = Site(app, inner, colour)
    view = outer.cached()(site.face.cached()(site.counted(lambda: str(site.calls))))
    app.add_url_rule("/works", "works", view)
    assert [site.text(), site.text()] == ["1", "1"]
    outer.delete("view//works")
    assert site.text() == "1"
    inner.delete("view//works")
    outer.delete("view//works")
    assert site.text() == "2"


# --- not only views -------------------------------------------------------------------------------


def test_hooks_may_be_cached(site: Site) -> None:
    """``before_request`` and ``errorhandler`` functions, under keys of their own."""
    names = {"before": 0, "handler": 0}

    def before() -> None:
        names["before"] += 1

    def handler(error: Any) -> Any:
        names["handler"] += 1
        return f"handled {names['handler']}", 404

    cached = site.face.cached
    site.app.before_request(cached(key_prefix="before", cache_none=True)(before))
    site.app.register_error_handler(404, cached(key_prefix="handler")(handler))
    site.numbers()
    assert [site.text("/nowhere"), site.text(), site.text("/nowhere")] == [
        "handled 1", "1", "handled 1"
    ]  # fmt: skip
    assert names == {"before": 1, "handler": 1}


def test_memoized_hooks_work_through_ensure_sync(site: Site) -> None:
    """A coroutine function that Flask runs, not as a view."""
    seen: list[Any] = []
    function = site.face.memoize(cache_none=True)(lambda: seen.append(1))
    site.app.before_request(function)
    site.numbers()
    for _ in range(3):
        site.get()
    assert len(seen) == 1


def test_an_exception_of_a_view_keeps_its_traceback(site: Site) -> None:
    """It is raised as it is, and the line that raised it is there."""
    error = LookupError("mine")

    def body() -> str:
        raise error

    site.view()(body)
    with pytest.raises(LookupError) as caught:
        site.get()
    assert caught.value is error
    assert "body" in [entry.name for entry in caught.traceback]


def test_an_error_handler_gets_the_views_exception(site: Site) -> None:
    """On each request: nothing of it is stored."""
    site.app.register_error_handler(LookupError, lambda error: (f"handled {error}", 400))

    def body() -> str:
        raise KeyError(site.calls)

    site.view()(body)
    assert [site.text(), site.text()] == ["handled 1", "handled 2"]


@pytest.fixture
def shared(colour: str) -> tuple[Cache, list[Flask], Any]:
    """One cache and one view on two apps."""
    cache = Cache()
    apps = [Flask(f"{__name__}_{n}", root_path="/") for n in range(2)]
    view = Site(apps[0], cache, colour).face.cached(timeout=50)(lambda: current_app.name[-1])
    for app in apps:
        cache.init_app(app, {"CACHE_TYPE": "SimpleCache"})
        app.add_url_rule("/works", "works", view)
    return cache, apps, view


def test_apps_that_share_a_cache_keep_their_pages_apart(
    shared: tuple[Cache, list[Flask], Any],
) -> None:
    """From several threads, too."""
    _, apps, _ = shared

    def visit() -> set[tuple[str, str]]:
        return {
            (name, app.test_client().get("/works", base_url=f"http://{name}").text)
            for _ in range(20)
            for name, app in zip("ab", apps, strict=True)
        }

    assert at_once(4, visit) == [{("a", "0"), ("b", "1")}] * 4


def test_another_apps_turn_in_the_middle_of_a_call_does_not_matter(
    shared: tuple[Cache, list[Flask], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a thread of the other app came between the lookup and the computation."""
    cache, (one, two), _ = shared
    with one.app_context():
        host = cache._binding().framework
    ask = host.request

    def interrupted() -> Any:
        two.test_client().get("/works", base_url="http://two")
        return ask()

    monkeypatch.setattr(host, "request", interrupted)
    assert one.test_client().get("/works", base_url="http://one").text == "0"
    with one.app_context():
        assert cache.get("view//works") == "0"
    with two.app_context():
        assert cache.get("view//works") == "1"
