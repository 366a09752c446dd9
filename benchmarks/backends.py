"""What each of our backends costs: ``python benchmarks/backends.py``.

Redis and Memcached are started for it, on free ports of this machine, so their figures are without
a network; where one is not installed, it is left out. ``SimpleCache`` is what the others are
compared to.

The function returns at once: a miss is what looking, locking and storing cost, not the function.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from _harness import Candidate, Table, Turn, contest, main, timed
from _peers import MEMORY, LeftOut, Ours, Store, say
from _servers import memcached_server, redis_server

SIMPLE = "SimpleCache"
NAMES = {
    "memory": SIMPLE,
    "files": "FileSystemCache",
    "redis": "RedisCache",
    "memcached": "MemcachedCache",
}


class Backend:
    """A cache over one store, and what is done with it."""

    def __init__(self, store: Store) -> None:
        self.name, self.peer = NAMES[store.kind], Ours(store)
        cache = self.peer.cache

        @cache.memoize()
        def plain(number: int) -> int:
            return number

        @cache.memoize()
        async def coroutine(number: int) -> int:
            return number

        self.plain, self.coroutine, self.cache = plain, coroutine, cache
        self.peer.enter()

    def hit(self) -> Turn:
        return timed("plain(-1)", plain=self.plain)

    def hit_on_loop(self) -> Turn:
        return timed("await coroutine(-1)", coroutine=self.coroutine)

    def hit_in_view(self) -> Turn:
        """On a loop that ends with the request, as that of an async view of Flask."""
        coroutine = self.coroutine

        async def view(times: int) -> float:
            await coroutine(-1)
            began = time.perf_counter()
            for _ in range(times):
                await coroutine(-1)
            return time.perf_counter() - began

        return lambda times: asyncio.run(view(times))

    def miss(self) -> Turn:
        return timed("plain(next(numbers))", plain=self.plain, numbers=itertools.count())

    def delete(self) -> Turn:
        return timed("delete(plain)", delete=self.cache.delete_memoized, plain=self.plain)


def stores(stack: ExitStack) -> Iterator[Store]:
    """What there is to be measured here."""
    yield MEMORY
    yield Store("files", folder=stack.enter_context(tempfile.TemporaryDirectory()))
    for server in (redis_server, memcached_server):
        store = stack.enter_context(server())
        if store is not None:
            yield store


def opened(stack: ExitStack) -> Iterator[Backend]:
    """The backends, each with connections on the loop of the benchmarks."""
    for store in stores(stack):
        try:
            backend = Backend(store)
        except (LeftOut, ImportError) as error:
            say(f"{NAMES[store.kind]} is left out: {error}")
            continue
        stack.callback(backend.peer.close)
        yield backend


WORK: dict[str, Any] = {
    "hit, def": Backend.hit,
    "hit, async def, in an async view of Flask": Backend.hit_in_view,
    "hit, async def, in async with cache:": Backend.hit_on_loop,
    "miss, def": Backend.miss,
    "delete_memoized": Backend.delete,
}


def tables() -> Iterator[Table]:
    """All of it."""
    with ExitStack() as stack:
        backends = list(opened(stack))
        for title, work in WORK.items():
            candidates = [Candidate(backend.name, work(backend)) for backend in backends]
            yield contest(f"our backends: {title}", candidates, base=SIMPLE)


if __name__ == "__main__":
    main("backends", tables)
