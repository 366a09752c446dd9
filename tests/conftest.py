"""Fixtures: an app, a cache on each kind of backend, a clock, and the colours."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.statistics.sharing import Sharing
from flask_caching_async.testing import FakeClock
from support.backends import STORES, config_for
from support.faces import COLOURS, QUART, Face
from support.params import WAYS, cross

#: The fixtures of real servers.
pytest_plugins = ["support.server_fixtures"]

#: What a test runs in every one of.
AXES = ("colour", "embedded")

#: What a test asks for if it is about Flask itself.
OF_FLASK = {"app", "colour", "site", "any_site"}


def pytest_configure(config: pytest.Config) -> None:
    """Know the mark of :func:`support.params.cases`."""
    config.addinivalue_line("markers", "shares_figures: its caches share their figures")
    config.addinivalue_line("markers", "cases: a table that is run whole in one way")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test in each colour, on each backend, or on both in each way that there is.

    Only what asks for ``colour`` or ``embedded``, and says nothing of it. On Quart, too, runs what
    names no Flask app of its own.
    """
    marks = metafunc.definition.iter_markers("parametrize")
    said = " ".join(str(mark.args[0]) for mark in marks)
    colour, embedded = (n in metafunc.fixturenames and n not in said for n in AXES)
    named = inspect.signature(metafunc.function).parameters.keys()
    on_quart = "host_app" in metafunc.fixturenames and named.isdisjoint(OF_FLASK)
    colours = (*COLOURS, QUART) if on_quart else COLOURS
    if colour and embedded:
        cross(metafunc, "embedded,colour", [way for way in WAYS if way[1] in colours])
    elif embedded:
        cross(metafunc, "embedded", STORES)
    elif colour:
        cross(metafunc, "colour", colours)
    else:
        cross(metafunc, "", ())


@pytest.fixture(autouse=True)
def no_shared_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread writes to a backend meanwhile, unless a test is about that: many count commands."""
    if request.node.get_closest_marker("shares_figures") is None:
        monkeypatch.setattr(Sharing, "begin", lambda self: None)


@pytest.fixture
def app() -> Flask:
    """A Flask app."""
    app = Flask(__name__, template_folder=os.path.dirname(__file__))
    app.testing = True
    return app


@pytest.fixture
def colour(request: pytest.FixtureRequest) -> str:
    """``sync``, ``async``, or ``quart``."""
    return str(request.param)


@pytest.fixture
def embedded(request: pytest.FixtureRequest) -> str:
    """The name of a backend that needs no server."""
    return str(request.param)


@pytest.fixture
def host_app(request: pytest.FixtureRequest) -> Any:
    """The app that caches are set up on: a Flask app, or a Quart app in that colour."""
    colour = getattr(request.node, "callspec", None) and request.node.callspec.params.get("colour")
    if colour != QUART:
        return request.getfixturevalue("app")
    from quart import Quart

    app = Quart(__name__)
    app.testing = True
    return app


@pytest.fixture
def cache(host_app: Any) -> Cache:
    """A cache in memory."""
    return Cache(host_app, config={"CACHE_TYPE": "SimpleCache"})


@pytest.fixture
def any_cache(embedded: str, host_app: Any, tmp_path: Path) -> Cache:
    """A cache on each kind of backend."""
    return Cache(host_app, config=config_for(embedded, tmp_path))


def _clock_of(cache: Cache) -> FakeClock:
    clock = FakeClock()
    clock.install(cache)
    return clock


@pytest.fixture
def clock(cache: Cache) -> FakeClock:
    """The clock of ``cache``."""
    return _clock_of(cache)


@pytest.fixture
def any_clock(any_cache: Cache) -> FakeClock:
    """The clock of ``any_cache``."""
    return _clock_of(any_cache)


@pytest.fixture
def face(cache: Cache, colour: str) -> Face:
    """A cache in memory, in the colours."""
    return Face(cache, colour)


@pytest.fixture
def any_face(any_cache: Cache, colour: str) -> Face:
    """A cache on each kind of backend, in the colours that differ there."""
    return Face(any_cache, colour)
