"""The steps of a store over the objects in memory of a :class:`.SimpleCache`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .._entries.entry import MISSING, Entry, Reading
from .._entries.times import Timetable, seconds, timetable
from ..backends._memory.entries import Guard
from ..backends._versioned.contract import Lease
from ..backends.simplecache import SimpleCache
from ..exceptions import SerializationError
from .failures import Failures, Limits

__all__ = ["MemoryStore"]

log = logging.getLogger("flask_caching_async")


class MemoryStore:
    """The steps over the objects of a :class:`.SimpleCache`; none of them suspends."""

    def __init__(self, backend: SimpleCache, raising: Callable[[], bool]) -> None:
        self.backend = backend
        self.memory = backend.memory
        # Memory does not fail; but a value may refuse to be serialized.
        self.failures = Failures(type(backend).__name__, raising, Limits(0), lambda: None)
        self.now = self.later = self

    def clock(self) -> float:
        """Seconds since the epoch."""
        return self.backend.clock()

    def peek(self, key: str) -> Entry | None:
        """The entry of ``key``, without a round trip."""
        return cast("Entry | None", self.memory.peek(key))

    def stands(self, guard: Guard, reading: Reading) -> bool:
        """Whether nothing was invalidated since ``guard`` was taken."""
        return guard.stands()

    def lease(self, key: str, guard: Guard, life: float) -> Lease | None:
        """No other process sees this memory."""
        return None

    async def load(self, key: str, stamps: tuple[str, ...]) -> Reading:
        """Look at a key."""
        kept = self.memory.peek(key)
        if kept is None or self.backend.clock() >= kept.usable_until:
            return Reading(None)
        try:
            value = kept.open()
        except Exception:
            log.warning("%r could not be read back; it counts as missing", key, exc_info=True)
            return Reading(None)
        return Reading(Entry(value, None, kept.created, kept.fresh_until, kept.usable_until))

    async def guard(
        self, key: str, stamps: tuple[str, ...], reading: Reading, life: float
    ) -> Guard:
        """What must still stand when the computation ends."""
        return self.memory.guard(key, stamps)

    async def save(
        self,
        key: str,
        value: Any,
        times: Timetable,
        guard: Guard,
        reading: Reading,
        lease: None,
    ) -> bool | None:
        """Store a computed value if its guard stands; ``None`` if it cannot be stored at all."""
        if times.usable_until <= times.created:
            return None
        try:
            kept, thaw = self.backend.pack(value)
        except SerializationError as error:
            self.failures.note(error, f"store {key!r}")
            return None
        return self.memory.fill(key, kept, thaw, times, guard)

    async def get(self, keys: Sequence[str]) -> list[Any]:
        """The values of several keys, ``MISSING`` where there is none."""
        return [self._value(key) for key in keys]

    def _value(self, key: str) -> Any:
        kept = self.memory.peek(key)
        if kept is None or self.backend.clock() >= kept.usable_until:
            return MISSING
        try:
            return kept.open()
        except Exception:
            log.warning("%r could not be read back; it counts as missing", key, exc_info=True)
            return MISSING

    async def has(self, key: str) -> bool:
        """Whether a living entry exists."""
        return self.backend.has(key)

    async def put(
        self, mapping: Mapping[str, Any], timeout: Any, stamps: tuple[str, ...]
    ) -> list[str]:
        """Set values by hand."""
        items = [(key, *self.backend.pack(value)) for key, value in mapping.items()]
        self.memory.put(items, self._times(timeout), stamps)
        return list(mapping)

    async def add(self, key: str, value: Any, timeout: Any, stamps: tuple[str, ...]) -> bool:
        """Set a value by hand unless there is one."""
        kept, thaw = self.backend.pack(value)
        return self.memory.add(key, kept, thaw, self._times(timeout), stamps)

    def _times(self, timeout: Any) -> Timetable:
        life = seconds(self.backend.default_timeout if timeout is None else timeout)
        return timetable(self.backend.clock(), life or 0)

    async def inc(self, key: str, delta: int) -> int | None:
        """Add to a number."""
        return self.backend.inc(key, delta)

    async def expel(self, keys: Sequence[str], stamps: Sequence[str]) -> list[str] | None:
        """Delete keys and drop stamps; the keys that existed."""
        return self.memory.expel(keys, stamps, self.backend.clock())

    async def clear(self) -> bool:
        """Forget everything."""
        self.memory.clear()
        return True

    async def close(self) -> None:
        """Nothing is held."""
