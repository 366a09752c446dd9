"""Which store a backend gets."""

from __future__ import annotations

from collections.abc import Callable

from ..backends.base import BaseCache
from ..backends.simplecache import SimpleCache
from .dispatch import VersionedStore
from .failures import Limits
from .memory import MemoryStore
from .sharded import ShardedStore


def open_store(
    backend: BaseCache, raising: Callable[[], bool], limits: Limits | None = None
) -> MemoryStore | VersionedStore:
    """The store for a backend.

    :param raising: whether a failing backend raises :class:`.BackendError`.
    :param limits: when a failing backend is left alone.
    """
    if isinstance(backend, SimpleCache) and not _overridden(type(backend)):
        return MemoryStore(backend, raising)
    limits = limits or Limits()
    if len(backend.shards()) > 1:
        return ShardedStore(backend, raising, limits)
    return VersionedStore(backend, raising, limits)


def _overridden(kind: type) -> bool:
    """Whether a subclass of SimpleCache has its own idea of get or set, which must count."""
    names = (
        "get",
        "set",
        "add",
        "has",
        "delete",
        "get_many",
        "set_many",
        "delete_many",
        "clear",
        "inc",
    )
    return any(getattr(kind, name) is not getattr(SimpleCache, name) for name in names)
