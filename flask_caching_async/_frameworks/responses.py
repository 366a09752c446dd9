"""What a view returned: whether it may be stored at all, and how it is kept."""

from __future__ import annotations

import functools
import importlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.sansio.response import Response as AnyResponse
from werkzeug.wrappers import Response

from .._entries.envelope import FORMS, Form, decode, encode
from .._entries.isolation import FREEZERS
from .._flow.policy import Fate

__all__ = ["fate_of", "register", "for_callbacks"]


def for_callbacks(value: Any) -> Any:
    """A view's answer as callbacks see it: an ``abort()`` as the response that it becomes."""
    return value.get_response() if isinstance(value, HTTPException) else value


def fate_of(value: Any, store_private: bool = False) -> Fate:
    """Whether a view's answer may be given to others.

    :param store_private: whether cookies and ``Cache-Control: private`` or ``no-store`` are no
        obstacle.
    """
    status, headers, streamed = facts(value)
    if status >= 500:
        return Fate.FAIL
    if streamed or status in (206, 304):
        return Fate.UNCACHEABLE
    if headers and not store_private:
        for name, content in headers:
            name = name.lower()
            if name == "set-cookie":
                return Fate.UNCACHEABLE
            if name == "cache-control" and _private(content):
                return Fate.UNCACHEABLE
    return Fate.STORE


def _private(cache_control: str) -> bool:
    directives = {part.split("=")[0].strip().lower() for part in cache_control.split(",")}
    return not directives.isdisjoint({"private", "no-store"})


def facts(value: Any) -> tuple[int, list[tuple[str, str]], bool]:
    """Status, headers, and whether the body is a stream, of anything that a view may return."""
    if isinstance(value, HTTPException):
        if value.response is not None:
            return facts(value.response)
        return value.code or 500, [], False
    if isinstance(value, AnyResponse):
        streamed = bool(
            getattr(value, "is_streamed", False) or getattr(value, "direct_passthrough", False)
        )
        data_body = getattr(value, "data_body_class", None)  # Quart's: all other bodies are streams
        if data_body is not None:
            streamed = not isinstance(value.response, data_body)  # type: ignore[attr-defined]
        return value.status_code, list(value.headers), streamed
    if isinstance(value, tuple) and len(value) in (2, 3):
        status, headers, streamed = facts(value[0])
        if len(value) == 3:
            return _status(value[1], status), headers + _headers(value[2]), streamed
        if isinstance(value[1], (Mapping, list, tuple)) or hasattr(value[1], "getlist"):
            return status, headers + _headers(value[1]), streamed
        return _status(value[1], status), headers, streamed
    return 200, [], isinstance(value, (Iterator, AsyncIterator))


def _status(value: Any, default: int) -> int:
    if value is None:
        return default
    try:
        return int(value.split(None, 1)[0] if isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return default


def _headers(value: Any) -> list[tuple[str, str]]:
    if value is None:
        return []
    items: Iterable[Any] = value.items() if hasattr(value, "items") else value
    pairs = []
    for name, content in items:
        several = content if isinstance(content, (list, tuple)) else (content,)
        pairs += [(str(name), str(one)) for one in several]
    return pairs


# --- keeping a response ---------------------------------------------------------------------------

#: The state of a response that a frozen one gives back; with more than this, pickle does the work.
KNOWN = frozenset(
    "headers _status _status_code direct_passthrough _on_close response timeout".split()
)


def freeze(response: Response) -> tuple[Any, Any] | None:
    """Take a finished response apart: its class, body, status, headers and own timeout."""
    state = vars(response)
    if response.is_streamed or response.direct_passthrough or not KNOWN.issuperset(state):
        return None
    body = b"".join(response.iter_encoded())
    headers = tuple(response.headers)
    return (type(response), body, response.status, headers, state.get("timeout", ...)), thaw


def thaw(parts: tuple[Any, ...]) -> Response:
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


def register(base: type, name: str, freezer: Any, thawer: Any) -> None:
    """Make the responses of a framework known.

    :param name: what they are called on the wire.
    :param freezer: like :func:`freeze`.
    :param thawer: like :func:`thaw`.
    """
    FREEZERS[base] = freezer
    FORMS[base] = Form(
        name,
        functools.partial(_take_apart, freezer),
        functools.partial(_build, thawer),
    )


def _take_apart(freezer: Any, response: Any) -> list[Any] | None:
    """A response as objects that every serializer takes."""
    frozen = freezer(response)
    if frozen is None:
        return None
    (kind, body, status, headers, timeout), _ = frozen
    name = _name_of(kind)
    if name is None:
        return None
    try:
        body = body.decode()
    except UnicodeDecodeError:
        pass
    extras = {} if timeout is ... else {"timeout": timeout}
    return [name, body, status, [list(h) for h in headers], extras]


def _build(thawer: Any, parts: list[Any]) -> Any:
    name, body, status, headers, extras = parts
    if isinstance(body, str):
        body = body.encode()
    pairs = tuple((name, content) for name, content in headers)
    return thawer((_class_called(name), body, status, pairs, extras.get("timeout", ...)))


def _take_error_apart(error: Any) -> list[Any] | None:
    """An ``HTTPException`` that has no more than Werkzeug's attributes."""
    error_class: Any = type(error)
    name, response = _name_of(error_class), getattr(error, "response", None)
    kind, parts = "", None
    if response is not None:
        kind, parts = encode(response)
    plain = error.args == () and {"description", "response"}.issuperset(vars(error))
    if name is None or not plain or (response is not None and not kind):
        return None
    return [name, vars(error).get("description"), kind, parts]


def _build_error(parts: list[Any]) -> HTTPException:
    name, description, kind, response = parts
    error_class = _class_called(name)
    error: HTTPException = error_class.__new__(error_class)
    if description is not None:
        error.description = description
    error.response = decode(kind, response)
    return error


@functools.lru_cache(maxsize=256)
def _name_of(kind: type) -> str | None:
    """A name by which :func:`_class_called` finds a class; ``None`` for a local one."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        return name if _class_called(name) is kind else None
    except (ImportError, AttributeError, TypeError):
        return None


@functools.lru_cache(maxsize=256)
def _class_called(name: str) -> Any:
    module, _, path = name.partition(":")
    kind: Any = importlib.import_module(module)
    for part in path.split("."):
        kind = getattr(kind, part)
    if not (isinstance(kind, type) and issubclass(kind, (AnyResponse, HTTPException))):
        raise TypeError(f"{name} is neither a response class nor an HTTPException")
    return kind


register(Response, "response", freeze, thaw)
FORMS[HTTPException] = Form("error", _take_error_apart, _build_error)
