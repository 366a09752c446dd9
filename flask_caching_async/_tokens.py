"""The steps of a store whose stamps are tokens under names of their own, over any backend.

An entry and its stamps are read in one round trip. Whatever the backend raises ends here, in
:class:`Failures`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ._flow.entry import MISSING, NEVER, Entry, Reading
from ._flow.policy import Timetable, seconds
from ._wire import is_entry, pack, unpack
from .backends._guarded import tomb
from .backends._memory import timetable
from .backends.base import BaseCache, Lease, Snapshot
from .exceptions import BackendError, BackendTimeout, CacheError, SerializationError

__all__ = ["Failures", "TokenSteps"]

log = logging.getLogger("flask_caching_async")

#: The stamp that all entries of a store carry; ``clear`` drops it.
SPACE = "~stamp~"
#: The shortest life of a stamp in seconds. One that ends before its entries costs a recomputation.
STAMP_LIFE = 30 * 24 * 3600


class Failures:
    """Turns what a backend raises into "nothing found" or "not stored"; logs each change once."""

    def __init__(self, backend: BaseCache, raising: Callable[[], bool]) -> None:
        self.raising = raising
        self._name = type(backend).__name__
        self._down = False

    def note(self, error: Exception, doing: str) -> None:
        """A backend operation failed.

        :raises BackendError: where failures are to be raised.
        """
        if self.raising():
            if isinstance(error, CacheError):
                raise error
            kind = BackendTimeout if isinstance(error, TimeoutError) else BackendError
            raise kind(f"{self._name} failed to {doing}: {error!r}") from error
        if isinstance(error, SerializationError):
            log.warning("not stored: %s", error)
        elif not self._down:
            self._down = True
            log.error(
                "%s failed to %s; the pages go on without it", self._name, doing, exc_info=error
            )

    def fine(self) -> None:
        """A backend operation succeeded."""
        if self._down:
            self._down = False
            log.warning("%s works again", self._name)


class TokenSteps:
    """See ``store.py``; ``face`` has the backend's operations as coroutines."""

    def __init__(self, backend: BaseCache, face: Any, failures: Failures) -> None:
        self.backend = backend
        self.face = face
        self.failures = failures
        #: Whether entries also name the mark under which they were computed. The plain operations
        #: cannot check it and store in one step, so that a reader may come in between.
        kind = type(backend)
        self.marked = kind.read is BaseCache.read and kind.aread is BaseCache.aread

    async def load(self, key: str, stamps: tuple[str, ...]) -> Reading:
        """Look at a key and its stamps, in one round trip."""
        names = (SPACE, *stamps)
        try:
            found: Snapshot = await self.face.read(key, names)
            seen = dict(zip(names, found.stamps, strict=True))
            entry = await self._entry(key, found.value, {**seen, tomb(key): found.mark})
        except Exception as error:
            self.failures.note(error, f"read {key!r}")
            return Reading(None, None, True)
        self.failures.fine()
        return Reading(entry, (found.mark, seen))

    async def _entry(self, key: str, raw: Any, seen: dict[str, str | None]) -> Entry | None:
        """The living entry in what was read."""
        if raw is None:
            return None
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
            try:
                created = await self.face.ensure(missing, _stamp_life(life))
            except Exception as error:
                self.failures.note(error, f"stamp {key!r}")
                return None
            tokens.update(zip(missing, created, strict=True))
        return None if None in tokens.values() else (mark, tokens)

    async def acquire(self, lease: Lease) -> bool:
        """Try once for a lease; one that cannot be had at all keeps nobody from computing."""
        try:
            taken = lease.acquire()
            if taken and lease.abandoned:  # by a cancelled task, while this thread took it
                lease.release()
            return taken
        except Exception as error:
            self.failures.note(error, "take a lease")
            return True

    async def unshared(self, lease: Lease, holder: str) -> bool:
        """Whether ``holder`` had a value that nobody else may have."""
        return lease.unshared(holder)

    async def save(self, key: str, value: Any, times: Timetable, guard: Any) -> bool | None:
        """Store a computed value if its guard stands; ``None`` if it cannot be stored at all."""
        mark, stamps = guard
        if times.usable_until <= times.created:
            return None
        tied = {**stamps, tomb(key): mark} if self.marked else stamps
        entry, life = pack(value, times, tied), math.ceil(times.life)
        try:
            return bool(await self.face.fill(key, entry, life, mark, stamps))
        except Exception as error:
            self.failures.note(error, f"store {key!r}")
            return None

    async def get(self, keys: Sequence[str]) -> list[Any]:
        """The values of several keys; stamps are honoured (one more trip where there are any)."""
        try:
            raws = await self.face.get_many(*keys)
            now = self.backend.clock()
            found = [(None, {}) if raw is None else unpack(raw) for raw in raws]
            names = list({name for _, tied in found for name in tied})
            seen: dict[str, str | None] = {}
            if names:
                look: Snapshot = await self.face.read(keys[0], names)
                seen = dict(zip(names, look.stamps, strict=True))
        except Exception as error:
            self.failures.note(error, f"read {list(keys)!r}")
            return [MISSING] * len(keys)
        self.failures.fine()
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
        try:
            found: Snapshot = await self.face.read(key)
            # A stored None cannot be told from nothing by reading; a dead entry can.
            return found.value is None and bool(await self.face.has(key))
        except Exception as error:
            self.failures.note(error, f"read {key!r}")
            return False

    async def put(
        self, mapping: Mapping[str, Any], timeout: Any, stamps: tuple[str, ...]
    ) -> list[str]:
        """Set values by hand: plainly, or as entries where they carry tags."""
        life = seconds(timeout)
        try:
            if life is not None and life < 0:  # over before it began
                await self.face.expel(list(mapping), [])
                return list(mapping)
            if stamps:
                mapping = await self._tied(mapping, life, stamps)
            return cast("list[str]", await self.face.put(mapping, life))
        except SerializationError:
            raise
        except Exception as error:
            self.failures.note(error, f"store {list(mapping)!r}")
            return []

    async def _tied(
        self, mapping: Mapping[str, Any], life: float | None, stamps: tuple[str, ...]
    ) -> Mapping[str, Any]:
        """Values as entries that die with their tags."""
        names = (SPACE, *stamps)
        whole = seconds(self.backend.default_timeout if life is None else life) or 0
        tokens = await self.face.ensure(names, _stamp_life(whole))
        tied = dict(zip(names, tokens, strict=True))
        times = timetable(self.backend.clock(), whole)
        return {key: pack(value, times, tied) for key, value in mapping.items()}

    async def add(self, key: str, value: Any, timeout: Any, stamps: tuple[str, ...]) -> bool:
        """Set a value by hand unless there is one."""
        life = seconds(timeout)
        if life is not None and life < 0:  # over before it began
            return not await self.has(key)
        try:
            raw = (await self.face.get_many(key))[0]
            if raw is not None and is_entry(raw) and not await self.has(key):
                await self.face.expel((key,))  # a dead entry is nothing
            if stamps:
                value = (await self._tied({key: value}, life, stamps))[key]
            return bool(await self.face.add(key, value, life))
        except SerializationError:
            raise
        except Exception as error:
            self.failures.note(error, f"store {key!r}")
            return False

    async def inc(self, key: str, delta: int) -> int | None:
        """Add to a number."""
        try:
            return cast("int | None", await self.face.inc(key, delta))
        except Exception as error:
            self.failures.note(error, f"count {key!r}")
            return None

    async def expel(self, keys: Sequence[str], stamps: Sequence[str]) -> list[str] | None:
        """Delete keys and drop stamps; the keys that existed, ``None`` if it could not be done."""
        try:
            return cast("list[str]", await self.face.expel(list(keys), list(stamps)))
        except Exception as error:
            self.failures.note(error, f"delete {list(keys)!r}")
            log.error("%s and %s could not be deleted", list(keys), list(stamps))
            return None

    async def clear(self) -> bool:
        """Invalidate everything, and remove what can be listed."""
        try:
            await self.face.expel((), [SPACE])
            return bool(await self.face.clear())
        except Exception as error:
            self.failures.note(error, "clear")
            return False

    async def close(self) -> None:
        """Release what the backend holds."""
        await self.face.close()


def _stamp_life(life: float) -> int:
    """Seconds that a stamp must live for entries that live ``life`` seconds."""
    return 0 if life in (0, NEVER) else max(STAMP_LIFE, math.ceil(life) * 2)
