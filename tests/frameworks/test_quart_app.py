"""What a cache does to a Quart app: set-up, connections, debug mode; and what it does without."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flask
import pytest
import quart
from blockbuster import blockbuster_ctx
from quart import Quart, request, session

from flask_caching_async import Cache
from flask_caching_async.exceptions import CacheWarning, ConfigurationError, NotInitializedError
from support.backends import config_for
from support.faces import own_colour
from support.fault_proxy import FaultProxy
from support.params import cases
from support.quart_sites import (
    VERSION,
    QuartSite,
    Threads,
    any_config,
    connections,
    quart_app,
    redis_config,
    served,
    site,
    unserved,
)
from support.servers import HOST
from support.sites import Site
from support.waiting import PATIENCE, auntil, until

__all__ = ["any_config", "connections", "redis_config", "site"]

MEMORY = {"CACHE_TYPE": "SimpleCache"}
ASYNC = pytest.mark.parametrize("colour", ["async"], indirect=True)


def python(program: str, *arguments: str) -> str:
    """What a program prints that has nothing to say on stderr, but that a busy machine is slow."""
    program = (
        f"import logging\nlogging.getLogger('asyncio').setLevel(40)\n{textwrap.dedent(program)}"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=1.5 * PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


# --- Flask and Quart ------------------------------------------------------------------------------


def test_importing_the_package_does_not_import_quart() -> None:
    """Nor does serving a Flask app; and nothing is patched where Quart is there."""
    program = """
        import sys
        from flask import Flask
        from flask_caching_async import Cache
        app = Flask("app")
        cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
        app.route("/")(cache.cached()(lambda: "page"))
        assert app.test_client().get("/").text == "page"
        print("quart" in sys.modules)
        import asyncio, flask, quart
        own = flask.request, flask.Flask.full_dispatch_request, asyncio.run
        Cache(quart.Quart("app"), config={"CACHE_TYPE": "SimpleCache"})
        assert own == (flask.request, flask.Flask.full_dispatch_request, asyncio.run)
        print("quart_flask_patch" in sys.modules, type(flask.request).__module__)
    """
    assert python(program) == "False\nFalse werkzeug.local\n"


@pytest.mark.parametrize("late", [False, True], ids=["Cache(app)", "init_app"])
def test_an_app_is_taken_for_what_it_is(late: bool) -> None:
    """In either order, and for subclasses of both."""

    class OwnQuart(Quart):
        pass

    class OwnFlask(flask.Flask):
        pass

    for make in (OwnQuart, OwnFlask, Quart, flask.Flask):
        app = make("app")
        cache = Cache(config=MEMORY) if late else Cache(app, config=MEMORY)
        if late:
            cache.init_app(app)
        app.add_url_rule("/", "page", cache.cached()(lambda: "page"))
        client: Any = app.test_client()
        answer = client.get("/")
        if isinstance(app, Quart):
            response = asyncio.run(answer)
            assert isinstance(response, quart.Response)
            assert asyncio.run(response.get_data(as_text=True)) == "page"
        else:
            assert answer.text == "page"
        with pytest.raises(AttributeError, match="config"):
            cache.init_app(object())


def twins(cache: Cache, **options: Any) -> tuple[QuartSite, Site]:
    """A Quart app and a Flask app with the same view."""
    sites = QuartSite(quart_app(), cache), Site(flask.Flask(__name__), cache, "async")
    for one in sites:
        cache.init_app(one.app)

    @cache.cached(**options)
    async def works(name: str) -> str:
        here = quart if quart.has_request_context() else flask
        for one in sites:
            one.calls += 1
        await asyncio.sleep(0)
        return f"{here.__name__} {name} {here.request.path} {sites[0].calls}"

    for one in sites:
        one.app.add_url_rule("/works/<name>", "works", works)
    return sites


def test_one_cache_serves_a_flask_and_a_quart_app_in_one_process() -> None:
    """Each has its own pages, its own request, and its own loop; at the same time, too."""
    cache = Cache(config=MEMORY)
    on_quart, on_flask = twins(cache)

    async def main() -> list[str]:
        async with on_quart.app.test_app():
            with ThreadPoolExecutor(1) as pool:
                flasks = [pool.submit(on_flask.text, f"/works/{n % 5}") for n in range(20)]
                quarts = [await on_quart.text(f"/works/{n % 5}") for n in range(20)]
            return quarts + [one.result() for one in flasks]

    texts = asyncio.run(main())
    for n, text in enumerate(texts):
        name = "quart" if n < 20 else "flask"
        assert text.startswith(f"{name} {n % 5} /works/{n % 5} ")
    assert (len(set(texts)), on_quart.calls) == (10, 10)
    with on_flask.app.app_context():
        cache.clear()
    assert asyncio.run(on_quart.text("/works/1")) == texts[1]
    assert on_flask.text("/works/1") != texts[21]


def test_a_flask_and_a_quart_app_may_share_their_pages(tmp_path: Path) -> None:
    """As when one becomes the other under its name: whoever stored a page, both can send it."""
    config = config_for("FileSystemCache", tmp_path)
    bodies: dict[str, Callable[[Any], Any]] = {
        "text": lambda here: "page",
        "tuple": lambda here: ("page", 201, {"X-A": "1"}),
        "response": lambda here: here.Response("page", 201, {"X-A": "1"}),
        "pair": lambda here: (here.Response("page"), 201),
        "abort": lambda here: here.abort(here.Response("page", 201)),
        "gone": lambda here: here.abort(410),
    }

    async def main(first: str) -> None:
        of_quart = quart_app()
        of_flask = flask.Flask(of_quart.name)
        caches = Cache(of_quart, config=config), Cache(of_flask, config=config)
        for app, cache, here in zip((of_quart, of_flask), caches, (quart, flask), strict=True):
            for name, body in bodies.items():
                view = cache.cached()(lambda body=body, here=here: body(here))
                app.add_url_rule(f"/{name}", name, view)

        async def ask(framework: str, name: str) -> tuple[int, str]:
            if framework == "quart":
                response = await of_quart.test_client().get(f"/{name}")
                return response.status_code, await response.get_data(as_text=True)
            answer = await asyncio.to_thread(of_flask.test_client().get, f"/{name}")
            return answer.status_code, answer.text

        second = "quart" if first == "flask" else "flask"
        async with of_quart.test_app():
            for name in bodies:
                page = await ask(first, name)
                assert page == await ask(second, name) == await ask(first, name), name
        assert [cache.stats().computed for cache in caches] == [
            len(bodies) * (first == name) for name in ("quart", "flask")
        ]
        caches[0].clear()

    for first in ("flask", "quart"):
        asyncio.run(main(first))


@pytest.mark.parametrize("name", ["a b", "ü", "a%20b", "a?b", "50%"])
def test_pages_are_dropped_and_refreshed_by_arguments_of_any_kind(name: str) -> None:
    """The path is what a request has, not what is sent: decoded, and below the app's own root."""
    cache = Cache(config=MEMORY)
    on_quart, on_flask = twins(cache)
    view = on_quart.app.view_functions["works"]

    async def of_quart() -> list[str]:
        texts = []
        async with on_quart.app.test_request_context("/"):
            url = quart.url_for("works", name=name)
        texts.append(await on_quart.text(url))
        async with on_quart.app.app_context():
            texts.append(await view.refresh(name=name))
        texts.append(await on_quart.text(url))
        async with on_quart.app.test_request_context("/root/", root_path="/root"):
            assert await cache.adelete_cached(view, name=name)
        texts.append(await on_quart.text(url))
        return texts

    def of_flask() -> list[str]:
        texts = []
        with on_flask.app.test_request_context("/"):
            url = flask.url_for("works", name=name)
        texts.append(on_flask.text(url))
        with on_flask.app.app_context():
            texts.append(asyncio.run(view.refresh(name=name)))
        texts.append(on_flask.text(url))
        with on_flask.app.test_request_context("/", base_url="http://localhost/root"):
            assert cache.delete_cached(view, name=name)
        texts.append(on_flask.text(url))
        return texts

    assert asyncio.run(of_quart()) == [f"quart {name} /works/{name} {n}" for n in (1, 2, 2, 3)]
    assert of_flask() == [f"flask {name} /works/{name} {n}" for n in (4, 5, 5, 6)]


# --- the set-up -----------------------------------------------------------------------------------


@unserved
async def test_a_view_may_be_decorated_before_the_cache_has_an_app(colour: str) -> None:
    """The factory pattern; before ``init_app`` a call says what to do."""
    cache = Cache()
    site = QuartSite(quart_app(), cache, colour)
    view = site.face.cached()(site.counted(lambda: str(site.calls)))
    with pytest.raises(NotInitializedError, match="init_app"):
        await site.face.call(view)
    for _ in range(2):
        site = QuartSite(quart_app(), cache, colour)
        site.app.add_url_rule("/works", "works", view)
        cache.init_app(site.app, MEMORY)
        async with site.app.test_app():
            assert len({*await site.texts("/works", "/works")}) == 1
    assert cache.stats().computed == 1


@unserved
async def test_an_app_without_the_cache_says_so(colour: str) -> None:
    """Not silently another app's pages."""
    cache, other = Cache(quart_app(), config=MEMORY), QuartSite(quart_app(), Cache(), colour)
    other.app.add_url_rule("/works", "works", cache.cached()(lambda: "page"))
    with pytest.raises(NotInitializedError, match="was not set up for"):
        await other.get()


def test_init_app_of_a_wrong_configuration_changes_nothing() -> None:
    """It fails before it begins."""
    app = quart_app()
    before = picture(app)
    with pytest.raises(ValueError, match="CACHE_TYPE"):
        Cache(app, config={"CACHE_TYPE": "NoSuchCache"})
    assert picture(app) == before


def picture(app: Quart) -> dict[str, Any]:
    """Everything on an app that a cache could be tempted to change."""
    functions = "before_request_funcs after_request_funcs teardown_request_funcs".split()
    lists = {n: {k: list(v) for k, v in getattr(app, n).items() if v} for n in functions}
    for name in ("before_serving_funcs", "after_serving_funcs", "while_serving_gens"):
        lists[name] = list(getattr(app, name))
    dicts = {n: dict(getattr(app, n)) for n in ("view_functions", "extensions", "config")}
    jinja = dict(app.jinja_env.extensions), dict(app.jinja_env.globals)
    return {**lists, **dicts, "jinja": jinja, "names": sorted(vars(app))}


@served
async def test_requests_change_nothing_on_the_app(site: QuartSite) -> None:
    """Hits, misses, headers, errors and deletions: views, hooks, config and extensions stay."""
    view = site.numbers(response_hit_indication=True, query_string=True, vary_on="X-A", tags="t")
    site.view("/gone", endpoint="gone")(lambda: quart.abort(404))
    await site.texts("/works", "/nowhere")
    before = picture(site.app)
    await site.texts("/works", "/works", "/works?a=1", "/gone", "/gone", "/nowhere")
    await site.cache.adelete_cached(view)
    await site.cache.aclear()
    await site.get()
    assert picture(site.app) == before


@unserved
async def test_several_caches_on_one_app_are_served_together(colour: str, tmp_path: Path) -> None:
    """Each with a backend of its own; one view may have both."""
    app = quart_app()
    inner = Cache(app, config=config_for("FileSystemCache", tmp_path))
    outer = Cache(app, config=MEMORY)
    site = QuartSite(app, inner, colour)
    view = outer.cached()(site.face.cached()(site.counted(lambda: str(site.calls))))
    app.add_url_rule("/works", "works", view)
    async with app.test_app():
        assert await site.texts("/works", "/works") == ["1", "1"]
        await outer.adelete("view//works")
        assert await site.text() == "1"
        await inner.adelete("view//works")
        await outer.adelete("view//works")
        assert await site.text() == "2"


@unserved
async def test_a_null_cache_computes_every_time(colour: str) -> None:
    """Caching is off: every option is taken, and nothing is kept."""
    config = {"CACHE_TYPE": "NullCache", "CACHE_NO_NULL_WARNING": True}
    site = QuartSite(app := quart_app(), Cache(app, config=config), colour)
    site.numbers(response_hit_indication=True, query_string=True, tags="t", vary_on="X-A")
    async with app.test_app():
        assert await site.texts(*["/works"] * 3) == ["1", "2", "3"]
        assert "hit_cache" not in (await site.get()).headers


# --- hooks and debug mode -------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True], ids=["production", "debug"])
@ASYNC
@served
async def test_hooks_keep_working_and_a_hit_costs_no_thread(site: QuartSite, debug: bool) -> None:
    """``before_request`` and ``after_request`` functions run on hits as on misses."""
    site.app.debug = debug
    hooks: list[str] = []

    @site.app.before_request
    async def before() -> Any:
        hooks.append("before")
        return ("closed", 403) if "closed" in request.args else None

    @site.app.after_request
    async def after(response: Any) -> Any:
        hooks.append("after")
        return response

    cache = Cache(site.app, config=MEMORY)  # in debug mode, it looks before each request
    site.cache = site.face.cache = cache
    site.numbers()
    with Threads() as threads:
        assert await site.texts("/works", "/works", "/works?closed", "/works") == [
            "1", "1", "closed", "1"
        ]  # fmt: skip
    assert (hooks, threads.started) == (["before", "after"] * 4, [])


async def render(source: str) -> str:
    """A page made of a template."""
    return await quart.render_template_string(source)


#: What a view may read of its visitor, what is said of it, and whether it must be awaited.
READS: dict[str, tuple[Callable[[], Any], str]] = {
    "session": (lambda: str(session.get("user")), "read the session"),
    "session-item": (lambda: str("user" in session and session["user"]), "read the session"),
    "session-in-a-stream": (lambda: (str(session.get("user")) for _ in "1"), "read the session"),
    "args": (lambda: str(request.args.get("a")), ""),
    "cookies": (lambda: str(request.cookies.get("theme")), ""),
    "authorization": (lambda: str(request.authorization), "read Authorization"),
}


def debugged(site: QuartSite) -> QuartSite:
    """In debug mode, with sessions."""
    site.app.debug, site.app.secret_key = True, "secret"
    return site


async def told(site: QuartSite, times: int = 3, **kwargs: Any) -> list[str]:
    """What is said of several requests."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(times):
            assert (await site.get(f"/works?n={number}", **kwargs)).status_code == 200
            await site.cache.aclear()
    return [str(w.message) for w in caught if issubclass(w.category, CacheWarning)]


@cases(
    "what,debug",
    itertools.product(READS, [True, False]),
    whole=("async",),
    everywhere=("session-True", "session-False", "session-in-a-stream-True"),
)
@served
async def test_a_view_that_reads_what_is_one_visitors_is_told_once(
    site: QuartSite, what: str, debug: bool
) -> None:
    """With its name, what it read, and what to do, in every mode; of what selects it, nothing."""
    body, message = READS[what]
    debugged(site).view()(body)
    site.app.debug = debug
    found = await told(site)
    assert len(found) == bool(message)
    for text in found:
        assert message in text and "<lambda>" in text and "Write " in text


@ASYNC
@served
async def test_a_template_is_told_only_of_what_it_reads(site: QuartSite) -> None:
    """Quart gives the session to each of them."""

    @debugged(site).app.route("/works")
    @site.cache.cached()
    async def plain() -> str:
        return await quart.render_template_string("{{ request.path }}")

    @site.app.route("/other")
    @site.cache.cached()
    async def personal() -> str:
        return await quart.render_template_string("{{ session.user }}")

    assert await told(site) == []
    with pytest.warns(CacheWarning, match="personal read the session"):
        await site.get("/other")


@ASYNC
@served
async def test_a_helper_under_the_path_of_its_page_is_told(site: QuartSite) -> None:
    """Once, with what to write."""

    @debugged(site).cache.cached()
    async def helper() -> str:
        return "helper"

    @site.app.route("/works")
    @site.cache.cached()
    async def page() -> str:
        return f"page with {await helper()}"

    (found,) = await told(site)
    assert "helper" in found and "page" in found and "memoize" in found


IN_THE_KEY: dict[str, tuple[str, dict[str, Any]]] = {
    "query_string": ("args", {"query_string": True}),
    "vary-callable": ("session", {"vary_on": lambda: session.get("user")}),
    "vary-cookie": ("cookies", {"vary_on": "cookie:theme"}),
    "vary-session-cookie": ("session", {"vary_on": "cookie:session"}),
    "vary-header": ("authorization", {"vary_on": "Authorization"}),
    "own-key": ("cookies", {"make_cache_key": lambda: f"k{request.cookies.get('theme')}"}),
    "unless": ("session", {"unless": lambda: session.get("user") is not None}),
    "unless-args": ("args", {"unless": lambda: bool(request.args.get("a"))}),
    "nothing": ("nothing", {}),
}


@cases("how", IN_THE_KEY, whole=("async",), everywhere=("vary-callable", "own-key", "unless"))
@served
async def test_nothing_is_said_of_what_is_in_the_key(site: QuartSite, how: str) -> None:
    """By any of the arguments that put it there, or that keep the cache out of it."""
    what, options = IN_THE_KEY[how]
    body, _ = READS.get(what, (lambda: request.path, ""))
    debugged(site).view(**options)(body)
    assert await told(site) == []


@pytest.mark.parametrize("ending", ["answers", "aborts", "raises"])
@served
async def test_watching_a_view_leaves_the_session_as_it_was(site: QuartSite, ending: str) -> None:
    """It is what it was before and after the view, and is saved as without a cache."""
    kinds: list[Any] = []

    def body() -> str:
        kinds.append(isinstance(session._get_current_object(), quart.sessions.SecureCookieSession))  # type: ignore[attr-defined]
        session["user"] = "alice"
        if ending == "aborts":
            quart.abort(404)
        return "page" if ending == "answers" else str(1 / 0)

    debugged(site).view(personal=True)(body)
    site.app.config["PROPAGATE_EXCEPTIONS"] = False

    @site.app.after_request
    async def after(response: Any) -> Any:
        kinds.append(isinstance(session._get_current_object(), quart.sessions.SecureCookieSession))  # type: ignore[attr-defined]
        return response

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        response = await site.get()
    assert kinds == [True, True]
    assert "session=" in response.headers["Set-Cookie"]


_numbers = itertools.count()


@served
async def test_decorators_in_the_wrong_order_are_told(site: QuartSite) -> None:
    """``@cache.cached`` above ``@app.route``, on the app or on a blueprint: nothing reaches it."""
    debugged(site)
    for where in ("app", "blueprint"):

        def order() -> str:
            return "page"

        order.__qualname__ = f"order_{next(_numbers)}"  # one that no warning has named yet
        view = site.face.dye(order)
        blueprint = quart.Blueprint(where, __name__, url_prefix=f"/{where}")
        with pytest.warns(CacheWarning, match="put @cache.cached below @app.route"):
            if where == "app":
                site.app.add_url_rule("/app/order", "order", view)
                kept = site.cache.cached()(view)
            else:
                blueprint.add_url_rule("/order", "order", view)
                kept = site.cache.cached()(view)  # a module holds it by its name
                site.app.register_blueprint(blueprint)
                await site.get("/blueprint/order")
        assert kept.uncached is view


@ASYNC
@served
async def test_a_blocking_call_on_the_loop_is_told_once(site: QuartSite) -> None:
    """``cache.get`` in an async view; the warning names ``aget``. In a sync view it is right."""

    @debugged(site).app.route("/works")
    async def works() -> str:
        site.cache.set("k", 1)
        return str(site.cache.get("k"))

    @site.app.route("/sync")
    def in_a_thread() -> str:
        return str(site.cache.get("k"))

    with pytest.warns(CacheWarning, match="await cache.aset") as caught:
        assert await site.texts("/works", "/works", "/sync") == ["1", "1", "1"]
    assert len(caught) == 1


# --- connections ----------------------------------------------------------------------------------


@unserved
async def test_the_serving_loop_has_connections_of_its_own(
    redis_config: dict[str, Any], connections: Callable[[], int]
) -> None:
    """Opened when they are needed, closed at shutdown; no thread is needed, and nothing blocks."""
    app = quart_app()
    site = QuartSite(app, cache := Cache(app, config=redis_config))
    view = site.numbers()

    @app.route("/here")
    async def here() -> str:
        return str(cache.cache.native_here())

    for number in ("1", "2"):
        assert connections() == 0
        async with app.test_app():
            assert connections() == 0
            with Threads() as threads, blockbuster_ctx():
                assert await site.texts("/here", "/works", "/works") == ["True", number, number]
                assert await asyncio.gather(*[site.text() for _ in range(20)]) == [number] * 20
                await cache.aset_many({"a": 1, "b": 2})
                assert await cache.adelete_cached(view)
            # One thread renews the leases of slow computations, once there was one.
            assert [name for name in threads.started if "leases" not in name] == []
            assert 0 < connections() <= 20
            assert cache.cache._transports._blocking is None
        await auntil(lambda: connections() == 0)


@unserved
async def test_sync_views_share_connections_that_are_closed_too(
    redis_config: dict[str, Any], connections: Callable[[], int]
) -> None:
    """Their threads have no loop; at shutdown nothing is left of them either."""
    app = quart_app()
    site = QuartSite(app, cache := Cache(app, config=redis_config), "sync")
    site.numbers()
    async with app.test_app():
        assert set(await asyncio.gather(*[site.text() for _ in range(8)])) == {"1"}
        assert cache.cache._transports._blocking is not None
        assert connections() > 0
    await auntil(lambda: connections() == 0)


def test_a_test_client_without_a_lifespan_works_by_way_of_threads(
    any_config: dict[str, Any], colour: str
) -> None:
    """On as many loops as there are tests; nothing is bound to any of them."""
    app = quart_app()
    site = QuartSite(app, cache := Cache(app, config=any_config), colour)
    site.numbers()
    double = site.face.memoize()(site.counted(lambda n: 2 * n))

    async def test() -> None:
        assert not getattr(cache.cache, "native_here", bool)()
        assert set(await asyncio.gather(*[site.text() for _ in range(5)])) == {"1"}
        assert await site.face.call(double, 2) == 4
        await cache.aset("key", 1)
        assert await cache.aget("key") == 1

    for _ in range(5):
        asyncio.run(test())
    assert site.calls == 2
    cache.close()


@unserved
async def test_the_apps_own_functions_for_start_and_end_use_the_loops_connections(
    redis_config: dict[str, Any], connections: Callable[[], int]
) -> None:
    """Wherever they were registered: the cache begins before them, and ends after them."""
    app, cache, seen = quart_app(), Cache(), []

    async def note() -> None:
        await cache.aset("key", len(seen))
        seen.append((cache.cache.native_here(), await cache.aget("key")))

    app.before_serving(note)
    app.after_serving(note)
    cache.init_app(app, redis_config)
    app.before_serving(note)
    app.after_serving(note)

    @app.while_serving
    async def around() -> Any:
        await note()
        yield
        await note()

    async with app.test_app():
        pass
    assert [number for _, number in seen] == list(range(6))
    # Older versions end a generator after everything else, and then it goes by way of a thread.
    assert [native for native, _ in seen] == [True] * 5 + [VERSION >= (0, 22)]
    cache.close()
    await auntil(lambda: connections() == 0)


@unserved
async def test_a_block_of_its_own_in_a_served_app_ends_nothing(
    redis_config: dict[str, Any],
) -> None:
    """``async with cache`` in a view, as libraries do it: the loop keeps its connections."""
    app = quart_app()
    cache = Cache(app, config=redis_config)
    async with app.test_app():
        async with cache:
            await cache.aset("key", 1)
        assert cache._binding().framework.loop is asyncio.get_running_loop()
        assert cache.cache.native_here() and await cache.aget("key") == 1


@unserved
async def test_a_visitor_who_leaves_harms_nobody(redis_config: dict[str, Any]) -> None:
    """A request that is cancelled in the middle of its work with the server, over and over."""
    app = quart_app()
    site = QuartSite(app, cache := Cache(app, config=redis_config))

    @app.route("/works/<int:n>")
    @cache.cached(query_string=True)
    async def works(n: int) -> str:
        await cache.aset(f"key{n}", n)
        return str(await cache.aget(f"key{n}"))

    async with app.test_app():
        for n in range(30):
            leaving = asyncio.ensure_future(site.text(f"/works/{n}"))
            await asyncio.sleep(0.0005 * (n % 7))
            leaving.cancel()
            assert await site.text(f"/works/{n}") == str(n)
            await asyncio.gather(leaving, return_exceptions=True)


@pytest.mark.parametrize("debug", [False, True], ids=["production", "debug"])
@unserved
async def test_a_server_that_dies_under_a_served_app_does_not_keep_it_from_ending(
    redis_proxy: FaultProxy, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """In production, pages are computed; in debug mode its errors are raised, but for the end."""
    app = quart_app()
    app.debug = debug
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_HOST": HOST}
    cache = Cache(app, config={**config, "CACHE_REDIS_PORT": redis_proxy.port})
    site = QuartSite(app, cache)
    site.numbers()
    cache.refresh_every(3600, cache.memoize()(own_colour(lambda: 1, "async")))
    async with app.test_app():
        assert await site.text() == "1"
        await auntil(lambda: cache.stats().stored == 2)
        redis_proxy.refuse()
        if not debug:
            assert await site.texts("/works", "/works") == ["2", "3"]
    assert {record.name for record in caplog.records} <= {"flask_caching_async"}


def test_a_served_app_says_nothing_on_stderr(redis_config: dict[str, Any]) -> None:
    """In development mode, with sync and async views, refreshes, renewals and both servers."""
    program = """
        import asyncio, json, sys
        from quart import Quart, websocket
        from flask_caching_async import Cache
        app = Quart("app")
        cache = Cache(app, config=json.loads(sys.argv[1]))
        renewed = asyncio.Event()

        @app.route("/async")
        @cache.cached(timeout=0.01, stale_while_revalidate=60)
        async def a(): return "async"

        @app.route("/sync")
        @cache.cached(timeout=0.01, stale_while_revalidate=60)
        def b(): return "sync"

        @cache.memoize()
        async def c():
            renewed.set()
            return 1

        cache.refresh_every(0.01, c)

        async def main():
            async with app.test_app():
                for _ in range(20):
                    for path in ("/async", "/sync"):
                        response = await app.test_client().get(path)
                        assert await response.get_data(as_text=True) == path[1:]
                    await asyncio.sleep(0.005)
                await renewed.wait()

        asyncio.run(main())
        asyncio.run(main())
        print("end")
    """
    assert python(program, json.dumps(redis_config)) == "end\n"


# --- no app at all --------------------------------------------------------------------------------


def test_a_program_without_an_app_has_memoize_and_the_operations(
    any_config: dict[str, Any],
) -> None:
    """In threads and on plain loops, from the same entries; pages need requests."""
    cache = Cache.standalone(any_config)
    calls: list[int] = []

    @cache.memoize(tags=["tag"])
    async def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    @cache.cached(key_prefix="fixed")
    def fixed() -> int:
        calls.append(0)
        return len(calls)

    async def use() -> None:
        assert await double(1) == 2 and fixed() == 2
        await cache.aset("key", [1])
        assert await cache.aget_many("key", "nothing") == [[1], None]
        assert await cache.aget_or_set("other", own_colour(lambda: 5, "async")) == 5

    for _ in range(2):
        asyncio.run(use())
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(cache.get, ["key", "other"])) == [[1], 5]
    assert calls == [1, 0]
    assert cache.delete_tags("tag") and cache.delete_memoized(double)
    asyncio.run(use())
    assert calls == [1, 0, 1]
    with pytest.raises(ConfigurationError, match="no path, since this cache has no app"):
        cache.cached()(lambda: "page")
    with pytest.raises(RuntimeError, match="without an app"):
        cache.cached(key_prefix="page")(lambda: "page").refresh(path="/")
    cache.close()


def test_a_standalone_cache_has_connections_of_its_own_in_its_block(
    redis_config: dict[str, Any], connections: Callable[[], int]
) -> None:
    """``async with cache``: on that loop, until the end of the block."""
    cache = Cache.standalone(redis_config)

    @cache.memoize()
    async def double(n: int) -> int:
        return 2 * n

    async def main() -> None:
        with Threads() as threads:
            async with cache:
                assert cache.cache.native_here()
                assert await asyncio.gather(*[double(n % 3) for n in range(9)]) == [0, 2, 4] * 3
                assert connections() > 0
        assert [name for name in threads.started if "leases" not in name] == []
        await auntil(lambda: connections() == 0)
        assert await double(1) == 2

    for _ in range(2):
        asyncio.run(main())
    cache.close()


def test_a_bare_asgi_program_uses_a_standalone_cache(redis_config: dict[str, Any]) -> None:
    """A callable with a lifespan of its own, and neither Flask nor Quart."""
    cache = Cache.standalone(redis_config)
    calls: list[str] = []

    @cache.memoize(60)
    async def page(path: str) -> bytes:
        calls.append(path)
        await asyncio.sleep(0.01)
        return f"{path} {len(calls)}".encode()

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            async with cache:
                assert (await receive())["type"] == "lifespan.startup"
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert cache.cache.native_here()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": await page(scope["path"])})

    async def main() -> None:
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        lifespan = asyncio.create_task(asgi({"type": "lifespan"}, inbox.get, outbox.put))
        await inbox.put({"type": "lifespan.startup"})
        assert (await outbox.get())["type"] == "lifespan.startup.complete"

        async def get(path: str) -> Any:
            sent: asyncio.Queue[Any] = asyncio.Queue()
            await asgi({"type": "http", "path": path}, None, sent.put)
            await sent.get()
            return (await sent.get())["body"]

        assert await asyncio.gather(*[get("/a") for _ in range(100)]) == [b"/a 1"] * 100
        await inbox.put({"type": "lifespan.shutdown"})
        await lifespan
        assert not cache.cache.native_here()

    asyncio.run(main())
    cache.close()


def test_threads_and_loops_of_a_standalone_cache_join_one_computation(colour: str) -> None:
    """Threads of sync callers, or loops of async ones, each in a thread."""
    cache = Cache.standalone(MEMORY)
    go, calls = threading.Event(), []

    def body() -> int:
        calls.append(1)
        assert go.wait(PATIENCE)
        return len(calls)

    async def abody() -> int:
        calls.append(1)
        await auntil(go.is_set)
        return len(calls)

    f: Any = cache.memoize()(body if colour == "sync" else abody)

    async def call() -> int:
        return int(await f())

    def visit() -> int:
        return int(f() if colour == "sync" else asyncio.run(call()))

    with ThreadPoolExecutor(5) as pool:
        visits = [pool.submit(visit) for _ in range(5)]
        until(lambda: cache.stats().waits == 4)
        go.set()
        assert [visit.result() for visit in visits] == [1] * 5
