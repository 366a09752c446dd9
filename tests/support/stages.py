"""Stages: a cache in one colour with many callers at once, and functions that wait for a sign."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from flask_caching_async import Cache
from flask_caching_async._runtime.colour import run_now
from support.faces import QUART, Face
from support.waiting import PATIENCE, Raised, auntil, until


class Started:
    """A call that is under way, in a thread or as a task."""

    def __init__(self, stage: Stage, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.stage = stage
        self.outcome: Any = None
        self.ended = threading.Event()
        if stage.is_async:
            self.task = asyncio.get_running_loop().create_task(self._run(call))
        else:
            self.thread = threading.Thread(target=lambda: run_now(self._run(call)), daemon=True)
            self.thread.start()

    async def _run(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        try:
            self.outcome = await call()
        except BaseException as error:
            self.outcome = Raised(error)
        finally:
            self.ended.set()

    async def result(self) -> Any:
        """What it returned, or :class:`Raised`."""
        await self.stage.until(self.ended.is_set)
        return self.outcome


class Stage(Face):
    """A cache in one colour, where callers run at the same time.

    Bodies are written once, as ``async def`` that waits only by :meth:`until` and :meth:`pause`.
    """

    def dye(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """A coroutine function in this colour."""
        if self.is_async:
            return body

        @functools.wraps(body)
        def plain(*args: Any, **kwargs: Any) -> Any:
            return run_now(body(*args, **kwargs))

        return plain

    async def until(self, condition: Callable[[], Any], timeout: float = PATIENCE) -> None:
        """Wait until something is so."""
        await auntil(condition, timeout) if self.is_async else until(condition, timeout)

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds) if self.is_async else time.sleep(seconds)

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Started:
        """Call a decorated function in a thread or task of its own."""
        return Started(self, lambda: self.call(function, *args, **kwargs))

    async def crowd(self, count: int, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Call a decorated function many times at once; the results."""
        started = [self.start(function, *args) for _ in range(count)]
        return [await one.result() for one in started]

    async def waiting(self, count: int) -> None:
        """Wait until so many callers have joined somebody else's computation."""
        await self.until(lambda: self.cache.stats().waits >= count)


class Body:
    """A body that returns how often it has been called, and waits in some calls for a sign.

    :param held: the calls that wait until :attr:`go` is set, counted from 1.
    """

    def __init__(self, stage: Stage, *held: int) -> None:
        self.stage = stage
        self.held = held
        self.go = threading.Event()
        self.calls = 0
        self.ended = 0
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls = number = next(self._numbers)
        try:
            if number in self.held:
                await self.stage.until(self.go.is_set)
            return await self.answer(number)
        finally:
            self.ended += 1

    async def answer(self, number: int) -> Any:
        """What a call returns; replace it to return something else, or to raise."""
        return number

    def function(self, name: str = "function") -> Callable[..., Any]:
        """A body to decorate; a stage gives it its colour."""

        async def function(n: int = 0) -> Any:
            return await self()

        function.__name__ = function.__qualname__ = name
        return function

    async def entered(self, count: int = 1) -> None:
        """Wait until it has been called so often."""
        await self.stage.until(lambda: self.calls >= count)


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test about a stage, as a coroutine that runs on a loop only where the stage is async."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        stage = fixtures.get("stage") or fixtures["any_stage"]
        if stage.colour == QUART:
            asyncio.run(_served(stage.cache.app, test, fixtures))
        elif stage.is_async:
            asyncio.run(test(**fixtures))
        else:
            run_now(test(**fixtures))

    return run


async def _served(app: Any, test: Any, fixtures: dict[str, Any]) -> None:
    """Run a story while a Quart app is being served, as a request would."""
    async with app.test_app(), app.test_request_context("/"):
        await test(**fixtures)


def stage_of(cache: Cache, colour: str) -> Stage:
    """A stage for a cache."""
    return Stage(cache, colour)
