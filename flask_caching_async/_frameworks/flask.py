"""Flask: sync and async views under WSGI.

Each ``async def`` view runs on an event loop of its own, which ends with the request. So nothing
that outlives a request may be bound to that loop: refreshes run in threads, where async functions
get a loop by the app's own ``async_to_sync``.

Starting that loop costs more than ten times what a plain request costs. :func:`_without_loop`
avoids it: an async view that is answered from the cache is answered before a loop exists.
"""

# No postponed annotations here: those of CachedResponse are read at run time.

import asyncio
import contextlib
import functools
import inspect
import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import flask
from flask import Flask, Response
from flask.ctx import RequestContext
from werkzeug.wrappers import Response as WsgiResponse

from .._entries.times import seconds
from .._flow.leader import Leader
from .._flow.run import arefresh, refresh_within
from .._runtime.loops import running_loop_kind
from .._runtime.threads import offload
from ..pages.reads import Muted
from ..typing import Args, Callback, Kwargs, Timeout, Value
from .base import Change, Occasion, PageRequest, Routed
from .pallets import PalletsFramework
from .refreshing import HandedOver, preprocess, query_of, refused, routed
from .routes import below
from .spawning import context_without, refreshed, spawn_in_pool, spawn_on_loop, work_of

__all__ = ["CachedResponse", "FlaskFramework", "current_app"]

#: Stands on an ``async_to_sync`` that has been wrapped, and on cached functions.
LOOPLESS_HIT = "_flask_caching_async_lane"


class CachedResponse(Response):
    """A response with a timeout of its own; return it from a view to override the decorator's.

    :param response: the response to send; this object takes over its state.
    :param timeout: seconds or a ``timedelta``; ``None`` takes the decorator's, 0 never expires.
    """

    timeout: float | None = None

    def __new__(cls, response: Value = None, timeout: Timeout | None = None) -> Value:
        """A response of Quart becomes one of Quart."""
        if cls is CachedResponse and not isinstance(response, WsgiResponse | None):
            from .quart import CachedResponse as OfQuart

            return OfQuart(response, timeout)
        return super().__new__(cls)

    def __init__(self, response: Response, timeout: Timeout | None) -> None:
        self.__dict__ = response.__dict__
        self.timeout = seconds(timeout)


def current_app() -> Flask | None:
    """The Flask app whose context is active here."""
    return flask.current_app._get_current_object() if flask.has_app_context() else None  # type: ignore[attr-defined]


class FlaskFramework(PalletsFramework[Flask]):
    """One Flask app."""

    framework = flask

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        #: What begins with the first request; ``None`` after that.
        self._waiting: list[Callable[[], None]] | None = []
        flask.request_started.connect(self._on_first_request, app)

    def spawn(self, leader: Leader, is_async: bool) -> None:
        """Compute in a thread of the pool, in contexts of its own."""
        in_app = flask.has_app_context()
        if is_async and not in_app and asyncio._get_running_loop() is not None:
            spawn_on_loop(leader)  # plain asyncio
            return
        work = work_of(leader, is_async)
        if is_async and running_loop_kind() != "trio":
            # Made in the thread that runs it: asgiref would bind it to the loop that runs here.
            work = functools.partial(_arefresh_in, self.app, leader)
        if in_app:
            app: Flask = flask.current_app._get_current_object()  # type: ignore[attr-defined]
            contexts = _contexts_like_mine(app, self.handed_over())
            work = functools.partial(refresh_within, contexts, leader, work)
        variables: Value = flask.globals
        own = context_without(variables._cv_app, getattr(variables, "_cv_request", None))
        own.run(spawn_in_pool, leader, work)

    def make_response(self, value: Value) -> Value:
        """The response that the app makes of what a view returned."""
        return self.app.make_response(value)

    def _ending(self, original: Callback, change: Change) -> Callback:
        @functools.wraps(original)
        def process_response(*args: Value, **kwargs: Value) -> Value:
            return change(original(*args, **kwargs))

        return process_response

    @contextlib.contextmanager
    def request_for(self, page: PageRequest) -> Iterator[Routed]:
        """Ask for a page, as the test client does, up to the call of its view."""
        with self._aside(), self._context(page) as context:
            if page.preprocess:
                refused(self.app, flask.request, preprocess(self.app, context)())
            yield routed(self.app, flask.request)

    @contextlib.asynccontextmanager
    async def arequest_for(self, page: PageRequest) -> AsyncIterator[Routed]:
        """:meth:`request_for` for async code: the app's own functions may block, or want a loop."""
        with self._aside(), self._context(page) as context:
            if page.preprocess:
                refused(self.app, flask.request, await offload(preprocess(self.app, context)))
            yield routed(self.app, flask.request)

    def _aside(self) -> contextlib.AbstractContextManager[object]:
        """In a request, an app context of its own for another one: Flask would share that."""
        share = flask.has_request_context() and hasattr(flask.globals, "_cv_request")
        return self.app.app_context() if share else contextlib.nullcontext()

    def _context(self, page: PageRequest) -> RequestContext:
        where, root = page.where, self.root
        mounted = {"SCRIPT_NAME": root.encode().decode("latin-1")}  # as WSGI writes all text
        if not isinstance(where, str):
            endpoint, values = where
            with self.app.test_request_context(environ_overrides=mounted):
                where = self.location(endpoint, values)
        parts = urlsplit(where)
        where = urlunsplit(parts._replace(path=below(root, parts.path)))
        query = query_of(page.query_args)
        return self.app.test_request_context(
            where, query_string=query, headers=page.headers, environ_overrides=mounted
        )

    def call(self, function: Value, args: Args, kwargs: Kwargs) -> None:
        """Refresh a function in the app's context, and wait for it."""
        with self.app.app_context():
            if self.loop is None and inspect.iscoroutinefunction(function):
                self.app.async_to_sync(function.refresh)(*args, **kwargs)
            else:
                refreshed(self.loop, function, args, kwargs)

    def when_served(self, begin: Callable[[], None]) -> None:
        """With the first request: nothing else tells a worker from a command or a master."""
        if self._waiting is None:
            begin()
        else:
            self._waiting.append(begin)

    def _on_first_request(self, app: Flask, **more: Value) -> None:
        # Of all senders, though it is connected to one: else blinker goes on to look for who is
        # connected, at each request of each app, which takes 3 µs.
        flask.request_started.disconnect(self._on_first_request)
        waiting, self._waiting = self._waiting or [], None
        for begin in waiting:
            begin()

    def while_serving(self, begin: Occasion, end: Occasion) -> None:
        """WSGI has no loop that serves."""

    def install(self) -> None:
        """Wrap ``async_to_sync``, Flask's documented place for it, once for each app."""
        self.watch_requests()
        if not hasattr(self.app.async_to_sync, LOOPLESS_HIT):
            original = self.app.async_to_sync

            @functools.wraps(original)
            def async_to_sync(func: Callback) -> Callback:
                return _without_loop(func, original)

            setattr(async_to_sync, LOOPLESS_HIT, True)
            self.app.async_to_sync = async_to_sync  # type: ignore[method-assign]


def _arefresh_in(app: Flask, leader: Leader) -> None:
    app.async_to_sync(arefresh)(leader)


def _contexts_like_mine(app: Flask, handed: HandedOver) -> contextlib.AbstractContextManager[None]:
    """Contexts like those of the caller, for a refresh: of the same request, without its body."""
    environ = None
    if flask.has_request_context():
        with Muted():
            environ = {n: v for n, v in flask.request.environ.items() if n not in OF_THE_VISITOR}
        environ["wsgi.input"] = io.BytesIO()
    return _contexts(app, environ, handed)


@contextlib.contextmanager
def _contexts(app: Flask, environ: Kwargs | None, handed: HandedOver) -> Iterator[None]:
    """Push contexts, and do before the refresh what the app does before a request."""
    context = app.app_context() if environ is None else app.request_context(environ)
    with context:
        handed.fill(flask.g, None if environ is None else context.request)  # type: ignore[union-attr]
        if environ is not None:
            refused(app, flask.request, preprocess(app, context)())
        yield


#: What of a request's environment belongs to its body, or to the server's own way with it.
OF_THE_VISITOR = frozenset(
    {
        "CONTENT_LENGTH",
        "HTTP_TRANSFER_ENCODING",
        "wsgi.input_terminated",
        "werkzeug.debug.preserve_context",
        "werkzeug.request",
    }
)


class LooplessAnswer(Protocol):
    """What answers a cached async function from sync code; see ``decorators/fast_path.py``."""

    @property
    def function(self) -> Callback:
        """The cached function."""
        ...

    def enter(self, func: Callback, original: Callback, *owner: object) -> Callback:
        """The sync function that is called for ``func``."""
        ...


def _without_loop(func: Callback, original: Callback) -> Callback:
    """Answer a cached coroutine function without a loop where it can be, else the usual way.

    Only for the cached function itself: ``functools.wraps`` copies attributes, so a function that
    merely carries ours may be a ``@login_required`` around it, which must not be skipped.
    """
    loopless: LooplessAnswer | None = getattr(func, LOOPLESS_HIT, None)
    if loopless is not None:
        if loopless.function is func:
            return loopless.enter(func, original)
        owner = getattr(func, "__self__", None)
        if owner is not None and loopless.function is getattr(func, "__func__", None):
            return loopless.enter(func, original, owner)
    return original(func)  # type: ignore[no-any-return]
