"""What a hit costs, as ratios in one run: ``python benchmarks/hits.py [rounds]``.

Views are measured as whole WSGI requests, against the same view without a cache. Calls of memoized
functions are measured against Flask-Caching, if it is installed, and against a plain dict. Every
figure is the best of many short rounds in which all candidates take turns.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from flask import Flask

ENVIRON = {
    "REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "", "SCRIPT_NAME": "",
    "SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
}  # fmt: skip


def cache_of(module: str, app: Flask) -> Any:
    """A cache in memory of one of the libraries."""
    return importlib.import_module(module).Cache(app, config={"CACHE_TYPE": "SimpleCache"})


def request_to(app: Flask, environ: dict[str, str] = ENVIRON) -> Callable[[], None]:
    """One whole request, through the app's WSGI interface."""

    def request() -> None:
        b"".join(app.wsgi_app(dict(environ), lambda status, headers: None))

    return request


def view(is_async: bool, module: str | None) -> Callable[[], None]:
    """A request to a view that says hello, cached or not."""
    app = Flask("benchmark")

    def hello() -> str:
        return "hello"

    async def ahello() -> str:
        return "hello"

    function: Any = ahello if is_async else hello
    if module:
        function = cache_of(module, app).cached()(function)
    app.add_url_rule("/", "hello", function)
    return request_to(app)


def page(size: int, known: bool) -> Callable[[], None]:
    """A request to a page with an ETag, perhaps by a browser that has it already."""
    app = Flask("benchmark")
    text = "x" * size

    @app.get("/")
    @cache_of("flask_caching_async", app).cached(http=True)
    def show() -> str:
        return text

    headers: dict[str, str] = {}
    b"".join(app.wsgi_app(dict(ENVIRON), lambda status, pairs: headers.update(pairs)))
    environ = {**ENVIRON, "HTTP_IF_NONE_MATCH": headers["ETag"]} if known else ENVIRON
    return request_to(app, environ)


def memoized(module: str, is_async: bool) -> Any:
    """A memoized function of two arguments."""
    cache = cache_of(module, Flask("benchmark"))

    def add(a: int, b: int = 2) -> int:
        return a + b

    async def aadd(a: int, b: int = 2) -> int:
        return a + b

    return cache.memoize()(aadd if is_async else add)


def dict_hit() -> Callable[[], Any]:
    """The physical limit: a tuple as the key of a dict."""
    held = {(1, 2): 3}

    def add(a: int, b: int = 2) -> int:
        return held[(a, b)]

    return lambda: add(1)


def best_of(rounds: int, candidates: dict[str, tuple[Callable[[], Any], int]]) -> dict[str, float]:
    """The best time of each candidate in µs."""
    best = dict.fromkeys(candidates, float("inf"))
    for call, _ in candidates.values():
        call()
    for _ in range(rounds):
        for name, (call, times) in candidates.items():
            start = time.perf_counter()
            for _ in range(times):
                call()
            best[name] = min(best[name], (time.perf_counter() - start) / times * 1e6)
    return best


def async_hit(function: Any, rounds: int, times: int) -> float:
    """The best time of an awaited hit in µs."""

    async def run() -> float:
        best = float("inf")
        await function(1)
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in range(times):
                await function(1)
            best = min(best, (time.perf_counter() - start) / times * 1e6)
        return best

    return asyncio.run(run())


def show(title: str, figures: dict[str, float], base: str) -> None:
    """One table; ``base`` is 1.00."""
    print(f"\n{title}")
    for name, figure in figures.items():
        print(f"  {name:<44} {figure:9.2f} µs   {figure / figures[base]:7.2f} x")


def main(rounds: int = 40) -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    ours = "flask_caching_async"
    print(f"Python {sys.version.split()[0]}")
    theirs = "flask_caching" if importlib.util.find_spec("flask_caching") else None
    if not theirs:
        print("Flask-Caching is not installed: no comparison with it")
    views: dict[str, tuple[Callable[[], Any], int]] = {
        "bare sync view": (view(False, None), 300),
        "sync view, hit": (view(False, ours), 300),
        "async view, hit": (view(True, ours), 300),
        "bare async view": (view(True, None), 30),
        "sync view, http=True, hit": (page(5, False), 300),
        "sync view, http=True, 304 of 1 MB": (page(1 << 20, True), 300),
    }
    if theirs:
        views["Flask-Caching, sync view, hit"] = (view(False, theirs), 300)
        views["Flask-Caching, async view, hit"] = (view(True, theirs), 300)
    show("A whole request", best_of(rounds, views), "bare sync view")
    add = memoized(ours, False)
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "a dict": (dict_hit(), 20000),
        "memoized function, hit": (lambda: add(1), 20000),
    }
    if theirs:
        other, other_async = memoized(theirs, False), memoized(theirs, True)
        calls["Flask-Caching, memoized function, hit"] = (lambda: other(1), 1000)
        calls["Flask-Caching, async function, hit"] = (lambda: other_async(1), 1000)
    figures = best_of(rounds, calls)
    figures["memoized async function, hit, awaited"] = async_hit(
        memoized(ours, True), rounds, 20000
    )
    show("A call", figures, "memoized function, hit")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
