"""Waiting for events, with one generous limit: it is reached only where something is wrong."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flask_caching_async._runtime import process_loop, threads
from flask_caching_async._runtime.loops import pause

#: Seconds after which something that should have happened counts as failed.
PATIENCE = 30.0


class Raised(NamedTuple):
    """A call raised instead of returning."""

    error: BaseException


def until(condition: Callable[[], Any], timeout: float = PATIENCE) -> None:
    """Block until something is so."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


async def auntil(condition: Callable[[], Any], timeout: float = PATIENCE) -> None:
    """Wait, on any kind of loop, until something is so."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await pause(0.001)


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Make all calls at once, each in a thread of its own; their results in order."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(n: int, call: Callable[[], Any]) -> None:
        barrier.wait(PATIENCE)
        try:
            results[n] = call()
        except BaseException as error:
            results[n] = Raised(error)

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a caller hangs"
    return results


def at_once(count: int, function: Callable[[], Any]) -> list[Any]:
    """What so many threads get from one function; an error that one of them got is raised."""
    results = together(*[function] * count)
    for result in results:
        if isinstance(result, Raised):
            raise result.error
    return results


@contextlib.contextmanager
def all_busy() -> Iterator[None]:
    """All worker threads, and the loop of the process, do something else meanwhile."""
    busy, go = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        busy.release()
        go.wait(PATIENCE)

    workers = threads._worker_pool()._max_workers
    for _ in range(workers):
        threads.in_worker(hold)
    process_loop._process_loop().call_soon_threadsafe(hold, context=contextvars.Context())
    for _ in range(workers + 1):
        assert busy.acquire(timeout=PATIENCE)
    try:
        yield
    finally:
        go.set()
