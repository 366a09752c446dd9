"""What a miss in memory costs: the key, the look, one computation, the storing, an eviction.

``python benchmarks/misses.py``. The function returns at once, and is asked for another number
each time, in a cache of 500 entries that is full. Those without a bound only grow. The key is
also measured by itself.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

from _candidates import calls
from _harness import Candidate, LeftOut, Table, contest, main, timed
from _peers import MEMORY, peers

DICT = "a dict"


def function(number: int) -> int:
    return number


async def afunction(number: int) -> int:
    return number


def misses() -> Iterator[Candidate]:
    """A miss of a memoized ``def``."""
    names = {"numbers": itertools.count(), "function": function}
    held: dict[tuple[int], int] = dict.fromkeys([(n,) for n in range(512)], 0)
    put = "n = next(numbers); held.get((n,)); held[(n & 511,)] = function(n)"
    yield Candidate(DICT, timed(put, held=held, **names), "the call, a get and a set")
    lru = functools.lru_cache(500)(function)
    yield Candidate("functools.lru_cache", timed("lru(next(numbers))", lru=lru, **names), "C")
    yield from calls(MEMORY, function, "next(numbers)")


def amisses() -> Iterator[Candidate]:
    """A miss of a memoized ``async def``."""
    held: dict[tuple[int], int] = dict.fromkeys([(n,) for n in range(512)], 0)
    names = {"numbers": itertools.count(), "function": afunction, "held": held}
    put = "n = next(numbers); held.get((n,)); held[(n & 511,)] = await function(n)"
    yield Candidate(DICT, timed(put, **names), "the call, a get and a set")
    yield from calls(MEMORY, afunction, "next(numbers)")


def method_misses(is_async: bool) -> Iterator[Candidate]:
    """A miss of a memoized method; each instance has entries of its own."""

    class Shop:
        def price(self, number: int) -> int:
            return number

        async def aprice(self, number: int) -> int:
            return number

    shop, held = Shop(), {}
    put = f"n = next(numbers); held[(shop, n & 511)] = {'await ' * is_async}price(n)"
    names = {"numbers": itertools.count(), "held": held, "shop": shop}
    bare = shop.aprice if is_async else shop.price
    yield Candidate(DICT, timed(put, price=bare, **names), "the call, and a set")
    for peer in peers(MEMORY):
        if peer.keeps_instances_apart and (peer.awaits or not is_async):
            try:
                method = peer.amemoize(Shop.aprice) if is_async else peer.memoize(Shop.price)
            except LeftOut:
                continue
            bound = type("Cached", (Shop,), {"price": method})()
            call = f"{'await ' * is_async}shop.price(next(numbers))"
            yield Candidate(peer.name, timed(call, shop=bound, numbers=itertools.count()))


def shown(a: int, b: int = 1) -> int:
    return a


def keys() -> Iterator[Candidate]:
    """The key of ``shown(7, b=2)``."""
    yield Candidate("a tuple", timed("hash((a, b))", a=7, b=2), "hashed")
    for peer in peers(MEMORY):
        if peer.key is not None:
            make = peer.key(shown)
            yield Candidate(peer.name, timed("make()", make=make), NOTES.get(peer.name, ""))


NOTES = {
    "flask-caching-async": "make_cache_key(), which a hit does not call",
    "cachebox": "an object, hashed; no text",
}


def tables() -> Iterator[Table]:
    """All of it."""
    yield contest("miss of a memoized def", misses(), limit=DICT)
    yield contest("miss of a memoized async def", amisses(), limit=DICT)
    yield contest("miss of a memoized method", method_misses(False), limit=DICT)
    yield contest("miss of a memoized async method", method_misses(True), limit=DICT)
    yield contest("the key of a call", keys(), limit="a tuple")


if __name__ == "__main__":
    main("misses", tables, waits=False)
