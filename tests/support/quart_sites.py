"""A Quart app under test: cached views of either kind, and how often their bodies were called."""

from __future__ import annotations

import asyncio
import functools
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from flask_caching_async import Cache
from support.backends import OURS, ServerBackend, config_of_ours
from support.sites import Site

VERSION = tuple(map(int, version("quart").split(".")[:2]))


def quart_app(**options: Any) -> Quart:
    """An app whose test client raises what its views raise."""
    app = Quart(__name__, **options)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.testing = VERSION < (0, 22)  # newer ones answer with a page about the error then
    return app


class QuartSite(Site):
    """``site.view("/works", timeout=5)(body)`` registers a cached view; ``site.calls`` counts.

    A plain body is a ``def`` view, which Quart runs in a thread, or an ``async def`` one.
    """

    def __init__(self, app: Any, cache: Cache, colour: str = "async") -> None:
        super().__init__(app, cache, colour)
        self.client = app.test_client(use_cookies=False)

    async def open(self, path: str = "/works", **kwargs: Any) -> Any:
        """The response to a request."""
        try:
            return await self.client.open(path, **kwargs)
        except ExceptionGroup as group:  # newer versions of Quart raise what a view raised in one
            error: Any = group
            while isinstance(error, ExceptionGroup):
                (error,) = error.exceptions
            raise error from None

    async def get(self, path: str = "/works", **kwargs: Any) -> Any:
        """The response to a GET."""
        return await self.open(path, **kwargs)

    async def text(self, path: str = "/works", **kwargs: Any) -> str:
        """The body of a GET, or of another request."""
        response = await self.open(path, **kwargs)
        return str(await response.get_data(as_text=True))

    async def texts(self, *paths: str, **kwargs: Any) -> list[str]:
        """The bodies of several, one after the other."""
        return [await self.text(path, **kwargs) for path in paths or ("/works",)]


def served(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test on a loop that serves the app of its ``site``, from start-up to shutdown."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        async def main() -> None:
            async with fixtures["site"].app.test_app():
                await test(**fixtures)

        asyncio.run(main())

    return run


def unserved(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test on a loop of its own, on which nobody starts an app up."""
    return functools.wraps(test)(lambda **fixtures: asyncio.run(test(**fixtures)))


class Threads:
    """Which threads were started while this was entered, by the beginning of their names."""

    def __enter__(self) -> Threads:
        self._start = threading.Thread.start
        self.started: list[str] = []

        def start(thread: threading.Thread) -> None:
            self.started.append(thread.name)
            self._start(thread)

        threading.Thread.start = start  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: object) -> None:
        threading.Thread.start = self._start  # type: ignore[method-assign]


@pytest.fixture(params=OURS)
def any_config(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The configuration of each backend."""
    return config_of_ours(request.param, tmp_path, request.getfixturevalue)


@pytest.fixture
def redis_config(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The configuration of an empty Redis, whose connections have a name of their own."""
    config = ServerBackend("RedisCache", request.getfixturevalue).config
    return {**config, "CACHE_REDIS_URL": f"{config['CACHE_REDIS_URL']}?client_name={uuid.uuid4()}"}


@pytest.fixture
def connections(request: pytest.FixtureRequest, redis_config: dict[str, Any]) -> Callable[[], int]:
    """Counts the connections of that name."""
    name = redis_config["CACHE_REDIS_URL"].partition("client_name=")[2]
    server = request.getfixturevalue("redis_server")
    return lambda: int(server.ask("CLIENT", "LIST").count(f" name={name} "))


@pytest.fixture
def site(colour: str) -> Iterator[QuartSite]:
    """A site in memory, with views in both colours."""
    app = quart_app()
    yield QuartSite(app, Cache(app, config={"CACHE_TYPE": "SimpleCache"}), colour)


@pytest.fixture
def any_site(colour: str, any_config: dict[str, Any]) -> Iterator[QuartSite]:
    """A site on each backend, with views in both colours."""
    app = quart_app()
    site = QuartSite(app, Cache(app, config=any_config), colour)
    yield site
    site.cache.close()
