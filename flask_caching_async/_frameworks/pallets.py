"""What Flask and Quart have in common: routes, templates, and requests made of Werkzeug's parts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, cast

from flask.sansio.app import App
from werkzeug.sansio.request import Request

from .._entries.isolation import IMMUTABLE
from ..exceptions import NotInitializedError, not_initialized
from ..pages.given import given_on, watch_given, watch_no_more
from ..pages.reads import (
    BASE,
    Base,
    MadeFrom,
    Muted,
    Reads,
    Recording,
    base_for,
    base_of,
    note_of,
    read_until_now,
    reading,
)
from ..pages.request import READ_ENVIRON, unrouted_class, watch_request
from ..pages.surroundings import given_in, watch_flashes, watch_g, watch_session, watched_g_class
from ..pages.templates import watch_templates
from ..typing import Callback, Kwargs, Value
from .base import Change, Place
from .refreshing import HandedOver, RoutedRequest
from .routes import (
    arguments_of,
    endpoint_for,
    has_other_spellings,
    places_at,
    places_of,
    usual_path,
)

__all__ = ["PalletsFramework"]


#: How many paths are remembered with the usual ones.
REMEMBERED = 1024
#: Stands on a ``process_response`` that has one more step.
ENDED = "_flask_caching_async_ended"
#: ``Flask`` or ``Quart``; both are of one class, in which no request is served yet.
AnyApp = TypeVar("AnyApp", bound=App)


def _session_of(context: Value) -> Value:
    return getattr(context, "_session" if hasattr(context, "_session") else "session", None)


class PalletsFramework(Generic[AnyApp]):
    """One app of Flask or Quart."""

    #: The module ``flask`` or ``quart``: they have the same names for the same things.
    framework: Any
    serves = True
    loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, app: AnyApp) -> None:
        self.app = app
        self._usual: dict[tuple[str | bool, str], str] = {}

    @property
    def debug(self) -> bool:
        """Whether the app is in debug mode now."""
        return bool(self.app.debug)

    @property
    def many_hosts(self) -> bool:
        """Whether the app routes by host or subdomain."""
        return self.app.url_map.host_matching or self.app.subdomain_matching

    def request(self) -> Request | None:
        """The current request of this app, or ``None``.

        :raises NotInitializedError: in a request to an app that the cache was not set up for, whose
            pages must not get mixed up with those of this one.
        """
        # Not through the proxies: this is asked for by each hit.
        of_request, of_app = self._variables
        context = of_request.get(None)
        if context is None:
            return None
        try:
            request: Request = context.request
        except RuntimeError:  # of an app, or of a websocket
            return None
        app = of_app.get().app
        if app is not self.app:
            raise not_initialized(app)
        return request

    @functools.cached_property
    def _variables(self) -> tuple[ContextVar[Value], ContextVar[Value]]:
        """What holds the current contexts: of a request, and of an app. They may be the same."""
        known = self.framework.globals
        return getattr(known, "_cv_request", known._cv_app), known._cv_app

    def visit(self) -> Request | None:
        """The current request of this app, or websocket."""
        request = self.request()
        if request is None and getattr(self.framework, "has_websocket_context", bool)():
            context = self._current()
            request = context.websocket if context.app is self.app else None
        return request

    def location(self, endpoint: str, values: Kwargs) -> str:
        """The URL of a view, in a request or with ``SERVER_NAME`` outside one."""
        return str(self.framework.url_for(endpoint, _external=False, **values))

    @property
    def root(self) -> str:
        """Where the app is mounted: in a request what that says, else ``APPLICATION_ROOT``."""
        try:
            request = self.request()
        except NotInitializedError:  # that of another app
            request = None
        root = self.app.config.get("APPLICATION_ROOT") if request is None else request.root_path
        return (root or "").rstrip("/")

    def endpoint_for(self, function: Callback, values: Kwargs) -> str:
        """The endpoint of a view that has a rule for these arguments; else its name."""
        return endpoint_for(self.app, function, values)

    def arguments_of(self, function: Callback) -> set[str]:
        """The names of the arguments that a view gets of its rules."""
        return arguments_of(self.app, function)

    def places_of(self, function: Callback, values: Kwargs) -> list[Place]:
        """All pages of a view that have these arguments."""
        return places_of(self.app, function, values)

    def places_at(self, function: Callback, path: str, of_others: bool = False) -> list[Place]:
        """The pages that a path, or a URL, may mean for a view."""
        return places_at(self.app, function, path, self.root, of_others)

    def usual_path(self, request: Value) -> str | None:
        """The path that ``url_for`` builds for the page of the current request, if another one.

        It is remembered, because matching costs more than all else that a hit does.
        """
        rule, asked = request.url_rule, (self.many_hosts and request.host, request.path)
        if rule is None or not has_other_spellings(rule):
            return None
        usual = self._usual.get(asked)
        if usual is None:
            try:
                usual = usual_path(request, self._current().url_adapter) or request.path
            except Exception:  # of a converter of the app; the page is found by its own path
                usual = request.path
            if len(self._usual) >= REMEMBERED:
                self._usual.clear()
            self._usual[asked] = usual
        return None if usual == request.path else usual

    def watch_requests(self) -> None:
        """Let the requests of the app note what is read of them, from before its functions on."""
        app = cast(Any, self.app)
        app.request_class = unrouted_class(app.request_class)
        app.app_ctx_globals_class = watched_g_class(app.app_ctx_globals_class)
        if hasattr(app.update_template_context, BASE):
            return
        if not self._tells_of_sessions:
            app.preprocess_request = self._after_watching_session(app.preprocess_request)
        render: Callback = app.update_template_context

        @functools.wraps(render)
        def update_template_context(*args: Value) -> Value:
            if reading.get() is not None:
                watch_templates(app)
            return render(*args)

        url_for: Callback = app.url_for

        @functools.wraps(url_for)
        def noting_url_for(*args: Value, **kwargs: Value) -> Value:
            url = url_for(*args, **kwargs)
            external = "//" in url[:8] and reading.get() is not None
            if external and (visit := self.visit()) is not None:
                note_of(visit, "host", "scheme")  # it says where the visitor came to
            return url

        variables = app.jinja_env.globals if "jinja_env" in vars(app) else {}
        if variables.get("url_for") == url_for:
            variables["url_for"] = noting_url_for
        setattr(update_template_context, BASE, True)
        app.update_template_context, app.url_for = update_template_context, noting_url_for

    @functools.cached_property
    def _tells_of_sessions(self) -> bool:
        """Whether the framework tells whether the session of a request was asked for."""
        kinds = [getattr(self.framework.ctx, n, None) for n in ("RequestContext", "AppContext")]
        return any(isinstance(getattr(kind, "session", None), property) for kind in kinds)

    def before(self, check: Callable[[], None]) -> Callback:
        """A function for each request, as the framework calls it."""
        return check

    def before_requests(self, check: Callable[[], None]) -> None:
        """Call ``check`` before each request."""
        self.app.before_request_funcs.setdefault(None, []).append(self.before(check))

    def _after_watching_session(self, preprocess: Callback) -> Callback:
        """Note the reading of the session from before all that an app does before a view."""

        @functools.wraps(preprocess)
        def preprocess_request(*args: Value, **kwargs: Value) -> Value:
            context = self._current()
            request, session = getattr(context, "request", None), _session_of(context)
            if request is not None and session is not None:
                watch_session(session, base_for(request))
            return preprocess(*args, **kwargs)

        return preprocess_request

    def _base(self, request: Any, context: Value) -> Base:
        """What has been read of a request until now."""
        attributes = request.__dict__
        base = base_for(request)
        # Where request_class was set later than the cache, nobody knows what has been read.
        if not watch_request(request) or attributes.get(READ_ENVIRON):
            base.names.add("environ")
        session = getattr(context, "_session" if self._tells_of_sessions else "session", None)
        if self._tells_of_sessions and getattr(session, "accessed", False):
            base.names.add("session")
        if session is not None:
            watch_session(session, base)
        return base

    @property
    def session_cookie(self) -> str:
        """The name of the cookie of the app's session."""
        return str(self.app.config.get("SESSION_COOKIE_NAME"))

    def recorded(self, into: MadeFrom | None = None) -> AbstractContextManager[Reads | None]:
        """A context in which is noted what is read of the current request, if there is one."""
        request: Any = self.visit()
        if request is None:
            return contextlib.nullcontext()
        context, g = self._current(), self._variables[1].get().g
        base = self._base(request, context)
        watch_g(g, base)
        watch_flashes(context, base)
        given = given_on(request)
        watch_given(request, given)
        given |= given_in(g)
        changes: list[Callback] = getattr(context, "_after_request_functions", [])
        return Recording(base, given, changes, functools.partial(watch_no_more, request), into)

    def _session(self) -> Value:
        """The session of the current request; going through the proxy counts as an access."""
        return _session_of(self._current())

    @functools.cached_property
    def _contexts(self) -> list[ContextVar[Value]]:
        """What holds the current contexts, the innermost first; newer versions have one kind."""
        names = ("_cv_request", "_cv_websocket", "_cv_app")
        found = [getattr(self.framework.globals, name, None) for name in names]
        return [variable for variable in found if variable is not None]

    def _current(self) -> Value:
        """The innermost context, of a request or of an app."""
        for variable in self._contexts:
            if (context := variable.get(None)) is not None:
                return context
        return None

    def handed_over(self) -> HandedOver:
        """What a refresh finds in its own ``g``: plain values only.

        An object there may be a connection or a session, which ends with the caller's context.
        """
        g, names = self.framework.g, frozenset[str]()
        with Muted():
            found = {name: g.get(name) for name in g}
            if (visit := self.visit()) is not None:
                names = read_until_now(self._base(visit, self._current()))
        plain = {name: value for name, value in found.items() if type(value) in IMMUTABLE}
        return HandedOver(plain, names)

    def after_this_request(self, change: Change) -> None:
        """Let ``change`` have the response of the current request."""
        if self.framework.has_request_context():
            self.framework.after_this_request(change)
            base = base_of(self._current().request)
            for reads in () if base is None else base.open:
                reads.of_cache += 1

    def at_the_end(self, change: Change) -> None:
        """Let ``change`` have each response, after all that the app does with it.

        Not by ``after_request``: the session is saved after those functions, and any of them may
        have been there before.
        """
        app: Any = self.app
        if not hasattr(app.process_response, ENDED):
            process_response = self._ending(app.process_response, change)
            setattr(process_response, ENDED, True)
            app.process_response = process_response

    def _ending(self, original: Callback, change: Change) -> Callback:
        """An app's ``process_response`` with one more step at its end."""
        raise NotImplementedError

    def views(self) -> Iterable[Callback]:
        """The functions that are registered as views now."""
        return list(self.app.view_functions.values())

    def view_of(self, request: RoutedRequest) -> Callback | None:
        """The function that is registered for what a request asks for."""
        return self.app.view_functions.get(str(request.endpoint))

    def add_template_tag(self, cache: object) -> None:
        """Make ``{% cache %}`` known to the app's templates.

        Their environment is made when it is first asked for, and not here: it is made of
        ``app.jinja_options``, which may be set later.
        """

        def add_to(environment: Any) -> Any:
            environment._template_fragment_cache = cache
            environment.add_extension("flask_caching_async.jinja2ext.CacheExtension")
            return environment

        app: Any = self.app
        if "jinja_env" in vars(app):
            add_to(app.jinja_env)
        else:
            create = app.create_jinja_environment
            app.create_jinja_environment = lambda: add_to(create())
