"""Backends by name; each is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .base import BaseCache

if TYPE_CHECKING:
    from .filesystemcache import FileSystemCache
    from .nullcache import NullCache
    from .simplecache import SimpleCache

__all__ = ["BaseCache", "FileSystemCache", "NullCache", "SimpleCache"]

#: What ``CACHE_TYPE`` may name, and where it is.
NAMES = {
    "NullCache": "nullcache",
    "SimpleCache": "simplecache",
    "FileSystemCache": "filesystemcache",
}


def __getattr__(name: str) -> Any:
    if name in NAMES:
        return getattr(importlib.import_module(f"{__name__}.{NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
