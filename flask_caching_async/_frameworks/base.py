"""What the cache asks of the framework that it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias

from werkzeug.sansio.request import Request

from .._flow.leader import Leader
from ..pages.reads import MadeFrom, Reads
from ..typing import Args, Callback, Kwargs, QueryArgs, Value

__all__ = ["App", "Change", "Framework", "Occasion", "PageRequest", "Place", "Routed", "Where"]

#: The view that a request leads to, and its arguments.
Routed: TypeAlias = tuple[Callback, Kwargs]
#: A path, or an endpoint and the values of its route.
Where: TypeAlias = str | tuple[str, Kwargs]
#: Changes a response, or makes another one.
Change: TypeAlias = Callable[[Value], Value]
#: Something to be awaited when a loop begins to serve, and when it ends.
Occasion: TypeAlias = Callable[[], Awaitable[None]]


class App(Protocol):
    """What a cache needs of an app: its settings, and a place to be found at."""

    #: Where extensions of the app keep what is theirs.
    extensions: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """Its settings."""
        ...


class PageRequest(NamedTuple):
    """A page that is asked for outside a request.

    :param preprocess: whether the functions that the app has before each request are called.
    """

    where: Where
    query_args: QueryArgs | None = None
    headers: Mapping[str, str] | None = None
    preprocess: bool = True


class Place(NamedTuple):
    """Where a page is: a path as a request has it, and a query string."""

    path: str
    query: str = ""


class Framework(Protocol):
    """One app of one framework.

    Request objects are Werkzeug's in all of them: ``path``, ``method``, ``host``, ``args``,
    ``headers`` and ``cookies`` need no framework.
    """

    #: Whether threads serve the app, or it needs no server; an ASGI app waits for a loop.
    serves: bool
    #: The loop that serves the app, where there is one that lives long.
    loop: asyncio.AbstractEventLoop | None

    @property
    def debug(self) -> bool:
        """Whether the app is in debug mode now."""
        ...

    @property
    def many_hosts(self) -> bool:
        """Whether the app routes by host or subdomain, so that a path alone is not a page."""
        ...

    @property
    def session_cookie(self) -> str:
        """The name of the cookie of the app's session."""
        ...

    def request(self) -> Request | None:
        """The current request of this framework, or ``None``."""
        ...

    def visit(self) -> Request | None:
        """The current request of this framework, or websocket, or ``None``."""
        ...

    def views(self) -> Iterable[Callback]:
        """The functions that are registered as views now."""
        ...

    def view_of(self, request: Value) -> Callback | None:
        """The function that is registered for what a request asks for."""
        ...

    def before_requests(self, check: Callable[[], None]) -> None:
        """Call ``check`` before each request."""
        ...

    def endpoint_for(self, function: Callback, values: Kwargs) -> str:
        """The endpoint of a view that has a rule for these arguments; else its name."""
        ...

    def arguments_of(self, function: Callback) -> set[str]:
        """The names of the arguments that a view gets of its rules."""
        ...

    def places_of(self, function: Callback, values: Kwargs) -> list[Place]:
        """All pages of a view that have these arguments."""
        ...

    def places_at(self, function: Callback, path: str, of_others: bool = False) -> list[Place]:
        """The pages that a path, or a URL, may mean for a view."""
        ...

    def usual_path(self, request: Request) -> str | None:
        """The path that is built for the page of the current request, if it is another one."""
        ...

    def recorded(self, into: MadeFrom | None = None) -> AbstractContextManager[Reads | None]:
        """A context in which is noted what is read of the current request, if there is one.

        :param into: keeps that.
        """
        ...

    def after_this_request(self, change: Change) -> None:
        """Let ``change`` have the response of the current request."""
        ...

    def make_response(self, value: Value) -> Value:
        """The response that the app makes of what a view returned.

        :raises TypeError: if it makes none of it.
        """
        ...

    def at_the_end(self, change: Change) -> None:
        """Let ``change`` have each response, after all that the app does with it; once an app."""
        ...

    def spawn(self, leader: Leader, is_async: bool) -> None:
        """Compute in the background, in contexts like the caller's, which end with that."""
        ...

    def install(self) -> None:
        """Whatever the app needs once, however many caches it has."""
        ...

    def request_for(self, page: PageRequest) -> AbstractContextManager[Routed]:
        """A context in which a page is requested; entered, it gives the view and its arguments."""
        ...

    def arequest_for(self, page: PageRequest) -> AbstractAsyncContextManager[Routed]:
        """:meth:`request_for` for async code."""
        ...

    def call(self, function: Value, args: Args, kwargs: Kwargs) -> None:
        """Refresh a function from a thread of our own, as a cron job would, and wait for it.

        What is async runs on the loop that serves, where there is one.
        """
        ...

    def when_served(self, begin: Callable[[], None]) -> None:
        """Call ``begin`` when this process is seen to serve the app, without a loop of its own.

        Commands of the app, and a master that forks workers, only make it.
        """
        ...

    def while_serving(self, begin: Occasion, end: Occasion) -> None:
        """Await ``begin`` before a loop that lives long begins to serve, and ``end`` after it."""
        ...

    def add_template_tag(self, cache: object) -> None:
        """Make ``{% cache %}`` known to the app's templates."""
        ...
