"""Objects that have no text of their own: a token for each, as long as it lives."""

from __future__ import annotations

import functools
import os
import re
import weakref
from typing import TypeAlias

from .parts import Kind, kind_of
from .typing import Value

__all__ = ["ADDRESS", "NoText", "quick_text", "represent", "text_while_alive", "token_of"]
__all__ += ["tokens"]

ADDRESS = re.compile(r"at (0x[0-9A-Fa-f]{6,})")
#: What may be one, in either base.
LONG_NUMBER = re.compile(r"[0-9A-Fa-f]{6}")


class NoText(Exception):
    """A value has no text that no later value could have, too."""


def represent(kind: Kind, text: str) -> str:
    """How an object is written down that a text tells apart, with its length."""
    return f"<{kind.name} {len(text)}:{text}>"


#: A text that belongs to one object: what refers to that; the text; its class by then; how it is
#: written down, if nothing but the text tells it apart. A bare tuple: a hit of a method reads the
#: parts of one in a third of the time.
Token: TypeAlias = tuple[weakref.ref[Value], str, type, str | None]

#: The token of each object that was given one, by its address.
tokens: dict[int, Token] = {}


def token_of(value: Value) -> str | None:
    """A text that belongs to this one object, and that no later one gets at its address.

    ``None`` for an object whose end cannot be noticed.
    """
    number = id(value)
    known = tokens.get(number)
    if known is None or known[0]() is not value:
        try:
            watch = weakref.ref(value, functools.partial(_forget, number))
        except TypeError:
            return None
        if known is not None:
            _forget(number, known[0])
        kind: type = type(value)
        token = os.urandom(12).hex()
        how = kind_of(kind)
        alone = how.is_address and how.has_repr_only
        made = (watch, token, kind, represent(how, token) if alone else None)
        # Another thread may have been here in the meantime.
        known = tokens.setdefault(number, made)
    return known[1]


def _forget(number: int, watch: weakref.ref[Value]) -> None:
    known = tokens.get(number)
    if known is not None and known[0] is watch:
        tokens.pop(number, None)


def quick_text(value: Value) -> str | None:
    """:func:`canonical` of an instance, as it is written in keys that only this process finds.

    In a few steps; ``None`` where it takes more of them, and for one that has no token yet.
    """
    if getattr(value, "__caching_id__", None) is not None:
        return None
    kind: type = type(value)
    known = tokens.get(id(value))
    if known is not None:
        watch, _, was, text = known
        return text if was is kind and watch() is value else None
    how = kind_of(kind)
    if not how.is_repr:
        return None
    text = repr(value)
    if "at 0x" in text or (len(text) > 8 and LONG_NUMBER.search(text)):
        return None
    return represent(how, text)


def text_while_alive(value: Value, text: str) -> str:
    """What stands for an argument without a text in keys that only this process finds.

    :param text: its ``repr``.
    :raises NoText: where nothing can: its end would not be noticed, or it may be another value by
        then. An array may be written to; and of an object whose ``repr`` has the address of another
        one, that one may have been replaced by a third at the same address.
    """
    kind_of_value: type = type(value)
    kind, found = kind_of(kind_of_value), ADDRESS.findall(text)
    others = not kind.is_address and any(int(number, 16) != id(value) for number in found)
    token = None if others or kind.says_less(text) else token_of(value)
    if token is None:
        raise NoText
    return token
