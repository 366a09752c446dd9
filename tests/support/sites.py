"""A site under test: views in one colour, on one cache, and how often their bodies were called."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async._runtime import background as _background
from support.faces import Face
from support.waiting import PATIENCE


class Counting:
    """``calls`` counts the calls of bodies."""

    calls = 0

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def counted(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """A body that counts its calls."""

        @functools.wraps(body)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return body(*args, **kwargs)

        return counted


class Site(Counting):
    """``site.view("/works", timeout=5)(body)`` registers a cached view; ``site.calls`` counts."""

    def __init__(self, app: Flask, cache: Cache, colour: str = "sync") -> None:
        self.app = app
        self.cache = cache
        self.face = Face(cache, colour)
        self.is_async = self.face.is_async

    def view(
        self,
        rule: str = "/works",
        *args: Any,
        methods: Any = None,
        endpoint: str | None = None,
        **kwargs: Any,
    ) -> Callable[[Callable[..., Any]], Any]:
        """Cache a plain body in the colour of this site, and register it."""

        def decorator(body: Callable[..., Any]) -> Any:
            view = self.face.cached(*args, **kwargs)(self.counted(body))
            self.app.add_url_rule(rule, endpoint, view, methods=methods)
            return view

        return decorator

    def numbers(self, *args: Any, **kwargs: Any) -> Any:
        """A view that answers with the number of its computation."""

        def numbers(**view_args: Any) -> str:
            return str(self.calls)

        # Views of one name are dropped together, and share an endpoint.
        numbers.__qualname__ = numbers.__name__ = kwargs.get("endpoint") or "numbers"
        return self.view(*args, **kwargs)(numbers)

    def get(self, path: str = "/works", **kwargs: Any) -> Any:
        """The response to a GET."""
        return self.app.test_client(use_cookies=False).get(path, **kwargs)

    def text(self, path: str = "/works", **kwargs: Any) -> str:
        """The body of a GET."""
        return str(self.get(path, **kwargs).get_data(as_text=True))

    def do(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """``cache.operation(...)`` or ``await cache.aoperation(...)``."""
        return asyncio.run(getattr(self.face, operation)(*args, **kwargs))

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of this site's colour outside of any loop."""
        answer = function(*args, **kwargs)
        return asyncio.run(_awaited(answer)) if self.is_async else answer


async def _awaited(answer: Any) -> Any:
    return await answer


@contextmanager
def background(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Gives a function that waits until all background work is done."""
    pending: list[threading.Event] = []
    submit = _background.submit

    def watched(work: Callable[[], Any]) -> bool:
        done = threading.Event()
        pending.append(done)

        def run() -> None:
            try:
                work()
            finally:
                done.set()

        return submit(run)

    def wait() -> None:
        for done in pending:
            assert done.wait(PATIENCE)

    with monkeypatch.context() as patch:
        patch.setattr(_background, "submit", watched)
        yield wait
        wait()
