"""Caches on servers, in every lane, and how often the servers are asked there."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from flask_caching_async import Cache
from flask_caching_async.exceptions import BackendTimeout
from support.faces import Face
from support.fault_proxy import FaultProxy
from support.waiting import PATIENCE

#: Who asks: sync code, async code on any loop, and async code on a loop with its own connections.
LANES = ("sync", "async", "native")

#: Uses a cache in a lane until the end of a test: the fixture ``enter``.
Enter = Callable[[Cache], Awaitable[Face]]

#: What Flask-Caching puts in front of keys.
PREFIX = "flask_cache_"

#: What goes wrong is raised, and a busy machine is no dead server.
CAREFUL: dict[str, Any] = {
    "CACHE_ON_ERROR": "raise",
    "CACHE_CONNECT_TIMEOUT": 20,
    "CACHE_OPERATION_TIMEOUT": 20,
}


class Trips:
    """Counts how often clients spoke to a server through a proxy, in a ``with`` block."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.count = -1

    def __enter__(self) -> Trips:
        self.before = self.proxy.requests
        return self

    def __exit__(self, *error: object) -> None:
        self.count = self.proxy.requests - self.before


def failures_of(cache: Cache) -> list[str]:
    """A list that grows with each operation of a cache's backend that fails from now on."""
    failures = cache._binding().engine.store.failures
    failed: list[str] = []
    note = failures.note

    def note_too(error: Exception, doing: str) -> None:
        failed.append(doing)
        note(error, doing)

    failures.note = note_too
    return failed


async def insist(call: Callable[[], Awaitable[Any]]) -> Any:
    """The result of a call that has little time, as soon as the machine is quick enough for it.

    A call that fails without raising gives something false.
    """
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        try:
            if result := await call():
                return result
        except BackendTimeout:
            pass
    raise AssertionError("it never worked")


async def use_everything(face: Face) -> None:
    """Do each thing that a cache can do, with keys that lie on all servers if there are several.

    Afterwards it holds ``c``, the counter ``n`` and what ``get_or_set`` made.
    """
    pairs: dict[str, Any] = {f"key {number}": number for number in range(30)}
    assert await face.set("a", [1]) and await face.set("tagged", 1, tags=["t", "u", "v"])
    assert await face.set_many({**pairs, "c": [3]}) == [*pairs, "c"]
    assert await face.get("a") == [1] and await face.get("tagged") == 1
    assert await face.get_many(*reversed(pairs), "no") == [*reversed(pairs.values()), None]
    assert await face.get_dict("c", "no") == {"c": [3], "no": None}
    assert await face.has("a") and not await face.has("no")
    assert await face.add("d", 4) and not await face.add("d", 5)
    assert await face.inc("n", 5) == 5 and await face.dec("n", 9) == -4
    assert await face.get_or_set("made", lambda: 6) == 6 == await face.get("made")
    assert await face.get_or_set("also", lambda: 7, tags=["t"]) == 7 == await face.get("also")
    f = face.memoize(tags=["t", "u"])(lambda x: x + 1)
    computed = face.cache.stats().computed
    assert [await face.call(f, n) for n in (1, 1, 2)] == [2, 2, 3]
    assert face.cache.stats().computed == computed + 2
    assert await face.call(f.refresh, 1) == 2
    assert await face.delete_memoized(f, 1) and await face.delete_memoized(f)
    assert await face.call(f, 1) == 2
    assert face.cache.stats().computed == computed + 4
    assert await face.delete("a") and not await face.delete("a")
    assert await face.delete_many(*pairs, "no") == [*pairs, "no"]
    assert await face.unlink("d") == ["d"]
    assert await face.delete_tags("t", "w")
    gone = ("a", *pairs, "d", "tagged", "also")
    assert await face.get_many(*gone) == [None] * len(gone)
    assert await face.get_many("c", "n", "made") == [[3], -4, 6]
