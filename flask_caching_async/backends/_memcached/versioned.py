"""Memcached's operations that store nothing which was invalidated.

There are no scripts, but each item has a number that changes whenever it is stored (*unique*). A
value is stored with ``add`` where nothing was, and with ``cas`` in the place of exactly what was
there when its computation began: so it overwrites nothing that was set meanwhile. Each entry also
names the versions of its key and of its tags under which it was computed, and its reader compares
them.

An entry, its key version and its lease are on one server, so that they can be seen in one trip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..._entries.entry import MISSING
from ...typing import Timeout, Value
from .._connections.both_colours import TwoColouredCache, over_transport
from .._versioned.contract import (
    KEY_VERSION,
    LEASE,
    NAMESPACE,
    UNSHARED,
    Lease,
    VersionedValue,
    new_token,
)
from .entries import Look, Spot, storing, superseding, token_of
from .lease import MemcachedLease, look_for, renew
from .protocol import (
    STORED,
    TOO_LARGE,
    Command,
    Item,
    MemcachedTransport,
    Place,
    delete,
    found_in,
    gets,
    store,
)
from .values import Header, MemcachedValues, exptime, name_of, own_name

if TYPE_CHECKING:
    from .transport import Ring

__all__ = ["TRIES", "MemcachedVersioned"]

#: How often something is tried that another writer can make fail only by being faster.
TRIES = 500
#: How often a value is set again, because all was cleared at the same moment.
CLEARED = 5


class MemcachedVersioned(MemcachedValues, TwoColouredCache[MemcachedTransport]):
    """What the decorators need; :class:`.MemcachedCache` adds the plain operations."""

    _ring: Ring
    #: The last known version of each namespace, by its name on the server.
    _tokens: dict[str, str]

    @classmethod
    def entries_name_key_version(cls) -> bool:
        """Entries name their key version: nothing can compare it and store in one step."""
        return True

    # --- places -----------------------------------------------------------------------------------

    def _place(self, prefix: str, key: str) -> Place:
        """Where an entry lies."""
        name = name_of(prefix, key)
        return self._ring.at(name), name

    def _own_place(self, prefix: str, tag: str) -> Place:
        """Where the version of a tag lies."""
        name = own_name(prefix, tag)
        return self._ring.at(name), name

    def _spot(self, prefix: str, key: str) -> Spot:
        entry = self._place(prefix, key)
        key_version = entry[0], own_name(prefix, KEY_VERSION + key)
        return Spot(entry, key_version, self._own_place(prefix, NAMESPACE))

    def _value(self, item: Item | None, token: str | None) -> Value:
        return MISSING if item is None else self._decode(item.raw, item.flags, token)

    def _snapshot(self, look: Look, tags: Sequence[str | None]) -> VersionedValue:
        value = self._value(look.item, look.token)
        cas = b"" if look.item is None else look.item.unique
        return VersionedValue(
            None if value is MISSING else value, look.key_version, tuple(tags), cas
        )

    # --- the version of the namespace -------------------------------------------------------------

    async def _space(self, transport: MemcachedTransport, place: Place) -> str:
        """The version of the namespace; it is created if it is missing, and lives for ever."""
        made = store("add", place, new_token().encode())
        answers = await transport.batch([made, *gets([place])])
        item = answers[1].get(place[1])
        token: str = new_token() if item is None else item.text  # none: nothing can be stored now
        if len(self._tokens) > 1000:
            self._tokens.clear()  # many prefixes
        self._tokens[place[1]] = token
        return token

    # --- setting ----------------------------------------------------------------------------------

    async def _set(
        self, transport: MemcachedTransport, key: str, value: Value, timeout: Timeout | None = None
    ) -> bool:
        """Store a value; a computation that is under way will not overwrite it."""
        return bool(await self._set_many(transport, {key: value}, timeout))

    set, aset = over_transport(_set)

    async def _set_many(
        self,
        transport: MemcachedTransport,
        mapping: Mapping[str, Value],
        timeout: Timeout | None = None,
    ) -> list[str]:
        """Store several values, in one trip; the keys that were stored."""
        life, prefix = self._life(timeout), self._prefix()
        if life < 0:  # over before it began
            await self._invalidate(transport, list(mapping))
        if life < 0 or not mapping:
            return list(mapping)
        payloads = {key: self._dumps(value) for key, value in mapping.items()}
        space = self._own_place(prefix, NAMESPACE)
        until = self.clock() + life
        # The version is what it was the last time. The same trip says whether that is still so.
        for _ in range(CLEARED):
            token = self._tokens.get(space[1]) or await self._space(transport, space)
            commands = gets([space])
            for key, payload in payloads.items():
                entry, key_version, _space = self._spot(prefix, key)
                raw = Header(token, until).around(payload)
                commands += [superseding(key_version), store("set", entry, raw, exptime(life))]
            found, *answers = await transport.batch(commands)
            if found and found[space[1]].text == token:
                return self._stored(dict(zip(payloads, answers[1::2], strict=True)))
            self._tokens.pop(space[1], None)
        return []

    set_many, aset_many = over_transport(_set_many)

    def _stored(self, results: Mapping[str, bytes]) -> list[str]:
        """The keys that were stored; what was under one that is too large is gone."""
        for key, result in results.items():
            if result == TOO_LARGE:
                self._too_large(key)
        return [key for key, result in results.items() if result == STORED]

    async def _set_and_supersede(
        self,
        transport: MemcachedTransport,
        mapping: Mapping[str, Value],
        timeout: Timeout | None = None,
    ) -> list[str]:
        """Set several values; here, every set wins over computations under way."""
        return await self._set_many(transport, mapping, timeout)

    set_and_supersede, aset_and_supersede = over_transport(_set_and_supersede)

    # --- versioned operations ---------------------------------------------------------------------

    async def _look_up(
        self, transport: MemcachedTransport, key: str, tags: Sequence[str] = ()
    ) -> VersionedValue:
        """Look at a key, its version and some tag versions, in one trip to each server."""
        prefix = self._prefix()
        spot, places = self._spot(prefix, key), [self._own_place(prefix, tag) for tag in tags]
        answers = await transport.batch(gets([*spot, *places]))
        found = found_in(answers)
        tokens = [token_of(found.get(name)) for _, name in places]
        return self._snapshot(Look.of(spot, answers), tokens)

    look_up, alook_up = over_transport(_look_up)

    async def _ensure_versions(
        self, transport: MemcachedTransport, tags: Sequence[str], timeout: float
    ) -> list[str | None]:
        """The versions of ``tags``, in one trip; all callers anywhere agree on new ones."""
        prefix = self._prefix()
        places = [self._own_place(prefix, tag) for tag in tags]
        made = [
            # What was set by hand relies on the namespace's, for however long.
            store("add", place, new_token().encode(), 0 if tag == NAMESPACE else exptime(timeout))
            for tag, place in zip(tags, places, strict=True)
        ]
        answers = await transport.batch([*made, *gets(places)])
        found = found_in(answers[len(made) :])
        return [token_of(found.get(name)) for _, name in places]

    ensure_versions, aensure_versions = over_transport(_ensure_versions)

    async def _set_if_current(
        self,
        transport: MemcachedTransport,
        key: str,
        value: Value,
        timeout: float,
        key_version: str | None,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool:
        """Store ``value`` if nothing was stored meanwhile, and the key's version still stands."""
        return await self._set_and_release(
            transport, None, key, value, timeout, key_version, tag_versions, cas
        )

    set_if_current, aset_if_current = over_transport(_set_if_current)

    async def _invalidate(
        self, transport: MemcachedTransport, keys: Sequence[str], tags: Sequence[str] = ()
    ) -> list[str]:
        """Delete ``keys`` and drop versions of ``tags``, in one trip; the keys that existed."""
        prefix = self._prefix()
        commands: list[Command] = []
        for key in keys:
            entry, key_version, _ = self._spot(prefix, key)
            # In this order: see the end of :meth:`_set_and_release`.
            commands += [superseding(key_version), delete(entry)]
        commands += [delete(self._own_place(prefix, tag)) for tag in tags]
        answers = await transport.batch(commands)
        gone = answers[1 : 2 * len(keys) : 2]
        return [key for key, answer in zip(keys, gone, strict=True) if answer == b"DELETED"]

    invalidate, ainvalidate = over_transport(_invalidate)

    # --- leases -----------------------------------------------------------------------------------

    def lease(self, key: str, life: float) -> Lease:
        """A lease on ``key`` (``<key>@<state>``) over all processes."""
        key, _, state = key.rpartition("@")
        prefix = self._prefix()
        at, name = self._place(prefix, key)[0], own_name(prefix, f"{LEASE}{state}~{key}")
        lease = MemcachedLease(name, life, self._transports, renew)
        lease.place = at, name
        lease.unshared_place = at, own_name(prefix, f"{UNSHARED}{state}~{key}")
        return lease

    async def _acquire_lease(
        self, transport: MemcachedTransport, lease: Lease, key: str, tags: Sequence[str] = ()
    ) -> tuple[bool, VersionedValue]:
        """Try once for a lease, and look at its key in the same trip."""
        assert isinstance(lease, MemcachedLease), "it is made by :meth:`lease`"
        prefix = self._prefix()
        spot, places = self._spot(prefix, key), [self._own_place(prefix, tag) for tag in tags]
        lease.taken_over = transport
        added = store("add", lease.place, lease.token.encode(), exptime(lease.life))
        _, *answers = await transport.batch(
            [added, *gets([lease.place, lease.unshared_place, *spot, *places])]
        )
        found = found_in(answers)
        item = found.get(lease.name)
        lease.holder, lease.rejected = token_of(item), token_of(found.get(lease.unshared_place[1]))
        taken = item is not None and lease.holder == lease.token
        if item is not None and taken:
            lease.cas = item.unique
            lease.taken()
        tokens = [token_of(found.get(name)) for _, name in places]
        return taken, self._snapshot(Look.of(spot, answers), tokens)

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
            look = Look.of(spot, await transport.batch(gets(spot)))
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
        if token_of(rest[-1 - len(ending)].get(spot.key_version[1])) == key_version:
            return True
        await self._withdraw(transport, spot, payload)
        return False

    set_and_release, aset_and_release = over_transport(_set_and_release)

    async def _withdraw(self, transport: MemcachedTransport, spot: Spot, payload: bytes) -> None:
        """Delete what was just stored, unless another writer has stored something else."""
        ((found),) = await transport.batch(gets([spot.entry]))
        item = found.get(spot.entry[1])
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
            await look_for(transport, lease)
        if lease.cas is not None:
            commands.append(lease.end())
        if commands:
            await transport.batch(commands)

    release_lease, arelease_lease = over_transport(_release_lease)
