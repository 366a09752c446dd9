"""What tells a value, an object and a function apart: a text that is the same in every process.

No ``hash()``, no memory address, sets sorted; types and lengths count, so that no two different
values share a text. Where an object has no such text, :class:`Notes` decides what stands in its
place: a token that belongs to this one object and to no later one, or nothing (:class:`NoText`).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import weakref
from collections.abc import Callable

from werkzeug.local import LocalProxy

from .parts import Kind, kind_of
from .typing import Value

__all__ = ["PLAIN", "NoText", "Notes", "canonical", "get_id", "has_address", "text_while_alive"]

PLAIN = frozenset({int, str, float, bool, bytes, type(None)})
ADDRESS = re.compile(r"at (0x[0-9A-Fa-f]+)")


class NoText(Exception):
    """A value has no text that no later value could have, too."""


class Notes:
    """What is done about a value that has no text of its own.

    :param stand_in: is given such a value and its ``repr``, and returns what stands in the place of
        its text.
    """

    __slots__ = ("stand_in",)

    def __init__(self, stand_in: Callable[[Value, str], str]) -> None:
        self.stand_in = stand_in


#: The ``repr`` counts, whatever it says.
AS_IT_IS = Notes(lambda value, text: text)


def canonical(value: Value, notes: Notes = AS_IT_IS) -> str:
    """A text for a value, different for different values, and the same in every process.

    :param notes: for objects that have no text of their own.
    """
    kind: type = type(value)
    if kind in PLAIN:
        try:
            return repr(value)
        except ValueError:  # Python writes no int of more than 4300 digits in base 10
            return hex(value)
    if kind is list:
        return f"[{','.join([canonical(item, notes) for item in value])}]"
    if kind is tuple:
        return f"({','.join([canonical(item, notes) for item in value])},)"
    if kind is dict:
        pairs = [f"{canonical(k, notes)}:{canonical(v, notes)}" for k, v in value.items()]
        return f"{{{','.join(pairs)}}}"
    if kind is set or kind is frozenset:
        return f"{kind.__name__}{{{','.join(sorted(canonical(item, notes) for item in value))}}}"
    if kind is LocalProxy:
        return canonical(value._get_current_object(), notes)
    return _named(value, kind_of(kind), notes)


def _named(value: Value, kind: Kind, notes: Notes) -> str:
    """The text of an object: its type, and what tells it apart, with its length."""
    if kind.is_class:
        return f"<class {value.__module__}.{value.__qualname__}>"
    if getattr(value, "__caching_id__", None) is not None:
        text = get_id(value)
        return f"<{kind.name} {len(text)}:{text}>"
    if kind.is_enum:
        return f"<{kind.name}.{value.name or canonical(value.value, notes)}>"
    if kind.is_secret:
        hidden = canonical(value.get_secret_value(), notes).encode(errors="surrogatepass")
        return f"<{kind.name} {hashlib.sha256(hidden).hexdigest()}>"
    if kind.parts is not None:
        return f"<{kind.name} {canonical(kind.parts(value), notes)}>"
    text = repr(value)
    if has_address(value, text) or kind.says_less(text):
        text = notes.stand_in(value, text)
    return f"<{kind.name} {len(text)}:{text}>"


def get_id(obj: object) -> str:
    """What tells an object apart: its ``__caching_id__()``, else its ``repr``."""
    caching_id = getattr(obj, "__caching_id__", None)
    return repr(obj) if caching_id is None else str(caching_id())


def has_address(value: object, text: str) -> bool:
    """Whether a text of an object contains a memory address, its own or that of another one."""
    number = id(value)
    return "at 0x" in text or (
        len(text) > 8 and (f"{number:x}" in text or f"{number:X}" in text or str(number) in text)
    )


# --- objects without a text -----------------------------------------------------------------------

#: The token of each object that was given one, by its address.
_tokens: dict[int, tuple[weakref.ref[Value], str]] = {}


def token_of(value: Value) -> str | None:
    """A text that belongs to this one object, and that no later one gets at its address.

    ``None`` for an object whose end cannot be noticed.
    """
    number = id(value)
    known = _tokens.get(number)
    if known is None or known[0]() is not value:
        try:
            watch = weakref.ref(value, functools.partial(_forget, number))
        except TypeError:
            return None
        if known is not None:
            _forget(number, known[0])
        # Another thread may have been here in the meantime.
        known = _tokens.setdefault(number, (watch, os.urandom(12).hex()))
    return known[1]


def _forget(number: int, watch: weakref.ref[Value]) -> None:
    known = _tokens.get(number)
    if known is not None and known[0] is watch:
        _tokens.pop(number, None)


def text_while_alive(value: Value, text: str) -> str:
    """What stands for an argument without a text in keys that only this process finds.

    :param text: its ``repr``.
    :raises NoText: where nothing can: its end would not be noticed, or it may be another value by
        then. An array may be written to; and of an object whose ``repr`` has the address of another
        one, that one may have been replaced by a third at the same address.
    """
    others = [found for found in ADDRESS.findall(text) if int(found, 16) != id(value)]
    kind: type = type(value)
    token = None if others or kind_of(kind).says_less(text) else token_of(value)
    if token is None:
        raise NoText
    return token
