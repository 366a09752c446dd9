"""What each backend costs, in one run on one machine: ``python benchmarks/backends.py [rounds]``.

Redis and Memcached are started for it, on free ports of this machine, so their figures are without
a network; where one is not installed, it is left out. Every figure is the best of many short rounds
in which all backends take turns.

The function returns at once: a miss is what looking, locking and storing cost, not the function.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.exceptions import ConfigurationError

#: How often each thing is done in a round: for memory, and for the others.
TIMES = {
    "memoized def, hit": (20_000, 300),
    "memoized async def, hit, in a Flask async view": (2_000, 200),
    "memoized async def, hit, in async with cache:": (20_000, 200),
    "memoized def, miss": (1_000, 100),
    "delete_memoized": (2_000, 200),
}

ENVIRON = {
    "REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "", "SCRIPT_NAME": "",
    "SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
}  # fmt: skip


class Backend:
    """A cache, and what is done with it; each method gives the seconds that it took."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.app = Flask("benchmark")
        self.cache = cache = Cache(self.app, config=config)
        self.loop = asyncio.new_event_loop()
        self.numbers = itertools.count()
        self.seconds = 0.0

        @cache.memoize()
        def plain(number: int) -> int:
            return number

        @cache.memoize()
        async def coroutine(number: int) -> int:
            return number

        @self.app.get("/")
        async def view() -> str:
            self.seconds = await self.awaited(self.times)
            return ""

        self.plain, self.coroutine = plain, coroutine
        self.does: list[Callable[[int], float]] = [
            self.hit, self.hit_in_view, self.hit_on_loop, self.miss, self.delete,
        ]  # fmt: skip

    def hit(self, times: int) -> float:
        function = self.plain
        function(-1)
        start = time.perf_counter()
        for _ in range(times):
            function(-1)
        return time.perf_counter() - start

    async def awaited(self, times: int) -> float:
        function = self.coroutine
        await function(-1)
        start = time.perf_counter()
        for _ in range(times):
            await function(-1)
        return time.perf_counter() - start

    def hit_in_view(self, times: int) -> float:
        self.times = times
        start_response: Any = lambda status, headers: None  # noqa: E731
        b"".join(self.app.wsgi_app(dict(ENVIRON), start_response))
        return self.seconds

    def hit_on_loop(self, times: int) -> float:
        return self.loop.run_until_complete(self.awaited(times))

    def miss(self, times: int) -> float:
        function = self.plain
        numbers = list(itertools.islice(self.numbers, times))
        start = time.perf_counter()
        for number in numbers:
            function(number)
        return time.perf_counter() - start

    def delete(self, times: int) -> float:
        delete, function = self.cache.delete_memoized, self.plain
        start = time.perf_counter()
        for _ in range(times):
            delete(function)
        return time.perf_counter() - start


@contextmanager
def server(*command: str) -> Iterator[int | None]:
    """Run a server that takes ``{port}``; its port, or ``None`` if it is not installed."""
    if not shutil.which(command[0]):
        print(f"{command[0]} is not installed")
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = [word.format(port=port) for word in command]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait()


def configurations(stack: ExitStack) -> Iterator[dict[str, Any]]:
    """What there is to be measured here."""
    yield {"CACHE_TYPE": "SimpleCache"}
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    yield {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": folder}
    quiet = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1")
    if port := stack.enter_context(server("redis-server", "--port", "{port}", *quiet)):
        yield {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": f"redis://127.0.0.1:{port}"}
    listen = ("-l", "127.0.0.1", "-U", "0", "-u", "nobody")
    if port := stack.enter_context(server("memcached", "-p", "{port}", *listen)):
        yield {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": [f"127.0.0.1:{port}"]}


def opened(stack: ExitStack) -> dict[str, Backend]:
    """The backends by name, each with connections on a loop of its own, if it can have them."""
    backends = {}
    for config in configurations(stack):
        name = config["CACHE_TYPE"]
        try:
            # The default of SimpleCache is 500 entries: as much as a round stores in the others.
            backend = Backend({"CACHE_THRESHOLD": 500, "CACHE_DEFAULT_TIMEOUT": 3600, **config})
        except ConfigurationError as error:
            print(f"{name} is left out: {error}")
            continue
        backend.loop.run_until_complete(backend.cache.__aenter__())
        stack.callback(backend.loop.close)
        stack.callback(backend.loop.run_until_complete, backend.cache.aclose())
        backends[name] = backend
    return backends


def main(rounds: int = 20) -> None:
    """Measure and print."""
    print(f"Python {sys.version.split()[0]}")
    with ExitStack() as stack:
        backends = opened(stack)
        best: dict[tuple[str, int], float] = {}
        for _ in range(rounds):
            for name, backend in backends.items():
                for number, times in enumerate(TIMES.values()):
                    count = times[name != "SimpleCache"]
                    taken = backend.does[number](count) / count * 1e6
                    best[name, number] = min(best.get((name, number), taken), taken)
        for number, what in enumerate(TIMES):
            print(f"\n{what}")
            for name in backends:
                figure = best[name, number]
                ratio = figure / best["SimpleCache", number]
                print(f"  {name:<17} {figure:9.1f} µs   {ratio:7.1f} x")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
