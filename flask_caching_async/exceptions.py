"""Every error and warning of this package.

.. code-block:: text

    CacheError
    ├── ConfigurationError    (also a ValueError)    init_app was given something wrong
    ├── NotInitializedError   (also a RuntimeError)  no app, or no request, where one is needed
    ├── ColourError           (also a TypeError)     an async callback on a sync function
    ├── InvalidKeyError       (also a TypeError and a ValueError)  a key that no backend can have
    ├── SerializationError                           a value cannot be stored
    ├── NotStoredError                               refresh(strict=True) could not store its value
    └── BackendError                                 the backend failed
        └── BackendTimeout    (also a TimeoutError)  the backend did not answer in time

    CacheWarning              (a UserWarning)
    └── AddressKeyWarning                            something has no text that can be part of a key
"""

from __future__ import annotations

import functools
import sys
import warnings
from contextvars import ContextVar
from typing import Any

__all__ = [
    "AddressKeyWarning",
    "BackendError",
    "BackendTimeout",
    "CacheError",
    "CacheWarning",
    "ColourError",
    "ConfigurationError",
    "InvalidKeyError",
    "NotInitializedError",
    "NotStoredError",
    "SerializationError",
    "not_initialized",
    "outside",
    "overheard",
    "place_of",
    "warn",
]


class CacheError(Exception):
    """Base of every error that this package raises by itself."""


class ConfigurationError(CacheError, ValueError):
    """A setting is wrong. The message says what to write instead."""


class NotInitializedError(CacheError, RuntimeError):
    """The cache was used before ``init_app``, or outside a request where it needs one."""


class ColourError(CacheError, TypeError):
    """Something async was given where only sync code can run."""


class InvalidKeyError(CacheError, TypeError, ValueError):
    """A key is no text, or text that cannot be sent to the server. The message names it."""


class SerializationError(CacheError):
    """A value could not be turned into what the backend stores."""


class NotStoredError(CacheError):
    """``refresh(strict=True)`` computed a value that was not stored. The message says why.

    :param value: what was computed.
    """

    def __init__(self, message: str, value: Any) -> None:
        super().__init__(message, value)
        self.value = value

    def __str__(self) -> str:
        return str(self.args[0])


class BackendError(CacheError):
    """The backend failed. The driver's own error is the ``__cause__``."""


class BackendTimeout(BackendError, TimeoutError):
    """The backend did not answer within its time budget."""


class CacheWarning(UserWarning):
    """Something works, but most likely not as its author meant it."""


class AddressKeyWarning(CacheWarning):
    """Something has no text of its own, so that its key finds less than its author may expect."""


def not_initialized(app: object = None) -> NotInitializedError:
    """The error for a cache that knows no app, or not this one."""
    if app is None:
        return NotInitializedError("this cache has no app yet: call cache.init_app(app) first")
    return NotInitializedError(
        f"this cache was not set up for {app!r}: call cache.init_app(app) for it, too"
    )


def outside() -> int:
    """The stack level of the first caller that is not of this package, for a warning."""
    frame: Any = sys._getframe(1)
    level = 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(__package__):
        frame, level = frame.f_back, level + 1
    return level


#: Takes what would be warned of, where somebody only wants to know what a call would do.
overheard: ContextVar[list[str] | None] = ContextVar("flask_caching_async.overheard", default=None)


#: What calls the functions of a user, and is no place to warn of: a view's caller is Flask.
CALLERS = frozenset(
    "flask quart click werkzeug jinja2 asgiref hypercorn asyncio concurrent contextlib contextvars "
    "threading trio anyio gevent".split()
)


def warn(
    message: str,
    category: type[Warning] = CacheWarning,
    at: tuple[str, int] | None = None,
) -> None:
    """Warn the caller of this package.

    :param at: the file and the line of what is warned of, for where a framework is that caller.
    """
    level = outside()
    frame: Any = sys._getframe(level - 1)
    if at is not None and _is_caller(frame):
        warnings.warn_explicit(message, category, *at)
        return
    found = level
    while frame is not None and _is_caller(frame):
        frame, found = frame.f_back, found + 1
    warnings.warn(message, category, stacklevel=level if frame is None else found)


def _is_caller(frame: Any) -> bool:
    """Whether a frame is one of a framework, or of a template, which has no name."""
    return frame.f_globals.get("__name__", "jinja2").partition(".")[0] in CALLERS


def place_of(function: Any) -> tuple[str, int] | None:
    """The file and the line of a function; ``None`` if it has none."""
    inside: Any = function
    while inside is not None:
        function = inside
        partial = isinstance(function, functools.partial)
        inside = function.func if partial else getattr(function, "__wrapped__", None)
    code = getattr(function, "__code__", None)
    return None if code is None else (code.co_filename, code.co_firstlineno)
