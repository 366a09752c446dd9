"""What tells the caches of an app apart: on the command line, in statistics and in metrics."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from .binding import Binding
from .exceptions import ConfigurationError
from .typing import Value

__all__ = ["check_name", "name_for"]


def check_name(name: Value) -> None:
    """Check the name of a cache.

    :raises ConfigurationError: if it is none.
    """
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise ConfigurationError(
            f"the name of a cache is a text, as in Cache(name='pages'), not {name!r}"
        )


def name_for(cache: object, given: str | None, others: Mapping[object, Binding]) -> str:
    """The name of a cache on an app.

    :param given: the one that it was given, if any.
    :param others: the bindings of all caches that the app has.
    :raises ConfigurationError: if another one has that name.
    """
    taken = {binding.name for other, binding in others.items() if other is not cache}
    if given is not None:
        if given in taken:
            raise ConfigurationError(f"the app has a cache named {given!r} already")
        return given
    if cache in others:
        return others[cache].name
    names = ("cache" if number == 1 else f"cache-{number}" for number in itertools.count(1))
    return next(name for name in names if name not in taken)
