"""Several caches on one app, one cache on several apps, and no app at all."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import threading
import warnings
import weakref
from typing import Any

import pytest
from flask import Flask, current_app

from flask_caching_async import Cache, CacheError, NotInitializedError
from flask_caching_async.testing import FakeClock
from support.faces import Face
from support.waiting import PATIENCE

MEMORY = {"CACHE_TYPE": "SimpleCache"}


def make_app(name: str = "app", **config: Any) -> Flask:
    """An app with its own configuration."""
    app = Flask(name)
    app.config.update(MEMORY | config)
    return app


# --- no app ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_cache_without_an_app_says_what_to_do(colour: str) -> None:
    """Operations, functions and deletions; decorating is fine."""
    cache = Cache()
    face = Face(cache, colour)
    f = face.memoize()(lambda: 1)
    view = face.cached(key_prefix="key")(lambda: 1)
    for call in (
        lambda: face.get("key"),
        lambda: face.set("key", 1),
        lambda: face.clear(),
        lambda: face.close(),
        lambda: face.get_or_set("key", 1),
        lambda: face.call(f),
        lambda: face.call(view),
        lambda: face.call(f.refresh),
        lambda: face.delete_memoized(f),
        lambda: face.delete_cached(view),
    ):
        with pytest.raises(NotInitializedError, match=r"init_app\(app\)") as caught:
            await call()
        assert isinstance(caught.value, (CacheError, RuntimeError))
    with pytest.raises(NotInitializedError):
        cache.cache  # noqa: B018
    with pytest.raises(NotInitializedError):
        cache.stats()
    assert (cache.app, cache.hash_method, cache.source_check, cache.serializer) == (None,) * 4
    assert cache.enable_signals is False
    cache.init_app(make_app())
    assert await face.call(f) == await face.call(view) == 1


def test_an_app_that_the_cache_does_not_know_is_named() -> None:
    """Of several apps, one was forgotten."""
    cache, forgotten = Cache(), make_app("forgotten")
    apps = [make_app("one"), make_app("two")]
    for app in apps:
        cache.init_app(app)
    with forgotten.app_context(), pytest.raises(NotInitializedError, match="forgotten.*init_app"):
        cache.get("key")


def test_a_page_outside_of_a_request_says_what_to_do(cache: Cache, colour: str) -> None:
    """A view's key is made of its request; the error names the ways out."""
    face = Face(cache, colour)
    view = face.cached()(lambda: "page")
    with pytest.raises(NotInitializedError, match="key_prefix.*memoize"):
        asyncio.run(face.call(view))


# --- several caches on one app --------------------------------------------------------------------


@pytest.mark.asyncio
async def test_caches_on_one_app_do_not_meet(app: Flask, colour: str) -> None:
    """Each has its backend, its settings and its deletions."""
    one = Cache(app, config={**MEMORY, "CACHE_DEFAULT_TIMEOUT": 10})
    two = Cache(app, config={**MEMORY, "CACHE_DEFAULT_TIMEOUT": 100})
    first, second = Face(one, colour), Face(two, colour)
    assert app.extensions["cache"][one] is one.cache is not two.cache
    assert app.extensions["cache"][two] is two.cache
    await first.set("key", 1)
    assert await second.get("key") is None
    await second.set("key", 2)
    await first.clear()
    assert await second.get("key") == 2
    assert (one.cache.default_timeout, two.cache.default_timeout) == (10, 100)
    f = first.memoize()(lambda: 1)
    await first.call(f)
    assert (one.stats().computed, two.stats().computed) == (1, 0)


def test_a_function_may_be_cached_by_two_caches(app: Flask) -> None:
    """In memory for seconds, above a slower cache for hours."""
    near, far = Cache(app, config=MEMORY), Cache(app, config=MEMORY)
    calls: list[int] = []

    @near.memoize(timeout=5)
    @far.memoize(timeout=3600)
    def f(a: int) -> int:
        calls.append(a)
        return a

    assert f(1) == f(1) == 1
    near.delete_memoized(f)
    assert f(1) == 1
    assert calls == [1]


# --- one cache on several apps --------------------------------------------------------------------


@pytest.mark.asyncio
async def test_each_app_has_its_own_settings_and_values(colour: str) -> None:
    """The app of the context counts, not the one that was set up last."""
    apps = [
        make_app("a", CACHE_DEFAULT_TIMEOUT=10, CACHE_HASH_METHOD=hashlib.md5),
        make_app("b", CACHE_DEFAULT_TIMEOUT=100, CACHE_SOURCE_CHECK=True),
        make_app("c", CACHE_TYPE="cachelib.SimpleCache", CACHE_ENABLE_SIGNALS=True),
    ]
    cache = Cache()
    face = Face(cache, colour)
    f = face.memoize()(lambda: len(calls) or calls.append(1))
    calls: list[int] = []
    for app in apps:
        cache.init_app(app)
    for app in apps:
        with app.app_context():
            assert await face.get("key") is None
            await face.set("key", app.name)
            assert cache.cache is app.extensions["cache"][cache]
    for app in (*apps, *reversed(apps)):
        with app.app_context():
            assert await face.get("key") == app.name
    with apps[0].app_context():
        assert cache.hash_method is hashlib.md5
        assert (cache.source_check, cache.enable_signals) == (False, False)
        assert cache.cache.default_timeout == 10
    with apps[1].app_context():
        assert cache.hash_method is hashlib.sha256
        assert (cache.source_check, cache.enable_signals) == (True, False)
    with apps[2].app_context():
        assert cache.enable_signals is True
    # Outside of any context: the last one.
    assert cache.app is apps[2]
    assert await face.get("key") == "c"
    assert f.uncached is not None


@pytest.mark.asyncio
async def test_functions_and_deletions_are_the_apps_of_the_context(colour: str) -> None:
    """An entry of one app is not served, and not dropped, on the other."""
    one, two = make_app("one"), make_app("two")
    cache = Cache()
    face = Face(cache, colour)
    computed: list[str] = []

    @face.memoize(tags=["t"])
    def f() -> str:
        from flask import current_app

        computed.append(current_app.name)
        return current_app.name

    for app in (one, two):
        cache.init_app(app)
    for _ in range(2):
        for app in (one, two):
            with app.app_context():
                assert await face.call(f) == app.name
    assert computed == ["one", "two"]
    with one.app_context():
        await face.delete_memoized(f)
        assert await face.call(f) == "one"
        assert cache.stats().computed == 2
    with two.app_context():
        assert await face.call(f) == "two"
        await face.delete_tags("t")
        assert await face.call(f) == "two"
    assert computed == ["one", "two", "one", "two"]


def test_settings_assigned_in_a_context_change_that_app_only() -> None:
    """And do not make it the last one."""
    one, two = make_app("one"), make_app("two")
    cache = Cache()
    for app in (one, two):
        cache.init_app(app)
    with one.app_context():
        cache.set("key", "one")
        cache.hash_method = hashlib.md5
        cache.source_check = True
        cache.enable_signals = True
        assert (cache.hash_method, cache.source_check) == (hashlib.md5, True)
        assert cache.get("key") == "one"
    assert cache.app is two
    for found in (cache.hash_method, cache._binding().settings.hash_method):
        assert found is hashlib.sha256
    assert (cache.source_check, cache.enable_signals) == (False, False)
    assert cache.get("key") is None


def test_views_of_two_apps_are_kept_apart() -> None:
    """The same path, the same view, the same cache."""
    cache = Cache()
    apps = [make_app("one"), make_app("two")]

    @cache.cached()
    def view() -> str:
        from flask import current_app

        return current_app.name

    async def abody() -> str:
        return view.uncached()

    aview = cache.cached()(abody)
    for app in apps:
        cache.init_app(app)
        app.add_url_rule("/view", view_func=view, endpoint="view")
        app.add_url_rule("/aview", view_func=aview, endpoint="aview")
    for _ in range(2):
        for app in apps:
            client = app.test_client()
            assert client.get("/view").text == client.get("/aview").text == app.name


def test_a_call_on_another_app_in_between_changes_nothing() -> None:
    """Threads serve several apps: what one of them asks for must not decide for another."""
    cache = Cache()
    one, two = make_app("one"), make_app("two")
    for app in (one, two):
        cache.init_app(app)

    @cache.memoize()
    def f(a: Any) -> str:
        from flask import current_app

        return current_app.name

    class Meanwhile:
        def __repr__(self) -> str:
            with two.app_context():
                f(0)
            return "Meanwhile()"

    with one.app_context():
        f(0)
        assert f(Meanwhile()) == "one"
        assert cache.stats().computed == 2


# --- init_app, again ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_init_app_twice_begins_anew(app: Flask, colour: str) -> None:
    """With the new settings; decorated functions follow."""
    cache = Cache()
    face, computed = Face(cache, colour), []
    f = face.memoize()(lambda: len(computed) or computed.append(1) or 1)
    cache.init_app(app, config={**MEMORY, "CACHE_DEFAULT_TIMEOUT": 1})
    await face.call(f)
    await face.set("key", 1)
    cache.init_app(app, config={**MEMORY, "CACHE_DEFAULT_TIMEOUT": 2})
    assert cache.cache.default_timeout == 2
    assert await face.get("key") is None
    await face.call(f)
    assert cache.stats().computed == 1
    original = app.async_to_sync
    cache.init_app(app, config=MEMORY)
    assert app.async_to_sync is original, "wrapped once, however often it is set up"


def test_a_cache_may_be_set_up_after_its_functions_were_used_elsewhere() -> None:
    """The usual factory: each call makes an app, and tests make many."""
    cache = Cache()
    calls: list[int] = []
    f = cache.memoize()(lambda: calls.append(1) or len(calls))
    for number in range(1, 4):
        cache.init_app(make_app(f"app {number}"))
        assert f() == f() == number


def test_apps_that_are_gone_leave_nothing_behind() -> None:
    """A cache holds its last app only."""
    cache = Cache()
    f = cache.memoize()(lambda: 1)
    gone = []
    for number in range(5):
        app = make_app(f"app {number}")
        cache.init_app(app)
        with app.app_context():
            f()
        gone.append(weakref.ref(app))
        del app
    gc.collect()
    assert [ref() is None for ref in gone] == [True] * 4 + [False]


def test_without_the_template_tag_nothing_is_added_to_the_templates(app: Flask) -> None:
    """``with_jinja2_ext=False``."""
    Cache(app, with_jinja2_ext=False, config=MEMORY)
    assert "flask_caching_async.jinja2ext.CacheExtension" not in app.jinja_env.extensions
    Cache(app, config=MEMORY)
    assert "flask_caching_async.jinja2ext.CacheExtension" in app.jinja_env.extensions


def test_threads_of_several_apps_use_one_cache_at_once() -> None:
    """Each finds its own."""
    cache = Cache()
    apps = [make_app(f"app {n}") for n in range(4)]
    for app in apps:
        cache.init_app(app)
    failures: list[Any] = []
    start = threading.Barrier(4)

    def work(app: Flask) -> None:
        with app.app_context():
            start.wait(PATIENCE)
            for number in range(50):
                cache.set(f"key {number}", app.name)
                found = cache.get(f"key {number}")
                if found != app.name:
                    failures.append((app.name, found))

    threads = [threading.Thread(target=work, args=(app,)) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_wrong_order_of_decorators_warns_in_debug_mode(app: Flask, cache: Cache) -> None:
    """The view was registered before it was cached, so requests never reach the cache."""
    app.debug = True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        @cache.cached()
        @app.route("/")
        def wrong_order_of_decorators() -> str:
            return "page"

    assert len(caught) == 1
    assert "@cache.cached below @app.route" in str(caught[0].message)
    assert "wrong_order_of_decorators" in str(caught[0].message)


def test_a_fake_clock_is_installed_for_one_app() -> None:
    """Help for the tests of users."""
    cache, clock = Cache(), FakeClock(1000)
    cache.init_app(make_app())
    clock.install(cache)
    cache.set("key", 1, 60)
    clock.advance(59)
    assert (clock(), cache.get("key")) == (1059, 1)
    clock.advance(1)
    assert cache.get("key") is None


def test_a_page_of_an_app_that_was_not_set_up_is_refused(colour: str) -> None:
    """Its pages would get mixed up with those of the app that was."""
    known, unknown = make_app("known"), Flask("unknown")
    unknown.testing = True
    cache = Cache(known)
    page = Face(cache, colour).cached()(lambda: current_app.name)
    for app in (known, unknown):
        app.add_url_rule("/", "page", page)
    assert known.test_client().get("/").text == "known"
    with pytest.raises(NotInitializedError, match="not set up for <Flask 'unknown'>"):
        unknown.test_client().get("/")
