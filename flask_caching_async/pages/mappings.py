"""Mappings that note which names are asked for: headers, cookies, query strings."""

from __future__ import annotations

import functools
from collections.abc import Callable

from ..typing import Value
from .reads import BASE, Base, Muted, base_of, note, subclass

__all__ = ["watched_args", "watched_cookies", "watched_headers"]


def _swap(value: Value, base: Base, make: Callable[[type], type]) -> Value:
    """Let an object note what is read of it; it stays the same one."""
    object.__setattr__(value, "__class__", make(type(value)))
    value.__dict__[BASE] = base
    return value


def _header(name: Value, base: Base) -> str:
    name = str(name).lower()
    if name == "host":
        return "host"
    return "authorization" if name == "authorization" else f"header:{name}"


def _cookie(name: Value, base: Base) -> str:
    return f"cookie:{name}"


def _arg(name: Value, base: Base) -> str:
    return f"arg:{name}"


def watched_headers(value: Value, base: Base) -> Value:
    return _swap(value, base, _headers_class)


def watched_cookies(value: Value, base: Base) -> Value:
    return _swap(value, base, _cookies_class)


def watched_args(value: Value, base: Base) -> Value:
    return _swap(value, base, _args_class)


#: Methods that are given a name, and those that are about all of it.
SINGLE = ("__getitem__", "get", "getlist", "get_all", "getone", "__contains__", "has_key", "pop")
WHOLE = (
    "__iter__", "__len__", "keys", "values", "items", "lists", "listvalues", "to_dict",
    "to_wsgi_list", "__str__", "__repr__", "__eq__", "__ne__", "copy", "deepcopy", "popitem",
    "__reversed__", "__or__", "__ror__", "__copy__", "__deepcopy__", "__hash__",
)  # fmt: skip


def _mapping_class(kind: type, one: Callable[[Value, Base], str], everything: str) -> type:
    """A class of mappings that note which names are asked for."""

    def by_name(name: str) -> Callable[..., Value]:
        inherited = getattr(kind, name)
        # Headers go through all that there are; with a ``type`` another function is called, too.
        quietly = name in ("getlist", "get_all")

        @functools.wraps(inherited)
        def method(self: Value, key: Value, *args: Value, **kwargs: Value) -> Value:
            base = base_of(self)
            if base is not None:
                note(base, everything if isinstance(key, int) else one(key, base))
            if quietly and not (args or kwargs):
                with Muted():
                    return inherited(self, key)
            return inherited(self, key, *args, **kwargs)

        return method

    def as_a_whole(name: str) -> Callable[..., Value]:
        inherited = getattr(kind, name)

        @functools.wraps(inherited)
        def method(self: Value, *args: Value, **kwargs: Value) -> Value:
            note(base_of(self), everything)
            return inherited(self, *args, **kwargs)

        return method

    members = {name: by_name(name) for name in SINGLE if hasattr(kind, name)}
    members |= {name: as_a_whole(name) for name in WHOLE if getattr(kind, name, None) is not None}

    def reduce(self: Value, protocol: Value) -> Value:
        note(base_of(self), everything)
        self.__class__ = kind  # what is pickled is one of its own; the next reader watches it again
        self.__dict__.pop(BASE, None)
        return self.__reduce_ex__(protocol)

    return subclass(kind, {**members, "__reduce_ex__": reduce})


@functools.lru_cache(64)
def _headers_class(kind: type) -> type:
    return _mapping_class(kind, _header, "headers")


@functools.lru_cache(64)
def _cookies_class(kind: type) -> type:
    return _mapping_class(kind, _cookie, "cookies")


@functools.lru_cache(64)
def _args_class(kind: type) -> type:
    return _mapping_class(kind, _arg, "args")
