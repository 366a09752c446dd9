"""What each process of a :class:`~support.crew.Crew` runs: ``python -m support.crew_member``."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import sys
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from flask import Flask

from flask_caching_async import Cache
from support.notes import noted
from support.stages import Stage
from support.waiting import PATIENCE


class Workplace:
    """An app, a cache, a few functions in both colours, and those who call them."""

    def __init__(self, kind: str, config: dict[str, Any]) -> None:
        self.app = Flask("workplace")
        self.app.testing = True  # what a view raises is for its caller, not for a log
        self.cache = Cache(self.app, config=config)
        self.functions: dict[tuple[str, bool], Any] = {}
        for stage in (Stage(self.cache, "sync"), Stage(self.cache, "async")):
            functions = {
                "page": stage.memoize(tags=["tag"]),
                "brief": stage.memoize(lock_timeout=6),
                "private": stage.memoize(response_filter=lambda number: False),
                "nothing": stage.memoize(),
                "broken": stage.memoize(response_filter=lambda number: 1 / 0),
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

    def failures(self) -> int:
        """How many of all those calls raised."""
        asked, self.asked = self.asked, []
        return [future.exception(PATIENCE) is not None for future in asked].count(True)

    def misses(self) -> int:
        """How many calls ever found nothing."""
        return self.cache.stats().misses

    def do(self, method: str, *args: Any) -> Any:
        """Call a method of the cache, in this workplace's colour."""
        if not self.is_async:
            return getattr(self.cache, method)(*args)
        return self.task(getattr(self.cache, "a" + method)(*args)).result(PATIENCE)

    def key(self, name: str) -> str:
        """The key of a page."""
        return str(self.page.make_cache_key(self.page.uncached, name))


def computation(which: str, stage: Any) -> Any:
    """A function that says which computation of its page this is, all processes counted."""

    async def function(name: str) -> Any:
        number = noted(name)
        turn, deadline = "first" if number == 1 else "others", time.monotonic() + PATIENCE
        while any(os.path.exists(f"{name}.hold-{who}") for who in ("all", turn, os.getpid())):
            assert time.monotonic() < deadline, "nobody frees it"
            await stage.pause(0.005)
        return {"nothing": None, "view": str(number)}.get(which, number)

    function.__name__ = function.__qualname__ = which
    return function


def main(kind: str, config: str) -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # not that a busy machine is slow
    workplace = Workplace(kind, json.loads(config))
    names = {name: getattr(workplace, name) for name in dir(workplace) if not name.startswith("_")}
    for line in sys.stdin:
        try:
            told = {"value": eval(line, names)}
        except Exception:
            told = {"error": traceback.format_exc()}
        print(json.dumps(told), flush=True)
    workplace.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
