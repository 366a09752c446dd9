"""Debug mode: warnings for what would leak or never hit, each once, and silence elsewhere."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from flask import (
    Blueprint,
    Flask,
    abort,
    g,
    render_template_string,
    request,
    session,
    stream_template_string,
)

from flask_caching_async import Cache
from flask_caching_async.exceptions import CacheWarning
from support.params import cases
from support.sites import Site

_numbers = itertools.count()


@pytest.fixture
def site(app: Flask, cache: Cache, colour: str) -> Site:
    """A site in debug mode, in both colours."""
    app.debug = True
    app.secret_key = "secret"
    return Site(app, cache, colour)


READS: dict[str, tuple[Callable[[], Any], str]] = {
    "session": (lambda: str(session.get("user")), "read the session"),
    "session-in-a-template": (
        lambda: render_template_string("{{ session.user }}"), "read the session"
    ),
    "session-in-a-stream": (
        lambda: stream_template_string("{{ session.user }}"), "read the session"
    ),
    "args": (lambda: str(request.args.get("a")), ""),
    "cookies": (lambda: str(request.cookies.get("theme")), ""),
    "authorization": (lambda: str(request.authorization), "read Authorization"),
}  # fmt: skip


def told(site: Site, times: int = 3, **kwargs: Any) -> list[str]:
    """What is said of several requests."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(times):
            site.get(f"/works?n={number}", **kwargs)
            site.cache.clear()
    return [str(w.message) for w in caught if issubclass(w.category, CacheWarning)]


#: What makes a page its visitor's own.
PERSONAL = [what for what, (_, message) in READS.items() if message]


@cases(
    "what,debug",
    itertools.product(PERSONAL, [True, False]),
    everywhere=("session-True", "session-False", "session-in-a-stream-True"),
)
def test_a_view_that_reads_what_is_one_visitors_is_told_once(
    site: Site, what: str, debug: bool
) -> None:
    """With its name, what it read, and what to do; in every mode."""
    site.app.debug = debug
    body, message = READS[what]
    site.view()(body)
    found = told(site)
    assert len(found) == 1
    assert message in found[0] and "<lambda>" in found[0] and "Write " in found[0]


@pytest.mark.parametrize("what", ["args", "cookies"])
def test_what_selects_a_page_is_nothing_to_be_told_of(site: Site, what: str) -> None:
    """It becomes part of the key by itself."""
    site.view()(READS[what][0])
    assert told(site) == []


IN_THE_KEY: dict[str, tuple[str, dict[str, Any]]] = {
    "query_string": ("args", {"query_string": True}),
    "vary-callable": ("session", {"vary_on": lambda: session.get("user")}),
    "vary-callable-on-args": ("args", {"vary_on": lambda: request.args.get("a")}),
    "vary-cookie": ("cookies", {"vary_on": "cookie:theme"}),
    "vary-cookie-header": ("session", {"vary_on": "Cookie"}),
    "vary-session-cookie": ("session", {"vary_on": ["X-A", "cookie:session"]}),
    "vary-header": ("authorization", {"vary_on": "Authorization"}),
    "own-prefix": ("session", {"key_prefix": lambda: f"k{session.get('user')}"}),
    "own-key": ("cookies", {"make_cache_key": lambda: f"k{request.cookies.get('theme')}"}),
    "unless": ("session", {"unless": lambda: session.get("user") is not None}),
    "unless-args": ("args", {"unless": lambda: bool(request.args.get("a"))}),
}


@cases("how", IN_THE_KEY, everywhere=("vary-callable", "own-prefix", "own-key", "unless"))
def test_nothing_is_said_of_what_is_in_the_key(site: Site, how: str) -> None:
    """By any of the arguments that put it there, or that keep the cache out of it."""
    what, options = IN_THE_KEY[how]
    site.view(**options)(READS[what][0])
    assert told(site) == []


def test_another_cookie_is_not_the_sessions(site: Site) -> None:
    """``vary_on="cookie:theme"`` makes no difference between users."""
    site.view(vary_on="cookie:theme")(READS["session"][0])
    assert ["read the session" in text for text in told(site)] == [True]


def test_nothing_is_said_of_a_view_that_reads_nothing(site: Site) -> None:
    """The path and plain headers are no visitor's own."""
    site.view()(lambda: f"{request.path} {request.method} {g.get('x')}")
    assert told(site) == []


def read_all() -> None:
    """A ``before_request`` function that reads everything."""
    for body, _ in READS.values():
        body()


def test_nothing_is_said_of_what_others_read(site: Site) -> None:
    """A ``before_request`` function may read everything; the view does not."""
    site.app.before_request(read_all)
    site.view()(lambda: "page")
    assert told(site) == []


@cases("what", PERSONAL)
def test_a_view_is_told_though_others_read_the_same(site: Site, what: str) -> None:
    """What was read before the view hides nothing."""
    body, message = READS[what]
    site.app.before_request(read_all)
    site.view()(body)
    assert [message in text for text in told(site)] == [True]


@cases("ending", ["answers", "aborts", "raises"])
def test_who_has_read_the_session_still_gets_its_headers(site: Site, ending: str) -> None:
    """Watching the view does not take ``Vary: Cookie`` from a request that read the session."""
    site.app.testing = False
    site.app.config["PROPAGATE_EXCEPTIONS"] = False
    site.app.before_request(read_all)

    def body() -> str:
        if ending == "aborts":
            abort(404)
        return "page" if ending == "answers" else str(1 / 0)

    site.view()(body)
    assert [site.get().headers.get("Vary") for _ in range(3)] == ["Cookie"] * 3


def test_nothing_is_said_of_a_bypassed_request(site: Site) -> None:
    """It stores nothing."""
    site.view(methods=["POST"])(READS["session"][0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        site.app.test_client().post("/works")


def test_watching_changes_no_response(site: Site) -> None:
    """Looking whether the session was read is not reading it: no ``Vary: Cookie``."""
    site.view()(lambda: "page")
    plain = Flask(__name__)
    plain.secret_key = "secret"
    plain.add_url_rule("/works", "works", lambda: "page")
    headers = plain.test_client().get("/works").headers
    assert list(site.get().headers) == list(headers)
    assert list(site.get().headers) == list(headers)


def test_a_view_that_fails_fails_in_debug_mode_too(site: Site) -> None:
    """With its own exception."""

    def body() -> str:
        raise LookupError(session.get("user"))

    site.view()(body)
    with pytest.raises(LookupError):
        site.get()


def fresh(body: Callable[[], Any]) -> Callable[[], Any]:
    """The body under a name that no warning has named yet."""
    body.__qualname__ = f"{body.__name__}_{next(_numbers)}"
    return body


def works() -> str:
    """A view."""
    return "page"


def test_decorators_in_the_wrong_order_are_told(site: Site) -> None:
    """``@cache.cached`` above ``@app.route``: requests never reach the cache."""

    @fresh
    def order() -> str:
        return "page"

    view = site.face.dye(order)
    site.app.add_url_rule("/order", "order", view)
    with pytest.warns(CacheWarning, match="put @cache.cached below @app.route"):
        site.cache.cached()(view)


def test_the_wrong_order_is_told_when_init_app_comes_later(app: Flask) -> None:
    """As in applications with a factory."""
    app.debug = True
    cache = Cache()

    @fresh
    def order() -> str:
        return "page"

    app.add_url_rule("/order", "order", order)
    cached = cache.cached()(order)
    with pytest.warns(CacheWarning, match="put @cache.cached below @app.route"):
        cache.init_app(app, {"CACHE_TYPE": "SimpleCache"})
    assert cached.uncached is order


def test_the_wrong_order_on_a_blueprint_is_told(site: Site) -> None:
    """Its views become the app's when it is registered."""
    blueprint = Blueprint("blueprint", __name__)

    @fresh
    def order() -> str:
        return "page"

    blueprint.add_url_rule("/order", "order", order)
    cached = site.cache.cached()(order)  # a module holds it by its name
    with pytest.warns(CacheWarning, match="put @cache.cached below @app.route"):
        site.app.register_blueprint(blueprint)
        site.get("/order")
    assert cached.uncached is order


def helper_of(site: Site, **options: Any) -> Callable[[], Any]:
    """A cached function that is a part of a page."""

    def helper() -> str:
        return "helper"

    return site.cache.cached(**options)(fresh(helper))


def test_a_helper_under_the_path_of_its_page_is_told(site: Site) -> None:
    """With its name, that of the view, the key that both have, and what to write."""
    helper = helper_of(site)
    site.view()(fresh(lambda: f"page with {helper()}"))
    found = told(site)
    assert len(found) == 1
    for word in (
        helper.__qualname__, site.app.view_functions["<lambda>"].__qualname__, "view//works",
        "key_prefix", "memoize",
    ):  # fmt: skip
        assert word in found[0]
    assert found[0].startswith(f"{__name__}.{helper.__qualname__} is cached")


def test_two_helpers_of_a_page_that_is_not_cached_are_told(site: Site) -> None:
    """Neither would ever hit."""
    helpers = [helper_of(site), helper_of(site)]
    site.app.add_url_rule("/works", "works", lambda: " and ".join(f() for f in helpers))
    found = told(site)
    assert len(found) == 1 and all(f.__qualname__ in found[0] for f in helpers)


def test_nothing_is_said_of_helpers_with_keys_of_their_own(site: Site) -> None:
    """Nor of one that is called twice, or by a page that is not cached."""
    named, alone = helper_of(site, key_prefix="helper"), helper_of(site)
    memoized = site.cache.memoize()(fresh(works))
    site.view()(lambda: named() + memoized())
    site.app.add_url_rule("/plain", "plain", lambda: alone() + alone())
    assert told(site) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert site.text("/plain") == "helperhelper"


def test_the_right_order_is_no_matter_of_warnings(site: Site) -> None:
    """Nor is the wrong one outside of debug mode."""
    site.numbers()
    site.app.debug = False

    @fresh
    def order() -> str:
        return "page"

    site.app.add_url_rule("/order", "order", order)
    site.cache.cached()(order)


@pytest.mark.parametrize("callback", ["unless", "make_cache_key", "forced_update", "is_stale"])
def test_a_callback_that_raises_is_not_hidden_in_debug_mode(site: Site, callback: str) -> None:
    """In production it is logged, and the view is called without the cache."""

    def broken(*args: Any) -> Any:
        raise KeyError("broken")

    site.numbers(**{callback: broken})
    with pytest.raises(KeyError, match="broken"):
        site.get()
        site.get()


def test_a_blocking_call_on_a_loop_is_told_once(site: Site) -> None:
    """``cache.get`` in an async view blocks; the warning names ``aget``."""
    cache = site.cache

    async def view() -> str:
        cache.set("k", 1)
        return str(cache.get("k"))

    site.app.add_url_rule("/blocking", "blocking", view)
    with pytest.warns(CacheWarning, match="await cache.aset") as caught:
        assert [site.text("/blocking"), site.text("/blocking")] == ["1", "1"]
    assert len(caught) == 1
