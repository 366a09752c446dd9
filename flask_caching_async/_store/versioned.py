"""The steps of a store whose stamps are tokens under names of their own, over any backend.

An entry and its stamps are read in one round trip. Whatever the backend raises ends here, in
:class:`.Failures`. An invalidation that fails is owed, and made before anything else is done.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from .._entries.entry import MISSING, Entry, Reading
from .._entries.envelope import is_entry, pack, unpack
from .._entries.times import NEVER, Timetable, seconds, timetable
from ..backends._versioned.contract import Lease, Snapshot, tomb
from ..backends.base import BaseCache
from ..exceptions import BackendError, SerializationError
from .failures import SPACE, Attempts, Failures
from .pending_invalidations import Owed

__all__ = ["TokenSteps"]

log = logging.getLogger("flask_caching_async")

#: The shortest life of a stamp in seconds. One that ends before its entries costs a recomputation.
STAMP_LIFE = 30 * 24 * 3600
#: What is found where the backend fails, or is left alone.
FAILED = Reading(None, None, True)


class TokenSteps(Attempts):
    """See ``store.py``.

    :param face: the backend's operations as coroutines, in one colour.
    :param owed: invalidations that could not be made yet.
    """

    def __init__(self, backend: BaseCache, face: Any, failures: Failures, owed: Owed) -> None:
        super().__init__(face, failures, owed)
        self.backend = backend
        self.marked = backend.marks_entries()

    # --- for the flow -----------------------------------------------------------------------------

    async def load(self, key: str, stamps: tuple[str, ...]) -> Reading:
        """Look at a key and its stamps, in one round trip."""
        if (self.breaker.open or self.owed) and not await self._ready("read"):
            return FAILED
        names = (SPACE, *stamps)
        try:
            reading = await self._reading(key, names, await self.face.read(key, names))
        except Exception as error:
            self.failures.note(error, f"read {key!r}")
            return FAILED
        self.failures.fine()
        return reading

    async def _reading(self, key: str, names: tuple[str, ...], found: Snapshot) -> Reading:
        """What was found, as the flow wants to have it."""
        seen = dict(zip(names, found.stamps, strict=True))
        entry = None
        if found.value is not None:
            entry = await self._entry(key, found.value, {**seen, tomb(key): found.mark})
        return Reading(entry, (found.mark, seen), False, found.version)

    async def _entry(self, key: str, raw: Any, seen: dict[str, str | None]) -> Entry | None:
        """The living entry in what was read."""
        entry, tied = unpack(raw)
        if entry is None or entry.usable_until <= self.backend.clock():
            return None
        unseen = [name for name in tied if name not in seen]
        if unseen:
            more: Snapshot = await self.face.read(key, unseen)
            seen = {**seen, **dict(zip(unseen, more.stamps, strict=True))}
        return entry if all(seen[name] == token for name, token in tied.items()) else None

    async def guard(self, key: str, stamps: tuple[str, ...], reading: Reading, life: float) -> Any:
        """The key's mark and all stamps; stamps that are missing are created, not guessed."""
        if reading.seen is None:
            return None
        mark, seen = reading.seen
        names = (SPACE, *stamps)
        missing = [name for name in names if seen.get(name) is None]
        tokens = {name: seen[name] for name in names if seen.get(name) is not None}
        if missing:
            doing = f"stamp {key!r}"
            created = await self._attempt(doing, None, self.face.ensure, missing, stamp_life(life))
            if created is None:
                return None
            tokens.update(zip(missing, created, strict=True))
        return None if None in tokens.values() else (mark, tokens)

    async def claim(
        self, lease: Lease, key: str, stamps: tuple[str, ...]
    ) -> tuple[bool, Reading | None]:
        """Try once for a lease, and look at its key; a failed look is one of a failed backend."""
        names = (SPACE, *stamps)
        claiming = self.face.claim
        found = await self._attempt(f"lease {key!r}", None, claiming, lease, key, names)
        if found is None:
            return False, FAILED
        taken, look = found
        if taken and lease.abandoned:  # by a cancelled task, while this thread took it
            await self.release(lease, True)
        if look is None:
            return taken, await self.load(key, stamps) if taken else None
        reading = await self._attempt(f"read {key!r}", FAILED, self._reading, key, names, look)
        return taken, reading

    async def unshared(self, lease: Lease, holder: str) -> bool:
        """Whether ``holder`` had a value that nobody else may have."""
        return lease.unshared(holder)

    async def release(self, lease: Lease, shared: bool) -> None:
        """Give a lease back."""
        if self.breaker.open:
            return  # it ends by itself
        try:
            await self.face.release(lease, shared)
        except Exception as error:
            log.debug("a lease could not be given back, and ends by itself: %r", error)

    async def save(
        self,
        key: str,
        value: Any,
        times: Timetable,
        guard: Any,
        reading: Reading,
        lease: Lease | None,
    ) -> bool | None:
        """Store a computed value if its guard stands, and give the lease back.

        ``None`` if it cannot be stored at all; then the lease is still held.
        """
        mark, stamps = guard
        if times.usable_until <= times.created:
            return None
        tied = {**stamps, tomb(key): mark} if self.marked else stamps
        entry, life = pack(value, times, tied), math.ceil(times.life)
        what: tuple[Any, ...] = (key, entry, life, mark, stamps, reading.version)
        step = self.face.fill if lease is None else self.face.deliver
        what = what if lease is None else (lease, *what)
        try:
            stored = await self._attempt(f"store {key!r}", None, step, *what)
        except SerializationError as error:
            self.failures.note(error, f"store {key!r}")
            return None
        if stored is None and lease is not None:
            lease.failed = True
        return None if stored is None else bool(stored)

    # --- by hand ----------------------------------------------------------------------------------

    async def get(self, keys: Sequence[str]) -> list[Any]:
        """The values of several keys; stamps are honoured (one more trip where there are any)."""
        nothing = [MISSING] * len(keys)
        found = await self._attempt(f"read {list(keys)!r}", nothing, self._get, keys)
        return cast("list[Any]", found)

    async def _get(self, keys: Sequence[str]) -> list[Any]:
        raws = await self.face.get_many(*keys)
        now = self.backend.clock()
        found = [(None, {}) if raw is None else unpack(raw) for raw in raws]
        names = list({name for _, tied in found for name in tied})
        seen: dict[str, str | None] = {}
        if names:
            look: Snapshot = await self.face.read(keys[0], names)
            seen = dict(zip(names, look.stamps, strict=True))
        return [
            entry.open()
            if entry is not None
            and now < entry.usable_until
            and all(seen[name] == token for name, token in tied.items())
            else MISSING
            for entry, tied in found
        ]

    async def has(self, key: str) -> bool:
        """Whether a living entry exists, be its value ``None``."""
        if (await self.get((key,)))[0] is not MISSING:
            return True
        return bool(await self._attempt(f"read {key!r}", False, self._has_none, key))

    async def _has_none(self, key: str) -> bool:
        # A stored None cannot be told from nothing by reading; a dead entry can.
        found: Snapshot = await self.face.read(key)
        return found.value is None and bool(await self.face.has(key))

    async def put(
        self, mapping: Mapping[str, Any], timeout: Any, stamps: tuple[str, ...]
    ) -> list[str]:
        """Set values by hand: plainly, or as entries where they carry tags."""
        doing = f"store {list(mapping)!r}"
        try:
            stored = await self._attempt(doing, None, self._put, mapping, seconds(timeout), stamps)
        except BackendError:
            self.owed.add(mapping)
            raise
        if stored is None:
            # Whatever was there is not what was set, so it must not be served any more.
            self.owed.add(mapping)
            return []
        self.owed.forget(stored)
        return cast("list[str]", stored)

    async def _put(
        self, mapping: Mapping[str, Any], life: float | None, stamps: tuple[str, ...]
    ) -> list[str]:
        if life is not None and life < 0:  # over before it began
            await self.face.expel(list(mapping), [])
            return list(mapping)
        if stamps:
            mapping = await self._tied(mapping, life, stamps)
        return cast("list[str]", await self.face.put(mapping, life))

    async def _tied(
        self, mapping: Mapping[str, Any], life: float | None, stamps: tuple[str, ...]
    ) -> Mapping[str, Any]:
        """Values as entries that die with their tags."""
        names = (SPACE, *stamps)
        whole = seconds(self.backend.default_timeout if life is None else life) or 0
        tokens = await self.face.ensure(names, stamp_life(whole))
        tied = dict(zip(names, tokens, strict=True))
        times = timetable(self.backend.clock(), whole)
        return {key: pack(value, times, tied) for key, value in mapping.items()}

    async def add(self, key: str, value: Any, timeout: Any, stamps: tuple[str, ...]) -> bool:
        """Set a value by hand unless there is one."""
        life = seconds(timeout)
        if life is not None and life < 0:  # over before it began
            return not await self.has(key)
        what = (key, value, life, stamps)
        return bool(await self._attempt(f"store {key!r}", False, self._add, *what))

    async def _add(self, key: str, value: Any, life: float | None, stamps: tuple[str, ...]) -> bool:
        raw = (await self.face.get_many(key))[0]
        if raw is not None and is_entry(raw) and (await self._get((key,)))[0] is MISSING:
            await self.face.expel((key,))  # a dead entry is nothing
        if stamps:
            value = (await self._tied({key: value}, life, stamps))[key]
        return bool(await self.face.add(key, value, life))

    async def inc(self, key: str, delta: int) -> int | None:
        """Add to a number."""
        counted = await self._attempt(f"count {key!r}", None, self.face.inc, key, delta)
        return cast("int | None", counted)

    async def expel(self, keys: Sequence[str], stamps: Sequence[str]) -> list[str] | None:
        """Delete keys and drop stamps; the keys that existed.

        ``None`` if it could not be done: then it will be, before anything is read again.
        """
        keys, stamps = list(keys), list(stamps)
        if self.breaker.open:
            self._owe(keys, stamps)
            self.failures.refuse(f"delete {keys!r}")
            return None
        try:
            existed = await self.face.expel(keys, stamps)
        except BaseException as error:  # cancelled: who knows how far it came
            self._owe(keys, stamps)
            if not isinstance(error, Exception):
                raise
            self.failures.note(error, f"delete {keys!r}")
            return None
        self.failures.fine()
        return cast("list[str]", existed)

    def _owe(self, keys: Sequence[str], stamps: Sequence[str]) -> None:
        if not self.owed:  # one line, however much follows
            names = [*keys, *stamps]
            log.error("%s could not be deleted; that is made up for before the next read", names)
        self.owed.add(keys, stamps)

    async def clear(self) -> bool:
        """Invalidate everything, and remove what can be listed."""
        if self.breaker.open:
            self.owed.add_everything()
            self.failures.refuse("clear")
            return False
        try:
            return await self._clear()
        except BaseException as error:
            self.owed.add_everything()
            if not isinstance(error, Exception):
                raise
            self.failures.note(error, "clear")
            return False

    async def close(self) -> None:
        """Release what the backend holds."""
        await self.face.close()


def stamp_life(life: float) -> int:
    """Seconds that a stamp must live for entries that live ``life`` seconds."""
    return 0 if life in (0, NEVER) else max(STAMP_LIFE, math.ceil(life) * 2)
