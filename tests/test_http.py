"""HTTP from one entry: validators, conditional requests, and what browsers and CDNs are told."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote

import flask
import pytest
import quart
from flask import Blueprint, Flask, Response, request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import NotFound

from flask_caching_async import Cache
from flask_caching_async.decorators.wrappers import plan_of
from flask_caching_async.exceptions import ConfigurationError
from flask_caching_async.pages.http import header_name, tag_line, vary_line
from flask_caching_async.serializers import JSONSerializer
from support.browsers import Browser, browser_of
from support.faces import COLOURS, QUART, Face
from support.params import cases, table
from support.quart_sites import QuartSite
from support.sites import Site
from support.waiting import PATIENCE, until

YESTERDAY = "Tue, 14 Nov 2023 10:00:00 GMT"
TODAY = "Wed, 15 Nov 2023 10:00:00 GMT"
TOMORROW = "Thu, 16 Nov 2023 10:00:00 GMT"
HOSTS = (*COLOURS, QUART)
THREE = pytest.mark.parametrize("colour", HOSTS)
EACH = ("colour", HOSTS)


@pytest.fixture
def browser(colour: str) -> Browser:
    """A browser for a site in each colour."""
    return browser_of(colour)


def response(browser: Browser, body: Any, status: int = 200, headers: Any = None) -> Any:
    """A response of the framework."""
    return browser.app.response_class(body, status, headers)


def page_with(browser: Browser, headers: dict[str, str], **options: Any) -> None:
    """A view whose pages have these headers."""
    browser.view(http=True, **options)(lambda: response(browser, "page", headers=headers))


# --- validators -----------------------------------------------------------------------------------


@cases(
    "value",
    ["text", b"bytes", {"a": 1}, [1, 2], ("text", 201), ("text", {"X-A": "1"}), ("text", 200, {})],
    ways=EACH,
    whole=("sync", "quart"),  # each framework has a way of its own to make responses
)
def test_a_page_has_a_strong_etag_whatever_its_view_returns(browser: Browser, value: Any) -> None:
    """It is made once, when the page is stored, and is the same on each hit."""
    browser.view(http=True)(lambda: value)
    first, second = browser.get(), browser.get()
    assert first.etag.startswith('"') and first.etag == second.etag
    assert (first.status, first.body) == (second.status, second.body)
    assert browser.site.calls == 1
    stored = browser.cache.get("view//works")
    assert stored.headers["ETag"] == first.etag and stored.status_code == first.status


@THREE
def test_the_etag_of_the_view_wins(browser: Browser) -> None:
    """A view may know better than its bytes say."""
    page_with(browser, {"ETag": 'W/"v7"'})
    assert browser.get().etag == browser.get().etag == 'W/"v7"'
    assert browser.get(If_None_Match='"v7"').status == 304


@THREE
def test_an_etag_is_another_one_for_each_change(browser: Browser) -> None:
    """Of a byte, or of what the bytes mean."""
    given: list[Any] = ["a"]
    browser.view(http=True)(lambda: response(browser, *given))
    etags = []
    for page in (["a"], ["b"], ["a", 200, {"Content-Type": "text/x-a"}], ["a"]):
        given[:] = page
        browser.cache.clear()
        etags.append(browser.get().etag)
    assert len(set(etags)) == 3 and etags[0] == etags[3]


@THREE
def test_a_view_may_keep_its_response_and_change_it(browser: Browser) -> None:
    """The ETag is that of the page that is stored, not of an older one."""
    bodies = iter(["a", "b"])
    kept = response(browser, "")

    def body() -> Any:
        kept.set_data(next(bodies))
        return kept

    browser.view(http=True)(body)
    first = browser.get()
    browser.cache.clear()
    assert browser.get().etag != first.etag


@THREE
def test_an_etag_dies_with_its_entry(browser: Browser) -> None:
    """After an invalidation the old one gets the new page, unless the bytes are the same."""
    browser.site.numbers(http=True)
    first = browser.get()
    assert browser.get(If_None_Match=first.etag).status == 304
    browser.cache.delete("view//works")
    second = browser.get(If_None_Match=first.etag)
    assert (second.status, second.body) == (200, b"2") and second.etag != first.etag


@THREE
def test_an_etag_lives_on_where_the_bytes_are_the_same(browser: Browser) -> None:
    """The page was computed again, and is what the browser has."""
    browser.view(http=True)(lambda: "page")
    etag = browser.get().etag
    browser.cache.clear()
    assert browser.get(If_None_Match=etag).status == 304 and browser.site.calls == 2


@THREE
def test_only_the_entry_of_this_very_request_gives_a_304(browser: Browser) -> None:
    """The ETag of another visitor's variant is no key to anything."""
    browser.view(http=True, vary_on="X-User")(
        lambda: {"n": browser.site.calls, "secret": "of one visitor"}
    )
    of_one = browser.get(X_User="one")
    answer = browser.get(X_User="two", If_None_Match=of_one.etag)
    assert answer.status == 200 and answer.etag != of_one.etag
    assert browser.get(X_User="one", If_None_Match=of_one.etag).status == 304


@THREE
def test_nobody_who_bypasses_the_cache_gets_a_304(browser: Browser) -> None:
    """``unless`` says that the stored page is not for this request."""
    bypassed: list[int] = []
    browser.view(http=True, unless=lambda: bool(bypassed))(lambda: "page")
    etag = browser.get().etag
    bypassed.append(1)
    answer = browser.get(If_None_Match=etag)
    assert answer.status == 200 and answer.etag == ""
    assert answer.headers["Cache-Control"] == "private, no-cache"


# --- conditional requests: RFC 9110, 13, and RFC 9111, 4.3.2 --------------------------------------

#: The headers of a request (``E`` is the page's ETag), the page's own ``Last-Modified``, and the
#: status of the answer.
CONDITIONAL: dict[str, tuple[Any, str | None, int]] = {
    "nothing": ({}, TODAY, 200),
    "its-etag": ({"If-None-Match": "E"}, None, 304),
    "another-etag": ({"If-None-Match": '"x"'}, None, 200),
    "weak-comparison": ({"If-None-Match": "W/E"}, None, 304),
    "a-list-with-it": ({"If-None-Match": '"x", W/"y", E'}, None, 304),
    "a-list-without-spaces": ({"If-None-Match": '"x",E,"y"'}, None, 304),
    "a-list-without-it": ({"If-None-Match": '"x", "y"'}, None, 200),
    "several-lines": ([("If-None-Match", '"x"'), ("If-None-Match", "E")], None, 304),
    "star": ({"If-None-Match": "*"}, None, 304),
    "no-etag-at-all": ({"If-None-Match": ""}, None, 200),
    "garbage": ({"If-None-Match": '"'}, None, 200),
    "since-its-change": ({"If-Modified-Since": TODAY}, TODAY, 304),
    "since-later": ({"If-Modified-Since": TOMORROW}, TODAY, 304),
    "since-earlier": ({"If-Modified-Since": YESTERDAY}, TODAY, 200),
    "since-with-no-date-of-its-own": ({"If-Modified-Since": TODAY}, None, 200),
    "since-no-date": ({"If-Modified-Since": "yesterday"}, TODAY, 200),
    "etag-before-date": ({"If-None-Match": '"x"', "If-Modified-Since": TODAY}, TODAY, 200),
    "etag-without-date": ({"If-None-Match": "E", "If-Modified-Since": YESTERDAY}, TODAY, 304),
    "if-match-is-not-for-a-cache": ({"If-Match": '"x"'}, None, 200),
    "if-unmodified-since-neither": ({"If-Unmodified-Since": YESTERDAY}, TODAY, 200),
    "a-range-is-no-condition": ({"Range": "bytes=0-1"}, None, 200),
}


@cases(
    "method,condition",
    itertools.product(["GET", "HEAD"], CONDITIONAL),
    ways=EACH,
    everywhere=[
        *("GET-nothing", "GET-its-etag", "GET-several-lines", "GET-since-its-change"),
        *("HEAD-nothing", "HEAD-its-etag"),
    ],
)
def test_conditional_requests(browser: Browser, method: str, condition: str) -> None:
    """Each kind of condition, with the answer that the RFCs want."""
    headers, modified, status = CONDITIONAL[condition]
    page_with(browser, {} if modified is None else {"Last-Modified": modified})
    etag = browser.get().etag
    pairs = headers.items() if isinstance(headers, dict) else headers
    answer = browser.open(method=method, headers=[(n, v.replace("E", etag)) for n, v in pairs])
    assert answer.status == status and answer.etag == etag
    if method == "GET":  # Quart leaves it to the server to drop the body of a HEAD
        assert answer.body == (b"page" if status == 200 else b"")
    assert browser.site.calls == 1


@cases("method", ["POST", "PUT", "DELETE"], ways=EACH)
def test_only_get_and_head_are_answered_304(browser: Browser, method: str) -> None:
    """Another method has an answer of its own, also with a key of one's own."""
    browser.view(key_prefix="works", methods=["GET", method], http=True)(lambda: "page")
    etag = browser.get().etag
    answer = browser.open(method=method, headers={"If-None-Match": etag})
    assert (answer.status, answer.body) == (200, b"page")


@cases("status", [404, 410, 301], ways=EACH)
def test_only_success_is_answered_304(browser: Browser, status: int) -> None:
    """A precondition counts only where the answer would be a 2xx (RFC 9110, 13.2.1)."""
    browser.view(http=True)(lambda: ("page", status))
    etag = browser.get().etag
    assert browser.get(If_None_Match=etag).status == status
    assert browser.get(If_None_Match="*").status == status


@THREE
def test_a_304_has_the_headers_that_caches_update_from(browser: Browser) -> None:
    """Those of RFC 9110, 15.4.5, and nothing about a body that it has not."""
    own = {
        "Cache-Control": "max-age=9", "Content-Location": "/there", "Date": TODAY,
        "Expires": TOMORROW, "Vary": "X-A", "Content-Language": "de", "Last-Modified": YESTERDAY,
    }  # fmt: skip
    page_with(browser, own)
    full = browser.get()
    answer = browser.get(If_None_Match=full.etag)
    assert answer.status == 304 and answer.body == b""
    for name in ("Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary"):
        assert answer.headers[name] == full.headers[name]
    names = ["Content-Language", "Last-Modified"]
    if not isinstance(browser.site, QuartSite):  # its test client adds these to each answer
        names += ["Content-Type", "Content-Length"]
    assert [name for name in names if name in answer.headers] == []


# --- age, Vary, Cache-Control ---------------------------------------------------------------------


@THREE
def test_a_hit_says_how_old_it_is(browser: Browser) -> None:
    """``Age`` in whole seconds; a page that was computed for this request has none."""
    browser.view(http=True)(lambda: "page")
    assert "Age" not in browser.get().headers
    assert browser.get().headers["Age"] == "0"
    browser.clock.advance(42.9)
    assert browser.get().headers["Age"] == "42"
    assert browser.get(If_None_Match="*").headers["Age"] == "42"


@THREE
def test_vary_names_the_headers_that_are_in_the_key(browser: Browser) -> None:
    """Those of ``vary_on``, and ``Cookie`` for one of the cookies; the view's own come first."""
    browser.view(http=True, vary_on=["Accept-Language", "cookie:theme", "cookie:font", lambda: 1])(
        lambda: ("page", {"Vary": "X-A, accept-language"})
    )
    for answer in (browser.get(), browser.get(), browser.get(If_None_Match="*")):
        assert answer.headers["Vary"] == "X-A, accept-language, Cookie"


@cases(
    "read,line",
    [
        (lambda r: r.headers.get("X-A"), "X-A"),
        (lambda r: f"{r.accept_languages}{r.cookies.get('theme')}", "Cookie, Accept-Language"),
        (lambda r: r.args.get("page"), None),
        (lambda r: r.remote_addr, "*"),
    ],
    ids=["header", "several", "query", "address"],
    ways=EACH,
    whole=("sync", "quart"),  # whose requests differ
)
def test_vary_names_the_headers_that_the_view_has_read(
    browser: Browser, read: Any, line: str | None
) -> None:
    """From the first answer on; what is in no header is in nobody else's key."""
    asked: Any = quart.request if isinstance(browser.site, QuartSite) else flask.request
    browser.view(http=True)(lambda: f"{read(asked)}")
    for answer in (browser.get(), browser.get(), browser.get(If_None_Match="*")):
        assert answer.headers.get("Vary") == line


@table(
    "present,names,line",
    [
        ("", ("A", "B"), "A, B"),
        ("a", ("A", "B"), "a, B"),
        ("X , Y", ("A",), "X, Y, A"),
        ("*", ("A",), "*"),
    ],
)
def test_a_vary_line_names_each_header_once(
    present: str, names: tuple[str, ...], line: str
) -> None:
    """Names have no case, and ``*`` says it all."""
    assert vary_line(present, names) == line


#: The options of a decorator, and what its pages say.
CONTROL: dict[str, tuple[dict[str, Any], str]] = {
    "default": ({}, "no-cache"),
    "client": ({"client_timeout": 60}, "max-age=60"),
    "client-timedelta": ({"client_timeout": timedelta(minutes=2)}, "max-age=120"),
    "client-part-of-a-second": ({"client_timeout": 0.5}, "no-cache"),
    "shared": ({"shared_timeout": 300}, "max-age=0, must-revalidate, s-maxage=300"),
    "both": (
        {"client_timeout": 60, "shared_timeout": timedelta(hours=1)},
        "max-age=60, s-maxage=3600",
    ),
    "shared-not-at-all": ({"client_timeout": 60, "shared_timeout": 0}, "max-age=60, s-maxage=0"),
    "while-revalidate": (
        {"client_timeout": 60, "stale_while_revalidate": 30},
        "max-age=60, stale-while-revalidate=30",
    ),
    "both-windows": (
        {"shared_timeout": 60, "stale_while_revalidate": 30, "stale_if_error": timedelta(days=1)},
        "max-age=0, must-revalidate, s-maxage=60, stale-while-revalidate=30, stale-if-error=86400",
    ),
    "a-key-that-no-shared-cache-knows": (
        {"client_timeout": 60, "vary_on": lambda: "anybody"},
        "private, max-age=60",
    ),
    "nor-a-browser-for-long": ({"make_cache_key": lambda: "k"}, "private, no-cache"),
    "a-shared-timeout-is-the-users-word": (
        {"shared_timeout": 60, "vary_on": lambda: "anybody"},
        "max-age=0, must-revalidate, s-maxage=60",
    ),
    "some-are-not-served": (
        {"client_timeout": 60, "unless": lambda: False},
        "private, max-age=60",
    ),
}  # fmt: skip


@cases("options,line", CONTROL.values(), ids=CONTROL, ways=EACH)
def test_cache_control_is_what_the_decorator_says(
    browser: Browser, options: dict[str, Any], line: str
) -> None:
    """On the first answer, on a hit, and on a 304."""
    browser.view(http=True, **options)(lambda: "page")
    answers = browser.get(), browser.get(), browser.get(If_None_Match="*")
    assert [answer.headers["Cache-Control"] for answer in answers] == [line] * 3


@THREE
def test_the_times_of_cache_control_begin_when_it_is_sent(browser: Browser) -> None:
    """``Age`` counts against them, so that a page at the end of its life is not stale at once."""
    browser.view(http=True, client_timeout=60, shared_timeout=90)(lambda: "page")
    browser.get()
    browser.clock.advance(200)
    headers = browser.get().headers
    assert (headers["Age"], headers["Cache-Control"]) == ("200", "max-age=260, s-maxage=290")


@cases(
    "options,line",
    [
        ({"client_timeout": 60}, "no-cache, stale-while-revalidate=30"),
        (
            {"client_timeout": 60, "shared_timeout": 600},
            "max-age=0, must-revalidate, s-maxage=0, stale-while-revalidate=30",
        ),
    ],
    ids=["for a client", "for all"],
    ways=EACH,
)
def test_a_stale_page_is_not_to_be_kept(
    browser: Browser, options: dict[str, Any], line: str
) -> None:
    """A new one is on its way: whoever asks again gets it."""
    browser.view(timeout=60, http=True, stale_while_revalidate=30, **options)(lambda: "page")
    browser.get()
    browser.clock.advance(70)
    assert browser.get().headers["Cache-Control"] == line
    assert browser.cache.drain(PATIENCE)


@cases("own", [("Cache-Control", "max-age=5"), ("Expires", TOMORROW)], ways=EACH)
def test_what_the_view_says_about_caching_stays(browser: Browser, own: tuple[str, str]) -> None:
    """It knows its page best."""
    page_with(browser, dict([own]), client_timeout=60)
    for answer in (browser.get(), browser.get(), browser.get(If_None_Match="*")):
        assert answer.headers.getlist("Cache-Control") == (["max-age=5"] if "age" in own[1] else [])


@cases(
    "value,headers",
    [
        ("cookie", {"Set-Cookie": "a=b"}),
        ("filtered", {}),
        ("failure", {}),
    ],
    ways=EACH,
)
def test_a_page_that_is_not_stored_is_private(
    browser: Browser, value: str, headers: dict[str, str]
) -> None:
    """Where the view says nothing itself; it has no ETag and no age."""
    status = 500 if value == "failure" else 200
    browser.view(http=True, client_timeout=60, response_filter=lambda _: value != "filtered")(
        lambda: (value, status, headers)
    )
    for _ in range(2):
        answer = browser.get()
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert "ETag" not in answer.headers and "Age" not in answer.headers
    assert browser.site.calls == 2
    assert browser.get(If_None_Match="*").status == status


@THREE
def test_a_page_that_was_deleted_while_it_was_computed_is_private(browser: Browser) -> None:
    """No CDN keeps what an invalidation has overtaken."""

    def body() -> str:
        browser.cache.delete("view//works")
        return "page"

    browser.view(http=True, shared_timeout=60)(body)
    answer = browser.get()
    assert answer.headers["Cache-Control"] == "private, no-cache"


@THREE
def test_a_cookie_of_the_visitor_makes_a_stored_page_private(browser: Browser) -> None:
    """Whoever sets it, after the view: no shared cache may give it to others."""
    browser.app.secret_key = "secret"
    browser.view(http=True, shared_timeout=60)(lambda: "page")

    framework: Any = quart if isinstance(browser.site, QuartSite) else flask

    @browser.app.before_request
    def login() -> None:
        if "X-Login" in framework.request.headers:
            framework.session["user"] = "one"

    browser.get()
    assert "s-maxage" in browser.get().headers["Cache-Control"]
    answer = browser.get(X_Login="1")
    assert "Set-Cookie" in answer.headers
    assert answer.headers["Cache-Control"] == "private, no-cache"


@THREE
def test_an_abort_is_as_before(browser: Browser) -> None:
    """Its page is made by the app's own error handlers, each time: nobody else may keep it."""

    def body() -> str:
        raise NotFound

    browser.view(http=True, client_timeout=60)(body)
    for answer in (browser.get(), browser.get(), browser.get(If_None_Match="*")):
        assert answer.status == 404 and answer.etag == ""
        assert answer.headers["Cache-Control"] == "private, no-cache"
    assert browser.site.calls == 1


# --- what is changed after the cache --------------------------------------------------------------


@THREE
def test_a_body_that_is_changed_after_the_cache_loses_the_etag(browser: Browser) -> None:
    """And such a function always sees the whole page, whatever the browser has."""
    browser.view(http=True, client_timeout=60)(
        lambda: response(browser, "page", headers={"Last-Modified": TODAY})
    )
    seen: list[int] = []

    def change(answer: Any) -> Any:
        seen.append(answer.status_code)
        answer.set_data(f"page for visitor {len(seen)}")
        return answer

    browser.after_request(change)
    browser.get()
    etag = browser.cache.get("view//works").headers["ETag"]
    seen.clear()
    for headers in ({}, {"If_None_Match": etag}, {"If_Modified_Since": TODAY}):
        answer = browser.get(**headers)
        assert (answer.status, answer.etag) == (200, "")
        assert answer.body.startswith(b"page for visitor")
        assert answer.headers["Cache-Control"] == "private, no-cache"
    assert seen == [200] * 3


@THREE
def test_compression_that_names_its_own_etag_is_believed(browser: Browser) -> None:
    """Flask-Compress makes another ETag of the cache's, and browsers revalidate that."""
    browser.view(http=True, client_timeout=60)(lambda: "page")

    def compress(answer: Any) -> Any:
        if answer.status_code == 200:
            answer.set_data(b"compressed")
            answer.headers["Content-Encoding"] = "br"
            answer.set_etag(answer.get_etag()[0] + ":br")
            answer.headers["Vary"] = "Accept-Encoding"
        return answer

    browser.after_request(compress)
    for _ in range(2):
        answer = browser.get()
        assert answer.etag.endswith(':br"')
        assert answer.headers["Cache-Control"] == "max-age=60"
    again = browser.get(If_None_Match=answer.etag)
    assert (again.status, again.etag) == (304, answer.etag)
    assert again.headers["Vary"] == "Accept-Encoding"


@THREE
def test_a_304_that_another_function_gives_has_the_same_headers(browser: Browser) -> None:
    """Or else the browser would forget for how long it may keep the page."""
    browser.view(http=True, client_timeout=60, vary_on="X-A")(lambda: "page")

    def conditional(answer: Any) -> Any:
        answer.set_data(b"")
        answer.set_etag(answer.get_etag()[0] + ":br")
        answer.status_code = 304
        return answer

    browser.after_request(conditional)
    for answer in (browser.get(), browser.get()):
        assert (answer.status, answer.etag[-4:]) == (304, ':br"')
        assert answer.headers["Cache-Control"] == "max-age=60" and answer.headers["Vary"] == "X-A"


@THREE
def test_another_body_with_an_etag_of_its_own_is_no_page_of_the_cache(browser: Browser) -> None:
    """Its ETag is kept, but nobody else may keep it, and it is answered in full."""
    browser.view(http=True, client_timeout=60)(lambda: "page")

    def personal(answer: Any) -> Any:
        answer.set_data("page for Ann")
        answer.headers["ETag"] = '"ann"'
        return answer

    browser.after_request(personal)
    for answer in (browser.get(), browser.get(), browser.get(If_None_Match='"ann"')):
        assert (answer.status, answer.etag) == (200, '"ann"')
        assert answer.headers["Cache-Control"] == "private, no-cache"


@THREE
def test_a_function_that_leaves_the_body_alone_changes_nothing(browser: Browser) -> None:
    """Also if it reads it, or sends an equal one."""
    browser.view(http=True)(lambda: "page")

    def stamp(answer: Any) -> Any:
        answer.headers["X-Stamp"] = "1"
        answer.set_data(b"pa" + b"ge")
        return answer

    browser.after_request(stamp)
    answer = browser.get(If_None_Match=browser.get().etag)
    assert (answer.status, answer.headers["X-Stamp"]) == (304, "1")


@THREE
def test_another_response_in_its_place_is_left_alone(browser: Browser) -> None:
    """Nothing is said about a page that the cache never saw, but that nobody may keep it."""
    browser.view(http=True, client_timeout=60)(lambda: "page")
    browser.after_request(lambda _: response(browser, "closed", 503))
    for answer in (browser.get(), browser.get(If_None_Match="*")):
        assert (answer.status, answer.body, answer.etag) == (503, b"closed", "")
        assert answer.headers["Cache-Control"] == "private, no-cache"


@THREE
def test_a_decorator_above_the_cache_may_make_another_page(colour: str) -> None:
    """Of that one, nobody may keep anything."""
    browser = browser_of(colour)
    page = browser.site.face.cached(http=True, client_timeout=60)(lambda: "page")

    @functools.wraps(page)
    async def anew() -> Any:
        inner = page()
        inner = await inner if browser.site.is_async else inner
        return response(browser, b"for Ann", headers=inner.headers)

    @functools.wraps(page)
    def now() -> Any:
        return response(browser, b"for Ann", headers=page().headers)

    browser.app.add_url_rule("/works", "works", anew if browser.site.is_async else now)
    for answer in (browser.get(), browser.get(), browser.get(If_None_Match="*")):
        assert (answer.status, answer.body, answer.etag) == (200, b"for Ann", "")
        assert answer.headers["Cache-Control"] == "private, no-cache"


@THREE
def test_a_decorator_above_the_cache_that_hands_the_page_on_changes_nothing(colour: str) -> None:
    """As ``@login_required`` does."""
    browser = browser_of(colour)
    page = browser.site.face.cached(http=True)(lambda: "page")

    @functools.wraps(page)
    async def arequired() -> Any:
        return await page()

    @functools.wraps(page)
    def required() -> Any:
        return page()

    browser.app.add_url_rule("/works", "works", arequired if browser.site.is_async else required)
    answer = browser.get()
    assert answer.etag and browser.get(If_None_Match=answer.etag).status == 304


@THREE
def test_streams_and_ranges_pass_through(browser: Browser) -> None:
    """They are not stored, and have what their view gave them."""

    def stream() -> Any:
        answer = response(browser, "part", 206, {"Content-Range": "bytes 0-3/9", "ETag": '"v1"'})
        answer.headers["Cache-Control"] = "max-age=7"
        return answer

    browser.view(http=True)(stream)
    for headers in ({}, {"If_None_Match": '"v1"'}):
        answer = browser.get(**headers)
        assert (answer.status, answer.etag, answer.body) == (206, '"v1"', b"part")
        assert answer.headers["Cache-Control"] == "max-age=7"


@THREE
def test_a_cached_response_keeps_its_timeout(browser: Browser) -> None:
    """Its page is good for as long as it says."""
    from flask_caching_async import CachedResponse

    browser.view(timeout=60, http=True)(lambda: CachedResponse(response(browser, "page"), 5))
    etag = browser.get().etag
    browser.clock.advance(4)
    assert browser.get(If_None_Match=etag).status == 304 and browser.site.calls == 1
    browser.clock.advance(2)
    assert browser.get().etag == etag and browser.site.calls == 2


# --- whose pages ----------------------------------------------------------------------------------


@THREE
def test_the_setting_is_for_all_views_but_those_that_say_no(colour: str) -> None:
    """``CACHE_HTTP`` turns it on, ``http=False`` off for one."""
    browser = browser_of(colour, CACHE_HTTP=True)
    browser.view("/on", endpoint="on")(lambda: "page")
    browser.view("/off", endpoint="off", http=False)(lambda: "page")
    assert browser.get("/on").etag and not browser.get("/off").etag
    assert "Cache-Control" not in browser.get("/off").headers


@THREE
def test_it_is_off_by_default(browser: Browser) -> None:
    """Nothing is added to a page, and nothing to what is stored."""
    browser.view()(lambda: "page")
    for _ in range(2):
        names = {name.lower() for name, _ in browser.get().headers}
        assert names.isdisjoint({"etag", "age", "cache-control", "vary", "cache-status"})
    assert browser.cache.get("view//works") == "page"


@THREE
def test_a_function_that_a_view_calls_returns_what_it_returns(colour: str) -> None:
    """A page is what the view of the request answers with."""
    browser = browser_of(colour, CACHE_HTTP=True)
    helper = browser.cache.cached(key_prefix="helper", http=True)(lambda: [1, 2])
    browser.view()(lambda: f"page {helper()}")
    assert browser.get().body == browser.get().body == b"page [1, 2]"
    assert browser.cache.get("helper") == [1, 2]


@THREE
def test_a_value_that_was_set_by_hand_is_served_as_a_page(browser: Browser) -> None:
    """With an ETag of its own."""
    browser.view(http=True)(lambda: "page")
    browser.cache.set("view//works", "by hand")
    answer = browser.get()
    assert answer.body == b"by hand" and answer.etag
    assert browser.get(If_None_Match=answer.etag).status == 304


@THREE
def test_a_background_refresh_stores_with_an_etag(browser: Browser) -> None:
    """What it stores is a page like any other, and the old one is served with its own."""
    browser.site.numbers(timeout=5, http=True, stale_while_revalidate=60, client_timeout=9)
    first = browser.get()
    browser.clock.advance(6)
    old = browser.get()
    assert (old.body, old.etag, old.headers["Age"]) == (b"1", first.etag, "6")
    assert browser.cache.drain(30)
    new = browser.cache.get("view//works")
    assert new.headers["ETag"] and new.headers["ETag"] != first.etag
    answer = browser.get(If_None_Match=new.headers["ETag"])
    assert (answer.status, browser.site.calls) == (304, 2)


def test_a_refresh_stores_with_an_etag() -> None:
    """Outside a request, by its path."""
    browser = browser_of("sync")
    view = browser.site.numbers(http=True)
    view.refresh(path="/works")
    etag = browser.cache.get("view//works").headers["ETag"]
    assert browser.get(If_None_Match=etag).status == 304 and browser.site.calls == 1


@THREE
def test_callbacks_are_given_what_the_view_returned(browser: Browser) -> None:
    """A page is made of it afterwards."""
    seen: list[Any] = []

    def noting(value: Any) -> int:
        seen.append(value)
        return 60

    browser.view(timeout=noting, http=True, response_filter=noting)(lambda: {"a": 1})
    assert browser.get().etag and seen == [{"a": 1}] * 2


def test_a_class_of_views_has_pages() -> None:
    """Its cached method is what answers."""
    from flask.views import MethodView

    browser = browser_of("sync")

    class Works(MethodView):
        """A class of views."""

        @browser.cache.cached(60, http=True)
        def get(self) -> str:
            """A page."""
            return "page"

    browser.app.add_url_rule("/works", view_func=Works.as_view("works"))
    assert browser.get(If_None_Match=browser.get().etag).status == 304


# --- wrong options --------------------------------------------------------------------------------


@table(
    "options,message",
    [
        ({"http": "yes"}, "http must be True, False or 'strict'"),
        ({"http": 1}, "http must be True, False or 'strict'"),
        ({"client_timeout": -1}, "client_timeout must be 0 seconds or more"),
        ({"client_timeout": True}, "client_timeout must be 0 seconds or more"),
        ({"shared_timeout": -1}, "shared_timeout must be 0 seconds or more"),
        ({"http": False, "client_timeout": 5}, "http=False tells them nothing"),
        ({"http": False, "shared_timeout": 0}, "http=False tells them nothing"),
    ],
)
def test_a_wrong_option_is_an_error_at_decoration(options: dict[str, Any], message: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigurationError, match=message):
        Cache(config={"CACHE_TYPE": "SimpleCache"}).cached(60, **options)(lambda: "page")


@table(
    "config",
    [
        {"CACHE_HTTP": "perhaps"},
        {"CACHE_STATUS_HEADER": 5},
        {"CACHE_STATUS_HEADER": "a\nb"},
        {"CACHE_STATUS_HEADER": "Ä"},
        {"CACHE_TAG_HEADER": "X-Tags"},
        {"CACHE_TAG_HEADER": True},
    ],
)
def test_a_wrong_setting_is_an_error(config: dict[str, Any]) -> None:
    """In ``init_app``."""
    with pytest.raises(ConfigurationError, match=next(iter(config))):
        Cache(Flask(__name__), config={"CACHE_TYPE": "SimpleCache", **config})


@table("text,on", [("true", True), ("False", False), ("strict", True), ("", False)])
def test_the_setting_may_be_text(text: str, on: bool) -> None:
    """As the environment has it."""
    browser = browser_of("sync", CACHE_HTTP=text)
    browser.view()(lambda: "page")
    assert bool(browser.get().etag) is on


# --- Cache-Status (RFC 9211) ----------------------------------------------------------------------


@THREE
def test_cache_status_says_what_the_cache_did(colour: str) -> None:
    """A miss that is stored, a hit, a stale one, one past the cache, another method."""
    browser = browser_of(colour, CACHE_STATUS_HEADER="Shop 1")
    past: list[int] = []
    browser.view(
        timeout=60, stale_while_revalidate=30, methods=["GET", "POST"], unless=lambda: bool(past)
    )(lambda: "page")
    assert browser.get().headers["Cache-Status"] == '"Shop 1"; fwd=miss; stored; ttl=60'
    browser.clock.advance(20.5)
    assert browser.get().headers["Cache-Status"] == '"Shop 1"; hit; ttl=39'
    browser.clock.advance(50)
    assert browser.get().headers["Cache-Status"] == '"Shop 1"; hit; ttl=-11'
    assert browser.cache.drain(30)
    browser.clock.advance(1000)
    assert browser.get().headers["Cache-Status"] == '"Shop 1"; fwd=miss; stored; ttl=60'
    assert browser.open(method="POST").headers["Cache-Status"] == '"Shop 1"; fwd=method'
    past.append(1)
    answer = browser.get()
    assert answer.headers["Cache-Status"] == '"Shop 1"; fwd=bypass'
    assert not answer.etag and "Cache-Control" not in answer.headers
    assert browser.cache.get("view//works") == "page"  # no more is asked for than that header


@THREE
def test_cache_status_of_a_page_that_is_not_stored_or_expired(colour: str) -> None:
    """``stored`` only if it is, ``stale`` where an old page was there, ``ttl`` if it ends."""
    browser = browser_of(colour, CACHE_STATUS_HEADER=True, CACHE_HTTP=True)
    browser.view("/no", endpoint="no", response_filter=lambda _: False)(lambda: "page")
    browser.view("/ever", endpoint="ever", timeout=0)(lambda: "page")
    browser.view("/old", endpoint="old", timeout=60, stale_if_error=600)(lambda: "page")
    assert browser.get("/no").headers["Cache-Status"] == "flask_caching_async; fwd=miss"
    browser.get("/old")
    browser.clock.advance(70)
    status = browser.get("/old").headers["Cache-Status"]
    assert status == "flask_caching_async; fwd=stale; stored; ttl=60"
    assert browser.get("/ever").headers["Cache-Status"] == "flask_caching_async; fwd=miss; stored"
    assert browser.get("/ever").headers["Cache-Status"] == "flask_caching_async; hit"
    answer = browser.get("/ever", If_None_Match="*")
    assert (answer.status, answer.headers["Cache-Status"]) == (304, "flask_caching_async; hit")


@THREE
def test_cache_status_of_a_forced_page(colour: str) -> None:
    """The request did not want the one that is there."""
    browser = browser_of(colour, CACHE_STATUS_HEADER="c")
    browser.view(timeout=60, forced_update=lambda: True)(lambda: "page")
    assert browser.get().headers["Cache-Status"] == "c; fwd=miss; stored; ttl=60"
    assert browser.get().headers["Cache-Status"] == "c; fwd=request; stored; ttl=60"


@THREE
def test_cache_status_is_added_to_that_of_others(colour: str) -> None:
    """Each cache on the way adds a line."""
    browser = browser_of(colour, CACHE_STATUS_HEADER="c")
    browser.view()(lambda: ("page", {"Cache-Status": "origin; hit"}))
    browser.get()
    assert browser.get().headers.getlist("Cache-Status") == ["origin; hit", "c; hit; ttl=300"]


def test_a_follower_is_told_that_its_request_was_collapsed() -> None:
    """Another request's call of the view answered it."""
    browser, started, go = browser_of("sync", CACHE_STATUS_HEADER="c"), Event(), Event()

    def body() -> str:
        started.set()
        assert go.wait(PATIENCE)
        return "page"

    browser.view(timeout=60, http=True)(body)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(browser.get)
        assert started.wait(PATIENCE)
        follower = pool.submit(browser.get)
        until(lambda: browser.cache.stats().waits)
        go.set()
        answers = [one.result() for one in (leader, follower)]
    said = [answer.headers["Cache-Status"] for answer in answers]
    assert said == ["c; fwd=miss; stored; ttl=60", "c; fwd=miss; collapsed"]
    assert answers[0].etag == answers[1].etag != ""


# --- the directives of requests -------------------------------------------------------------------

#: A header of a request, the age of the page, and what becomes of it.
DIRECTIVES = {
    "nothing": ("", 50, "hit"),
    "no-cache": ("no-cache", 0, "computed"),
    "max-age-0": ("max-age=0", 0, "computed"),
    "max-age-is-enough": ("max-age=50", 50, "hit"),
    "max-age-is-too-little": ("max-age=49", 50, "computed"),
    "only-if-cached": ("only-if-cached", 50, "hit"),
    "only-if-cached-and-too-old": ("only-if-cached, max-age=5", 50, "504"),
    "only-if-cached-and-nothing-there": ("only-if-cached", 1000, "504"),
    "others": ("no-store, min-fresh=9, max-stale", 50, "hit"),
    "garbage": ("max-age=soon", 50, "hit"),
}


@cases(
    "said,age,fate",
    DIRECTIVES.values(),
    ids=DIRECTIVES,
    ways=EACH,
    everywhere=("nothing", "no-cache", "only-if-cached-and-nothing-there"),
)
def test_the_directives_of_a_request_count_where_that_is_strict(
    browser: Browser, said: str, age: int, fate: str
) -> None:
    """And only there."""
    browser.view("/strict", endpoint="strict", timeout=100, http="strict")(lambda: "page")
    browser.view("/plain", endpoint="plain", timeout=100, http=True)(lambda: "page")
    browser.get("/strict"), browser.get("/plain")
    browser.clock.advance(age)
    calls = browser.site.calls
    answer = browser.get("/strict", Cache_Control=said)
    assert answer.status == (504 if fate == "504" else 200)
    assert browser.site.calls == calls + (fate == "computed")
    calls = browser.site.calls
    assert browser.get("/plain", Cache_Control=said).status == 200
    assert browser.site.calls == calls + (age > 100)


@THREE
def test_pragma_counts_where_nothing_else_is_said(browser: Browser) -> None:
    """As for a browser of the last century (RFC 9111, 5.4)."""
    browser.view(http="strict")(lambda: "page")
    browser.get()
    browser.get(Pragma="no-cache")
    assert browser.site.calls == 2
    browser.get(Pragma="no-cache", Cache_Control="max-age=9")
    assert browser.site.calls == 2


# --- tags for a CDN -------------------------------------------------------------------------------

#: The header, and what it says of a page with the tags ``b c``, ``ä``, ``x,"y"`` and ``50%``.
TAGS = {
    "Cache-Tag": 'b%20c,%C3%A4,x%2C%22y%22,50%25,VIEW',
    "Surrogate-Key": 'b%20c %C3%A4 x%2C%22y%22 50%25 VIEW',
    "Cache-Groups": '"b%20c", "%C3%A4", "x%2C%22y%22", "50%25", "VIEW"',
}  # fmt: skip


@cases("header", TAGS, ways=EACH)
def test_the_tags_of_a_page_are_told_to_a_cdn(colour: str, header: str) -> None:
    """On misses and hits: the user's own, and the name of the view."""
    browser = browser_of(colour, CACHE_TAG_HEADER=header.lower())
    view = browser.view(tags=["b c", "ä", 'x,"y"', "50%"])(lambda: "page")
    name = header_name(plan_of(view).name)
    line = TAGS[header].replace("VIEW", name)
    for answer in (browser.get(), browser.get()):
        assert answer.headers[header] == line
    assert "~" not in line.replace(name, "")


@THREE
def test_tags_of_the_call_and_of_the_view_itself_are_told(colour: str) -> None:
    """Tags may be made of the arguments, and a view may have written some of its own."""
    browser = browser_of(colour, CACHE_TAG_HEADER="Cache-Tag", CACHE_HTTP=True)
    browser.view("/<name>", tags=lambda name: [name, "all"])(
        lambda name: ("page", {"Cache-Tag": "own"})
    )
    for answer in (browser.get("/a"), browser.get("/a"), browser.get("/a", If_None_Match="*")):
        assert answer.headers["Cache-Tag"].startswith("own,a,all,")


@THREE
def test_a_page_that_is_not_stored_has_no_tags(colour: str) -> None:
    """There is nothing to purge."""
    browser = browser_of(colour, CACHE_TAG_HEADER="Cache-Tag")
    browser.view(response_filter=lambda _: False, tags=["a"])(lambda: "page")
    assert "Cache-Tag" not in browser.get().headers


@given(st.lists(st.text()))
def test_a_tag_line_can_carry_any_name(names: list[str]) -> None:
    """What was joined is found again, and nothing in it ends a line or a string."""
    told = list(dict.fromkeys(names))
    for header, between in (("Cache-Tag", ","), ("Surrogate-Key", " "), ("Cache-Groups", ", ")):
        line = tag_line(header, "", names)
        assert line.isascii() and (line.isprintable() or not line)
        parts = [part.strip('"') for part in line.split(between)] if told else []
        assert [unquote(part, errors="surrogatepass") for part in parts] == told


def test_a_tag_line_names_each_tag_once() -> None:
    """Two tags may be one in the header."""
    assert tag_line("Cache-Tag", "", ["a", "b", "a"]) == "a,b"
    assert tag_line("Surrogate-Key", "x", ["a"]) == "x a"


# --- wherever pages are stored --------------------------------------------------------------------


@cases("form", ["response", "text"])
def test_pages_have_their_etag_on_each_backend(
    app: Flask, any_cache: Cache, colour: str, form: str
) -> None:
    """It goes with the page, whatever form that has there."""
    site = Site(app, any_cache, colour)
    site.view(timeout=60, http=True)(lambda: "page" if form == "text" else Response("page"))
    first = site.get()
    second = site.get(headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, second.data, site.calls) == (304, b"", 1)
    assert any_cache.get("view//works").headers["ETag"] == first.headers["ETag"]


@THREE
def test_pages_have_their_etag_with_another_serializer(colour: str, tmp_path: Path) -> None:
    """JSON knows no responses; the envelope does."""
    browser = browser_of(
        colour,
        CACHE_TYPE="FileSystemCache", CACHE_DIR=str(tmp_path), CACHE_SERIALIZER=JSONSerializer,
    )  # fmt: skip
    browser.view(timeout=60, http=True)(lambda: "page")
    etag = browser.get().etag
    browser.clock.advance(5)
    answer = browser.get(If_None_Match=etag)
    assert (answer.status, answer.headers["Age"], browser.site.calls) == (304, "5", 1)


def test_a_def_view_of_quart_has_pages() -> None:
    """Quart calls it in a thread, where its response is made and its note is left."""
    browser = browser_of(QUART, CACHE_STATUS_HEADER="c")
    assert isinstance(browser.site, QuartSite)
    browser.site.face = Face(browser.cache, "sync")
    browser.view(timeout=60, http=True, vary_on="X-A")(lambda: {"a": 1})
    first = browser.get()
    answer = browser.get(If_None_Match=first.etag)
    assert (answer.status, answer.headers["Vary"], browser.site.calls) == (304, "X-A", 1)
    assert answer.headers["Cache-Status"] == "c; hit; ttl=60"


def test_a_view_of_a_blueprint_has_pages() -> None:
    """The functions that the blueprint calls after a request come before the cache's word, too."""
    browser = browser_of("sync")
    shop = Blueprint("shop", __name__)
    shop.add_url_rule("/works", "works", browser.cache.cached(60, http=True)(lambda: "page"))

    @shop.after_request
    def change(answer: Any) -> Any:
        if "X-Change" in request.headers:
            answer.set_data("another page")
        return answer

    browser.app.register_blueprint(shop)
    etag = browser.get().etag
    assert browser.get(If_None_Match=etag).status == 304
    assert browser.get(If_None_Match=etag, X_Change="1").body == b"another page"


def test_an_app_is_told_once_however_many_caches_and_views_it_has() -> None:
    """Each response is looked at once."""
    browser = browser_of("sync")
    other = Cache(browser.app, config={"CACHE_TYPE": "SimpleCache"})
    browser.view("/one", endpoint="one", http=True)(lambda: "one")
    browser.app.add_url_rule("/two", "two", other.cached(60, http=True)(lambda: "two"))
    etags = [browser.get(path).etag for path in ("/one", "/two")]
    first = browser.app.process_response
    for path, etag in zip(("/one", "/two"), etags, strict=True):
        assert browser.get(path, If_None_Match=etag).status == 304
    assert browser.app.process_response is first


def test_an_answer_that_is_none_is_as_before() -> None:
    """It is no page, stored or not."""
    browser = browser_of("sync")
    view = browser.cache.cached(60, http=True, cache_none=True)(lambda: None)
    browser.app.add_url_rule("/works", "works", lambda: str(view()))
    assert [browser.get().body for _ in range(2)] == [b"None"] * 2
