"""Processes that share a cache on a server: each is told, line by line, what to do.

A test has a :class:`Crew`. Each of its members is a process that runs this file and has a
:class:`Site`, which is of one *kind*: ``threads`` call sync functions, ``tasks`` await async ones
on a loop that has connections of its own (``async with cache:``), ``views`` are async views of
Flask, each on the loop that Flask starts for it, and ``mixed`` are threads and tasks by turns.

They meet in a folder: a computation appends a line to the notes about its page when it begins, and
does not end while a file there says that it is held. So nobody needs to sleep, and hope.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

TESTS = str(Path(__file__).parent.parent)
PATIENCE = 30.0

BACKENDS = ("RedisCache", "MemcachedCache")


class Backend:
    """An empty server, and the configuration of those who use it.

    :param fixture: gives the fixture with a name.
    """

    def __init__(self, kind: str, fixture: Callable[[str], Any]) -> None:
        self.is_redis = kind == "RedisCache"
        self.server = fixture("redis_server" if self.is_redis else "memcached_server").restore()
        # A busy machine is no dead server.
        self.config: dict[str, Any] = {"CACHE_CONNECT_TIMEOUT": 20, "CACHE_OPERATION_TIMEOUT": 20}
        self.config |= {"CACHE_TYPE": kind, "CACHE_LOCK_TIMEOUT": 20}
        if self.is_redis:
            self.config["CACHE_REDIS_URL"] = self.server.url
        else:
            self.config["CACHE_MEMCACHED_SERVERS"] = [f"{self.server.host}:{self.server.port}"]

    def limit(self, connections: int) -> dict[str, int]:
        """The option for a process that may have so many, in each loop and for all threads."""
        return {"max_connections" if self.is_redis else "pool_size": connections}

    def connections(self) -> int:
        """How many are open, without the one that is needed to ask."""
        if self.is_redis:
            return len(self.server.ask("CLIENT", "LIST").splitlines()) - 1
        with socket.create_connection((self.server.host, self.server.port), 5) as asking:
            asking.sendall(b"stats\r\nquit\r\n")
            told = asking.makefile().read().split()
        return int(told[told.index("curr_connections") + 1]) - 1


class Member:
    """One process of a crew."""

    def __init__(self, folder: Path, number: int, kind: str, config: dict[str, Any]) -> None:
        self.stderr = folder / f"stderr-{number}-{kind}"
        with open(self.stderr, "wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "dev", "-W", "error", __file__, kind, json.dumps(config)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder,
                env={**os.environ, "PYTHONPATH": TESTS},
            )  # fmt: skip
        self.pid = self.process.pid

    def begin(self, line: str) -> None:
        """Have an expression evaluated; its names are the attributes of the :class:`Site`."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> Any:
        """The value of the oldest expression."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.stderr.read_text()
        told = json.loads(line)
        assert "error" not in told, told["error"]
        return told["value"]

    def do(self, line: str) -> Any:
        """Both."""
        self.begin(line)
        return self.end()

    def kill(self) -> None:
        """End it with ``SIGKILL``."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Let it end by itself: there are no more lines."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.kill()


class Crew:
    """Processes that share a folder and a cache."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config = folder, config
        self.members: list[Member] = []
        self._numbers = itertools.count()

    def hire(self, *kinds: str, **more: Any) -> list[Member]:
        """Start one more process of each kind, with more configuration."""
        config = {**self.config, **more}
        new = [Member(self.folder, next(self._numbers), kind, config) for kind in kinds]
        for member in new:
            member.do("misses()")
        self.members += new
        return new

    def part(self, *members: Member) -> None:
        """Let some of them end."""
        for member in members:
            self.members.remove(member)
            member.close()

    def complaints(self) -> str:
        """What any of them ever wrote to stderr; warnings and ``-X dev`` are on."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("stderr-*")))

    # --- computations -----------------------------------------------------------------------------

    def hold(self, name: str, who: object = "all") -> None:
        """Let no computation of a page end: of a process (by its id), the ``first``, ``others``."""
        (self.folder / f"{name}.hold-{who}").touch()

    def free(self, name: str, who: object = "all") -> None:
        """End of :meth:`hold`."""
        (self.folder / f"{name}.hold-{who}").unlink()

    def computed(self, name: str) -> int:
        """How many computations of a page ever began."""
        path = self.folder / f"{name}.notes"
        return len(path.read_text().split()) if path.exists() else 0

    def rest(self) -> None:
        """After a test, end all of it."""
        for path in self.folder.glob("*.hold-*"):
            path.unlink()
        self.part(*self.members[4:])
        self.answers()

    # --- callers ----------------------------------------------------------------------------------

    def ask(self, times: int, which: str, *names: str, of: list[Member] | None = None) -> None:
        """Have all processes, or some, call a function so many times; do not wait for it."""
        for member in (asked := of or self.members):
            member.begin(f"ask({times}, {which!r}, *{names!r})")
        for member in asked:
            member.end()

    def answers(self, of: list[Member] | None = None) -> list[Any]:
        """What those calls returned."""
        for member in (asked := of or self.members):
            member.begin("answers()")
        return [answer for member in asked for answer in member.end()]

    def misses(self) -> int:
        """How many calls ever found nothing, and then computed, or waited for somebody."""
        return sum(member.do("misses()") for member in self.members)


# --- in each process ------------------------------------------------------------------------------


class Site:
    """An app, a cache, a few functions in both colours, and those who call them."""

    def __init__(self, kind: str, config: dict[str, Any]) -> None:
        from flask import Flask
        from flow.crowd import Stage

        from flask_caching_async import Cache

        self.app = Flask("site")
        self.cache = Cache(self.app, config=config)
        self.functions: dict[tuple[str, bool], Any] = {}
        for stage in (Stage(self.cache, "sync"), Stage(self.cache, "async")):
            functions = {
                "page": stage.memoize(tags=["tag"]),
                "brief": stage.memoize(lock_timeout=6),
                "private": stage.memoize(response_filter=lambda number: False),
                "nothing": stage.memoize(),
                "view": stage.cached(tags=["tag"]),
            }
            for which, decorate in functions.items():
                self.functions[which, stage.is_async] = decorate(computation(which, stage))

        @self.app.get("/<which>/<name>")
        async def show(which: str, name: str) -> str:
            return json.dumps(await self.functions[which, True](name))

        self.is_async = kind != "threads"
        self.app.add_url_rule("/view/<name>", view_func=self.functions["view", self.is_async])
        self.call: Any = getattr(self, f"call_{kind}")
        self.turns = itertools.cycle((self.call_threads, self.call_tasks))
        self.asked: list[Future[Any]] = []
        self.pool = ThreadPoolExecutor(64)
        self.loop: asyncio.AbstractEventLoop | None = None
        if kind in ("tasks", "mixed"):
            self.start_loop()
        self.page, self.view = (self.functions[name, self.is_async] for name in ("page", "view"))

    def call_threads(self, which: str, name: str) -> Future[Any]:
        return self.pool.submit(self.functions[which, False], name)

    def call_tasks(self, which: str, name: str) -> Future[Any]:
        return self.task(self.functions[which, True](name))

    def call_views(self, which: str, name: str) -> Future[Any]:
        return self.pool.submit(self.visit, f"/{which}/{name}")

    def visit(self, path: str) -> Any:
        return json.loads(self.app.test_client().get(path).text)

    def call_mixed(self, which: str, name: str) -> Future[Any]:
        return next(self.turns)(which, name)

    # --- the loop that owns connections -----------------------------------------------------------

    def start_loop(self) -> None:
        ready: Future[None] = Future()
        self.stop = asyncio.Event()

        async def live() -> None:
            self.loop = asyncio.get_running_loop()
            async with self.cache:
                ready.set_result(None)
                await self.stop.wait()

        self.thread = threading.Thread(target=lambda: asyncio.run(live()))
        self.thread.start()
        ready.result(PATIENCE)

    def task(self, step: Any) -> Future[Any]:
        """Run a coroutine on that loop, or where there is none, on one of its own."""
        if self.loop is None:
            return self.pool.submit(asyncio.run, step)
        return asyncio.run_coroutine_threadsafe(step, self.loop)

    def close(self) -> None:
        self.pool.shutdown()
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.stop.set)
            self.thread.join()
        self.cache.close()

    # --- what a test says -------------------------------------------------------------------------

    def ask(self, times: int, which: str, *names: str) -> None:
        """Call a function so many times with each name, all at once."""
        call = self.call_views if which == "view" else self.call
        self.asked += [call(which, name) for name in names for _ in range(times)]

    def refresh(self, which: str, name: str) -> None:
        """Compute anew, whatever is stored."""

        def compute() -> Any:
            with self.app.test_request_context(f"/{which}/{name}"):
                made = self.functions[which, self.is_async].refresh(name)
                return json.loads(str(asyncio.run(made) if self.is_async else made))

        self.asked.append(self.pool.submit(compute))

    def answers(self) -> list[Any]:
        """What all those calls returned."""
        asked, self.asked = self.asked, []
        return [future.result(PATIENCE) for future in asked]

    def misses(self) -> int:
        """How many calls ever found nothing."""
        return self.cache.stats().misses

    def do(self, method: str, *args: Any) -> Any:
        """Call a method of the cache, in this site's colour."""
        if not self.is_async:
            return getattr(self.cache, method)(*args)
        return self.task(getattr(self.cache, "a" + method)(*args)).result(PATIENCE)

    def key(self, name: str) -> str:
        """The key of a page."""
        return str(self.page.make_cache_key(self.page.uncached, name))


def computation(which: str, stage: Any) -> Any:
    """A function that says which computation of its page this is, all processes counted."""

    async def function(name: str) -> Any:
        with open(f"{name}.notes", "a") as notes:
            notes.write(f"{os.getpid()}\n")  # appended whole
        with open(f"{name}.notes") as notes:
            number = len(notes.readlines())
        turn, deadline = "first" if number == 1 else "others", time.monotonic() + PATIENCE
        while any(os.path.exists(f"{name}.hold-{who}") for who in ("all", turn, os.getpid())):
            assert time.monotonic() < deadline, "nobody frees it"
            await stage.pause(0.005)
        return {"nothing": None, "view": str(number)}.get(which, number)

    function.__name__ = function.__qualname__ = which
    return function


def main(kind: str, config: str) -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # not that a busy machine is slow
    site = Site(kind, json.loads(config))
    names = {name: getattr(site, name) for name in dir(site) if not name.startswith("_")}
    for line in sys.stdin:
        try:
            told = {"value": eval(line, names)}
        except Exception:
            told = {"error": traceback.format_exc()}
        print(json.dumps(told), flush=True)
    site.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
