"""``explain()``: what a call would be answered with, and why; nothing is computed or changed."""

from __future__ import annotations

import asyncio
import json
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g, request, session
from quart import Quart

from flask_caching_async import Cache, ColourError, Explanation, cache_view_miss
from flask_caching_async.statistics.ledger import ZERO
from flask_caching_async.testing import FakeClock
from support.backends import config_for
from support.faces import Face
from support.params import table
from support.servers import HOST, MemcachedServer, RedisServer
from support.sites import Counting


def causes(explanation: Explanation) -> list[str]:
    """The words of its reasons."""
    return [reason.cause for reason in explanation.reasons]


class Site(Counting):
    """A Flask app with cached views, whose bodies are counted."""

    def __init__(self, app: Flask, face: Face) -> None:
        app.secret_key = "secret"
        self.app, self.face, self.explain = app, face, face.explain

    def view(self, rule: str, body: Any, **options: Any) -> Any:
        """Register a cached view."""
        view = self.face.cached(**options)(self.counted(body))
        self.app.add_url_rule(rule, rule, view)
        return view

    async def visit(self, path: str, **how: Any) -> str:
        """The page; from a thread, since no loop may run where Flask starts one."""
        response = await asyncio.to_thread(self.app.test_client().get, path, **how)
        return response.get_data(as_text=True)


@pytest.fixture
def site(app: Flask, face: Face) -> Site:
    """Views in both colours on a cache in memory."""
    return Site(app, face)


def user(number: int) -> str:
    """A page."""
    return f"user {number}"


# --- what is there ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_page_is_explained_before_and_after_it_was_stored(
    site: Site, clock: FakeClock
) -> None:
    """By its path: the key and its parts, the tags, what is stored, for how long yet."""
    options: Any = {"timeout": 60, "query_string": True, "tags": lambda number: [f"user:{number}"]}
    site.view("/users/<int:number>", user, stale_while_revalidate=30, **options)
    found = await site.explain("/users/7?page=2")
    assert (found.answer, causes(found), found.stored) == ("compute", ["absent"], None)
    assert (found.kind, found.made_of) == ("view", (("path", "/users/7"), ("query page", "2")))
    await site.visit("/users/7?page=2")
    clock.advance(20)
    found = await site.explain("/users/7", query_args={"page": 2})
    assert (found.answer, found.reasons, found.served) == ("hit", (), True)
    assert found.tags == found.stored.tags == ("user:7",)
    assert (found.stored.age, found.stored.fresh_for, found.stored.usable_for) == (20, 40, 70)
    assert (found.stored.kind, found.stored.size) == ("str", 6)
    assert site.face.cache.get(found.key) == "user 7"
    clock.advance(50)
    assert (await site.explain("/users/7?page=2")).answer == "stale"
    clock.advance(30)
    found = await site.explain("/users/7?page=2")
    assert (found.answer, causes(found)) == ("compute", ["expired"])
    assert site.calls == 1


@pytest.mark.asyncio
async def test_a_function_is_explained_by_its_arguments(face: Face, clock: FakeClock) -> None:
    """They are bound as in a call; what is not part of the key is left out."""
    f = face.memoize(args_to_ignore=["b"], tags=["sums"])(lambda a, b=2, *, c="x": a)
    found = await face.explain(f, 1, c=[3])
    assert found.made_of[1:] == (("argument a", "1"), ("argument c", "[3]"))
    assert (found.kind, found.answer, causes(found)) == ("function", "compute", ["absent"])
    assert found.tags == ("sums",)
    await face.call(f, 1, c=[3])
    assert (await face.explain(f, a=1, b=9, c=[3])).answer == "hit"
    with pytest.raises(TypeError, match="unexpected keyword argument 'd'"):
        await face.explain(f, 1, d=1)


class Shop:
    """Something with methods."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Shop({self.name!r})"


@pytest.mark.asyncio
async def test_methods_are_explained_as_they_are_reached(face: Face) -> None:
    """Through an instance, through the class, and a classmethod."""

    class Store(Shop):
        price = face.memoize()(lambda self, item: item)
        most = classmethod(face.memoize()(lambda cls, item: item))

    store = Store("a")
    await face.call(store.price, 1)
    assert (await face.explain(store.price, 1)).answer == "hit"
    found = await face.explain(Store.price, store, item=1)
    assert (found.answer, found.made_of[1]) == ("hit", ("argument self", "Shop('a')"))
    assert (await face.explain(Store("b").price, 1)).answer == "compute"
    await face.call(Store.most, 2)
    assert (await face.explain(Store.most, 2)).answer == "hit"


@pytest.mark.asyncio
async def test_nothing_is_computed_or_changed(
    any_face: Face, app: Flask, recwarn: pytest.WarningsRecorder
) -> None:
    """No figure, no entry, nothing learned, nothing warned of; neither view nor hooks are run."""
    any_face.cache.enable_signals = True
    site, told, before = Site(app, any_face), [], []
    site.view("/language", lambda: request.headers.get("Accept-Language", ""))
    site.view("/name", lambda: str(session.get("name")))
    f = any_face.memoize(tags=["all"])(site.counted(lambda a: a))
    app.before_request(lambda: before.append(1))
    for language in ("de", "fr"):
        await site.visit("/language", headers={"Accept-Language": language})
    await any_face.call(f, 1)
    calls, visits = site.calls, len(before)
    listener = cache_view_miss.connect(lambda *_, **more: told.append(more), weak=False)
    try:
        for _ in range(2):
            was = seen_of(any_face.cache)
            for language in ("de", "fr", "es"):
                headers = {"Accept-Language": language}
                found = await any_face.explain("/language", headers=headers)
                assert found.answer == ("compute" if language == "es" else "hit")
                assert ("header accept-language", language) in found.made_of
            for question in (("/name",), (f, 1), (f, 2), (f, object()), ("/none",)):
                await any_face.explain(*question)
            assert seen_of(any_face.cache) == was
            assert (site.calls, len(before), told) == (calls, visits, [])
            any_face.cache.delete_tags("all")
    finally:
        cache_view_miss.disconnect(listener)
    assert not recwarn.list


def seen_of(cache: Cache) -> Any:
    """All that an explanation might change."""
    binding = cache._binding()
    backend: Any = binding.timekeeper
    learned = [dict(s.learned.names) for s in binding.states.values() if s.learned.names]
    figures = {use: found for use, found in binding.ledger.figures().items() if found != ZERO}
    kept: Any = getattr(getattr(backend, "target", backend), "held", None) or getattr(
        getattr(backend, "target", backend), "_cache", None
    )
    if hasattr(backend, "memory"):
        kept = {key: (e.visited, e.kept) for key, e in backend.memory.entries.items()}
    elif backend.where:
        paths = [path for path in Path(backend.where).rglob("*") if path.is_file()]
        kept = {path: path.read_bytes() for path in paths}
    assert kept
    return cache.stats(), figures, learned, set(binding.warned), dict(kept)


@pytest.mark.asyncio
async def test_what_was_dropped_says_by_what(any_face: Face) -> None:
    """A tag, all of a function, its key, everything; as far as it is still there."""
    f = any_face.memoize(tags=["numbers"])(lambda a: a)
    name = f.__module__

    async def after(drop: str, *what: Any) -> str:
        await any_face.call(f, 1)
        assert (await any_face.explain(f, 1)).answer == "hit"
        await getattr(any_face, drop)(*what)
        found = await any_face.explain(f, 1)
        assert found.answer == "compute"
        assert found.reasons[0].cause in ("invalidated", "absent")
        return found.reasons[0].text

    assert "a deletion of the tag 'numbers'" in await after("delete_tags", "numbers")
    assert f"all that {name}" in await after("delete_memoized", f)
    await after("delete", (await any_face.explain(f, 1)).key)
    await after("clear")


@pytest.mark.asyncio
async def test_another_process_follows_what_the_pages_are_made_from_without_learning_it(
    app: Flask, tmp_path: Path
) -> None:
    """The entry under the plain key says so; then the entry of the variant is found."""
    config = config_for("FileSystemCache", tmp_path)
    first, second = Cache(app, config=config), Flask(app.name)

    def view() -> str:
        return request.headers.get("Accept-Language", "")

    app.add_url_rule("/", "view", first.cached()(view))
    other = Cache(second, config=config)
    second.add_url_rule("/", "view", other.cached()(view))
    app.test_client().get("/", headers={"Accept-Language": "de"})
    assert other.explain("/", headers={"Accept-Language": "de"}).answer == "hit"
    found = await other.aexplain("/", headers={"Accept-Language": "fr"})
    assert (found.answer, found.made_of[-1]) == ("compute", ("header accept-language", "fr"))
    (state,) = other._binding().states.values()
    assert state.learned.names == {}


def test_what_another_function_or_app_has_stored_is_shown_and_not_served(tmp_path: Path) -> None:
    """With the names of both: each would undo the other."""
    config = config_for("FileSystemCache", tmp_path)
    caches = []
    for name in ("one", "two"):
        app = Flask(name)
        caches.append((app, cache := Cache(app, config=config)))
        app.add_url_rule("/", "index", cache.cached()(lambda: "page"))
    caches[0][0].test_client().get("/")
    found = caches[1][1].explain("/")
    assert (found.answer, causes(found)) == ("compute", ["other"])
    assert "stored by" in found.reasons[0].text
    assert "CACHE_KEY_PREFIX" in found.reasons[0].text
    assert found.stored is not None


# --- why not ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_callbacks_are_asked_with_the_arguments_of_the_call(site: Site) -> None:
    """``unless``, ``forced_update`` and ``is_stale``; what is stored is shown all the same."""
    asked: list[Any] = []

    def says(name: str, answer: bool) -> Any:
        return lambda *args, **kwargs: asked.append((name, args[-1:], kwargs)) or answer

    f = site.face.memoize(
        unless=lambda function, a: a == 3,
        forced_update=lambda a: a == 4,
        is_stale=lambda value, a: a == 5,
    )(site.counted(lambda a: a))
    for a in (3, 4, 5, 6):
        site.face.cache.set((await site.face.explain(f, a)).key, a)
    found = {a: await site.face.explain(f, a) for a in (3, 4, 5, 6)}
    assert {a: (e.answer, causes(e)) for a, e in found.items()} == {
        3: ("bypass", ["unless"]),
        4: ("compute", ["forced"]),
        5: ("compute", ["stale"]),
        6: ("hit", []),
    }
    assert all(e.stored is not None for e in found.values())
    site.view("/", lambda: "page", unless=says("unless", True))
    assert causes(await site.explain("/")) == ["unless"]
    assert site.calls == 0


@pytest.mark.asyncio
async def test_a_callback_that_fails_is_told(site: Site) -> None:
    """What a call would do then is said, too."""
    site.view("/", lambda: "page", unless=lambda: 1 // 0)
    site.view("/key", lambda: "page", make_cache_key=lambda: 1 // 0)
    found = await site.explain("/")
    assert (found.answer, causes(found)) == ("bypass", ["callback"])
    assert "unless raised ZeroDivisionError" in found.reasons[0].text
    assert "raises it" in found.reasons[0].text
    found = await site.explain("/key")
    assert (found.answer, causes(found), found.key) == ("bypass", ["callback"], None)


@pytest.mark.asyncio
async def test_what_the_last_value_was_not_stored_for_is_told(site: Site) -> None:
    """Personal with what to write, the status, a filter; of this page, and not of another one."""
    site.view("/me", lambda: str(session.get("name")))
    site.view("/error", lambda: ("no", 403))
    site.view("/none", lambda: "page", response_filter=lambda value: False)
    site.view("/broken/<int:n>", lambda n: str(1 // n))
    for path in ("/me", "/error", "/none"):
        assert "absent" in causes(await site.explain(path))
        with pytest.warns(match="read the session") if path == "/me" else nullcontext():
            await site.visit(path)
    with pytest.raises(ZeroDivisionError):
        await site.visit("/broken/0")
    found = await site.explain("/me")
    assert causes(found) == ["personal", "absent"]
    assert "made from the session" in found.reasons[0].text
    assert "vary_on=lambda: session" in found.reasons[0].text
    assert "403" in (await site.explain("/error")).reasons[0].text
    assert causes(await site.explain("/none"))[0] == "filter"
    assert causes(await site.explain("/broken/0"))[0] == "failed"
    assert causes(await site.explain("/broken/1"))[0] == "absent"


@pytest.mark.asyncio
async def test_a_value_that_was_stored_since_is_what_counts(site: Site, clock: FakeClock) -> None:
    """What was said of the one before it is forgotten."""
    answers = ["page", ("no", 403)]
    site.view("/", lambda: answers.pop(), timeout=10)
    await site.visit("/")
    assert causes(await site.explain("/")) == ["status", "absent"]
    await site.visit("/")
    clock.advance(10)
    assert causes(await site.explain("/")) == ["expired"]


@pytest.mark.asyncio
async def test_a_path_that_is_not_cached_says_why(app: Flask, face: Face) -> None:
    """The wrong order, no decorator, another method, no such page, a redirect, another cache."""
    other = Cache(app, config={"CACHE_TYPE": "SimpleCache"})

    def order() -> str:
        return "page"

    app.add_url_rule("/order", view_func=order)
    wrong = face.cache.cached()(order)
    app.add_url_rule("/plain", "plain", lambda: "page")
    app.add_url_rule("/post", "post", lambda: "page", methods=["POST"])
    app.add_url_rule("/slash/", "slash", lambda: "page")
    app.add_url_rule("/other", "other", other.cached()(lambda: "page"))
    told = {
        "/order": ("order", "put @cache.cached below @app.route"),
        "/plain": ("not-cached", "write @cache.cached"),
        "/post": ("method", "answers POST only"),
        "/nothing": ("no-view", "404"),
        "/slash": ("no-view", "/slash/"),
        "/other": ("not-cached", "another Cache"),
    }
    for path, (cause, text) in told.items():
        found = await face.explain(path)
        assert (found.kind, found.answer, found.key) == (None, "not-cached", None)
        assert causes(found) == [cause], path
        assert text in found.reasons[0].text
    assert causes(await face.explain(wrong)) == ["order"]
    assert causes(await face.explain(order)) == ["order"]
    assert causes(await face.explain(print)) == ["not-cached"]


@pytest.mark.asyncio
async def test_a_path_is_asked_for_by_a_visitor_without_a_session(site: Site) -> None:
    """Unless the headers say who asks; hooks of the app are not called."""
    site.app.before_request(lambda: setattr(g, "hooked", True))
    site.view("/", lambda: "page", vary_on=lambda: (session.get("name"), g.get("hooked")))
    anonymous = await site.explain("/")
    assert anonymous.made_of[1] == ("vary_on[0]", "(None, None)")
    site.app.add_url_rule("/login", "login", lambda: session.update(name="ann") or "hello")
    client = site.app.test_client()
    client.get("/login")
    cookie = client.get_cookie("session")
    assert cookie is not None
    found = await site.explain("/", headers={"Cookie": f"session={cookie.value}"})
    assert found.made_of[1] == ("vary_on[0]", "('ann', None)")
    assert found.key != anonymous.key


@pytest.mark.asyncio
async def test_the_current_request_is_explained_without_a_path(site: Site) -> None:
    """As it came, and nothing is noted as read for a page around it."""
    found: list[Explanation] = []

    def view(number: int) -> str:
        found.append(site.face.cache.explain())
        return "page"

    site.view("/<int:number>", view)
    for _ in range(2):
        await site.visit("/3", headers={"X-Other": "a"})
    assert (found[0].made_of, len(found)) == ((("path", "/3"),), 1)
    with site.app.test_request_context("/3", method="POST"):
        assert causes(site.face.cache.explain()) == ["method"]
    with pytest.raises(ValueError, match="there is no request"):
        await site.explain()


@pytest.mark.asyncio
async def test_a_view_is_explained_by_its_arguments(site: Site) -> None:
    """Its page is the one that ``url_for`` leads to."""
    view = site.view("/users/<int:number>", user, query_string=True)
    await site.visit("/users/7?page=2")
    assert (await site.explain(view, 7, query_args="page=2")).answer == "hit"
    assert (await site.explain(view, number=7, page=2)).answer == "hit"
    assert (await site.explain(view, number=8)).made_of[0] == ("path", "/users/8")
    with pytest.raises(ValueError, match="no rule of the app leads to"):
        await site.explain(view)


@pytest.mark.asyncio
async def test_a_class_of_views_is_explained(app: Flask, face: Face) -> None:
    """Its methods are cached; the instance is made as the app makes it."""
    from flask.views import MethodView

    class Item(MethodView):
        def __init__(self, word: str) -> None:
            self.word = word

        get = face.cached(key_prefix="item/%s")(lambda self, number: f"{self.word} {number}")

    app.add_url_rule("/items/<int:number>", view_func=Item.as_view("item", "no"))
    await asyncio.to_thread(app.test_client().get, "/items/3")
    found = await face.explain("/items/3")
    assert (found.answer, found.made_of[1]) == ("hit", ("key_prefix", "item/%s"))


@pytest.mark.asyncio
async def test_an_argument_without_a_text_is_named(face: Face) -> None:
    """What it would be warned of is said instead; a call warns of it afterwards."""

    class Fleeting:
        __slots__ = ()

    f = face.memoize()(lambda a, b: a)
    found = await face.explain(f, 1, Fleeting())
    assert (found.answer, causes(found), found.key) == ("bypass", ["key"], None)
    assert "the argument 'b'" in found.reasons[0].text
    assert ("argument b", "<no text of its own>") in found.made_of
    with pytest.warns(match="the argument 'b'"):
        await face.call(f, 1, Fleeting())
    assert "the argument 'b'" in (await face.explain(f, 1, Fleeting())).reasons[0].text


@table(
    "what,more,error",
    [
        (7, {}, TypeError("a path or a decorated function, not 7")),
        ("/", {"number": 3}, TypeError("give arguments to a function only")),
        ("/?a=1", {"query_args": {"b": 2}}, ValueError("give one of them")),
    ],
)
def test_bad_questions_are_told_what_to_ask(what: Any, more: Any, error: Exception) -> None:
    """With a clear error."""
    cache = Cache(Flask("site"), config={"CACHE_TYPE": "SimpleCache"})
    with pytest.raises(type(error), match=str(error)):
        cache.explain(what, **more)


def test_an_async_callback_needs_the_awaitable_half(cache: Cache, app: Flask) -> None:
    """The error names it."""

    async def unless(*_: Any) -> bool:
        return False

    @cache.memoize(unless=unless)
    async def f() -> int:
        return 1

    with pytest.raises(ColourError, match="aexplain"):
        cache.explain(f)


# --- what can be wrong with the backend ---------------------------------------------------------


@pytest.mark.asyncio
async def test_a_cache_that_is_off_says_so(app: Flask, colour: str) -> None:
    """NullCache stores nothing."""
    app.config["CACHE_NO_NULL_WARNING"] = True
    face = Face(Cache(app, config={"CACHE_TYPE": "NullCache"}), colour)
    found = await face.explain(face.memoize()(lambda: 1))
    assert (found.answer, causes(found)) == ("compute", ["null"])
    assert found.key


@pytest.mark.asyncio
async def test_a_server_that_is_down_is_told_and_not_blamed(
    clean_redis: RedisServer, app: Flask, colour: str
) -> None:
    """What is asked here counts for no breaker, and pending deletions stay pending."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": clean_redis.url, "CACHE_LOCK": False}
    config |= {"CACHE_ON_ERROR": "log", "CACHE_BREAKER_THRESHOLD": 3, "CACHE_BREAKER_RESET": 3600}
    face = Face(Cache(app, config=config), colour)
    f = face.memoize(tags=["all"])(lambda a: a)
    await face.call(f, 1)
    keys = sorted(clean_redis.ask("KEYS", "*"))
    assert (await face.explain(f, 1)).answer == "hit"
    assert (await face.explain(f, 2)).answer == "compute"
    assert sorted(clean_redis.ask("KEYS", "*")) == keys
    clean_redis.kill()
    was = face.cache._binding().ledger.backend()
    for _ in range(4):
        found = await face.explain(f, 1)
        assert (found.answer, causes(found)) == ("compute", ["backend"])
    assert face.cache._binding().ledger.backend() == was
    await face.delete_tags("all")
    clean_redis.start()
    found = await face.explain(f, 1)
    assert "1 deletions are pending" in found.reasons[-1].text
    for _ in range(3):
        clean_redis.kill()
        await face.call(f, 1)
    clean_redis.start()
    assert "circuit breaker is open" in (await face.explain(f, 1)).reasons[0].text


@pytest.mark.asyncio
async def test_entries_on_several_servers_are_explained(
    clean_two_memcached: tuple[MemcachedServer, MemcachedServer], app: Flask, colour: str
) -> None:
    """Each by the server of its key; also over connections of the running loop."""
    names = [f"{HOST}:{server.port}" for server in clean_two_memcached]
    config = {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": names}
    face = Face(Cache(app, config=config), colour)
    f = face.memoize(tags=["all"])(lambda a: a)
    for a in range(4):
        await face.call(f, a)
    for dropped, answer in ((False, "hit"), (True, "compute")):
        if dropped:
            await face.delete_tags("all")
        for a in range(4):
            assert (await face.explain(f, a)).answer == answer
        async with face.cache as cache:
            found = await cache.aexplain(f, 3)
        assert (found.answer, found.stored.tags) == (answer, ("all",))
    assert causes(found) == ["invalidated"]


# --- how it is told -----------------------------------------------------------------------------


def test_an_explanation_can_be_read_and_is_plain_data(app: Flask, cache: Cache) -> None:
    """For people in lines, and for programs as what JSON can say."""
    clock = FakeClock()
    clock.install(cache)
    app.add_url_rule("/<name>", "page", cache.cached(60, tags=["pages"])(lambda name: "page"))
    app.test_client().get("/a")
    clock.advance(20)
    found = cache.explain("/a")
    name = found.name
    assert str(found).splitlines() == [
        f"{name} (view): answered from the cache",
        "  key      view//a",
        "  made of  path: /a",
        "  tags     pages",
        "  stored   computed 20 s ago; fresh for 40 s; about 4 bytes; str; tags pages",
    ]
    data = found.as_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["stored"] == {
        **{"age": 20.0, "fresh_for": 40.0, "usable_for": 40.0},
        **{"tags": ["pages"], "size": 4, "kind": "str"},
    }
    assert data["made_of"] == [["path", "/a"]]
    missing = cache.explain("/b").as_dict()
    assert missing["reasons"][0]["cause"] == "absent"


# --- Quart --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_pages_of_quart_are_explained(tmp_path: Path) -> None:
    """Of ``def`` and ``async def`` views; its requests are async, so that one awaits it."""
    app, hooks = Quart("site"), []
    cache = Cache(app, config=config_for("FileSystemCache", tmp_path))
    app.before_request(lambda: hooks.append(1))
    for colour in ("sync", "async"):
        view = Face(cache, colour).cached(60)(lambda number: f"page {number}")
        app.add_url_rule(f"/{colour}/<int:number>", colour, view)
    client = app.test_client()
    for colour in ("sync", "async"):
        assert causes(await cache.aexplain(f"/{colour}/1")) == ["absent"]
        await client.get(f"/{colour}/1")
        found = await cache.aexplain(f"/{colour}/1")
        assert (found.answer, found.made_of) == ("hit", (("path", f"/{colour}/1"),))
    assert len(hooks) == 2
    assert causes(await cache.aexplain("/nothing")) == ["no-view"]
    with pytest.raises(ColourError, match="aexplain"):
        cache.explain("/sync/1")


def test_a_function_of_a_quart_app_is_explained_in_sync_code() -> None:
    """Where no request is needed."""
    cache = Cache(Quart("site"), config={"CACHE_TYPE": "SimpleCache"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert causes(cache.explain(cache.memoize()(lambda a: a), 1)) == ["absent"]
