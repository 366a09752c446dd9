"""The body of a response of Flask or of Quart: what it is, and nothing in its place."""

from __future__ import annotations

from werkzeug.http import remove_entity_headers

from ..typing import Value
from .responses import was_given_none

__all__ = ["body_of", "emptied", "held_body"]


def held_body(response: Value) -> tuple[object, ...] | None:
    """What a response holds as its body, to be compared; ``None`` for a stream.

    Nothing is copied: parts that are the same object are equal at once.
    """
    body, kind = response.response, getattr(response, "data_body_class", None)
    if kind is None:
        return tuple(body) if isinstance(body, (list, tuple)) else None
    if type(body) is kind:
        return (body.data, body.begin, body.end)
    return () if was_given_none(body) else None


def body_of(response: Value) -> bytes | None:
    """The bytes of a body; ``None`` for a stream."""
    body, kind = response.response, getattr(response, "data_body_class", None)
    if kind is None:
        whole = isinstance(body, (list, tuple)) and not response.direct_passthrough
        return b"".join(response.iter_encoded()) if whole else None
    if type(body) is kind:
        data: bytes = body.data[body.begin : body.end]
        return data
    return b"" if was_given_none(body) else None


def emptied(response: Value) -> None:
    """Take the body away, and the headers that are about it, as a 304 has it (RFC 9110, 15.4.5).

    Werkzeug's responses leave out those headers when they are sent.
    """
    kind = getattr(response, "data_body_class", None)
    if kind is None:
        response.response = []
    else:
        response.response = kind(b"")
        remove_entity_headers(response.headers, allowed=("expires", "content-location"))
