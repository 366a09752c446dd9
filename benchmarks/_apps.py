"""The apps that servers.py puts behind real servers, each with all its views side by side."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

from flask import Flask

TEXT = "x" * 1_000


def add_views(app: Any, name: str, cached: Any = lambda view: view, is_async: bool = True) -> None:
    """``/<name>`` and ``/<name>-async``, below a decorator."""

    def view() -> str:
        return TEXT

    async def aview() -> str:
        return TEXT

    app.add_url_rule(f"/{name}", name, cached(view))
    if is_async:
        app.add_url_rule(f"/{name}-async", f"{name}-async", cached(aview))


def flask_app() -> Flask:
    """Bare views, and those of the libraries that are installed."""
    warnings.simplefilter("ignore")
    app = Flask("benchmark")
    add_views(app, "bare")
    for module in ("flask_caching_async", "flask_caching"):
        if importlib.util.find_spec(module):
            cache = importlib.import_module(module).Cache(app, config={"CACHE_TYPE": "SimpleCache"})
            add_views(app, module, cache.cached(300))
    return app


def quart_app() -> Any:
    """A bare view, and ours."""
    from quart import Quart

    from flask_caching_async import Cache

    app = Quart("benchmark")
    add_views(app, "bare")
    add_views(
        app, "flask_caching_async", Cache(app, config={"CACHE_TYPE": "SimpleCache"}).cached(300)
    )
    return app
