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

import sys
import warnings
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


def warn(message: str, category: type[Warning] = CacheWarning) -> None:
    """Warn the caller of this package."""
    warnings.warn(message, category, stacklevel=outside())
