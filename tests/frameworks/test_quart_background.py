"""What goes on behind Quart's requests: refreshes, renewals, and how they end with the app."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import quart
from quart import g, request, websocket
from quart.views import MethodView

from flask_caching_async import Cache
from flask_caching_async.exceptions import ColourError
from flask_caching_async.testing import FakeClock
from support.backends import config_for
from support.quart_sites import QuartSite, quart_app, redis_config, served, site, unserved
from support.stages import Body, Stage
from support.waiting import PATIENCE, auntil

__all__ = ["redis_config", "site"]

MEMORY = {"CACHE_TYPE": "SimpleCache"}
SWR: Any = {"timeout": 10, "stale_while_revalidate": 10_000}
ASYNC = pytest.mark.parametrize("colour", ["async"], indirect=True)


@pytest.fixture
def clock(site: QuartSite) -> FakeClock:
    """The clock of the site."""
    clock = FakeClock()
    clock.install(site.cache)
    return clock


class Held:
    """A body that says what it saw, and that waits in its second call until it may go on."""

    def __init__(self, site: QuartSite, see: Callable[..., str] = lambda: "") -> None:
        self.site, self.see = site, see
        self.calls = 0
        self.entered, self.go = threading.Event(), threading.Event()
        self.threads: list[int] = []

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def _begin(self) -> bool:
        self.calls += 1
        self.threads.append(threading.get_ident())
        if self.calls == 2:
            self.entered.set()
        return self.calls == 2

    def view(self, rule: str = "/works", **kwargs: Any) -> Any:
        """A cached view of it, in the colour of the site."""

        def works(**named: Any) -> str:
            if self._begin():
                assert self.go.wait(PATIENCE)
            return f"{self.see(**named)} {self.calls}".strip()

        async def aworks(**named: Any) -> str:
            if self._begin():
                await auntil(self.go.is_set)
            return f"{self.see(**named)} {self.calls}".strip()

        view = self.site.cache.cached(**kwargs)(aworks if self.site.is_async else works)
        self.site.app.add_url_rule(rule, "works", view)
        return view


async def stored(site: QuartSite, count: int) -> None:
    """Wait until so many values were stored."""
    await auntil(lambda: site.cache.stats().stored >= count)


# --- stale_while_revalidate -----------------------------------------------------------------------


@served
async def test_the_stale_page_leaves_at_once_and_is_renewed_once(
    site: QuartSite, clock: FakeClock
) -> None:
    """However many ask while the refresh is held; then they get the new one."""
    held = Held(site)
    held.view(**SWR)
    assert await site.text() == "1"
    clock.advance(10)
    for _ in range(5):
        assert await site.text() == "1"
    await auntil(held.entered.is_set)
    assert await asyncio.gather(*[site.text() for _ in range(20)]) == ["1"] * 20
    held.go.set()
    await stored(site, 2)
    assert (await site.text(), held.calls) == ("2", 2)
    # In the background, too, a sync function blocks no loop, and an async one leaves none.
    own = threading.get_ident()
    assert [thread == own for thread in held.threads] == [site.is_async] * 2


@served
async def test_a_refresh_finds_the_request_that_has_ended(
    site: QuartSite, clock: FakeClock
) -> None:
    """Its path, arguments, headers and method, what its hooks left in ``g``, and the app."""
    ended = threading.Event()

    @site.app.before_request
    async def before() -> None:
        g.user = request.headers.get("X-User")

    @site.app.teardown_request
    async def end(error: Any) -> None:
        if request.path == "/works/5":
            ended.set()

    def see(number: int) -> str:
        if ended.is_set():
            assert quart.current_app.name == site.app.name
        seen = [number, request.path, request.args["a"], request.headers["X-User"], request.method]
        return " ".join(
            map(str, [*seen, g.user, request.view_args, quart.url_for("works", number=7)])
        )

    held = Held(site, see)
    held.view("/works/<int:number>", **SWR, query_string=True)
    alice = {"headers": {"X-User": "alice"}}
    page = "5 /works/5 x alice GET alice {'number': 5} /works/7"
    assert await site.text("/works/5?a=x", **alice) == f"{page} 1"
    clock.advance(10)
    ended.clear()
    assert await site.text("/works/5?a=x", **alice) == f"{page} 1"
    await auntil(held.entered.is_set)
    assert ended.wait(PATIENCE)
    held.go.set()
    await stored(site, 2)
    assert await site.text("/works/5?a=x", **alice) == f"{page} 2"


@ASYNC
@served
async def test_what_a_refresh_opens_is_its_own(site: QuartSite, clock: FakeClock) -> None:
    """It is torn down with it; what the request has opened is the request's."""
    opened: list[str] = []
    closed: list[str] = []

    def connection() -> str:
        if "connection" not in g:
            opened.append(f"connection {len(opened)}")
            g.connection = opened[-1]
        return str(g.setdefault("connection", "none"))

    @site.app.teardown_appcontext
    async def close(error: Any) -> None:
        if one := g.pop("connection", None):
            closed.append(one)

    @site.cache.memoize(**SWR)
    async def rates() -> str:
        return f"{connection()} {g.get('user')} {sorted(g)}"

    @site.app.route("/works")
    async def works() -> str:
        g.user = "alice"
        before, rate = len(closed), await rates()
        await asyncio.sleep(0)
        if "wait" in request.args:
            await stored(site, 2)
            await auntil(lambda: not site.app.background_tasks)
            assert len(closed) == before + 1  # not ours
        own = connection()
        assert own not in closed
        return rate

    assert await site.text() == "connection 0 alice ['connection', 'user']"
    clock.advance(10)
    await site.text("/works?wait")
    assert await site.text() == "connection 1 alice ['connection', 'user']"
    assert sorted(closed) == opened and len(set(opened)) == len(opened)


@ASYNC
@served
async def test_a_refresh_in_a_refresh_finds_the_same_request(
    site: QuartSite, clock: FakeClock
) -> None:
    """And what it has in ``g``, however deep it is."""
    seen: list[str] = []

    @site.cache.memoize(**SWR)
    async def deep(n: int) -> int:
        seen.append(f"{n} {request.path} {g.user} {'mine' in g} {g.get('mine')}")
        g.mine = object()
        return await deep(n - 1) if n else 0

    @site.app.route("/works")
    async def works() -> str:
        g.user = "alice"
        return str(await deep(3))

    await site.text()
    clock.advance(10)
    seen.clear()
    await site.text()
    await stored(site, 8)
    assert sorted(seen) == [f"{n} /works alice False None" for n in range(4)]


@ASYNC
@served
async def test_a_memoized_function_is_renewed_behind_a_websocket(
    site: QuartSite, clock: FakeClock
) -> None:
    """Which goes on, or has ended; the function still finds it."""
    body = Body(Stage(site.cache, "async"), 2)

    @site.cache.memoize(**SWR)
    async def rates() -> str:
        return f"{await body()} {websocket.path} {websocket.args['a']}"

    @site.app.websocket("/talk")
    async def talk() -> None:
        while True:
            await websocket.receive()
            await websocket.send(await rates())

    async with site.client.websocket("/talk?a=x") as talking:
        await talking.send("?")
        assert await talking.receive() == "1 /talk x"
        clock.advance(10)
        await talking.send("?")
        assert await talking.receive() == "1 /talk x"
    await body.entered(2)
    body.go.set()
    await stored(site, 2)
    async with site.client.websocket("/talk?a=y") as talking:
        await talking.send("?")
        assert await talking.receive() == "2 /talk x"


@served
async def test_a_refresh_that_fails_keeps_the_old_page_and_is_logged_once(
    site: QuartSite, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by the app: it is nobody's request."""

    def body() -> str:
        if site.calls > 1:
            raise OSError("down")
        return str(site.calls)

    site.view(**SWR)(body)
    await site.text()
    with caplog.at_level(logging.INFO):
        for attempt in (2, 3):
            clock.advance(10)
            assert await site.text() == "1"
            await auntil(lambda n=attempt: site.cache.stats().failed == n - 1)  # type: ignore[misc]
            await auntil(lambda: not site.cache._binding().engine.flights._flights)
        await auntil(lambda: caplog.records)
    assert [(r.name, r.levelname) for r in caplog.records] == [("flask_caching_async", "ERROR")]


def test_without_a_lifespan_refreshes_work_too(site: QuartSite, clock: FakeClock) -> None:
    """On the loop of a test, whose end drops what it has begun, without a word."""
    held = Held(site)
    held.view(**SWR)

    async def first() -> None:
        assert await site.text() == "1"
        clock.advance(10)
        assert await site.text() == "1"
        await auntil(held.entered.is_set)

    async def until_new() -> None:
        while await site.text() == "1":
            await asyncio.sleep(0.001)

    asyncio.run(first())
    held.go.set()
    asyncio.run(until_new())


@ASYNC
def test_a_refresh_that_its_loop_never_began_is_no_obstacle(
    site: QuartSite, clock: FakeClock
) -> None:
    """The loop ended in that very moment; the next one who asks starts another."""
    site.numbers(**SWR)

    async def last() -> None:
        clock.advance(10)
        assert await site.text() == "1"

    async def main() -> None:
        assert await site.text() == "1"

    asyncio.run(main())
    tasks: list[Any] = []

    class Cancelling(set[Any]):
        def add(self, task: Any) -> None:
            super().add(task)
            tasks.append(task)
            task.cancel()

    site.app.background_tasks = Cancelling()
    asyncio.run(last())
    assert tasks and all(task.cancelled() for task in tasks)
    site.app.background_tasks = set()

    async def again() -> None:
        assert await site.text() == "1"
        await stored(site, 2)
        assert await site.text() == "2"

    asyncio.run(again())


# --- the end of the app ---------------------------------------------------------------------------


def test_the_end_of_the_app_waits_for_refreshes(site: QuartSite, clock: FakeClock) -> None:
    """For those of sync and of async views; what they computed is stored."""
    held = Held(site)
    held.view(**SWR)

    async def main() -> None:
        async with site.app.test_app():
            await site.text()
            clock.advance(10)
            assert await site.text() == "1"
            await auntil(held.entered.is_set)
            asyncio.get_running_loop().call_later(0.05, held.go.set)
        assert site.cache.stats().stored == 2

    asyncio.run(main())


def test_the_end_of_the_app_abandons_a_refresh_that_takes_too_long(
    site: QuartSite, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After ``BACKGROUND_TASK_SHUTDOWN_TIMEOUT`` seconds, without a word; the old page stays."""
    held = Held(site)
    held.view(**SWR)
    site.app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = 0.1

    async def main() -> None:
        async with site.app.test_app():
            await site.text()
            clock.advance(10)
            assert await site.text() == "1"
            await auntil(held.entered.is_set)

    asyncio.run(main())  # which ends, while the refresh is held
    assert site.cache.stats().stored == 1 and not caplog.records
    held.go.set()


# --- refresh --------------------------------------------------------------------------------------


class Shop(QuartSite):
    """An app with a page that says what it saw of its request."""

    def __init__(self, app: Any, cache: Cache, colour: str) -> None:
        super().__init__(app, cache, colour)

        @app.before_request
        def before() -> Any:
            g.before = "before"
            return ("closed", 403) if request.args.get("q") == "closed" else None

        def works(number: int) -> str:
            query, language = request.args.get("q"), request.headers.get("Accept-Language")
            return f"{number} {query} {language} {request.method} {g.before} {self.calls}"

        options: Any = {"query_string": True, "vary_on": "Accept-Language"}
        self.works = self.view("/works/<int:number>", **options)(works)
        self.refresh = self.works.refresh if self.is_async else self.works.arefresh
        app.add_url_rule("/other", "other", lambda: "other")


@pytest.fixture
def shop(colour: str) -> Shop:
    """In memory."""
    app = quart_app()
    return Shop(app, Cache(app, config=MEMORY), colour)


@asynccontextmanager
async def served_or_not(app: Any, is_served: bool) -> Any:
    """With a lifespan, or without."""
    if not is_served:
        yield
        return
    async with app.test_app():
        yield


@pytest.mark.parametrize("is_served", [True, False], ids=["served", "not served"])
@unserved
async def test_a_page_is_refreshed_from_outside_a_request(shop: Shop, is_served: bool) -> None:
    """By path, query and headers, as a job does it; the next visitor gets what was computed."""
    async with served_or_not(shop.app, is_served):
        assert await shop.text("/works/3?q=a") == "3 a None GET before 1"
        assert await shop.refresh(path="/works/3", query_args={"q": "a"}) == "3 a None GET before 2"
        assert await shop.text("/works/3?q=a") == "3 a None GET before 2"
        assert await shop.refresh(path="/works/3?q=b") == "3 b None GET before 3"
        assert await shop.text("/works/3?q=b") == "3 b None GET before 3"
        german = {"Accept-Language": "de"}
        page = await shop.refresh(path="/works/3?q=ü&x=%20", headers=german)
        assert page == "3 ü de GET before 4"
        assert await shop.text("/works/3?x=%20&q=%C3%BC", headers=german) == page


@unserved
async def test_a_page_is_refreshed_by_the_arguments_of_its_view(shop: Shop) -> None:
    """The path is built from them, without SERVER_NAME."""
    assert await shop.refresh(number=4) == "4 None None GET before 1"
    assert await shop.refresh(5) == "5 None None GET before 2"
    assert await shop.refresh(5, query_args="q=a") == "5 a None GET before 3"
    texts = await shop.texts("/works/4", "/works/5", "/works/5?q=a")
    assert [text.rpartition(" ")[2] for text in texts] == ["1", "2", "3"]


@served
async def test_a_job_in_a_request_refreshes_other_pages_by_their_paths(site: QuartSite) -> None:
    """It finds its own request again; without a path, the refresh is of that request."""
    view = site.view("/works/<int:n>")(lambda n: f"{n} {request.path} {site.calls}")
    refresh = view.refresh if site.is_async else view.arefresh

    @site.app.route("/job")
    async def job() -> str:
        g.mine = "mine"
        page = await refresh(path="/works/3")
        return f"{page} {request.path} {g.mine}"

    assert await site.texts("/works/3", "/job", "/works/3") == [
        "3 /works/3 1", "3 /works/3 2 /job mine", "3 /works/3 2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("/nowhere", ValueError, "no view answers '/nowhere'"),
        ("/other", ValueError, "does not lead to"),
        ("/works/3?q=closed", RuntimeError, "before_request"),
    ],
)
@unserved
async def test_a_path_that_cannot_be_refreshed_says_why(
    shop: Shop, path: str, error: type[Exception], text: str
) -> None:
    """Nothing is computed, and nothing is stored."""
    with pytest.raises(error, match=text):
        await shop.refresh(path=path)
    assert shop.calls == 0
    assert not quart.has_app_context()


@pytest.mark.parametrize("colour", ["sync"], indirect=True)
@unserved
async def test_a_sync_refresh_of_a_page_says_what_to_await(shop: Shop) -> None:
    """Requests are async here; of a memoized function it is what it was."""
    for named in ({"path": "/works/3"}, {"number": 3}):
        with pytest.raises(ColourError, match=r"await arefresh\(\)"):
            shop.works.refresh(**named)
    assert shop.calls == 0
    assert shop.cache.memoize()(lambda n: 2 * n).refresh(4) == 8


@pytest.mark.parametrize("colour", ["sync"], indirect=True)
@served
async def test_a_refresh_of_a_sync_view_does_not_block_the_loop(site: QuartSite) -> None:
    """It runs in a thread, where the loop has to go on for it to end."""
    go = threading.Event()
    view = site.view()(lambda: str(go.wait(PATIENCE)))
    refreshing = asyncio.ensure_future(view.arefresh(path="/works"))
    await asyncio.sleep(0.02)
    go.set()
    assert (await refreshing, await site.text()) == ("True", "True")


@ASYNC
@served
async def test_methods_of_class_views_are_refreshed_by_their_paths(site: QuartSite) -> None:
    """On an instance of the class that the path leads to, and of no other."""
    cache, calls = site.cache, []

    class Works(MethodView):
        @cache.cached()
        async def get(self, n: int) -> str:
            calls.append("get")
            return f"{type(self).__name__} {n} {len(calls)}"

        @cache.cached()
        def post(self, n: int) -> str:
            return "post"

    class Others(MethodView):
        @cache.cached()
        def get(self, n: int) -> str:
            calls.append("other")
            return f"{type(self).__name__} {n} {len(calls)}"

    class Decorated(MethodView):
        decorators = [cache.cached()]

        async def get(self, n: int) -> str:
            calls.append("decorated")
            return f"{type(self).__name__} {n} {len(calls)}"

    for kind in (Works, Others, Decorated):
        name = kind.__name__.lower()
        site.app.add_url_rule(f"/{name}/<int:n>", view_func=kind.as_view(name))
    assert await Works.get.refresh(path="/works/1") == "Works 1 1"
    assert await Others.get.arefresh(path="/others/1") == "Others 1 2"
    assert await Works.get.refresh(n=2) == "Works 2 3"
    decorated: Any = site.app.view_functions["decorated"]
    assert await decorated.refresh(path="/decorated/1") == "Decorated 1 4"
    paths = ["/works/1", "/others/1", "/works/2", "/decorated/1"]
    assert await site.texts(*paths) == ["Works 1 1", "Others 1 2", "Works 2 3", "Decorated 1 4"]
    with pytest.raises(ValueError, match="does not lead to"):
        await Works.get.refresh(path="/others/1")
    with pytest.raises(ValueError, match="does not lead to"):
        await Works.post.arefresh(path="/works/1")  # a GET does not lead there


@ASYNC
@served
async def test_an_abort_is_refreshed_as_the_answer_that_it_is(site: QuartSite) -> None:
    """It is stored, and raised."""
    view = site.view()(lambda: quart.abort(404, f"gone for good {site.calls}"))
    with pytest.raises(Exception, match="gone for good 1"):
        await view.refresh(path="/works")
    assert ((await site.get()).status_code, site.calls) == (404, 1)


@pytest.mark.parametrize("given", ["path", "header"])
def test_pages_of_apps_with_hosts_are_refreshed_by_url_or_header(colour: str, given: str) -> None:
    """The host is part of the page."""

    async def main() -> None:
        app = quart_app(host_matching=True, static_host="static")
        site = QuartSite(app, Cache(app, config=MEMORY), colour)
        view = site.face.cached()(site.counted(lambda name: f"{name} {site.calls}"))
        app.add_url_rule("/works", "works", view, host="<name>.example.org")
        refresh = view.refresh if site.is_async else view.arefresh
        hosts = {"headers": {"Host": "b.example.org"}}
        async with app.test_app():
            assert await site.text(**hosts) == "b 1"
            if given == "path":
                assert await refresh(path="http://b.example.org/works") == "b 2"
            else:
                assert await refresh(path="/works", **hosts) == "b 2"
            assert await refresh(name="c") == "c 3"
            assert await site.text(**hosts) == "b 2"
            assert await site.text(headers={"Host": "c.example.org"}) == "c 3"

    asyncio.run(main())


# --- failures and slowness ------------------------------------------------------------------------


@served
async def test_the_old_page_is_served_if_the_view_fails(site: QuartSite, clock: FakeClock) -> None:
    """``stale_if_error``: if it raises, or answers 5xx."""

    def body() -> Any:
        if site.calls == 2:
            raise OSError("down")
        return (f"down {site.calls}", 503) if site.calls == 3 else str(site.calls)

    site.view(timeout=10, stale_if_error=100)(body)
    assert await site.text() == "1"
    clock.advance(10)
    assert await site.texts("/works", "/works", "/works") == ["1", "1", "4"]


@served
async def test_after_the_soft_timeout_the_old_page_is_served(
    site: QuartSite, clock: FakeClock
) -> None:
    """And the computation goes on behind the request, and is stored."""
    held = Held(site)
    held.view(timeout=10, stale_if_error=600, soft_timeout=0.05)
    assert await site.text() == "1"
    clock.advance(10)
    assert await asyncio.gather(*[site.text() for _ in range(3)]) == ["1"] * 3
    assert held.calls == 2
    held.go.set()
    await stored(site, 2)
    assert (await site.text(), held.calls) == ("2", 2)


@ASYNC
@served
async def test_a_forced_update_computes_while_others_get_the_old_page(
    site: QuartSite, clock: FakeClock
) -> None:
    """A background job of Flask-Caching's kind: it forces, and waits."""
    held = Held(site)
    held.view(timeout=60, forced_update=lambda: "force" in request.args)
    assert await site.text() == "1"
    forcing = asyncio.ensure_future(site.text("/works?force"))
    await auntil(held.entered.is_set)
    assert await site.text() == "1"
    held.go.set()
    assert (await forcing, await site.text()) == ("2", "2")


# --- renewals -------------------------------------------------------------------------------------


@unserved
async def test_renewals_begin_and_end_with_serving(colour: str) -> None:
    """Async functions on the serving loop, sync ones in threads, in the app's context."""
    app = quart_app()
    site = QuartSite(app, cache := Cache(app, config=MEMORY), colour)
    own, seen = threading.get_ident(), []

    def body(n: int) -> str:
        seen.append((threading.get_ident() == own, quart.current_app.name))
        return f"{n} {len(seen)}"

    rates = site.face.memoize(60)(body)
    page = site.view()(lambda: f"{request.path} {site.calls}")
    cache.refresh_every(0.01, rates, 7)
    cache.refresh_every(0.01, page, path="/works")
    await asyncio.sleep(0.05)
    assert (seen, site.calls) == ([], 0)
    for _ in range(2):
        seen.clear()
        site.calls = 0
        async with app.test_app():
            await auntil(lambda: len(seen) >= 3 and site.calls >= 3)
            assert int((await site.text()).split()[1]) >= 2
        counts = len(seen), site.calls
        await asyncio.sleep(0.05)
        assert counts == (len(seen), site.calls)
        assert set(seen) == {(site.is_async, app.name)}


@served
async def test_a_renewal_that_is_arranged_while_the_app_is_served_begins_at_once(
    site: QuartSite,
) -> None:
    """And stops when it is told so, also on the loop that makes its rounds."""
    go = threading.Event()

    def body() -> int:
        site.calls += 1
        assert go.wait(PATIENCE)
        return site.calls

    async def abody() -> int:
        site.calls += 1
        await auntil(go.is_set)
        return site.calls

    renewal = site.cache.refresh_every(0.01, site.cache.memoize()(abody if site.is_async else body))
    await auntil(lambda: site.calls == 1)
    renewal.stop()  # does not wait for the round that is under way
    go.set()
    await auntil(lambda: site.cache.stats().stored == 1)
    await asyncio.sleep(0.05)
    assert site.calls == 1


@served
async def test_a_round_by_hand_is_awaited_on_the_loop(site: QuartSite) -> None:
    """``arun()``; ``run()`` there would wait for itself, and says so."""
    rates = site.face.memoize()(site.counted(lambda: site.calls))
    renewal = site.cache.refresh_every(3600, rates)
    await auntil(lambda: site.cache.stats().stored == 1)
    assert await renewal.arun()
    assert (await site.face.call(rates), site.calls) == (2, 2)
    with pytest.raises(ColourError, match=r"await arun\(\)"):
        renewal.run()
    assert await asyncio.to_thread(renewal.run)
    assert site.calls == 3
    renewal.stop()


@unserved
async def test_renewals_can_be_turned_off(colour: str) -> None:
    """``CACHE_RENEWALS = False`` in tests; a round by hand needs an app that is served."""
    app = quart_app()
    cache = Cache(app, config={**MEMORY, "CACHE_RENEWALS": False})
    site = QuartSite(app, cache, colour)
    rates = site.face.memoize()(site.counted(lambda: site.calls))
    renewal = cache.refresh_every(0.001, rates)
    async with app.test_app():
        await asyncio.sleep(0.03)
        assert site.calls == 0
        assert await renewal.arun() and site.calls == 1


def test_the_end_of_serving_waits_for_a_round_and_is_not_logged(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A bounded time; a round that is faster is stored."""

    async def main(slow: bool) -> None:
        app = quart_app()
        cache = Cache(app, config=MEMORY)
        entered, go = threading.Event(), threading.Event()

        def body() -> int:
            entered.set()
            assert go.wait(PATIENCE)
            return 1

        async def abody() -> int:
            entered.set()
            await auntil(go.is_set)
            return 1

        cache.refresh_every(3600, cache.memoize()(abody if colour == "async" else body))
        async with app.test_app():
            await auntil(entered.is_set)
            if not slow:
                asyncio.get_running_loop().call_later(0.05, go.set)
        assert cache.stats().stored == (not slow)
        if colour == "sync":
            go.set()

    asyncio.run(main(False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_caching_async.decorators.refresh_every.SHUTDOWN", 0.1)
        asyncio.run(main(True))
    time.sleep(0.05)
    assert not caplog.records


def test_of_several_apps_on_one_server_one_renews(
    redis_config: dict[str, Any], colour: str
) -> None:
    """The lease decides; it is given back when serving ends."""
    made: list[str] = []

    async def main() -> None:
        sites = []
        for name in ("first", "second"):
            app = quart_app()
            cache = Cache(app, config={**redis_config, "CACHE_RENEWALS": False})
            site = QuartSite(app, cache, colour)

            def rates(name: str = name) -> str:
                made.append(name)
                return name

            rates.__qualname__ = "rates"
            sites.append((app, cache.refresh_every(60, site.face.memoize()(rates))))
        (first_app, first), (second_app, second) = sites
        async with second_app.test_app():
            async with first_app.test_app():
                rounds = [await one.arun() for one in (first, second, first, second)]
                assert rounds == [True, False, True, False]
            assert await second.arun()
        assert made == ["first", "first", "second"]

    asyncio.run(main())


# --- no app at all --------------------------------------------------------------------------------


def test_a_program_without_an_app_refreshes_behind_its_back(colour: str, tmp_path: Path) -> None:
    """On the loop that runs, or in a thread."""
    cache = Cache.standalone(config_for("SimpleCache", tmp_path))
    clock = FakeClock()
    clock.install(cache)
    stage = Stage(cache, colour)
    body = Body(stage, 2)
    f = stage.memoize(**SWR)(body.function())

    async def story() -> None:
        assert await stage.call(f) == 1
        clock.advance(10)
        assert await stage.crowd(5, f) == [1] * 5
        await body.entered(2)
        body.go.set()
        await stage.until(lambda: cache.stats().stored == 2)
        assert (await stage.call(f), body.calls) == (2, 2)

    from flask_caching_async._runtime.colour import run_now

    if stage.is_async:
        asyncio.run(story())
    else:
        run_now(story())


def test_a_program_without_an_app_renews_on_its_loop(colour: str) -> None:
    """At once in a thread; in the block of the cache, async functions on that loop."""
    cache = Cache.standalone(MEMORY)
    own, seen = threading.get_ident(), []

    def body() -> int:
        seen.append(threading.get_ident() == own)
        return len(seen)

    async def abody() -> int:
        return body()

    f: Any = cache.memoize()(abody if colour == "async" else body)
    renewal = cache.refresh_every(0.01, f)

    async def main() -> None:
        await auntil(lambda: len(seen) >= 2)
        async with cache:
            seen.clear()
            await auntil(lambda: len(seen) >= 3)
            assert colour == "sync" or any(seen)
            renewal.stop()

    try:
        asyncio.run(main())
    finally:
        renewal.stop()
    assert colour == "async" or not any(seen)
