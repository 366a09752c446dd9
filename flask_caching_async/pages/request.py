"""Requests that note what is read of them.

The class of a request is replaced by a subclass of it in which whatever differs between visitors is
a property that notes it; its headers, cookies and query string note the names that are asked for.
What costs nothing stays as it is: ``path``, ``method``, ``endpoint``, ``view_args``.

That happens as soon as the framework has looked for a rule. What it reads until then, to open the
session and to find the view, is not the app's, and costs nothing.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from ..typing import Value
from .environ import WatchedEnviron, input_of_scope, input_of_variable
from .given import URL_ARGS
from .mappings import watched_args, watched_cookies, watched_headers
from .reads import (
    BASE,
    NOBODY,
    Base,
    Muted,
    base_for,
    is_counted,
    is_routed,
    note_of,
    reading,
    subclass,
)

__all__ = ["READ_ENVIRON", "unrouted_class", "watch_request"]

#: What an attribute of a request says, whatever has been read of it before.
INPUTS: dict[str, tuple[str, ...]] = {
    "query_string": ("args",),
    "full_path": ("args",),
    "url": ("args", "host", "scheme"),
    **dict.fromkeys(("base_url", "root_url", "url_root", "host_url"), ("host", "scheme")),
    "host": ("host",),
    "server": ("host",),
    "scheme": ("scheme",),
    "is_secure": ("scheme",),
    "remote_addr": ("address",),
    "access_route": ("address", "header:x-forwarded-for"),
    "remote_user": ("authorization",),
    "authorization": ("authorization",),
    **dict.fromkeys(
        ("data", "get_data", "json", "get_json", "form", "files", "stream", "input_stream", "body"),
        ("body",),
    ),
    "user_agent": ("header:user-agent",),
    **dict.fromkeys(
        ("content_type", "mimetype", "mimetype_params", "is_json"), ("header:content-type",)
    ),
    "content_length": ("header:content-length", "header:transfer-encoding"),
    "accept_mimetypes": ("header:accept",),
    "accept_charsets": ("header:accept-charset",),
    "accept_encodings": ("header:accept-encoding",),
    "accept_languages": ("header:accept-language",),
    **{
        name: (f"header:{name.replace('_', '-')}",)
        for name in (
            "cache_control", "if_match", "if_none_match", "if_modified_since",
            "if_unmodified_since", "if_range", "range", "pragma",
        )
    },
}  # fmt: skip


#: The attribute of classes of requests that note what is read of them.
WATCHED = f"{BASE}_watched"
#: The attribute of a request for its :class:`.WatchedEnviron`.
ENVIRON_OF = f"{BASE}_environ"
#: The one that says that it was read before all computations.
READ_ENVIRON = f"{BASE}_read_environ"
#: Whose classes make one part of a request of another.
FRAMEWORKS = frozenset({"werkzeug", "flask", "quart"})


def unrouted_class(kind: type) -> Any:
    """A class of requests like ``kind`` that are watched from when their rule has been looked for.

    :param kind: may be one already.
    """
    return kind if hasattr(kind, BASE) else _unrouted_class(kind)


@functools.lru_cache(64)
def _unrouted_class(kind: type) -> type:
    def watches(name: str) -> property:
        read = _reader(kind, name)

        def put(request: Value, value: Value) -> None:
            request.__dict__[name] = value
            if value is not None:
                object.__setattr__(request, "__class__", _watched_class(kind))
                if name == "view_args" and value:
                    request.__dict__[URL_ARGS] = {**value}

        return property(read, put)

    return subclass(kind, {name: watches(name) for name in ("view_args", "routing_exception")})


def watch_request(request: Value) -> bool:
    """Watch a request from now on; whether it was to be watched from the beginning."""
    kind = type(request)
    if hasattr(kind, WATCHED):
        return True
    unrouted = hasattr(kind, BASE)
    watched = _watched_class(kind.__bases__[0] if unrouted else kind)
    object.__setattr__(request, "__class__", watched)
    return unrouted


@functools.lru_cache(64)
def _watched_class(kind: type) -> type:
    members: dict[str, Value] = {
        name: _noting(kind, name, inputs) for name, inputs in INPUTS.items() if hasattr(kind, name)
    }
    # Attributes of an instance that is made, and so not of the class, are these.
    for name in ("query_string", "remote_addr", "scheme", "server"):
        members[name] = _noting(kind, name, INPUTS[name])
    # That of Quart is written by the server, in a task of its own, while the view may run.
    members["body"] = _noting(kind, "body", INPUTS["body"], inside=True)
    members["headers"] = _standing_in(kind, "headers", watched_headers)
    members["cookies"] = _standing_in(kind, "cookies", watched_cookies)
    members["args"] = _standing_in(kind, "args", watched_args)
    members[WATCHED] = True
    members["environ"] = _environ("environ", input_of_variable)
    members["scope"] = _environ("scope", input_of_scope)
    return subclass(kind, members)


def _reader(kind: type, name: str) -> Callable[[Value], Value]:
    """What reads an attribute of a request as ``kind`` has it."""
    own = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    get = getattr(own, "__get__", None)

    def read(request: Value) -> Value:
        attributes = request.__dict__
        if name in attributes:
            return attributes[name]
        if own is None:
            raise AttributeError(name)
        return own if get is None else get(request, kind)

    return read


def _property(get: Callable[[Value], Value], name: str) -> property:
    def put(request: Value, value: Value) -> None:
        request.__dict__[name] = value

    def drop(request: Value) -> None:
        request.__dict__.pop(name, None)

    return property(get, put, drop)


def _noting(kind: type, name: str, inputs: tuple[str, ...], inside: bool = False) -> property:
    """A property that notes inputs; or, with ``inside``, in the context of a computation only."""
    read = _reader(kind, name)

    def get(request: Value) -> Value:
        if not inside or reading.get() is not None:
            note_of(request, *inputs)
        return read(request)

    return _property(get, name)


def _standing_in(kind: type, name: str, watched: Callable[[Value, Base], Value]) -> property:
    read = _reader(kind, name)
    home = next((base.__module__ for base in kind.__mro__ if name in vars(base)), "")
    quietly: Any = Muted if home.partition(".")[0] in FRAMEWORKS else contextlib.nullcontext

    def get(request: Value) -> Value:
        if not is_counted(request):
            return read(request)
        with quietly():  # as the framework makes cookies of a header
            value = read(request)
        if not hasattr(type(value), BASE):
            value = request.__dict__[name] = watched(value, base_for(request))
        return value

    return _property(get, name)


def _environ(name: str, input_of: Callable[[Any], str | None]) -> property:
    """The environment: in a computation one that notes what is read of it, else all of it."""

    def get(request: Value) -> Value:
        attributes = request.__dict__
        if name not in attributes:
            raise AttributeError(name)
        reads = reading.get()
        if reads is None:  # the framework reads it at the end of each request
            attributes[READ_ENVIRON] = is_routed(request)
            return attributes[name]
        if reads is NOBODY:
            return attributes[name]
        watched = attributes.get(ENVIRON_OF)
        if watched is None:
            watched = WatchedEnviron(attributes[name], base_for(request), input_of)
            attributes[ENVIRON_OF] = watched
        return watched

    return _property(get, name)
