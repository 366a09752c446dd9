"""What hits and misses cost on Memcached, and what the server counts.

``python benchmarks/memcached_hits.py`` starts a memcached of its own. The limit is the driver: one
``get`` of the same bytes. The server does not count trips, but keys that are read, and commands
that write.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import aiomcache
from _candidates import calls
from _harness import Candidate, Row, Table, awaited, contest, counted, main, timed
from _peers import Store
from _servers import memcached_server
from pymemcache.client.base import Client

VALUE = {"id": 7, "name": "Emma", "tags": ["novel", "1815"], "text": "x" * 200}
DATA = pickle.dumps(VALUE, -1)
GET, AGET, PUT = "pymemcache get", "aiomcache get", "get and set of the driver"

#: What stands for the versions that a hit of ours reads beside its entry.
OTHERS = ["version", "namespace", "function"]

#: Of what the server counts: each command that is not ours to ask for figures.
COUNTED = (
    "cmd_get", "cmd_set", "cmd_touch", "cmd_meta", "delete_hits", "delete_misses",
    "incr_hits", "incr_misses", "decr_hits", "decr_misses",
)  # fmt: skip


def function(number: int) -> dict[str, Any]:
    return VALUE


async def afunction(number: int) -> dict[str, Any]:
    return VALUE


def client_of(store: Store) -> Client:
    """A bare client of the driver."""
    return Client(("127.0.0.1", store.port), no_delay=True)


def hits(store: Store) -> Iterator[Candidate]:
    """A hit of a memoized ``def``."""
    client = client_of(store)
    client.set("raw", DATA)
    yield Candidate(GET, timed("client.get('raw')", client=client), "one key, raw bytes")
    keys = ["raw", *OTHERS]
    client.set_many(dict.fromkeys(OTHERS, b"x" * 16))
    get_many = timed("client.get_many(keys)", client=client, keys=keys)
    yield Candidate("pymemcache get_many", get_many, "as many keys as a hit of ours, raw bytes")
    yield from calls(store, function)


def ahits(store: Store) -> Iterator[Candidate]:
    """A hit of a memoized ``async def``, on a loop that lives long."""
    client_of(store).set("raw", DATA)
    client = aiomcache.Client("127.0.0.1", store.port)
    awaited(client.get(b"raw"))
    yield Candidate(AGET, timed("await client.get(b'raw')", client=client), "raw bytes")
    keys = [b"raw", *[other.encode() for other in OTHERS]]
    get_many = timed("await client.multi_get(*keys)", client=client, keys=keys)
    yield Candidate("aiomcache multi_get", get_many, "as many keys as a hit of ours, raw bytes")
    yield from calls(store, afunction)


def short_hits(store: Store) -> Iterator[Candidate]:
    """A hit of a memoized ``async def``, on a loop of its own."""

    async def nothing() -> None: ...

    empty = timed("run(nothing())", run=asyncio.run, nothing=nothing)
    yield Candidate("an empty loop", empty, "no cache")
    yield from calls(store, afunction, short_loops=True)


def misses(store: Store) -> Iterator[Candidate]:
    """A miss of a memoized ``def``."""
    put = "n = next(fresh); client.get(f'n:{n}'); client.set(f'n:{n}', data, 300, noreply=False)"
    names = {"client": client_of(store), "fresh": itertools.count(), "data": DATA}
    yield Candidate(PUT, timed(put, **names), "raw bytes")
    yield from calls(store, function, "next(numbers)")


def amisses(store: Store) -> Iterator[Candidate]:
    """A miss of a memoized ``async def``, on a loop that lives long."""
    client = aiomcache.Client("127.0.0.1", store.port)
    put = "n = b'%d' % next(fresh); await client.get(n); await client.set(n, data, 300)"
    names = {"client": client, "fresh": itertools.count(), "data": DATA}
    yield Candidate(PUT, timed(put, **names), "raw bytes")
    yield from calls(store, afunction, "next(numbers)")


def commands(title: str, store: Store, candidates: Callable[[Store], Iterator[Candidate]]) -> Table:
    """What the server counts for each of them."""
    client, times, rows = client_of(store), 200, []

    def snapshot() -> tuple[int, int]:
        stats = client.stats()
        total = sum(stats.get(name.encode(), 0) for name in COUNTED)
        return stats[b"cmd_get"], total

    for candidate in candidates(store):
        candidate.turn(1)
        before = snapshot()
        candidate.turn(times)
        read, total = (
            round((now - then) / times, 1) for now, then in zip(snapshot(), before, strict=True)
        )
        rows.append(Row(candidate.name, total, note=f"{read:g} keys read"))
    return counted(title, rows, limit=rows[0].name, unit="commands and keys")


def tables() -> Iterator[Table]:
    """All of it."""
    with memcached_server() as store:
        if store is None:
            return
        yield contest("Memcached: hit of a def", hits(store), limit=GET)
        yield contest("Memcached: hit of an async def, long-lived loop", ahits(store), limit=AGET)
        title = "Memcached: hit of an async def, a loop for each call"
        yield contest(title, short_hits(store), limit="an empty loop")
        yield contest("Memcached: miss of a def", misses(store), limit=PUT)
        yield contest("Memcached: miss of an async def", amisses(store), limit=PUT)
        yield commands("Memcached: a hit of a def, counted", store, hits)
        yield commands("Memcached: a miss of a def, counted", store, misses)


if __name__ == "__main__":
    main("memcached_hits", tables)
