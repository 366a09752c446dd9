"""The app that ``test_gunicorn.py`` gives to gunicorn, as ``gunicorn_app:make()``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from typing import Any

from flask import Flask

from flask_caching_async import Cache
from support.notes import noted
from support.scrapes import metrics_of


def make() -> Flask:
    """An app with the cache that the environment describes, and notes in the current folder."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # not that a busy machine is slow
    app = Flask("served")
    cache = Cache(app, config=json.loads(os.environ["SERVED"]))

    @app.get("/up")
    def up() -> str:
        return str(os.getpid())

    @app.get("/cold/<name>")
    @cache.cached()
    def cold(name: str) -> str:
        number = str(noted(name))
        time.sleep(0.3)
        return number

    @app.get("/acold/<name>")
    @cache.cached()
    async def acold(name: str) -> str:
        number = str(noted(name))
        await asyncio.sleep(0.3)
        return number

    @cache.memoize()
    async def square(number: int) -> int:
        await asyncio.sleep(0.001)
        return number * number

    @app.get("/busy/<int:number>")
    async def busy(number: int) -> dict[str, Any]:
        before = await cache.aget(f"number-{number}")
        await cache.aset(f"number-{number}", number)
        after = await cache.aget(f"number-{number}")
        return {"before": before, "after": after, "square": await square(number % 50)}

    @app.get("/metrics")
    def metrics() -> str:
        from flask_caching_async.contrib.prometheus import CacheCollector

        return metrics_of(CacheCollector(cache))

    def use() -> None:
        """Every way to the server, so that something of each is there to be inherited."""
        with app.test_request_context("/cold/early"):
            assert cold("early") == "1"
        cache.set("early", 1)
        assert cache.get("early") == 1
        asyncio.run(cache.aset("early", 2))
        assert asyncio.run(square(3)) == 9

    if "USE_BEFORE_FORK" in os.environ:
        use()
    return app
