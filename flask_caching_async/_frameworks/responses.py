"""What a view returned: whether it may be stored at all, and how it is kept."""

from __future__ import annotations

import contextlib
import functools
import operator
import types
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.sansio.response import Response as AnyResponse
from werkzeug.wrappers import Response

from .._entries.envelope import FORMS, Form, decode, encode
from .._entries.isolation import FREEZERS, IMMUTABLE, keep
from .._flow.policy import Fate, NotStored
from ..exceptions import SerializationError
from ..typing import Args, Callback, Kwargs, Value

__all__ = [
    "Frozen",
    "Parts",
    "facts",
    "fate_of",
    "for_callbacks",
    "is_public",
    "register",
    "was_given_none",
    "why_not",
]


def for_callbacks(value: Value) -> Value:
    """A view's answer as callbacks see it: an ``abort()`` as the response that it becomes."""
    return value.get_response() if isinstance(value, HTTPException) else value


def fate_of(value: Value, store_private: bool = False) -> Fate:
    """Whether a view's answer may be given to others.

    :param store_private: whether cookies and ``Cache-Control: private`` or ``no-store`` are no
        obstacle.
    """
    status, headers, streamed = facts(value)
    if status >= 500:
        return Fate.FAIL
    if streamed or status in (206, 304) or (status >= 400 and status not in OF_EVERYBODY):
        return Fate.UNCACHEABLE
    if headers and not store_private:
        for name, content in headers:
            name = name.lower()
            if name == "set-cookie":
                return Fate.UNCACHEABLE
            if name == "cache-control" and not UNSHARED.isdisjoint(_directives(content)):
                return Fate.UNCACHEABLE
            if name == "pragma" and "no-cache" in _directives(content):
                return Fate.UNCACHEABLE
    return Fate.STORE


#: Client errors that speak of the page, and not of the request that was made for it.
OF_EVERYBODY = frozenset({404, 405, 410, 414, 451})
#: What an answer says that is not to be given to others (RFC 9111, 5.2.2).
UNSHARED = frozenset({"private", "no-store", "no-cache", "max-age=0"})


def _directives(cache_control: str) -> set[str]:
    """The directives of a header, and the names of those that have an argument."""
    parts = [part.strip().lower() for part in cache_control.split(",")]
    return {part.replace(" ", "") for part in parts} | {
        part.split("=")[0].strip() for part in parts
    }


def is_public(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether an answer says that it is for everybody, whatever ``Authorization`` said."""
    said = [_directives(content) for name, content in headers if name.lower() == "cache-control"]
    return any(not one.isdisjoint({"public", "s-maxage"}) for one in said)


def why_not(value: Value) -> NotStored | None:
    """What keeps an answer from being given to others; ``None`` if nothing does."""
    if fate_of(value) is Fate.STORE:
        return None
    status, headers, streamed = facts(value)
    if streamed:
        return NotStored("streamed", "the answer is a stream")
    told = {name.lower(): content for name, content in headers}
    if status >= 400 or status in (206, 304):
        return NotStored("status", f"the answer has the status {status}")
    if "set-cookie" in told:
        return NotStored("set-cookie", "the answer sets a cookie")
    says = told.get("cache-control", told.get("pragma", ""))
    return NotStored("cache-control", f"the answer says Cache-Control: {says}")


def facts(value: Value) -> tuple[int, list[tuple[str, str]], bool]:
    """Status, headers, and whether the body is a stream, of anything that a view may return."""
    if type(value) in IMMUTABLE:
        return 200, [], False
    if isinstance(value, HTTPException):
        response = getattr(value, "response", None)  # its own __init__ may not call the base's
        return (value.code or 500, [], False) if response is None else facts(response)
    if isinstance(value, AnyResponse):
        streamed = bool(
            getattr(value, "is_streamed", False) or getattr(value, "direct_passthrough", False)
        )
        data_body = getattr(value, "data_body_class", None)  # Quart's: all other bodies are streams
        if data_body is not None:
            body: Value = value.response  # type: ignore[attr-defined]
            streamed = not isinstance(body, data_body) and not was_given_none(body)
        return value.status_code, list(value.headers), streamed
    if isinstance(value, tuple) and len(value) in (2, 3):
        status, headers, streamed = facts(value[0])
        if len(value) == 3:
            return _status(value[1], status), headers + _headers(value[2]), streamed
        if isinstance(value[1], (Mapping, list, tuple)) or hasattr(value[1], "getlist"):
            return status, headers + _headers(value[1]), streamed
        return _status(value[1], status), headers, streamed
    return 200, [], isinstance(value, (Iterator, AsyncIterator))


def was_given_none(body: Value) -> bool:
    """Whether a body is the one that Quart makes for ``Response(status=204)``, of an empty list."""
    frame = getattr(getattr(body, "iter", None), "ag_frame", None)
    iterator = None if frame is None else frame.f_locals.get("iterable")
    return iterator is not None and operator.length_hint(iterator, 1) == 0


def _status(value: Value, default: int) -> int:
    if value is None:
        return default
    try:
        return int(value.split(None, 1)[0] if isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return default


def _headers(value: Value) -> list[tuple[str, str]]:
    if value is None:
        return []
    items = value.items() if hasattr(value, "items") else value
    pairs = []
    for name, content in items:
        several = content if isinstance(content, (list, tuple)) else (content,)
        pairs += [(str(name), str(one)) for one in several]
    return pairs


# --- keeping a response ---------------------------------------------------------------------------


class Parts(NamedTuple):
    """What a response is built of.

    :param kind: its class.
    :param timeout: its own, ``...`` where it has none.
    """

    kind: Value
    body: bytes
    status: str
    headers: tuple[tuple[str, str], ...]
    timeout: Value


#: Parts, and the function that builds a response of them.
Frozen: TypeAlias = tuple[Parts, Callable[[Parts], Value]]

#: The state of a response that a frozen one gives back; with more than this, pickle does the work.
KNOWN = frozenset(
    "headers _status _status_code direct_passthrough _on_close response timeout".split()
)


def freeze(response: Response) -> Frozen | None:
    """Take a finished response apart: its class, body, status, headers and own timeout."""
    state = vars(response)
    if response.is_streamed or response.direct_passthrough or not KNOWN.issuperset(state):
        return None
    body = b"".join(response.iter_encoded())
    headers = tuple(response.headers)
    parts = Parts(type(response), body, response.status, headers, state.get("timeout", ...))
    return parts, thaw


def thaw(parts: Parts) -> Response:
    """Build a new response from what :func:`freeze` kept."""
    kind, body, status, headers, timeout = parts
    response: Response = kind.__new__(kind)
    # Not the class's own __init__, which may want other arguments (CachedResponse does). The body
    # as a list: bytes would write a Content-Length, over one that a view set for a HEAD.
    Response.__init__(response, [body], status, list(headers))
    if len(response.headers) != len(headers):  # it adds a Content-Type where there is none
        response.headers = Headers(list(headers))
    if timeout is not ...:
        response.timeout = timeout  # type: ignore[attr-defined]
    return response


def register(
    base: type,
    name: str,
    freezer: Callable[[Value], Frozen | None],
    thawer: Callable[[Parts], Value],
) -> None:
    """Make the responses of a framework known.

    :param name: what they are called in an envelope.
    :param freezer: like :func:`freeze`.
    :param thawer: like :func:`thaw`.
    """
    FREEZERS[base] = freezer
    FORMS[base] = Form(
        name,
        functools.partial(_take_apart, freezer),
        functools.partial(_build, thawer),
    )


def _take_apart(freezer: Callable[[Value], Frozen | None], response: Value) -> list[Value] | None:
    """A response as objects that every serializer takes."""
    frozen = freezer(response)
    if frozen is None:
        return None
    kind, data, status, headers, timeout = frozen[0]
    name = _name_of(kind)
    if name is None:
        return None
    body: str | bytes = data
    with contextlib.suppress(UnicodeDecodeError):
        body = data.decode()
    extras = {} if timeout is ... else {"timeout": timeout}
    return [name, body, status, [list(h) for h in headers], extras]


def _build(thawer: Callable[[Parts], Value], parts: list[Value]) -> Value:
    name, body, status, headers, extras = parts
    if isinstance(body, str):
        body = body.encode()
    pairs = tuple((name, content) for name, content in headers)
    return thawer(Parts(_class_called(name), body, status, pairs, extras.get("timeout", ...)))


# An HTTPException is never made by its own __init__, which may want other arguments than it keeps.


def _state_of(error: HTTPException) -> Kwargs:
    """Its attributes, also those in slots."""
    state: Value = object.__getstate__(error)  # that of Python, not its own
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    return {**(attributes or {}), **(slots or {})}


def freeze_error(error: HTTPException) -> tuple[Value, Callback] | None:
    """Take an ``HTTPException`` apart: its class, arguments and attributes."""
    try:
        state = {name: keep(value) for name, value in _state_of(error).items()}
        return (type(error), keep(error.args), state), thaw_error
    except SerializationError:
        return None


def thaw_error(parts: Args) -> HTTPException:
    """Build a new ``HTTPException`` from what :func:`freeze_error` kept."""
    kind, args, state = parts
    return _new_error(kind, _copy_of(args), {name: _copy_of(kept) for name, kept in state.items()})


def _copy_of(kept: tuple[Value, Callback | None]) -> Value:
    value, copy = kept
    return value if copy is None else copy(value)


def _new_error(kind: Value, args: Args, state: Kwargs) -> HTTPException:
    error: HTTPException
    try:
        error = BaseException.__new__(kind)
    except TypeError:  # it is an OSError, too, for example, which has more to it
        error = kind.__new__(kind)
    error.args = args
    for name, value in state.items():
        slot = getattr(kind, name, None)
        if isinstance(slot, types.MemberDescriptorType):
            slot.__set__(error, value)
        else:
            vars(error)[name] = value
    return error


def _take_error_apart(error: HTTPException) -> list[Value] | None:
    """An ``HTTPException`` as objects that every serializer takes, if its attributes are."""
    kind: Value = type(error)
    name, response = _name_of(kind), getattr(error, "response", None)
    if name is None or (response is not None and not encode(response)[0]):
        return None
    state = [[attribute, *encode(value)] for attribute, value in _state_of(error).items()]
    return [name, [list(encode(value)) for value in error.args], state]


def _build_error(parts: list[Value]) -> HTTPException:
    name, args, state = parts
    args = tuple([decode(form, value) for form, value in args])
    return _new_error(_class_called(name), args, {n: decode(form, v) for n, form, v in state})


@functools.lru_cache(maxsize=256)
def _name_of(kind: Value) -> str | None:
    """A name by which :func:`_class_called` finds a class; ``None`` for a local one."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        return name if "<locals>" not in name and _class_called(name) is kind else None
    except LookupError:
        return None


def _class_called(name: str) -> Value:
    """A class of responses or of HTTP errors that this program has; nothing is ever imported.

    What is stored may come from a stranger, and a module may do anything when it is imported.

    :raises LookupError: if there is none of that name, or several.
    """
    global _known
    kinds = _known.get(name)
    if kinds is None:
        known: dict[str, list[type]] = {}  # of this call alone, until all are there
        for kind in dict.fromkeys(_all_below(AnyResponse, HTTPException)):
            known.setdefault(f"{kind.__module__}:{kind.__qualname__}", []).append(kind)
        _known, kinds = known, known.get(name, [])
    if len(kinds) != 1:
        raise LookupError(f"this program has no response class or HTTPException {name!r}")
    return kinds[0]


#: The classes by their names; made anew when one is asked for that is not among them.
_known: dict[str, list[type]] = {}


def _all_below(*bases: type) -> Iterator[type]:
    for base in bases:
        yield base
        yield from _all_below(*base.__subclasses__())


register(Response, "response", freeze, thaw)
FREEZERS[HTTPException] = freeze_error
FORMS[HTTPException] = Form("error", _take_error_apart, _build_error)
