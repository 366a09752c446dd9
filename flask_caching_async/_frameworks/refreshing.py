"""A request that is made for a refresh: what it is made of, and what is done before its view."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple, Protocol
from urllib.parse import urlencode

from flask.sansio.app import App

from ..pages.reads import base_for
from ..typing import Callback, Kwargs, QueryArgs, Value
from .base import Routed

__all__ = ["HandedOver", "NoView", "RoutedRequest", "preprocess", "query_of", "refused", "routed"]


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


class NoView(ValueError):
    """A path leads to no view; why, the app says in the cause of this error."""


def routed(app: App, request: RoutedRequest) -> Routed:
    """The view that a request leads to, and its arguments.

    :raises NoView: if it leads to none.
    """
    if request.routing_exception is not None:
        raise NoView(f"no view answers {request.path!r}") from request.routing_exception
    return app.view_functions[str(request.endpoint)], dict(request.view_args or {})


def refused(app: App, request: RoutedRequest, answer: Value) -> None:
    """A refresh cannot go on where a ``before_request`` function has answered already."""
    if answer is not None:
        raise RuntimeError(
            f"a before_request function of {app!r} answered {request.path!r} with {answer!r}, so "
            "that its view cannot be refreshed"
        )


class HandedOver(NamedTuple):
    """What a refresh finds in its own ``g`` of what is in the caller's.

    :param names: what has been read of the caller's request until now, of which that may be made.
    """

    plain: Kwargs = {}
    names: frozenset[str] = frozenset()

    def fill(self, g: Value, request: Value = None) -> None:
        """Put it into the ``g`` of a refresh.

        :param request: that of the refresh.
        """
        for name, value in self.plain.items():
            setattr(g, name, value)
        if self.plain and request is not None:
            base_for(request).names |= self.names


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
