"""The claims of flask_caching_async, shown on a real server and checked one by one.

Run it with ``make demo``, or ``python examples/demo.py``. It serves the pages of ``demo_app.py`` on
a free port, visits them over HTTP from many threads, and prints what it measured. If a claim does
not hold, the exit code is 1.
"""

import asyncio
import http.client
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from demo_app import SLOW, app, cache, editions, prices, stock, stock_page
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import EnvironBuilder

CROWD = 200  # visitors who come at the same time

# --- the server and its visitors ------------------------------------------------------------------


class Quiet(WSGIRequestHandler):
    """A request handler that logs nothing."""

    def log_request(self, *args: object) -> None:
        pass


@contextmanager
def running_server() -> Iterator[int]:
    """Serve the app from a thread; gives the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    server.socket.listen(2 * CROWD)  # room for the whole crowd to knock at once
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Visitor:
    """An HTTP client; each request has a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, headers: Mapping[str, str] = {}) -> tuple[str, float]:
        """The page, and the seconds that it took."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        began = time.perf_counter()
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        text, seconds = response.read().decode(), time.perf_counter() - began
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"GET {path} answered {response.status}: {text}")
        return text, seconds

    def visit_until_new(self, path: str, old: str) -> tuple[str, int, float]:
        """The page that replaces ``old``, how many visits saw ``old``, the slowest in seconds."""
        slowest = 0.0
        for visits in range(1000):
            page, seconds = self.get(path)
            slowest = max(slowest, seconds)
            if page != old:
                return page, visits, slowest
            time.sleep(0.01)
        return old, 1000, slowest


in_background = ThreadPoolExecutor(CROWD)


def start(function: Callable[..., object], *args: object, **kwargs: object) -> Future[Any]:
    """Call a function in a thread, and give it a moment to begin."""
    future = in_background.submit(function, *args, **kwargs)
    time.sleep(0.1)
    return future


@contextmanager
def counted_loops() -> Iterator[list[None]]:
    """Count the event loops that are created meanwhile."""
    made: list[None] = []
    original = asyncio.BaseEventLoop.__init__

    def counting(self: asyncio.BaseEventLoop) -> None:
        made.append(None)
        original(self)

    asyncio.BaseEventLoop.__init__ = counting
    try:
        yield made
    finally:
        asyncio.BaseEventLoop.__init__ = original


def microseconds(*paths: str, calls: int = 200) -> list[float]:
    """What a request costs the app itself, without sockets: the median of several rounds."""
    rounds: dict[str, list[float]] = {path: [] for path in paths}
    for _ in range(9):
        for path, measured in rounds.items():
            environ = EnvironBuilder(path).get_environ()
            began = time.perf_counter()
            for _ in range(calls):
                b"".join(app(dict(environ), lambda *_: None))
            measured.append((time.perf_counter() - began) / calls * 1e6)
    return [statistics.median(measured) for measured in rounds.values()]


# --- the claims -----------------------------------------------------------------------------------

failed: list[str] = []
claims = itertools.count(1)


def chapter(text: str) -> None:
    print(f"\n{text}")


def say(text: str) -> None:
    print(f"    {text}")


def claim(text: str, holds: bool) -> None:
    """Print a claim, and remember it if it does not hold."""
    print(f"  {'ok  ' if holds else 'FAIL'} {next(claims)}. {text}")
    if not holds:
        failed.append(text)


def one_cache_for_both_colours(visitor: Visitor) -> None:
    chapter("A def view and an async def view share one entry, under the key 'report'")
    pages = [visitor.get(path)[0] for path in ("/report-async", "/report")]
    say(f"GET /report-async: {pages[0]!r}")
    say(f"GET /report:       {pages[1]!r}")
    by_hand = cache.get("report"), asyncio.run(cache.aget("report"))
    say(f"cache.get('report') and await cache.aget('report'): {by_hand[0]!r}")
    same = {*pages, *by_hand}
    claim("what one colour stored, every colour reads", same == {pages[0]} and "no. 1," in pages[0])


def one_computation_for_a_crowd(visitor: Visitor) -> None:
    chapter(f"{CROWD} visitors ask for a cold page that takes {SLOW} s, half of them async")
    barrier = threading.Barrier(CROWD + 1)

    def visit(path: str) -> str:
        barrier.wait()
        return visitor.get(path)[0]

    visits = [in_background.submit(visit, ("/crowd", "/crowd-async")[n % 2]) for n in range(CROWD)]
    barrier.wait()
    began = time.perf_counter()
    pages = [one.result() for one in visits]
    seconds = time.perf_counter() - began
    computed = next(editions["crowd"]) - 1
    say(f"computations: {computed}; all {len(pages)} pages after {seconds:.2f} s")
    claim("one computation for all", computed == 1 and set(pages) == {"computed 1 times"})


def a_hit_starts_no_loop(visitor: Visitor) -> None:
    chapter("Flask starts an event loop for each async def view; a hit needs none")
    visitor.get("/cached-async")
    with counted_loops() as loops_of_hits:
        for _ in range(20):
            visitor.get("/cached-async")
    with counted_loops() as loops_of_bare:
        for _ in range(20):
            visitor.get("/bare-async")
    say(f"20 hits: {len(loops_of_hits)} loops; 20 bare async views: {len(loops_of_bare)} loops")
    claim("a hit on an async view starts no loop", not loops_of_hits and len(loops_of_bare) == 20)
    sync, hit, coroutine = microseconds("/bare", "/cached-async", "/bare-async")
    say(f"per request: bare def view {sync:.0f} µs, cached async def view {hit:.0f} µs,")
    say(f"             bare async def view {coroutine:.0f} µs")
    claim(
        f"a hit is {coroutine / hit:.0f} times as fast as an empty async view", hit < coroutine / 2
    )


def nobody_waits_for_a_refresh(visitor: Visitor) -> None:
    chapter(f"Pages that take {SLOW} s are replaced while visitors get the old one at once")
    old, first = visitor.get("/news")
    time.sleep(1.1)  # its timeout is 1 s, then it is stale
    new, visits, slowest = visitor.visit_until_new("/news", old)
    say(f"stale_while_revalidate: the first visit took {first:.2f} s; of the stale page")
    say(f"    {visits} visits saw {old!r}, then {new!r}; the slowest took {slowest * 1e3:.0f} ms")
    claim("no visitor waits for a stale page", new == "edition 2" and slowest < SLOW / 2)

    def nightly() -> None:
        with app.test_request_context("/prices"):
            prices.refresh()

    jobs = {
        "forced_update": lambda: visitor.get("/prices", {"X-Refresh": "yes"}),
        "refresh()": nightly,
    }
    for name, job in jobs.items():
        old, _ = visitor.get("/prices")
        running = start(job)
        new, visits, slowest = visitor.visit_until_new("/prices", old)
        running.result()
        say(f"{name}, called by a job: {visits} visits saw {old!r}, then {new!r};")
        say(f"    the slowest took {slowest * 1e3:.0f} ms")
        claim(f"no visitor waits for {name}", new != old and slowest < SLOW / 2)


def an_invalidation_wins(visitor: Visitor) -> None:
    chapter("An invalidation wins over a computation that began before it")
    early = start(visitor.get, "/stock")  # reads "10 apples", and is slow to say so
    stock["apples"] = 7
    cache.delete_cached(stock_page)
    late = start(visitor.get, "/stock")
    say(f"began before the deletion: {early.result()[0]!r}")
    say(f"began after it:            {late.result()[0]!r}")
    stored, _ = visitor.get("/stock")
    say(f"stored in the end:         {stored!r}")
    claim("nobody who comes later gets the old value", late.result()[0] == stored == "7 apples")


def main() -> int:
    began = time.perf_counter()
    with running_server() as port:
        print(f"Flask on http://127.0.0.1:{port}, one process, one Cache, CACHE_TYPE SimpleCache")
        visitor = Visitor(port)
        one_cache_for_both_colours(visitor)
        one_computation_for_a_crowd(visitor)
        a_hit_starts_no_loop(visitor)
        nobody_waits_for_a_refresh(visitor)
        an_invalidation_wins(visitor)
    total, seconds = next(claims) - 1, time.perf_counter() - began
    if failed:
        print(f"\n{len(failed)} of {total} claims do not hold: {'; '.join(failed)}")
        return 1
    print(f"\nall {total} claims hold ({seconds:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
