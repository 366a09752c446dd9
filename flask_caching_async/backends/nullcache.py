"""The backend that stores nothing."""

from __future__ import annotations

from typing import Any

from ..typing import Config, Timeout, Value
from .base import BaseCache

__all__ = ["NullCache"]


class NullCache(BaseCache):
    """A backend that caches nothing: every read is a miss, and no caller waits for another."""

    blocking = False
    any_text = True

    @classmethod
    def factory(cls, app: object, config: Config, args: list[Any], kwargs: Config) -> NullCache:
        """Build it; no setting matters."""
        return cls()

    def has(self, key: str) -> bool:
        """Never."""
        return False

    def get(self, key: str) -> Value:
        """Always ``None``."""
        return None

    def set(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Do nothing, and say so in no way that would look like an error."""
        return True

    def add(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Do nothing."""
        return True

    def delete(self, key: str) -> bool:
        """Do nothing."""
        return True

    def clear(self) -> bool:
        """Do nothing."""
        return True
