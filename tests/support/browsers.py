"""A site as a browser sees it: answers with their headers, in each of the three colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Flask
from werkzeug.datastructures import Headers

from flask_caching_async import Cache
from flask_caching_async.testing import FakeClock
from support.faces import QUART
from support.quart_sites import QuartSite, quart_app
from support.sites import Site

__all__ = ["Answer", "Browser", "browser_of"]


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Headers
    body: bytes

    @property
    def etag(self) -> str:
        """Its ``ETag``, or nothing."""
        return str(self.headers.get("ETag", ""))


class Browser:
    """Asks a site in memory for its pages; ``browser.site`` registers views and counts calls."""

    def __init__(self, site: Site, clock: FakeClock) -> None:
        self.site, self.clock = site, clock
        self.app, self.cache = site.app, site.cache

    def open(
        self, path: str = "/works", method: str = "GET", headers: Any = None, **kwargs: Any
    ) -> Answer:
        """The answer to a request."""
        if isinstance(self.site, QuartSite):
            return asyncio.run(self._quart(path, method, Headers(headers), kwargs))
        client = self.app.test_client(use_cookies=False)
        got = client.open(path, method=method, headers=headers, **kwargs)
        return Answer(got.status_code, got.headers, got.get_data())

    async def _quart(self, path: str, method: str, headers: Headers, kwargs: Any) -> Answer:
        assert isinstance(self.site, QuartSite)
        got = await self.site.open(path, method=method, headers=headers, **kwargs)
        return Answer(got.status_code, got.headers, await got.get_data(as_text=False))

    def get(self, path: str = "/works", **headers: str) -> Answer:
        """The answer to a GET; ``If_None_Match="…"`` is a header."""
        return self.open(path, headers={n.replace("_", "-"): v for n, v in headers.items()})

    def view(self, *args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], Any]:
        """Cache a plain body in the colour of this site, and register it."""
        return self.site.view(*args, **kwargs)

    def after_request(self, function: Callable[[Any], Any]) -> None:
        """Call a function after each request."""
        self.app.after_request(function)


def browser_of(colour: str, **config: Any) -> Browser:
    """A browser for a new site in a colour."""
    config = {"CACHE_TYPE": "SimpleCache", "CACHE_ON_ERROR": "raise", **config}
    if colour == QUART:
        app: Any = quart_app()
        site: Site = QuartSite(app, Cache(app, config=config))
    else:
        app = Flask("site")
        app.testing = True
        site = Site(app, Cache(app, config=config), colour)
    clock = FakeClock()
    clock.install(site.cache)
    return Browser(site, clock)
