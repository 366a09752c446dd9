"""An entry as a backend stores it: a tuple around the value, which any serializer can take.

``(MAGIC, created, fresh_until, usable_until, [[tag, version], ...], form, value)``, times in
seconds since the epoch, 0 for "never". A serializer that knows no tuples gives back a list;
``form`` says what the value was, so that ``("not found", 404)`` does not come back as a list with
two items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..exceptions import SerializationError
from ..typing import Value
from .entry import BY_HAND, Elsewhere, Entry
from .isolation import IMMUTABLE
from .times import NEVER, Times

__all__ = [
    "FORMS",
    "Form",
    "counted",
    "decode",
    "encode",
    "is_entry",
    "is_living",
    "pack",
    "unpack",
]

MAGIC = "fca\x001"


class Form(NamedTuple):
    """How the instances of a class are stored where a serializer may not know them.

    :param name: stands before the parts.
    :param take_apart: gives the parts of an instance, or ``None`` to leave it as it is.
    :param build: makes an instance of parts.
    """

    name: str
    take_apart: Callable[[Value], Value]
    build: Callable[[Value], Value]


#: The forms, by the base class that they are for.
FORMS: dict[type, Form] = {
    tuple: Form(
        "tuple",
        lambda value: [list(encode(item)) for item in value] if type(value) is tuple else None,
        lambda parts: tuple([decode(name, item) for name, item in parts]),
    ),
    Elsewhere: Form(
        "elsewhere",
        lambda value: list(value.names),
        lambda parts: Elsewhere(tuple([str(name) for name in parts])),
    ),
}


def encode(value: Value) -> tuple[str, Value]:
    """The name of a value's form, and its parts; ``""`` and itself where it has none."""
    if type(value) in IMMUTABLE:
        return "", value
    for base, form in FORMS.items():
        if isinstance(value, base):
            parts = form.take_apart(value)
            if parts is not None:
                return form.name, parts
    return "", value


def decode(name: str, parts: Value) -> Value:
    """The value that :func:`encode` took apart."""
    if not name:
        return parts
    return next(form for form in FORMS.values() if form.name == name).build(parts)


def is_entry(raw: Value) -> bool:
    """Whether a stored object is an entry of ours, and not what another program stored."""
    return type(raw) in (tuple, list) and len(raw) == 7 and raw[0] == MAGIC


def pack(value: Value, times: Times, versions: Mapping[str, str | None]) -> tuple[Value, ...]:
    """An entry as a tuple of plain objects."""
    name, value = encode(value)
    until = tuple(0 if t == NEVER else t for t in times)
    return (MAGIC, *until, [[tag, version] for tag, version in versions.items()], name, value)


def unpack(raw: Value) -> tuple[Entry | None, dict[str, str]]:
    """The entry in a stored object, and its versions; ``None`` if it cannot be read.

    What another program stored is a value without times: its backend keeps the time.
    """
    if not is_entry(raw):
        return Entry(raw), {}
    try:
        _, created, fresh_until, usable_until, versions, name, value = raw
        if not isinstance(created + fresh_until + usable_until, (float, int)):
            return None, {}
        named: dict[str, str] = dict(versions)
        for tag in named:
            if type(tag) is not str:
                return None, {}
        if name:
            value = decode(name, value)
        return Entry(value, None, created, fresh_until or NEVER, usable_until or NEVER), named
    except Exception:  # whatever it was, it is not readable now: a miss, to be overwritten
        return None, {}


def is_living(
    entry: Entry | None, versions: Mapping[str, str], seen: Mapping[str, str | None], now: float
) -> bool:
    """Whether what :func:`unpack` gave is in time, and all its versions stand.

    :param seen: the versions that stand now.
    """
    if entry is None or now >= entry.usable_until:
        return False
    for tag, version in versions.items():
        if seen.get(tag) != version and tag != BY_HAND:
            return False
    return True


def counted(key: str, raw: Value, delta: float) -> tuple[Value, Value]:
    """The sum of a stored number and ``delta``, and what to store for it: an entry stays one.

    :param raw: what is stored; ``None`` for nothing.
    :raises SerializationError: if it is no number.
    """
    head, number = (raw[:-1], raw[-1]) if is_entry(raw) else (None, 0 if raw is None else raw)
    if not isinstance(number, (int, float)):
        raise SerializationError(f"what {key!r} has is a {type(number).__name__}, no number")
    total = number + delta
    return total, total if head is None else (*head, total)
