"""The options of the decorators: declared once, shown everywhere."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

import numpy
import pytest
from flask import Flask

from flask_caching_async import Cache, CachedResponse
from flask_caching_async.decorators.options import DecoratorOptions, Options
from flask_caching_async.testing import FakeClock
from support.params import table

#: Flask-Caching's arguments, in its order.
POSITIONAL = {
    "cached": (
        "timeout key_prefix unless forced_update is_stale response_filter query_string hash_method "
        "cache_none make_cache_key source_check response_hit_indication"
    ).split(),
    "memoize": (
        "timeout make_name unless forced_update is_stale response_filter hash_method cache_none "
        "source_check args_to_ignore"
    ).split(),
}


@pytest.mark.parametrize("name", POSITIONAL)
def test_a_signature_shows_every_option(name: str) -> None:
    """``inspect.signature`` has their names and defaults, and ``help()`` a line for each."""
    decorator = getattr(Cache(), name)
    parameters = inspect.signature(decorator).parameters
    by_place = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_name = {n: p.default for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert by_place == POSITIONAL[name]
    assert by_name.items() >= {
        "lock": None, "lock_timeout": None, "stale_while_revalidate": 0, "stale_if_error": 0,
        "jitter": None, "soft_timeout": None, "tags": (),
    }.items()  # fmt: skip
    assert len(parameters) == len(by_place) + len(by_name)
    described = [option for option in DecoratorOptions.__annotations__]
    assert [option for option in described if f":param {option}: " not in decorator.__doc__] == []


def test_type_checkers_know_the_options_that_are_read() -> None:
    """Both declarations have the same names."""
    shown = [field.name for field in dataclasses.fields(Options) if field.metadata["doc"]]
    assert shown == list(DecoratorOptions.__annotations__)


@pytest.mark.parametrize("name", POSITIONAL)
def test_an_unknown_option_is_named(name: str) -> None:
    """When the decorator is called, not when the function is."""
    decorator: Any = getattr(Cache(), name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        decorator(nonsense=1)


# --- parentheses ----------------------------------------------------------------------------------


def bare_without_arguments(decorator: Any) -> None:
    """A function, or a view."""

    @decorator
    def f() -> int:
        return 1


def bare_with_one_argument(decorator: Any) -> None:
    """It could be a callable timeout by its signature."""

    @decorator
    def f(number: int) -> int:
        return number


def bare_on_an_async_one_below_another(decorator: Any) -> None:
    """A view with an argument."""

    @Flask(__name__).route("/<number>")
    @decorator
    async def f(number: int) -> int:
        return number


def bare_on_one_line(decorator: Any) -> None:
    """The body stands in the line of its ``def``."""
    exec("@decorator\ndef f(number): return number\n", {"decorator": decorator})


def bare_with_more_arguments(decorator: Any) -> None:
    """It takes more than a value."""

    @decorator
    def f(a: int, b: int) -> int:
        return a + b


def bare_on_a_method(decorator: Any) -> None:
    """It takes nothing but its instance."""

    class Shop:
        @decorator
        def price(self) -> int:
            return 1


def bare_on_other_kinds(decorator: Any) -> None:
    """What is made of a method by another decorator."""
    for kind in (property, staticmethod, classmethod):
        with pytest.raises(TypeError, match="write the parentheses"):
            decorator(kind(lambda owner: 1))
    decorator(Cache().memoize()(lambda value: 1))


def bare_on_a_class(decorator: Any) -> None:
    """Which no decorator of ours takes."""

    @decorator
    class Shop:
        pass


@table("decorator", ["cached", "memoize"])
@table(
    "use",
    [
        bare_without_arguments, bare_with_one_argument, bare_on_an_async_one_below_another,
        bare_on_one_line, bare_with_more_arguments, bare_on_a_method, bare_on_other_kinds,
        bare_on_a_class,
    ],
)  # fmt: skip
def test_a_decorator_without_parentheses_says_what_to_write(use: Any, decorator: str) -> None:
    """At decoration: the function would be taken for a timeout, and never be called."""
    with pytest.raises(TypeError, match=rf"write the parentheses, @cache\.{decorator}\(\)"):
        use(getattr(Cache(), decorator))


def test_a_callable_timeout_is_none(cache: Cache) -> None:
    """A function with a name, also in a prompt, where each statement is on line 1."""

    def minute(value: int) -> int:
        return 60

    for timeout in (minute, lambda value: 60, functools.partial(max, 60), max):
        assert cache.memoize(timeout)(lambda: 1)() == 1
    prompt: dict[str, Any] = {"cache": cache}
    exec(compile("def minute(value): return 60", "<stdin>", "exec"), prompt)
    exec(compile("f = cache.memoize(minute)(lambda: 1)", "<stdin>", "exec"), prompt)
    assert prompt["f"]() == 1


# --- numbers of NumPy -----------------------------------------------------------------------------

SECONDS = [
    numpy.int64(5),
    numpy.float32(5),
    numpy.timedelta64(5, "s"),
    numpy.timedelta64(5000, "ms"),
]


@pytest.mark.parametrize("timeout", SECONDS, ids=lambda timeout: repr(timeout))
def test_a_number_of_numpy_is_a_timeout(
    app: Flask, cache: Cache, clock: FakeClock, timeout: Any
) -> None:
    """As it is, from a callable, of a response, and where one is set by hand."""
    cached = cache.cached(key_prefix="own")(lambda: CachedResponse(app.make_response(""), timeout))
    calls = [
        cache.memoize(timeout)(lambda: "as it is"),
        cache.memoize(lambda value: timeout)(lambda: "callable"),
        lambda: cached().data,
    ]
    with app.test_request_context():
        for call in calls:
            before = cache.stats().computed
            for passed, computed in ((0, 1), (4, 1), (1, 2)):
                clock.advance(passed)
                call()
                assert cache.stats().computed == before + computed
    assert cache.set("key", 1, timeout=timeout)
    clock.advance(5)
    assert cache.get("key") is None


@pytest.mark.parametrize("tag", [numpy.int64(7), 7, numpy.str_("a")], ids=repr)
def test_a_number_is_one_tag(cache: Cache, tag: Any) -> None:
    """It need not be in a list."""
    for tags in (tag, [tag], numpy.array([tag])):
        assert cache.set("key", 1, tags=tags)
        assert cache.delete_tags(tag)
        assert cache.get("key") is None
