"""The pages that ``demo.py`` visits: slow ones, sync and async, in one app with one cache."""

import asyncio
import itertools
import time

from flask import Flask, request

from flask_caching_async import Cache

SLOW = 0.5  # seconds that a slow page takes

app = Flask(__name__)
cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})


editions = {name: itertools.count(1) for name in ("report", "crowd", "news", "prices")}
stock = {"apples": 10}


@app.get("/report")
@cache.cached(key_prefix="report")
def report() -> str:
    return f"report no. {next(editions['report'])}, by a def view"


@app.get("/report-async")
@cache.cached(key_prefix="report")
async def report_async() -> str:
    return f"report no. {next(editions['report'])}, by an async def view"


@app.get("/crowd")
@cache.cached(key_prefix="crowd")
def crowd() -> str:
    time.sleep(SLOW)
    return f"computed {next(editions['crowd'])} times"


@app.get("/crowd-async")
@cache.cached(key_prefix="crowd")
async def crowd_async() -> str:
    await asyncio.sleep(SLOW)
    return f"computed {next(editions['crowd'])} times"


@app.get("/bare")
def bare() -> str:
    return "ok"


@app.get("/bare-async")
async def bare_async() -> str:
    return "ok"


@app.get("/cached-async")
@cache.cached()
async def cached_async() -> str:
    return "ok"


@app.get("/news")
@cache.cached(timeout=1, stale_while_revalidate=60)
async def news() -> str:
    await asyncio.sleep(SLOW)
    return f"edition {next(editions['news'])}"


@app.get("/prices")
@cache.cached(timeout=300, forced_update=lambda: request.headers.get("X-Refresh"))
def prices() -> str:
    time.sleep(SLOW)
    return f"edition {next(editions['prices'])}"


@app.get("/stock")
@cache.cached(timeout=300)
async def stock_page() -> str:
    apples = stock["apples"]
    await asyncio.sleep(SLOW)
    return f"{apples} apples"
