"""Memcached's operations that store nothing which was invalidated.

There are no scripts, but each item has a number that changes whenever it is stored (*unique*). A
value is stored with ``add`` where nothing was, and with ``cas`` in the place of exactly what was
there when its computation began: so it overwrites nothing that was set meanwhile. Each entry also
names the versions of its key and of its tags under which it was computed, and its reader compares
them.

An entry, its key version and its lease are on one server, so that they can be seen in one trip.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from ..._entries.entry import MISSING
from ..._runtime.threads import offload
from ...typing import Value
from .._connections.both_colours import over_transport
from .._connections.server import text_of
from .._versioned.contract import (
    KEY_VERSION_LIFE,
    LEASE,
    NAMESPACE,
    UNSHARED,
    Lease,
    VersionedValue,
    as_key_version,
    new_witness,
    versioned_value_of,
)
from .._versioned.leases import RemoteLease
from .entries import Look, storing, superseding, token_of
from .looking import Seen, Spot, place_of
from .protocol import (
    STORED,
    TOO_LARGE,
    Command,
    Item,
    Place,
    delete,
    found_in,
    gets,
    store,
    touch,
)
from .setting import MemcachedSetting
from .values import exptime, own_name
from .verbs import MemcachedTransport

__all__ = ["TRIES", "MemcachedVersioned"]

#: How often something is tried that another writer can make fail only by being faster.
TRIES = 500


class MemcachedLease(RemoteLease[MemcachedTransport]):
    """An item that is added, touched, and ended where it is still the same one."""

    place: Place
    #: Where its holders are noted who released it unshared.
    unshared_place: Place
    #: What stood for the version of the key when it was taken, if that had none.
    witness: bytes | None = None
    #: What the server needs to end exactly this one.
    cas: bytes | None = None

    def end(self) -> Command:
        """Compare and delete."""
        assert self.cas is not None, "a lease that was had has one"
        return store("cas", self.place, b"", -1, self.cas)

    def note_unshared(self) -> Command:
        """Note for those who wait for this holder that they must compute, too."""
        return store("set", self.unshared_place, self.note.encode(), exptime(self.life))


class MemcachedVersioned(MemcachedSetting):
    """What the decorators need; :class:`.MemcachedCache` adds the plain operations."""

    @classmethod
    def entries_name_key_version(cls) -> bool:
        """Entries name their key version: nothing can compare it and store in one step."""
        return True

    def _value(self, item: Item | None, token: str | None) -> Value:
        return MISSING if item is None else self._decode(item.raw, item.flags, token)

    def _found(self, seen: Seen) -> VersionedValue:
        """What a look has found."""
        item, key_version, space, tokens = seen
        if item is None:
            return VersionedValue(None, key_version, tokens, b"")
        value = self._decode(item.raw, item.flags, space)
        if value is MISSING or value is item.raw or item.flags == 8:
            value = None  # nothing, or bytes of another program, which no function returned
        return versioned_value_of((value, key_version, tokens, item.unique))

    # --- versioned operations ---------------------------------------------------------------------

    # The sync half has no coroutine: it is all that a hit does.

    def look_up(self, key: str, tags: Sequence[str] = ()) -> VersionedValue:
        """Look at a key, its version and some tag versions, in one trip to each server."""
        return self._found(self._transports.blocking().look_now(self._question(key, tags)))

    async def alook_up(self, key: str, tags: Sequence[str] = ()) -> VersionedValue:
        """Awaitable :meth:`look_up`."""
        if (transport := self._transports.here()) is None:
            return await offload(functools.partial(MemcachedVersioned.look_up, self, key, tags))
        return await self._look_up(transport, key, tags)

    async def _look_up(
        self, transport: MemcachedTransport, key: str, tags: Sequence[str] = ()
    ) -> VersionedValue:
        return self._found(await transport.look(self._question(key, tags)))

    async def _ensure_versions(
        self, transport: MemcachedTransport, tags: Sequence[str], timeout: float
    ) -> list[str | None]:
        """The versions of ``tags``, in one trip; all callers anywhere agree on new ones."""
        prefix = self._prefix()
        return await self._made(transport, [self._own_place(prefix, tag) for tag in tags])

    ensure_versions, aensure_versions = over_transport(_ensure_versions)

    async def _invalidate(
        self, transport: MemcachedTransport, keys: Sequence[str], tags: Sequence[str] = ()
    ) -> list[str]:
        """Delete ``keys`` and drop versions of ``tags``, in one trip; the names that existed."""
        prefix = self._prefix()
        commands: list[Command] = []
        names: list[str] = []
        for key in keys:
            entry, key_version, _ = self._spot(prefix, key)
            # In this order: see the end of :meth:`_set_and_release`.
            commands += [superseding(key_version), delete(entry)]
            names += [key, key]
        for tag in tags:
            _, name = place = self._own_place(prefix, tag)
            everywhere = [(at, name) for at in self._ring.numbers] if tag == NAMESPACE else []
            commands += [delete(each) for each in everywhere or [place]]
            names += [tag for _ in everywhere or [place]]
        answers = zip(names, await transport.batch(commands), strict=True)
        return list(dict.fromkeys(name for name, answer in answers if answer == b"DELETED"))

    invalidate, ainvalidate = over_transport(_invalidate)

    # --- leases -----------------------------------------------------------------------------------

    def lease(self, key: str, life: float) -> Lease:
        """A lease on ``key`` (``<key>@<state>``) over all processes."""
        key, _, state = key.rpartition("@")
        prefix = self._prefix()
        at, name = place_of(self._ring, prefix, key)[0], own_name(prefix, f"{LEASE}{state}~{key}")
        lease = MemcachedLease(name, life, self._transports, _renew)
        lease.place = at, name
        lease.unshared_place = at, own_name(prefix, f"{UNSHARED}{state}~{key}")
        return lease

    async def _acquire_lease(
        self, transport: MemcachedTransport, lease: Lease, key: str, tags: Sequence[str] = ()
    ) -> tuple[bool, VersionedValue]:
        """Try once for a lease, and look at its key in the same trip."""
        assert isinstance(lease, MemcachedLease), "it is made by :meth:`lease`"
        question = self._question(key, tags)
        spot = question.spot
        lease.taken_over = transport
        adding = [
            store("add", lease.place, lease.token.encode(), exptime(lease.life)),
            # Whether or not the lease is had: all who want it agree on it, and it counts as none.
            store("add", spot.key_version, new_witness().encode(), exptime(KEY_VERSION_LIFE)),
        ]
        _, _, *answers = await transport.batch(
            [*adding, *gets([lease.place, lease.unshared_place]), *question.commands]
        )
        found = found_in(answers)
        item, note = found.get(lease.place), found.get(lease.unshared_place)
        lease.holder = None if item is None else item.text
        lease.rejected = None if note is None else note.text
        taken = item is not None and lease.holder == lease.token
        version = found.get(spot.key_version)
        lease.witness = None if version is None else version.raw
        if item is not None and taken:
            lease.cas = item.unique
            lease.taken()
        return taken, self._found(question.seen_in(answers))

    acquire_lease, aacquire_lease = over_transport(_acquire_lease)

    async def _set_and_release(
        self,
        transport: MemcachedTransport,
        lease: Lease | None,
        key: str,
        value: Value,
        timeout: float,
        key_version: str | None,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool:
        """:meth:`set_if_current`, and give the lease back in the same trip."""
        assert lease is None or isinstance(lease, MemcachedLease), "it is made by :meth:`lease`"
        payload, spot = self._dumps(value), self._spot(self._prefix(), key)
        if cas is None:  # the caller has not looked
            look = Look.of(spot, found_in(await transport.batch(gets(spot))))
            cas = b"" if look.item is None else look.item.unique
            if look.key_version != key_version:
                if lease is not None:
                    await self._release_lease(transport, lease)
                return False
        ending = [] if lease is None or lease.cas is None else [lease.end()]
        commands = storing(spot, payload, timeout, key_version, cas)
        result, *rest = await transport.batch([*commands, *ending])
        if lease is not None:
            lease.given_back()
        if cas and result == b"NOT_FOUND":  # what it was to replace has ended meanwhile
            ending = []
            result, *rest = await transport.batch(storing(spot, payload, timeout, key_version, b""))
        if result == TOO_LARGE:
            self._too_large(key)
            if lease is not None:
                await transport.batch([lease.note_unshared()])
        if result != STORED:
            return False
        # An invalidation changes the key version before it deletes. If it has deleted already, the
        # version is a new one here; if it has not, it will delete what was stored.
        if _still(rest[-1 - len(ending)].get(spot.key_version), key_version, lease):
            return True
        await self._withdraw(transport, spot, payload)
        return False

    set_and_release, aset_and_release = over_transport(_set_and_release)

    async def _withdraw(self, transport: MemcachedTransport, spot: Spot, payload: bytes) -> None:
        """Delete what was just stored, unless another writer has stored something else."""
        (found,) = await transport.batch(gets([spot.entry]))
        item = found.get(spot.entry)
        if item is not None and item.raw == payload:
            await transport.batch([store("cas", spot.entry, b"", -1, item.unique)])

    async def _release_lease(
        self, transport: MemcachedTransport, lease: Lease, shared: bool = True
    ) -> None:
        """Give a lease back."""
        assert isinstance(lease, MemcachedLease), "it is made by :meth:`lease`"
        lease.given_back()
        transport = self._transports.for_release(transport, lease.taken_over)
        commands = [] if shared else [lease.note_unshared()]
        if lease.cas is None and lease.taken_over is not None:  # the server's answer was not heard
            item = found_in(await transport.batch(gets([lease.place]))).get(lease.place)
            if item is not None and item.text == lease.token:
                lease.cas = item.unique
        if lease.cas is not None:
            commands.append(lease.end())
        if commands:
            await transport.batch(commands)

    release_lease, arelease_lease = over_transport(_release_lease)


async def _renew(transport: MemcachedTransport, lease: MemcachedLease) -> bool:
    commands = [touch(lease.place, exptime(lease.life)), *gets([lease.place])]
    _, found = await transport.batch(commands)
    return bool(token_of(found.get(lease.place)) == lease.token)


def _still(item: Item | None, key_version: str | None, lease: MemcachedLease | None) -> bool:
    """Whether a key's version is what it was when its computation began.

    Where it had none, the witness of the lease must be there: it may be evicted with a change.
    """
    raw = None if item is None else item.raw
    if key_version is None and lease is not None and lease.witness is not None:
        return raw == lease.witness
    return text_of(as_key_version(raw)) == key_version
