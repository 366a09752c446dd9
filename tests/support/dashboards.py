"""A dashboard on an app of Flask or of Quart, and its visitor, who keeps cookies."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable
from html import unescape
from typing import Any, NamedTuple

from flask import Flask
from quart import Quart

from flask_caching_async import Cache
from flask_caching_async.insight.dashboard import dashboard

__all__ = ["Got", "Visitor", "visitor_of"]


class Got(NamedTuple):
    """What came back."""

    status: int
    headers: Any
    text: str

    @property
    def told(self) -> str:
        """What the page says of the last action, or that nothing was done."""
        found = re.search(r'(?:id="told"[^>]*>|was done</h1><p>)(.*?)</p>', self.text, re.S)
        return unescape(found[1]) if found else ""


class Visitor:
    """Someone with a browser, on the dashboard of an app.

    :param app: of Flask or of Quart.
    """

    def __init__(self, app: Any, cache: Cache, prefix: str = "/cache") -> None:
        self.app, self.cache, self.prefix = app, cache, prefix
        self.is_quart = isinstance(app, Quart)
        self.client = app.test_client()

    async def open(self, method: str, path: str, form: Any = None, **more: Any) -> Got:
        """The answer to a request below the dashboard's path; ``//x`` for one elsewhere."""
        path = path[1:] if path.startswith("//") else self.prefix + path
        if not self.is_quart:
            # In a thread, as a server calls it: no loop runs there.
            ask = functools.partial(self.client.open, path, method=method, data=form, **more)
            got = await asyncio.to_thread(ask)
            return Got(got.status_code, got.headers, got.get_data(as_text=True))
        more |= {} if form is None else {"form": form}
        answer = await self.client.open(path, method=method, **more)
        return Got(answer.status_code, answer.headers, await answer.get_data(as_text=True))

    async def get(self, path: str = "/", **more: Any) -> Got:
        """The answer to a GET."""
        return await self.open("GET", path, **more)

    async def token(self) -> str:
        """The token of the forms of a page that was just loaded."""
        found = re.search(r'name="token" value="([^"]+)"', (await self.get()).text)
        assert found
        return found[1]

    async def act(self, action: str, headers: Any = None, **form: str) -> Got:
        """Load the page, press a button, and go where that leads."""
        form = {"token": await self.token(), **form, "action": action}
        got = await self.open("POST", "/act", form, headers=headers or {})
        if got.status != 303:
            return got
        assert got.headers["Location"].startswith("./")
        return await self.get(got.headers["Location"][1:].partition("#")[0])


def visitor_of(
    framework: str,
    authorize: Any = lambda: True,
    secret: str | None = "a secret",
    prepare: Callable[[Any], None] | None = None,
    **config: Any,
) -> Visitor:
    """A visitor of a new app with a cache in memory, or as ``config`` says."""
    app: Any = Quart("shop") if framework == "quart" else Flask("shop")
    app.secret_key = secret
    if prepare is not None:
        prepare(app)
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache", **config})
    app.register_blueprint(dashboard(cache, authorize=authorize))
    return Visitor(app, cache)
