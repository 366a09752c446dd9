"""The memory of this process as a backend."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from cachelib.serializers import BaseSerializer, SimpleSerializer

from .._entries.entry import Thaw
from .._entries.envelope import decode, encode
from .._entries.isolation import IMMUTABLE, keep
from .._entries.times import FOREVER, Times, seconds, times_from
from .._runtime.fork import forgets_parent
from ..exceptions import ConfigurationError, SerializationError
from ..typing import Config, Timeout, Value
from ._memory.entries import Memory
from .base import BaseCache

__all__ = ["SimpleCache"]


class SimpleCache(BaseCache):
    """Keeps objects in the memory of this process. Safe in any mix of threads and event loops.

    Immutable values are kept as they are; others are isolated, so that no caller can mutate what
    the cache holds. With a serializer of yours, every value goes through it instead.

    :param threshold: the most entries that are kept (0: no bound). What is evicted first is what
        has expired, then what has not been asked for lately; see ``_memory/eviction.py``.
    :param default_timeout: seconds that :meth:`set` uses when it is given no timeout; 0 never
        expires.
    :param ignore_errors: deprecated name of ``ignore_delete_many_errors``.
    """

    blocking = False
    any_text = True

    def __init__(
        self,
        threshold: int = 500,
        default_timeout: Timeout = 300,
        ignore_delete_many_errors: bool = False,
        ignore_errors: bool | None = None,
    ) -> None:
        if ignore_errors is not None:
            warnings.warn(
                "'ignore_errors' is deprecated; say 'ignore_delete_many_errors' instead.",
                DeprecationWarning,
                stacklevel=2,
            )
            ignore_delete_many_errors = ignore_errors
        super().__init__(default_timeout, ignore_delete_many_errors)
        if not isinstance(threshold, int) or threshold < 0:
            raise ConfigurationError(
                f"CACHE_THRESHOLD must be a number of entries, or 0 for no bound, not {threshold!r}"
            )
        #: Turns values into bytes where it is not cachelib's default one.
        self.serializer: BaseSerializer = SimpleSerializer()
        self.memory = Memory(threshold)
        forgets_parent(self.memory)

    @classmethod
    def factory(cls, app: object, config: Config, args: list[Any], kwargs: Config) -> SimpleCache:
        """Build it with ``CACHE_THRESHOLD``; ``CACHE_OPTIONS`` wins."""
        return cls(*args, **{"threshold": config["CACHE_THRESHOLD"], **kwargs})

    def pack(self, value: Value) -> tuple[Value, Thaw | None]:
        """What is kept for a value, and how it is read back.

        :raises SerializationError: if the value cannot be stored.
        """
        serializer = self.serializer
        if type(serializer) is SimpleSerializer:
            return (value, None) if type(value) in IMMUTABLE else keep(value)
        kind, parts = encode(value)  # the serializer may know no more than JSON does
        try:
            data = serializer.dumps(parts)
        except Exception as error:  # a serializer raises what it likes
            raise SerializationError(
                f"{type(value).__qualname__} cannot be stored: {error}"
            ) from error
        if data is None:
            raise SerializationError(f"{type(value).__qualname__} cannot be stored")
        if not kind:
            return data, serializer.loads
        return data, lambda data: decode(kind, serializer.loads(data))

    def times(self, timeout: Timeout | None) -> Times:
        """The times of a value that is set now; ``None`` is the default timeout."""
        life = self.default_timeout if timeout is None else timeout
        if type(life) is not int or life > FOREVER:
            life = seconds(life) or 0
        return times_from(self.clock(), life)

    def get(self, key: str) -> Value:
        """The value of ``key``, or ``None``."""
        entry = self.memory.peek(key)
        if entry is None or self.clock() >= entry.usable_until:
            return None
        try:
            return entry.value()
        except Exception:  # what cannot be read back was never stored
            return None

    def has(self, key: str) -> bool:
        """Whether there is a living entry, be its value ``None``."""
        entry = self.memory.peek(key)
        return entry is not None and self.clock() < entry.usable_until

    def set(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store a value; whatever computes the same key right now will not overwrite it."""
        # The usual cases of what pack() and times() do: two calls are a sixth of the time.
        if type(self.serializer) is SimpleSerializer:
            kept, thaw = (value, None) if type(value) in IMMUTABLE else keep(value)
        else:
            kept, thaw = self.pack(value)
        life = self.default_timeout if timeout is None else timeout
        if type(life) is int and 0 < life <= FOREVER:
            until = (now := self.clock()) + life
        else:
            now, until, _ = self.times(timeout)
        self.memory.set_one(key, kept, thaw, now, until)
        return True

    def set_many(self, mapping: Mapping[str, Value], timeout: Timeout | None = None) -> list[str]:
        """Store several values; none of them if one cannot be stored."""
        items = [(key, *self.pack(value)) for key, value in mapping.items()]
        self.memory.set_and_supersede(items, self.times(timeout))
        return list(mapping)

    def add(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store a value unless the key has one."""
        return self.memory.add(key, *self.pack(value), self.times(timeout))

    def delete(self, key: str) -> bool:
        """Delete a key; whether it existed."""
        return bool(self.memory.invalidate((key,), (), self.clock()))

    def delete_many(self, *keys: str) -> list[str]:
        """Delete several keys; those that never existed count as deleted."""
        self.memory.invalidate(keys, (), self.clock())
        return list(keys)

    def inc(self, key: str, delta: int = 1) -> int:
        """Add to the number under ``key``, atomically; its time runs on."""
        return self.memory.update(key, lambda old: (old or 0) + delta, self.times(None))  # type: ignore[no-any-return]

    def ping(self) -> str:
        """Memory answers."""
        return ""

    def clear(self) -> bool:
        """Forget everything."""
        self.memory.clear()
        return True
