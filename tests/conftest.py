"""Fixtures: an app, a cache on each kind of backend, a clock, and the two colours."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.testing import FakeClock
from support.backends import EMBEDDED, config_for
from support.faces import COLOURS, QUART, Face

#: The fixtures of real servers.
pytest_plugins = ["support.server_fixtures"]


@pytest.fixture
def app() -> Flask:
    """A Flask app."""
    app = Flask(__name__, template_folder=os.path.dirname(__file__))
    app.testing = True
    return app


#: What a test asks for if it is about Flask itself.
OF_FLASK = {"app", "colour", "site", "any_site"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run in each colour what has one; on Quart, too, what names no Flask app of its own."""
    marks = metafunc.definition.iter_markers("parametrize")
    if "colour" not in metafunc.fixturenames or any("colour" in mark.args[0] for mark in marks):
        return
    named = inspect.signature(metafunc.function).parameters.keys()
    on_quart = "host_app" in metafunc.fixturenames and named.isdisjoint(OF_FLASK)
    colours = (*COLOURS, QUART) if on_quart else COLOURS
    metafunc.parametrize("colour", colours, indirect=True)


@pytest.fixture
def colour(request: pytest.FixtureRequest) -> str:
    """``sync``, ``async``, or ``quart``."""
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


@pytest.fixture(params=EMBEDDED)
def any_cache(request: pytest.FixtureRequest, host_app: Any, tmp_path: Path) -> Cache:
    """A cache on each kind of backend."""
    return Cache(host_app, config=config_for(request.param, tmp_path))


@pytest.fixture
def clock(cache: Cache) -> FakeClock:
    """The clock of ``cache``."""
    clock = FakeClock()
    clock.install(cache)
    return clock


@pytest.fixture
def face(cache: Cache, colour: str) -> Face:
    """A cache in memory, in both colours."""
    return Face(cache, colour)


@pytest.fixture
def any_face(any_cache: Cache, colour: str) -> Iterator[Face]:
    """A cache on each kind of backend, in both colours."""
    yield Face(any_cache, colour)
