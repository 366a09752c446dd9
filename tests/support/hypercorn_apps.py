"""What ``test_quart_server.py`` gives to hypercorn, as ``support.hypercorn_apps:NAME()``.

Each has the cache that the environment describes, and notes its computations in files of the
current folder.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from typing import Any

from flask_caching_async import Cache
from support.notes import noted
from support.scrapes import metrics_of

CONFIG: dict[str, Any] = json.loads(os.environ["SERVED"])
#: Seconds after which a page is stale.
STALE = float(os.environ.get("STALE", "0.05"))

logging.getLogger("asyncio").setLevel(logging.ERROR)  # not that a busy machine is slow


def computed(name: str) -> str:
    """Which computation of it this is, as a page says it."""
    return str(noted(name))


def add_views(app: Any, cache: Cache) -> None:
    """The views that Flask and Quart have in common."""

    @app.get("/up")
    def up() -> str:
        return str(os.getpid())

    @app.get("/sync/<name>")
    @cache.cached(query_string=True)
    def in_a_thread(name: str) -> str:
        number = computed(name)
        time.sleep(0.3)
        return number

    @app.get("/async/<name>")
    @cache.cached(query_string=True)
    async def on_a_loop(name: str) -> str:
        number = computed(name)
        await asyncio.sleep(0.3)
        return number

    @cache.memoize()
    async def square(number: int) -> int:
        computed("square")
        await asyncio.sleep(0.01)
        return number * number

    @app.get("/busy/<int:number>")
    async def busy(number: int) -> dict[str, Any]:
        await cache.aset(f"number-{number}", number)
        after = await cache.aget(f"number-{number}")
        return {"after": after, "square": await square(number % 5)}

    @app.get("/stale/<name>")
    @cache.cached(timeout=STALE, stale_while_revalidate=600)
    async def stale(name: str) -> str:
        number = computed(name)
        while number != "1" and not os.path.exists(f"{name}-{number}-may-end"):
            await asyncio.sleep(0.005)
        return number


def quart_app() -> Any:
    """A Quart app."""
    from quart import Quart

    app = Quart("served")
    cache = Cache(app, config=CONFIG)
    add_views(app, cache)

    @cache.memoize()
    async def rates() -> str:
        return computed("rates")

    if "RENEW" in os.environ:
        cache.refresh_every(0.05, rates)

    @app.get("/metrics")
    async def metrics() -> str:
        from flask_caching_async.contrib.prometheus import CacheCollector

        collector = CacheCollector(cache)
        await collector.aread()
        return metrics_of(collector)

    @app.get("/about")
    async def about() -> dict[str, Any]:
        threads = [thread.name for thread in threading.enumerate()]
        workers = [name for name in threads if name.startswith("flask-caching-async_")]
        return {"native": cache.cache.native_here(), "workers": workers}

    return app


def flask_app() -> Any:
    """A Flask app."""
    from flask import Flask

    app = Flask("served")
    add_views(app, Cache(app, config=CONFIG))
    return app


def standalone() -> Any:
    """An ASGI program without Flask and Quart."""
    cache = Cache.standalone(CONFIG)

    @cache.memoize()
    async def page(name: str) -> str:
        number = computed(name)
        await asyncio.sleep(0.3)
        return number

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            async with cache:
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        name = scope["path"].rpartition("/")[2]
        body = str(os.getpid()) if name == "up" else await page(name)
        assert cache.cache.native_here()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body.encode()})

    return asgi


def asgiref() -> Any:
    """The Flask app behind asgiref's adapter."""
    from asgiref.wsgi import WsgiToAsgi

    return WsgiToAsgi(flask_app())


def a2wsgi() -> Any:
    """The Flask app behind a2wsgi's."""
    from a2wsgi import WSGIMiddleware

    return WSGIMiddleware(flask_app())
