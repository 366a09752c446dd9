"""What ``test_behind_a_proxy.py`` serves: ``support.proxied_apps:flask_app()``, ``quart_app()``.

Each asks the proxy in front of it to fetch pages anew when they were deleted: nginx without further
modules has no other way to forget one.
"""

from __future__ import annotations

import json
import os
from typing import Any

from flask import Flask

from flask_caching_async import Cache, Invalidated
from support.caching_proxy import request
from support.notes import noted

CONFIG: dict[str, Any] = json.loads(os.environ.get("SERVED", "{}"))


def _count(name: str) -> str:
    """Which computation of it this is, on a page of some length."""
    return f"{name} {noted(name)} " + "x" * 1000


def _with_views(app: Any, is_quart: bool) -> Any:
    cache = Cache(app, config={**CONFIG, "CACHE_STATUS_HEADER": "app"})
    proxy = int(os.environ["PROXY"])

    @cache.on_invalidate
    def purge(event: Invalidated) -> None:
        for path in event.paths:
            if path.startswith("/shared/"):  # the others are found out by the proxy itself
                assert request(proxy, path, X_Anew="1").status == 200

    @app.get("/up")
    def up() -> str:
        return "up"

    @app.get("/shared/<name>")
    @cache.cached(600, http=True, shared_timeout=600)
    async def shared(name: str) -> str:
        return _count(name)

    @app.get("/short/<name>")
    @cache.cached(600, http=True, shared_timeout=1)
    def short(name: str) -> str:
        return _count(name)

    @app.get("/asked/<name>")
    @cache.cached(600, http=True)
    def asked(name: str) -> str:
        return _count(name)

    @app.get("/languages/<name>")
    @cache.cached(600, http=True, shared_timeout=600, vary_on="Accept-Language")
    async def languages(name: str) -> str:
        return _count(name)

    @app.get("/own/<name>")
    @cache.cached(600, http=True, shared_timeout=600, response_filter=lambda _: False)
    def own(name: str) -> str:
        return _count(name)

    if is_quart:

        @app.post("/delete/<path:path>")
        async def adelete(path: str) -> str:
            return str(await cache.adelete(f"view//{path}"))
    else:

        @app.post("/delete/<path:path>")
        def delete(path: str) -> str:
            return str(cache.delete(f"view//{path}"))

    return app


def flask_app() -> Flask:
    """A Flask app."""
    app: Flask = _with_views(Flask("proxied"), False)
    return app


def quart_app() -> Any:
    """A Quart app."""
    from quart import Quart

    return _with_views(Quart("proxied"), True)
