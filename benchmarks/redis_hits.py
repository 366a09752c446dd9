"""What a hit costs on Redis: ours, the bare GET of redis-py, Flask-Caching and cashews, in one run.

``python benchmarks/redis_hits.py`` starts a redis-server of its own. All take turns; the best round
of each counts. The values are those that a memoized function would store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import redis
import redis.asyncio
from flask import Flask

from flask_caching_async import Cache

ROUNDS, CALLS = 30, 400
VALUE = {"id": 7, "name": "Emma", "tags": ["novel", "1815"], "text": "x" * 200}

SyncCall = Callable[[], Any]
AsyncCall = Callable[[], Awaitable[Any]]


@contextlib.contextmanager
def server() -> Iterator[int]:
    """A Redis of our own."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(redis.ConnectionError):
                redis.Redis(port=port).ping()
                break
        yield port
    finally:
        process.terminate()
        process.wait()


def ours(port: int) -> Cache:
    """Our cache."""
    url = f"redis://127.0.0.1:{port}/0"
    return Cache.standalone({"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url})


def sync_calls(port: int) -> dict[str, SyncCall]:
    """One hit of each kind, for sync code."""
    client = redis.Redis(port=port)
    client.set("raw", pickle.dumps(VALUE))
    cache = ours(port)
    plain = cache.memoize(600)(lambda n: VALUE)
    tagged = cache.memoize(600, tags=["a", "b", "c"])(value_of)
    calls: dict[str, SyncCall] = {
        "redis-py GET": lambda: client.get("raw"),
        "memoize": lambda: plain(7),
        "memoize with three tags": lambda: tagged(7),
        "cache.get": lambda: cache.get("by hand"),
    }
    cache.set("by hand", VALUE)
    with contextlib.suppress(ImportError):
        from flask_caching import Cache as Peer

        app = Flask("peer")
        url = f"redis://127.0.0.1:{port}/1"
        peer = Peer(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url})
        theirs = peer.memoize(600)(value_of)
        app.app_context().push()
        calls["Flask-Caching memoize"] = lambda: theirs(7)
    return calls


def value_of(n: int) -> dict[str, Any]:
    """A memoized function."""
    return VALUE


async def async_calls(port: int, cache: Cache) -> dict[str, AsyncCall]:
    """One hit of each kind, for code on a loop that lives long."""
    client = redis.asyncio.Redis(port=port)

    @cache.memoize(600)
    async def plain(n: int) -> dict[str, Any]:
        return VALUE

    calls: dict[str, AsyncCall] = {
        "redis.asyncio GET": lambda: client.get("raw"),
        "await memoize": lambda: plain(7),
        "await cache.aget": lambda: cache.aget("by hand"),
    }
    with contextlib.suppress(ImportError):
        from cashews import cache as cashews

        cashews.setup(f"redis://127.0.0.1:{port}/2", client_side=False)

        @cashews(ttl="10m")
        async def theirs(n: int) -> dict[str, Any]:
            return VALUE

        calls["cashews"] = lambda: theirs(7)
    return calls


def best_of(calls: dict[str, SyncCall]) -> dict[str, float]:
    """The best round of each, in µs a call."""
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(CALLS):
                call()
            best[name] = min(best[name], (time.perf_counter() - began) / CALLS * 1e6)
    return best


async def abest_of(calls: dict[str, AsyncCall]) -> dict[str, float]:
    """The best round of each, in µs a call."""
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        await call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(CALLS):
                await call()
            best[name] = min(best[name], (time.perf_counter() - began) / CALLS * 1e6)
    return best


async def measure_async(port: int) -> dict[str, float]:
    """The async figures; our cache owns connections of this loop."""
    async with ours(port) as cache:
        return await abest_of(await async_calls(port, cache))


def show(figures: dict[str, float]) -> None:
    """A table; the first row is what the others are compared to."""
    limit = next(iter(figures.values()))
    for name, microseconds in figures.items():
        print(f"  {name:26} {microseconds:7.1f} µs   {microseconds / limit:5.2f}")


def main() -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with server() as port:
        print(f"Python {sys.version.split()[0]}, redis-py {redis.__version__}")
        show(best_of(sync_calls(port)))
        show(asyncio.run(measure_async(port)))


if __name__ == "__main__":
    main()
