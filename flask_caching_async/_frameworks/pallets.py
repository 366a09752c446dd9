"""What Flask and Quart have in common: routes, templates, and requests made of Werkzeug's parts."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

from flask.sansio.app import App
from werkzeug.sansio.request import Request

from .._entries.isolation import IMMUTABLE
from ..exceptions import NotInitializedError, not_initialized
from ..typing import Callback, Kwargs, QueryArgs, Value
from .base import Change, Routed

__all__ = ["PalletsFramework"]


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

    def url_for(self, endpoint: str, values: Kwargs) -> str:
        """The path of a view as a request has it: decoded, and below the root of the app."""
        parts, root = urlsplit(self.location(endpoint, values)), ""
        adapter = getattr(self._current(), "url_adapter", None)
        if adapter is not None:
            root = adapter.script_name.rstrip("/")
        path = unquote(parts.path.removeprefix(root))
        return f"{path}?{parts.query}" if parts.query else path

    def endpoint_of(self, function: Callback) -> str:
        """The endpoint of a view or its class, also below decorators with ``functools.wraps``."""
        for endpoint, registered in self.app.view_functions.items():
            kind = getattr(registered, "view_class", None)
            methods = getattr(kind, "methods", None) or ()
            if leads_to(registered, function) or is_method(kind, methods, function):
                return str(endpoint)
        return getattr(function, "__name__", "")

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


def below(root: str, path: str) -> str:
    """The rest of a path below the root of the app; all of it where it is not below that."""
    for prefix in filter(None, (root, quote(root))):
        if path == prefix or path.startswith(f"{prefix}/"):
            return path[len(prefix) :] or "/"
    return path


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


def leads_to(view: Value, function: Callback) -> bool:
    """Whether ``view`` is ``function``, bound to an instance or not, or a decorator around it."""
    while view is not None and view is not function:
        bound = getattr(view, "__func__", None)
        view = function if bound is function else getattr(view, "__wrapped__", None)
    return view is function


def is_method(kind: object, methods: Iterable[str], function: Callback) -> bool:
    """Whether a request to a class of views leads to ``function`` by one of these methods."""
    names = ("dispatch_request", *[method.lower() for method in methods])
    return any(leads_to(getattr(kind, name, None), function) for name in names)
