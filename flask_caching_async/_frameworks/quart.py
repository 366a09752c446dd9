"""Quart: async views, and sync views in threads, on one loop that serves as long as the process.

That loop owns connections of its own, from the start of serving to its end. A test client that
skips the start-up finds none, and goes by way of a worker thread.
"""

# No postponed annotations here: those of CachedResponse are read at run time.

import asyncio
import contextlib
import contextvars
import functools
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager
from typing import Any, cast
from urllib.parse import urlsplit

import flask
import quart
from quart import Quart, Response
from werkzeug.datastructures import Headers
from werkzeug.urls import iri_to_uri

from .._entries.times import seconds
from .._flow.leader import Leader
from .._flow.run import arefresh, arefresh_within, refresh
from .._runtime.colour import run_now
from .._runtime.loops import result_of, running_loop_kind, start_task, wait_for
from .._runtime.threads import offload
from ..exceptions import ColourError
from ..pages.reads import Muted
from ..typing import Args, Callback, Coro, Kwargs, Timeout, Value
from .base import Change, Occasion, PageRequest, Routed
from .pallets import PalletsFramework
from .refreshing import HandedOver, preprocess, query_of, refused, routed
from .responses import Frozen, Parts, register, was_given_none
from .routes import below
from .spawning import context_without, ended, spawn_in_pool

__all__ = ["CachedResponse", "QuartFramework", "current_app"]


class CachedResponse(Response):
    """A response of Quart with a timeout of its own; see :class:`.flask.CachedResponse`.

    :param response: the response to send; this object takes over its state.
    :param timeout: seconds or a ``timedelta``; ``None`` takes the decorator's, 0 never expires.
    """

    def __init__(self, response: Response, timeout: Timeout | None) -> None:
        self.__dict__ = response.__dict__
        # Quart's responses have a timeout already: that of sending them.
        self.cache_timeout = seconds(timeout)


def current_app() -> Quart | None:
    """The Quart app whose context is active here."""
    return quart.current_app._get_current_object() if quart.has_app_context() else None  # type: ignore[attr-defined]


class QuartFramework(PalletsFramework[Quart]):
    """One Quart app."""

    framework = quart
    serves = False

    def when_served(self, begin: Callable[[], None]) -> None:
        """It is a loop that serves: see :meth:`while_serving`."""

    def spawn(self, leader: Leader, is_async: bool) -> None:
        """Compute in a background task of the app; a sync view's function, in a thread of the pool.

        In contexts of its own. The app waits for its background tasks when it stops, for
        ``BACKGROUND_TASK_SHUTDOWN_TIMEOUT`` seconds.
        """
        app, like, handed = current_app() or self.app, None, HandedOver()
        if quart.has_app_context():
            handed = self.handed_over()
        if quart.has_websocket_context():
            like = cast(Any, quart.websocket)._get_current_object()
        elif quart.has_request_context():
            like = cast(Any, quart.request)._get_current_object()
        contexts = _contexts(app, like, handed)
        names = ("_cv_app", "_cv_request", "_cv_websocket")
        own = context_without(*[getattr(quart.globals, name, None) for name in names])
        if is_async and asyncio._get_running_loop() is not None:
            step = arefresh_within(contexts, leader, functools.partial(arefresh, leader))
            # Not by add_background_task, whose app context ends as if all had gone well.
            task = start_task(step, own)
            self.app.background_tasks.add(task)
            task.add_done_callback(self.app.background_tasks.discard)
            task.add_done_callback(functools.partial(ended, leader))
            return
        trio = sys.modules["trio"] if running_loop_kind() == "trio" else None

        def work() -> Coro[None]:
            return arefresh(leader) if is_async else offload(refresh, leader)

        begin = functools.partial(arefresh_within, contexts, leader, work)
        own.run(self._spawn_in_pool, leader, functools.partial(self._run, begin, leader, trio))

    def _run(self, begin: Callable[[], Coro[None]], leader: Leader, trio: Value) -> None:
        """In a thread: let the loop that serves refresh, where the app's own functions belong."""
        loop = self.loop
        if trio is not None:
            trio.run(begin)
        elif loop is None or not loop.is_running():
            asyncio.run(begin())
        else:
            try:
                result_of(asyncio.run_coroutine_threadsafe(begin(), loop), loop)
            except CancelledError:  # the app has stopped
                leader.abandon()

    def _spawn_in_pool(self, leader: Leader, work: Callable[[], Value]) -> None:
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

    def make_response(self, value: Value) -> Value:
        """The response that the app makes of what a view returned; it never waits for that."""
        return run_now(self.app.make_response(value))

    def _ending(self, original: Callback, change: Change) -> Callback:
        @functools.wraps(original)
        async def process_response(*args: Value, **kwargs: Value) -> Value:
            return change(await original(*args, **kwargs))

        return process_response

    def before(self, check: Callable[[], None]) -> Callback:
        """A function for each request; as a coroutine, for which Quart needs no thread."""

        async def acheck() -> None:
            check()

        return acheck

    def after_this_request(self, change: Change) -> None:
        """Let ``change`` have the response of the current request; as a coroutine, too."""

        async def achange(response: Value) -> Value:
            return change(response)

        super().after_this_request(achange)

    def install(self) -> None:
        """Watch what is read of requests; async views are native here."""
        self.watch_requests()

    def request_for(self, page: PageRequest) -> AbstractContextManager[Routed]:
        """Requests are async here."""
        instead = "arefresh() of a sync view" if page.preprocess else "aexplain()"
        raise ColourError(f"requests to {self.app!r} are async: await {instead}")

    @contextlib.asynccontextmanager
    async def arequest_for(self, page: PageRequest) -> AsyncIterator[Routed]:
        """Ask for a page, as the test client does, up to the call of its view."""
        where, root = page.where, self.root
        if not isinstance(where, str):
            endpoint, values = where
            async with self.app.test_request_context("/", root_path=root):
                where = self.location(endpoint, values)
        parts, query = urlsplit(where), query_of(page.query_args)
        headers = Headers(cast("Any", page.headers))
        if parts.netloc:  # the view's own, where the app routes by host
            headers.setdefault("Host", parts.netloc)
        query = parts.query if query is None else query
        path = below(root, parts.path)
        path = iri_to_uri(f"{path}?{query}" if query else path)
        context = self.app.test_request_context(path, headers=headers, root_path=root)
        share = quart.has_request_context() and hasattr(quart.globals, "_cv_request")
        # In a request, an app context of its own for another one: Quart would share that.
        async with self.app.app_context() if share else contextlib.nullcontext(), context:
            if page.preprocess:
                refused(self.app, quart.request, await preprocess(self.app, context)())
            yield routed(self.app, quart.request)

    def call(self, function: Value, args: Args, kwargs: Kwargs) -> None:
        """Refresh a function on the loop that serves, in the app's context, and wait for it."""
        loop = self.loop
        if loop is None or loop.is_closed():
            raise RuntimeError(f"{self.app!r} is not being served")
        again = getattr(function, "arefresh", function.refresh)

        async def run() -> None:
            async with self.app.app_context():
                await again(*args, **kwargs)

        result_of(asyncio.run_coroutine_threadsafe(run(), loop), loop)

    def while_serving(self, begin: Occasion, end: Occasion) -> None:
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


# --- the contexts of a refresh --------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _contexts(app: Quart, like: Value, handed: HandedOver) -> AsyncIterator[None]:
    """Push contexts, and do before the refresh what the app does before a request.

    :param like: the request, or the websocket, that the refresh stands for, if any.
    """
    async with contextlib.AsyncExitStack() as stack:
        if like is None or hasattr(quart.globals, "_cv_request"):
            await stack.enter_async_context(cast(Any, app.app_context()))
        if like is None:
            handed.fill(quart.g)
            yield
            return
        is_websocket = isinstance(like, quart.Websocket)
        made: Callback = app.websocket_context if is_websocket else app.request_context
        context = made(_copy(like))
        await context.push()
        # Not "async with": that may leave it open, for a debugger or a test client.
        stack.push_async_exit(lambda kind, error, traceback: context.pop(error))
        handed.fill(quart.g, None if is_websocket else context.request)
        name = "preprocess_websocket" if is_websocket else "preprocess_request"
        refused(app, like, await preprocess(app, context, name)())
        yield


def _copy(like: Value) -> Value:
    """The same request without its body; the same websocket, with no visitor at its end."""
    with Muted():
        return _copied(like)


def _copied(like: Value) -> Value:
    headers = Headers([pair for pair in like.headers if pair[0].lower() not in OF_THE_BODY])
    scope = {name: value for name, value in like.scope.items() if name != PRESERVE}
    names = ("path", "query_string", "scheme", "root_path", "http_version")
    parts: Kwargs = {name: getattr(like, name) for name in names}
    parts |= {"headers": headers, "scope": scope}
    if isinstance(like, quart.Websocket):
        ways = ["send", "accept", "close"]
        if not hasattr(like, "buffer_class"):  # Quart before 0.23
            ways.append("receive")
        parts |= dict.fromkeys(ways, _no_visitor)
        return type(like)(subprotocols=like.requested_subprotocols, **parts)
    request = type(like)(method=like.method, send_push_promise=_no_visitor, **parts)
    request.json_module = like.json_module
    request.body.set_complete()
    return request


OF_THE_BODY = frozenset({"content-length", "transfer-encoding"})
#: What a test client puts into the scope of a request whose contexts it wants to look at.
PRESERVE = "_quart._preserve_context"


async def _no_visitor(*_: object) -> None:
    raise RuntimeError("a background refresh has no visitor to talk to")


# --- keeping a response ---------------------------------------------------------------------------

#: The state of a response that a frozen one gives back; with more than this, pickle does the work.
KNOWN = frozenset("headers _status _status_code response timeout cache_timeout".split())


def freeze(response: Response) -> Frozen | None:
    """Take a finished response apart: its class, body, status, headers and own timeout."""
    state, body = vars(response), cast(Any, response.response)
    if type(body) is response.data_body_class:
        data = body.data
        whole = (body.begin, body.end) == (0, len(data))
    else:
        data, whole = b"", was_given_none(body)
    if not whole or not KNOWN.issuperset(state) or state.get("timeout", ...) is not ...:
        return None
    headers = tuple(response.headers)
    own = state.get("cache_timeout", ...)
    return Parts(type(response), data, response.status, headers, own), thaw


def thaw(parts: Parts) -> Response:
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
