"""Settings: who wins, what is wrong with one, which backend it names, and what errors do."""

from __future__ import annotations

import hashlib
import itertools
import logging
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import cachelib
import pytest
from flask import Flask

from flask_caching_async import (
    BackendError,
    BackendTimeout,
    Cache,
    CacheWarning,
    ConfigurationError,
)
from flask_caching_async.backends import BaseCache, FileSystemCache, NullCache, SimpleCache
from flask_caching_async.config import effective_config
from flask_caching_async.serializers import JSONSerializer
from support.backends import SyncOnly
from support.faces import COLOURS, Face
from support.params import named, table
from support.waiting import auntil

MEMORY = {"CACHE_TYPE": "SimpleCache"}


# --- who wins -------------------------------------------------------------------------------------


def test_the_config_of_init_app_wins_over_the_constructors_over_the_apps(app: Flask) -> None:
    """And nobody's dict is changed."""
    app.config.update(CACHE_TYPE="SimpleCache", CACHE_DEFAULT_TIMEOUT=1, CACHE_THRESHOLD=1)
    of_cache, of_call = {"CACHE_DEFAULT_TIMEOUT": 2, "CACHE_THRESHOLD": 2}, {"CACHE_THRESHOLD": 3}
    before = dict(app.config)
    cache = Cache(config=of_cache)
    cache.init_app(app, config=of_call)
    assert cache.cache.default_timeout == 2
    assert cache.cache.memory.threshold == 3
    assert (of_cache, of_call) == (
        {"CACHE_DEFAULT_TIMEOUT": 2, "CACHE_THRESHOLD": 2}, {"CACHE_THRESHOLD": 3}
    )  # fmt: skip
    assert dict(app.config) == before
    assert Cache(app).cache.default_timeout == 1


def test_the_app_may_be_given_at_once(app: Flask) -> None:
    """``Cache(app)`` and ``Cache(app, config=...)``."""
    app.config["CACHE_TYPE"] = "SimpleCache"
    assert isinstance(Cache(app).cache, SimpleCache)
    assert isinstance(Cache(app, config={"CACHE_TYPE": "cachelib.SimpleCache"}).cache,
                      cachelib.SimpleCache)  # fmt: skip


@pytest.mark.parametrize("config", ["SimpleCache", [("CACHE_TYPE", "SimpleCache")], 1])
def test_a_config_that_is_no_dict_is_refused(app: Flask, config: Any) -> None:
    """Also a ValueError, as in Flask-Caching."""
    for make in (lambda: Cache(config=config), lambda: Cache().init_app(app, config=config)):
        with pytest.raises(ConfigurationError, match="config must be a dict"):
            make()


@pytest.mark.parametrize(
    ("value", "seconds"), [(10, 10), ("10", 10), (1.5, 1.5), (timedelta(minutes=1), 60), (0, 0)]
)
def test_the_default_timeout_may_be_written_in_many_ways(
    app: Flask, value: Any, seconds: float
) -> None:
    """A number, text as environments have it, a ``timedelta``; CACHE_OPTIONS wins."""
    cache = Cache(app, config={**MEMORY, "CACHE_DEFAULT_TIMEOUT": value})
    assert cache.cache.default_timeout == seconds
    options = {"CACHE_OPTIONS": {"default_timeout": value}, "CACHE_DEFAULT_TIMEOUT": 7}
    assert Cache(app, config={**MEMORY, **options}).cache.default_timeout == seconds


# --- wrong settings -------------------------------------------------------------------------------


def test_an_error_inside_of_a_users_backend_is_the_users(app: Flask) -> None:
    """It is not taken for a wrong setting."""

    def build(app: Any, config: Any, args: Any, kwargs: Any) -> Any:
        return len(5)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="has no len") as caught:
        Cache(app, config={"CACHE_TYPE": build})
    assert not isinstance(caught.value, ConfigurationError)


def test_a_failed_init_app_does_not_disturb_one_that_succeeded(app: Flask) -> None:
    """The cache goes on with what it had."""
    cache = Cache(app, config=MEMORY)
    cache.set("key", 1)
    with pytest.raises(ConfigurationError):
        cache.init_app(app, config={"CACHE_TYPE": "Zzz"})
    assert cache.get("key") == 1


# --- text -----------------------------------------------------------------------------------------


AS_TEXT = {
    "CACHE_STORE_PRIVATE": {
        "False": False,
        "0": False,
        "": False,
        "no": False,
        "TRUE": True,
        "1": True,
    },
    "CACHE_LOCK": {"off": False, "on": True, " yes ": True},
    "CACHE_RENEWALS": {"false": False, "true": True},
    "CACHE_THRESHOLD": {"10": 10, "0": 0},
    "CACHE_DEFAULT_TIMEOUT": {"60": 60, "0.5": 0.5, " 7 ": 7},
    "CACHE_JITTER": {"0.25": 0.25},
    "CACHE_BREAKER_THRESHOLD": {"3": 3},
    "CACHE_ON_ERROR": {"": None, "None": None, "log": "log", "Raise": "raise"},
    "CACHE_MEMCACHED_SERVERS": {
        "a:1,b:2": ["a:1", "b:2"],
        "a:1, b:2": ["a:1", "b:2"],
        "a:1": ["a:1"],
    },
}


@table("name", AS_TEXT)
def test_a_setting_in_text_means_what_it_says(name: str) -> None:
    """As the environment has it, where nothing else has a type."""
    for text, value in AS_TEXT[name].items():
        read = effective_config({name: text})[name]
        assert read == value and type(read) is type(value), text
    value = next(iter(AS_TEXT[name].values()))
    assert effective_config({name: value})[name] is value, "what has a type is left alone"


def test_settings_from_the_environment_work(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``from_prefixed_env`` leaves as text what is no JSON: ``False``, for example."""
    said = {
        "TYPE": "FileSystemCache",
        "DIR": str(tmp_path / "c"),
        "THRESHOLD": "2",
        "LOCK": "False",
    }
    for name, text in said.items():
        monkeypatch.setenv(f"SITE_CACHE_{name}", text)
    app.config.from_prefixed_env("SITE")
    cache = Cache(app, config={"CACHE_OPTIONS": {"threshold": "3"}})
    assert cache._binding().settings.lock is False
    for number in range(10):
        cache.set(str(number), number)
    assert sum(cache.get(str(number)) is not None for number in range(10)) <= 3


# --- warnings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CACHE_DEFUALT_TIMEOUT", "CACHE_DEFAULT_TIMEOUT"),
        ("CACHE_REDIS_URI", "CACHE_REDIS_URL"),
        ("CACHE_KEYPREFIX", "CACHE_KEY_PREFIX"),
        ("CACHE_MEMCACHED_SERVER", "CACHE_MEMCACHED_SERVERS"),
    ],
)
def test_a_setting_that_is_nearly_one_warns(app: Flask, name: str, meant: str) -> None:
    """It does nothing, and its user believes that it does; wherever it stands."""
    message = f"{name} is no setting of a cache; did you mean {meant}?"
    with pytest.warns(CacheWarning, match=message) as caught:
        Cache(app, config={**MEMORY, name: 5})
    assert caught[0].filename == __file__
    other = Flask("other")
    other.config[name] = 5
    with pytest.warns(CacheWarning, match=message):
        Cache(other, config=MEMORY)


def test_settings_of_others_do_not_warn(app: Flask) -> None:
    """A backend of your own, or another extension, may read them."""
    app.config.update(CACHE_BUSTER="x", CACHE_MY_SERVER="y", CACHE_CONTROL_MAX_AGE=5, CACHE=1)
    Cache(app, config={**MEMORY, "CACHE_SHARDS": 2})


@pytest.mark.parametrize("url", [None, ""])
def test_a_redis_url_that_says_nothing_warns(app: Flask, url: Any) -> None:
    """It was to come from the environment, and the cache would be on this machine."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url}
    with pytest.warns(CacheWarning, match="so the cache is on localhost:6379: say where Redis"):
        Cache(app, config=config)
    Cache(app, config={**config, "CACHE_REDIS_HOST": "redis"})


@pytest.mark.parametrize(
    ("config", "warns"),
    [
        ({}, True),
        ({"CACHE_TYPE": "NullCache"}, True),
        ({"CACHE_NO_NULL_WARNING": True}, False),
        ({"CACHE_TYPE": "flask_caching_async.backends.NullCache"}, False),
        ({"CACHE_TYPE": "flask_caching_async.backends.nullcache.NullCache"}, False),
        ({"CACHE_TYPE": NullCache}, False),
    ],
)
def test_the_short_name_of_null_cache_warns(
    app: Flask, config: dict[str, Any], warns: bool
) -> None:
    """Who writes it out means it; an app without CACHE_TYPE gets the warning, too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache = Cache(app, config=config)
    assert isinstance(cache.cache, NullCache)
    assert len(caught) == warns
    if warns:
        assert "CACHE_TYPE" in str(caught[0].message)
        assert caught[0].filename == __file__


def test_a_serializer_that_nobody_uses_warns(app: Flask) -> None:
    """The backend says how it stores values, or it has no serializer."""
    with pytest.warns(CacheWarning, match="SyncFactory uses no serializer") as caught:
        Cache(app, config={"CACHE_TYPE": SyncFactory, "CACHE_SERIALIZER": JSONSerializer})
    assert caught[0].filename == __file__


@pytest.mark.parametrize("serializer", [JSONSerializer, JSONSerializer()], ids=["class", "object"])
@pytest.mark.parametrize("kind", ["SimpleCache", "cachelib.SimpleCache", "FileSystemCache"])
def test_cache_serializer_takes_a_class_or_an_object(
    app: Flask, serializer: Any, kind: str, tmp_path: Path
) -> None:
    """It becomes the backend's."""
    config = {"CACHE_TYPE": kind, "CACHE_SERIALIZER": serializer}
    if kind == "FileSystemCache":
        config["CACHE_DIR"] = str(tmp_path)
    cache = Cache(app, config=config)
    assert type(cache.cache.serializer) is JSONSerializer
    assert cache.serializer is cache.cache.serializer


# --- which backend --------------------------------------------------------------------------------


class SyncFactory(SyncOnly):
    """A backend class of the user's, with the factory of the base class."""


class WithFactory(SyncOnly):
    """A backend class with a factory of its own."""

    given: tuple[Any, ...] = ()

    @classmethod
    def factory(cls, app: Any, config: Any, args: Any, kwargs: Any) -> WithFactory:
        made = cls()
        made.given = (app, config, args, kwargs)
        return made


class Plain:
    """No subclass of anything: as a driver's client may look."""

    def __init__(self, app: Any, config: Any, args: Any, kwargs: Any) -> None:
        self.held: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.held.get(key)

    def get_many(self, *keys: str) -> list[Any]:
        return [self.held.get(key) for key in keys]

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.held[key] = value
        return True

    def set_many(self, mapping: Any, timeout: Any = None) -> None:
        self.held.update(mapping)

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        return self.held.setdefault(key, value) is value

    def delete(self, key: str) -> bool:
        return self.held.pop(key, None) is not None

    def delete_many(self, *keys: str) -> None:
        for key in keys:
            self.delete(key)

    def clear(self) -> None:
        self.held.clear()


def build(app: Any, config: Any, args: Any, kwargs: Any) -> WithFactory:
    """A factory function, as Flask-Caching's docs show it."""
    return WithFactory.factory(app, config, args, kwargs)


@pytest.mark.parametrize(
    ("cache_type", "kind"),
    [
        ("SimpleCache", SimpleCache),
        (SimpleCache, SimpleCache),
        ("flask_caching_async.backends.SimpleCache", SimpleCache),
        ("flask_caching_async.backends.simplecache.SimpleCache", SimpleCache),
        ("flask_caching.backends.SimpleCache", SimpleCache),
        ("flask_caching.backends.simplecache.SimpleCache", SimpleCache),
        ("flask_caching.backends.FileSystemCache", FileSystemCache),
        ("flask_caching.backends.filesystemcache.FileSystemCache", FileSystemCache),
        ("flask_caching.backends.nullcache.NullCache", NullCache),
        ("cachelib.SimpleCache", cachelib.SimpleCache),
        ("cachelib.simple.SimpleCache", cachelib.SimpleCache),
        ("cachelib.FileSystemCache", cachelib.FileSystemCache),
        (cachelib.SimpleCache, cachelib.SimpleCache),
        (SyncFactory, SyncFactory),
        (WithFactory, WithFactory),
        (build, WithFactory),
        (Plain, Plain),
    ],
    ids=named,
)
@pytest.mark.asyncio
async def test_cache_type_names_a_backend_in_many_ways(
    app: Flask, cache_type: Any, kind: type, tmp_path: Path
) -> None:
    """A name, a path (also by Flask-Caching's), a class, a cachelib class, a factory function."""
    config: dict[str, Any] = {"CACHE_TYPE": cache_type, "CACHE_DIR": str(tmp_path)}
    if cache_type == "cachelib.FileSystemCache":
        config["CACHE_ARGS"] = [str(tmp_path)]
    cache = Cache(app, config=config)
    assert type(cache.cache) is kind
    assert app.extensions["cache"][cache] is cache.cache
    if kind is NullCache:
        return
    numbers = itertools.count()
    for colour in COLOURS:
        face = Face(cache, colour)
        await face.set("key", 1)
        assert await face.get("key") == 1
        f = face.memoize()(lambda a: next(numbers))
        assert await face.call(f, 1) == await face.call(f, 1)
        await face.delete_memoized(f)
        assert await face.get_many("key", "nothing") == [1, None]


def test_a_dotted_path_finds_the_users_backend(app: Flask, monkeypatch: Any) -> None:
    """A class or a function in a module."""
    import sys
    import types

    module: Any = types.ModuleType("users_backends")
    module.SyncFactory, module.build = SyncFactory, build
    monkeypatch.setitem(sys.modules, "users_backends", module)
    assert (
        type(Cache(app, config={"CACHE_TYPE": "users_backends.SyncFactory"}).cache) is SyncFactory
    )
    assert type(Cache(app, config={"CACHE_TYPE": "users_backends.build"}).cache) is WithFactory


def test_a_factory_gets_the_app_the_whole_config_and_copies(app: Flask) -> None:
    """CACHE_ARGS as a list, CACHE_OPTIONS with the default timeout; defaults are filled in."""
    given: dict[str, Any] = {
        "CACHE_TYPE": build, "CACHE_ARGS": (1, 2), "CACHE_OPTIONS": {"x": 1}, "OWN": "setting",
        "CACHE_DEFAULT_TIMEOUT": 7,
    }  # fmt: skip
    of_app, config, args, kwargs = Cache(app, config=given).cache.given
    assert of_app is app
    assert (config["OWN"], config["CACHE_THRESHOLD"], config["CACHE_KEY_PREFIX"]) == (
        "setting", 500, "flask_cache_"
    )  # fmt: skip
    assert config["CACHE_HASH_METHOD"] is hashlib.sha256
    assert args == [1, 2]
    assert (kwargs["default_timeout"], kwargs["x"]) == (7, 1)
    args.append(3)
    kwargs["y"] = 1
    assert (given["CACHE_ARGS"], given["CACHE_OPTIONS"]) == ((1, 2), {"x": 1})


def test_a_cachelib_class_gets_args_options_and_the_default_timeout_only(app: Flask) -> None:
    """Exactly what it was written for."""
    options = {"threshold": 7}
    cache = Cache(app, config={"CACHE_TYPE": "cachelib.SimpleCache", "CACHE_OPTIONS": options,
                               "CACHE_DEFAULT_TIMEOUT": 9, "CACHE_THRESHOLD": 3})  # fmt: skip
    assert (cache.cache._threshold, cache.cache.default_timeout) == (7, 9)


# --- a backend that fails -------------------------------------------------------------------------


class Failing(BaseCache):
    """A backend that raises whatever it is told to, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.held: dict[str, Any] = {}

    def _note(self, name: str) -> None:
        self.asked.append(name)
        if self.error is not None:
            raise self.error

    def get(self, key: str) -> Any:
        self._note("get")
        return self.held.get(key)

    def get_many(self, *keys: str) -> list[Any]:
        self._note("get_many")
        return [self.held.get(key) for key in keys]

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self._note("set")
        self.held[key] = value
        return True

    def delete(self, key: str) -> bool:
        self._note("delete")
        return self.held.pop(key, None) is not None

    def clear(self) -> bool:
        self._note("clear")
        self.held.clear()
        return True


class AsyncFailing(Failing):
    """The same, as an async-only backend."""

    async_native = True

    async def aget(self, key: str) -> Any:
        return Failing.get(self, key)

    async def aget_many(self, *keys: str) -> list[Any]:
        return Failing.get_many(self, *keys)

    async def aset(self, key: str, value: Any, timeout: Any = None) -> bool:
        return Failing.set(self, key, value, timeout)

    async def adelete(self, key: str) -> bool:
        return Failing.delete(self, key)

    async def aclear(self) -> bool:
        return Failing.clear(self)


@pytest.fixture(params=[Failing, AsyncFailing], ids=["sync backend", "async backend"])
def failing(request: pytest.FixtureRequest, app: Flask) -> Callable[[str | None], Cache]:
    """A cache on a backend that fails, for a value of CACHE_ON_ERROR."""

    def make(on_error: str | None) -> Cache:
        return Cache(app, config={"CACHE_TYPE": request.param, "CACHE_ON_ERROR": on_error})

    return make


OPERATIONS: dict[str, tuple[tuple[Any, ...], Any]] = {
    "get": (("key",), None),
    "has": (("key",), False),
    "get_many": (("a", "b"), [None, None]),
    "get_dict": (("a",), {"a": None}),
    "set": (("key", 1), False),
    "set_many": (({"key": 1},), []),
    "add": (("key", 1), False),
    "inc": (("key",), None),
    "dec": (("key",), None),
    "delete": (("key",), False),
    "delete_many": (("key",), []),
    "unlink": (("key",), []),
    "delete_tags": (("tag",), False),
    "clear": ((), False),
    "get_or_set": (("key", "made"), "made"),
}


@pytest.mark.asyncio
async def test_in_log_mode_a_failing_backend_is_an_empty_one(failing: Any, colour: str) -> None:
    """Reads find nothing, writes and deletions say that they were not done."""
    for name, (args, answer) in OPERATIONS.items():
        cache = failing("log")  # one that has not given up yet
        face = Face(cache, colour)
        cache.cache.error = OSError("refused")
        assert await getattr(face, name)(*args) == answer, name
        cache.cache.error = None
        await face.set("key", 1)
        assert await face.get("key") == 1, name


@pytest.mark.asyncio
async def test_in_raise_mode_every_operation_raises_a_backend_error(
    failing: Any, colour: str
) -> None:
    """The driver's own error is its cause; a timeout is a TimeoutError, too."""
    for name, (args, _) in OPERATIONS.items():
        cache = failing("raise")  # one that has not given up yet
        face = Face(cache, colour)
        cache.cache.error = OSError("refused")
        with pytest.raises(BackendError, match="Failing failed to.*refused") as caught:
            await getattr(face, name)(*args)
        assert caught.value.__cause__ is cache.cache.error, name
        assert not isinstance(caught.value, BackendTimeout), name
        cache.cache.error = TimeoutError("slow")
        with pytest.raises(BackendTimeout) as caught:
            await getattr(face, name)(*args)
        assert isinstance(caught.value, TimeoutError), name
        assert caught.value.__cause__ is cache.cache.error, name


@pytest.mark.asyncio
async def test_in_raise_mode_a_decorated_call_raises(failing: Any, colour: str) -> None:
    """It is for development: nobody overlooks a backend that is down."""
    cache = failing("raise")
    face = Face(cache, colour)
    f = face.memoize()(lambda: 1)
    cache.cache.error = OSError("refused")
    with pytest.raises(BackendError):
        await face.call(f)
    with pytest.raises(BackendError):
        await face.delete_memoized(f)


@pytest.mark.parametrize(
    ("on_error", "debug", "raises"),
    [(None, False, False), (None, True, True), ("log", True, False), ("raise", False, True)],
)
def test_debug_mode_is_what_decides_if_nothing_else_does(
    app: Flask, failing: Any, on_error: str | None, debug: bool, raises: bool
) -> None:
    """``CACHE_ON_ERROR=None``; the app's mode when it happens counts."""
    cache = failing(on_error)
    app.debug = debug
    cache.cache.error = OSError("refused")
    if raises:
        with pytest.raises(BackendError):
            cache.get("key")
    else:
        assert cache.get("key") is None


@pytest.mark.asyncio
async def test_after_a_failed_read_a_call_makes_no_further_operation(
    failing: Any, colour: str
) -> None:
    """A backend that is down is asked once per call, and the call is answered."""
    cache = failing("log")
    face, computed = Face(cache, colour), []
    f = face.memoize(tags=["t"])(lambda a: computed.append(a) or a)
    cache.cache.error = OSError("refused")
    for number in range(1, 4):
        cache.cache.asked.clear()
        assert await face.call(f, 5) == 5
        assert len(cache.cache.asked) == 1
        assert len(computed) == number
    cache.cache.asked.clear()
    assert await face.get_or_set("key", "made") == "made"
    assert len(cache.cache.asked) == 1
    cache.cache.error = None
    assert await face.call(f, 5) == await face.call(f, 5) == 5
    assert len(computed) == 4


def test_views_are_answered_as_if_there_were_no_cache(app: Flask, failing: Any) -> None:
    """Sync and async ones, and templates."""
    from flask import render_template_string

    cache = failing("log")
    app.add_url_rule("/sync", view_func=cache.cached()(lambda: "sync"), endpoint="sync")
    app.add_url_rule("/async", view_func=Face(cache, "async").cached()(lambda: "async"),
                     endpoint="async")  # fmt: skip
    app.add_url_rule("/template", view_func=lambda: render_template_string(
        "{% cache 60, 'name' %}body{% endcache %}"), endpoint="template")  # fmt: skip
    client = app.test_client()
    for error in (OSError("refused"), TimeoutError("slow"), ValueError("lies"), None):
        cache.cache.error = error
        pages = [client.get(f"/{name}").text for name in ("sync", "async", "template")]
        assert pages == ["sync", "async", "body"]


@pytest.mark.asyncio
async def test_failures_are_logged_once_per_change_of_state(
    failing: Any, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """When it begins, and when it is over; deletions that were not done each time."""
    cache = failing("log")
    face = Face(cache, colour)
    caplog.set_level(logging.INFO, logger="flask_caching_async")
    breaker = cache._binding().engine.store.failures.breaker
    breaker.reset = 0.05
    for _ in range(2):
        cache.cache.error = OSError("refused")
        for _ in range(3):
            await face.get("key")
            await face.set("key", 1)
        assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]
        assert "Failing failed to" in caplog.text and "refused" in caplog.text
        caplog.clear()
        cache.cache.error = None
        await auntil(lambda: not breaker.is_open)
        for _ in range(3):
            await face.get("key")
        told = [record.cache_event for record in caplog.records]  # type: ignore[attr-defined]
        assert told in (
            ["backend_up", "breaker_closed"],
            ["invalidation_replayed", "backend_up", "breaker_closed"],
        )
        caplog.clear()
    cache.cache.error = OSError("refused")
    await face.delete("key")
    assert "is not deleted yet" in caplog.text
