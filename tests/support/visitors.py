"""A site that visitors with names come to: Flask in both colours and Quart, asked alike."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import flask
import pytest
import quart
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.exceptions import CacheWarning
from support.backends import ServerBackend
from support.quart_sites import quart_app
from support.sites import Counting
from support.waiting import PATIENCE

#: Flask with ``def`` views, Flask with ``async def`` views, Quart with ``async def`` views.
HOSTS = ("sync", "async", "quart")


async def _awaited(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


class Pages(Counting):
    """``pages.view(timeout=5)(body)`` registers a cached view; ``pages.visitor("ann").get()``.

    A body is a plain function; on Quart it may return what has to be awaited.

    :param host: one of :data:`HOSTS`.
    """

    def __init__(self, host: str, config: dict[str, Any] | None = None, **options: Any) -> None:
        self.host, self.is_quart, self.is_async = host, host == "quart", host != "sync"
        self.web: Any = quart if self.is_quart else flask
        self.app: Any = quart_app(**options) if self.is_quart else Flask(__name__, **options)
        self.app.secret_key = "secret"
        if not self.is_quart:
            self.app.testing = True
        self.config = {"CACHE_TYPE": "SimpleCache", **(config or {})}
        self.cache = Cache(self.app, config=self.config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._served: Any = None

        def login(name: str) -> str:
            self.web.session["user"] = name
            return name

        self.app.add_url_rule("/login/<name>", "login", login)

    # --- views ------------------------------------------------------------------------------------

    def dye(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """A body in the colour of this site."""
        if not self.is_async:
            return body

        @functools.wraps(body)
        async def dyed(*args: Any, **kwargs: Any) -> Any:
            return await _awaited(body(*args, **kwargs))

        return dyed

    def view(
        self,
        rule: str = "/works",
        methods: Any = None,
        above: Callable[..., Any] | None = None,
        endpoint: str = "works",
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Any]:
        """Cache a body and register it.

        :param above: a decorator between the route and the cache, in the colour of this site.
        """

        def decorator(body: Callable[..., Any]) -> Any:
            view = self.cache.cached(**options)(self.dye(self.counted(body)))
            seen = view if above is None else above(view)
            self.app.add_url_rule(rule, endpoint, seen, methods=methods)
            return view

        return decorator

    def before(self, function: Callable[[], Any]) -> None:
        """A ``before_request`` function."""
        self.app.before_request(self.dye(function))

    def render(self, source: str, **variables: Any) -> Any:
        """A template; on Quart to be awaited."""
        return self.web.render_template_string(source, **variables)

    # --- visitors ---------------------------------------------------------------------------------

    def visitor(self, name: str = "", **kwargs: Any) -> Visitor:
        """Somebody who comes with cookies of their own, logged in if they have a name.

        :param kwargs: what all their requests have.
        """
        visitor = Visitor(self, name, kwargs)
        if name:
            visitor.get(f"/login/{name}")
        return visitor

    def run(self, coro: Any) -> Any:
        """On the loop that serves the app."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, daemon=True).start()
            self._served = self.app.test_app()
            self.run(self._served.__aenter__())
        return asyncio.run_coroutine_threadsafe(coro, self._loop).result(PATIENCE)

    def close(self) -> None:
        """Nobody comes any more."""
        if self._loop is not None:
            self.run(self._served.__aexit__(None, None, None))
            self._loop.call_soon_threadsafe(self._loop.stop)
            while self._loop.is_running():
                threading.Event().wait(0.001)
            self._loop.close()
        self.cache.close()


class Visitor:
    """Somebody with a cookie jar."""

    def __init__(self, pages: Pages, name: str, kwargs: dict[str, Any]) -> None:
        self.pages, self.name, self.kwargs = pages, name, kwargs
        self.client = pages.app.test_client()
        #: The response to the last request.
        self.last: Any = None

    def get(self, path: str = "/works", **kwargs: Any) -> str:
        """The text of a page."""
        headers = {**self.kwargs.get("headers", {}), **kwargs.pop("headers", {})}
        kwargs = {"method": "GET", **self.kwargs, **kwargs, "headers": headers}
        if not self.pages.is_quart:
            self.last = self.client.open(path, **kwargs)
            return str(self.last.get_data(as_text=True))

        async def get() -> str:
            self.last = await self.client.open(path, **kwargs)
            return str(await self.last.get_data(as_text=True))

        return str(self.pages.run(get()))


@contextmanager
def told() -> Iterator[list[str]]:
    """What the cache warns of meanwhile; any other warning is an error."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", CacheWarning)
        yield found
    found += [str(warning.message) for warning in caught]


@pytest.fixture(params=HOSTS)
def pages(request: pytest.FixtureRequest) -> Iterator[Pages]:
    """A site of each kind, in memory."""
    pages = Pages(request.param)
    yield pages
    pages.close()


@pytest.fixture(params=HOSTS)
def redis_pages(request: pytest.FixtureRequest) -> Iterator[Pages]:
    """A site of each kind, on Redis."""
    pages = Pages(request.param, ServerBackend("RedisCache", request.getfixturevalue).config)
    yield pages
    pages.close()
