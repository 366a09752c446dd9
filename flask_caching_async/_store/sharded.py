"""A store over several servers: each of them fails, is left alone, and is made up for by itself.

All that an entry depends on is on the server of its key. A deletion of tags goes to all servers;
one that does not answer misses it until it does, and nothing is read from it before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, cast

from .._entries.entry import MISSING, Lookup
from .._entries.times import Times
from .._flow.store_protocol import Inspected, LookingSteps, Saved
from .._runtime.colour import Awaited, Instant
from ..backends._versioned.contract import Lease
from ..backends.base import BaseCache
from ..exceptions import BackendError
from ..stats import BackendStats
from ..typing import Timeout, Value
from .dispatch import VersionedStore
from .failures import Limits
from .valid_keys import spelled
from .versioned import Expected, VersionedSteps

__all__ = ["ShardedStore"]

R = TypeVar("R")


class ShardedStore(VersionedStore):
    """One store for each of the backend's shards."""

    def __init__(self, backend: BaseCache, raising: Callable[[], bool], limits: Limits) -> None:
        self._stores = [VersionedStore(shard, raising, limits) for shard in backend.shards()]
        super().__init__(backend, raising, limits)

    def condition(self) -> BackendStats:
        """How the servers are, together; one that is left alone is enough."""
        whole, parts = super().condition(), [store.condition() for store in self._stores]
        return replace(
            whole,
            errors=whole.errors + sum(part.errors for part in parts),
            is_open=whole.is_open or any(part.is_open for part in parts),
            pending=tuple(dict.fromkeys(name for p in (whole, *parts) for name in p.pending)),
        )

    def steps(self, face: type[Awaited] | type[Instant]) -> LookingSteps:
        """The steps of all shards in one colour."""
        shards = [cast(VersionedSteps, store.steps(face)) for store in self._stores]
        return ShardedSteps(shards, cast(VersionedSteps, super().steps(face)), self._number)

    def _number(self, key: str) -> int:
        return self.backend.shard_of(spelled(key))

    def for_tenant(self, backend: BaseCache) -> ShardedStore:
        """A store for other keys of the same servers."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, backend=backend)
        shards = zip(self._stores, backend.shards(), strict=True)
        view._stores = [store.for_tenant(shard) for store, shard in shards]
        view._arrange(self.failures.pending_of(backend.key_prefix))
        return view

    def lease(self, key: str, expected: Expected, life: float) -> Lease | None:
        """A lease across processes, on the server of the key."""
        number = self._number(key)
        lease = self._stores[number].lease(key, expected, life)
        if lease is not None:
            lease.shard = number
        return lease


class ShardedSteps(LookingSteps):
    """The steps over several shards in one colour.

    :param whole: the steps over the backend as a whole, which can ask all servers at once.
    :param number: says which shard has a key.
    """

    def __init__(
        self,
        shards: Sequence[VersionedSteps],
        whole: VersionedSteps,
        number: Callable[[str], int],
    ) -> None:
        self._shards, self._whole, self._number = shards, whole, number

    def _of(self, key: str) -> VersionedSteps:
        # A key that is none has no place; any shard refuses it.
        return self._shards[self._number(key) if isinstance(key, str) else 0]

    def _parts(self, keys: Iterable[str]) -> dict[int, list[str]]:
        """Keys by the number of their shard."""
        self._shards[0].check(keys := list(keys))
        parts: dict[int, list[str]] = {}
        for key in keys:
            parts.setdefault(self._number(key), []).append(key)
        return parts

    # --- of one key -------------------------------------------------------------------------------

    def load_now(self, key: str, tags: tuple[str, ...]) -> Lookup | None:
        """Look at a key in sync code; ``None`` where there is more to it."""
        return self._of(key).load_now(key, tags)

    def get_now(self, key: str) -> Value:
        """The value of a key in sync code, ``MISSING`` where there is none."""
        return self._of(key).get_now(key)

    async def load(self, key: str, tags: tuple[str, ...]) -> Lookup:
        """Look at a key and its tag versions."""
        return await self._of(key).load(key, tags)

    async def expect(
        self, key: str, tags: tuple[str, ...], lookup: Lookup, life: float, forced: bool = False
    ) -> Expected | None:
        """What must still stand when the computation ends."""
        return await self._of(key).expect(key, tags, lookup, life, forced)

    async def save(
        self,
        key: str,
        value: Value,
        times: Times,
        expected: Expected,
        lookup: Lookup,
        lease: Lease | None,
    ) -> Saved:
        """Store a computed value, and give the lease back."""
        return await self._of(key).save(key, value, times, expected, lookup, lease)

    async def acquire_lease(
        self, lease: Lease, key: str, tags: tuple[str, ...]
    ) -> tuple[bool, Lookup | None]:
        """Try once for a lease, and look at its key."""
        return await self._of(key).acquire_lease(lease, key, tags)

    async def unshared(self, lease: Lease, holder: str) -> bool:
        """Whether ``holder`` had a value that no other caller may have."""
        return await self._shards[lease.shard].unshared(lease, holder)

    async def release_lease(self, lease: Lease, shared: bool) -> None:
        """Give a lease back."""
        await self._shards[lease.shard].release_lease(lease, shared)

    async def has(self, key: str) -> bool:
        """Whether a living entry exists."""
        return await self._of(key).has(key)

    async def add(
        self, key: str, value: Value, timeout: Timeout | None, tags: tuple[str, ...]
    ) -> bool:
        """Set a value unless there is one."""
        return await self._of(key).add(key, value, timeout, tags)

    async def touch(self, key: str, timeout: Timeout | None) -> bool:
        """Let a living entry live anew."""
        return await self._of(key).touch(key, timeout)

    async def inc(self, key: str, delta: int) -> int | None:
        """Add to a number."""
        return await self._of(key).inc(key, delta)

    async def inspect(self, key: str, tags: tuple[str, ...]) -> Inspected:
        """Look at what stands under a key."""
        return await self._of(key).inspect(key, tags)

    # --- of several keys --------------------------------------------------------------------------

    async def get(self, keys: Sequence[str]) -> list[Value]:
        """The values of several keys."""
        parts, found = self._parts(keys), dict[str, Value]()
        raws = await self._at_once(keys) if self._all_ready(parts) else {}
        for number, part in parts.items():
            known = [raws[key] for key in part] if raws else None
            found.update(zip(part, await self._shards[number].get(part, known), strict=True))
        return [found.get(key, MISSING) for key in keys]

    def _all_ready(self, numbers: Iterable[int]) -> bool:
        shards = [self._shards[number] for number in numbers]
        return not any(shard.breaker.is_open or shard.pending for shard in shards)

    async def _at_once(self, keys: Sequence[str]) -> dict[str, Value]:
        """What is stored under keys of several servers; nothing if one does not answer."""
        try:
            raws = await self._whole.ops.get_many(*map(spelled, keys))
        except Exception:  # which one it was, it will say when it is asked alone
            return {}
        return dict(zip(keys, raws, strict=True))

    async def set_many(
        self, mapping: Mapping[str, Value], timeout: Timeout | None, tags: tuple[str, ...]
    ) -> list[str]:
        """Set values that no computation under way overwrites; the keys that were stored."""
        parts = self._parts(mapping)

        async def set_part(number: int) -> list[str]:
            values = {key: mapping[key] for key in parts[number]}
            return await self._shards[number].set_many(values, timeout, tags)

        stored = {key for part in await self._each(parts, set_part) for key in part}
        return [key for key in mapping if key in stored]

    async def invalidate(self, keys: Sequence[str], tags: Sequence[str]) -> list[str] | None:
        """Delete keys, drop versions of tags everywhere; the keys that existed."""
        parts = self._parts(keys)
        numbers = list(range(len(self._shards))) if tags else list(parts)
        begun: set[int] = set()

        async def drop(number: int) -> list[str] | None:
            begun.add(number)
            return await self._shards[number].invalidate(parts.get(number, []), tags)

        try:
            dropped = await self._each(numbers, drop)
        finally:  # cancelled, perhaps: what was not begun is made later
            for number in numbers:
                if number not in begun:
                    self._shards[number].defer(parts.get(number, []), tags)
        if None in dropped:
            return None
        return list(dict.fromkeys(name for part in dropped for name in part or ()))

    async def _each(self, numbers: Iterable[int], step: Callable[[int], Awaitable[R]]) -> list[R]:
        """What a step gives for each of some shards; one that fails does not hide the others."""
        results, failure = [], None
        for number in numbers:
            try:
                results.append(await step(number))
            except BackendError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return results

    async def clear(self) -> bool:
        """Forget everything; whether it was done."""
        left = set(self._shards)

        async def clear(number: int) -> bool:
            left.discard(shard := self._shards[number])
            return await shard.clear()

        try:
            return all(await self._each(range(len(self._shards)), clear))
        finally:  # cancelled, perhaps
            for shard in left:
                shard.pending.add_everything()

    async def replay(self) -> bool:
        """Make the invalidations that are pending; whether none is any more."""
        return all([await shard.replay() for shard in self._shards])

    async def close(self) -> None:
        """Release what the backend holds: all shards share it."""
        await self._shards[0].close()
