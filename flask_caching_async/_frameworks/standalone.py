"""No framework: any program may use ``memoize`` and the operations."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from werkzeug.sansio.request import Request

from .._flow.leader import Leader
from ..pages.reads import MadeFrom
from ..typing import Args, Callback, Config, Kwargs, Value
from .base import Change, Occasion, PageRequest, Place, Routed
from .spawning import refreshed, spawn_in_pool, spawn_on_loop, work_of

__all__ = ["Standalone", "Program"]


class Program:
    """What stands in the place of an app where there is none.

    :param config: ``CACHE_*`` settings.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config: Config = dict(config or {})
        self.extensions: dict[str, Any] = {}
        self.debug = False


class Standalone:
    """A program without requests."""

    many_hosts = False
    serves = True
    loop: asyncio.AbstractEventLoop | None = None

    session_cookie = ""

    def __init__(self, app: Program) -> None:
        self.app = app

    @property
    def debug(self) -> bool:
        """Whether the program says that it is being debugged."""
        return self.app.debug

    def visit(self) -> None:
        """Nobody comes."""

    def request(self) -> None:
        """There are none."""

    def views(self) -> Iterable[Callback]:
        """There are none."""
        return ()

    def view_of(self, request: Value) -> None:
        """There is none."""

    def before_requests(self, check: Callable[[], None]) -> None:
        """There are none."""

    def endpoint_for(self, function: Callback, values: Kwargs) -> str:
        """Its name."""
        return getattr(function, "__name__", "")

    def arguments_of(self, function: Callback) -> set[str]:
        """None."""
        return set()

    def places_of(self, function: Callback, values: Kwargs) -> list[Place]:
        """None."""
        return []

    def places_at(self, function: Callback, path: str, of_others: bool = False) -> list[Place]:
        """Its own words."""
        return [Place(path)]

    def usual_path(self, request: Request) -> None:
        """There is none."""

    def recorded(self, into: MadeFrom | None = None) -> AbstractContextManager[None]:
        """There are no requests."""
        return contextlib.nullcontext()

    def after_this_request(self, change: Change) -> None:
        """There are none."""

    def make_response(self, value: Value) -> Value:
        """There are none."""
        raise TypeError("a program without an app has no responses")

    def at_the_end(self, change: Change) -> None:
        """There are none."""

    def spawn(self, leader: Leader, is_async: bool) -> None:
        """Compute as a task of the running loop, or in a thread of the pool."""
        if is_async and asyncio._get_running_loop() is not None:
            spawn_on_loop(leader)
        else:
            spawn_in_pool(leader, work_of(leader, is_async))

    def install(self) -> None:
        """Nothing."""

    def request_for(self, page: PageRequest) -> AbstractContextManager[Routed]:
        """There are none."""
        raise RuntimeError("a program without an app has no pages")

    def arequest_for(self, page: PageRequest) -> AbstractAsyncContextManager[Routed]:
        """There are none."""
        raise RuntimeError("a program without an app has no pages")

    def call(self, function: Value, args: Args, kwargs: Kwargs) -> None:
        """Refresh a function, and wait for it."""
        refreshed(self.loop, function, args, kwargs)

    def when_served(self, begin: Callable[[], None]) -> None:
        """At once: it is the program that asks."""
        begin()

    def while_serving(self, begin: Occasion, end: Occasion) -> None:
        """Nothing: ``async with cache:`` does that."""

    def add_template_tag(self, cache: object) -> None:
        """There are no templates."""
