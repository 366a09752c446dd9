"""An entry as a backend stores it: a tuple around the value, which any serializer can take.

``(MAGIC, created, fresh_until, usable_until, [[stamp, token], ...], kind, value)``, times in
seconds since the epoch, 0 for "never". A serializer that knows no tuples gives back a list;
``kind`` says what the value was, so that ``("not found", 404)`` does not come back as a list with
two items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .entry import Entry
from .isolation import IMMUTABLE
from .times import NEVER, Timetable

__all__ = ["WIRE_FORMS", "apart", "is_entry", "pack", "unpack", "whole"]

MAGIC = "fca\x001"

#: For each base class that has a form of its own on the wire: its name, how to take an instance
#: apart (or ``None``), and how to build one again.
WIRE_FORMS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    tuple: (
        "tuple",
        lambda value: [list(apart(item)) for item in value] if type(value) is tuple else None,
        lambda parts: tuple([whole(kind, item) for kind, item in parts]),
    ),
}


def apart(value: Any) -> tuple[str, Any]:
    """The name of a value's form, and its parts; ``""`` and itself where it has none."""
    if type(value) in IMMUTABLE:
        return "", value
    for base, (name, take_apart, _) in WIRE_FORMS.items():
        if isinstance(value, base):
            parts = take_apart(value)
            if parts is not None:
                return name, parts
    return "", value


def whole(kind: str, parts: Any) -> Any:
    """The value that :func:`apart` took apart."""
    if not kind:
        return parts
    return next(form[2] for form in WIRE_FORMS.values() if form[0] == kind)(parts)


def is_entry(raw: Any) -> bool:
    """Whether a stored object is an entry of ours, and not what somebody else stored."""
    return type(raw) in (tuple, list) and len(raw) == 7 and raw[0] == MAGIC


def pack(value: Any, times: Timetable, stamps: Mapping[str, str | None]) -> tuple[Any, ...]:
    """An entry as a tuple of plain objects."""
    kind, value = apart(value)
    until = tuple(0 if t == NEVER else t for t in times)
    return (MAGIC, *until, [[name, token] for name, token in stamps.items()], kind, value)


def unpack(raw: Any) -> tuple[Entry | None, dict[str, str]]:
    """The entry in a stored object, and its stamps; ``None`` if it cannot be read.

    What somebody else stored is a value without a timetable: its backend keeps the time.
    """
    if not is_entry(raw):
        return Entry(raw), {}
    try:
        _, created, fresh_until, usable_until, stamps, kind, value = raw
        value = whole(kind, value)
        entry = Entry(value, None, created, fresh_until or NEVER, usable_until or NEVER)
        return entry, {name: token for name, token in stamps}
    except Exception:  # whatever it was, it is not readable now: a miss, to be overwritten
        return None, {}
