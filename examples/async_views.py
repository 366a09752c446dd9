"""Async views, async callbacks, and one entry that sync and async code share.

Run it with ``python examples/async_views.py``, or ``flask --app examples/async_views run``.
"""

import asyncio
import inspect
import time

from flask import Flask, request

from flask_caching_async import Cache

app = Flask(__name__)
cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})


@cache.memoize(timeout=60)
async def exchange_rate(currency: str) -> float:
    """A slow service; ``async def`` stays ``async def``."""
    await asyncio.sleep(0.2)
    return {"usd": 1.1, "gbp": 0.9}[currency]


async def is_editor() -> bool:
    """An async callback; on an async function, every callback may be one."""
    await asyncio.sleep(0)
    return "X-Editor" in request.headers


@app.get("/rates")
@cache.cached(timeout=60, unless=is_editor)
async def rates() -> dict[str, object]:
    usd, gbp, again = await asyncio.gather(
        exchange_rate("usd"), exchange_rate("gbp"), exchange_rate("usd")
    )
    assert usd == again
    return {"usd": usd, "gbp": gbp, "computed": time.perf_counter()}


@app.get("/total")
def total() -> str:
    """A sync view uses the sync name …"""
    return str(cache.get_or_set("total", lambda: sum(range(1000))))


@app.get("/total-async")
async def total_async() -> str:
    """… an async view the name with an ``a``. The key, the value and the waiting are shared."""
    return str(await cache.aget_or_set("total", lambda: sum(range(1000))))


def main() -> None:
    assert inspect.iscoroutinefunction(exchange_rate)
    client = app.test_client()
    for visitor, headers in (("first visitor", {}), ("second", {}), ("editor", {"X-Editor": "1"})):
        began = time.perf_counter()
        page = client.get("/rates", headers=headers).json
        print(f"{visitor}: usd {page['usd']}, after {time.perf_counter() - began:.3f} s")
    print("total:", client.get("/total").text, "and", client.get("/total-async").text)
    print(cache.stats())


if __name__ == "__main__":
    main()
