"""Memcached's operations that store nothing which was invalidated.

There are no scripts, but each item has a number that changes whenever it is stored (*unique*). A
value is stored with ``add`` where nothing was, and with ``cas`` in the place of exactly what was
there when its computation began: so it overwrites nothing that was set meanwhile. Each entry also
names the mark and the stamps under which it was computed, and whoever reads it compares them.

An entry, its mark and its lease are on one server, so that they can be seen in one trip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..._entries.entry import MISSING
from ..._runtime.colour import run_now
from ...serializers._checked import dumps
from .._connections.both_colours import TwoColouredCache, over_transport
from .._versioned.contract import KEY_VERSION_LIFE, AnyLease, Lease, VersionedValue, new_token
from .._versioned.leases import RemoteLease
from .protocol import STORED, TOO_LARGE, Command, Item, delete, found_in, gets, store, touch
from .values import NAMESPACE, Header, MemcachedValues, exptime, name_of, own_name

__all__ = ["TRIES", "MemcachedVersioned", "superseding", "replacing"]

#: How often something is tried that others can make fail only by being faster.
TRIES = 500
#: How often a value is set again, because all was cleared at the same moment.
CLEARED = 5

#: A server's number, and a name there.
Place = tuple[int, str]


class Spot(NamedTuple):
    """Where an entry and its mark lie, and the stamp of everything."""

    entry: Place
    key_version: Place
    space: Place


class Look(NamedTuple):
    """What was found at a spot."""

    item: Item | None
    key_version: str | None
    token: str | None


class MemcachedLease(RemoteLease):
    """A lease, and where it lies."""

    place: Place
    told: Place

    def end(self) -> Command:
        """Compare and delete."""
        return store("cas", self.place, b"", -1, self.cas)


class MemcachedVersioned(MemcachedValues, TwoColouredCache):
    """What the decorators need; :class:`.MemcachedCache` adds the plain operations."""

    _ring: Any
    _tokens: dict[str, str]

    @classmethod
    def entries_name_key_version(cls) -> bool:
        """Entries name their mark: nothing can compare it and store in one step."""
        return True

    # --- places -----------------------------------------------------------------------------------

    def _place(self, prefix: str, key: str) -> Place:
        """Where an entry lies."""
        name = name_of(prefix, key)
        return self._ring.at(name), name

    def _own_place(self, prefix: str, stamp: str) -> Place:
        """Where a stamp lies."""
        name = own_name(prefix, stamp)
        return self._ring.at(name), name

    def _spot(self, prefix: str, key: str) -> Spot:
        entry = self._place(prefix, key)
        key_version = entry[0], own_name(prefix, "~mark~" + key)
        return Spot(entry, key_version, self._own_place(prefix, NAMESPACE))

    def _seen(self, spot: Spot, answers: Sequence[Any]) -> Look:
        found = found_in(answers)
        key_version, token = (_text(found.get(place[1])) for place in spot[1:])
        return Look(found.get(spot.entry[1]), key_version, token)

    def _value(self, item: Item | None, token: str | None) -> Any:
        return MISSING if item is None else self._decode(item.raw, item.flags, token)

    def _snapshot(self, look: Look, tags: Sequence[str | None]) -> VersionedValue:
        value = self._value(look.item, look.token)
        cas = b"" if look.item is None else look.item.unique
        return VersionedValue(
            None if value is MISSING else value, look.key_version, tuple(tags), cas
        )

    # --- the token of the namespace ---------------------------------------------------------------

    async def _space(self, transport: Any, place: Place) -> str:
        """The token of the namespace; it is created if it is missing, and lives for ever."""
        made = store("add", place, new_token().encode())
        answers = await transport.batch([made, *gets([place])])
        item = answers[1].get(place[1])
        token: str = new_token() if item is None else item.text  # none: nothing can be stored now
        if len(self._tokens) > 1000:
            self._tokens.clear()  # many prefixes
        self._tokens[place[1]] = token
        return token

    # --- setting ----------------------------------------------------------------------------------

    async def _set(self, transport: Any, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value; a computation that is under way will not overwrite it."""
        return bool(await self._set_many(transport, {key: value}, timeout))

    set, aset = over_transport(_set)

    async def _set_many(
        self, transport: Any, mapping: Mapping[str, Any], timeout: Any = None
    ) -> list[str]:
        """Store several values, in one trip; the keys that were stored."""
        life, prefix = self._life(timeout), self._prefix()
        if life < 0:  # over before it began
            await self._invalidate(transport, list(mapping))
        if life < 0 or not mapping:
            return list(mapping)
        payloads = {key: dumps(self.serializer, value) for key, value in mapping.items()}
        space = self._own_place(prefix, NAMESPACE)
        until = self.clock() + life
        # The token is what it was the last time. The same trip tells whether that is still so.
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
        self, transport: Any, mapping: Mapping[str, Any], timeout: Any = None
    ) -> list[str]:
        """Set several values; here, every set wins over computations under way."""
        return await self._set_many(transport, mapping, timeout)

    set_and_supersede, aset_and_supersede = over_transport(_set_and_supersede)

    # --- guarded operations -----------------------------------------------------------------------

    async def _look_up(self, transport: Any, key: str, tags: Sequence[str] = ()) -> VersionedValue:
        """Look at a key, its mark and some stamps, in one trip to each server."""
        prefix = self._prefix()
        spot, places = self._spot(prefix, key), [self._own_place(prefix, stamp) for stamp in tags]
        answers = await transport.batch(gets([*spot, *places]))
        found = found_in(answers)
        tokens = [_text(found.get(name)) for _, name in places]
        return self._snapshot(self._seen(spot, answers), tokens)

    look_up, alook_up = over_transport(_look_up)

    async def _ensure_versions(
        self, transport: Any, tags: Sequence[str], timeout: float
    ) -> list[str | None]:
        """The tokens of ``stamps``, in one trip; all callers anywhere agree on new ones."""
        prefix = self._prefix()
        places = [self._own_place(prefix, stamp) for stamp in tags]
        made = [
            # What was set by hand relies on the namespace's, for however long.
            store("add", place, new_token().encode(), 0 if stamp == NAMESPACE else exptime(timeout))
            for stamp, place in zip(tags, places, strict=True)
        ]
        answers = await transport.batch([*made, *gets(places)])
        found = found_in(answers[len(made) :])
        return [_text(found.get(name)) for _, name in places]

    ensure_versions, aensure_versions = over_transport(_ensure_versions)

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
        """Store ``value`` if nothing was stored meanwhile, and the key's mark still stands."""
        return await self._set_and_release(
            transport, None, key, value, timeout, key_version, tag_versions, cas
        )

    set_if_current, aset_if_current = over_transport(_set_if_current)

    async def _invalidate(
        self, transport: Any, keys: Sequence[str], tags: Sequence[str] = ()
    ) -> list[str]:
        """Delete ``keys`` and drop ``stamps``, in one trip; the keys that existed."""
        prefix = self._prefix()
        commands: list[Command] = []
        for key in keys:
            entry, key_version, _ = self._spot(prefix, key)
            commands += [
                superseding(key_version),
                delete(entry),
            ]  # in this order: see :meth:`_deliver`
        commands += [delete(self._own_place(prefix, stamp)) for stamp in tags]
        answers = await transport.batch(commands)
        gone = answers[1 : 2 * len(keys) : 2]
        return [key for key, answer in zip(keys, gone, strict=True) if answer == b"DELETED"]

    invalidate, ainvalidate = over_transport(_invalidate)

    # --- leases -----------------------------------------------------------------------------------

    def lease(self, key: str, life: float) -> Lease:
        """A lease on ``key`` (``<key>@<state>``) over all processes."""
        key, _, state = key.rpartition("@")
        prefix = self._prefix()
        at, name = self._place(prefix, key)[0], own_name(prefix, f"~lease~{state}~{key}")
        lease = MemcachedLease(name, life, self._renew)
        lease.place = at, name
        lease.told = at, own_name(prefix, f"~unshared~{state}~{key}")
        return lease

    def _renew(self, lease: Any) -> bool:
        transport = self._transports.blocking()  # it is called in a thread of its own
        commands = [touch(lease.place, exptime(lease.life)), *gets([lease.place])]
        _, found = run_now(transport.batch(commands))
        return bool(_text(found.get(lease.name)) == lease.token)

    async def _acquire_lease(
        self, transport: Any, lease: AnyLease, key: str, tags: Sequence[str] = ()
    ) -> tuple[bool, VersionedValue]:
        """Try once for a lease, and look at its key in the same trip."""
        prefix = self._prefix()
        spot, places = self._spot(prefix, key), [self._own_place(prefix, stamp) for stamp in tags]
        added = store("add", lease.place, lease.token.encode(), exptime(lease.life))
        _, *answers = await transport.batch(
            [added, *gets([lease.place, lease.told, *spot, *places])]
        )
        found = found_in(answers)
        item = found.get(lease.name)
        lease.holder, lease.rejected = _text(item), _text(found.get(lease.told[1]))
        taken = item is not None and lease.holder == lease.token
        if item is not None and taken:
            lease.cas = item.unique
            lease.taken()
        tokens = [_text(found.get(name)) for _, name in places]
        return taken, self._snapshot(self._seen(spot, answers), tokens)

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
        payload, spot = dumps(self.serializer, value), self._spot(self._prefix(), key)
        if cas is None:  # the caller has not looked
            look = self._seen(spot, await transport.batch(gets(spot)))
            cas = b"" if look.item is None else look.item.unique
            if look.key_version != key_version:
                if lease is not None:
                    await self._release_lease(transport, lease)
                return False
        ending = [] if lease is None or lease.cas is None else [lease.end()]
        filling = _filling(spot, payload, timeout, key_version, cas)
        result, *rest = await transport.batch([*filling, *ending])
        if lease is not None:
            lease.given_back()
        if cas and result == b"NOT_FOUND":  # what it was to replace has ended meanwhile
            ending = []
            result, *rest = await transport.batch(
                _filling(spot, payload, timeout, key_version, b"")
            )
        if result == TOO_LARGE:
            self._too_large(key)
            if lease is not None:
                await transport.batch([_noting(lease)])
        if result != STORED:
            return False
        # Whoever deletes sets the mark first. If it has deleted already, the mark is a new one
        # here; if it has not, it will delete what was stored.
        if _text(rest[-1 - len(ending)].get(spot.key_version[1])) == key_version:
            return True
        await self._withdraw(transport, spot, payload)
        return False

    set_and_release, aset_and_release = over_transport(_set_and_release)

    async def _withdraw(self, transport: Any, spot: Spot, payload: bytes) -> None:
        """Delete what was just stored, unless somebody has stored something else."""
        ((found),) = await transport.batch(gets([spot.entry]))
        item = found.get(spot.entry[1])
        if item is not None and item.raw == payload:
            await transport.batch([store("cas", spot.entry, b"", -1, item.unique)])

    async def _release_lease(self, transport: Any, lease: AnyLease, shared: bool = True) -> None:
        """Give a lease back."""
        lease.given_back()
        commands = [] if shared else [_noting(lease)]
        if lease.cas is not None:
            commands.append(lease.end())
        if commands:
            await transport.batch(commands)

    release_lease, arelease_lease = over_transport(_release_lease)


def _text(item: Item | None) -> str | None:
    return None if item is None else item.text


def superseding(place: Place) -> Command:
    """Give a key a new mark."""
    return store("set", place, new_token().encode(), exptime(KEY_VERSION_LIFE))


def _noting(lease: MemcachedLease) -> Command:
    """Tell those who wait for this holder that they must compute, too."""
    return store("set", lease.told, lease.note.encode(), exptime(lease.life))


def replacing(item: Item | None, place: Place, raw: bytes, life: float) -> Command:
    """Store something in the place of exactly what was there, or where nothing was."""
    verb, unique = ("add", b"") if item is None else ("cas", item.unique)
    return store(verb, place, raw, exptime(life), unique)


def _filling(
    spot: Spot, payload: bytes, life: float, key_version: str | None, cas: bytes
) -> list[Command]:
    """Store an entry, and look at its mark afterwards."""
    verb = "cas" if cas else "add"
    commands = [store(verb, spot.entry, payload, exptime(life), cas)]
    if key_version is not None:  # it must outlive the entry that names it
        commands.append(touch(spot.key_version, exptime(life and max(life, KEY_VERSION_LIFE))))
    return [*commands, *gets([spot.key_version])]
