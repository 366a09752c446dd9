"""How hits scale: over threads, over tasks, and over the number of keys.

``python benchmarks/scaling.py``. With the interpreter's lock, threads share one core, and what is
seen is what fighting for locks costs. On a free-threaded Python (``python3.13t``, ``python3.14t``)
they share all cores; where one is on the path and has Flask and this package's dependencies, the
threads are measured on it, too.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _harness import (
    Candidate,
    Results,
    Table,
    Turn,
    awaited,
    contest,
    main,
    on_loop,
    threads_take,
    timed,
)  # fmt: skip
from _peers import MEMORY, LeftOut, Ours, Store, peers, say
from _servers import redis_server

THREADS, TASKS = (1, 2, 4, 8), (1, 10, 100, 1_000)
KEYS = (1, 10, 100, 1_000, 10_000, 100_000)
DICT = "a dict"
LIMITS = {"memory": DICT, "redis": "redis.asyncio GET"}


#: What was computed: nothing, while hits are measured.
computed: list[int] = []


def value_of(number: int) -> int:
    computed.append(number)
    return number


async def avalue_of(number: int) -> int:
    computed.append(number)
    return number


def memoized(store: Store = MEMORY, is_async: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """The memoized function of each peer that has one of this colour."""
    for peer in peers(store):
        if is_async and not peer.awaits:
            continue
        try:
            made = peer.amemoize(avalue_of) if is_async else peer.memoize(value_of)
            yield peer.name, made, peer
        except LeftOut:
            pass


def in_threads(turn: Turn, threads: int) -> Turn:
    """The turn, divided among threads: from the first that starts to the last that ends."""

    def divided(times: int) -> float:
        share = max(1, times // threads)
        # Several threads do no less than one was asked for.
        return threads_take(lambda: turn(share), threads) * times / (share * threads)

    return divided


def over_threads(threads: int) -> Iterator[Candidate]:
    """Hits of a memoized ``def`` by so many threads."""
    bare = timed("held[(number,)]", held={(7,): 7}, number=7)
    yield Candidate(DICT, in_threads(bare, threads))
    for name, cached, _ in memoized():
        yield Candidate(name, in_threads(timed("cached(7)", cached=cached), threads))


def in_tasks(function: Callable[[int], Any], tasks: int, same: bool) -> Turn:
    """Hits, divided among tasks of one loop, which all have a key of their own, or one key."""

    async def hits(number: int, times: int) -> None:
        for _ in range(times):
            await function(number)

    async def divided(times: int) -> float:
        share = max(1, times // tasks)
        computed.clear()
        began = time.perf_counter()
        await asyncio.gather(*(hits(0 if same else number, share) for number in range(tasks)))
        seconds = time.perf_counter() - began
        if computed:
            raise LeftOut(f"{len(computed)} of {share * tasks} calls are computed")
        return seconds * times / (share * tasks)

    return on_loop(divided)


def over_tasks(tasks: int, store: Store, same: bool = False) -> Iterator[Candidate]:
    """Hits of a memoized ``async def`` by so many tasks."""
    bare = dict_look(tasks) if store.kind == "memory" else redis_look(store)
    yield Candidate(LIMITS[store.kind], in_tasks(bare, tasks, same))
    for name, cached, peer in memoized(store, True):
        if isinstance(peer, Ours) and store.kind != "memory":
            peer.enter()
        if name == "cachekit" and store.kind == "memory" and tasks > 256:
            continue  # it keeps 256 entries
        awaited(warm(cached, 1 if same else tasks))
        yield Candidate(name, in_tasks(cached, tasks, same))


def dict_look(tasks: int) -> Callable[[int], Any]:
    """What a dict does in the place of a cache in memory."""
    held = {(number,): number for number in range(tasks)}

    async def look(number: int) -> int:
        return held[(number,)]

    return look


def redis_look(store: Store) -> Callable[[int], Any]:
    """What the driver does in the place of a cache on Redis."""
    import redis.asyncio

    pool = redis.asyncio.BlockingConnectionPool(port=store.port, max_connections=50, timeout=None)
    client = redis.asyncio.Redis(connection_pool=pool)
    awaited(client.mset({f"raw {number}": b"x" * 20 for number in range(max(TASKS))}))
    return lambda number: client.get(f"raw {number}")


async def warm(cached: Callable[[int], Any], count: int) -> None:
    """Let the values be there before the tasks come."""
    for number in range(count):
        await cached(number)


def over_keys(count: int) -> Iterator[Candidate]:
    """Hits of a memoized ``def``, all over so many keys in a random order."""
    order = random.Random(7).choices(range(count), k=5_000)
    held = {(number,): number for number in range(count)}
    statement = "for number in order: "
    yield Candidate(DICT, timed(f"{statement}held[(number,)]", held=held, order=order))
    for name, cached, _ in memoized(Store("memory", capacity=2 * count)):
        if name == "cachekit" and count > 256:
            continue  # it keeps 256 entries
        for number in range(count):
            cached(number)
        yield Candidate(name, timed(f"{statement}cached(number)", cached=cached, order=order))


def threaded(series: str) -> Iterator[Table]:
    """The tables over threads."""
    for threads in THREADS:
        more = {"turn": 0.05, "rounds": 9, "per_second": 1, "series": series, "at": threads}
        yield contest(f"{series}: {threads}", over_threads(threads), limit=DICT, **more)


def starts(path: str) -> bool:
    """Whether this Python has what it takes."""
    command = [path, "-c", "import flask, anyio, cachelib"]
    return not subprocess.run(command, capture_output=True).returncode


def free_threaded() -> Iterator[Table]:
    """The same on a free-threaded Python, if there is one with all that it takes."""
    for program in ("python3.14t", "python3.13t"):
        path = shutil.which(program)
        if path and starts(path):
            kept = Path("free-threaded.json").resolve()
            subprocess.run([path, __file__, "--save", str(kept)], check=True)
            yield from Results.read(kept).tables("scaling")
            kept.unlink()
            return
    say("no free-threaded Python with Flask is on the path: left out")


def tables() -> Iterator[Table]:
    """All of it."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        yield from threaded("hits a second over free threads")
        return
    yield from threaded("hits a second over threads")
    yield from free_threaded()
    series = "hits a second over tasks, memory"
    more: dict[str, Any] = {"turn": 0.05, "rounds": 9, "per_second": 1}
    wide = Store("memory", capacity=2_000)
    for tasks in TASKS:
        title, more = f"{series}: {tasks}", {**more, "series": series, "at": tasks}
        yield contest(title, over_tasks(tasks, wide), limit=DICT, **more)
    with redis_server() as store:
        series = "hits a second over tasks, Redis"
        for tasks in TASKS if store else ():
            title, more = f"{series}: {tasks}", {**more, "series": series, "at": tasks}
            yield contest(title, over_tasks(tasks, store), limit=LIMITS["redis"], **more)
        if store:
            title = "hits a second of 100 tasks, Redis, all for one key"
            more = {**more, "series": None, "limit": LIMITS["redis"]}
            yield contest(title, over_tasks(100, store, True), **more)
    series = "hits a second over keys"
    more = {"rounds": 9, "limit": DICT, "per_second": 5_000, "series": series}
    for count in KEYS:
        yield contest(f"{series}: {count:,}", over_keys(count), at=count, **more)


if __name__ == "__main__":
    main("scaling", tables)
