"""Caching for sync Flask views, async Flask views and Quart, with one ``Cache``."""

from __future__ import annotations

import hashlib
from typing import Any

from ._frameworks.flask import CachedResponse
from .cache import Cache
from .exceptions import (
    AddressKeyWarning,
    BackendError,
    BackendTimeout,
    CacheError,
    CacheWarning,
    ColourError,
    ConfigurationError,
    InvalidKeyError,
    NotInitializedError,
    NotStoredError,
    SerializationError,
)
from .insight.explanation import Explanation, Reason, StoredEntry
from .insight.health import Health
from .keys import function_namespace, make_template_fragment_key
from .pages.purging import Invalidated
from .signals import cache_memoize_hit, cache_memoize_miss, cache_view_hit, cache_view_miss
from .stats import Stats

__all__ = [
    "SUPPORTED_HASH_FUNCTIONS",
    "AddressKeyWarning",
    "BackendError",
    "BackendTimeout",
    "Cache",
    "CacheError",
    "CacheWarning",
    "CachedResponse",
    "ColourError",
    "ConfigurationError",
    "Explanation",
    "Health",
    "InvalidKeyError",
    "Invalidated",
    "NotInitializedError",
    "NotStoredError",
    "Reason",
    "SerializationError",
    "Stats",
    "StoredEntry",
    "cache_memoize_hit",
    "cache_memoize_miss",
    "cache_view_hit",
    "cache_view_miss",
    "function_namespace",
    "make_template_fragment_key",
]

#: Hash methods that are known to work for keys.
SUPPORTED_HASH_FUNCTIONS = [
    hashlib.sha1,
    hashlib.sha224,
    hashlib.sha256,
    hashlib.sha384,
    hashlib.sha512,
    hashlib.md5,
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("flask-caching-async")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
