"""What is read is seen, whichever way it is read; what nobody reads makes nothing personal."""

from __future__ import annotations

import copy
import json
import operator
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import flask
import pytest
import quart
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask.views import MethodView

from flask_caching_async import Cache
from flask_caching_async.pages.reads import BASE, Reads
from flask_caching_async.testing import FakeClock
from support.visitors import HOSTS, Pages, pages, told
from support.waiting import until

__all__ = ["pages"]

NAMES = ("ann", "bob", "ann", "bob")


def ask_both(pages: Pages, path: str = "/works") -> list[str]:
    """What Ann and Bob get, twice."""
    visitors = {name: pages.visitor(name) for name in ("ann", "bob")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [visitors[name].get(path) for name in NAMES]


# --- what was read before the view ----------------------------------------------------------------


def noted_of(kind: Any, name: str, early: bool) -> set[str]:
    """What a view is seen to read that asks a request for one attribute.

    :param early: whether somebody has asked for it before.
    """
    pages = Pages("quart" if kind is quart.Request else "sync")
    found: list[Reads] = []

    def read() -> None:
        try:
            answer = getattr(pages.web.request, name)
            answer.close() if hasattr(answer, "close") else None
        except Exception:  # noqa: S110
            pass

    if early:
        pages.before(read)

    def body() -> str:
        with pages.cache._binding().framework.recorded() as reads:
            read()
        found.append(reads)
        return ""

    pages.app.add_url_rule("/works", "works", pages.dye(body))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pages.visitor().get(headers={"Content-Type": "text/plain; a=b", "X-Forwarded-For": "1"})
    pages.close()
    return found[0].names


@pytest.mark.parametrize("kind", [flask.Request, quart.Request], ids=["flask", "quart"])
def test_what_was_read_before_the_view_hides_no_read_of_the_view(kind: Any) -> None:
    """Requests keep what they have parsed once."""
    for name in dir(kind):
        if name[0] != "_" and not callable(getattr(kind, name)):
            late, early = noted_of(kind, name, False), noted_of(kind, name, True)
            late -= {"scheme"} if name == "host" else set()  # of older versions
            assert late <= early or "body" in early, name


def test_flashes_that_were_fetched_before_the_view_are_its_visitors(pages: Pages) -> None:
    """The framework keeps them for the rest of the request."""

    def flash() -> Any:
        if "user" in pages.web.session:
            return pages.web.flash(pages.web.session["user"])

    if pages.is_quart:

        async def aflash() -> None:
            if "user" in pages.web.session:
                await flash()
                pages.web.get_flashed_messages()

        pages.app.before_request(aflash)
    else:
        pages.before(lambda: (flash(), pages.web.get_flashed_messages()) and None)
    pages.view()(lambda: " ".join(pages.web.get_flashed_messages()))
    assert ask_both(pages) == [*NAMES] and pages.calls == 4


@pytest.mark.parametrize("rule", ["/works", "/<user>"], ids=["added", "replaced"])
def test_what_was_put_among_the_arguments_carries_what_had_been_read(
    pages: Pages, rule: str
) -> None:
    """As by a preprocessor of URL values, under a name of its own or under that of the URL."""

    @pages.app.url_value_preprocessor
    def put(endpoint: Any, values: Any) -> None:
        if endpoint == "works":
            values["user"] = pages.web.session.get("user")

    pages.view(rule)(lambda user: str(user))
    assert ask_both(pages) == [*NAMES]


@pytest.mark.parametrize("read", [lambda r: r.view_args, vars], ids=["asked for", "vars"])
def test_a_part_of_a_page_carries_it_when_it_asks_for_the_arguments(
    pages: Pages, read: Callable[..., Any]
) -> None:
    """It is given none; a part that does not ask is for all."""

    @pages.app.url_value_preprocessor
    def put(endpoint: Any, values: Any) -> None:
        if endpoint == "works":
            values["user"] = pages.web.session.get("user")

    def own() -> str:
        found = read(pages.web.request)
        return str(found.get("view_args", found)["user"])

    part = pages.cache.cached(key_prefix="own")(pages.dye(own))
    other = pages.cache.cached(key_prefix="all")(pages.dye(pages.counted(lambda: "!")))

    async def awaited(user: str) -> Any:
        return await part() + await other()

    def called(user: str) -> Any:
        return part() + other()

    pages.app.add_url_rule("/<user>", "works", awaited if pages.is_async else called)
    assert ask_both(pages) == [f"{name}!" for name in NAMES] and pages.calls == 1


@pytest.mark.parametrize("late", [False, True], ids=["watched", "watched late"])
def test_an_argument_that_other_code_made_of_the_url_makes_no_page_personal(
    pages: Pages, late: bool
) -> None:
    """As where a work is fetched by its number; whatever had been read, or not watched, before."""
    if late:
        pages.app.request_class = pages.web.Request

    @pages.app.url_value_preprocessor
    def fetch(endpoint: Any, values: Any) -> None:
        if endpoint == "works" and not late:
            values["number"] = object()

    pages.view("/<int:number>")(lambda number: "work")
    with told() as found:
        assert [pages.visitor().get(f"/{n}") for n in (1, 1, 2)] == ["work"] * 3
    assert pages.calls == 2 and found == []


def test_an_argument_that_the_url_gave_is_in_the_key(pages: Pages) -> None:
    """Also where a preprocessor has taken it out, or made something else of it."""

    @pages.app.url_value_preprocessor
    def pull(endpoint: Any, values: Any) -> None:
        if endpoint == "works":
            pages.web.g.language = values.pop("language")
            values["number"] = [values.pop("n")]

    pages.view("/<language>/<int:n>")(lambda number: f"{pages.web.g.language} {number[0]}")
    with told() as found:
        assert pages.visitor().get("/de/1") == pages.visitor().get("/de/1") == "de 1"
        assert pages.visitor().get("/en/1") == "en 1"
    assert pages.calls == 2 and found == []


def test_an_error_page_is_made_from_what_was_read_before(pages: Pages) -> None:
    """There is no rule then, but a part of it may be cached."""

    def language() -> None:
        pages.web.g.language = pages.web.request.headers.get("X-Language")

    pages.before(language)
    footer = pages.cache.cached(key_prefix="footer")(
        pages.dye(pages.counted(lambda: str(pages.web.g.language)))
    )

    async def on_quart(error: Any) -> Any:
        return await footer(), 404

    def on_error(error: Any) -> Any:
        answer = footer()
        return answer, 404

    pages.app.register_error_handler(404, on_quart if pages.is_async else on_error)
    german, english = (pages.visitor(headers={"X-Language": said}) for said in ("de", "en"))
    said = [visitor.get("/nowhere") for visitor in (german, english) * 2]
    assert said == ["de", "en"] * 2 and pages.calls == 2


# --- old pages ------------------------------------------------------------------------------------


def test_a_refresh_takes_along_what_g_was_made_from(pages: Pages) -> None:
    """A decorator above the cache has set it; it is not called for a refresh."""
    clock = FakeClock()
    clock.install(pages.cache)

    def above(view: Any) -> Any:
        def wrapper() -> Any:
            pages.web.g.user = pages.web.session.get("user")
            return view()

        return pages.dye(wrapper)

    def body() -> str:
        return "first" if pages.calls == 1 else str(pages.web.g.user)

    pages.view(timeout=10, stale_while_revalidate=100, above=above)(body)
    ann, bob = pages.visitor("ann"), pages.visitor("bob")
    assert ann.get() == "first"
    clock.advance(20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert ann.get() == "first"
        until(lambda: pages.cache.stats().computed == 2)
        assert bob.get() in ("first", "bob")


def test_a_refresh_finds_out_what_else_selects(pages: Pages) -> None:
    """It stores the page where it belongs."""
    clock = FakeClock()
    clock.install(pages.cache)

    def body() -> str:
        return "first" if pages.calls == 1 else str(pages.web.request.headers.get("X-Language"))

    pages.view(timeout=10, stale_while_revalidate=100)(body)
    german, english = (pages.visitor(headers={"X-Language": said}) for said in ("de", "en"))
    assert german.get() == "first"
    clock.advance(20)
    assert german.get() == "first"
    until(lambda: pages.cache.stats().stored == 2)
    assert english.get() in ("en", "first")
    assert [german.get(), english.get()] == ["de", "en"]


# --- classes of one's own -------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_classes_that_were_set_after_the_cache_are_watched(host: str) -> None:
    """Those of requests and of ``g``."""
    pages = Pages(host)

    class Request(pages.web.Request):  # type: ignore[name-defined, misc]
        @property
        def language(self) -> str:
            return str(self.headers.get("X-Language"))

    class Globals:
        def __contains__(self, name: str) -> bool:
            return name in self.__dict__

    pages.app.request_class = Request
    pages.app.app_ctx_globals_class = Globals

    def load() -> None:
        pages.web.g.user = pages.web.session.get("user")

    pages.before(load)
    pages.view()(lambda: str(pages.web.request.language))
    pages.view("/mine", endpoint="mine")(lambda: str(pages.web.g.user))
    german, english = (pages.visitor(headers={"X-Language": said}) for said in ("de", "en"))
    assert [visitor.get() for visitor in (german, english) * 2] == ["de", "en"] * 2
    assert pages.calls == 2
    assert ask_both(pages, "/mine") == [*NAMES]
    pages.close()


class OwnSession(dict[str, Any], SessionMixin):
    """With an attribute of its own."""

    user: Any = None


class OwnInterface(SecureCookieSessionInterface):
    """Pickles its sessions, and compares them with what they were."""

    def open_session(self, app: Any, request: Any) -> Any:
        name = request.cookies.get("session", "")
        session = OwnSession({"user": name} if name else {})
        session.user = name
        session.before = copy.deepcopy(dict(session))  # type: ignore[attr-defined]
        return session

    def save_session(self, app: Any, session: Any, response: Any) -> None:
        for protocol in (0, 2, 5):
            again = pickle.loads(pickle.dumps(session, protocol))
            assert type(again) is OwnSession and again.user == session.user
            assert dict(again) == dict(session) and BASE not in vars(again)
        assert dict(copy.deepcopy(session)) == dict(copy.copy(session)) == dict(session)
        if session.get("user") and session.get("user") != session.user:
            response.set_cookie("session", session["user"])


@pytest.mark.parametrize("read", ["attribute", "item", "nothing"])
def test_sessions_of_another_kind_are_watched(read: str) -> None:
    """With attributes of their own; they can still be pickled and copied."""
    pages = Pages("sync")
    pages.app.session_interface = OwnInterface()
    reads = {
        "attribute": lambda: str(pages.web.session.user),
        "item": lambda: str(pages.web.session["user"]),
        "nothing": lambda: "page",
    }
    pages.view()(reads[read])
    said = ask_both(pages)
    assert said == (["page"] * 4 if read == "nothing" else [*NAMES])
    assert pages.calls == (1 if read == "nothing" else 4)


WHOLE: dict[str, Callable[[Any], Any]] = {
    "json": lambda session: json.loads(json.dumps(dict(session)))["user"],
    "json-as-it-is": lambda session: json.loads(json.dumps(session._get_current_object()))["user"],
    "format": lambda session: operator.mod("%(user)s", session._get_current_object()),
    "format-map": lambda session: "{user}".format_map(session._get_current_object()),
    "keywords": lambda session: dict(**session)["user"],
    "unequal": lambda session: {True: "ann", False: "bob"}[
        session._get_current_object() != {"user": "bob"}
    ],
    "deepcopy": lambda session: copy.deepcopy(session._get_current_object())["user"],
    "reversed": lambda session: session[next(reversed(session._get_current_object()))],
    "or": lambda session: ({} | session._get_current_object())["user"],
    "matched": lambda session: _matched(session._get_current_object()),
}


def _matched(session: Any) -> Any:
    match session:
        case {"user": name}:
            return name


@pytest.mark.parametrize("how", WHOLE)
def test_a_session_is_read_as_a_whole(how: str) -> None:
    """By what knows that it is a dictionary."""
    pages = Pages("sync")
    pages.view()(lambda: str(WHOLE[how](pages.web.session)))
    assert ask_both(pages) == [*NAMES]


ENVIRONS: dict[str, Callable[[Any], Any]] = {
    "item": lambda environ: environ["my.user"],
    "get": lambda environ: environ.get("my.user"),
    "dict": lambda environ: dict(environ)["my.user"],
    "copy": lambda environ: environ.copy()["my.user"],
    "shallow": lambda environ: copy.copy(environ)["my.user"],
    "or": lambda environ: (environ | {})["my.user"],
    "ror": lambda environ: ({} | environ)["my.user"],
    "text": lambda environ: "ann" if "'my.user': 'ann'" in repr(environ) else "bob",
    "pop": lambda environ: environ.pop("my.user"),
    "setdefault": lambda environ: environ.setdefault("my.user", ""),
    "keywords": lambda environ: {**environ}["my.user"],
    "values": lambda environ: next(v for v in environ.values() if v in ("ann", "bob")),
}


@pytest.mark.parametrize("how", ENVIRONS)
def test_an_environment_is_read(how: str) -> None:
    """Of which a middleware has made something."""
    pages = Pages("sync")
    wsgi = pages.app.wsgi_app

    def with_user(environ: Any, start: Any) -> Any:
        return wsgi({**environ, "my.user": environ.get("HTTP_X_NAME", "")}, start)

    pages.app.wsgi_app = with_user
    pages.view()(lambda: str(ENVIRONS[how](pages.web.request.environ)))
    visitors = {name: pages.visitor(headers={"X-Name": name}) for name in ("ann", "bob")}
    with told() as found:
        assert [visitors[name].get() for name in NAMES] == [*NAMES]
    assert pages.calls == 4 and len(found) >= 1


def test_a_session_is_written_in_place() -> None:
    """Everybody gets a cookie."""
    pages = Pages("sync")

    def body() -> str:
        session = pages.web.session._get_current_object()
        session |= {"seen": 1}
        return str(pages.calls)

    pages.view()(body)
    assert ask_both(pages) == ["1", "2", "3", "4"]


def test_an_app_without_a_secret_key_has_no_sessions() -> None:
    """What it reads there is nothing; who writes is told."""
    pages = Pages("sync")
    pages.app.secret_key = None
    pages.view()(lambda: str(pages.web.session.get("user")))
    with told():
        assert pages.visitor().get() == "None"


# --- templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_an_external_url_in_a_template_that_was_there_before_the_cache(host: str) -> None:
    """Its environment has ``url_for`` from then on."""
    pages = Pages(host)
    app: Any = (quart.Quart if pages.is_quart else flask.Flask)(__name__)
    app.jinja_env.filters["loud"] = str.upper
    pages.app, pages.cache = app, Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    pages.view()(lambda: pages.render("{{ url_for('works', _external=True) }}"))
    first, second = (pages.visitor(headers={"Host": name}) for name in ("a.example", "b.example"))
    said = [visitor.get() for visitor in (first, second) * 2]
    assert said == ["http://a.example/works", "http://b.example/works"] * 2 and pages.calls == 2
    pages.close()


@pytest.mark.parametrize("source", ["items()", "values()", "get_all().values()"])
def test_a_function_that_is_given_all_variables(source: str) -> None:
    """By ``pass_context``, of which a page may show everything."""
    import jinja2

    pages = Pages("sync")
    pages.app.context_processor(lambda: {"user": pages.web.session.get("user")})

    @pages.app.template_global()
    @jinja2.pass_context
    def all_of_it(context: Any) -> str:
        pairs = list(eval(f"context.{source}", {"context": context}))
        said = [one[-1] if isinstance(one, tuple) else one for one in pairs]
        return " ".join(one for one in said if one in ("ann", "bob"))

    pages.view()(lambda: pages.render("{{ all_of_it() }}"))
    said = ask_both(pages)
    assert [name in text for name, text in zip(NAMES, said, strict=True)] == [True] * 4


# --- views of all kinds ---------------------------------------------------------------------------


def test_a_head_request_leaves_a_page_for_the_same_get(pages: Pages) -> None:
    """And for no other one."""
    pages.view()(lambda: str(pages.web.request.args.get("page")))
    visitor = pages.visitor()
    visitor.get("/works?page=1", method="HEAD")
    assert [visitor.get(f"/works?page={page}") for page in "212"] == ["2", "1", "2"]
    assert pages.calls == 2


@pytest.mark.parametrize("session", [True, False])
def test_the_methods_of_a_class_are_watched(session: bool) -> None:
    """As views are."""
    pages = Pages("sync")

    class Works(MethodView):
        @pages.cache.cached()
        def get(self) -> str:
            return str(flask.session["user"] if session else flask.request.args.get("page"))

    pages.app.add_url_rule("/works", view_func=Works.as_view("works"))
    if session:
        assert ask_both(pages) == [*NAMES]
    else:
        assert [pages.visitor().get(f"/works?page={n}") for n in "121"] == ["1", "2", "1"]


@pytest.mark.parametrize("session", [True, False])
def test_a_plain_view_of_quart_is_watched(session: bool) -> None:
    """In its thread."""
    pages = Pages("quart")

    def works() -> str:
        pages.calls += 1
        return str(quart.session["user"] if session else quart.request.args.get("page"))

    pages.app.add_url_rule("/works", "works", pages.cache.cached()(works))
    if session:
        assert ask_both(pages) == [*NAMES]
    else:
        assert [pages.visitor().get(f"/works?page={n}") for n in "121"] == ["1", "2", "1"]
        assert pages.calls == 2
    pages.close()


def test_what_a_view_streams_is_read_in_it(pages: Pages) -> None:
    """A generator is joined while it counts."""
    if pages.is_quart:

        def body() -> Any:
            async def lines() -> Any:
                yield str(pages.web.session.get("user"))

            return lines()

        pages.app.add_url_rule("/works", "works", pages.cache.cached()(pages.dye(body)))
    else:

        def body() -> Any:
            def lines() -> Any:
                yield str(pages.web.session.get("user"))

            return flask.stream_with_context(lines())

        pages.view()(body)
    assert ask_both(pages) == [*NAMES]


def test_two_apps_that_share_a_cache_object_know_their_own_pages() -> None:
    """Each has its own warnings, too."""
    cache, said = Cache(), []
    for number in range(2):
        app = flask.Flask(f"app{number}")
        app.secret_key = "secret"
        cache.init_app(app, config={"CACHE_TYPE": "SimpleCache"})
        said.append(app)

    @cache.cached()
    def works() -> str:
        return str(flask.session.get("user"))

    with told() as found:
        for app in said:
            app.add_url_rule("/works", "works", works)
            for _ in range(2):
                assert app.test_client().get("/works").get_data(as_text=True) == "None"
    assert len(found) == 2


def test_a_request_context_without_a_request_is_watched() -> None:
    """As in a test, or a shell."""
    pages = Pages("sync")
    view = pages.view()(lambda: str(flask.session.get("user")))
    for name in NAMES:
        with told(), pages.app.test_request_context("/works"):
            flask.session["user"] = name
            assert view() == name


def test_a_request_within_a_request_is_another_one() -> None:
    """What it reads is not what the page around it reads."""
    pages = Pages("sync")
    pages.view("/inner", endpoint="inner")(lambda: str(pages.web.request.args.get("page")))
    pages.view()(lambda: pages.app.test_client().get("/inner?page=7").get_data(as_text=True))
    with told() as found:
        assert {pages.visitor().get(f"/works?page={n}") for n in "12"} == {"7"}
    assert pages.calls == 2 and found == []


# --- what the cache itself does -------------------------------------------------------------------


def test_a_helper_that_says_that_it_hit_changes_nothing_of_its_page(pages: Pages) -> None:
    """Its header is no change that the view wants to make."""
    helper = pages.cache.cached(key_prefix="k", response_hit_indication=True)(
        pages.dye(lambda: "helper")
    )
    pages.view()(lambda: helper())
    pages.view("/other", endpoint="other")(lambda: helper())
    visitor = pages.visitor()
    with told() as found:
        assert [visitor.get(path) for path in ("/works", "/other") * 2] == ["helper"] * 4
    assert pages.calls == 2 and found == []


def test_what_the_cache_asks_of_a_request_is_not_what_its_view_reads(pages: Pages) -> None:
    """Signals, callbacks that make no key, and deletions within a view."""
    other = pages.view("/other", endpoint="other", query_string=True, vary_on="X-A")(
        lambda: "other"
    )

    async def aview() -> str:
        await pages.cache.adelete_cached(other, "/other?a=1")
        return "page"

    def view() -> str:
        pages.cache.delete_cached(other, "/other?a=1")
        return "page"

    pages.view(
        forced_update=lambda: bool(pages.web.request.args.get("force")),
        response_filter=lambda response: bool(pages.web.request.path),
        timeout=lambda response: 60 if pages.web.request.args else 60,
        tags=lambda: ["tag"] if pages.web.request.args else ["tag"],
    )(aview if pages.is_async else view)
    with told() as found:
        said = {pages.visitor("ann").get(f"/works?tag={n}") for n in (1, 2, 1)}
    assert said == {"page"} and pages.calls == 1 and found == []


def test_what_makes_the_key_of_one_part_is_no_input_of_another(pages: Pages) -> None:
    """It is the cache that has asked for it, and not what ``g`` was made from."""
    pages.before(lambda: setattr(pages.web.g, "site", ["site"]))
    web, cache = pages.web, pages.cache

    def footer() -> str:
        pages.calls += 1
        return str(web.g.site)

    parts = [
        cache.cached(key_prefix="news", query_string=True)(pages.dye(lambda: "news")),
        cache.cached(key_prefix="footer", vary_on=["X-A"])(pages.dye(footer)),
    ]

    async def aview() -> str:
        return "".join([await part() for part in parts])

    view = aview if pages.is_async else lambda: "".join([part() for part in parts])
    pages.app.add_url_rule("/works", "works", view)
    visitor = pages.visitor()
    assert {visitor.get(f"/works?n={n}") for n in "121"} == {"news['site']"}
    assert pages.calls == 1


def test_what_a_refresh_takes_of_the_environment_is_read_by_nobody(pages: Pages) -> None:
    """A part that reads ``g`` after a stale one was renewed behind it is shared as before."""
    clock = FakeClock()
    clock.install(pages.cache)
    pages.before(lambda: setattr(pages.web.g, "site", ["site"]))
    web, cache = pages.web, pages.cache
    old = cache.cached(1, key_prefix="old", stale_while_revalidate=600)(pages.dye(lambda: "old"))

    def footer() -> str:
        pages.calls += 1
        return str(web.g.site)

    new = cache.cached(key_prefix="new")(pages.dye(footer))

    async def aview() -> str:
        return await old() + await new()

    pages.app.add_url_rule("/works", "works", aview if pages.is_async else lambda: old() + new())
    visitor = pages.visitor()
    with told() as found:
        assert visitor.get() == "old['site']"
        clock.advance(2)
        cache.delete("new")
        assert [visitor.get() for _ in range(2)] == ["old['site']"] * 2
    assert found == [] and pages.calls == 2
    assert cache.drain(10)


# --- websockets -----------------------------------------------------------------------------------


READ_IN_WEBSOCKETS: dict[str, Callable[[], Any]] = {
    "session": lambda: quart.session.get("user"),
    "g": lambda: quart.g.user,
    "argument": lambda: quart.websocket.args.get("name"),
    "header": lambda: quart.websocket.headers.get("X-Name"),
}


@pytest.mark.parametrize("what", READ_IN_WEBSOCKETS)
def test_who_comes_by_a_websocket_is_a_visitor(what: str) -> None:
    """What a cached function has made of them is theirs, and what selects selects."""
    pages = Pages("quart")

    @pages.app.before_websocket
    async def load() -> None:
        quart.g.user = quart.session.get("user")

    @pages.cache.cached(key_prefix="hello")
    async def hello() -> str:
        pages.calls += 1
        return str(READ_IN_WEBSOCKETS[what]())

    @pages.app.websocket("/talk")
    async def talk() -> None:
        await quart.websocket.send(await hello())

    async def ask(visitor: Any, name: str) -> str:
        headers = {"X-Name": name}
        async with visitor.client.websocket(f"/talk?name={name}", headers=headers) as socket:
            return str(await socket.receive())

    visitors = {name: pages.visitor(name) for name in ("ann", "bob")}
    with told() as found:
        assert [pages.run(ask(visitors[name], name)) for name in NAMES] == [*NAMES]
    personal = what in ("session", "g")
    assert pages.calls == (4 if personal else 2) and bool(found) == personal
    pages.close()
