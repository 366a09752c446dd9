"""What Flask and Quart have in common: routes, templates, and requests made of Werkzeug's parts."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlencode

from flask.sansio.app import App
from werkzeug.sansio.request import Request

from .._entries.isolation import IMMUTABLE
from ..exceptions import NotInitializedError, not_initialized
from ..typing import Callback, Kwargs, QueryArgs, Value
from .base import Change, Place, Routed
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

    @property
    def session_cookie(self) -> str:
        """The name of the cookie of the app's session."""
        return str(self.app.config.get("SESSION_COOKIE_NAME"))

    def request(self) -> Request | None:
        """The current request of this app, or ``None``.

        :raises NotInitializedError: in a request to an app that the cache was not set up for, whose
            pages must not get mixed up with those of this one.
        """
        try:
            request: Request = self.framework.request._get_current_object()
        except RuntimeError:  # outside of a request
            return None
        app = self.framework.current_app._get_current_object()
        if app is not self.app:
            raise not_initialized(app)
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
                usual = usual_path(self._current().url_adapter) or request.path
            except Exception:  # of a converter of the app; the page is found by its own path
                usual = request.path
            if len(self._usual) >= REMEMBERED:
                self._usual.clear()
            self._usual[asked] = usual
        return None if usual == request.path else usual

    def reads(self, request: Request) -> frozenset[str]:
        """What has been read of the request until now.

        It is forgotten, so that the view is noticed to read it even if other code did before it:
        Flask reads the cookies for the session, a ``before_request`` function may read anything.
        """
        seen = self._seen(request)
        for name in seen:
            del vars(request)[name]
        return seen | self._watch_session()

    def unread(self, request: Request, before: frozenset[str]) -> list[str]:
        """What was read since ``before``."""
        return sorted(self._seen(request) | self._unwatch_session(before))

    def _seen(self, request: Request) -> frozenset[str]:
        """Which parts of the request have been read; Werkzeug keeps them once they have."""
        return frozenset(vars(request)) & {"args", "cookies", "authorization"}

    def _watch_session(self) -> frozenset[str]:
        """Begin to watch whether the session is read, and say whether it was before."""
        session = self._session()
        if not getattr(session, "accessed", False):
            return frozenset()
        session.accessed = False
        return frozenset({"session"})

    def _unwatch_session(self, before: frozenset[str]) -> frozenset[str]:
        session = self._session()
        read = getattr(session, "accessed", False)
        if "session" in before:
            session.accessed = True  # it decides about ``Vary: Cookie``
        return frozenset({"session"} if read else ())

    def _session(self) -> Value:
        """The session of the current request; going through the proxy counts as an access."""
        context = self._current()
        return getattr(context, "_session" if hasattr(context, "_session") else "session", None)

    def _current(self) -> Value:
        """The innermost context, of a request or of an app."""
        variables = self.framework.globals
        requests = getattr(variables, "_cv_request", None)  # newer versions have one kind
        return requests and requests.get(None) or variables._cv_app.get(None)

    def after_this_request(self, change: Change) -> None:
        """Let ``change`` have the response of the current request."""
        if self.framework.has_request_context():
            self.framework.after_this_request(change)

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


class RoutedRequest(Protocol):
    """A request for which the app has looked for a view."""

    path: str
    view_args: Kwargs | None

    @property
    def routing_exception(self) -> Exception | None:
        """Why there is none."""
        ...

    @property
    def endpoint(self) -> str | None:
        """The name of the view."""
        ...


def routed(app: App, request: RoutedRequest) -> Routed:
    """The view that a request leads to, and its arguments.

    :raises ValueError: if it leads to none.
    """
    if request.routing_exception is not None:
        raise ValueError(f"no view answers {request.path!r}") from request.routing_exception
    return app.view_functions[str(request.endpoint)], dict(request.view_args or {})


def refused(app: App, request: RoutedRequest, answer: Value) -> None:
    """A refresh cannot go on where a ``before_request`` function has answered already."""
    if answer is not None:
        raise RuntimeError(
            f"a before_request function of {app!r} answered {request.path!r} with {answer!r}, so "
            "that its view cannot be refreshed"
        )


def handed_over(g: Value) -> Kwargs:
    """What a refresh finds in its own ``g`` of what is in the caller's: plain values only.

    An object there may be a connection or a session, which ends with the caller's context.
    """
    found = {name: g.get(name) for name in g}
    return {name: value for name, value in found.items() if type(value) in IMMUTABLE}


def fill_g(g: Value, plain: Kwargs) -> None:
    """Put into the ``g`` of a refresh what was :func:`handed_over`."""
    for name, value in plain.items():
        setattr(g, name, value)


def preprocess(app: Value, context: Value, name: str = "preprocess_request") -> Callable[[], Value]:
    """What calls the functions that an app has before each request."""
    function: Callback = getattr(app, name)
    return functools.partial(function, context) if takes_context(function) else function


def query_of(query_args: QueryArgs | None) -> str | None:
    """A query string, from text, a mapping or pairs."""
    if query_args is None or isinstance(query_args, str):
        return query_args
    given: Value = query_args
    pairs = given.items() if hasattr(given, "items") else given
    return urlencode([(name, value) for name, value in pairs], doseq=True)


def takes_context(preprocess: Callback) -> bool:
    """Whether an app's ``preprocess_request`` wants to be given the context."""
    parameters = inspect.signature(preprocess).parameters.values()
    return any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
