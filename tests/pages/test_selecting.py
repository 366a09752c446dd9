"""What a request says selects a page: by itself, for each value of what the view reads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import pickle
import threading
from collections.abc import Callable
from copy import copy, deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from werkzeug.datastructures import Headers

from flask_caching_async.serializers import JSONSerializer, MsgpackSerializer
from support.backends import OURS, SHARED, ServerBackend, config_for, config_of_ours
from support.params import cases
from support.visitors import HOSTS, Pages, Visitor, pages, redis_pages, told
from support.waiting import PATIENCE, at_once, together, until

__all__ = ["pages", "redis_pages"]


class Selecting(NamedTuple):
    """Something that selects a page.

    :param read: reads it of the request.
    :param asks: two ways to ask, whose pages differ.
    :param same: one more, which is to get the page of the first one.
    """

    read: Callable[[Pages], Any]
    asks: tuple[dict[str, Any], dict[str, Any]]
    same: dict[str, Any]


def _of(header: str, first: str, second: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"headers": {header: first}}, {"headers": {header: second}}


def _request(read: Callable[[Any], Any]) -> Callable[[Pages], Any]:
    return lambda pages: read(pages.web.request)


PAGES = ({"path": "/works?page=1"}, {"path": "/works?page=2"})
MORE = {"path": "/works?more=1&page=1"}
ALL = {"path": "/works?page=1", "headers": {"X-Other": "1"}}
LANGUAGES = _of("Accept-Language", "de", "en")
HOSTED = _of("Host", "a.example", "b.example")

SELECTING: dict[str, Selecting] = {
    "args": Selecting(_request(lambda r: r.args.get("page")), PAGES, MORE),
    "args-item": Selecting(_request(lambda r: r.args["page"]), PAGES, MORE),
    "args-list": Selecting(_request(lambda r: r.args.getlist("page")), PAGES, MORE),
    "args-typed": Selecting(_request(lambda r: r.args.get("page", 1, type=int)), PAGES, MORE),
    "args-all": Selecting(_request(lambda r: r.args.to_dict()), PAGES, ALL),
    "args-unpacked": Selecting(_request(lambda r: {**r.args}), PAGES, ALL),
    "args-copied": Selecting(_request(lambda r: copy(r.args)["page"]), PAGES, ALL),
    "args-deeply": Selecting(_request(lambda r: deepcopy(r.args)["page"]), PAGES, ALL),
    "args-pickled": Selecting(
        _request(lambda r: pickle.loads(pickle.dumps(r.args))["page"]), PAGES, ALL
    ),
    "args-text": Selecting(_request(lambda r: str(r.args)), PAGES, ALL),
    "args-equal": Selecting(_request(lambda r: r.args == {"page": ["1"]}), PAGES, ALL),
    "query-string": Selecting(_request(lambda r: r.query_string), PAGES, ALL),
    "full-path": Selecting(_request(lambda r: r.full_path), PAGES, ALL),
    "url": Selecting(_request(lambda r: r.url), PAGES, ALL),
    "header": Selecting(
        _request(lambda r: r.headers.get("X-A")), _of("x-a", "1", "2"),
        {"headers": {"X-A": "1", "X-B": "3"}},
    ),
    "header-item": Selecting(
        _request(lambda r: r.headers["X-A"]), _of("X-A", "1", "2"), {"headers": {"X-A": "1"}}
    ),
    "header-there": Selecting(
        _request(lambda r: "X-A" in r.headers), (*_of("X-A", "1", "")[:1], {}),
        {"headers": {"X-A": "1"}},
    ),
    "header-getlist": Selecting(
        _request(lambda r: r.headers.getlist("X-A")), _of("X-A", "1", "2"),
        {"headers": {"X-A": "1"}},
    ),
    "languages": Selecting(
        _request(lambda r: r.accept_languages.best_match(["de", "en"])), LANGUAGES,
        {"headers": {"Accept-Language": "de", "User-Agent": "x"}},
    ),
    "mimetypes": Selecting(
        _request(lambda r: r.accept_mimetypes.accept_json), _of("Accept", "a/b", "*/*"),
        {"headers": {"Accept": "a/b"}},
    ),
    "user-agent": Selecting(
        _request(lambda r: r.user_agent.string), _of("User-Agent", "a", "b"),
        {"headers": {"User-Agent": "a", "Accept": "x/y"}},
    ),
    "if-none-match": Selecting(
        _request(lambda r: r.if_none_match.contains("a")), _of("If-None-Match", '"a"', '"b"'),
        {"headers": {"If-None-Match": '"a"'}},
    ),
    "cache-control": Selecting(
        _request(lambda r: r.cache_control.no_cache), _of("Cache-Control", "no-cache", "x"),
        {"headers": {"Cache-Control": "no-cache"}},
    ),
    "content-type": Selecting(
        _request(lambda r: r.mimetype), _of("Content-Type", "a/b", "c/d"),
        {"headers": {"Content-Type": "a/b"}},
    ),
    "json": Selecting(
        _request(lambda r: r.is_json), _of("Content-Type", "application/json", "c/d"),
        {"headers": {"Content-Type": "application/json"}},
    ),
    "host": Selecting(_request(lambda r: r.host), HOSTED, {**HOSTED[0], "path": "/works?a=1"}),
    "host-header": Selecting(
        _request(lambda r: r.headers["Host"]), HOSTED, {**HOSTED[0], "path": "/works?a=1"}
    ),
    "url-root": Selecting(_request(lambda r: r.url_root), HOSTED, HOSTED[0]),
    "base-url": Selecting(_request(lambda r: r.base_url), HOSTED, HOSTED[0]),
    "external-url": Selecting(
        lambda pages: pages.web.url_for("works", _external=True), HOSTED, HOSTED[0]
    ),
    "external-in-a-template": Selecting(
        lambda pages: pages.render("{{ url_for('works', _external=True) }}"), HOSTED, HOSTED[0]
    ),
    "scheme-url": Selecting(
        lambda pages: pages.web.url_for("works", _external=True, _scheme="ftp"), HOSTED, HOSTED[0]
    ),
    "redirected": Selecting(
        lambda pages: pages.web.make_response(pages.web.request.url_root), HOSTED, HOSTED[0]
    ),
    "in-a-template": Selecting(
        lambda pages: pages.render("{{ request.args.page }}"), PAGES, MORE
    ),
    "in-a-loop": Selecting(
        lambda pages: pages.render("{% for p in request.args.values() %}{{ p }}{% endfor %}"),
        PAGES, ALL,
    ),
}  # fmt: skip


def _secure(pages: Pages) -> tuple[dict[str, Any], dict[str, Any]]:
    if pages.is_quart:
        return {"scheme": "http"}, {"scheme": "https"}
    return {"base_url": "http://localhost"}, {"base_url": "https://localhost"}


def asked(visitor: Visitor, ask: dict[str, Any]) -> str:
    """What is said to who asks so."""
    ask = dict(ask)
    return visitor.get(ask.pop("path", "/works"), **ask)


async def _text(answer: Any) -> Any:
    if asyncio.iscoroutine(answer):
        answer = await answer
    return answer if hasattr(answer, "headers") else str(answer)


def body_of(pages: Pages, read: Callable[[Pages], Any]) -> Callable[[], Any]:
    """A body that says what it has read."""
    if pages.is_quart:
        return lambda: _text(read(pages))

    def body() -> Any:
        answer = read(pages)
        return answer if hasattr(answer, "headers") else str(answer)

    return body


@cases(
    "what",
    SELECTING,
    ways=("pages", HOSTS),
    whole=("sync", "quart"),  # whose requests differ
    everywhere=("args", "header", "host", "external-in-a-template", "redirected", "in-a-loop"),
)
def test_a_page_is_given_to_who_asks_in_the_same_way(pages: Pages, what: str) -> None:
    """Nobody had to think of a key; what is not read makes no difference; each is computed once."""
    read, (first, second), same = SELECTING[what]
    pages.view()(body_of(pages, read))
    visitor = pages.visitor("ann")
    with told() as found:
        said = [asked(visitor, ask) for ask in (first, first, second, second, same, first)]
    assert said[0] == said[1] == said[4] == said[5] and said[2] == said[3] != said[0]
    assert pages.calls == 2 and found == []


def test_the_scheme_selects(pages: Pages) -> None:
    """Of which ``url_for(_external=True)`` says something."""
    pages.view()(body_of(pages, lambda pages: pages.web.request.is_secure))
    pages.view("/url", endpoint="url")(
        body_of(pages, lambda pages: pages.web.url_for("url", _external=True))
    )
    visitor = pages.visitor()
    plain, secure = _secure(pages)
    for path in ("/works", "/url"):
        said = [visitor.get(path, **ask) for ask in (plain, secure, plain, secure)]
        assert said[0] == said[2] != said[1] == said[3]
    assert pages.calls == 4


def test_the_address_selects(pages: Pages) -> None:
    """And what says who the client of a proxy is."""
    pages.view()(lambda: str(pages.web.request.remote_addr))
    visitor = pages.visitor()
    asks: list[dict[str, Any]] = [
        {"scope_base": {"client": (address, 1)}}
        if pages.is_quart
        else {"environ_base": {"REMOTE_ADDR": address}}
        for address in ("1.2.3.4", "5.6.7.8")
    ]
    said = [visitor.get(**ask) for ask in asks * 2]
    assert said == ["1.2.3.4", "5.6.7.8"] * 2 and pages.calls == 2


def test_a_cookie_selects_by_its_name(pages: Pages) -> None:
    """Others do not."""
    pages.view()(lambda: str(pages.web.request.cookies.get("theme")))
    visitors = [pages.visitor(name) for name in ("ann", "bob", "carol")]
    for visitor, theme in zip(visitors, ("dark", "light", "dark"), strict=True):
        if pages.is_quart:
            visitor.client.set_cookie("localhost", "theme", theme)
        else:
            visitor.client.set_cookie("theme", theme)
    with told() as found:
        assert [v.get() for v in visitors * 2] == ["dark", "light", "dark"] * 2
    assert pages.calls == 2 and found == []


@pytest.mark.parametrize("vary", ["X-Language", "Accept, x-language ,X-B"])
def test_vary_says_what_else_selects(pages: Pages, vary: str) -> None:
    """Though nobody saw the view read it."""
    heard: list[str] = []
    pages.app.before_request(
        pages.dye(lambda: heard.append(pages.web.request.headers.get("X-Language", "")))
    )
    pages.view()(lambda: (heard[-1], {"Vary": vary}))
    visitor = pages.visitor()
    said = [visitor.get(headers={"X-Language": said}) for said in ("de", "en") * 2]
    assert said == ["de", "en"] * 2 and pages.calls == 2


def test_vary_on_everything_is_stored_for_nobody(pages: Pages) -> None:
    """Nothing is warned of: it was the view's own word."""
    pages.view()(lambda: (str(pages.calls), {"Vary": "*"}))
    with told() as found:
        assert [pages.visitor().get() for _ in range(2)] == ["1", "2"]
    assert found == []


def test_the_place_where_an_app_is_mounted_selects(pages: Pages) -> None:
    """What is at the root keeps its key."""
    pages.view()(lambda: pages.web.url_for("works"))
    visitor = pages.visitor()

    def at(root: str) -> str:
        if pages.is_quart:
            return visitor.get(f"{root}/works", root_path=root)
        return visitor.get("/works", environ_overrides={"SCRIPT_NAME": root})

    assert [at(root) for root in ("", "/a", "/b") * 2] == ["/works", "/a/works", "/b/works"] * 2
    assert pages.calls == 3
    assert pages.cache.get("view//works") == "/works"


# --- keys -----------------------------------------------------------------------------------------


def test_a_page_that_reads_nothing_keeps_its_key(pages: Pages) -> None:
    """``view/<path>``, by which programs look and delete."""
    pages.view()(lambda: "page")
    assert pages.visitor("ann").get("/works?a=1") == "page"
    assert pages.cache.get("view//works") == "page"


def test_what_marks_a_page_that_varies_is_no_value(pages: Pages) -> None:
    """For who looks under its key by hand; who puts a page there is obeyed."""
    pages.view()(lambda: str(pages.web.request.args.get("page")))
    visitor = pages.visitor()
    assert visitor.get("/works?page=1") == "1"
    assert pages.cache.get("view//works") is None
    assert not pages.cache.has("view//works")
    assert pages.cache.get_many("view//works", "other") == [None, None]
    pages.cache.set("view//works", "by hand")
    assert visitor.get("/works?page=1") in ("1", "by hand")
    assert visitor.get("/works?page=3") == "by hand"
    assert pages.cache.add("view//works", "again") is False


WAYS: dict[str, Callable[[Pages, Any], Any]] = {
    "view": lambda pages, view: pages.cache.delete_cached(view),
    "path": lambda pages, view: pages.cache.delete_cached(view, "/works"),
    "key": lambda pages, view: pages.cache.delete("view//works"),
    "keys": lambda pages, view: pages.cache.delete_many("view//works", "other"),
    "tag": lambda pages, view: pages.cache.delete_tags("tag"),
    "all": lambda pages, view: pages.cache.clear(),
}


@cases("host", ["sync", "quart"])
@cases("kind,way", itertools.product(["RedisCache", "SimpleCache"], WAYS))
def test_what_deletes_a_page_deletes_its_variants(
    request: pytest.FixtureRequest, host: str, way: str, kind: str
) -> None:
    """All that were ever stored."""
    config = {} if kind == "SimpleCache" else ServerBackend(kind, request.getfixturevalue).config
    pages = Pages(host, config)

    def body() -> str:
        args, headers = pages.web.request.args, pages.web.request.headers
        more = headers.get("X-Language") if args.get("page") == "1" else ""
        return f"{args.get('page')}{more} {pages.calls}"

    view = pages.view(tags=["tag"])(body)
    german, english = (pages.visitor(headers={"X-Language": said}) for said in ("de", "en"))

    def said() -> list[str]:
        return [v.get(f"/works?page={page}") for page in "21" for v in (german, english)]

    first = ["2 1", "2 1", "1de 2", "1en 3"]
    assert said() == said() == first
    WAYS[way](pages, view)
    assert said() == said() == [f"{text.split()[0]} {int(text[-1]) + 3}" for text in first]
    WAYS[way](pages, view)
    assert german.get("/works?page=2") == "2 7"
    pages.close()


# --- processes ------------------------------------------------------------------------------------


def commands_of(server: Any, ask: Callable[[], Any]) -> int:
    """How many commands a Redis is given meanwhile."""

    def count() -> int:
        return int(server.ask("INFO", "stats")["total_commands_processed"])

    before = count()
    ask()
    return count() - before


def test_another_process_learns_of_the_entry_what_selects(
    redis_pages: Pages, redis_server: Any
) -> None:
    """And then hits with one look."""
    first, second = redis_pages, Pages(redis_pages.host, redis_pages.config)
    for site in (first, second):

        def works(site: Pages = site) -> str:
            return f"{site.web.request.args.get('page')} {site is first}"

        site.view()(lambda works=works: works())
    second.view("/plain", endpoint="plain")(lambda: "plain")
    assert [first.visitor().get(f"/works?page={page}") for page in "12"] == ["1 True", "2 True"]
    visitor = second.visitor()
    assert [visitor.get(f"/works?page={page}") for page in "12"] == ["1 True", "2 True"]
    assert [visitor.get("/plain"), visitor.get("/plain")] == ["plain"] * 2
    plain, varied = (
        commands_of(redis_server, lambda path=path: visitor.get(path))
        for path in ("/plain", "/works?page=1")
    )
    assert varied == plain and (first.calls, second.calls) == (2, 1)
    second.close()


# --- hits -----------------------------------------------------------------------------------------


def test_what_was_computed_is_a_hit_for_the_next_one(pages: Pages) -> None:
    """The request that finds out what selects the page stores it there."""
    pages.view()(lambda: str(pages.web.request.args.get("page")))
    assert [pages.visitor().get("/works?page=1") for _ in range(3)] == ["1"] * 3
    assert pages.calls == 1 and pages.cache.stats().hits == 2


def test_a_list_of_names_is_what_counts_of_a_query_string(pages: Pages) -> None:
    """In any order; of what else the view reads of it, its programmer has said that it does not."""
    pages.view(query_string=["page", "size"])(
        lambda: f"{pages.web.request.args.get('page')} {len(pages.web.request.url)}"
    )
    visitor = pages.visitor()
    queries = ("page=1", "page=1&other=2", "page=2&size=1", "size=1&page=2&a=b", "page=1&size=1")
    said = [visitor.get(f"/works?{query}")[0] for query in queries]
    assert said == ["1", "1", "2", "2", "1"] and pages.calls == 3


def test_a_page_that_branches_has_variants_of_variants(pages: Pages) -> None:
    """One header counts only where another one is missing."""

    def body() -> str:
        headers = pages.web.request.headers
        return str(headers.get("X-A") or headers.get("X-B") or headers.get("X-C"))

    pages.view()(body)
    visitor = pages.visitor()
    asks = [
        {"X-A": "1"}, {"X-B": "2"}, {"X-C": "3"}, {"X-A": "1", "X-B": "9"}, {"X-B": "4"}, {},
        {"X-B": "2", "X-C": "7"}, {"X-C": "5"},
    ]  # fmt: skip
    expected = ["1", "2", "3", "1", "4", "None", "2", "5"]
    with told() as found:
        assert [visitor.get(headers=ask) for ask in asks] == expected
        calls = pages.calls
        assert [visitor.get(headers=ask) for ask in asks * 2] == expected * 2
    assert calls == pages.calls == 6 and found == []


@pytest.mark.parametrize("host", ["sync", "quart"])
def test_made_up_queries_push_out_nothing_that_others_use(host: str) -> None:
    """``CACHE_VARIANTS`` bounds what is stored of one page."""
    pages = Pages(host, {"CACHE_VARIANTS": 5})
    pages.view()(lambda: f"{pages.web.request.args.get('page')} {pages.calls}")
    visitor = pages.visitor()
    used = [f"/works?page={page}" for page in range(3)]
    first = [visitor.get(path) for path in used]
    for n in range(50):
        visitor.get(f"/works?page=made-up-{n}")
    assert [visitor.get(path) for path in used] == first
    # One that is asked for again gets a place, of the oldest.
    again = [visitor.get("/works?page=new") for _ in range(3)]
    assert again[0] != again[1] == again[2]
    pages.close()


@pytest.mark.parametrize("host", ["sync", "quart"])
def test_a_view_that_reads_something_else_each_time_is_answered_and_not_stored_for_ever(
    host: str,
) -> None:
    """Its keys do not grow with each request; those of a page that reads much have all of it."""
    pages = Pages(host)
    pages.view()(lambda: str(pages.web.request.headers.get(f"X-{pages.calls}")))
    pages.view("/form", endpoint="form")(
        lambda: str([pages.web.request.args.get(f"field{n}") for n in range(20)])
    )
    visitor = pages.visitor()
    assert {visitor.get() for _ in range(40)} == {"None"}

    def learned() -> dict[str, tuple[str, ...]]:
        states = [plan.last for plan in pages.cache._views if plan.last is not None]
        return {key: names for state in states for key, names in state.learned.names.items()}

    assert max(map(len, learned())) < 400
    calls = pages.calls
    for _ in range(2):
        said = [visitor.get(f"/form?field3={n}") for n in (1, 2)]
        assert said == [str([None] * 3 + [str(n)] + [None] * 16) for n in (1, 2)]
    assert pages.calls == calls + 2
    assert learned()["view//form"] == ("args",)
    pages.close()


# --- parts of pages -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SimpleCache", "RedisCache"])
@pytest.mark.parametrize("host", ["sync", "quart"])
def test_what_a_part_was_made_from_counts_for_its_page(
    request: pytest.FixtureRequest, host: str, kind: str
) -> None:
    """Also where it comes from the cache."""
    config = {} if kind == "SimpleCache" else ServerBackend(kind, request.getfixturevalue).config
    pages = Pages(host, config)
    part = pages.cache.cached(key_prefix="part")(
        pages.dye(lambda: str(pages.web.request.args.get("page")))
    )
    keyed = pages.cache.cached(key_prefix="keyed", query_string=True)(
        pages.dye(lambda: str(pages.web.request.args.get("page")))
    )
    vary = pages.cache.cached(key_prefix="vary", vary_on="X-Page")(
        pages.dye(lambda: str(pages.web.request.headers.get("X-Page")))
    )
    prefix = pages.cache.cached(key_prefix=lambda: str(pages.web.request.args.get("page")))(
        pages.dye(lambda: str(pages.web.request.args.get("page")))
    )
    for name, helper in {"part": part, "keyed": keyed, "vary": vary, "prefix": prefix}.items():
        pages.app.add_url_rule(f"/plain/{name}", f"plain-{name}", helper)
        pages.view(f"/{name}", endpoint=name)(lambda helper=helper: helper())
    visitors = [pages.visitor(headers={"X-Page": page}) for page in "12"]
    for name in ("part", "keyed", "vary", "prefix"):
        for path in (f"/plain/{name}", f"/{name}", f"/{name}"):
            asks = zip("12", visitors, strict=True)
            said = [visitor.get(f"{path}?page={page}") for page, visitor in asks]
            assert said == ["1", "2"], path
    pages.close()


def test_a_part_of_a_template_counts_for_its_page(pages: Pages) -> None:
    """``{% cache %}`` has the key that its writer gave it."""
    source = "{% cache 60, 'part', request.args.page %}{{ request.args.page }}{% endcache %}"
    pages.view()(lambda: pages.render(source))
    visitor = pages.visitor()
    assert [visitor.get(f"/works?page={page}") for page in "1212"] == ["1", "2"] * 2


# --- threads and tasks ----------------------------------------------------------------------------


def _in_thread(read: Callable[[], Any], inherit: bool) -> Any:
    found: list[Any] = []
    context = contextvars.copy_context() if inherit else contextvars.Context()
    thread = threading.Thread(target=lambda: found.append(context.run(read)))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("inherit", [True, False], ids=["inherits", "has-nothing"])
def test_a_thread_of_a_view_reads_for_it(pages: Pages, inherit: bool) -> None:
    """Whether it has the view's context or was given the request."""

    def body() -> str:
        request = pages.web.request._get_current_object()
        return str(_in_thread(lambda: request.args.get("page"), inherit))

    pages.view()(body)
    visitor = pages.visitor()
    assert [visitor.get(f"/works?page={page}") for page in "1212"] == ["1", "2"] * 2
    assert pages.calls == 2


@pytest.mark.parametrize("host", ["async", "quart"])
@pytest.mark.parametrize("how", ["task", "to_thread", "gather", "executor"])
def test_a_task_of_a_view_reads_for_it(host: str, how: str) -> None:
    """As does what it hands to a thread."""
    pages = Pages(host)

    def read() -> str:
        return str(pages.web.request.args.get("page"))

    async def aread() -> str:
        await asyncio.sleep(0)
        return read()

    async def body() -> str:
        if how == "task":
            return await asyncio.create_task(aread())
        if how == "gather":
            return (await asyncio.gather(aread(), aread()))[1]
        if how == "to_thread":
            return await asyncio.to_thread(read)
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(None, run, read)

    pages.view()(body)
    visitor = pages.visitor()
    assert [visitor.get(f"/works?page={page}") for page in "1212"] == ["1", "2"] * 2
    assert pages.calls == 2
    pages.close()


def test_many_ask_at_once_for_pages_that_vary() -> None:
    """Threads that learn at the same time what selects a page."""
    pages = Pages("sync")

    def body() -> str:
        args = pages.web.request.args
        return f"{args.get('page')} {args.get('b') if args.get('page') != '0' else ''}"

    pages.view()(body)
    counter = iter(range(10**6))

    def ask() -> list[tuple[str, str]]:
        client, found = pages.app.test_client(), []
        for _ in range(20):
            n = next(counter) % 9
            said = client.get(f"/works?page={n % 3}&b={n}").get_data(as_text=True)
            found.append((said, f"{n % 3} {n if n % 3 else ''}"))
        return found

    for found in at_once(8, ask):
        for said, expected in found:
            assert said == expected


# --- backends and serializers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "host"),
    [
        *itertools.product(OURS, ["sync", "async", "quart"]),
        # Below the framework Quart goes the way of async.
        *itertools.product(["cachelib"], ["sync", "async"]),
        ("sync-only", "sync"),
        ("async-only", "async"),
    ],
)
def test_each_backend_keeps_what_marks_a_page_that_varies(
    request: pytest.FixtureRequest, tmp_path: Path, host: str, kind: str
) -> None:
    """Another process reads it there."""
    if kind in OURS:
        config = config_of_ours(kind, tmp_path, request.getfixturevalue)
    else:
        config = config_for(kind, tmp_path)
    sites = [Pages(host, config), Pages(host, config)]
    shared = kind in SHARED
    for site in sites:
        site.view()(lambda site=site: str(site.web.request.args.get("page")))
        said = [site.visitor().get(f"/works?page={page}") for page in "1212"]
        assert said == ["1", "2"] * 2
    assert [one.calls for one in sites] == [2, 0 if shared else 2]
    assert sites[1].cache.delete("view//works")
    assert sites[0].visitor().get("/works?page=1") == "1"
    assert sites[0].calls == (3 if shared else 2)
    for site in sites:
        site.close()


@pytest.mark.parametrize("serializer", [JSONSerializer, MsgpackSerializer])
def test_each_serializer_writes_what_marks_a_page_that_varies(
    request: pytest.FixtureRequest, serializer: Any
) -> None:
    """Though it is no value."""
    config = ServerBackend("RedisCache", request.getfixturevalue).config
    pages = Pages("sync", {**config, "CACHE_SERIALIZER": serializer()})
    pages.view()(lambda: str(pages.web.request.args.get("page")))
    assert [pages.visitor().get(f"/works?page={page}") for page in "1212"] == ["1", "2"] * 2
    assert pages.calls == 2
    pages.close()


# --- deleting by what selects ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        lambda pages, view: pages.cache.delete_cached(view, "/works?page=1"),
        lambda pages, view: pages.cache.delete_cached(view, "/works", {"page": 1}),
        lambda pages, view: pages.cache.delete_cached(view, query_args={"page": 1}),
    ],
    ids=["path", "path-and-arguments", "arguments"],
)
def test_a_page_is_deleted_by_its_query_string(pages: Pages, how: Any) -> None:
    """Whichever way it is told."""
    view = pages.view()(lambda: f"{pages.web.request.args.get('page')} {pages.calls}")
    visitor = pages.visitor()
    assert [visitor.get(f"/works?page={page}") for page in "12"] == ["1 1", "2 2"]
    with pages.app.test_request_context("/") if not pages.is_quart else contextlib.nullcontext():
        assert how(pages, view)
    assert visitor.get("/works?page=1") == "1 3"


# --- learning more while a page is computed -------------------------------------------------------


def test_who_waits_for_a_variant_does_not_get_one_of_more_inputs() -> None:
    """Others may have learned meanwhile, for the same key, what else selects."""
    pages = Pages("sync")
    begun, go = threading.Event(), threading.Event()

    def body() -> str:
        args = pages.web.request.args
        said = args.get("a", "")
        if args.get("slow"):
            begun.set()
            assert go.wait(PATIENCE)
            said += args.get("b", "")
        return said

    pages.view()(body)
    visitor = pages.visitor()
    assert visitor.get("/works?a=0") == "0"
    state = pages.cache._binding().states.values()
    (learned,) = [one.learned for one in state]
    learned.names["view//works"] = ("arg:a",)  # as another process has marked it

    def ask(b: str) -> Callable[[], str]:
        return lambda: pages.visitor().get(f"/works?a=1&slow=1&b={b}")

    def teach() -> str:
        assert begun.wait(PATIENCE)
        until(lambda: pages.cache.stats().waits)
        learned.learn("view//works", {"arg:b", "arg:slow"})
        go.set()
        return ""

    assert sorted(together(ask("1"), ask("2"), teach)) == ["", "11", "12"]


def test_a_key_callback_that_reads_one_name_has_not_all_of_them() -> None:
    """The view around it reads the whole query string."""
    pages = Pages("sync")
    pages.view(vary_on=lambda: pages.web.request.args.get("page"))(
        lambda: str(sorted(pages.web.request.args.items()))
    )
    visitor = pages.visitor()
    said = [visitor.get(f"/works?page=1&more={more}") for more in "1212"]
    assert said[0] == said[2] != said[1] == said[3] and pages.calls == 2


@pytest.mark.parametrize("options", [{}, {"vary_on": "X-A"}], ids=["by-itself", "vary_on"])
def test_a_header_that_comes_several_times_selects_by_all_of_them(options: Any) -> None:
    """As ASGI gives them."""
    pages = Pages("quart")
    pages.view(**options)(lambda: ",".join(pages.web.request.headers.getlist("X-A")))

    async def ask(*values: str) -> str:
        headers = Headers([("X-A", value) for value in values])
        response = await pages.visitor().client.get("/works", headers=headers)
        return str(await response.get_data(as_text=True))

    said = [pages.run(ask(*text)) for text in ("12", "13", "1", "", "12", "13", "1", "")]
    assert said == ["1,2", "1,3", "1", ""] * 2 and pages.calls == 4
    pages.close()
