"""A hundred callers want one cold key at once: how often is it computed, how long do they wait?

``python benchmarks/stampede.py``. The function takes 0.2 s. The callers are threads, tasks of one
event loop, tasks of four event loops in four threads, or four processes with 25 of them each. Where
a library has a protection that must be asked for, it is shown with and without.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from _harness import Row, Table, awaited, counted, main, threads_take
from _peers import MEMORY, TIMEOUT, AioCache, Cashews, Dogpile, LeftOut, Ours, Peer, Store, peers
from _servers import redis_server

CALLERS, PARTS, SECONDS, ROUNDS = 100, 4, 0.2, 3
LIMIT = "computed once"

numbers = itertools.count()
computed: list[int] = []


def slow(number: int) -> int:
    computed.append(number)
    time.sleep(SECONDS)
    return number


async def aslow(number: int) -> int:
    computed.append(number)
    await asyncio.sleep(SECONDS)
    return number


# --- the functions, with all protection that there is ---------------------------------------------


def protections(peer: Peer, is_async: bool) -> Iterator[tuple[str, Any]]:
    """The cached function, and its name; several, where protection is an option."""
    function: Any = aslow if is_async else slow
    try:
        if not (is_async and not peer.awaits):
            yield peer.name, (peer.amemoize if is_async else peer.memoize)(function)
    except LeftOut:
        return
    if isinstance(peer, Cashews):
        yield "cashews, lock=True", peer.cache(ttl=TIMEOUT, lock=True)(function)
    if isinstance(peer, AioCache) and peer.store.kind == "redis":
        from aiocache import cached_stampede

        stampede = cached_stampede(lease=2, ttl=TIMEOUT, cache=peer.kind, **peer.config)
        yield "aiocache, cached_stampede", stampede(function)
    if isinstance(peer, Dogpile) and peer.store.kind == "redis":
        peer.open("redis", host="127.0.0.1", port=peer.store.port, db=10, distributed_lock=True)
        yield "dogpile.cache, shared lock", peer.memoize(function)


def all_protected(store: Store, is_async: bool) -> Iterator[tuple[Peer, str, Any]]:
    """Of all peers."""
    for peer in peers(store):
        for name, cached in protections(peer, is_async):
            yield peer, name, cached


# --- the callers ----------------------------------------------------------------------------------


def in_threads(cached: Callable[[int], Any], number: int, callers: int = CALLERS) -> float:
    """So many threads call at once; the seconds until the last one has it."""

    def call() -> None:
        assert cached(number) == number

    return threads_take(call, callers)


async def in_tasks(cached: Callable[[int], Any], number: int, callers: int = CALLERS) -> float:
    """So many tasks of this loop."""
    began = time.perf_counter()
    values = await asyncio.gather(*(cached(number) for _ in range(callers)))
    assert values == [number] * callers
    return time.perf_counter() - began


def in_loops(cached: Callable[[int], Any], number: int) -> float:
    """Four loops in four threads."""

    def loop(number: int) -> int:
        asyncio.run(in_tasks(cached, number, CALLERS // PARTS))
        return number

    return in_threads(loop, number, PARTS)


def rounds_of(name: str, stampede: Callable[[int], float]) -> tuple[Row, Row]:
    """Computations and milliseconds, each the median of some rounds."""
    counts, seconds = [], []
    try:
        for _ in range(ROUNDS):
            computed.clear()
            seconds.append(stampede(next(numbers)))
            counts.append(len(computed))
    except Exception as error:
        return two_rows(name, None, None, f"fails: {type(error).__name__}: {str(error)[:60]}")
    return two_rows(name, statistics.median(counts), statistics.median(seconds))


def two_rows(
    name: str, count: float | None, seconds: float | None, note: str = ""
) -> tuple[Row, Row]:
    """The same candidate in both tables."""
    return Row(name, count, note=note), Row(name, seconds and seconds * 1e3, note=note)


def both(title: str, pairs: list[tuple[Row, Row]]) -> Iterator[Table]:
    """A table of computations, and one of milliseconds until the last caller has the value."""
    pairs = [two_rows(LIMIT, 1, SECONDS), *pairs]
    counts, times = ([pair[kind] for pair in pairs] for kind in (0, 1))
    yield counted(f"{title}: computations", counts, limit=LIMIT, unit="computations")
    yield counted(f"{title}: time", times, limit=LIMIT, unit="ms")


# --- processes ------------------------------------------------------------------------------------


def in_processes(name: str, store: Store, is_async: bool) -> tuple[Row, Row]:
    """Four processes, which start at the same time by the clock."""
    number = next(numbers)
    told = {"kind": store.kind, "port": store.port, "folder": store.folder}
    job = json.dumps({"name": name, "store": told, "is_async": is_async, "number": number})
    command = [sys.executable, __file__, "--process", job]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    quiet = {**pipes, "stderr": subprocess.DEVNULL, "text": True}
    started = [subprocess.Popen(command, **quiet) for _ in range(PARTS)]
    try:
        for process in started:
            process.stdout.readline()  # it is ready
        at = time.time() + 0.2
        for process in started:
            process.stdin.write(f"{at}\n")
            process.stdin.flush()
        ends = [json.loads(process.stdout.readline()) for process in started]
    except ValueError:
        return two_rows(name, None, None, "fails")
    finally:
        for process in started:
            process.communicate()
    return two_rows(name, sum(n for n, _ in ends), max(end for _, end in ends) - at)


def process(job: dict[str, Any]) -> None:
    """One of them: when it is told when, 25 callers ask."""
    store, number = Store(**job["store"]), job["number"]
    found = all_protected(store, job["is_async"])
    peer, cached = next((peer, cached) for peer, name, cached in found if name == job["name"])
    if job["is_async"] and isinstance(peer, Ours):
        peer.enter()
    if job["is_async"]:
        awaited(in_tasks(cached, -1, 1))
    else:
        cached(-1)  # connections are open, modules are imported
    computed.clear()
    print("ready", flush=True)
    time.sleep(max(0, float(input()) - time.time()))
    if job["is_async"]:
        awaited(in_tasks(cached, number, CALLERS // PARTS))
    else:
        in_threads(cached, number, CALLERS // PARTS)
    print(json.dumps([len(computed), time.time()]), flush=True)


def across(title: str, store: Store, is_async: bool) -> Iterator[Table]:
    """All that work across processes."""
    names = [name for _, name, _ in all_protected(store, is_async)]
    yield from both(title, [in_processes(name, store, is_async) for name in names])


def tables() -> Iterator[Table]:
    """All of it."""
    threads = [
        rounds_of(name, lambda number, cached=cached: in_threads(cached, number))
        for _, name, cached in all_protected(MEMORY, False)
    ]
    yield from both("100 threads", threads)
    tasks = [
        rounds_of(name, lambda number, cached=cached: awaited(in_tasks(cached, number)))
        for _, name, cached in all_protected(MEMORY, True)
    ]
    yield from both("100 tasks of one loop", tasks)
    loops = [
        rounds_of(name, lambda number, cached=cached: in_loops(cached, number))
        for _, name, cached in all_protected(MEMORY, True)
    ]
    yield from both("100 tasks of four loops", loops)
    with redis_server() as store:
        if store is not None:
            yield from across("4 processes of 25 threads, Redis", store, False)
            yield from across("4 processes of 25 tasks, Redis", store, True)
    with tempfile.TemporaryDirectory() as folder:
        files = Store("files", folder=folder)
        yield from across("4 processes of 25 threads, files", files, False)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--process"]:
        process(json.loads(sys.argv[2]))
    else:
        main("stampede", tables)
