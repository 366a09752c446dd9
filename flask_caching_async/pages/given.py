"""What other code has put on a request, or into ``g``, before a computation began.

It may have been made of anything that had been read by then.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection
from typing import Any

from ..typing import Value
from .reads import BASE, Base, base_for, base_of, reading, reads_of, subclass

__all__ = [
    "URL_ARGS",
    "VIEW_ARGS",
    "given_on",
    "note_given",
    "overwritten",
    "url_args_of",
    "watch_given",
    "watch_no_more",
]

#: The attribute of a request for the arguments of its URL, as they were before other code saw them.
URL_ARGS = f"{BASE}_url_args"
#: The name of what other code has put among these, or in the place of one.
VIEW_ARGS = "request.view_args"
#: What a request has by itself, and what the framework puts there.
OWN = frozenset(
    f"""
    method scheme server root_path path query_string headers remote_addr environ shallow args form
    files values cookies data stream cached_json _cached_json _cached_data _parsed_content_type
    json_module url_rule view_args routing_exception full_path url base_url root_url url_root
    host_url host accept_mimetypes accept_charsets accept_encodings accept_languages cache_control
    if_match if_none_match if_modified_since if_unmodified_since if_range range pragma user_agent
    authorization access_route content_length content_type trusted_hosts max_content_length
    max_form_memory_size max_form_parts _max_content_length _max_form_memory_size _max_form_parts
    http_version scope body body_timeout _form _files _parsing_lock _send_push_promise is_secure
    input_stream _load_form_data {BASE} {BASE}_environ {BASE}_read_environ {URL_ARGS}
    """.split()
)


def given_on(request: Value) -> set[str]:
    """What other code has put on a request, as ``request.NAME``."""
    attributes: dict[str, Value] = request.__dict__
    found = {f"request.{name}" for name in attributes if name not in OWN}
    if (args := attributes.get("view_args")) and _has_other_args(attributes, args):
        found.add(VIEW_ARGS)
    return found


def url_args_of(request: Value) -> dict[str, Value] | None:
    """The arguments of a request's URL, as they were before other code saw them, if that is known.

    None of them is not known.
    """
    found: dict[str, Value] | None = request.__dict__.get(URL_ARGS)
    return found


def _has_other_args(attributes: dict[str, Value], args: dict[str, Value]) -> bool:
    of_url = attributes.get(URL_ARGS)
    if of_url is None:  # there are none, or the request was not watched then
        rule: Any = attributes.get("url_rule")
        of_url = {} if rule is None else {name: args.get(name) for name in rule.arguments}
    for name, value in args.items():
        if of_url.get(name, of_url) is not value:
            return True
    return False


def watch_given(request: Value, given: Collection[str]) -> None:
    """Begin to note the reading of what other code has put on a request, or has not.

    :param given: what it has put there.
    """
    kind: Any = type(request)
    watched: Any = getattr(kind, GIVING, kind)
    if given or watched is kind:
        made: Any = _giving_class(watched) if given else _lacking_class(watched)
        object.__setattr__(request, "__class__", made)


def watch_no_more(request: Value) -> None:
    """Cease to do so: what comes after the view pays nothing."""
    kind = type(request)
    object.__setattr__(request, "__class__", getattr(kind, GIVING, kind))


#: Whose way to one attribute of a request is its ``__dict__``.
AT_HOME = frozenset({"werkzeug", "flask", "quart", "functools", __name__.partition(".")[0]})
#: The attribute of classes of requests that do: the class to which they go back.
GIVING = f"{BASE}_giving"


@functools.lru_cache(64)
def _lacking_class(kind: Any) -> type:
    """For a request on which nothing was put: what it has, it has of itself."""

    def put(self: Value, name: str, value: Value) -> None:
        overwritten(base_of(self), f"request.{name}")
        kind.__setattr__(self, name, value)

    return subclass(kind, {"__getattr__": _absent(kind), "__setattr__": put, GIVING: kind})


@functools.lru_cache(64)
def _giving_class(kind: Any) -> type:
    """For a request on which something was put."""

    def get(self: Value, name: str) -> Value:
        if name == "__dict__":
            home = str(sys._getframe(1).f_globals.get("__name__"))
            found: dict[str, Value] = kind.__getattribute__(self, name)
            if home.partition(".")[0] not in AT_HOME:
                for one in given_on(self):
                    note_given(found.get(BASE), one)
            return found
        if name == "view_args":
            for reads in reads_of(base_of(self)):
                reads.names.update(reads.given & {VIEW_ARGS})
        elif (
            name[:1] != "_" and name not in OWN and name in kind.__getattribute__(self, "__dict__")
        ):
            note_given(base_of(self), f"request.{name}")
        return kind.__getattribute__(self, name)

    return subclass(_lacking_class(kind), {"__getattribute__": get})


def note_given(base: Base | None, name: str) -> None:
    """Note the reading of something that the computation has not put there itself.

    What is not there counts, too: for another visitor it may be there. But for names that are no
    one else's: there an extension keeps what it will make of the request when it is asked.
    """
    for reads in reads_of(base):
        if name in reads.given or (name not in reads.own and "._" not in name):
            reads.names.add(name)


def overwritten(base: Base | None, name: str) -> None:
    """From now on it is the computation's own."""
    if base is not None and reading.get() is not None:
        for reads in base.open:
            reads.given.discard(name)
            reads.own.add(name)


def _absent(kind: type) -> Callable[[Value, str], Value]:
    inherited = getattr(kind, "__getattr__", None)

    def get(request: Value, name: str) -> Value:
        if inherited is not None:
            return inherited(request, name)
        if reading.get() is not None and not name.startswith("_"):
            note_given(base_for(request), f"request.{name}")
        raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")

    return get
