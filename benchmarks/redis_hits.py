"""What hits and misses cost on Redis, how many trips they take, and what is done by hand.

``python benchmarks/redis_hits.py`` starts a redis-server of its own. The limit is the driver: one
``GET`` of the same bytes, on a client without a cache, which unpickles nothing. Trips and commands
are counted by the server: a trip is a read of its socket, and a script's commands count, too.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import redis
import redis.asyncio
from _candidates import MANY, by_hand, calls
from _harness import OURS, Candidate, Row, Table, awaited, contest, counted, main, timed
from _peers import Ours, Store
from _servers import redis_server

VALUE = {"id": 7, "name": "Emma", "tags": ["novel", "1815"], "text": "x" * 200}
DATA = pickle.dumps(VALUE, -1)
GET, AGET, PUT = "redis-py GET", "redis.asyncio GET", "redis-py GET and SET"


def function(number: int) -> dict[str, Any]:
    return VALUE


async def afunction(number: int) -> dict[str, Any]:
    return VALUE


def hits(store: Store) -> Iterator[Candidate]:
    """A hit of a memoized ``def``."""
    client = redis.Redis(port=store.port)
    client.mset({"raw": DATA, "other": b"1", "third": b"1"})
    yield Candidate(GET, timed("client.get('raw')", client=client), "one key, raw bytes")
    mget = timed("client.mget('raw', 'other', 'third')", client=client)
    yield Candidate("redis-py MGET", mget, "three keys, raw bytes")
    yield from calls(store, function)
    tagged = Ours(store).cache.memoize(600, tags=["a", "b", "c"])(function)
    yield Candidate(f"{OURS}, 3 tags", timed("tagged(8)", tagged=tagged))


def ahits(store: Store) -> Iterator[Candidate]:
    """A hit of a memoized ``async def``, on a loop that lives long."""
    client = redis.asyncio.Redis(port=store.port)
    awaited(client.set("raw", DATA))
    yield Candidate(AGET, timed("await client.get('raw')", client=client), "raw bytes")
    yield from calls(store, afunction)


def short_hits(store: Store) -> Iterator[Candidate]:
    """A hit of a memoized ``async def``, on a loop of its own."""

    async def nothing() -> None: ...

    async def raw() -> None:
        async with redis.asyncio.Redis(port=store.port) as client:
            await client.get("raw")

    empty = timed("run(nothing())", run=asyncio.run, nothing=nothing)
    yield Candidate("an empty loop", empty, "no cache")
    fresh = timed("run(raw())", run=asyncio.run, raw=raw)
    yield Candidate(AGET, fresh, "a client for each loop")
    yield from calls(store, afunction, short_loops=True)


def misses(store: Store) -> Iterator[Candidate]:
    """A miss of a memoized ``def``."""
    client, numbers = redis.Redis(port=store.port), itertools.count()
    put = "n = next(numbers); client.get(f'n:{n}'); client.set(f'n:{n}', data, 300)"
    yield Candidate(PUT, timed(put, client=client, numbers=numbers, data=DATA), "raw bytes")
    yield from calls(store, function, "next(numbers)")


def amisses(store: Store) -> Iterator[Candidate]:
    """A miss of a memoized ``async def``, on a loop that lives long."""
    client, numbers = redis.asyncio.Redis(port=store.port), itertools.count()
    put = "n = next(numbers); await client.get(f'n:{n}'); await client.set(f'n:{n}', data, 300)"
    yield Candidate(PUT, timed(put, client=client, numbers=numbers, data=DATA), "redis.asyncio")
    yield from calls(store, afunction, "next(numbers)")


def hand(store: Store, method: str) -> Iterator[Candidate]:
    """One method of all that have it, and what the driver does in its place."""
    client = redis.Redis(port=store.port)
    client.mset(MANY)

    def set_many() -> None:
        with client.pipeline(transaction=False) as pipeline:
            for key, value in MANY.items():
                pipeline.set(key, value, 300)
            pipeline.execute()

    bare = {
        "get": "client.get('key 1')",
        "set": "client.set('key 1', value, 300)",
        "get_many": "client.mget(names)",
        "set_many": "set_many()",
    }[method]
    names = {"client": client, "value": MANY["key 1"], "names": list(MANY), "set_many": set_many}
    yield Candidate("redis-py", timed(bare, **names), "raw bytes")
    yield from by_hand(store, method)


def ahand(store: Store, method: str) -> Iterator[Candidate]:
    """One awaitable method of all that have it."""
    client = redis.asyncio.Redis(port=store.port)
    awaited(client.mset(MANY))

    async def set_many() -> None:
        async with client.pipeline(transaction=False) as pipeline:
            for key, value in MANY.items():
                pipeline.set(key, value, 300)
            await pipeline.execute()

    bare = {
        "aget": "client.get('key 1')",
        "aset": "client.set('key 1', value, 300)",
        "aget_many": "client.mget(names)",
        "aset_many": "set_many()",
    }[method]
    names = {"client": client, "value": MANY["key 1"], "names": list(MANY), "set_many": set_many}
    yield Candidate("redis.asyncio", timed(f"await {bare}", **names), "raw bytes")
    yield from by_hand(store, method)


# --- what the server counts -----------------------------------------------------------------------


def counts(
    store: Store, candidates: Iterator[Candidate], times: int = 200
) -> dict[str, list[float]]:
    """Trips and commands of each, for one call."""
    client, found = redis.Redis(port=store.port), {}

    def snapshot() -> tuple[int, int]:
        info: Any = client.info("all")
        kinds = [value for key, value in info.items() if key.startswith("cmdstat_")]
        commands = sum(kind["calls"] for kind in kinds) - info["cmdstat_info"]["calls"]
        return info["total_reads_processed"], commands

    client.info("all")
    for candidate in candidates:
        try:
            candidate.turn(20)
            before = snapshot()
            candidate.turn(times)
            after = snapshot()
        except Exception:  # what fails is told where it is timed
            continue
        trips, commands = after[0] - before[0] - 1, after[1] - before[1]
        found[candidate.name] = [round(trips / times, 1), round(commands / times, 1)]
    return found


def trips(title: str, store: Store, candidates: Callable[[Store], Iterator[Candidate]]) -> Table:
    """One table of what the server counts."""
    found = counts(store, candidates(store))
    limit = next(iter(found))
    rows = [Row(name, n, note=f"{commands:g} commands") for name, (n, commands) in found.items()]
    return counted(title, rows, limit=limit, unit="round trips")


def tables() -> Iterator[Table]:
    """All of it."""
    with redis_server() as store:
        if store is None:
            return
        redis.Redis(port=store.port).info()
        yield contest("Redis: hit of a def", hits(store), limit=GET)
        yield contest("Redis: hit of an async def, long-lived loop", ahits(store), limit=AGET)
        title = "Redis: hit of an async def, a loop for each call"
        yield contest(title, short_hits(store), limit="an empty loop")
        yield contest("Redis: miss of a def", misses(store), limit=PUT)
        yield contest("Redis: miss of an async def", amisses(store), limit=PUT)
        for method in ("get", "set", "get_many", "set_many"):
            yield contest(f"Redis: {method}()", hand(store, method), limit="redis-py")
        for method in ("aget", "aset", "aget_many", "aset_many"):
            yield contest(f"Redis: await {method}()", ahand(store, method), limit="redis.asyncio")
        yield trips("Redis: trips of a hit, def", store, hits)
        yield trips("Redis: trips of a hit, async def", store, ahits)
        yield trips("Redis: trips of a miss, def", store, misses)
        yield trips("Redis: trips of a miss, async def", store, amisses)


if __name__ == "__main__":
    main("redis_hits", tables)
