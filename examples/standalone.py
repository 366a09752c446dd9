"""A cache without Flask or Quart: for plain asyncio, and for an app of ASGI itself.

Run it with ``python examples/standalone.py``, or ``hypercorn examples/standalone:app``.
"""

import asyncio
import time
from typing import Any

from flask_caching_async import Cache

cache = Cache.standalone({"CACHE_TYPE": "SimpleCache"})  # or "RedisCache", with CACHE_REDIS_URL
calls: list[str] = []


@cache.memoize(timeout=60, tags="rates")
async def exchange_rate(currency: str) -> float:
    """A slow service."""
    calls.append(currency)
    await asyncio.sleep(0.2)
    return {"usd": 1.1, "gbp": 0.9}[currency]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """GET /usd answers with a rate, POST / drops all of them."""
    if scope["type"] == "lifespan":
        await receive()  # lifespan.startup
        async with cache:  # this loop has connections of its own until the server stops
            await send({"type": "lifespan.startup.complete"})
            await receive()  # lifespan.shutdown
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["method"] == "POST":
        await cache.adelete_tags("rates")
        text = "dropped"
    else:
        text = str(await exchange_rate(scope["path"].strip("/")))
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def ask(method: str, path: str) -> str:
    """Ask the app as a server does."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path}, None, send)
    return sent[1]["body"].decode()


async def main() -> None:
    async with cache:
        began = time.perf_counter()
        rates = await asyncio.gather(*[ask("GET", "/usd") for _ in range(100)])
        took = time.perf_counter() - began
        print(f"{len(rates)} requests at the same time: {len(calls)} call, {took:.1f} s")
        print("dropped, and asked again:", await ask("POST", "/"), await ask("GET", "/usd"))

        calls.clear()
        renewal = cache.refresh_every(0.05, exchange_rate, "gbp")
        await asyncio.sleep(0.6)
        renewal.stop()
        print(f"refresh_every: {len(calls)} calls in 0.6 s, and a hit:", await ask("GET", "/gbp"))


if __name__ == "__main__":
    asyncio.run(main())
    print(cache.stats())
