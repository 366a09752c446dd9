"""Backends that were not written for this package: cachelib's, or any with ``get`` and ``set``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from .._entries.envelope import is_entry
from .._entries.times import whole_seconds
from ..typing import Timeout, Value
from ._versioned.defaults import named_by
from .base import BaseCache

__all__ = ["ForeignCache"]


class ForeignCache(BaseCache):
    """Gives a foreign backend what ours have: both colours and the versioned operations.

    :param target: the backend; it stays what users see in ``app.extensions["cache"]``.
    """

    def __init__(self, target: Any) -> None:
        super().__init__(
            getattr(target, "default_timeout", 300),
            getattr(target, "ignore_delete_many_errors", False),
        )
        self.target = target

    def get(self, key: str) -> Value:
        """The value of ``key``; what cannot be decoded is missing."""
        return self.get_many(key)[0]

    def get_many(self, *keys: str) -> list[Value]:
        """The values of ``keys``. One that cannot be decoded does not hide the others."""
        try:
            return list(self.target.get_many(*keys))
        except Exception:
            found: list[Value] = []
            failed = 0
            for key in keys:
                value = None
                try:
                    value = self.target.get(key)
                except Exception:
                    failed += 1
                found.append(value)
            if failed == len(keys) and not self._answers():
                raise
            return found

    def _answers(self) -> bool:
        """Whether the backend works at all: a key that was never stored is not undecodable."""
        with contextlib.suppress(Exception):
            self.target.get("~nothing~")
            return True
        return False

    def has(self, key: str) -> bool:
        """Whether the key exists."""
        return bool(self.target.has(key)) if hasattr(self.target, "has") else super().has(key)

    def set(self, key: str, value: Value, timeout: Timeout | None = None) -> bool | None:
        """Store a value."""
        return self.target.set(key, value, timeout=whole_seconds(timeout))  # type: ignore[no-any-return]

    def set_many(self, mapping: Mapping[str, Value], timeout: Timeout | None = None) -> list[str]:
        """Store several values."""
        stored = self.target.set_many(mapping, timeout=whole_seconds(timeout))
        return named_by(stored, mapping)

    def add(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store a value unless the key exists."""
        life = whole_seconds(timeout)
        if self.target.add(key, value, timeout=life):
            return True
        if not self._unreadable(key):
            return False
        self.target.delete(key)
        return bool(self.target.add(key, value, timeout=life))

    def _unreadable(self, key: str) -> bool:
        """Whether something is under ``key`` that cannot be decoded; it is as good as nothing."""
        try:
            return self.target.get(key) is None and not self.has(key)
        except Exception:
            return self._answers()

    def delete(self, key: str) -> bool:
        """Delete a key."""
        return bool(self.target.delete(key))

    def delete_many(self, *keys: str) -> list[str]:
        """Delete several keys."""
        return named_by(self.target.delete_many(*keys), keys)

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to a number, as the backend does it."""
        return self._count("inc", key, delta)

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract from a number, as the backend does it."""
        return self._count("dec", key, delta)

    def _count(self, name: str, key: str, delta: int) -> int | None:
        total: int | None
        try:
            total = getattr(self.target, name)(key, delta)
        except Exception:
            if not is_entry(self.get(key)):
                raise
            total = getattr(super(), name)(key, delta)  # it has tags
        return total

    def clear(self) -> bool:
        """Drop everything, as the backend does it."""
        return bool(self.target.clear())

    def unlink(self, *keys: str) -> list[str]:
        """Delete several keys without waiting for their memory, where the backend can."""
        unlink: Any = getattr(self.target, "unlink", self.target.delete_many)
        return named_by(unlink(*keys), keys)

    def is_timeout(self, error: BaseException) -> bool:
        """Whether a driver gave up waiting; redis-py has an error of its own for that."""
        redis: Any = sys.modules.get("redis.exceptions")
        return super().is_timeout(error) or bool(redis and isinstance(error, redis.TimeoutError))

    def close(self) -> None:
        """Release what the backend holds, if it knows how."""
        close = getattr(self.target, "close", None)
        if callable(close):
            close()
