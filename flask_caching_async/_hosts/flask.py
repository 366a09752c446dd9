"""Flask: sync and async views under WSGI.

Each ``async def`` view runs on an event loop of its own, which ends with the request. So nothing
that outlives a request may be bound to that loop: refreshes run in threads, where async functions
get a loop by the app's own ``async_to_sync``.

Starting that loop costs more than ten times what a plain request costs. :func:`_sync_lane` avoids
it: an async view that is answered from the cache is answered before a loop exists.
"""

# No postponed annotations here: those of CachedResponse are read at run time.

import asyncio
import functools
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import flask
from flask import Flask, Response

from .. import _background
from .._colour import running_loop_kind
from .._flow.drive import arefresh, refresh
from .._flow.policy import seconds
from .._flow.readthrough import Lead
from ..exceptions import not_initialized

__all__ = ["CachedResponse", "FlaskHost", "current_app"]

#: Marks an app whose ``async_to_sync`` has been wrapped, and tells a cached function from others.
LANE = "_flask_caching_async_lane"

#: Background tasks of plain event loops: asyncio itself holds them weakly.
_tasks: set[asyncio.Task[None]] = set()


class CachedResponse(Response):
    """A response with a timeout of its own; return it from a view to override the decorator's.

    :param response: the response to send; this object takes over its state.
    :param timeout: seconds or a ``timedelta``; ``None`` takes the decorator's, 0 never expires.
    """

    timeout: float | None = None

    def __init__(self, response: Response, timeout: float | timedelta | None) -> None:
        self.__dict__ = response.__dict__
        self.timeout = seconds(timeout)


def current_app() -> Flask | None:
    """The Flask app whose context is active here."""
    return flask.current_app._get_current_object() if flask.has_app_context() else None  # type: ignore[attr-defined]


class FlaskHost:
    """One Flask app."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    @property
    def debug(self) -> bool:
        """Whether the app is in debug mode now."""
        return bool(self.app.debug)

    @property
    def many_hosts(self) -> bool:
        """Whether the app routes by host or subdomain."""
        return bool(self.app.url_map.host_matching or self.app.subdomain_matching)

    def request(self) -> Any:
        """The current request of this app, or ``None``.

        :raises NotInitializedError: in a request to an app that the cache was not set up for, whose
            pages must not get mixed up with those of this one.
        """
        try:
            request = flask.request._get_current_object()  # type: ignore[attr-defined]
        except RuntimeError:  # outside of a request
            return None
        app = flask.current_app._get_current_object()  # type: ignore[attr-defined]
        if app is not self.app:
            raise not_initialized(app)
        return request

    def url_for(self, endpoint: str, values: dict[str, Any]) -> str:
        """The path of a view, in a request or with ``SERVER_NAME`` outside one."""
        return flask.url_for(endpoint, _external=False, **values)

    def endpoint_of(self, function: Callable[..., Any]) -> str:
        """The endpoint of a view or its class, also below decorators with ``functools.wraps``."""
        for endpoint, registered in self.app.view_functions.items():
            kind = getattr(registered, "view_class", None)
            names = ("dispatch_request", *[m.lower() for m in getattr(kind, "methods", None) or ()])
            views = (registered, *[getattr(kind, name, None) for name in names])
            if any(_leads_to(view, function) for view in views):
                return endpoint
        return getattr(function, "__name__", "")

    def reads(self, request: Any) -> frozenset[str]:
        """What has been read of the request until now.

        It is forgotten, so that the view is noticed to read it even if somebody did before it:
        Flask reads the cookies for the session, a ``before_request`` function may read anything.
        """
        seen, session = _seen(request), _session()
        for name in seen - {"session"}:
            del vars(request)[name]
        if "session" in seen:
            session.accessed = False
        return seen

    def unread(self, request: Any, before: frozenset[str]) -> list[str]:
        """What was read since ``before``."""
        seen = _seen(request)
        if "session" in before:
            _session().accessed = True  # it decides about ``Vary: Cookie``
        return sorted(seen)

    def after_this_request(self, change: Callable[[Any], Any]) -> None:
        """Let ``change`` have the response of the current request."""
        if flask.has_request_context():
            flask.after_this_request(change)

    def spawn(self, lead: Lead, is_async: bool) -> None:
        """Compute in a thread of the pool, with the app's context and a copy of the request's."""
        if is_async and not flask.has_app_context() and asyncio._get_running_loop() is not None:
            # Plain asyncio: the function belongs to this loop, and may use what is bound to it.
            task = asyncio.get_running_loop().create_task(arefresh(lead))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)
            # One that its loop never began has landed nothing.
            task.add_done_callback(lambda ended: lead.abandon() if ended.cancelled() else None)
            return
        work: Callable[[], Any] = functools.partial(refresh, lead)
        if is_async and running_loop_kind() == "trio":
            work = functools.partial(sys.modules["trio"].run, arefresh, lead)
        elif is_async:
            # Made in the thread that runs it: asgiref would bind it to the loop that runs here.
            work = functools.partial(_arefresh_in, self.app, lead)
        if flask.has_request_context():
            work = flask.copy_current_request_context(work)
        elif flask.has_app_context():
            work = functools.partial(_in_app_context, self.app, work)
        if not _background.submit(work):
            lead.abandon()

    def views(self) -> Iterable[Callable[..., Any]]:
        """The functions that are registered as views now."""
        return list(self.app.view_functions.values())

    def before_requests(self, check: Callable[[], None]) -> None:
        """Call ``check`` before each request."""
        self.app.before_request_funcs.setdefault(None, []).append(check)

    def install(self) -> None:
        """Wrap ``async_to_sync``, Flask's documented place for it, once for each app."""
        if not hasattr(self.app.async_to_sync, LANE):
            original = self.app.async_to_sync

            @functools.wraps(original)
            def async_to_sync(func: Any) -> Callable[..., Any]:
                return _sync_lane(func, original)

            setattr(async_to_sync, LANE, True)
            self.app.async_to_sync = async_to_sync  # type: ignore[method-assign]

    def add_template_tag(self, cache: Any) -> None:
        """Make ``{% cache %}`` known to the app's templates."""
        environment = self.app.jinja_env
        environment._template_fragment_cache = cache  # type: ignore[attr-defined]
        environment.add_extension("flask_caching_async.jinja2ext.CacheExtension")


def _leads_to(view: Any, function: Callable[..., Any]) -> bool:
    """Whether ``view`` is ``function``, or a decorator around it."""
    while view is not None and view is not function:
        view = getattr(view, "__wrapped__", None)
    return view is function


def _seen(request: Any) -> frozenset[str]:
    """Which parts of the request have been read; Werkzeug keeps them once they have."""
    seen = {name for name in ("args", "cookies", "authorization") if name in vars(request)}
    if getattr(_session(), "accessed", False):
        seen.add("session")
    return frozenset(seen)


def _session() -> Any:
    """The session of the current request; going through ``flask.session`` counts as an access."""
    current = getattr(flask.globals, "_cv_request", None) or flask.globals._cv_app
    context: Any = current.get(None)
    return getattr(context, "_session" if hasattr(context, "_session") else "session", None)


def _arefresh_in(app: Flask, lead: Lead) -> None:
    app.async_to_sync(arefresh)(lead)


def _in_app_context(app: Flask, work: Callable[[], Any]) -> None:
    with app.app_context():
        work()


def _sync_lane(func: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """Answer a cached coroutine function without a loop where it can be, else the usual way.

    Only for the cached function itself: ``functools.wraps`` copies attributes, so a function that
    merely carries our mark may be a ``@login_required`` around it, which must not be skipped.
    """
    lane = getattr(func, LANE, None)
    if lane is None:
        return original(func)  # type: ignore[no-any-return]
    if lane.function is func:
        return lane.enter(func, original)  # type: ignore[no-any-return]
    owner = getattr(func, "__self__", None)
    if owner is not None and lane.function is getattr(func, "__func__", None):
        return lane.enter(func, original, owner)  # type: ignore[no-any-return]
    return original(func)  # type: ignore[no-any-return]
