"""The steps of a store over the objects in memory of a :class:`.SimpleCache`; none suspends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from .._entries.entry import MISSING, AnyEntry, Entry, Lookup, is_marker
from .._entries.isolation import size_of
from .._entries.times import LONG_AGO, Times
from .._flow.store_protocol import DirectSteps, Inspected, Saved, Store, StoreSteps
from ..backends._memory.entries import ExpectedVersions
from ..backends.simplecache import SimpleCache
from ..events import about
from ..exceptions import SerializationError
from ..stats import BackendStats
from ..typing import Timeout, Value
from .failures import Failures, Limits
from .valid_keys import check_text

__all__ = ["MemoryStore"]

log = logging.getLogger("flask_caching_async")

NOTHING_FOUND = Lookup(None)


class MemoryStore(Store, StoreSteps, DirectSteps):
    """The store over memory, and its steps for both colours."""

    check = staticmethod(check_text)
    quick = None  # there is a shorter way

    def __init__(self, backend: SimpleCache, raising: Callable[[], bool]) -> None:
        self.backend = backend
        self.memory = backend.memory
        # Memory does not fail; but a value may refuse to be serialized.
        self.failures = Failures(backend, raising, Limits(0), lambda: None)
        self.sync = self.aio = self.direct = self
        self.peek = self.memory.peek

    def condition(self) -> BackendStats:
        """How the backend is."""
        return self.failures.condition()

    def clock(self) -> float:
        """Seconds since the epoch."""
        return self.backend.clock()

    def stands(self, expected: ExpectedVersions, lookup: Lookup) -> bool:
        """Whether nothing was invalidated since ``expected`` was read."""
        return expected.stand()

    def lease(self, key: str, expected: ExpectedVersions, life: float) -> None:
        """No other process sees this memory."""

    def for_tenant(self, backend: SimpleCache) -> MemoryStore:
        """Memory has no tenants: its key prefix is no callable."""
        return MemoryStore(backend, self.failures.raising)

    def release_in_background(self, lease: None, shared: bool) -> None:
        """There is no lease."""

    # --- for the flow -----------------------------------------------------------------------------

    async def load(self, key: str, tags: tuple[str, ...]) -> Lookup:
        """Look at a key."""
        return self.load_directly(key, tags)

    def load_directly(self, key: str, tags: tuple[str, ...]) -> Lookup:
        """Look at a key."""
        entry = self.memory.peek(key)
        if entry is None or self.backend.clock() >= entry.usable_until or not entry.answers(tags):
            return NOTHING_FOUND
        if (value := self._read(entry)) is MISSING:
            return NOTHING_FOUND
        return Lookup(Entry(value, None, entry.created, entry.fresh_until, entry.usable_until))

    def _living(self, key: str) -> AnyEntry | None:
        entry = self.memory.peek(key)
        return None if entry is None or self.backend.clock() >= entry.usable_until else entry

    def _read(self, entry: AnyEntry) -> Value:
        try:
            return entry.value()
        except Exception:
            log.warning(
                "a value could not be read back; it counts as missing", exc_info=True,
                extra=about("value_unreadable", **self.failures.place),
            )  # fmt: skip
            return MISSING

    async def expect(
        self, key: str, tags: tuple[str, ...], lookup: Lookup, life: float, forced: bool = False
    ) -> ExpectedVersions:
        """What must still stand when the computation ends."""
        return self.memory.expect(key, tags, forced)

    def expect_directly(self, key: str, tags: tuple[str, ...], forced: bool) -> ExpectedVersions:
        """What must still stand when the computation ends."""
        return self.memory.expect(key, tags, forced)

    async def acquire_lease(
        self, lease: None, key: str, tags: tuple[str, ...]
    ) -> tuple[bool, Lookup | None]:
        """There is no lease."""
        return True, None

    async def unshared(self, lease: None, holder: str) -> bool:
        """There is no lease."""
        return False

    async def release_lease(self, lease: None, shared: bool) -> None:
        """There is no lease."""

    async def save(
        self,
        key: str,
        value: Value,
        times: Times,
        expected: ExpectedVersions,
        lookup: Lookup,
        lease: None,
    ) -> Saved:
        """Store a computed value if ``expected`` stands."""
        return self.save_directly(key, value, times, expected)

    def save_directly(
        self, key: str, value: Value, times: Times, expected: ExpectedVersions
    ) -> Saved:
        """Store a computed value if ``expected`` stands."""
        if times.usable_until <= times.created:
            return "timeout"
        try:
            kept, thaw = self.backend.pack(value)
        except SerializationError as error:
            self.failures.note(error, f"store {key!r}")
            return "unserializable"
        if not self.memory.set_if_current(key, kept, thaw, times, expected):
            return "overtaken"
        return size_of(kept)

    # --- by hand ----------------------------------------------------------------------------------

    async def get(self, keys: Sequence[str]) -> list[Value]:
        """The values of several keys, ``MISSING`` where there is none."""
        return [self.get_directly(key) for key in keys]

    def get_directly(self, key: str, fresh: bool = False) -> Value:
        """The value of a key, ``MISSING`` where there is none, or no fresh one if it must be."""
        memory = self.memory
        try:  # the usual case of Memory.peek: its call is a tenth of a `get`
            entry = memory.entries.get(key)
        except TypeError:  # a dict would not have it
            entry = None
        if entry is not None and (entry.generation != memory.generation or not entry.visited):
            entry = memory.peek(key)
        if (
            entry is None
            or self.backend.clock() >= entry.usable_until
            or entry.fresh_until == LONG_AGO  # a marker: `is_marker` without a call
        ):
            check_text((key,))  # only here: what is found was set under a text
            return MISSING
        if fresh and self.backend.clock() >= entry.fresh_until:
            return MISSING
        return entry.kept if entry.thaw is None else self._read(entry)

    async def has(self, key: str) -> bool:
        """Whether a living entry exists."""
        check_text((key,))
        entry = self.memory.peek(key)
        return self.backend.has(key) and (entry is None or not is_marker(entry))

    async def set_many(
        self, mapping: Mapping[str, Value], timeout: Timeout | None, tags: tuple[str, ...]
    ) -> list[str]:
        """Set values by hand."""
        return self.set_directly(mapping, timeout, tags)

    def set_directly(
        self, mapping: Mapping[str, Value], timeout: Timeout | None, tags: tuple[str, ...]
    ) -> list[str]:
        """Set values by hand."""
        check_text(mapping)
        pack = self.backend.pack
        items = [(key, *pack(value)) for key, value in mapping.items()]
        self.memory.set_and_supersede(items, self.backend.times(timeout), tags)
        return list(mapping)

    def set_one_directly(self, key: str, value: Value, timeout: Timeout | None) -> bool:
        """Set a value without tags by hand."""
        if type(key) is not str:
            check_text((key,))
        return self.backend.set(key, value, timeout)

    async def add(
        self, key: str, value: Value, timeout: Timeout | None, tags: tuple[str, ...]
    ) -> bool:
        """Set a value by hand unless there is one."""
        check_text((key,))
        kept, thaw = self.backend.pack(value)
        return self.memory.add(key, kept, thaw, self.backend.times(timeout), tags)

    async def touch(self, key: str, timeout: Timeout | None) -> bool:
        """Let a living entry live anew."""
        check_text((key,))
        return self.memory.touch(key, self.backend.times(timeout))

    async def inc(self, key: str, delta: int) -> int | None:
        """Add to a number."""
        check_text((key,))
        try:
            return self.backend.inc(key, delta)
        except TypeError as error:  # one of the two is no number
            raise SerializationError(f"cannot count {key!r}: {error}") from error

    async def invalidate(self, keys: Sequence[str], tags: Sequence[str]) -> list[str] | None:
        """Delete keys and drop the versions of tags; the keys that existed."""
        check_text(keys)
        return self.memory.invalidate(keys, tags, self.backend.clock())

    async def clear(self) -> bool:
        """Forget everything."""
        self.memory.clear()
        return True

    async def inspect(self, key: str, tags: tuple[str, ...]) -> Inspected:
        """Look at what stands under a key."""
        entry = self.memory.look(key)
        if entry is None:
            return Inspected(None, "absent")
        carried = tuple([version.name for version in entry.versions])
        dead = tuple([version.name for version in entry.versions if version.dead])
        why, gone = "invalidated" if dead else "", dead
        if not dead and not entry.answers(tags):
            why, gone = "other", tuple([tag for tag in tags if tag not in carried])
        if not why and self.backend.clock() >= entry.usable_until:
            why = "expired"
        return Inspected(entry, why, carried, gone, size_of(entry.kept))

    async def replay(self) -> bool:
        """Nothing is ever pending."""
        return True

    async def close(self) -> None:
        """Nothing is held."""
