"""How a value is kept in memory, so that what a caller mutates is never what the cache holds.

Immutable values are kept as they are. A flat list or dict of immutable values is copied, going in
and coming out. A type that has registered a *freezer* (a view's response) is taken apart. All else
goes through pickle, which is slow, complete and what Flask-Caching does for everything.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import sys
import uuid
from collections.abc import Callable
from pickle import HIGHEST_PROTOCOL, dumps, loads

from markupsafe import Markup

from ..exceptions import SerializationError
from ..typing import Value
from .entry import Elsewhere, Thaw

__all__ = ["FREEZERS", "IMMUTABLE", "keep", "size_of"]

IMMUTABLE = frozenset(
    {
        str, bytes, int, float, bool, complex, type(None), Markup, range,
        datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
        decimal.Decimal, fractions.Fraction, uuid.UUID,
    }
)  # fmt: skip

#: What is no instance of any class that has registered a freezer.
CONTAINERS = frozenset({dict, list, set})

#: A base class, and the function that takes an instance apart: it returns what to keep and how to
#: build a new instance from it, or ``None`` to leave it to pickle.
FREEZERS: dict[type, Callable[[Value], tuple[Value, Thaw | None] | None]] = {
    Elsewhere: lambda value: (value, None),
}


def keep(value: Value) -> tuple[Value, Thaw | None]:
    """What to hold for ``value``, and how to make a copy of it (``None``: hand it out as it is).

    :raises SerializationError: if the value cannot be copied.
    """
    kind = type(value)
    if kind in IMMUTABLE:
        return value, None
    if kind is dict:
        for item in value.values():  # for small ones in half the time of issuperset and map
            if type(item) not in IMMUTABLE:
                break
        else:
            for key in value:
                if type(key) not in IMMUTABLE:
                    break
            else:
                return value.copy(), dict.copy
    elif kind is list:
        if IMMUTABLE.issuperset(map(type, value)):
            return value.copy(), list.copy
    elif kind in (tuple, frozenset):
        if IMMUTABLE.issuperset(map(type, value)):
            return value, None
    if kind not in CONTAINERS:
        for base, freeze in FREEZERS.items():
            if isinstance(value, base):
                frozen = freeze(value)
                if frozen is not None:
                    return frozen
        if kind is tuple and any(isinstance(item, tuple(FREEZERS)) for item in value):
            return [keep(item) for item in value], _thaw_each
    try:
        return dumps(value, HIGHEST_PROTOCOL), loads
    except Exception as error:  # pickle raises whatever a __reduce__ raises
        raise SerializationError(f"a {kind.__qualname__} cannot be stored: {error}") from error


def _thaw_each(kept: list[tuple[Value, Thaw | None]]) -> tuple[Value, ...]:
    """A response with its status and headers, for example."""
    return tuple([value if thaw is None else thaw(value) for value, thaw in kept])


def size_of(kept: Value) -> int:
    """About how many bytes it takes to hold ``kept``; exactly for text and what is serialized."""
    kind = type(kept)
    if kind is bytes or kind is str:
        return len(kept)
    size = sys.getsizeof(kept)
    if kind is list or kind is tuple:
        return size + sum(map(size_of, kept))
    if kind is dict:
        return size + sum(map(size_of, kept)) + sum(map(size_of, kept.values()))
    return size
