"""How values lie on Redis, and the operations that store none that was invalidated.

An entry lies under ``<prefix><key>``, its key version under ``<prefix>~mark~{<prefix><key>}``, a
tag version under ``<prefix><tag>``. The braces put key version and lease on the node of the entry
(a *hash tag*), so that one script can see them together on a cluster, too. A key version is written
by every delete and explicit set; a value is stored by a script that compares it first.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence

from ..._runtime.threads import offload
from ...exceptions import SerializationError
from ...typing import Timeout, Value
from .._connections.both_colours import over_transport
from .._connections.operations import ServerOperations
from .._connections.server import text_of
from .._versioned.contract import (
    KEY_VERSION,
    KEY_VERSION_LIFE,
    LEASE,
    NAMESPACE,
    KeyVersion,
    Lease,
    VersionedValue,
    as_key_version,
    as_token,
    new_token,
    new_witness,
    versioned_value_of,
)
from .._versioned.leases import RemoteLease
from . import scripts as lua
from .verbs import Argument, Command, RedisTransport

__all__ = ["RedisVersioned", "is_tagged", "milliseconds"]

#: Milliseconds that a key version lives.
TOMBSTONE = KEY_VERSION_LIFE * 1000


class RedisLease(RemoteLease[RedisTransport]):
    """A lease on a key of Redis."""

    #: What stood for the version of the key when it was taken, if that had none.
    witness = b""


class RedisVersioned(ServerOperations[RedisTransport]):
    """What the Redis backends have in common; :class:`.RedisCache` adds the plain operations."""

    # --- names ------------------------------------------------------------------------------------

    def _full(self, prefix: str, key: str) -> str:
        """Where an entry lies."""
        full = prefix + key
        if self._transports.clustered and (not full or ("}" in full and not is_tagged(full))):
            # No key version or lease could be named so that it lies on the same node.
            return f"{prefix}{{{hashlib.sha256(key.encode()).hexdigest()}}}"
        return full

    def _beside(self, prefix: str, what: str, key: str) -> str:
        """A name on the node of an entry, for something that belongs to it."""
        full = self._full(prefix, key)
        return f"{prefix}{what}{full}" if is_tagged(full) else f"{prefix}{what}{{{full}}}"

    def _names(self, prefix: str, key: str) -> tuple[str, str]:
        """Where an entry lies, and the version of its key."""
        if not self._transports.clustered and "{" not in (full := prefix + key):  # as most
            return full, f"{prefix}{KEY_VERSION}{{{full}}}"
        return self._full(prefix, key), self._beside(prefix, KEY_VERSION, key)

    # --- values -----------------------------------------------------------------------------------

    def _loads(self, raw: bytes | None) -> Value:
        """The value in what was stored, or ``None`` where it cannot be decoded any more."""
        if raw is None:
            return None
        try:
            return self.serializer.loads(raw)
        except Exception:
            return None

    def _seen(
        self, raw: bytes | None, key_version: bytes | None, *tokens: object
    ) -> VersionedValue:
        """What a look has found.

        The serializer gives back what it did not write as it is: bytes of another program, which
        no function returned.
        """
        value = self._loads(raw)
        found = None if value is raw else value
        version = None if key_version is None else as_key_version(key_version)
        known = tuple([as_token(token) for token in tokens])
        return versioned_value_of((found, version, known, None))

    def _readable(self, raw: bytes | None) -> bool:
        """Whether there is a value; cachelib's serializers make ``None`` of what is none."""
        return self._loads(raw) is not None or (raw is not None and raw == self._none())

    def _none(self) -> bytes | None:
        """How a ``None`` is stored."""
        try:
            return self._dumps(None)
        except SerializationError:
            return None

    # --- setting ----------------------------------------------------------------------------------

    async def _set(
        self, transport: RedisTransport, key: str, value: Value, timeout: Timeout | None = None
    ) -> bool:
        """Store a value; a computation that is under way will not overwrite it."""
        await transport.run(*self._putting(self._prefix(), lua.PUT, key, value, timeout))
        return True

    set, aset = over_transport(_set)

    async def _set_many(
        self,
        transport: RedisTransport,
        mapping: Mapping[str, Value],
        timeout: Timeout | None = None,
    ) -> list[str]:
        """Store several values, in one trip; their keys."""
        prefix = self._prefix()
        puts = [self._putting(prefix, lua.PUT, k, v, timeout) for k, v in mapping.items()]
        if puts:
            await transport.batch(puts)
        return list(mapping)

    set_many, aset_many = over_transport(_set_many)

    def _putting(
        self, prefix: str, script: str, key: str, value: Value, timeout: Timeout | None
    ) -> tuple[Argument, ...]:
        what = (self._dumps(value), milliseconds(self._life(timeout)), new_token(), TOMBSTONE)
        return ("EVAL", script, 2, *self._names(prefix, key), *what)

    # --- versioned operations ---------------------------------------------------------------------

    # The sync half has no coroutine: it is all that a hit does.

    def look_up(self, key: str, tags: Sequence[str] = ()) -> VersionedValue:
        """Look at a key, its version and some tag versions, in one trip."""
        transport = self._transports.blocking()
        return self._seen(*transport.mget_now(self._looked_at(key, tags)))

    async def alook_up(self, key: str, tags: Sequence[str] = ()) -> VersionedValue:
        """Awaitable :meth:`look_up`."""
        if (transport := self._transports.here()) is None:
            return await offload(functools.partial(RedisVersioned.look_up, self, key, tags))
        return await self._look_up(transport, key, tags)

    async def _look_up(
        self, transport: RedisTransport, key: str, tags: Sequence[str] = ()
    ) -> VersionedValue:
        return self._seen(*await transport.mget(self._looked_at(key, tags)))

    def _looked_at(self, key: str, tags: Sequence[str]) -> list[str]:
        prefix = self._prefix()
        return [*self._names(prefix, key), *[prefix + tag for tag in tags]]

    async def _ensure_versions(
        self, transport: RedisTransport, tags: Sequence[str], timeout: float
    ) -> list[str | None]:
        """The versions of ``tags``, in one trip; all callers anywhere agree on new ones."""
        prefix, life = self._prefix(), version_milliseconds(timeout)
        lives = [(prefix + tag, 0 if tag == NAMESPACE else life) for tag in tags]
        ensuring: list[Command] = [
            ("EVAL", lua.ENSURE, 1, name, new_token(), needed) for name, needed in lives
        ]
        return list(map(as_token, await transport.batch(ensuring))) if ensuring else []

    ensure_versions, aensure_versions = over_transport(_ensure_versions)

    async def _invalidate(
        self, transport: RedisTransport, keys: Sequence[str], tags: Sequence[str] = ()
    ) -> list[str]:
        """Delete ``keys`` and drop versions of ``tags``, in one trip; the names that existed."""
        prefix = self._prefix()
        commands: list[Command] = [("UNLINK", prefix + tag) for tag in tags]
        for key in keys:
            what = (*self._names(prefix, key), new_token(), TOMBSTONE)
            commands.append(("EVAL", lua.DELETE, 2, *what))
        answers = await transport.batch(commands) if commands else []
        return [name for name, n in zip([*tags, *keys], answers, strict=True) if n]

    invalidate, ainvalidate = over_transport(_invalidate)

    # --- leases -----------------------------------------------------------------------------------

    def lease(self, key: str, life: float) -> Lease:
        """A lease on ``key`` (``<key>@<state>``) over all processes."""
        key, _, state = key.rpartition("@")
        name = self._beside(self._prefix(), LEASE, key) + "@" + state
        return RedisLease(name, life, self._transports, _renew)

    async def _acquire_lease(
        self, transport: RedisTransport, lease: Lease, key: str, tags: Sequence[str] = ()
    ) -> tuple[bool, VersionedValue]:
        """Try once for a lease, and look at its key in the same trip."""
        assert isinstance(lease, RedisLease), "it is made by :meth:`lease`"
        prefix = self._prefix()
        names = [lease.name, f"{lease.name}~unshared", *self._names(prefix, key)]
        near, far = self._split([prefix + tag for tag in tags])
        what: Command = ("EVAL", lua.CLAIM, len(names) + len(near), *names, *near)
        lives = (lease.token, milliseconds(lease.life), new_witness(), TOMBSTONE)
        lease.taken_over = transport
        answer = await transport.run(*what, *lives)
        taken, holder, unshared, (raw, key_version, *tokens) = answer
        lease.holder, lease.rejected = text_of(holder), text_of(unshared)
        if taken:
            if as_key_version(key_version) is None:
                lease.witness = key_version
            lease.taken()
        tokens += await transport.mget(far) if far else []
        return bool(taken), self._seen(raw, key_version, *tokens)

    acquire_lease, aacquire_lease = over_transport(_acquire_lease)

    async def _set_and_release(
        self,
        transport: RedisTransport,
        lease: Lease | None,
        key: str,
        value: Value,
        timeout: float,
        key_version: KeyVersion,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
        forced: str = "",
    ) -> bool:
        """Store a value if its key's version stands, and give the lease back in the same trip.

        Readers look at the versions of its tags.

        :param forced: the token of a forced computation: what began before it loses.
        """
        assert lease is None or isinstance(lease, RedisLease), "it is made by :meth:`lease`"
        prefix, payload = self._prefix(), self._dumps(value)
        names = [*self._names(prefix, key)]
        names.append(lease.name if lease is not None else names[1])
        near, far = self._split([prefix + tag for tag in tag_versions])
        token, witness = ("", b"") if lease is None else (lease.token, lease.witness)
        lives = (TOMBSTONE, extended := version_milliseconds(timeout))
        what = (payload, milliseconds(timeout), key_version or b"", token, forced, *lives, witness)
        keys: Command = (len(names) + len(near), *names, *near)
        expected = list(tag_versions.values()) if near else []
        commands: list[Command] = [("EVAL", lua.DELIVER, *keys, *what, *expected)]
        commands += [("EVAL", lua.EXTEND, 1, name, extended) for name in far]
        stored = (await transport.batch(commands))[0]
        if lease is not None:
            lease.given_back()
        return bool(stored)

    set_and_release, aset_and_release = over_transport(_set_and_release)

    async def _set_and_overtake(
        self,
        transport: RedisTransport,
        lease: Lease | None,
        key: str,
        value: Value,
        timeout: float,
        key_version: KeyVersion,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool:
        """Store what a forced computation made; what began before that is not stored any more."""
        what = (key, value, timeout, key_version, tag_versions, cas, new_token())
        return await self._set_and_release(transport, lease, *what)

    set_and_overtake, aset_and_overtake = over_transport(_set_and_overtake)

    async def _release_lease(
        self, transport: RedisTransport, lease: Lease, shared: bool = True
    ) -> None:
        """Give a lease back."""
        assert isinstance(lease, RedisLease), "it is made by :meth:`lease`"
        lease.given_back()
        transport = self._transports.for_release(transport, lease.taken_over)
        names = (lease.name, f"{lease.name}~unshared")
        what = (lease.token, "" if shared else lease.note, milliseconds(lease.life))
        await transport.run("EVAL", lua.RELEASE, 2, *names, *what)

    release_lease, arelease_lease = over_transport(_release_lease)

    def _split(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Names on the node of any entry, and names that may be on others."""
        return ([], names) if self._transports.clustered else (names, [])


def is_tagged(name: str) -> bool:
    """Whether a part in braces decides on which node of a cluster a name lies."""
    start = name.find("{")
    return start >= 0 and name.find("}", start) > start + 1


def milliseconds(life: float) -> int:
    """What to send of something that must live for ``life`` seconds; 0 is for ever."""
    return 0 if life == 0 or math.isinf(life) else max(1, math.ceil(life * 1000))


def version_milliseconds(life: float) -> int:
    """What to send of a tag version that entries need which live for ``life`` seconds.

    A computation needs it for as long as it takes, and the next entry for as long as this one.
    """
    return milliseconds(max(2 * life, KEY_VERSION_LIFE) if life else 0)


async def _renew(transport: RedisTransport, lease: RedisLease) -> bool:
    what = (lease.name, lease.token, milliseconds(lease.life))
    return bool(await transport.run("EVAL", lua.RENEW, 1, *what))
