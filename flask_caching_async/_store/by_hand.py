"""What users do with a store by hand, over any backend: set, add, count, delete."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

from .._entries.entry import BY_HAND, MISSING, is_marker
from .._entries.envelope import is_entry, is_living, pack, unpack
from .._entries.times import NEVER, seconds, times_from
from .._runtime.colour import run_now
from .._runtime.commands import in_command
from ..backends._versioned.contract import NAMESPACE, Operations, key_version_name
from ..backends._versioned.defaults import unpack_living
from ..backends.base import BaseCache
from ..exceptions import BackendError, InvalidKeyError
from ..typing import Timeout, Value
from .failures import Attempts, Failures, is_of_the_caller
from .pending_invalidations import PendingInvalidations, told
from .valid_keys import spelled

__all__ = ["StepsByHand", "whole_life"]

#: How often something is tried that another writer can make fail only by being faster.
TRIES = 100


class StepsByHand(Attempts):
    """These steps in one colour; see :class:`.StoreSteps`."""

    def __init__(
        self,
        backend: BaseCache,
        ops: Operations,
        failures: Failures,
        pending: PendingInvalidations,
        check: Callable[[Collection[str]], None],
    ) -> None:
        super().__init__(ops, failures, pending)
        self.backend = backend
        self.check = check

    async def get(self, keys: Sequence[str], raws: Sequence[Value] | None = None) -> list[Value]:
        """The values of several keys; those with tag versions cost one more trip.

        :param raws: what is stored there, if that is known.
        """
        self.check(keys)
        nothing: list[Value] = [MISSING] * len(keys)
        names = [spelled(key) for key in keys]
        return await self._attempt(f"read {list(keys)!r}", nothing, self._get, names, raws)

    async def _get(self, keys: Sequence[str], raws: Sequence[Value] | None = None) -> list[Value]:
        if raws is None:
            raws = await self.ops.get_many(*keys)
        now = self.backend.clock()
        found = [(None, {}) if raw is None else unpack(raw) for raw in raws]
        names = list({tag for _, versions in found for tag in versions if tag != BY_HAND})
        seen: dict[str, str | None] = {}
        if names:
            look = await self.ops.look_up(keys[0], names)
            seen = dict(zip(names, look.tag_versions, strict=True))
        return [
            entry.value()
            if entry is not None and is_living(entry, versions, seen, now) and not is_marker(entry)
            else MISSING
            for entry, versions in found
        ]

    def get_now(self, key: str) -> Value:
        """:meth:`get` of one key in sync code, mostly without a coroutine."""
        if self.breaker.is_open or self.owing:
            return run_now(self.get((key,)))[0]
        if type(key) is not str or not key.isascii():  # else it is a key everywhere
            self.check((key,))
        try:
            raw = self.backend.get(spelled(key))
        except Exception as error:
            self.failures.note(error, f"read {[key]!r}")
            return MISSING
        if is_entry(raw):  # it has tags, which must be looked at
            return run_now(self.get((key,), (raw,)))[0]
        if self.failures.failing:
            self.failures.fine()
        return MISSING if raw is None else raw

    async def has(self, key: str) -> bool:
        """Whether a living entry exists, be its value ``None``."""
        if (await self.get((key,)))[0] is not MISSING:
            return True
        return bool(await self._attempt(f"read {key!r}", False, self._has_none, spelled(key)))

    async def _has_none(self, key: str) -> bool:
        # A stored None cannot be told from nothing by reading; a dead entry can.
        found = await self.ops.look_up(key)
        return found.value is None and bool(await self.ops.has(key))

    async def set_many(
        self, mapping: Mapping[str, Value], timeout: Timeout | None, tags: tuple[str, ...]
    ) -> list[str]:
        """Set values by hand: plainly, or as entries where they carry tags."""
        self.check((*mapping, *tags))
        doing, life = f"store {list(mapping)!r}", seconds(timeout)
        keys = {spelled(key): key for key in mapping}
        values = {name: mapping[key] for name, key in keys.items()}
        try:
            stored = await self._write(doing, None, self._set_many, values, life, tags)
        except BackendError:
            self.pending.add(values)
            raise
        if stored is None:
            # Whatever was there is not what was set, so it must not be served any more.
            self.pending.add(values)
            return []
        self.pending.forget(stored)
        return [keys[name] for name in stored]

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
        life = seconds(self.backend.default_timeout if life is None else life) or 0
        versions = await self.ops.ensure_versions(tags, whole_life(life))
        named = {BY_HAND: "", **dict(zip(tags, versions, strict=True))}
        times = times_from(self.backend.clock(), life)
        return {key: pack(value, times, named) for key, value in mapping.items()}

    async def add(
        self, key: str, value: Value, timeout: Timeout | None, tags: tuple[str, ...]
    ) -> bool:
        """Set a value by hand unless there is one."""
        self.check((key, *tags))
        life = seconds(timeout)
        if life is not None and life < 0:  # over before it began
            return not await self.has(key)
        what = (spelled(key), value, life, tags)
        return await self._write(f"store {key!r}", False, self._add, *what)

    async def _add(self, key: str, value: Value, life: float | None, tags: tuple[str, ...]) -> bool:
        raw = (await self.ops.get_many(key))[0]
        if raw is not None and is_entry(raw) and (await self._get((key,)))[0] is MISSING:
            await self.ops.invalidate((key,))  # a dead entry is nothing
        if tags:
            value = (await self._tagged({key: value}, life, tags))[key]
        return bool(await self.ops.add(key, value, life))

    async def touch(self, key: str, timeout: Timeout | None) -> bool:
        """Let a living entry live anew; whether there was one."""
        self.check((key,))
        life = seconds(self.backend.default_timeout if timeout is None else timeout) or 0
        if life < 0:  # it is over
            return bool(await self.invalidate((key,), ()))
        what = (spelled(key), life)
        return await self._write(f"touch {key!r}", False, self._touch, *what)

    async def _touch(self, key: str, life: float) -> bool:
        times, own = times_from(self.backend.clock(), life), (BY_HAND, key_version_name(key))
        for _ in range(TRIES):
            look = await self.ops.look_up(key)
            value, now = look.value, self.backend.clock()
            entry, versions = await unpack_living(self.ops.look_up, key, value, now)
            if value is None or entry is None:
                return False
            if is_entry(value):
                made = entry.created
                value = pack(entry.value(), times._replace(created=made), versions)
            elif not self.backend.clears_plain_values:
                value = (await self._tagged({key: value}, life, ()))[key]
            versions = {tag: v for tag, v in versions.items() if tag not in own}
            what = (key, value, whole_life(life), look.key_version, versions, look.cas)
            if await self.ops.set_if_current(*what):
                return True
        return False

    async def inc(self, key: str, delta: int) -> int | None:
        """Add to a number."""
        self.check((key,))
        return await self._write(f"count {key!r}", None, self.ops.inc, spelled(key), delta)

    async def invalidate(self, keys: Sequence[str], tags: Sequence[str]) -> list[str] | None:
        """Delete keys and drop the versions of tags; the keys that existed.

        ``None`` if it could not be done: then it will be, before anything is read again.
        """
        keys, tags = list(keys), list(tags)
        self.check((*keys, *tags))
        names = {spelled(key): key for key in keys}
        if self.breaker.is_open:
            self.defer(keys, tags)
            self.failures.refuse(f"delete {told([*keys, *tags])}")
            return None
        try:
            existed = await self.ops.invalidate(list(names), tags)
        except BaseException as error:  # cancelled: how far it came is unknown
            if is_of_the_caller(error):  # it could never be made up for either
                raise InvalidKeyError(f"cannot delete {[*keys, *tags]}: {error}") from error
            self.defer(keys, tags)
            if not isinstance(error, Exception):
                raise
            self.failures.note(error, f"delete {told([*keys, *tags])}")
            return None
        self.failures.fine()
        return [names.get(name, name) for name in existed]

    def defer(self, keys: Sequence[str], tags: Sequence[str]) -> None:
        """Remember a deletion, which is made before anything is read again."""
        if not (self.pending or in_command.get()):  # one line, however much follows
            self.failures.say_pending(told([*keys, *tags]))
        self.pending.add(map(spelled, keys), tags)

    def _defer_everything(self) -> None:
        if not (self.pending or in_command.get()):
            self.failures.say_pending(["everything"])
        self.pending.add_everything()

    async def clear(self) -> bool:
        """Invalidate everything, and remove what can be listed."""
        if self.breaker.is_open:
            self._defer_everything()
            self.failures.refuse("clear")
            return False
        pending = self.pending.look()
        try:
            cleared = bool(await self._clear())
        except BaseException as error:
            self._defer_everything()
            if not isinstance(error, Exception):
                raise
            self.failures.note(error, "clear")
            return False
        if cleared:  # whatever was pending is gone, too
            self.pending.replayed(pending._replace(everything=True))
            self.failures.fine()
        return cleared

    async def close(self) -> None:
        """Release what the backend holds."""
        await self.ops.close()


def whole_life(life: float) -> int:
    """A life in whole seconds, as backends are told it; 0 is for ever."""
    return 0 if life == NEVER else math.ceil(life)
