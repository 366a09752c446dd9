"""Flask: sync and async views under WSGI.

Each ``async def`` view runs on an event loop of its own, which ends with the request. So nothing
that outlives a request may be bound to that loop: refreshes run in threads, where async functions
get a loop by the app's own ``async_to_sync``.

Starting that loop costs more than ten times what a plain request costs. :func:`_sync_lane` avoids
it: an async view that is answered from the cache is answered before a loop exists.
"""

# No postponed annotations here: those of CachedResponse are read at run time.

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import flask
from flask import Flask, Response
from werkzeug.wrappers import Response as WsgiResponse

from .._entries.times import seconds
from .._flow.leader import Leader
from .._flow.run import arefresh
from .._runtime.loops import running_loop_kind
from .._runtime.threads import offload
from .pallets import PalletsFramework, query_of, refused, routed, takes_context
from .spawning import refreshed, spawn_in_pool, spawn_on_loop, work_of

__all__ = ["CachedResponse", "FlaskFramework", "current_app"]

#: Marks an app whose ``async_to_sync`` has been wrapped, and tells a cached function from others.
LOOPLESS_HIT = "_flask_caching_async_lane"


class CachedResponse(Response):
    """A response with a timeout of its own; return it from a view to override the decorator's.

    :param response: the response to send; this object takes over its state.
    :param timeout: seconds or a ``timedelta``; ``None`` takes the decorator's, 0 never expires.
    """

    timeout: float | None = None

    def __new__(cls, response: Any = None, timeout: Any = None) -> Any:
        """A response of Quart becomes one of Quart."""
        if cls is CachedResponse and not isinstance(response, WsgiResponse | None):
            from .quart import CachedResponse as OfQuart

            of_quart: Any = OfQuart
            return of_quart(response, timeout)
        return super().__new__(cls)

    def __init__(self, response: Response, timeout: float | timedelta | None) -> None:
        self.__dict__ = response.__dict__
        self.timeout = seconds(timeout)


def current_app() -> Flask | None:
    """The Flask app whose context is active here."""
    return flask.current_app._get_current_object() if flask.has_app_context() else None  # type: ignore[attr-defined]


class FlaskFramework(PalletsFramework):
    """One Flask app."""

    framework = flask

    def spawn(self, leader: Leader, is_async: bool) -> None:
        """Compute in a thread of the pool, with the app's context and a copy of the request's."""
        in_app = flask.has_app_context()
        if is_async and not in_app and asyncio._get_running_loop() is not None:
            spawn_on_loop(leader)  # plain asyncio
            return
        work = work_of(leader, is_async)
        if is_async and running_loop_kind() != "trio":
            # Made in the thread that runs it: asgiref would bind it to the loop that runs here.
            work = functools.partial(_arefresh_in, self.app, leader)
        if flask.has_request_context():
            work = flask.copy_current_request_context(work)
        elif in_app:
            work = functools.partial(_in_app_context, self.app, work)
        spawn_in_pool(leader, work)

    def before_requests(self, check: Callable[[], None]) -> None:
        """Call ``check`` before each request."""
        self.app.before_request_funcs.setdefault(None, []).append(check)

    @contextlib.contextmanager
    def request_for(self, where: Any, query_args: Any, headers: Any) -> Iterator[Any]:
        """Ask for a page, as the test client does, up to the call of its view."""
        with self._context(where, query_args, headers) as context:
            refused(self.app, flask.request, self._preprocess(context)())
            yield routed(self.app, flask.request)

    @contextlib.asynccontextmanager
    async def arequest_for(self, where: Any, query_args: Any, headers: Any) -> AsyncIterator[Any]:
        """:meth:`request_for` for async code: the app's own functions may block, or want a loop."""
        with self._context(where, query_args, headers) as context:
            refused(self.app, flask.request, await offload(self._preprocess(context)))
            yield routed(self.app, flask.request)

    def _context(self, where: Any, query_args: Any, headers: Any) -> Any:
        if not isinstance(where, str):
            endpoint, values = where
            with self.app.test_request_context():
                where = self.location(endpoint, values)
        query = query_of(query_args)
        return self.app.test_request_context(where, query_string=query, headers=headers)

    def _preprocess(self, context: Any) -> Callable[[], Any]:
        preprocess: Any = self.app.preprocess_request
        return functools.partial(preprocess, context) if takes_context(preprocess) else preprocess

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refresh a function in the app's context, and wait for it."""
        with self.app.app_context():
            if self.loop is None and inspect.iscoroutinefunction(function):
                self.app.async_to_sync(function.refresh)(*args, **kwargs)
            else:
                refreshed(self.loop, function, args, kwargs)

    def while_serving(self, begin: Callable[[], Any], end: Callable[[], Any]) -> None:
        """WSGI has no loop that serves."""

    def install(self) -> None:
        """Wrap ``async_to_sync``, Flask's documented place for it, once for each app."""
        if not hasattr(self.app.async_to_sync, LOOPLESS_HIT):
            original = self.app.async_to_sync

            @functools.wraps(original)
            def async_to_sync(func: Any) -> Callable[..., Any]:
                return _sync_lane(func, original)

            setattr(async_to_sync, LOOPLESS_HIT, True)
            self.app.async_to_sync = async_to_sync


def _arefresh_in(app: Flask, leader: Leader) -> None:
    app.async_to_sync(arefresh)(leader)


def _in_app_context(app: Flask, work: Callable[[], Any]) -> None:
    with app.app_context():
        work()


def _sync_lane(func: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """Answer a cached coroutine function without a loop where it can be, else the usual way.

    Only for the cached function itself: ``functools.wraps`` copies attributes, so a function that
    merely carries our mark may be a ``@login_required`` around it, which must not be skipped.
    """
    lane = getattr(func, LOOPLESS_HIT, None)
    if lane is None:
        return original(func)  # type: ignore[no-any-return]
    if lane.function is func:
        return lane.enter(func, original)  # type: ignore[no-any-return]
    owner = getattr(func, "__self__", None)
    if owner is not None and lane.function is getattr(func, "__func__", None):
        return lane.enter(func, original, owner)  # type: ignore[no-any-return]
    return original(func)  # type: ignore[no-any-return]
