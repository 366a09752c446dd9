"""A warning points at the user's file and line: of the call, of the function, or of the tag."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, render_template_string, session
from jinja2 import Environment, FileSystemLoader
from quart import Quart

from flask_caching_async import Cache
from flask_caching_async.jinja2ext import JINJA_CACHE_ATTR_NAME, CacheExtension
from support.faces import COLOURS, own_colour

MEMORY = {"CACHE_TYPE": "SimpleCache"}


class Nameless:
    """Its repr is a memory address."""


def place_of_warning(call: Callable[[], Any]) -> tuple[str, int]:
    """Where the only warning points at."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    (warning,) = caught
    return warning.filename, warning.lineno


def place_of(function: Any) -> tuple[str, int]:
    """Where a function begins."""
    return __file__, inspect.unwrap(function).__code__.co_firstlineno


def line() -> int:
    """The line of the caller."""
    frame: Any = inspect.currentframe()
    return int(frame.f_back.f_lineno)


def reads_the_session() -> str:
    """A view that reads what is one visitor's."""
    return str(session.get("a"))


def page() -> str:
    """A view."""
    return "page"


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("what", ["vary_on", "key_prefix", "a read", "another function", "order"])
def test_a_warning_about_a_view_points_at_the_view(colour: str, what: str) -> None:
    """Its caller is Flask, of which there is nothing to say."""
    app = Flask(__name__)
    app.debug = True
    cache = Cache(app, config=MEMORY)
    options = {"vary_on": {"vary_on": Nameless}, "key_prefix": {"key_prefix": Nameless}}
    body = reads_the_session if what == "a read" else page
    view: Any = own_colour(body, colour)
    named, expected = cache.cached(**options.get(what, {}))(view), place_of(body)  # type: ignore[arg-type]
    if what == "order":
        app.add_url_rule("/", "page", view)
    elif what == "another function":
        helper = cache.cached(personal=True)(reads_the_session)
        app.add_url_rule("/", "page", cache.cached(personal=True)(lambda: helper()))
        expected = __file__, line() - 1  # where the page calls it
    else:
        app.add_url_rule("/", "page", named)
    client = app.test_client()
    assert place_of_warning(lambda: client.get("/")) == expected


def test_a_warning_about_a_view_of_quart_points_at_the_view() -> None:
    """In a loop and a task of Quart's."""
    app = Quart(__name__)
    view = own_colour(page, "async")
    app.add_url_rule("/", "page", Cache(app, config=MEMORY).cached(vary_on=Nameless)(view))

    async def visit() -> None:
        await app.test_client().get("/")

    assert place_of_warning(lambda: asyncio.run(visit())) == place_of(page)


def test_a_warning_about_a_call_points_at_the_call(cache: Cache) -> None:
    """Where the argument comes from; of a call that a loop makes, at the function."""

    def of(thing: Any) -> int:
        return 1

    async def aof(thing: Any) -> int:
        return 1

    function, afunction = cache.memoize()(of), cache.memoize()(aof)
    assert place_of_warning(lambda: function(Nameless())) == (__file__, line())
    assert place_of_warning(lambda: asyncio.run(afunction(Nameless()))) == place_of(aof)


def test_a_warning_about_a_decoration_points_at_it(cache: Cache) -> None:
    """A function that is made of something without a text."""
    thing = Nameless()
    assert place_of_warning(lambda: cache.memoize()(lambda: thing)) == (__file__, line())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_warning_about_a_fragment_points_at_the_tag_or_the_rendering(
    app: Flask, cache: Cache, tmp_path: Any, asynchronous: bool
) -> None:
    """A template of a file has lines of its own; one of a string has those of its user."""
    (tmp_path / "page.html").write_text("\n\n{% cache 60, thing %}a{% endcache %}")
    environment = Environment(
        loader=FileSystemLoader(tmp_path), extensions=[CacheExtension], enable_async=asynchronous
    )
    setattr(environment, JINJA_CACHE_ATTR_NAME, cache)
    template = environment.get_template("page.html")
    place = place_of_warning(lambda: template.render(thing=Nameless()))
    assert place == (str(tmp_path / "page.html"), 3)
    source = "{% cache 60, 'name', thing %}a{% endcache %}"
    app.jinja_env.is_async = asynchronous
    with app.app_context():
        place = place_of_warning(lambda: render_template_string(source, thing=Nameless()))
    assert place == (__file__, line() - 1)
