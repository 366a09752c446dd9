"""What a background refresh owns: contexts like its visitor's, pushed for it, and ended with it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import flask
import pytest
import quart
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.testing import FakeClock
from support.quart_sites import QuartSite, quart_app
from support.sites import Site
from support.waiting import PATIENCE, auntil, until

MEMORY = {"CACHE_TYPE": "SimpleCache"}
SWR: Any = {"timeout": 10, "stale_while_revalidate": 10_000}
SOFT: Any = {"timeout": 10, "stale_if_error": 10_000, "soft_timeout": PATIENCE}


class Connection:
    """Something that a view opens, and that a teardown function must close."""

    def __init__(self) -> None:
        self.closed = False


class Shop:
    """An app of one framework, whose pages are made with a connection in ``g``.

    :param framework: the module ``flask`` or ``quart``.
    """

    def __init__(self, framework: Any, colour: str, served: bool) -> None:
        self.framework, self.served = framework, served
        self.app: Any
        if framework is flask:
            self.app = Flask(__name__)
            self.app.testing = True
        else:
            self.app = quart_app()
        self.app.secret_key = "secret"
        self.cache = Cache(self.app, config=MEMORY)
        self.site: Any = (Site if framework is flask else QuartSite)(self.app, self.cache, colour)
        self.clock = FakeClock()
        self.clock.install(self.cache)
        self.opened: list[Connection] = []
        #: The error that each teardown was given, and the thread that ran it.
        self.ended: list[tuple[Any, int]] = []
        self.app.teardown_appcontext(self._teardown)

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    async def _ateardown(self, error: Any) -> None:
        self._close(error)

    def _close(self, error: Any) -> None:
        g = self.framework.g
        if (connection := g.pop("connection", None)) is not None:
            connection.closed = True
            self.ended.append((error, threading.get_ident()))

    @property
    def _teardown(self) -> Callable[..., Any]:
        return self._close if self.framework is flask else self._ateardown

    def connection(self) -> Connection:
        """The connection of the current context; opened where it has none."""
        g = self.framework.g
        if "connection" not in g:
            g.connection = Connection()
            self.opened.append(g.connection)
        assert not g.connection.closed
        return g.connection  # type: ignore[no-any-return]

    def run(self, story: Callable[[Any], Any]) -> None:
        """Run a story, which awaits what it is given to ask for a page."""

        async def get(path: str = "/works", **kwargs: Any) -> str:
            if self.framework is quart:
                return str(await self.site.text(path, **kwargs))
            return str(await asyncio.to_thread(self.site.text, path, **kwargs))

        async def main() -> None:
            if self.served:
                async with self.app.test_app():
                    await story(get)
            else:
                await story(get)

        asyncio.run(main())

    async def stored(self, count: int) -> None:
        """Wait until so many values were stored, and no refresh is under way."""
        await auntil(lambda: self.cache.stats().stored >= count)
        await auntil(lambda: all(connection.closed for connection in self.opened))

    async def stale(self, get: Any, path: str = "/works") -> str:
        """A page that has just become stale; asking begins its refresh."""
        self.clock.advance(10)
        return str(await get(path))


SERVED = [
    (flask, "sync", False),
    (flask, "async", False),
    (quart, "sync", True),
    (quart, "async", True),
]
UNSERVED = [(quart, "sync", False), (quart, "async", False)]


def way_name(way: Any) -> str:
    """``quart-async-served``."""
    return f"{way[0].__name__}-{way[1]}{'-served' * way[2]}"


#: Nothing renews an app that is not served.
renewing = pytest.mark.parametrize("shop", SERVED, ids=way_name, indirect=True)


@pytest.fixture(params=[*SERVED, *UNSERVED], ids=way_name)
def shop(request: pytest.FixtureRequest) -> Shop:
    """In both frameworks, with views in both colours."""
    return Shop(*request.param)


def test_what_a_refresh_opens_is_closed_with_it_and_only_once(shop: Shop) -> None:
    """Whatever a view finds in ``g``: its refresh opens its own, and its teardown closes that."""

    def works() -> str:
        shop.connection()
        return str(shop.site.calls)

    shop.site.view(**SWR)(works)

    async def story(get: Any) -> None:
        assert await get() == "1"
        for number in range(2, 6):
            assert await shop.stale(get) == str(number - 1)
            await shop.stored(number)
        assert await get() == "5"

    shop.run(story)
    assert len(shop.opened) == len(shop.ended) == 5
    assert [error for error, _ in shop.ended] == [None] * 5


def test_the_end_of_the_visitor_takes_nothing_away_from_a_refresh(shop: Shop) -> None:
    """Nor the other way: each has its own connection, as long as it needs it."""
    go, seen = threading.Event(), []

    @shop.app.before_request
    def before() -> None:
        shop.connection()

    @shop.cache.memoize(**SWR)
    def rates() -> int:
        mine = shop.connection()
        if seen:
            assert go.wait(PATIENCE)
        assert not mine.closed and shop.connection() is mine
        seen.append(mine)
        return len(seen)

    @shop.cache.memoize(**SWR)
    async def arates() -> int:
        mine = shop.connection()
        if seen:
            await auntil(go.is_set)
        assert not mine.closed and shop.connection() is mine
        seen.append(mine)
        return len(seen)

    @shop.app.route("/works")
    def works() -> str:
        return str(rates())

    @shop.app.route("/aworks")
    async def aworks() -> str:
        return str(await arates())

    path = "/aworks" if shop.site.is_async else "/works"

    async def story(get: Any) -> None:
        assert await get(path) == "1"
        assert await shop.stale(get, path) == "1"
        await auntil(lambda: len(shop.opened) == 3)
        await auntil(lambda: [one.closed for one in shop.opened].count(True) == 2)
        go.set()
        await shop.stored(2)
        assert await get(path) == "2"

    shop.run(story)
    assert len(set(seen)) == 2 and all(one.closed for one in shop.opened)


def test_the_contexts_of_a_refresh_end_with_its_failure(shop: Shop, caplog: Any) -> None:
    """So that a teardown function commits or rolls back as it should; one line is logged."""

    def works() -> str:
        shop.connection()
        if shop.site.calls == 2:
            raise OSError("down")
        return str(shop.site.calls)

    shop.site.view(**SWR)(works)

    async def story(get: Any) -> None:
        assert await get() == "1"
        assert await shop.stale(get) == "1"
        await auntil(lambda: len(shop.ended) == 2)
        shop.clock.advance(10)
        assert await get() == "1"
        await shop.stored(2)
        assert await get() == "3"

    with caplog.at_level(logging.ERROR):
        shop.run(story)
    first, failed, last = [error for error, _ in shop.ended]
    assert first is None and last is None and isinstance(failed, OSError)
    assert [record.name for record in caplog.records] == ["flask_caching_async"]


def test_a_refresh_does_first_what_the_app_does_before_a_request(shop: Shop) -> None:
    """Its ``g`` has what those functions put there, made anew, and the visitor's plain values."""
    g, request = shop.framework.g, shop.framework.request

    class User:
        """One that belongs to a connection, as a row of a database does."""

        def __init__(self, connection: Connection, name: str) -> None:
            self.connection, self.name = connection, name

    @shop.app.before_request
    def before() -> None:
        g.user = User(shop.connection(), request.headers["X-User"])
        g.language = "en"

    def works() -> str:
        assert g.user.connection is shop.connection() and not g.user.connection.closed
        return f"{g.user.name} {g.language} {g.get('theme')} {'lock' in g}"

    page = shop.site.face.cached(**SWR)(works)

    def themed() -> Any:
        g.theme, g.lock = "dark", threading.Lock()
        return page()

    async def athemed() -> Any:
        g.theme, g.lock = "dark", threading.Lock()
        return await page()

    shop.app.add_url_rule("/works", "works", athemed if shop.site.is_async else themed)
    alice = {"headers": {"X-User": "alice"}}

    async def story(get: Any) -> None:
        assert await get(**alice) == "alice en dark True"
        shop.clock.advance(10)
        assert await get(**alice) == "alice en dark True"
        await shop.stored(2)
        assert await get(**alice) == "alice en dark False"

    shop.run(story)
    assert shop.cache.stats().computed == 2


@pytest.mark.parametrize(
    ("error", "words"), [(None, "answered '/works'"), (OSError("no database"), "no database")]
)
def test_an_app_that_refuses_a_refresh_keeps_the_old_page(
    shop: Shop, caplog: Any, error: Exception | None, words: str
) -> None:
    """A ``before_request`` function answered or raised: that is logged, and tried again later."""
    refusing = threading.Event()

    @shop.app.before_request
    def before() -> Any:
        shop.connection()
        if refusing.is_set() and error is not None:
            raise error
        return ("closed", 403) if refusing.is_set() else None

    shop.site.numbers(**SWR)
    engine = shop.cache._binding().engine
    begin = engine.spawn

    def spawn(leader: Any, is_async: bool) -> None:
        refusing.set()  # the visitor has come in
        begin(leader, is_async)

    engine.spawn = spawn

    async def story(get: Any) -> None:
        assert await get() == "1"
        shop.clock.advance(10)
        assert await get() == "1"
        await auntil(lambda: caplog.records)
        await auntil(lambda: not engine.flights._flights)
        refusing.clear()
        shop.clock.advance(10)
        engine.spawn = begin
        assert await get() == "1"
        await shop.stored(2)
        assert await get() == "2"

    with caplog.at_level(logging.ERROR):
        shop.run(story)
    assert words in caplog.text and len(caplog.records) == 1
    assert all(one.closed for one in shop.opened)


def test_a_refresh_has_its_own_session_and_no_body(shop: Shop) -> None:
    """It reads what the visitor sent in a cookie; what it writes goes nowhere."""
    framework, sessions = shop.framework, []

    def see() -> Any:
        sessions.append(framework.session._get_current_object())
        framework.session["seen"] = "by a refresh"
        return framework.session.get("name")

    @shop.cache.memoize(**SWR)
    def rates() -> str:
        return f"{see()} {framework.request.method}"

    @shop.cache.memoize(**SWR)
    async def arates() -> str:
        data = framework.request.get_data(as_text=True)
        return f"{see()} {framework.request.method} {data if framework is flask else await data}"

    @shop.app.post("/works")
    def works() -> str:
        return str(rates())

    @shop.app.post("/aworks")
    async def aworks() -> str:
        return str(await arates())

    @shop.app.route("/login")
    def login() -> str:
        framework.session["name"] = "alice"
        return "hello"

    client = shop.app.test_client()

    async def ask(call: Any, *args: Any, **kwargs: Any) -> str:
        if framework is flask:
            return str((await asyncio.to_thread(call, *args, **kwargs)).text)
        return str(await (await call(*args, **kwargs)).get_data(as_text=True))

    # A def view of Quart cannot read a body.
    path, body = ("/aworks", " body") if shop.site.is_async else ("/works", "")

    async def story(get: Any) -> None:
        assert await ask(client.get, "/login") == "hello"
        assert await ask(client.post, path, data="body") == f"alice POST{body}"
        shop.clock.advance(10)
        assert await ask(client.post, path, data="body") == f"alice POST{body}"
        await shop.stored(2)
        answer = await ask(client.post, path, data="body")
        assert answer == ("alice POST " if body else "alice POST")

    shop.run(story)
    assert len(sessions) == 2 and sessions[0] is not sessions[1]


def test_a_function_that_runs_before_requests_is_no_obstacle_to_its_own_refresh(shop: Shop) -> None:
    """Its refresh asks for it, too, and gets the old value instead of waiting for itself."""
    calls = []

    @shop.cache.memoize(**SOFT)
    async def asettings() -> int:
        calls.append(1)
        return len(calls)

    @shop.cache.memoize(**SOFT)
    def settings() -> int:
        calls.append(1)
        return len(calls)

    if shop.site.is_async:

        @shop.app.before_request
        async def abefore() -> None:
            shop.framework.g.settings = await asettings()
    else:

        @shop.app.before_request
        def before() -> None:
            shop.framework.g.settings = settings()

    @shop.app.route("/works")
    def works() -> str:
        return str(shop.framework.g.settings)

    async def story(get: Any) -> None:
        assert await get() == "1"
        shop.clock.advance(10)
        assert await get() == "2"

    shop.run(story)


def test_a_page_that_is_refreshed_in_a_request_leaves_that_request_alone(shop: Shop) -> None:
    """What its ``before_request`` functions put into ``g`` is not what the request finds there."""
    g, request = shop.framework.g, shop.framework.request

    @shop.app.before_request
    def before() -> None:
        g.path = request.path
        shop.connection()

    page = shop.site.view(timeout=10)(lambda: f"{g.path} {shop.site.calls}")
    refresh = page.refresh if shop.site.is_async or shop.framework is flask else page.arefresh

    if shop.site.is_async or shop.framework is quart:

        @shop.app.route("/job")
        async def ajob() -> str:
            mine = shop.connection()
            made = await refresh(path="/works")
            assert shop.connection() is mine
            return f"{g.path} {made}"
    else:

        @shop.app.route("/job")
        def job() -> str:
            mine = shop.connection()
            made = refresh(path="/works")
            assert shop.connection() is mine
            return f"{g.path} {made}"

    async def story(get: Any) -> None:
        assert await get("/job") == "/job /works 1"
        assert await get("/works") == "/works 1"

    shop.run(story)
    assert len(shop.opened) == len(shop.ended) == 3


@renewing
def test_each_round_of_a_renewal_ends_what_it_has_opened(shop: Shop) -> None:
    """For a page and for a function; in its own thread, or in its own task."""

    def works() -> str:
        shop.connection()
        return str(shop.site.calls)

    page = shop.site.view(timeout=10)(works)

    async def arate() -> int:
        shop.connection()
        return 1

    def rate() -> int:
        shop.connection()
        return 1

    memoized = shop.cache.memoize(10)(arate if shop.site.is_async else rate)

    async def story(get: Any) -> None:
        renewals = [
            shop.cache.refresh_every(3600, page, path="/works"),
            shop.cache.refresh_every(3600, memoized),
        ]
        for renewal in renewals:
            renewal.start()
        await auntil(lambda: len(shop.ended) == 2)
        for renewal in renewals:
            await renewal.arun()
            renewal.stop()
        await auntil(lambda: len(shop.ended) == 4)

    shop.run(story)
    assert len(shop.opened) == len(shop.ended) == 4
    assert [error for error, _ in shop.ended] == [None] * 4
    until(lambda: all(one.closed for one in shop.opened))
