"""Fixtures: an app, a cache on each kind of backend, a clock, and the two colours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helpers
import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.testing import FakeClock

BACKENDS = ("SimpleCache", "FileSystemCache", "cachelib", "sync-only", "async-only")


def config_for(backend: str, folder: Path) -> dict[str, Any]:
    """The configuration of one of the backends that tests run on."""
    return {
        "SimpleCache": {"CACHE_TYPE": "SimpleCache"},
        "FileSystemCache": {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(folder)},
        "cachelib": {"CACHE_TYPE": "cachelib.SimpleCache"},
        "sync-only": {"CACHE_TYPE": helpers.sync_only},
        "async-only": {"CACHE_TYPE": helpers.async_only},
    }[backend]


@pytest.fixture
def app() -> Flask:
    """A Flask app."""
    app = Flask(__name__, template_folder=os.path.dirname(__file__))
    app.testing = True
    return app


@pytest.fixture
def cache(app: Flask) -> Cache:
    """A cache in memory."""
    return Cache(app, config={"CACHE_TYPE": "SimpleCache"})


@pytest.fixture(params=BACKENDS)
def any_cache(request: pytest.FixtureRequest, app: Flask, tmp_path: Path) -> Cache:
    """A cache on each kind of backend."""
    return Cache(app, config=config_for(request.param, tmp_path))


@pytest.fixture
def clock(cache: Cache) -> FakeClock:
    """The clock of ``cache``."""
    clock = FakeClock()
    clock.install(cache)
    return clock


@pytest.fixture(params=helpers.COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    """``sync`` and ``async``."""
    return str(request.param)


@pytest.fixture
def face(cache: Cache, colour: str) -> helpers.Face:
    """A cache in memory, in both colours."""
    return helpers.Face(cache, colour)


@pytest.fixture
def any_face(any_cache: Cache, colour: str) -> Iterator[helpers.Face]:
    """A cache on each kind of backend, in both colours."""
    yield helpers.Face(any_cache, colour)
