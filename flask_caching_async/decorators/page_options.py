"""The arguments of ``cached`` that make keys: checked, and what follows from each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from werkzeug.sansio.request import Request

from ..exceptions import ConfigurationError
from ..identity import identify
from ..keys import signature_of
from ..pages.inputs import header_of
from ..typing import Args, Callback, Kwargs, Value, Vary
from .plan import OwningCache

__all__ = [
    "checked_vary_on",
    "distinction_of",
    "names_of",
    "other_arguments",
    "parameters_of",
    "said_of",
    "view_args_of",
]


def distinction_of(cache: OwningCache, name: str, function: Callback) -> str:
    """What tells a view apart from those of its name that were decorated before it: its number.

    No text of what it closes over, which may be another one in each process: they share pages.
    """
    identity = identify(function)
    others = cache._views_by_name.setdefault(name, [])
    own = identity.stable + identity.own
    if own not in others:
        others.append(own)
    number = others.index(own)
    return f"~{number}" if number else ""


def view_args_of(request: Request) -> Kwargs:
    """The arguments that the URL gives a view."""
    found: Kwargs | None = getattr(request, "view_args", None)
    return found or {}


def parameters_of(function: Callback) -> tuple[int, list[str]]:
    """Whether the first parameter is that of a method, 1 or 0; and the names of the others."""
    try:
        found = signature_of(function).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return 0, []
    names = [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    receivers = int(names[:1] in (["self"], ["cls"]))
    return receivers, names[receivers:]


def other_arguments(names: list[str], args: Args, kwargs: Kwargs, request: Request) -> list[Value]:
    """The arguments of a view that are not those of the URL: a decorator above gave them.

    :param names: those of the positional ones.
    """
    given = view_args_of(request)
    if not args and kwargs == given:
        return []
    named = [*zip(names, args, strict=False), *sorted(kwargs.items())]
    found = [pair for pair in named if pair[0] not in given or given[pair[0]] != pair[1]]
    return [*found, *args[len(names) :]]


def names_of(query_string: bool | Iterable[str]) -> frozenset[str] | None:
    """The names that ``query_string`` lists, if it does."""
    if isinstance(query_string, str):
        return frozenset({query_string})
    return frozenset(query_string) if isinstance(query_string, Iterable) else None


def checked_vary_on(vary_on: Vary) -> tuple[str | Callable[[], Value], ...]:
    """What a page varies on, as a tuple."""
    several = (vary_on,) if isinstance(vary_on, str) or callable(vary_on) else tuple(vary_on)
    for vary in several:
        if not (callable(vary) or isinstance(vary, str)):
            raise ConfigurationError(
                f"vary_on takes header names, 'cookie:NAME' and callables, not {vary!r}"
            )
    return several


def said_of(request: Request, vary: str) -> str | None:
    """What a request says of a header, or of ``cookie:NAME``."""
    if vary.startswith("cookie:"):
        return request.cookies.get(vary.removeprefix("cookie:"))
    return header_of(request, vary)
