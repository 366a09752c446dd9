"""The steps of a store whose versions are tokens under names of their own, over any backend.

An entry and its tag versions are read in one round trip. Whatever the backend raises ends here, in
:class:`.Failures`. An invalidation that fails is pending, and made before anything else is done.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import NamedTuple

from .._entries.entry import BY_HAND, Lookup, lookup_of
from .._entries.envelope import pack, unpack
from .._entries.isolation import size_of
from .._entries.times import Times
from .._flow.store_protocol import LookingSteps, Saved
from ..backends._versioned.contract import (
    NAMESPACE,
    KeyVersion,
    Lease,
    VersionedValue,
    key_version_name,
)
from ..events import about
from ..exceptions import InvalidKeyError, SerializationError
from ..typing import Value
from .by_hand import whole_life
from .inspecting import InspectingSteps
from .pending_invalidations import told
from .valid_keys import spelled

__all__ = ["Expected", "VersionedSteps"]

log = logging.getLogger("flask_caching_async")

#: What the tags of views, functions and apps begin with.
AUTHORS = ("~v:", "~m:", "~a:")

#: What is found where the backend fails, or is left alone.
FAILED = Lookup(None, None, True)


class Expected(NamedTuple):
    """What must still stand for a value to be stored.

    :param by_hand: whether the value answers each call of its key, whatever tags that has.
    :param forced: whether what began before this computation must not be stored after it.
    """

    key_version: KeyVersion
    tag_versions: dict[str, str]
    by_hand: bool = False
    forced: bool = False


class VersionedSteps(InspectingSteps, LookingSteps):
    """The steps in one colour; see :class:`.LookingSteps`.

    :param ops: the backend's operations in that colour.
    :param pending: invalidations that could not be made yet.
    :param check: refuses keys that the backend can never have.
    """

    @functools.cached_property
    def names_key_version(self) -> bool:
        """Whether entries also name the version of their key."""
        return self.backend.entries_name_key_version()

    # --- for the flow -----------------------------------------------------------------------------

    async def load(self, key: str, tags: tuple[str, ...]) -> Lookup:
        """Look at a key and its tag versions, in one round trip."""
        if (self.breaker.is_open or self.owing) and not await self._ready("read"):
            return FAILED
        try:
            asked = _asked(tags)
            found = await self.ops.look_up(spelled(key), asked)
            lookup = await self._lookup(key, tags, asked, found)
        except Exception as error:
            self.failures.note(error, f"read {key!r}")
            return FAILED
        if self.failures.failing:
            self.failures.fine()
        return lookup

    def load_now(self, key: str, tags: tuple[str, ...]) -> Lookup | None:
        """:meth:`load` in sync code without a coroutine; ``None`` where there is more to it."""
        if self.breaker.is_open or self.owing:
            return None
        try:
            asked, name = _asked(tags), spelled(key)
            found = self.backend.look_up(name, asked)
            lookup, unseen = self._judge(key, name, tags, asked, found)
        except Exception as error:
            self.failures.note(error, f"read {key!r}")
            return FAILED
        if self.failures.failing:
            self.failures.fine()
        return None if unseen else lookup

    async def _seen_more(self, key: str, lookup: Lookup, unseen: dict[str, str]) -> Lookup:
        """What was found, once all versions that it depends on were looked at."""
        more = await self.ops.look_up(spelled(key), list(unseen))
        stand = unseen == dict(zip(unseen, more.tag_versions, strict=True))
        return lookup if stand else lookup._replace(entry=None)

    async def _lookup(
        self, key: str, tags: tuple[str, ...], asked: tuple[str, ...], found: VersionedValue
    ) -> Lookup:
        """What was found, as the flow wants to have it."""
        lookup, unseen = self._judge(key, spelled(key), tags, asked, found)
        return await self._seen_more(key, lookup, unseen) if unseen else lookup

    def _judge(
        self,
        key: str,
        name: str,
        tags: tuple[str, ...],
        asked: tuple[str, ...],
        found: VersionedValue,
    ) -> tuple[Lookup, dict[str, str]]:
        """What was found, and the versions that it also depends on.

        :param name: that of the key on a backend.
        """
        value, key_version, tokens, cas = found
        seen: dict[str, str | None] = dict(zip(asked, tokens, strict=True))
        if value is None:
            return lookup_of((None, (key_version, seen), False, cas)), {}
        entry, versions = unpack(value)
        if entry is None or entry.usable_until <= self.backend.clock():
            return lookup_of((None, (key_version, seen), False, cas)), {}
        known = seen
        if self.names_key_version:
            known = {**seen, key_version_name(name): key_version}
        # Mostly it carries what was asked for, and nothing else.
        unseen: dict[str, str] = {}
        if versions != known or BY_HAND in tags:
            stands, unseen = self._compare(key, tags, versions, known)
            entry = entry if stands else None
        return lookup_of((entry, (key_version, seen), False, cas)), unseen

    def _compare(
        self,
        key: str,
        tags: tuple[str, ...],
        versions: dict[str, str],
        known: Mapping[str, str | None],
    ) -> tuple[bool, dict[str, str]]:
        """Whether an entry answers a call, as far as is known; and versions that are not.

        An entry that does not carry all tags that were asked for is another function's, or another
        app's, under the same key.
        """
        by_hand = versions.pop(BY_HAND, None) is not None or not versions or BY_HAND in tags
        if not by_hand:
            for tag in tags:
                if tag not in versions:
                    self._warn_of_other(key, tags, versions)
                    return False, {}
        unseen = {}
        for name, token in versions.items():
            if name not in known:
                unseen[name] = token
            elif known[name] != token:
                return False, {}
        return True, unseen

    def _warn_of_other(self, key: str, tags: tuple[str, ...], versions: Mapping[str, str]) -> None:
        """Say once that something else stores under our keys: each of them undoes the other."""
        mine = [tag for tag in tags if tag.startswith(AUTHORS) and tag not in versions]
        theirs = [tag for tag in versions if tag.startswith(AUTHORS) and tag not in tags]
        if mine and theirs and not self.failures.warned_of_other:
            self.failures.warned_of_other = True
            names = [", ".join(told(tags)) for tags in (theirs, mine)]
            log.warning(
                "%r holds what %s has stored, and is asked for by %s: if these are two apps, give "
                "each a CACHE_KEY_PREFIX of its own", key, *names,
                extra=about("key_conflict", **self.failures.place, key=key),
            )  # fmt: skip

    async def expect(
        self, key: str, tags: tuple[str, ...], lookup: Lookup, life: float, forced: bool = False
    ) -> Expected | None:
        """The versions of the key and its tags; one that is missing is created, not guessed."""
        if lookup.seen is None:
            return None
        key_version, seen = lookup.seen
        by_hand, tags = BY_HAND in tags, _asked(tags)
        versions = {tag: version for tag in tags if (version := seen.get(tag)) is not None}
        missing = [tag for tag in tags if tag not in versions]
        if missing:
            doing, ensuring = f"create versions for {key!r}", self.ops.ensure_versions
            created = await self._attempt(doing, None, ensuring, missing, whole_life(life))
            if created is None:
                return None
            versions.update(zip(missing, created, strict=True))
        if None in versions.values():
            return None
        return Expected(key_version, versions, by_hand, forced)

    async def acquire_lease(
        self, lease: Lease, key: str, tags: tuple[str, ...]
    ) -> tuple[bool, Lookup | None]:
        """Try once for a lease, and look at its key.

        A look that fails is one of a failed backend; then the lease is given back, if it was had.
        """
        acquiring, asked = self.ops.acquire_lease, _asked(tags)
        try:
            doing, name = f"lease {key!r}", spelled(key)
            found = await self._attempt(doing, None, acquiring, lease, name, asked)
            if found is None:  # it may have been had before the failure
                lease.forsake()
                return False, FAILED
            taken, look = found
            if taken and lease.abandoned:  # by a cancelled task, while this thread took it
                await self.release_lease(lease, True)
            if look is None:
                lookup = await self.load(key, tags) if taken else None
            else:
                doing, looking = f"read {key!r}", self._lookup
                lookup = await self._attempt(doing, FAILED, looking, key, tags, asked, look)
        except BaseException:
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
    ) -> Saved:
        """Store a computed value if the expected versions stand, and give the lease back."""
        key_version, tag_versions, by_hand, forced = expected
        if times.usable_until <= times.created:
            return "timeout"
        named: dict[str, str | None] = {BY_HAND: ""} if by_hand else {}
        named |= tag_versions
        if self.names_key_version:
            named[key_version_name(spelled(key))] = key_version
        entry, life = pack(value, times, named), whole_life(times.life)
        what = (spelled(key), entry, life, key_version, tag_versions, lookup.cas)
        doing = f"store {key!r}"
        try:
            if forced:
                stored = await self._write(doing, None, self.ops.set_and_overtake, lease, *what)
            elif lease is None:
                stored = await self._write(doing, None, self.ops.set_if_current, *what)
            else:
                stored = await self._write(doing, None, self.ops.set_and_release, lease, *what)
        except (SerializationError, InvalidKeyError) as error:
            self.failures.note(error, doing)
            return "unserializable"
        if stored is None:
            if lease is not None:
                lease.failed = True
            return "backend"
        if stored:
            return size_of(entry[-1])
        return "too-large" if self.backend.is_too_large(key) else "overtaken"


def _asked(tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags whose versions a call asks for."""
    if BY_HAND in tags:
        tags = tuple([tag for tag in tags if tag != BY_HAND])
    return (NAMESPACE, *tags)
