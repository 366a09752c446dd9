"""The dashboard on Flask and Quart: who is let in, what is shown, what the buttons do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import flask
import pytest
import quart
from flask import Flask
from quart import Quart

from flask_caching_async import Cache, ConfigurationError
from flask_caching_async.insight.dashboard import dashboard
from support.dashboards import Visitor, visitor_of

pytestmark = pytest.mark.asyncio

FRAMEWORKS = ("flask", "quart")
on_both = pytest.mark.parametrize("framework", FRAMEWORKS)
EVIL = "<script>alert('&')</script>"


def module(framework: str) -> Any:
    """Flask or Quart."""
    return quart if framework == "quart" else flask


def add_view(visitor: Visitor, path: str = "/works/<int:number>", **options: Any) -> list[int]:
    """A cached view of the app's own colour; the numbers that it was asked for."""
    asked: list[int] = []

    def works(number: int = 0) -> str:
        asked.append(number)
        return f"work {number}"

    async def aworks(number: int = 0) -> str:
        return works(number)

    function = aworks if visitor.is_quart else works
    function.__qualname__ = "works"
    function.__module__ = "shop"
    visitor.app.get(path)(visitor.cache.cached(**options)(function))
    return asked


# --- who is let in --------------------------------------------------------------------------------


@pytest.mark.parametrize("authorize", [None, True, "admin", lambda user: True])
async def test_there_is_no_dashboard_without_a_callable_that_authorizes(authorize: Any) -> None:
    """It says what to write, before anything is registered."""
    cache = Cache(config={"CACHE_TYPE": "SimpleCache"})
    with pytest.raises(ConfigurationError, match=r"authorize=lambda: current_user"):
        dashboard(cache, authorize=authorize)
    with pytest.raises(TypeError, match="is given a Cache"):
        dashboard(Flask("shop"), authorize=lambda: True)


PAGES = (("GET", "/"), ("GET", "/figures"), ("GET", "/dashboard.js"), ("POST", "/act"))


async def refused(visitor: Visitor, status: int) -> None:
    """Every page is refused with this status, and shows nothing of the cache."""
    visitor.cache.set("a secret key", 1)
    for method, page in (*PAGES, ("OPTIONS", "/"), ("HEAD", "/")):
        got = await visitor.open(method, page)
        assert got.status == status, page
        assert "SimpleCache" not in got.text and "a secret" not in got.text
        if status != 500:  # that is the app's own answer
            assert got.headers["Cache-Control"] == "private, no-store"


@on_both
async def test_who_is_not_authorized_sees_nothing(framework: str) -> None:
    """False, nothing, and an empty answer are all a no."""
    for answer in (False, None, 0, "", ()):
        await refused(visitor_of(framework, lambda answer=answer: answer), 403)


@on_both
async def test_an_async_authorize_is_awaited_and_never_taken_for_a_yes(framework: str) -> None:
    """A coroutine is true, whatever it would return: also that of a lambda."""

    async def yes() -> bool:
        return True

    async def no() -> bool:
        return False

    for denied in (no, lambda: no()):
        await refused(visitor_of(framework, denied), 403)
    for allowed in (yes, lambda: yes()):
        assert (await visitor_of(framework, allowed).get()).status == 200


@on_both
async def test_an_authorize_that_fails_lets_nobody_in(framework: str) -> None:
    """So does one that yields, which would be true whatever it says."""

    def broken() -> bool:
        raise LookupError("no database")

    def yields() -> Any:
        yield False

    for function in (broken, yields):
        await refused(visitor_of(framework, function), 500)


@on_both
async def test_authorize_may_answer_itself(framework: str) -> None:
    """A redirect, an abort, and what a view may return are sent, and let nobody in."""
    web = module(framework)
    await refused(visitor_of(framework, lambda: web.redirect("/login")), 302)
    await refused(visitor_of(framework, lambda: web.abort(401)), 401)
    await refused(visitor_of(framework, lambda: ("sign in first", 401)), 401)


@on_both
async def test_authorize_finds_the_request(framework: str) -> None:
    """It decides by what the visitor sent."""
    web = module(framework)
    visitor = visitor_of(framework, lambda: web.request.headers.get("X-Admin") == "yes")
    assert (await visitor.get()).status == 403
    assert (await visitor.get(headers={"X-Admin": "yes"})).status == 200


async def test_a_user_of_flask_login_is_let_in() -> None:
    """As the documentation has it."""
    from flask_login import FlaskLoginClient, LoginManager, UserMixin, current_user

    class User(UserMixin):
        id, is_admin = "1", True

    def prepare(app: Flask) -> None:
        LoginManager(app).user_loader(lambda user_id: User())
        app.test_client_class = FlaskLoginClient

    def is_admin() -> bool:
        return current_user.is_authenticated and current_user.is_admin

    visitor = visitor_of("flask", is_admin, prepare=prepare)
    assert (await visitor.get()).status == 403
    visitor.client = visitor.app.test_client(user=User())
    assert (await visitor.get()).status == 200


# --- what is shown --------------------------------------------------------------------------------


@on_both
async def test_each_use_has_a_row_with_its_figures(framework: str) -> None:
    """On the page, and in what its script asks for."""
    visitor = visitor_of(framework)
    add_view(visitor)
    for _ in range(4):
        await visitor.get("//works/7")
    text = (await visitor.get()).text
    row = text[text.index('data-name="shop.works"') :].partition("</tr>")[0]
    assert '<td data-key="calls" data-value="4">4</td>' in row and "75.0\u00a0%" in row
    got = await visitor.get("/figures")
    found = json.loads(got.text)
    (row,) = [row for row in found["rows"] if row["name"] == "shop.works"]
    assert (row["kind"], row["calls"], row["hits"], row["ratio"]) == ("view", 4, 3, 0.75)
    assert found["totals"]["calls"] == 4 and found["backend"]["state"] == "ok"
    assert sum(number for _, number in found["compute"]["buckets"]) == 1
    assert got.headers["Content-Type"] == "application/json"


@on_both
async def test_the_table_can_be_sorted_without_a_script(framework: str) -> None:
    """A button in the head of each column loads the page, sorted by it one way or the other."""
    visitor = visitor_of(framework)
    for name in ("b", "a", "c"):
        visitor.cache.memoize(make_name=lambda _, name=name: name)(_named(name))()
    for order, names in (("name-up", "abc"), ("name", "cba"), ("nonsense", None)):
        text = (await visitor.get(f"/?sort={order}")).text
        found = [text.index(f'data-name="lab.{name}"') for name in sorted("abc")]
        if names:
            assert "".join(sorted("abc", key=lambda n: found["abc".index(n)])) == names
        assert ("aria-sort" in text) is bool(names)


def _named(name: str) -> Callable[[], int]:
    def function() -> int:
        return 1

    function.__qualname__, function.__module__ = name, "lab"
    return function


@on_both
async def test_what_is_not_stored_is_shown_with_its_cause(framework: str) -> None:
    """In a sentence, with the functions that it happened to."""
    visitor = visitor_of(framework)
    visitor.cache.memoize()(_named("nothing"))
    visitor.cache.memoize(unless=lambda: True)(_named("passed"))()
    text = (await visitor.get()).text
    assert "unless said that the call bypasses the cache" in text and "lab.passed" in text
    text = (await visitor.get("/?kind=function&name=lab.passed")).text
    assert text.count("unless said that the call bypasses the cache") == 2


@on_both
async def test_all_that_is_shown_is_escaped(framework: str) -> None:
    """Names of fragments and functions, keys, tags, paths, errors, and what is asked for."""
    visitor = visitor_of(framework)
    visitor.cache.set(f"key {EVIL}", 1, tags=[f"tag {EVIL}"])
    visitor.cache.memoize()(_named(f"f{EVIL}"))()
    render = "{% cache 30, name %}x{% endcache %}".replace("name", f'"{EVIL}"')
    web = module(framework)
    if visitor.is_quart:
        async with visitor.app.app_context():
            await web.render_template_string(render)
    else:
        with visitor.app.app_context():
            web.render_template_string(render)
    texts = [(await visitor.get()).text, (await visitor.get("/figures")).text]
    for kind, name in (("function", f"lab.f{EVIL}"), ("fragment", EVIL), ("explicit", "set")):
        asked = urlencode({"kind": kind, "name": name, "path": f"/{EVIL}", "sort": EVIL})
        texts.append((await visitor.get(f"/?{asked}")).text)
    texts.append((await visitor.get("/?" + urlencode({"kind": EVIL, "name": EVIL}))).text)
    for action in ("delete-key", "delete-tag", "delete-use", "refresh", EVIL):
        texts.append((await visitor.act(action, key=EVIL, tag=EVIL, kind=EVIL, name=EVIL)).text)
    for text in texts:
        assert "<script>alert" not in text
    assert sum("script&gt;alert" in text for text in texts) >= len(texts) - 2


@on_both
async def test_a_page_says_which_policy_it_has_and_is_stored_nowhere(framework: str) -> None:
    """Nothing foreign may run, and nobody may frame it."""
    visitor = visitor_of(framework)
    for page in ("/", "/figures", "/dashboard.css", "/dashboard.js"):
        got = await visitor.get(page)
        assert got.status == 200
        assert got.headers["Cache-Control"] == "private, no-store", page
        assert got.headers["Vary"].startswith("*")
        policy = got.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert got.headers["X-Frame-Options"] == "DENY"
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Referrer-Policy"] == "same-origin"
    text = (await visitor.get()).text
    assert not any(word in text for word in ("style=", "onclick", "http:", "https:"))


@on_both
@pytest.mark.parametrize("config", [{}, {"CACHE_STORE_PRIVATE": True}])
async def test_an_app_that_caches_all_its_views_stores_no_page_of_it(
    framework: str, config: dict[str, Any]
) -> None:
    """Not even where private answers may be stored."""
    visitor = visitor_of(framework, **config)
    cached = visitor.cache.cached(timeout=60)
    functions = visitor.app.view_functions
    for name, view in list(functions.items()):
        functions[name] = cached(view)
    before = len(visitor.cache.cache.memory)
    for page in ("/", "/", "/figures", "/figures"):
        assert (await visitor.get(page)).status == 200
    assert len(visitor.cache.cache.memory) == before
    assert "Deleted 'x'" in (await _delete_x(visitor)).told


async def _delete_x(visitor: Visitor, **more: Any) -> Any:
    visitor.cache.set("x", 1)
    return await visitor.act("delete-key", key="x", **more)


@on_both
async def test_several_caches_have_a_dashboard_each(framework: str) -> None:
    """Under names and paths of their own; a button acts on its own cache."""
    visitor = visitor_of(framework)
    second = Cache(visitor.app, config={"CACHE_TYPE": "SimpleCache"})
    more = dashboard(second, authorize=lambda: True, name="second", url_prefix="/second")
    visitor.app.register_blueprint(more)
    other = Visitor(visitor.app, second, "/second")
    second.set("x", 2)
    assert (await _delete_x(visitor)).told == "Deleted 'x'."
    assert (visitor.cache.get("x"), second.get("x")) == (None, 2)
    assert second.name in (await other.get()).text


async def test_one_dashboard_may_serve_apps_of_both_frameworks() -> None:
    """It is the app that it is registered on that counts; also below another blueprint."""
    cache = Cache(config={"CACHE_TYPE": "SimpleCache"})
    board = dashboard(cache, authorize=lambda: True)
    for app, web in ((Flask("a"), flask), (Quart("b"), quart)):
        parent: Any = web.Blueprint("ops", "ops", url_prefix="/ops")
        parent.register_blueprint(board)
        app.register_blueprint(parent)
        cache.init_app(app)
        assert (await Visitor(app, cache, "/ops/cache").get()).status == 200


# --- what the buttons do --------------------------------------------------------------------------


@on_both
@pytest.mark.parametrize("secret", ["a secret", None])
async def test_a_button_without_the_right_token_does_nothing(
    framework: str, secret: str | None
) -> None:
    """None, a wrong one, another browser's, and one without its cookie; all are 400."""
    visitor = visitor_of(framework, secret=secret)
    other = Visitor(visitor.app, visitor.cache)
    visitor.cache.set("x", 1)
    good, theirs = await visitor.token(), await other.token()
    for token in ("", "wrong", f"{good}0", theirs, good.partition(".")[0] + ".é"):
        form = {"action": "delete-key", "key": "x", "token": token}
        got = await visitor.open("POST", "/act", form)
        assert got.status == 400 and "token" in got.told
    visitor.client = visitor.app.test_client()
    form = {"action": "delete-key", "key": "x", "token": good}
    assert (await visitor.open("POST", "/act", form)).status == 400
    assert (await visitor.open("POST", "/act")).status == 400
    assert visitor.cache.get("x") == 1
    assert (await visitor.act("delete-key", key="x")).told == "Deleted 'x'."
    assert (await visitor.open("GET", "/act")).status == 405


@on_both
async def test_a_form_of_another_site_does_nothing(framework: str) -> None:
    """Whatever token it carries: browsers say where a form comes from."""
    visitor = visitor_of(framework)
    for headers in (
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        got = await _delete_x(visitor, headers=headers)
        assert got.status == 400 and "sent from" in got.told
        assert visitor.cache.get("x") == 1
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}):
        assert (await _delete_x(visitor, headers=headers)).told == "Deleted 'x'."


@on_both
async def test_the_cookie_of_the_token_is_the_pages_own(framework: str) -> None:
    """No script reads it, no other site sends it, and by HTTPS it stays there."""
    visitor = visitor_of(framework)
    cookie = (await visitor.get()).headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path" not in cookie
    assert "Secure" not in cookie
    assert "Set-Cookie" not in (await visitor.get()).headers
    scheme = {"scheme": "https"} if visitor.is_quart else {"base_url": "https://localhost"}
    assert (
        "Secure" in (await Visitor(visitor.app, visitor.cache).get(**scheme)).headers["Set-Cookie"]
    )


@on_both
async def test_what_was_done_is_said_once_and_nobody_else_can_say_it(framework: str) -> None:
    """It comes with a signed cookie, not with the address."""
    visitor = visitor_of(framework)
    assert (await _delete_x(visitor)).told == "Deleted 'x'."
    assert (await visitor.get()).told == ""
    forged = {"Cookie": "flask_caching_dashboard_told=WzEsICJoYWNrZWQiXQ.00"}
    assert "hacked" not in (await Visitor(visitor.app, visitor.cache).get(headers=forged)).text


@on_both
async def test_a_key_and_a_tag_are_deleted(framework: str) -> None:
    """What was not there is said to be nothing."""
    visitor = visitor_of(framework)
    visitor.cache.set("a", 1, tags=["t"])
    visitor.cache.set("b", 1)
    assert (await visitor.act("delete-tag", tag="t")).told.startswith("Dropped all entries")
    assert (visitor.cache.get("a"), visitor.cache.get("b")) == (None, 1)
    assert (await visitor.act("delete-key", key="b")).told == "Deleted 'b'."
    assert (await visitor.act("delete-key", key="b")).told == "Nothing was stored under 'b'."
    for action in ("delete-key", "delete-tag"):
        assert "None was given" in (await visitor.act(action)).told


@on_both
async def test_all_values_of_a_view_or_a_function_are_deleted(framework: str) -> None:
    """And those of no other; an unknown name is said to be one."""
    visitor = visitor_of(framework)
    asked = add_view(visitor)
    f = visitor.cache.memoize()(_named("f"))
    for _ in range(2):
        await visitor.get("//works/1")
        f()
    got = await visitor.act("delete-use", kind="view", name="shop.works", back="use")
    assert got.told == "Dropped all that shop.works had stored." and 'id="use"' in got.text
    await visitor.get("//works/1")
    assert asked == [1, 1]
    assert (await visitor.act("delete-use", kind="function", name="lab.f")).told
    f()
    found = visitor.cache.stats(by="function")
    assert (found["lab.f"].computed, found["lab.f"].invalidations) == (2, 1)
    assert found["shop.works"].invalidations == 1
    for kind, name in (("view", "nothing"), ("explicit", "set"), ("", "")):
        told = (await visitor.act("delete-use", kind=kind, name=name)).told
        assert told.startswith("There is no view or function")


@on_both
async def test_clearing_must_be_confirmed(framework: str) -> None:
    """On the server, too: a form without it does nothing."""
    visitor = visitor_of(framework)
    visitor.cache.set("a", 1)
    assert "Nothing was cleared" in (await visitor.act("clear")).told
    assert visitor.cache.get("a") == 1
    assert (await visitor.act("clear", confirmed="yes")).told.startswith("Cleared")
    assert visitor.cache.get("a") is None


@on_both
async def test_a_page_is_refreshed_by_its_path(framework: str) -> None:
    """A view of the app's own colour; what is stored is what the next visitor gets."""
    visitor = visitor_of(framework)
    asked = add_view(visitor)
    await visitor.get("//works/3")
    got = await visitor.act("refresh", kind="view", name="shop.works", path="/works/3")
    assert got.told == "Computed /works/3 anew, and stored it."
    assert asked == [3, 3]
    assert (await visitor.get("//works/3")).text == "work 3" and asked == [3, 3]


async def test_views_of_both_colours_are_refreshed() -> None:
    """An async one on Flask, a sync one on Quart."""
    flasks, quarts = visitor_of("flask"), visitor_of("quart")

    @flasks.app.get("/page")
    @flasks.cache.cached()
    async def apage() -> str:
        return "page"

    @quarts.app.get("/page")
    @quarts.cache.cached()
    def page() -> str:
        return "page"

    for visitor, view in ((flasks, apage), (quarts, page)):
        name = f"{__name__}.{view.__qualname__}"
        assert 'value="/page"' in (await visitor.get(f"/?kind=view&name={name}")).text
        told = (await visitor.act("refresh", kind="view", name=name, path="/page")).told
        assert told == "Computed /page anew, and stored it."


@on_both
async def test_a_refresh_that_fails_says_why(framework: str) -> None:
    """No path of the view, an error of the view, and a page that is not stored."""
    visitor = visitor_of(framework)
    add_view(visitor, response_filter=lambda value: False)

    def broken() -> str:
        raise ArithmeticError(f"cannot {EVIL}")

    broken.__qualname__, broken.__module__ = "broken", "shop"
    visitor.app.get("/broken")(visitor.cache.cached()(broken))
    for name, path, said in (
        ("works", "works/3", "begins with one slash"),
        ("works", "//evil.example/", "begins with one slash"),
        ("works", "/elsewhere", "no view answers '/elsewhere'"),
        ("works", "/broken", "does not lead to shop.works"),
        ("works", "/works/3", "response_filter"),
        ("broken", "/broken", f"ArithmeticError: cannot {EVIL}"),
        ("unknown", "/broken", "no view called 'shop.unknown'"),
    ):
        got = await visitor.act("refresh", kind="view", name=f"shop.{name}", path=path)
        assert said in got.told and 'role="alert"' in got.text, path


@on_both
async def test_an_unknown_action_is_refused(framework: str) -> None:
    """With 400, since no button of the page asks for it."""
    got = await visitor_of(framework).act("drop-tables")
    assert (got.status, got.told) == (400, "There is no action 'drop-tables'.")


@on_both
@pytest.mark.parametrize("on_error", ["log", "raise"])
async def test_nothing_is_reported_as_done_while_the_backend_is_down(
    framework: str, on_error: str
) -> None:
    """The page is there, says how the backend is, and what is pending."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": "redis://127.0.0.1:1/0"}
    visitor = visitor_of(framework, CACHE_ON_ERROR=on_error, **config)
    add_view(visitor)
    for action, form in (
        ("delete-key", {"key": "x"}),
        ("delete-tag", {"tag": "x"}),
        ("delete-use", {"kind": "view", "name": "shop.works"}),
        ("clear", {"confirmed": "yes"}),
        ("refresh", {"kind": "view", "name": "shop.works", "path": "/works/1"}),
    ):
        got = await visitor.act(action, **form)
        assert 'role="alert"' in got.text, (action, got.told)
        assert "pending" in got.told or "failed" in got.told, (action, got.told)
    found = json.loads((await visitor.get("/figures")).text)["backend"]
    assert found["state"] in ("down", "open") and found["pending"] > 0


# --- keys -----------------------------------------------------------------------------------------


@on_both
async def test_the_keys_of_a_use_in_memory_are_listed_with_a_button_each(framework: str) -> None:
    """Of a view, a function, a fragment, and what was set by hand; never those of others."""
    visitor = visitor_of(framework)
    add_view(visitor)
    for number in (1, 2):
        await visitor.get(f"//works/{number}")
    visitor.cache.memoize()(_named("f"))()
    visitor.cache.set("by hand", 1)
    visitor.cache.set("_template_fragment_cache_menu", 1)
    keys = {
        ("view", "shop.works"): ["view//works/1", "view//works/2"],
        ("explicit", "set"): ["by hand"],
    }
    for (kind, name), wanted in keys.items():
        text = (await visitor.get("/?" + urlencode({"kind": kind, "name": name}))).text
        found = text[text.index('class="keys"') :].partition("</table>")[0]
        assert sorted(part.partition("<")[0] for part in found.split("<code>")[1:]) == wanted
    text = (await visitor.get("/?kind=function&name=lab.f")).text
    assert text.count('class="small danger"') == 1
    got = await visitor.act(
        "delete-key", key="view//works/1", kind="view", name="shop.works", back="use"
    )
    assert got.told == "Deleted 'view//works/1'." and "<code>view//works/2</code>" in got.text


async def test_on_a_server_the_keys_are_those_that_this_process_knows(redis_port: int) -> None:
    """It says so; a page without arguments is named, and a page by its path is explained."""
    url = f"redis://127.0.0.1:{redis_port}/0"
    visitor = visitor_of("flask", CACHE_TYPE="RedisCache", CACHE_REDIS_URL=url)
    add_view(visitor, "/works")
    visitor.cache.memoize()(_named("f"))()
    text = (await visitor.get("/?kind=view&name=shop.works")).text
    assert "<code>view//works</code>" in text and "What this process has made itself" in text
    assert text.count('class="small danger"') == 1
    await visitor.get("//works")
    text = (await visitor.get("/?kind=view&name=shop.works&path=/works")).text
    assert "/works: a hit" in text
    assert visitor.cache.get("view//works") == "work 0"
    await visitor.act("delete-key", key="view//works")
    text = (await visitor.get("/?kind=view&name=shop.works&path=/works")).text
    assert "/works: computed" in text


async def test_no_more_than_two_hundred_keys_are_listed() -> None:
    """The newest; how many more there are is said."""
    visitor = visitor_of("flask")
    for number in range(230):
        visitor.cache.set(f"key {number}", 1)
    text = (await visitor.get("/?kind=explicit&name=set")).text
    assert text.count('class="small danger"') == 200 and "and 30 more" in text


# --- beside it ------------------------------------------------------------------------------------


async def test_the_forms_pass_flask_wtfs_protection_if_the_blueprint_is_exempt() -> None:
    """Which has a token of its own, as the documentation says."""
    from flask_wtf import CSRFProtect

    protect = CSRFProtect()
    visitor = visitor_of("flask", prepare=protect.init_app)
    assert (await _delete_x(visitor)).status == 400
    assert visitor.cache.get("x") == 1
    protect.exempt(visitor.app.blueprints["cache_dashboard"])
    assert (await _delete_x(visitor)).told == "Deleted 'x'."


async def test_behind_a_proxy_that_takes_off_a_prefix_the_links_lead_to_the_same_place() -> None:
    """They are all relative, and so is the way back after a button."""
    visitor = visitor_of("flask")
    text = (await visitor.get()).text
    for start in ('href="/', 'action="/', 'src="/'):
        assert start not in text
    form = {"token": await visitor.token(), "action": "delete-key", "key": "x"}
    assert (await visitor.open("POST", "/act", form)).headers["Location"] == "./"
