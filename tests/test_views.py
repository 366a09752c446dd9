"""``cached`` on views: every argument, the keys, and every way to delete."""

from __future__ import annotations

import asyncio
import hashlib
import warnings
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, abort, g, jsonify, make_response, request
from werkzeug.datastructures import MultiDict
from werkzeug.local import LocalProxy

from flask_caching_async import AddressKeyWarning, Cache, CachedResponse
from flask_caching_async.exceptions import ColourError, ConfigurationError, NotInitializedError
from flask_caching_async.keys import digest
from flask_caching_async.testing import FakeClock
from support.faces import Face, own_colour
from support.params import PACES, cases, each_form, each_pace
from support.sites import Site, background
from support.waiting import at_once, until


@pytest.fixture
def site(app: Flask, face: Face) -> Site:
    """A site on a cache in memory, in both colours."""
    return Site(app, face.cache, face.colour)


@pytest.fixture
def any_site(app: Flask, any_face: Face) -> Site:
    """A site on each kind of backend, in both colours."""
    return Site(app, any_face.cache, any_face.colour)


@pytest.fixture
def callbacks(request: pytest.FixtureRequest) -> Any:
    """Makes callbacks of one colour."""
    return lambda callback: own_colour(callback, request.param)


#: The colours that a view and its callbacks may have; the fourth is a ``TypeError``.
MIXED = pytest.mark.parametrize(
    ("colour", "callbacks"),
    [("sync", "sync"), ("async", "sync"), ("async", "async")],
    ids=lambda colour: colour,
    indirect=True,
)


# --- what is stored, and under which key ----------------------------------------------------------


@each_pace
def test_a_view_is_computed_once_for_each_path(any_site: Site) -> None:
    """The second request for a path is answered with the first one's page."""
    any_site.numbers("/works/<int:number>")
    assert [any_site.text(f"/works/{n}") for n in (1, 1, 2, 1, 2)] == ["1", "1", "2", "1", "2"]


def test_get_of_a_views_key_gives_what_the_view_returned(any_site: Site) -> None:
    """``cache.get("view//works")`` is the view's own value, not an entry around it."""
    values: list[Any] = [
        "text", b"bytes", {"a": [1]}, ["a", 1], ("gone", 404), ("x", {"X-A": "1"}), ("x", 201, [])
    ]  # fmt: skip
    any_site.view("/<int:n>")(lambda n: values[n])
    for n, value in enumerate(values):
        any_site.get(f"/{n}")
        found = any_site.do("get", f"view//{n}")
        assert (found, type(found)) == (value, type(value))


def test_get_of_a_views_key_gives_a_response_of_its_own(any_site: Site) -> None:
    """A stored ``Response`` comes back as one that nobody else holds."""
    any_site.view()(lambda: make_response("page", 201, {"X-A": "1"}))
    any_site.get()
    first, second = any_site.do("get", "view//works"), any_site.do("get", "view//works")
    first.headers["X-A"] = "changed"
    assert (second.data, second.status_code, second.headers["X-A"]) == (b"page", 201, "1")


def test_a_plain_value_under_a_views_key_is_served_by_the_view(any_site: Site) -> None:
    """What a user sets by hand is the page from then on."""
    any_site.numbers()
    any_site.do("set", "view//works", "by hand")
    assert any_site.text() == "by hand"
    assert any_site.calls == 0
    any_site.do("delete", "view//works")
    assert any_site.text() == "1"


@each_pace
def test_deleting_the_base_key_drops_every_variant_of_the_page(any_site: Site) -> None:
    """``cache.delete("view//works")`` reaches query strings and ``vary_on`` too."""
    any_site.numbers(query_string=True, vary_on="Accept-Language")
    any_site.numbers("/other", endpoint="other", query_string=True)

    def pages() -> list[str]:
        return [
            any_site.text("/works?a=1", headers={"Accept-Language": "de"}),
            any_site.text("/works?a=2", headers={"Accept-Language": "de"}),
            any_site.text("/works?a=2", headers={"Accept-Language": "en"}),
            any_site.text("/works"),
        ]

    first, other = pages(), any_site.text("/other?a=1")
    assert pages() == first and len(set(first)) == 4
    any_site.do("delete", "view//works")
    assert set(pages()).isdisjoint(first)
    assert any_site.text("/other?a=1") == other


# --- timeouts -------------------------------------------------------------------------------------


@cases(
    "timeout",
    [5, 5.0, "5", timedelta(seconds=5), timedelta(seconds=4, milliseconds=1), lambda value: 5],
    ids=["int", "float", "text", "timedelta", "rounded-up", "callable"],
)
def test_a_view_is_gone_at_exactly_its_timeout(site: Site, clock: FakeClock, timeout: Any) -> None:
    """Every form of a timeout means the same."""
    site.numbers("/works", timeout)
    assert site.text() == "1"
    clock.advance(4.999)
    assert site.text() == "1"
    clock.advance(0.001)
    assert site.text() == "2"


@pytest.mark.parametrize(("timeout", "life"), [(None, 300), (0, float("inf"))])
def test_none_is_the_default_timeout_and_0_never_expires(
    site: Site, clock: FakeClock, timeout: Any, life: float
) -> None:
    """``None`` and ``0`` are different things."""
    site.numbers("/works", timeout=timeout)
    site.get()
    clock.advance(299)
    assert site.text() == "1"
    clock.advance(10**9)
    assert site.text() == ("1" if life > 300 else "2")


@MIXED
def test_a_timeout_callable_is_given_what_the_view_returned(
    site: Site, clock: FakeClock, callbacks: Any
) -> None:
    """A page may decide by its content how long it is good."""
    site.view("/works/<int:life>", callbacks(lambda value: value["life"]))(
        lambda life: {"life": life, "n": site.calls}
    )
    assert site.get("/works/10").json == {"life": 10, "n": 1}
    assert site.get("/works/20").json == {"life": 20, "n": 2}
    clock.advance(10)
    assert site.get("/works/10").json == {"life": 10, "n": 3}
    assert site.get("/works/20").json == {"life": 20, "n": 2}


def test_cache_timeout_can_be_written_later(site: Site, clock: FakeClock) -> None:
    """``view.cache_timeout = 5`` counts from the next computation on."""
    view = site.numbers("/works", 50)
    assert view.cache_timeout == 50
    view.cache_timeout = 5
    site.get()
    clock.advance(5)
    assert site.text() == "2"


@cases("own,life", [(5, 5), (timedelta(seconds=5), 5), (None, 50), (0, 10**9)])
def test_a_cached_response_has_a_timeout_of_its_own(
    site: Site, clock: FakeClock, own: Any, life: int
) -> None:
    """``CachedResponse`` wins over the decorator; ``None`` takes it, ``0`` never expires."""
    site.view("/works", 50)(lambda: CachedResponse(make_response(str(site.calls)), own))
    site.get()
    clock.advance(life - 1)
    assert site.text() == "1"
    clock.advance(1)
    assert site.text() == ("2" if life < 10**9 else "1")


def test_jitter_shortens_a_timeout_by_at_most_its_share(
    site: Site, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest cut of ``jitter=0.2`` leaves 80 of 100 seconds."""
    monkeypatch.setattr("random.random", lambda: 1.0)
    site.numbers("/works", 100, jitter=0.2)
    site.get()
    clock.advance(79)
    assert site.text() == "1"
    clock.advance(1)
    assert site.text() == "2"


# --- the key --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "key"), [("page:%s", "page:/works"), ("constant", "constant")], ids=str
)
def test_key_prefix_is_the_key_with_the_path_in_it(site: Site, prefix: str, key: str) -> None:
    """``%s`` stands for the path; without it the whole key is the user's."""
    site.numbers(key_prefix=prefix)
    assert [site.text(), site.text()] == ["1", "1"]
    assert site.do("get", key) == "1"


@MIXED
def test_key_prefix_may_be_callable(site: Site, callbacks: Any) -> None:
    """A callable's answer is the whole key, a ``%s`` in it included."""
    site.numbers("/<path:rest>", key_prefix=callbacks(lambda: f"%s:{request.args.get('who')}"))
    assert [site.text("/a?who=1"), site.text("/b?who=1"), site.text("/a?who=2")] == ["1", "1", "2"]
    assert site.cache.get("%s:1") == "1"


@MIXED
def test_make_cache_key_is_given_the_views_arguments(site: Site, callbacks: Any) -> None:
    """The key may be made of them, and of nothing else."""
    site.numbers(
        "/<int:a>/<b>", make_cache_key=callbacks(lambda a, b, **more: f"key:{a % 10}:{more}")
    )
    assert [site.text("/1/x"), site.text("/11/y"), site.text("/2/x")] == ["1", "1", "2"]
    assert site.cache.get("key:1:{}") == "1"


@MIXED
def test_make_cache_key_may_read_the_body_of_a_post(site: Site, callbacks: Any) -> None:
    """With a key of the user's own a POST is cached, once for each body."""
    site.numbers(methods=["POST"], make_cache_key=callbacks(lambda: f"q:{request.get_json()['q']}"))
    client = site.app.test_client()
    assert [client.post("/works", json={"q": q}).text for q in (1, 2, 1, 2)] == ["1", "2", "1", "2"]


@MIXED
def test_make_cache_key_is_asked_once_per_request(site: Site, callbacks: Any) -> None:
    """On a miss and on a hit alike."""
    asked: list[int] = []
    site.numbers(make_cache_key=callbacks(lambda: asked.append(1) or "key"))
    site.get()
    assert len(asked) == 1
    site.get()
    assert len(asked) == 2


def test_the_query_string_counts_only_where_it_is_asked_for(site: Site) -> None:
    """Without ``query_string=True`` every query string gets the same page."""
    site.numbers()
    site.numbers("/query", endpoint="query", query_string=True)
    assert [site.text("/works?a=1"), site.text("/works?a=2")] == ["1", "1"]
    assert [site.text("/query?a=1"), site.text("/query?a=2")] == ["2", "3"]


def test_a_query_string_has_no_order_but_keeps_repeats(site: Site) -> None:
    """``?a=1&b=2`` is ``?b=2&a=1``; ``?a=1&a=2`` is neither ``?a=1`` nor ``?a=2&a=1``."""
    view = site.numbers(query_string=True)
    same = ["?a=1&b=2", "?b=2&a=1"]
    other = ["", "?a=1", "?a=2", "?a=1&a=2", "?a=2&a=1", "?a=1&b=", "?a=1%26b=2", "?b=1&a=2"]
    assert {site.text(f"/works{query}") for query in same} == {"1"}
    assert len({site.text(f"/works{query}") for query in other}) == len(other)
    between = site.text("/works?a=2&b=1&a=1")
    assert site.text("/works?b=1&a=2&a=1") == between != site.text("/works?a=1&b=1&a=2")
    assert site.do("delete_cached", view, "/works", {"b": 1, "a": [2, 1]})
    assert site.text("/works?a=2&b=1&a=1") != between


@cases("options", [{}, {"query_string": True}, {"vary_on": "Accept-Language"}], ways=PACES)
def test_an_app_that_is_mounted_twice_has_pages_of_each_mount(
    any_site: Site, options: dict[str, Any]
) -> None:
    """Its links begin with the root of its mount. Deletions of the path drop those of all."""
    any_site.app.config["APPLICATION_ROOT"] = "/of-the-app"
    view = any_site.view(**options)(lambda: f"{request.root_path} {any_site.calls}")

    def pages() -> list[str]:
        found = []
        for root in ("/a", "/b", "", "/of-the-app"):
            mounted = {"environ_overrides": {"SCRIPT_NAME": root}}
            first = any_site.text("/works", **mounted)
            assert any_site.text("/works", **mounted) == first
            found.append(first)
        return found

    assert pages() == ["/a 1", "/b 2", " 3", "/of-the-app 4"]
    any_site.do("delete", "view//works")
    assert pages() == ["/a 5", "/b 6", " 7", "/of-the-app 8"]
    assert any_site.do("delete_cached", view, "/works")
    assert pages() == ["/a 9", "/b 10", " 11", "/of-the-app 12"]
    assert any_site.call(view.refresh, path="/of-the-app/works") == "/of-the-app 13"
    with any_site.app.test_request_context(environ_overrides={"SCRIPT_NAME": "/a"}):
        assert any_site.call(view.refresh, path="/works") == "/a 14"
    assert pages() == ["/a 14", "/b 10", " 11", "/of-the-app 13"]


def test_hash_method_makes_the_key_of_a_query_string(site: Site) -> None:
    """The decorator's wins over the app's, which is SHA-256."""
    site.numbers(query_string=True, hash_method=hashlib.md5)
    site.numbers("/sha", endpoint="sha", query_string=True)
    site.get("/works?a=1")
    site.get("/sha?a=1")
    pairs = str((("a", "1"),)).encode()
    assert site.cache.get("view//works" + hashlib.md5(pairs).hexdigest()) == "1"
    assert site.cache.get("view//sha" + hashlib.sha256(pairs).hexdigest()) == "2"


def test_an_escaped_path_is_the_path_that_the_view_sees(site: Site) -> None:
    """Keys are made of the decoded path."""
    site.numbers("/<name>")
    assert site.text("/a%20%C3%A4") == site.text("/a ä") == "1"
    assert site.do("get", "view//a ä") == "1"


@cases(
    "options",
    [{"query_string": True}, {"vary_on": lambda: "v"}, {"source_check": True}, {}],
    ids=["query", "vary", "source", "plain"],
)
def test_no_two_pages_share_a_key(any_site: Site, options: dict[str, Any]) -> None:
    """Not even those of one function, where a path ends like the key of another page."""

    def page(path: str = "") -> str:
        return f"{request.path} {any_site.calls}"

    any_site.view("/a", endpoint="a", **options)(page)
    any_site.view("/<path:path>", endpoint="any")(page)
    paths, texts = ["/a"], []
    for _ in range(4):
        texts.append(any_site.text(paths[-1]))
        with any_site.app.test_request_context(paths[-1]):
            view = any_site.app.view_functions["a" if paths[-1] == "/a" else "any"]
            key = view.make_cache_key(use_request=True)
        if options.get("vary_on") and paths[-1] == "/a":
            key += "|" + digest(hashlib.sha256, b"['v']")
        assert any_site.do("has", key), key
        paths.append(key.removeprefix("view/"))
    paths = list(dict.fromkeys(paths[:-1]))
    assert len(paths) == (4 if options else 1)
    texts = texts[: len(paths)]
    assert [text.split()[0] for text in texts] == paths
    assert [any_site.text(path) for path in paths] == texts
    any_site.do("delete", f"view/{paths[-1]}")
    assert any_site.text(paths[-1]) != texts[-1]
    # What was deleted is also the key of the page before it.
    assert [any_site.text(path) for path in paths[:-2]] == texts[:-2]


def test_a_path_that_ends_in_a_shorter_hash_has_flask_cachings_key(site: Site) -> None:
    """A UUID, or an MD5 where keys are made with SHA-256."""
    site.numbers("/<name>")
    for number, name in enumerate(["550e8400e29b41d4a716446655440000", "x" * 64, "a|b"], 1):
        site.get(f"/{name}")
        assert site.cache.get(f"view//{name}") == str(number)


@cases(
    "key_prefix,key",
    [
        ("100%/%s", "100%//works"), ("100%%/%s", "100%//works"), ("%s|%s", "/works|/works"),
        ("%d/%s", "%d//works"), ("%(a)s%s", "%(a)s/works"), ("100%", "100%"), ("%", "%"),
    ],
)  # fmt: skip
def test_a_percent_sign_in_key_prefix_is_text(site: Site, key_prefix: str, key: str) -> None:
    """Unless the whole is a format, as in Flask-Caching; then two are one."""
    site.numbers(key_prefix=key_prefix)
    assert [site.text(), site.text()] == ["1", "1"]
    assert site.cache.get(key) == "1"


def test_a_host_is_not_mistaken_for_the_end_of_a_path(site: Site) -> None:
    """A client may say anything there."""
    site.app.subdomain_matching = True
    view = site.face.cached()(lambda: "")
    keys = set()
    for path, host in (("/a", "b@c"), ("/a@b", "c"), ("/a", "b|c"), ("/a", "b%7Cc")):
        with site.app.test_request_context(path) as context:
            context.request.host = host
            keys.add(view.make_cache_key(use_request=True))
    assert len(keys) == 4 and "view//a@b%40c" in keys


class User:
    """A visitor who has no text but an address, which is that of the last one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return "<tests.User object at 0x7f0000000000>"


#: Who visits now.
visitor: LocalProxy[Any] = LocalProxy(lambda: g.user)

#: What makes a key of a user without a text, and what a decorator is given then.
USERS_IN_KEYS: dict[str, tuple[str, dict[str, Any]]] = {
    "vary_on": ("vary_on", {"vary_on": lambda: visitor}),
    "in a list": ("vary_on", {"vary_on": ["Accept", lambda: [g.user]]}),
    "in a text": ("vary_on", {"vary_on": lambda: f"user {visitor}"}),
    "request": ("vary_on", {"vary_on": lambda: request}),
    "key_prefix": ("key_prefix", {"key_prefix": lambda: g.user}),
    "key_prefix of a text": ("key_prefix", {"key_prefix": lambda: f"page of {g.user}"}),
    "make_cache_key": ("make_cache_key", {"make_cache_key": lambda: visitor}),
}


@cases("how", USERS_IN_KEYS, ways=PACES, everywhere=("vary_on", "key_prefix", "make_cache_key"))
def test_a_visitor_never_gets_the_page_of_one_whose_address_comes_again(
    any_site: Site, how: str
) -> None:
    """One warning names the view and the argument, and nothing is stored."""
    argument, options = USERS_IN_KEYS[how]

    def inbox() -> str:
        return str(g.user.name)

    any_site.view(**options)(inbox)
    names = ["ann", "bob", "cem"]

    any_site.app.before_request(lambda: setattr(g, "user", User(request.headers["X-User"])))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in names:
            assert any_site.text(headers={"X-User": name}) == name
    assert [w.category for w in caught] == [AddressKeyWarning]
    assert argument in str(caught[0].message) and "inbox" in str(caught[0].message)
    assert any_site.calls == len(names)


def test_a_visitor_with_a_text_has_a_page_of_its_own(site: Site) -> None:
    """A proxy counts as what it stands for: by its repr, or by what it says of itself."""

    class Named(User):
        def __repr__(self) -> str:
            return f"<Named {self.name}>"

    class Row(User):
        def __caching_id__(self) -> str:
            return self.name

    def enter() -> None:
        kind = {"Named": Named, "Row": Row}[request.headers["X-Kind"]]
        g.user = kind(request.headers["X-User"])

    site.app.before_request(enter)
    site.view(vary_on=lambda: visitor)(lambda: f"{g.user.name} {site.calls}")
    asked = [{"X-Kind": kind, "X-User": user} for kind in ("Named", "Row") for user in ("a", "b")]
    texts = [site.text(headers=headers) for headers in asked * 2]
    assert texts[:4] == texts[4:] == ["a 1", "b 2", "a 3", "b 4"]


VARIES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "header": ("Accept-Language", {"headers": {"Accept-Language": "de"}}, {}),
    "header-in-any-case": (["accept-language"], {"headers": {"Accept-Language": "de"}}, {}),
    "several": (["X-A", "X-B"], {"headers": {"X-A": "1"}}, {"headers": {"X-B": "1"}}),
    "cookie": (
        "cookie:theme",
        {"headers": {"Cookie": "theme=dark"}},
        {"headers": {"Cookie": "a=1"}},
    ),
    "callable": (lambda: request.args.get("u"), {"query_string": "u=1"}, {"query_string": "u=2"}),
    "type": (lambda: request.args.get("u", type=int), {"query_string": "u=1"}, {}),
}


@cases("name", VARIES, everywhere=("header", "callable"))
def test_vary_on_makes_a_page_for_each_value(site: Site, name: str) -> None:
    """Headers, cookies and callables are part of the key; the path is its base."""
    vary_on, one, two = VARIES[name]
    site.numbers(vary_on=vary_on)
    got = [site.text(**kwargs) for kwargs in (one, two, one, two)]
    assert got == ["1", "2", "1", "2"]
    site.do("delete_cached", site.app.view_functions["numbers"], "/works")
    assert [site.text(**one), site.text(**two)] == ["3", "4"]


@MIXED
def test_vary_on_callables_are_asked_once_per_request(site: Site, callbacks: Any) -> None:
    """In either colour, on a miss and on a hit."""
    asked: list[str] = []
    site.numbers(
        vary_on=(
            callbacks(lambda: asked.append("a") or request.args.get("a")),
            "X-B",
            callbacks(lambda: asked.append("c") or 3),
        )
    )
    assert [site.text("/works?a=1"), site.text("/works?a=1"), site.text("/works?a=2")] == list(
        "112"
    )
    assert asked == ["a", "c"] * 3


@cases("vary_on", [[5], [None], ["X-A", object()]], ids=["int", "None", "object"])
def test_vary_on_says_what_it_takes(face: Face, vary_on: Any) -> None:
    """A mistake is found when the view is decorated."""
    with pytest.raises(ConfigurationError, match="header names, 'cookie:NAME' and callables"):
        face.cached(vary_on=vary_on)(lambda: "x")


def test_source_check_puts_the_source_into_the_key(site: Site) -> None:
    """Another source is another page; the old source finds its old page again."""
    view = site.face.cached(key_prefix="k", source_check=True)

    def old() -> str:
        return "old"

    def new() -> str:
        return "new"

    with site.app.test_request_context():
        assert site.call(view(old)) == "old"
        assert site.call(view(new)) == "new"
        site.do("set", view(old).make_cache_key(), "the old page")
        assert site.call(view(old)) == "the old page"


@pytest.mark.parametrize("argument", ["unless", "forced_update", "is_stale", "response_filter"])
def test_an_async_callback_on_a_sync_view_is_a_type_error(cache: Cache, argument: str) -> None:
    """M8: it can never be awaited, so it is refused when the view is decorated."""

    async def callback(*args: Any) -> bool:
        return True

    with pytest.raises(ColourError, match=f"{argument} is async"):
        cache.cached(**{argument: callback})(lambda: "x")
    for more in ({"make_cache_key": callback}, {"key_prefix": callback}, {"vary_on": callback}):
        with pytest.raises(TypeError, match="is async"):
            cache.cached(**more)(lambda: "x")


def test_a_view_in_no_request_says_what_to_do(site: Site) -> None:
    """The default key is made of the request; the error names the other ways."""
    view = site.numbers()
    with pytest.raises(NotInitializedError, match="key_prefix of its own"):
        site.call(view)


# --- whether the cache is asked -------------------------------------------------------------------


@MIXED
def test_unless_bypasses_the_cache_for_any_true_answer(site: Site, callbacks: Any) -> None:
    """M9: ``unless=lambda: request.headers.get("X-User")`` keeps Alice's page from Bob."""
    answers: list[Any] = [True, 1, "Alice", ["x"]]

    def unless() -> Any:
        return answers[int(request.path[1:])] if "X-User" in request.headers else ""

    site.view("/<int:n>", unless=callbacks(unless))(
        lambda n: f"{request.headers.get('X-User')} {site.calls}"
    )
    alice = {"headers": {"X-User": "Alice"}}
    for n, answer in enumerate(answers):
        site.calls = 0
        told = [site.text(f"/{n}", **who) for who in (alice, {}, alice, {})]
        assert told == ["Alice 1", "None 2", "Alice 3", "None 2"], answer


@MIXED
def test_unless_is_given_the_function_and_its_arguments_if_it_takes_any(
    site: Site, callbacks: Any
) -> None:
    """The function is the undecorated one."""
    seen: list[Any] = []

    def unless(f: Any, **view_args: Any) -> bool:
        seen.append((f, view_args))
        return False

    view = site.numbers("/<int:n>", unless=callbacks(unless))
    site.get("/7")
    assert seen == [(view.uncached, {"n": 7})]


@MIXED
def test_forced_update_computes_and_stores(site: Site, callbacks: Any) -> None:
    """It is asked once per call; what was computed is the page from then on."""
    asked: list[int] = []
    site.numbers(forced_update=callbacks(lambda: asked.append(1) or "X-Fresh" in request.headers))
    fresh = {"headers": {"X-Fresh": "1"}}
    assert [site.text(), site.text(), site.text(**fresh), site.text()] == ["1", "1", "2", "2"]
    assert len(asked) == 4


@MIXED
def test_forced_update_is_given_the_views_arguments_if_it_takes_any(
    site: Site, callbacks: Any
) -> None:
    """As many as the view gets."""
    site.numbers("/<int:n>", forced_update=callbacks(lambda n: n == 2))
    assert [site.text("/1"), site.text("/1"), site.text("/2"), site.text("/2")] == list("1123")


@MIXED
def test_is_stale_is_asked_on_hits_with_the_value_first(site: Site, callbacks: Any) -> None:
    """A page that it calls stale is computed again."""
    seen: list[Any] = []

    def is_stale(value: Any, n: int) -> bool:
        seen.append((value, n))
        return n == 2

    site.numbers("/<int:n>", is_stale=callbacks(is_stale))
    assert [site.text("/1"), site.text("/1"), site.text("/2"), site.text("/2")] == list("1123")
    assert seen == [("1", 1), ("2", 2)]


@MIXED
def test_is_stale_with_one_parameter_is_given_the_value(site: Site, callbacks: Any) -> None:
    """The call's arguments come only where they are wanted."""
    site.numbers("/<int:n>", is_stale=callbacks(lambda value: value == "1"))
    assert [site.text("/1"), site.text("/1"), site.text("/1")] == list("122")


@MIXED
def test_is_stale_is_not_asked_after_a_forced_update(site: Site, callbacks: Any) -> None:
    """What is computed anyway need not be judged."""
    asked: list[int] = []
    site.numbers(
        forced_update=callbacks(lambda: True),
        is_stale=callbacks(lambda value: asked.append(1) or False),
    )
    assert [site.text(), site.text()] == ["1", "2"]
    assert not asked


def test_is_stale_is_asked_of_a_stale_page_too(
    site: Site, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it refuses is not served while it is revalidated either."""
    site.numbers(
        "/works", 10, stale_while_revalidate=10, is_stale=lambda value: "X-Fresh" in request.headers
    )
    with background(monkeypatch) as wait:
        site.get()
        clock.advance(10)
        assert site.text(headers={"X-Fresh": "1"}) == "2"
        clock.advance(10)
        assert site.text() == "2"
        wait()
        assert site.text() == "3"


@MIXED
def test_is_stale_sees_the_response_of_an_abort(site: Site, callbacks: Any) -> None:
    """Callbacks get what the view returned; an ``abort()`` is the response that it becomes."""
    seen: list[int] = []
    site.view(is_stale=callbacks(lambda value: seen.append(value.status_code)))(lambda: abort(404))
    assert [site.get().status_code, site.get().status_code] == [404, 404]
    assert (seen, site.calls) == ([404], 1)


@pytest.mark.parametrize("callback", ["make_cache_key", "forced_update", "is_stale", "vary_on"])
def test_a_view_survives_a_callback_that_raises(
    site: Site, callback: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A page without its cache is better than no page; the error is logged."""

    def broken(*args: Any) -> Any:
        raise KeyError("broken")

    site.numbers(**{callback: broken})
    assert [site.text(), site.text()] == ["1", "2"]
    assert "called without the cache" in caplog.text


@MIXED
def test_response_filter_is_given_what_the_view_returned(site: Site, callbacks: Any) -> None:
    """What it refuses is handed out, and not stored; it is not asked on hits."""
    seen: list[Any] = []

    def keep(value: Any) -> Any:
        seen.append(value)
        return value["n"] > 1

    site.view(response_filter=callbacks(keep))(lambda: {"n": site.calls})
    assert [site.get().json["n"] for _ in range(4)] == [1, 2, 2, 2]
    assert seen == [{"n": 1}, {"n": 2}]


@MIXED
def test_response_filter_is_given_the_response_of_an_abort(site: Site, callbacks: Any) -> None:
    """With a status to decide by."""
    site.view("/<int:code>", response_filter=callbacks(lambda r: r.status_code != 404))(
        lambda code: abort(code)
    )
    assert [site.get(f"/{code}").status_code for code in (404, 404, 410, 410)] == [
        404,
        404,
        410,
        410,
    ]
    assert site.calls == 3


@each_form
def test_none_is_stored_where_cache_none_says_so(any_site: Site) -> None:
    """A function under a key of its own may return ``None``."""
    body = any_site.counted(lambda: None)
    for cache_none, calls in ((False, 2), (True, 3)):
        function = any_site.face.cached(key_prefix="k", cache_none=cache_none)(body)
        with any_site.app.app_context():
            assert [any_site.call(function), any_site.call(function)] == [None, None]
        assert any_site.calls == calls


# --- tags, locks and stale pages ------------------------------------------------------------------


def test_delete_tags_drops_the_pages_that_carry_one(any_site: Site) -> None:
    """Names that were given to the decorator."""
    any_site.numbers("/a", endpoint="a", tags=("red", "blue"))
    any_site.numbers("/b", endpoint="b", tags="blue")
    any_site.numbers("/c", endpoint="c")
    assert [any_site.text(p) for p in ("/a", "/b", "/c")] == ["1", "2", "3"]
    assert any_site.do("delete_tags", "red")
    assert [any_site.text(p) for p in ("/a", "/b", "/c")] == ["4", "2", "3"]
    assert any_site.do("delete_tags", "blue", "unknown")
    assert [any_site.text(p) for p in ("/a", "/b", "/c")] == ["5", "6", "3"]


@MIXED
def test_tags_may_be_made_of_the_views_arguments(site: Site, callbacks: Any) -> None:
    """A callable is given them, once per request."""
    site.numbers("/<int:n>", tags=callbacks(lambda n: [f"item:{n % 2}", "item"]))
    assert [site.text(f"/{n}") for n in (1, 2, 3)] == ["1", "2", "3"]
    site.cache.delete_tags("item:1")
    assert [site.text(f"/{n}") for n in (1, 2, 3)] == ["4", "2", "5"]
    site.cache.delete_tags("item")
    assert [site.text(f"/{n}") for n in (1, 2, 3)] == ["6", "7", "8"]


def concurrent_computations(site: Site, **options: Any) -> int:
    """How often a cold page is computed for six who want it at once."""

    def body() -> str:
        until(lambda: site.cache.stats().misses == 6)
        return "page"

    site.view(**options)(body)
    assert at_once(6, site.text) == ["page"] * 6
    return site.calls


@each_pace
def test_concurrent_requests_for_a_cold_page_compute_it_once(any_site: Site) -> None:
    """M13: with the lock, which is the default."""
    assert concurrent_computations(any_site) == 1


@pytest.mark.parametrize(("lock", "computations"), [(True, 1), (False, 6)])
def test_without_the_lock_everybody_computes(site: Site, lock: bool, computations: int) -> None:
    """Where the view says so."""
    assert concurrent_computations(site, lock=lock) == computations


def test_who_waited_for_lock_timeout_computes_alone(site: Site) -> None:
    """A slow leader holds nobody longer than that."""
    alone = []

    def body() -> str:
        if site.calls == 1:
            until(lambda: bool(alone))
            return "slow"
        alone.append(1)
        return "alone"

    site.view(lock_timeout=0.05)(body)
    assert sorted(at_once(2, site.text)) == ["alone", "slow"]


def test_a_stale_page_is_served_while_one_refresh_runs(
    site: Site, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``stale_while_revalidate``, with the request's context in the background too."""
    site.view("/works", 10, stale_while_revalidate=5)(lambda: f"{request.path} {site.calls}")
    with background(monkeypatch) as wait:
        assert site.text() == "/works 1"
        clock.advance(10)
        assert site.text() == "/works 1"
        wait()
        assert site.text() == "/works 2"
        clock.advance(15)
        assert site.text() == "/works 3"
    assert site.cache.stats().stale == 1


@pytest.mark.parametrize("how", ["raises", "answers 503", "aborts with 500"])
def test_stale_if_error_serves_the_old_page(site: Site, clock: FakeClock, how: str) -> None:
    """When the view raises, or answers 5xx; not after that time."""

    def body() -> Any:
        if site.calls == 1:
            return "good"
        if how == "raises":
            raise OSError("no database")
        return abort(500) if how == "aborts with 500" else ("bad", 503)

    site.app.testing = False
    site.view("/works", 10, stale_if_error=60)(body)
    assert site.text() == "good"
    clock.advance(69)
    assert (site.get().status_code, site.text(), site.calls) == (200, "good", 3)
    clock.advance(1)
    assert site.get().status_code in (500, 503)


# --- the header -----------------------------------------------------------------------------------


def test_hits_carry_a_header_where_the_view_wants_it(site: Site) -> None:
    """``hit_cache: True`` on hits only, and only on that view's responses."""
    site.numbers(response_hit_indication=True)
    site.numbers("/other", endpoint="other")
    before = {name: list(found) for name, found in site.app.after_request_funcs.items()}
    assert "hit_cache" not in site.get().headers
    assert site.get().headers.getlist("hit_cache") == ["True"]
    assert site.get().headers.getlist("hit_cache") == ["True"]
    site.get("/other")
    assert "hit_cache" not in site.get("/other").headers
    assert {n: list(found) for n, found in site.app.after_request_funcs.items()} == before


def test_hits_that_are_responses_carry_the_header_once(site: Site) -> None:
    """It is not stored with the page."""
    site.view(response_hit_indication=True)(lambda: make_response("page"))
    found = [site.get().headers.getlist("hit_cache") for _ in range(3)]
    assert found == [[], ["True"], ["True"]]


def test_stale_hits_carry_the_header(
    site: Site, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from the cache, too; a forced or stale computation does not."""
    site.numbers("/works", 10, stale_while_revalidate=10, response_hit_indication=True)
    with background(monkeypatch) as wait:
        site.get()
        clock.advance(10)
        assert site.get().headers["hit_cache"] == "True"
        wait()
        clock.advance(20)
        assert "hit_cache" not in site.get().headers


def test_pages_that_had_to_be_computed_carry_no_header(site: Site) -> None:
    """Forced, stale and bypassed calls are no hits."""
    site.numbers("/f", endpoint="f", response_hit_indication=True, forced_update=lambda: True)
    site.numbers("/s", endpoint="s", response_hit_indication=True, is_stale=lambda value: True)
    site.numbers("/u", endpoint="u", response_hit_indication=True, unless=lambda: True)
    for path in ("/f", "/s", "/u"):
        assert ["hit_cache" in site.get(path).headers for _ in range(3)] == [False] * 3


# --- keys outside of a request --------------------------------------------------------------------


def key_of(site: Site, view: Any, *args: Any, **kwargs: Any) -> str:
    """``view.make_cache_key()``, or the awaitable one."""
    if site.is_async:
        return str(asyncio.run(view.amake_cache_key(*args, **kwargs)))
    return str(view.make_cache_key(*args, **kwargs))


@cases("options", [{}, {"key_prefix": "p:%s"}, {"source_check": True}])
def test_a_key_made_outside_of_a_request_is_the_one_in_it(site: Site, options: Any) -> None:
    """By path, or by the view's arguments with ``url_for``."""
    view = site.view("/works/<int:number>", **options)(lambda number: str(site.calls))
    site.app.config["SERVER_NAME"] = "example.org"
    site.get("/works/5", base_url="http://example.org")
    keys = [key_of(site, view, path="/works/5")]
    with site.app.app_context():
        keys += [key_of(site, view, number=5), key_of(site, view, 5)]
    with site.app.test_request_context("/elsewhere"):
        keys += [key_of(site, view, path="/works/5"), key_of(site, view, number=5)]
    with site.app.test_request_context("/works/5"):
        keys += [key_of(site, view, number=5, use_request=True)]
    assert len(set(keys)) == 1
    assert site.cache.get(keys[0]) == "1"


@cases(
    "query_args",
    ["a=1&b=2&b=x", "?b=2&a=1&b=x", {"a": 1, "b": [2, "x"]}, [("b", "2"), ("a", 1), ("b", "x")]]
    + [MultiDict([("a", "1"), ("b", "2"), ("b", "x")])],
    ids=["text", "with-question-mark", "mapping", "pairs", "MultiDict"],
)
def test_a_key_with_a_query_string_is_made_of_every_form_of_it(site: Site, query_args: Any) -> None:
    """``make_cache_key(path=..., query_args=...)`` and ``delete_cached`` take the same."""
    view = site.numbers(query_string=True)
    assert [site.text("/works?a=1&b=2&b=x"), site.text("/works?a=1")] == ["1", "2"]
    assert site.cache.get(key_of(site, view, path="/works", query_args=query_args)) == "1"
    assert site.do("delete_cached", view, "/works", query_args)
    assert [site.text("/works?a=1&b=2&b=x"), site.text("/works?a=1")] == ["3", "2"]


def test_keys_of_a_query_string_in_a_request_are_its_own(site: Site) -> None:
    """Without ``query_args`` they are those of the current request."""
    view = site.numbers(query_string=True)
    site.get("/works?b=2&a=1")
    with site.app.test_request_context("/works?a=1&b=2"):
        assert site.cache.get(key_of(site, view)) == "1"
        assert site.cache.get(key_of(site, view, use_request=True)) == "1"


def test_view_arguments_may_be_called_path_and_query_args(site: Site) -> None:
    """In a request they are the view's own, whatever their names are."""
    site.view("/<path:path>/<query_args>/<use_request>", query_string=True)(
        lambda path, query_args, use_request: f"{path} {query_args} {use_request} {site.calls}"
    )
    assert site.text("/a/b/q/u") == "a/b q u 1"
    assert site.text("/a/c/q/u") == "a/c q u 2"
    assert site.text("/a/b/q/u?x=1") == "a/b q u 3"
    assert site.text("/a/b/q/u") == "a/b q u 1"


def test_positional_arguments_of_a_key_are_the_views_own(site: Site) -> None:
    """Also one that is called ``path``: ``make_cache_key("a/b")`` is not a path by itself."""
    view = site.view("/files/<path:path>")(lambda path: str(site.calls))
    site.get("/files/a/b")
    with site.app.test_request_context():
        assert site.cache.get(key_of(site, view, "a/b")) == "1"
        assert site.cache.get(key_of(site, view, path="/files/a/b")) == "1"


@MIXED
def test_make_cache_key_can_be_replaced_later(site: Site, callbacks: Any) -> None:
    """``view.make_cache_key = f``: f is given the view's arguments and ``use_request``."""
    view = site.numbers("/<int:n>")
    given: list[Any] = []

    def mine(n: int, use_request: bool = False, **more: Any) -> str:
        given.append((n, use_request))
        return f"mine:{n % 10}"

    site.get("/1")
    view.make_cache_key = callbacks(mine)
    assert [site.text("/1"), site.text("/11"), site.text("/2")] == ["2", "2", "3"]
    assert given == [(1, True), (11, True), (2, True)]
    assert site.cache.get("mine:1") == "2"


@MIXED
def test_the_key_of_a_view_with_make_cache_key_is_what_that_returns(
    site: Site, callbacks: Any
) -> None:
    """Sync code is told to await where the callback is async."""
    view = site.numbers("/<int:n>", make_cache_key=callbacks(lambda n: f"mine:{n}"))
    site.get("/1")
    if asyncio.iscoroutinefunction(callbacks(lambda: 1)):
        with pytest.raises(ColourError, match="amake_cache_key"):
            view.make_cache_key(n=1)
    else:
        assert view.make_cache_key(n=1) == view.make_cache_key(1) == "mine:1"
        assert view.make_cache_key(1, use_request=True) == "mine:1"
    assert asyncio.run(view.amake_cache_key(n=1)) == "mine:1"


def test_an_async_key_prefix_is_asked_by_the_awaitable_twin(cache: Cache) -> None:
    """The sync one names it."""

    async def prefix() -> str:
        return "prefix"

    @cache.cached(key_prefix=prefix)
    async def view() -> str:
        return "x"

    with pytest.raises(ColourError, match="amake_cache_key"):
        view.make_cache_key()
    assert asyncio.run(view.amake_cache_key()) == "prefix"


# --- deleting -------------------------------------------------------------------------------------

DELETIONS: dict[str, Any] = {
    "path": lambda site, view: site.do("delete_cached", view, "/works/1"),
    "path-by-name": lambda site, view: site.do("delete_cached", view, path="/works/1"),
    "view-arguments": lambda site, view: site.do("delete_cached", view, number=1),
    "key": lambda site, view: site.do("delete", "view//works/1"),
    "keys": lambda site, view: site.do("delete_many", "view//works/1"),
    "unlinked": lambda site, view: site.do("unlink", "view//works/1"),
    "made-key": lambda site, view: site.do("delete", view.make_cache_key(path="/works/1")),
    "made-key-by-arguments": lambda site, view: site.do("delete", view.make_cache_key(number=1)),
    "set": lambda site, view: site.do("set", "view//works/1", None),
}


@cases("form", DELETIONS, everywhere=("path", "key", "keys", "unlinked", "set"))
def test_one_page_can_be_deleted_in_every_documented_form(site: Site, form: str) -> None:
    """It is computed again, and the view's other pages stay."""
    view = site.numbers("/works/<int:number>")
    assert [site.text("/works/1"), site.text("/works/2")] == ["1", "2"]
    with site.app.test_request_context("/elsewhere"):
        assert DELETIONS[form](site, view)
    assert [site.text("/works/1"), site.text("/works/2")] == ["3", "2"]


@each_pace
def test_delete_cached_of_the_view_alone_drops_all_its_pages(any_site: Site) -> None:
    """All paths, query strings and variants; other views keep theirs."""
    view = any_site.numbers("/works/<int:n>", query_string=True, vary_on="X-A")
    any_site.numbers("/other", endpoint="other")
    paths = ["/works/1", "/works/1?a=1", "/works/2"]
    assert [any_site.text(path) for path in paths] == ["1", "2", "3"]
    assert any_site.text("/works/1", headers={"X-A": "x"}) == "4"
    assert any_site.text("/other") == "5"
    assert any_site.do("delete_cached", view)
    assert [any_site.text(path) for path in paths] == ["6", "7", "8"]
    assert any_site.text("/works/1", headers={"X-A": "x"}) == "9"
    assert any_site.text("/other") == "5"


@each_pace
def test_delete_cached_with_a_path_drops_every_variant_of_it(any_site: Site) -> None:
    """Query strings and ``vary_on``; other paths stay."""
    view = any_site.numbers("/works/<int:n>", query_string=True, vary_on="X-A")
    requests: list[tuple[str, dict[str, str]]] = [
        ("/works/1", {}), ("/works/1?a=1", {}), ("/works/1?a=1", {"X-A": "x"}), ("/works/2", {})
    ]  # fmt: skip
    assert [any_site.text(p, headers=h) for p, h in requests] == ["1", "2", "3", "4"]
    assert any_site.do("delete_cached", view, "/works/1")
    assert [any_site.text(p, headers=h) for p, h in requests] == ["5", "6", "7", "4"]
    assert any_site.do("delete_cached", view, "/works/1", "a=1")
    assert [any_site.text(p, headers=h) for p, h in requests] == ["5", "8", "9", "4"]


def test_delete_cached_with_query_args_drops_that_query_string_only(site: Site) -> None:
    """Also an empty one."""
    view = site.numbers(query_string=True)
    assert [site.text("/works"), site.text("/works?a=1")] == ["1", "2"]
    assert site.do("delete_cached", view, "/works", {"a": 1})
    assert [site.text("/works"), site.text("/works?a=1")] == ["1", "3"]
    assert site.do("delete_cached", view, "/works", "")
    assert [site.text("/works"), site.text("/works?a=1")] == ["4", "3"]


@MIXED
def test_delete_cached_of_keys_by_a_callable_prefix(site: Site, callbacks: Any) -> None:
    """In a request context like the one that the page was stored in."""
    view = site.numbers(
        methods=["GET", "POST"], query_string=True,
        key_prefix=callbacks(lambda: f"view/{request.method}{request.path}"),
    )  # fmt: skip
    client = site.app.test_client()
    assert [client.get("/works?a=1").text, client.post("/works?a=1").text] == ["1", "2"]
    with site.app.test_request_context("/works", method="POST"):
        assert site.do("delete_cached", view, query_args={"a": 1})
    assert [client.get("/works?a=1").text, client.post("/works?a=1").text] == ["1", "3"]
    assert site.cache.delete("view/GET/works") is not None
    assert [client.get("/works?a=1").text, client.post("/works?a=1").text] == ["4", "3"]


@MIXED
def test_delete_cached_of_keys_by_make_cache_key(site: Site, callbacks: Any) -> None:
    """The view's arguments make the key; a path cannot, which is said."""
    view = site.numbers("/<int:n>", make_cache_key=callbacks(lambda n: f"mine:{n}"))
    assert [site.text("/1"), site.text("/2")] == ["1", "2"]
    assert site.do("delete_cached", view, n=1)
    assert [site.text("/1"), site.text("/2")] == ["3", "2"]
    with pytest.raises(ValueError, match="make_cache_key, not from a path"):
        site.do("delete_cached", view, "/1")


def test_delete_cached_of_a_replaced_make_cache_key(site: Site) -> None:
    """It is given the path and the query string, as in Flask-Caching."""
    view = site.numbers()
    view.make_cache_key = lambda path=None, query_args=None, use_request=False: (
        f"mine:{request.path if use_request else path}"
    )
    assert [site.text(), site.text()] == ["1", "1"]
    assert site.do("delete_cached", view, "/works")
    assert site.text() == "2"


def test_delete_cached_wants_a_view_of_this_cache(site: Site) -> None:
    """A deletion that can match nothing says so."""
    other = Cache(site.app, config={"CACHE_TYPE": "SimpleCache"})
    with pytest.raises(ValueError, match="not decorated with @cache.cached"):
        site.do("delete_cached", lambda: "x")
    with pytest.raises(ValueError, match="use delete_memoized"):
        site.do("delete_cached", site.face.memoize()(lambda: "x"))
    with pytest.raises(ValueError, match="another Cache"):
        site.do("delete_cached", Face(other, site.face.colour).cached()(lambda: "x"))
    with pytest.raises(TypeError, match="takes the decorated function itself"):
        site.do("delete_cached", "view//works")


def test_delete_cached_works_through_decorators_on_top(site: Site) -> None:
    """``functools.wraps`` keeps the way to the view."""
    import functools

    view = site.face.cached()(site.counted(lambda n: str(site.calls)))

    @functools.wraps(view)
    def outer(**kwargs: Any) -> Any:
        return site.app.ensure_sync(view)(**kwargs)

    site.app.add_url_rule("/<int:n>", "outer", outer)
    assert [site.text("/1"), site.text("/1")] == ["1", "1"]
    with site.app.test_request_context():
        assert site.do("delete_cached", outer, n=1)
    assert site.text("/1") == "2"


def test_an_invalidation_during_a_computation_wins(site: Site) -> None:
    """What began before ``delete_cached`` is answered, and not stored."""
    view = site.view()(
        lambda: (
            (site.calls == 1 and site.cache.delete_cached(view, "/works"))
            and "1"
            or str(site.calls)
        )
    )
    assert [site.text(), site.text(), site.text()] == ["1", "2", "2"]


# --- refreshing -----------------------------------------------------------------------------------


def test_refresh_computes_stores_and_returns(site: Site) -> None:
    """What a background job calls, in a request context of its own."""
    view = site.numbers("/works/<int:n>", unless=lambda: False)
    assert site.text("/works/1") == "1"
    with site.app.test_request_context("/works/1"):
        assert site.call(view.refresh, n=1) == "2"
    assert site.text("/works/1") == "2"


def test_a_decorated_view_keeps_its_face(site: Site) -> None:
    """Name, signature, the function itself, and its colour."""
    import inspect

    def works(n: int = 1) -> Any:
        """Doc."""
        return jsonify(n)

    view = site.face.cached(timeout=9)(works)
    assert (view.__name__, view.__doc__, view.cache_timeout) == ("works", "Doc.", 9)
    assert inspect.signature(view) == inspect.signature(works)
    assert inspect.iscoroutinefunction(view) is site.is_async
    assert view.uncached.__name__ == "works"
