"""The steps of a store whose versions are tokens under names of their own, over any backend.

An entry and its tag versions are read in one round trip. Whatever the backend raises ends here, in
:class:`.Failures`. An invalidation that fails is pending, and made before anything else is done.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .._entries.entry import MISSING, Entry, Lookup
from .._entries.envelope import is_entry, pack, unpack
from .._entries.times import NEVER, Times, seconds, times_from
from .._flow.store_protocol import StoreSteps
from ..backends._versioned.contract import (
    NAMESPACE,
    Lease,
    Operations,
    VersionedValue,
    key_version_name,
)
from ..backends.base import BaseCache
from ..exceptions import BackendError, SerializationError
from ..typing import Value
from .failures import Attempts, Failures
from .pending_invalidations import PendingInvalidations

__all__ = ["Expected", "VersionedSteps"]

log = logging.getLogger("flask_caching_async")

#: The shortest life of a tag version in seconds. One that ends before its entries costs a
#: recomputation.
VERSION_LIFE = 30 * 24 * 3600
#: What is found where the backend fails, or is left alone.
FAILED = Lookup(None, None, True)

#: What must still stand for a value to be stored: the version of its key, and those of its tags.
Expected = tuple[Any, dict[str, str]]


class VersionedSteps(Attempts, StoreSteps):
    """The steps in one colour; see :class:`.StoreSteps`.

    :param ops: the backend's operations in that colour.
    :param pending: invalidations that could not be made yet.
    """

    def __init__(
        self,
        backend: BaseCache,
        ops: Operations,
        failures: Failures,
        pending: PendingInvalidations,
    ) -> None:
        super().__init__(ops, failures, pending)
        self.backend = backend
        self.names_key_version = backend.entries_name_key_version()

    # --- for the flow -----------------------------------------------------------------------------

    async def load(self, key: str, tags: tuple[str, ...]) -> Lookup:
        """Look at a key and its tag versions, in one round trip."""
        if (self.breaker.is_open or self.pending) and not await self._ready("read"):
            return FAILED
        tags = (NAMESPACE, *tags)
        try:
            lookup = await self._lookup(key, tags, await self.ops.look_up(key, tags))
        except Exception as error:
            self.failures.note(error, f"read {key!r}")
            return FAILED
        self.failures.fine()
        return lookup

    async def _lookup(self, key: str, tags: tuple[str, ...], found: VersionedValue) -> Lookup:
        """What was found, as the flow wants to have it."""
        seen = dict(zip(tags, found.tag_versions, strict=True))
        entry = None
        if found.value is not None:
            known = {**seen, key_version_name(key): found.key_version}
            entry = await self._entry(key, found.value, known)
        return Lookup(entry, (found.key_version, seen), False, found.cas)

    async def _entry(self, key: str, raw: Value, seen: dict[str, str | None]) -> Entry | None:
        """The living entry in what was read."""
        entry, versions = unpack(raw)
        if entry is None or entry.usable_until <= self.backend.clock():
            return None
        unseen = [name for name in versions if name not in seen]
        if unseen:
            more = await self.ops.look_up(key, unseen)
            seen = {**seen, **dict(zip(unseen, more.tag_versions, strict=True))}
        return entry if all(seen[name] == token for name, token in versions.items()) else None

    async def expect(
        self, key: str, tags: tuple[str, ...], lookup: Lookup, life: float
    ) -> Expected | None:
        """The versions of the key and its tags; one that is missing is created, not guessed."""
        if lookup.seen is None:
            return None
        key_version, seen = lookup.seen
        tags = (NAMESPACE, *tags)
        versions = {tag: version for tag in tags if (version := seen.get(tag)) is not None}
        missing = [tag for tag in tags if tag not in versions]
        if missing:
            doing, ensuring = f"create versions for {key!r}", self.ops.ensure_versions
            created = await self._attempt(doing, None, ensuring, missing, version_life(life))
            if created is None:
                return None
            versions.update(zip(missing, created, strict=True))
        return None if None in versions.values() else (key_version, versions)

    async def acquire_lease(
        self, lease: Lease, key: str, tags: tuple[str, ...]
    ) -> tuple[bool, Lookup | None]:
        """Try once for a lease, and look at its key.

        A look that fails is one of a failed backend; then the lease is given back, if it was had.
        """
        tags = (NAMESPACE, *tags)
        acquiring = self.ops.acquire_lease
        found = await self._attempt(f"lease {key!r}", None, acquiring, lease, key, tags)
        if found is None:
            return False, FAILED
        taken, look = found
        try:
            if taken and lease.abandoned:  # by a cancelled task, while this thread took it
                await self.release_lease(lease, True)
            if look is None:
                lookup = await self.load(key, tags[1:]) if taken else None
            else:
                doing, looking = f"read {key!r}", self._lookup
                lookup = await self._attempt(doing, FAILED, looking, key, tags, look)
        except BaseException:
            if taken:
                lease.forsake()
            raise
        if taken and lookup is not None and lookup.failed:
            await self.release_lease(lease, True)
            taken = False
        return taken, lookup

    async def unshared(self, lease: Lease, holder: str) -> bool:
        """Whether ``holder`` had a value that no other caller may have."""
        return lease.unshared(holder)

    async def release_lease(self, lease: Lease, shared: bool) -> None:
        """Give a lease back."""
        if self.breaker.is_open:
            lease.forsake()
            return
        try:
            await self.ops.release_lease(lease, shared)
        except BaseException as error:
            lease.forsake()
            if not isinstance(error, Exception):
                raise
            log.debug("a lease could not be given back, and ends by itself: %r", error)

    async def save(
        self,
        key: str,
        value: Value,
        times: Times,
        expected: Expected,
        lookup: Lookup,
        lease: Lease | None,
    ) -> bool | None:
        """Store a computed value if the expected versions stand, and give the lease back.

        ``None`` if it cannot be stored at all; then the lease is still held.
        """
        key_version, tag_versions = expected
        if times.usable_until <= times.created:
            return None
        named = tag_versions
        if self.names_key_version:
            named = {**tag_versions, key_version_name(key): key_version}
        entry, life = pack(value, times, named), math.ceil(times.life)
        what = (key, entry, life, key_version, tag_versions, lookup.cas)
        doing = f"store {key!r}"
        try:
            if lease is None:
                stored = await self._attempt(doing, None, self.ops.set_if_current, *what)
            else:
                stored = await self._attempt(doing, None, self.ops.set_and_release, lease, *what)
        except SerializationError as error:
            self.failures.note(error, doing)
            return None
        if stored is None and lease is not None:
            lease.failed = True
        return None if stored is None else bool(stored)

    # --- by hand ----------------------------------------------------------------------------------

    async def get(self, keys: Sequence[str]) -> list[Value]:
        """The values of several keys; those with tag versions cost one more trip."""
        nothing: list[Value] = [MISSING] * len(keys)
        return await self._attempt(f"read {list(keys)!r}", nothing, self._get, keys)

    async def _get(self, keys: Sequence[str]) -> list[Value]:
        raws = await self.ops.get_many(*keys)
        now = self.backend.clock()
        found = [(None, {}) if raw is None else unpack(raw) for raw in raws]
        names = list({name for _, versions in found for name in versions})
        seen: dict[str, str | None] = {}
        if names:
            look = await self.ops.look_up(keys[0], names)
            seen = dict(zip(names, look.tag_versions, strict=True))
        return [
            entry.value()
            if entry is not None
            and now < entry.usable_until
            and all(seen[name] == token for name, token in versions.items())
            else MISSING
            for entry, versions in found
        ]

    async def has(self, key: str) -> bool:
        """Whether a living entry exists, be its value ``None``."""
        if (await self.get((key,)))[0] is not MISSING:
            return True
        return bool(await self._attempt(f"read {key!r}", False, self._has_none, key))

    async def _has_none(self, key: str) -> bool:
        # A stored None cannot be told from nothing by reading; a dead entry can.
        found = await self.ops.look_up(key)
        return found.value is None and bool(await self.ops.has(key))

    async def set_many(
        self, mapping: Mapping[str, Value], timeout: Any, tags: tuple[str, ...]
    ) -> list[str]:
        """Set values by hand: plainly, or as entries where they carry tags."""
        doing, life = f"store {list(mapping)!r}", seconds(timeout)
        try:
            stored = await self._attempt(doing, None, self._set_many, mapping, life, tags)
        except BackendError:
            self.pending.add(mapping)
            raise
        if stored is None:
            # Whatever was there is not what was set, so it must not be served any more.
            self.pending.add(mapping)
            return []
        self.pending.forget(stored)
        return stored

    async def _set_many(
        self, mapping: Mapping[str, Value], life: float | None, tags: tuple[str, ...]
    ) -> list[str]:
        if life is not None and life < 0:  # over before it began
            await self.ops.invalidate(list(mapping), [])
            return list(mapping)
        if tags:
            mapping = await self._tagged(mapping, life, tags)
        return await self.ops.set_and_supersede(mapping, life)

    async def _tagged(
        self, mapping: Mapping[str, Value], life: float | None, tags: tuple[str, ...]
    ) -> Mapping[str, Value]:
        """Values as entries that die with their tags."""
        tags = (NAMESPACE, *tags)
        whole = seconds(self.backend.default_timeout if life is None else life) or 0
        versions = await self.ops.ensure_versions(tags, version_life(whole))
        named = dict(zip(tags, versions, strict=True))
        times = times_from(self.backend.clock(), whole)
        return {key: pack(value, times, named) for key, value in mapping.items()}

    async def add(self, key: str, value: Value, timeout: Any, tags: tuple[str, ...]) -> bool:
        """Set a value by hand unless there is one."""
        life = seconds(timeout)
        if life is not None and life < 0:  # over before it began
            return not await self.has(key)
        return await self._attempt(f"store {key!r}", False, self._add, key, value, life, tags)

    async def _add(self, key: str, value: Value, life: float | None, tags: tuple[str, ...]) -> bool:
        raw = (await self.ops.get_many(key))[0]
        if raw is not None and is_entry(raw) and (await self._get((key,)))[0] is MISSING:
            await self.ops.invalidate((key,))  # a dead entry is nothing
        if tags:
            value = (await self._tagged({key: value}, life, tags))[key]
        return bool(await self.ops.add(key, value, life))

    async def inc(self, key: str, delta: int) -> int | None:
        """Add to a number."""
        return await self._attempt(f"count {key!r}", None, self.ops.inc, key, delta)

    async def invalidate(self, keys: Sequence[str], tags: Sequence[str]) -> list[str] | None:
        """Delete keys and drop the versions of tags; the keys that existed.

        ``None`` if it could not be done: then it will be, before anything is read again.
        """
        keys, tags = list(keys), list(tags)
        if self.breaker.is_open:
            self._defer(keys, tags)
            self.failures.refuse(f"delete {keys!r}")
            return None
        try:
            existed = await self.ops.invalidate(keys, tags)
        except BaseException as error:  # cancelled: nobody can tell how far it came
            self._defer(keys, tags)
            if not isinstance(error, Exception):
                raise
            self.failures.note(error, f"delete {keys!r}")
            return None
        self.failures.fine()
        return existed

    def _defer(self, keys: Sequence[str], tags: Sequence[str]) -> None:
        if not self.pending:  # one line, however much follows
            names = [*keys, *tags]
            log.error("%s could not be deleted; that is made up for before the next read", names)
        self.pending.add(keys, tags)

    async def clear(self) -> bool:
        """Invalidate everything, and remove what can be listed."""
        if self.breaker.is_open:
            self.pending.add_everything()
            self.failures.refuse("clear")
            return False
        try:
            return bool(await self._clear())
        except BaseException as error:
            self.pending.add_everything()
            if not isinstance(error, Exception):
                raise
            self.failures.note(error, "clear")
            return False

    async def close(self) -> None:
        """Release what the backend holds."""
        await self.ops.close()


def version_life(life: float) -> int:
    """Seconds that a tag version must live for entries that live ``life`` seconds."""
    return 0 if life in (0, NEVER) else max(VERSION_LIFE, math.ceil(life) * 2)
