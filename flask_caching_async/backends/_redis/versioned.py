"""How values lie on Redis, and the operations that store none that was invalidated.

An entry lies under ``<prefix><key>``, its mark under ``<prefix>~mark~{<prefix><key>}``, a stamp
under ``<prefix><stamp>``. The braces put mark and lease on the node of the entry (a *hash tag*), so
that one script can see them together on a cluster, too. A mark is written by every delete and
explicit set; a value is stored by a script that compares the mark first.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cachelib.serializers import BaseSerializer

from ..._entries.times import seconds
from ..._runtime.colour import run_now
from ...exceptions import SerializationError
from ...serializers._checked import dumps
from .._connections.both_colours import TwoColouredCache, over_transport
from .._versioned.contract import KEY_VERSION_LIFE, AnyLease, Lease, VersionedValue, new_token
from .._versioned.leases import RemoteLease
from . import scripts as lua

__all__ = ["RedisVersioned", "is_tagged"]

TOMBSTONE = KEY_VERSION_LIFE * 1000


class RedisVersioned(TwoColouredCache):
    """What the Redis backends have in common; :class:`.RedisCache` adds the plain operations."""

    #: Turns values into bytes and back: anything with cachelib's ``dumps`` and ``loads``.
    serializer: BaseSerializer

    # --- names ------------------------------------------------------------------------------------

    def _prefix(self) -> str:
        prefix = self.key_prefix
        return prefix if type(prefix) is str else str(prefix())

    def _full(self, prefix: str, key: str) -> str:
        """Where an entry lies."""
        full = prefix + key
        if self._transports.clustered and (not full or ("}" in full and not is_tagged(full))):
            # No mark or lease could be named so that they lie on the same node.
            return f"{prefix}{{{hashlib.sha256(key.encode()).hexdigest()}}}"
        return full

    def _beside(self, prefix: str, what: str, key: str) -> str:
        """A name on the node of an entry, for something that belongs to it."""
        full = self._full(prefix, key)
        return f"{prefix}{what}{full}" if is_tagged(full) else f"{prefix}{what}{{{full}}}"

    # --- values -----------------------------------------------------------------------------------

    def _life(self, timeout: Any) -> int:
        """A timeout in milliseconds, 0 for ever."""
        life = seconds(self.default_timeout if timeout is None else timeout) or 0
        return 0 if not life or math.isinf(life) else max(1, math.ceil(life * 1000))

    def _loads(self, raw: Any) -> Any:
        """The value in what was stored, or ``None`` where nobody can decode it any more."""
        if raw is None:
            return None
        try:
            return self.serializer.loads(raw)
        except Exception:
            return None

    def _readable(self, raw: Any) -> bool:
        """Whether there is a value; cachelib's serializers make ``None`` of what is none."""
        return self._loads(raw) is not None or (raw is not None and raw == self._none())

    def _none(self) -> bytes | None:
        """How a ``None`` is stored."""
        try:
            return dumps(self.serializer, None)
        except SerializationError:
            return None

    # --- setting ----------------------------------------------------------------------------------

    async def _set(self, transport: Any, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value; a computation that is under way will not overwrite it."""
        await transport.run(*self._putting(self._prefix(), lua.PUT, key, value, timeout))
        return True

    set, aset = over_transport(_set)

    async def _set_many(
        self, transport: Any, mapping: Mapping[str, Any], timeout: Any = None
    ) -> list[str]:
        """Store several values, in one trip; their keys."""
        prefix = self._prefix()
        puts = [self._putting(prefix, lua.PUT, k, v, timeout) for k, v in mapping.items()]
        if puts:
            await transport.batch(puts)
        return list(mapping)

    set_many, aset_many = over_transport(_set_many)

    def _putting(
        self, prefix: str, script: str, key: str, value: Any, timeout: Any
    ) -> tuple[Any, ...]:
        names = (self._full(prefix, key), self._beside(prefix, "~mark~", key))
        what = (dumps(self.serializer, value), self._life(timeout), new_token(), TOMBSTONE)
        return ("EVAL", script, 2, *names, *what)

    # --- guarded operations -----------------------------------------------------------------------

    async def _look_up(self, transport: Any, key: str, tags: Sequence[str] = ()) -> VersionedValue:
        """Look at a key, its mark and some stamps, in one trip."""
        prefix = self._prefix()
        names = [self._full(prefix, key), self._beside(prefix, "~mark~", key)]
        raw, key_version, *tokens = await transport.mget(names + [prefix + tag for tag in tags])
        return VersionedValue(self._loads(raw), key_version, tuple(map(_text, tokens)))

    look_up, alook_up = over_transport(_look_up)

    async def _ensure_versions(
        self, transport: Any, tags: Sequence[str], timeout: float
    ) -> list[str | None]:
        """The tokens of ``stamps``, in one trip; all callers anywhere agree on new ones."""
        prefix, life = self._prefix(), math.ceil(timeout * 1000)
        until = ("PX", life) if life else ()
        names = [prefix + tag for tag in tags]
        made: list[Any] = [("SET", name, new_token(), "NX", *until) for name in names]
        answers = await transport.batch(made + [("GET", name) for name in names])
        return [_text(token) for token in answers[len(names) :]]

    ensure_versions, aensure_versions = over_transport(_ensure_versions)

    async def _set_and_supersede(
        self, transport: Any, mapping: Mapping[str, Any], timeout: Any = None
    ) -> list[str]:
        """Set several values; here, every set wins over computations under way."""
        if len(mapping) == 1:
            ((key, value),) = mapping.items()
            await self._set(transport, key, value, timeout)
            return [key]
        return await self._set_many(transport, mapping, timeout)

    set_and_supersede, aset_and_supersede = over_transport(_set_and_supersede)

    async def _set_if_current(
        self,
        transport: Any,
        key: str,
        value: Any,
        timeout: float,
        key_version: Any,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool:
        """Store ``value`` if the key's mark still stands; whoever reads it looks at its stamps."""
        return await self._set_and_release(
            transport, None, key, value, timeout, key_version, tag_versions
        )

    set_if_current, aset_if_current = over_transport(_set_if_current)

    async def _invalidate(
        self, transport: Any, keys: Sequence[str], tags: Sequence[str] = ()
    ) -> list[str]:
        """Delete ``keys`` and drop ``stamps``, in one trip; the keys that existed."""
        prefix = self._prefix()
        commands: list[Any] = [("UNLINK", prefix + tag) for tag in tags]
        for key in keys:
            key_version = self._beside(prefix, "~mark~", key)
            commands.append(("SET", key_version, new_token(), "PX", TOMBSTONE))
            commands.append(("UNLINK", self._full(prefix, key)))
        answers = await transport.batch(commands) if commands else []
        gone = answers[len(tags) + 1 :: 2]
        return [key for key, existed in zip(keys, gone, strict=True) if existed]

    invalidate, ainvalidate = over_transport(_invalidate)

    # --- leases -----------------------------------------------------------------------------------

    def lease(self, key: str, life: float) -> Lease:
        """A lease on ``key`` (``<key>@<state>``) over all processes."""
        key, _, state = key.rpartition("@")
        name = self._beside(self._prefix(), "~lease~", key) + "@" + state
        return RemoteLease(name, life, self._renew)

    def _renew(self, lease: RemoteLease) -> bool:
        transport = self._transports.blocking()  # it is called in a thread of its own
        what = ("EVAL", lua.RENEW, 1, lease.name, lease.token, lease.milliseconds)
        return bool(run_now(transport.run(*what)))

    async def _acquire_lease(
        self, transport: Any, lease: AnyLease, key: str, tags: Sequence[str] = ()
    ) -> tuple[bool, VersionedValue]:
        """Try once for a lease, and look at its key in the same trip."""
        prefix = self._prefix()
        names = [lease.name, f"{lease.name}~unshared", self._full(prefix, key)]
        names.append(self._beside(prefix, "~mark~", key))
        near, far = self._split([prefix + tag for tag in tags])
        what = ("EVAL", lua.CLAIM, 4 + len(near), *names, *near)
        answer = await transport.run(*what, lease.token, lease.milliseconds)
        taken, holder, unshared, (raw, key_version, *tokens) = answer
        lease.holder, lease.rejected = _text(holder), _text(unshared)
        if taken:
            lease.taken()
        tokens += await transport.mget(far) if far else []
        return bool(taken), VersionedValue(self._loads(raw), key_version, tuple(map(_text, tokens)))

    acquire_lease, aacquire_lease = over_transport(_acquire_lease)

    async def _set_and_release(
        self,
        transport: Any,
        lease: AnyLease,
        key: str,
        value: Any,
        timeout: float,
        key_version: Any,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool:
        """:meth:`fill`, and give the lease back in the same trip."""
        prefix, payload = self._prefix(), dumps(self.serializer, value)
        names = [self._full(prefix, key), self._beside(prefix, "~mark~", key)]
        names.append(lease.name if lease is not None else names[1])
        near, _ = self._split([prefix + tag for tag in tag_versions])
        token = lease.token if lease is not None else ""
        what = (payload, math.ceil(timeout * 1000), key_version or b"", token)
        keys = (len(names) + len(near), *names, *near)
        expected = list(tag_versions.values()) if near else []
        stored = await transport.run("EVAL", lua.DELIVER, *keys, *what, *expected)
        if lease is not None:
            lease.given_back()
        return bool(stored)

    set_and_release, aset_and_release = over_transport(_set_and_release)

    async def _release_lease(self, transport: Any, lease: AnyLease, shared: bool = True) -> None:
        """Give a lease back."""
        lease.given_back()
        names = (lease.name, f"{lease.name}~unshared")
        what = (lease.token, "" if shared else lease.note, lease.milliseconds)
        await transport.run("EVAL", lua.RELEASE, 2, *names, *what)

    release_lease, arelease_lease = over_transport(_release_lease)

    def _split(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Names on the node of any entry, and names that may be on others."""
        return ([], names) if self._transports.clustered else (names, [])


def is_tagged(name: str) -> bool:
    """Whether a part in braces decides on which node of a cluster a name lies."""
    start = name.find("{")
    return start >= 0 and name.find("}", start) > start + 1


def _text(token: Any) -> str | None:
    return token.decode("utf-8", "replace") if isinstance(token, bytes) else token
