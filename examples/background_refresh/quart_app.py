"""The same pages under Quart: what is slow is awaited, and refreshed on the loop that serves.

Serve it with ``hypercorn --workers 2 quart_app:app``. The cache is set by the environment:
``QUART_CACHE_TYPE=RedisCache``, for example.
"""

import asyncio
import os
from datetime import datetime

from quart import Quart, request

from flask_caching_async import Cache

SLOW = 0.5  # seconds that everything here takes to compute
app = Quart(__name__)
app.config["CACHE_TYPE"] = "SimpleCache"
app.config.from_prefixed_env()  # QUART_CACHE_TYPE and so on
cache = Cache(app)


async def compute(name: str) -> str:
    """Something slow, which says when it was computed, and by which process."""
    await asyncio.sleep(SLOW)
    return f"{name} of {datetime.now():%T.%f}, by process {os.getpid()}"


# Fresh for a second. Then visitors get the old page, and one background task refreshes it.
@app.get("/news")
@cache.cached(timeout=1, stale_while_revalidate=600)
async def news() -> str:
    return await compute("news")


# Fresh for long; a job renews it, by a request with this header or by prices.refresh().
@app.get("/prices")
@cache.cached(timeout=3600, forced_update=lambda: "X-Refresh" in request.headers)
async def prices() -> str:
    return await compute("prices")


# When it has expired, a visitor waits for the new page, but not longer than 0.1 seconds.
@app.get("/weather")
@cache.cached(timeout=1, stale_if_error=600, soft_timeout=0.1)
async def weather() -> str:
    return await compute("weather")


@cache.memoize(timeout=60)
async def rate(currency: str) -> str:
    return await compute(currency)


# Computed again half a second after the last time, by one of all workers. It begins when the app
# begins to serve.
cache.refresh_every(0.5, rate, "EUR")


@app.get("/rate")
async def show_rate() -> str:
    return await rate("EUR")
