"""Quart: async views, and sync views in threads, on one loop that serves as long as the process.

That loop owns connections of its own, from the start of serving to its end. A test client that
skips the start-up finds none, and goes by way of a worker thread.
"""

# No postponed annotations here: those of CachedResponse are read at run time.

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import flask
import quart
from quart import Quart, Response
from werkzeug.datastructures import Headers
from werkzeug.urls import iri_to_uri

from .._entries.times import seconds
from .._flow.leader import Leader
from .._flow.run import arefresh
from .._runtime.loops import wait_for
from ..exceptions import ColourError
from .pallets import PalletsFramework, query_of, refused, routed, takes_context
from .responses import register
from .spawning import spawn_in_pool, work_of

__all__ = ["CachedResponse", "QuartFramework", "current_app"]


class CachedResponse(Response):
    """A response of Quart with a timeout of its own; see :class:`.flask.CachedResponse`.

    :param response: the response to send; this object takes over its state.
    :param timeout: seconds or a ``timedelta``; ``None`` takes the decorator's, 0 never expires.
    """

    def __init__(self, response: Response, timeout: float | timedelta | None) -> None:
        self.__dict__ = response.__dict__
        # Quart's responses have a timeout already: that of sending them.
        self.cache_timeout = seconds(timeout)


def current_app() -> Quart | None:
    """The Quart app whose context is active here."""
    proxy: Any = quart.current_app
    app: Quart | None = proxy._get_current_object() if quart.has_app_context() else None
    return app


class QuartFramework(PalletsFramework):
    """One Quart app."""

    framework = quart
    serves = False

    def spawn(self, leader: Leader, is_async: bool) -> None:
        """Compute in a background task of the app; a sync view's function, in a thread of the pool.

        With the contexts of the caller. The app waits for its background tasks when it stops, for
        ``BACKGROUND_TASK_SHUTDOWN_TIMEOUT`` seconds.
        """
        if not is_async or asyncio._get_running_loop() is None:
            # The pool copies the context variables, and they are all there is to Quart's contexts.
            self._spawn_in_pool(leader, work_of(leader, is_async))
            return
        mine = quart.g._get_current_object() if quart.has_app_context() else None

        async def task() -> None:
            if mine is not None:
                cast(Any, quart.globals.app_ctx).g = after(mine)
            await arefresh(leader)

        step: Any = task
        if quart.has_websocket_context():
            step = quart.copy_current_websocket_context(task)
        elif quart.has_request_context():
            step = quart.copy_current_request_context(task)
        tasks = self.app.background_tasks
        before = set(tasks)
        self.app.add_background_task(step)
        for new in tasks - before:  # one that its loop never began has landed nothing
            new.add_done_callback(lambda ended: leader.abandon() if ended.cancelled() else None)

    def _spawn_in_pool(self, leader: Leader, work: Callable[[], Any]) -> None:
        """Compute in a thread, for which the app waits as for its own background tasks."""
        ended: Future[None] = Future()
        ended.set_running_or_notify_cancel()

        def run() -> None:
            try:
                work()
            finally:
                ended.set_result(None)

        def wait() -> None:
            self.app.add_background_task(wait_for, ended, None)

        if spawn_in_pool(leader, run) and self.loop is not None:
            with contextlib.suppress(RuntimeError):  # that loop has just been closed
                self.loop.call_soon_threadsafe(wait, context=contextvars.Context())

    def before_requests(self, check: Callable[[], None]) -> None:
        """Call ``check`` before each request; as a coroutine, for which Quart needs no thread."""

        async def acheck() -> None:
            check()

        self.app.before_request_funcs.setdefault(None, []).append(acheck)

    def after_this_request(self, change: Callable[[Any], Any]) -> None:
        """Let ``change`` have the response of the current request; as a coroutine, too."""

        async def achange(response: Any) -> Any:
            return change(response)

        super().after_this_request(achange)

    def _watch_session(self) -> frozenset[str]:
        """Watch the session object itself: Quart gives it to each template, read or not."""
        session: Any = self._session()
        kind: Any = type(session)
        # Before version 0.23, Quart did not notice who reads it.
        told = hasattr(session, "accessed") and hasattr(quart.globals._cv_app.get(), "_session")
        before = session is not None and (not told or session.accessed)
        with contextlib.suppress(TypeError):  # a class without attributes of its own
            session.__class__ = watched(kind)
        return frozenset({"session"} if before else ())

    def _unwatch_session(self, before: frozenset[str]) -> frozenset[str]:
        session = self._session()
        kind = type(session)
        if not issubclass(kind, Watched):
            return frozenset()
        session.__class__ = kind.__bases__[0]
        return frozenset({"session"} if vars(session).pop(READ, False) else ())

    def install(self) -> None:
        """Nothing: async views are native here."""

    def request_for(self, where: Any, query_args: Any, headers: Any) -> Any:
        """Requests are async here."""
        raise ColourError(f"requests to {self.app!r} are async: await arefresh() of a sync view")

    @contextlib.asynccontextmanager
    async def arequest_for(self, where: Any, query_args: Any, headers: Any) -> AsyncIterator[Any]:
        """Ask for a page, as the test client does, up to the call of its view."""
        if not isinstance(where, str):
            endpoint, values = where
            async with self.app.test_request_context("/"):
                where = self.location(endpoint, values)
        parts, query, headers = urlsplit(where), query_of(query_args), Headers(headers)
        if parts.netloc:  # the view's own, where the app routes by host
            headers.setdefault("Host", parts.netloc)
        query = parts.query if query is None else query
        path = iri_to_uri(f"{parts.path}?{query}" if query else parts.path)
        context = self.app.test_request_context(path, headers=headers)
        async with context:
            preprocess: Any = self.app.preprocess_request
            given = (context,) if takes_context(preprocess) else ()
            refused(self.app, quart.request, await preprocess(*given))
            yield routed(self.app, quart.request)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refresh a function on the loop that serves, in the app's context, and wait for it."""
        loop = self.loop
        if loop is None or loop.is_closed():
            raise RuntimeError(f"{self.app!r} is not being served")
        refresh = getattr(function, "arefresh", function.refresh)

        async def run() -> None:
            async with self.app.app_context():
                await refresh(*args, **kwargs)

        asyncio.run_coroutine_threadsafe(run(), loop).result()

    def while_serving(self, begin: Callable[[], Any], end: Callable[[], Any]) -> None:
        """Await ``begin`` before all else that the app does when it starts, and ``end`` after all.

        So that its own functions for these occasions find the connections of the loop.
        """
        last = self.app.after_serving_funcs

        async def first() -> None:
            if end in last:
                last.remove(end)
            last.append(end)
            await begin()

        self.app.before_serving_funcs.insert(0, first)


# --- what a refresh finds in ``g`` ----------------------------------------------------------------


def after(first: Any) -> Any:
    """A ``g`` for what goes on after a request, which finds what the request has in its own.

    What is opened there is put into this one, and torn down with it.
    """
    if hasattr(type(first), "_flask_caching_async_first"):  # a refresh in a refresh
        first = first._flask_caching_async_first
    kind: Any = type(first)
    later = _later(kind)()
    type(later)._flask_caching_async_first.__set__(later, first)
    return later


@functools.cache
def _later(kind: type) -> Any:
    class Later(kind):  # type: ignore[misc]
        __slots__ = ("_flask_caching_async_first",)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._flask_caching_async_first, name)

        def get(self, name: str, default: Any = None) -> Any:
            return vars(self).get(name, self._flask_caching_async_first.get(name, default))

        def setdefault(self, name: str, default: Any = None) -> Any:
            return self.get(name) if name in self else super().setdefault(name, default)

        def __contains__(self, name: str) -> bool:
            return name in vars(self) or name in self._flask_caching_async_first

        def __iter__(self) -> Iterator[str]:
            return iter(dict.fromkeys([*self._flask_caching_async_first, *vars(self)]))

    return Later


# --- who reads the session ------------------------------------------------------------------------

#: The attribute of a watched session that says that it was read.
READ = "_flask_caching_async_read"


class Watched:
    """Marks the class of a session that is watched."""

    __slots__ = ()


@functools.cache
def watched(kind: type) -> type:
    """A class of sessions like ``kind`` that notes when one is read."""
    if issubclass(kind, Watched):
        return kind
    names = "__getitem__ __contains__ __iter__ __len__ get items keys values pop setdefault".split()

    def noting(name: str) -> Callable[..., Any]:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            vars(self)[READ] = True
            return getattr(kind, name)(self, *args, **kwargs)

        return method

    methods = {name: noting(name) for name in names if hasattr(kind, name)}
    return type(kind.__name__, (kind, Watched), methods)


# --- keeping a response ---------------------------------------------------------------------------

#: The state of a response that a frozen one gives back; with more than this, pickle does the work.
KNOWN = frozenset("headers _status _status_code response timeout cache_timeout".split())


def freeze(response: Response) -> tuple[Any, Any] | None:
    """Take a finished response apart: its class, body, status, headers and own timeout."""
    state, body = vars(response), cast(Any, response.response)
    whole = type(body) is response.data_body_class and (body.begin, body.end) == (0, len(body.data))
    if not whole or not KNOWN.issuperset(state) or state.get("timeout", ...) is not ...:
        return None
    headers = tuple(response.headers)
    own = state.get("cache_timeout", ...)
    return (type(response), body.data, response.status, headers, own), thaw


def thaw(parts: tuple[Any, ...]) -> Response:
    """Build a new response from what :func:`freeze` kept; for a Flask app, one of its own."""
    kind, body, status, headers, timeout = parts
    if flask.has_app_context() and not quart.has_app_context():  # they share a backend
        return flask.current_app.response_class(body, status, list(headers))  # type: ignore[return-value]
    response: Response = kind.__new__(kind)
    Response.__init__(response, body)
    response.status = status
    response.headers = Headers(list(headers))
    if timeout is not ...:
        response.cache_timeout = timeout  # type: ignore[attr-defined]
    return response


register(Response, "quart", freeze, thaw)
