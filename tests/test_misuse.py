# ruff: noqa: E501 - one mistake a line
"""Mistakes in code and in settings, and what each is told: as early as can be, with what to write."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from cachelib.serializers import BaseSerializer
from flask import Flask

from flask_caching_async import Cache, ColourError, ConfigurationError, SerializationError
from flask_caching_async.backends import BaseCache
from flask_caching_async.exceptions import InvalidKeyError
from support.backends import SyncOnly
from support.params import table

MEMORY = {"CACHE_TYPE": "SimpleCache"}


def plain() -> int:
    """A function that is not decorated."""
    return 1


async def later(*args: Any) -> int:
    """An async callback."""
    return 1


class Misused:
    """A cache, and what its mistakes need."""

    def __init__(self) -> None:
        self.app = Flask("site")
        self.cache = Cache(self.app, config=MEMORY)
        self.alone = Cache.standalone(MEMORY)
        self.memoized = self.cache.memoize()(self._two)

    @staticmethod
    def _two(a: int, b: int = 0) -> int:
        return a + b


#: A mistake, the error, and what it says.
MISUSES: dict[str, tuple[Callable[[Misused], Any], type[BaseException], str]] = {
    # --- decorators -------------------------------------------------------------------------------
    "a negative timeout": (lambda m: m.cache.cached(-1), ConfigurationError, "timeout must be 0 seconds or more, not -1"),
    "a timeout that is no time": (lambda m: m.cache.memoize("soon"), TypeError, "timeout must be seconds or a timedelta, not 'soon'"),
    "a timeout that is true": (lambda m: m.cache.cached(True), ConfigurationError, "timeout must be 0 seconds or more, not True"),
    "a window that is true": (lambda m: m.cache.cached(stale_while_revalidate=True), ConfigurationError, "stale_while_revalidate must be 0 seconds or more, not True"),
    "a negative window": (lambda m: m.cache.cached(stale_if_error=-5), ConfigurationError, "stale_if_error must be 0 seconds or more, not -5"),
    "a lock_timeout that is none": (lambda m: m.cache.cached(lock_timeout="long"), TypeError, "lock_timeout must be seconds"),
    "a jitter above 1": (lambda m: m.cache.cached(jitter=5), ConfigurationError, "jitter is the share of a timeout, 0.0 to 1.0, not 5"),
    "a jitter that is true": (lambda m: m.cache.cached(jitter=True), ConfigurationError, "jitter is the share"),
    "a soft_timeout alone": (lambda m: m.cache.cached(soft_timeout=1), ConfigurationError, "stale_if_error says for how long there is one: set that, too"),
    "a client_timeout that is no time": (lambda m: m.cache.cached(http=True, client_timeout="long"), TypeError, "client_timeout must be seconds or a timedelta, not 'long'"),
    "a shared_timeout that is negative": (lambda m: m.cache.cached(http=True, shared_timeout=-1), ConfigurationError, "shared_timeout must be 0 seconds or more, not -1"),
    "times for what is told nothing": (lambda m: m.cache.cached(http=False, client_timeout=5), ConfigurationError, "http=False tells them nothing: leave that out"),
    "http that is neither": (lambda m: m.cache.cached(http="yes"), ConfigurationError, "http must be True, False or 'strict', not 'yes'"),
    "an unknown option": (lambda m: m.cache.cached(ttl=5), TypeError, "unexpected keyword argument 'ttl'"),
    "unless that cannot be called": (lambda m: m.cache.cached(unless=True), TypeError, "unless must be callable, not True"),
    "a filter that cannot be called": (lambda m: m.cache.memoize(response_filter=200), TypeError, "response_filter must be callable, not 200"),
    "an async callback on a sync function": (lambda m: m.cache.cached(unless=later)(plain), ColourError, "plain is a plain def, but unless is async; make the function `async def`"),
    "an async name on a sync function": (lambda m: m.cache.memoize(make_name=later)(plain), ColourError, "but make_name is async; make the function `async def`, or the callback `def`"),
    "vary_on a number": (lambda m: m.cache.cached(vary_on=[5])(plain), ConfigurationError, "vary_on takes header names, 'cookie:NAME' and callables, not 5"),
    "args_to_ignore that is no argument": (lambda m: m.cache.memoize(args_to_ignore=["c"])(m._two), ConfigurationError, r"args_to_ignore names \['c'\], but .*_two has only \['a', 'b'\]"),
    "args_to_ignore in one text": (lambda m: m.cache.memoize(args_to_ignore="session")(m._two), ConfigurationError, r"args_to_ignore names \['session'\]"),
    "a page without an app": (lambda m: m.alone.cached()(plain), ConfigurationError, r"plain has no path, since this cache has no app: give cached a key, as cached\(key_prefix='"),
    "a configuration in the second place": (lambda m: Cache(m.app, MEMORY), ConfigurationError, r"a configuration is given as Cache\(app, config=\{...\}\)"),
    "a configuration that is none": (lambda m: Cache(m.app, config="SimpleCache"), ConfigurationError, "config must be a dict of CACHE_"),
    # --- deleting ---------------------------------------------------------------------------------
    "deleting what is not memoized": (lambda m: m.cache.delete_memoized(plain), ValueError, "plain.* is not decorated"),
    "deleting what is not cached": (lambda m: m.cache.delete_cached(plain), ValueError, "plain.* is not decorated"),
    "deleting a memoized function as a view": (lambda m: m.cache.delete_cached(m.memoized), ValueError, "delete_memoized|cached"),
    "deleting with another cache": (lambda m: m.alone.delete_memoized(m.memoized), ValueError, "_two is decorated by another Cache; delete it there"),
    "deleting a call that cannot be": (lambda m: m.cache.delete_memoized(m.memoized, 1, 2, 3), ValueError, "no call of .*_two has these arguments: too many positional arguments"),
    "a tag that is None": (lambda m: m.cache.delete_tags(None), TypeError, "a tag is a text, not None"),
    "a tag in bytes": (lambda m: m.cache.set("k", 1, tags=[b"t"]), TypeError, "a tag is a text, not b't'"),
    "a tag without a text": (lambda m: m.cache.set("k", 1, tags=[object()]), TypeError, "cannot be a tag: its text is its memory address"),
    # --- by hand ----------------------------------------------------------------------------------
    "no key": (lambda m: m.cache.get(None), InvalidKeyError, "a cache key must be a string, not NoneType: None"),
    "a number as a key": (lambda m: m.cache.set(7, 1), InvalidKeyError, "a cache key must be a string, not int: 7"),
    "bytes as a key": (lambda m: m.cache.delete(b"k"), InvalidKeyError, "a cache key must be a string, not bytes"),
    "a step that is none": (lambda m: m.cache.inc("n", "1"), TypeError, "delta must be a number, not '1'"),
    "counting a text": (lambda m: (m.cache.set("t", "x"), m.cache.inc("t")), SerializationError, "cannot count 't'"),
    "a time that is none": (lambda m: m.cache.set("k", 1, timeout="soon"), TypeError, "timeout must be seconds or a timedelta, not 'soon'"),
    "renewing what is not cached": (lambda m: m.cache.refresh_every(5, plain), TypeError, "plain.* is neither memoized nor cached"),
    "renewing all the time": (lambda m: m.cache.refresh_every(0, m.memoized), TypeError, "every must be more than 0 seconds, not 0"),
    "a cache without an app": (lambda m: Cache().get("k"), RuntimeError, r"this cache has no app yet: call cache.init_app\(app\) first"),
}  # fmt: skip


@table("name", MISUSES)
def test_a_mistake_is_told_what_to_write(name: str) -> None:
    """By an error of its kind, with what was wrong in it; and the cache goes on."""
    misused = Misused()
    mistake, kind, message = MISUSES[name]
    with pytest.raises(kind, match=message):
        mistake(misused)
    misused.cache.set("key", 1)
    assert misused.cache.get("key") == 1 and misused.memoized(1) == 1


def test_an_argument_that_is_ignored_may_be_named_alone() -> None:
    """A text is one name, not its letters."""
    cache = Misused().cache
    calls: list[int] = []

    @cache.memoize(args_to_ignore="session")
    def works(n: int, session: object = None) -> int:
        calls.append(n)
        return n

    assert works(1, session="a") == works(1, session="b") == 1 and calls == [1]


# --- settings --------------------------------------------------------------------------------------


class NeedsArguments(BaseSerializer):
    """A serializer that cannot be made without arguments."""

    def __init__(self, secret: str) -> None: ...


class WithoutSet(BaseCache):
    """A backend whose author has forgotten something."""

    def get(self, key: str) -> Any:
        """Nothing is ever there."""

    async def adelete(self, key: str) -> bool:
        """There was nothing."""
        return False


def taking_nothing() -> BaseCache:
    """A factory function with the wrong signature."""
    return SyncOnly()


#: Settings, and what the error says.
WRONG_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "misspelled type": ({"CACHE_TYPE": "simplecache"}, "'simplecache'; did you mean 'SimpleCache'"),
    "old type": ({"CACHE_TYPE": "filesystem"}, r"did you mean 'FileSystemCache'"),
    "unknown type": ({"CACHE_TYPE": "Zzz"}, r"no CACHE_TYPE 'Zzz'.*SimpleCache"),
    "type of a wrong type": ({"CACHE_TYPE": 5}, r"CACHE_TYPE must be a name .* not 5"),
    "missing package": (
        {"CACHE_TYPE": "nobody_has_this.backend.Cache"},
        r"(?s)nobody_has_this.*pip install nobody_has_this",
    ),
    "missing class": ({"CACHE_TYPE": "cachelib.Nothing"}, r"cachelib\.Nothing"),
    "missing driver": (
        {"CACHE_TYPE": "cachelib.MongoDbCache"},
        r"cachelib\.MongoDbCache needs a package.*pip install pymongo",
    ),
    "timeout text": ({**MEMORY, "CACHE_DEFAULT_TIMEOUT": "soon"}, "CACHE_DEFAULT_TIMEOUT must be"),
    "timeout list": ({**MEMORY, "CACHE_DEFAULT_TIMEOUT": [5]}, "CACHE_DEFAULT_TIMEOUT must be"),
    "timeout bool": ({**MEMORY, "CACHE_DEFAULT_TIMEOUT": True}, "CACHE_DEFAULT_TIMEOUT must be"),
    "timeout negative": ({**MEMORY, "CACHE_DEFAULT_TIMEOUT": -1}, "CACHE_DEFAULT_TIMEOUT must be"),
    "lock timeout": ({**MEMORY, "CACHE_LOCK_TIMEOUT": None}, "CACHE_LOCK_TIMEOUT must be"),
    "lock timeout negative": ({**MEMORY, "CACHE_LOCK_TIMEOUT": -5}, "CACHE_LOCK_TIMEOUT must be"),
    "jitter text": ({**MEMORY, "CACHE_JITTER": "much"}, "CACHE_JITTER must be"),
    "jitter in percent": ({**MEMORY, "CACHE_JITTER": 10}, r"CACHE_JITTER .* 0\.0 to 1\.0, not 10"),
    "threshold": ({**MEMORY, "CACHE_THRESHOLD": "many"}, "CACHE_THRESHOLD must be .* not 'many'"),
    "threshold negative": ({**MEMORY, "CACHE_THRESHOLD": -1}, "CACHE_THRESHOLD must be"),
    "on error": ({**MEMORY, "CACHE_ON_ERROR": "ignore"}, "CACHE_ON_ERROR must be 'raise', 'log'"),
    "hash": ({**MEMORY, "CACHE_HASH_METHOD": "sha256"}, "CACHE_HASH_METHOD .*hashlib.sha256"),
    "serializer": ({**MEMORY, "CACHE_SERIALIZER": "json"}, "CACHE_SERIALIZER must be"),
    "serializer class": ({**MEMORY, "CACHE_SERIALIZER": dict}, "CACHE_SERIALIZER must be"),
    "serializer with arguments": (
        {**MEMORY, "CACHE_SERIALIZER": NeedsArguments},
        "NeedsArguments.*needs arguments",
    ),
    "args of a wrong type": ({**MEMORY, "CACHE_ARGS": 5}, "CACHE_ARGS must be a list"),
    "options of a wrong type": ({**MEMORY, "CACHE_OPTIONS": [1]}, "CACHE_OPTIONS must be a dict"),
    "options that nobody takes": (
        {**MEMORY, "CACHE_OPTIONS": {"colour": "red"}},
        "SimpleCache does not take these CACHE_ARGS and CACHE_OPTIONS.*colour",
    ),
    "options timeout": (
        {**MEMORY, "CACHE_OPTIONS": {"default_timeout": "soon"}},
        "'default_timeout' in CACHE_OPTIONS must be a number, not 'soon'",
    ),
    "variants": ({**MEMORY, "CACHE_VARIANTS": 0}, "CACHE_VARIANTS is how many .* 1 or more, not 0"),
    "variants in text": ({**MEMORY, "CACHE_VARIANTS": "many"}, "CACHE_VARIANTS must be a whole number"),
    "http": ({**MEMORY, "CACHE_HTTP": "perhaps"}, "CACHE_HTTP must be True, False or 'strict'"),
    "tag header": ({**MEMORY, "CACHE_TAG_HEADER": "Tags"}, "CACHE_TAG_HEADER must be one of Cache-Tag, Surrogate-Key, Cache-Groups"),
    "flag": ({**MEMORY, "CACHE_STORE_PRIVATE": "maybe"}, "CACHE_STORE_PRIVATE must be True"),
    "a share above 1": ({**MEMORY, "CACHE_JITTER": "1.5"}, "CACHE_JITTER is the share"),
    "threshold with a fraction": ({**MEMORY, "CACHE_THRESHOLD": "1.5"}, "must be a whole number"),
    "a backend without set": ({"CACHE_TYPE": WithoutSet}, "WithoutSet cannot be a .* without set"),
    "a database that is none": (
        {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": "redis://h/abc"},
        "CACHE_REDIS_URL ends in /abc, which is no number of a database",
    ),
    "args that nobody takes": (
        {**MEMORY, "CACHE_ARGS": [1, 2, 3, 4, 5, 6]},
        "does not take these CACHE_ARGS",
    ),
    "options that cachelib does not take": (
        {"CACHE_TYPE": "cachelib.SimpleCache", "CACHE_OPTIONS": {"colour": "red"}},
        "cachelib.SimpleCache does not take these.*colour",
    ),
    "a factory that takes nothing": (
        {"CACHE_TYPE": taking_nothing},
        "does not take these CACHE_ARGS and CACHE_OPTIONS",
    ),
    "no directory": ({"CACHE_TYPE": "FileSystemCache"}, "CACHE_DIR"),
    "directory of a wrong type": ({"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": 5}, "CACHE_DIR"),
    "directory that cannot be": (
        {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": "/dev/null/cache"},
        "CACHE_DIR.*/dev/null/cache",
    ),
}  # fmt: skip


@table("name", WRONG_SETTINGS)
def test_a_wrong_setting_fails_at_init_app_and_leaves_the_app_as_it_was(name: str) -> None:
    """With what to write instead; it is a ValueError, too."""
    app = Flask(__name__)
    config, message = WRONG_SETTINGS[name]
    before = (dict(app.config), dict(app.extensions), dict(vars(app)))
    cache = Cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConfigurationError, match=message) as caught:
            cache.init_app(app, config=config)
    assert isinstance(caught.value, ValueError)
    assert (dict(app.config), dict(app.extensions), dict(vars(app))) == before
    assert cache.app is None
    cache.init_app(app, config=MEMORY)
    cache.set("key", 1)
    assert cache.get("key") == 1
