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
from .._connections.both_colours import TwinCache, two_colours
from .._versioned.contract import TOMBSTONE_LIFE, Lease, Snapshot, new_token
from .._versioned.leases import RemoteLease
from .protocol import STORED, TOO_LARGE, Command, Item, delete, found_in, gets, store, touch
from .values import SPACE, MemcachedValues, Seal, exptime, name_of, own_name

__all__ = ["TRIES", "MemcachedGuarded", "marking", "replacing"]

#: How often something is tried that others can make fail only by being faster.
TRIES = 500
#: How often a value is set again, because all was cleared at the same moment.
CLEARED = 5

#: A server's number, and a name there.
Place = tuple[int, str]


class Spot(NamedTuple):
    """Where an entry and its mark lie, and the stamp of everything."""

    entry: Place
    mark: Place
    space: Place


class Look(NamedTuple):
    """What was found at a spot."""

    item: Item | None
    mark: str | None
    token: str | None


class MemcachedLease(RemoteLease):
    """A lease, and where it lies."""

    place: Place
    told: Place

    def end(self) -> Command:
        """Compare and delete."""
        return store("cas", self.place, b"", -1, self.version)


@two_colours
class MemcachedGuarded(MemcachedValues, TwinCache):
    """What the decorators need; :class:`.MemcachedCache` adds the plain operations."""

    _ring: Any
    _tokens: dict[str, str]

    @classmethod
    def marks_entries(cls) -> bool:
        """Entries name their mark: nothing can compare it and store in one step."""
        return True

    # --- places -----------------------------------------------------------------------------------

    def _place(self, prefix: str, key: str) -> Place:
        """Where an entry lies."""
        name = name_of(prefix, key)
        return self._ring.at(name), name

    def _stamp(self, prefix: str, stamp: str) -> Place:
        """Where a stamp lies."""
        name = own_name(prefix, stamp)
        return self._ring.at(name), name

    def _spot(self, prefix: str, key: str) -> Spot:
        entry = self._place(prefix, key)
        mark = entry[0], own_name(prefix, "~mark~" + key)
        return Spot(entry, mark, self._stamp(prefix, SPACE))

    def _seen(self, spot: Spot, answers: Sequence[Any]) -> Look:
        found = found_in(answers)
        mark, token = (_text(found.get(place[1])) for place in spot[1:])
        return Look(found.get(spot.entry[1]), mark, token)

    def _value(self, item: Item | None, token: str | None) -> Any:
        return MISSING if item is None else self._open(item.raw, item.flags, token)

    def _snapshot(self, look: Look, stamps: Sequence[str | None]) -> Snapshot:
        value = self._value(look.item, look.token)
        version = b"" if look.item is None else look.item.unique
        return Snapshot(None if value is MISSING else value, look.mark, tuple(stamps), version)

    # --- the token of the namespace ---------------------------------------------------------------

    async def _space(self, wire: Any, place: Place) -> str:
        """The token of the namespace; it is created if it is missing, and lives for ever."""
        made = store("add", place, new_token().encode())
        answers = await wire.batch([made, *gets([place])])
        item = answers[1].get(place[1])
        token: str = new_token() if item is None else item.text  # none: nothing can be stored now
        if len(self._tokens) > 1000:
            self._tokens.clear()  # many prefixes
        self._tokens[place[1]] = token
        return token

    # --- setting ----------------------------------------------------------------------------------

    async def _set(self, wire: Any, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value; a computation that is under way will not overwrite it."""
        return bool(await self._set_many(wire, {key: value}, timeout))

    async def _set_many(
        self, wire: Any, mapping: Mapping[str, Any], timeout: Any = None
    ) -> list[str]:
        """Store several values, in one trip; the keys that were stored."""
        life, prefix = self._life(timeout), self._prefix()
        if life < 0:  # over before it began
            await self._expel(wire, list(mapping))
        if life < 0 or not mapping:
            return list(mapping)
        payloads = {key: dumps(self.serializer, value) for key, value in mapping.items()}
        space = self._stamp(prefix, SPACE)
        until = self.clock() + life
        # The token is what it was the last time. The same trip tells whether that is still so.
        for _ in range(CLEARED):
            token = self._tokens.get(space[1]) or await self._space(wire, space)
            commands = gets([space])
            for key, payload in payloads.items():
                entry, mark, _space = self._spot(prefix, key)
                raw = Seal(token, until).around(payload)
                commands += [marking(mark), store("set", entry, raw, exptime(life))]
            found, *answers = await wire.batch(commands)
            if found and found[space[1]].text == token:
                return self._stored(dict(zip(payloads, answers[1::2], strict=True)))
            self._tokens.pop(space[1], None)
        return []

    def _stored(self, results: Mapping[str, bytes]) -> list[str]:
        """The keys that were stored; what was under one that is too large is gone."""
        for key, result in results.items():
            if result == TOO_LARGE:
                self._too_large(key)
        return [key for key, result in results.items() if result == STORED]

    async def _put(self, wire: Any, mapping: Mapping[str, Any], timeout: Any = None) -> list[str]:
        """Set several values; here, every set wins over computations under way."""
        return await self._set_many(wire, mapping, timeout)

    # --- guarded operations -----------------------------------------------------------------------

    async def _read(self, wire: Any, key: str, stamps: Sequence[str] = ()) -> Snapshot:
        """Look at a key, its mark and some stamps, in one trip to each server."""
        prefix = self._prefix()
        spot, places = self._spot(prefix, key), [self._stamp(prefix, stamp) for stamp in stamps]
        answers = await wire.batch(gets([*spot, *places]))
        found = found_in(answers)
        tokens = [_text(found.get(name)) for _, name in places]
        return self._snapshot(self._seen(spot, answers), tokens)

    async def _ensure(self, wire: Any, stamps: Sequence[str], timeout: float) -> list[str | None]:
        """The tokens of ``stamps``, in one trip; all callers anywhere agree on new ones."""
        prefix = self._prefix()
        places = [self._stamp(prefix, stamp) for stamp in stamps]
        made = [
            # What was set by hand relies on the namespace's, for however long.
            store("add", place, new_token().encode(), 0 if stamp == SPACE else exptime(timeout))
            for stamp, place in zip(stamps, places, strict=True)
        ]
        answers = await wire.batch([*made, *gets(places)])
        found = found_in(answers[len(made) :])
        return [_text(found.get(name)) for _, name in places]

    async def _fill(
        self,
        wire: Any,
        key: str,
        value: Any,
        timeout: float,
        mark: Any,
        stamps: Mapping[str, str],
        version: Any = None,
    ) -> bool:
        """Store ``value`` if nothing was stored meanwhile, and the key's mark still stands."""
        return await self._deliver(wire, None, key, value, timeout, mark, stamps, version)

    async def _expel(self, wire: Any, keys: Sequence[str], stamps: Sequence[str] = ()) -> list[str]:
        """Delete ``keys`` and drop ``stamps``, in one trip; the keys that existed."""
        prefix = self._prefix()
        commands: list[Command] = []
        for key in keys:
            entry, mark, _ = self._spot(prefix, key)
            commands += [marking(mark), delete(entry)]  # in this order: see :meth:`_deliver`
        commands += [delete(self._stamp(prefix, stamp)) for stamp in stamps]
        answers = await wire.batch(commands)
        gone = answers[1 : 2 * len(keys) : 2]
        return [key for key, answer in zip(keys, gone, strict=True) if answer == b"DELETED"]

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
        wire = self._wires.blocking()  # it is called in a thread of its own
        commands = [touch(lease.place, exptime(lease.life)), *gets([lease.place])]
        _, found = run_now(wire.batch(commands))
        return bool(_text(found.get(lease.name)) == lease.token)

    async def _claim(
        self, wire: Any, lease: MemcachedLease, key: str, stamps: Sequence[str] = ()
    ) -> tuple[bool, Snapshot]:
        """Try once for a lease, and look at its key in the same trip."""
        prefix = self._prefix()
        spot, places = self._spot(prefix, key), [self._stamp(prefix, stamp) for stamp in stamps]
        added = store("add", lease.place, lease.token.encode(), exptime(lease.life))
        _, *answers = await wire.batch([added, *gets([lease.place, lease.told, *spot, *places])])
        found = found_in(answers)
        item = found.get(lease.name)
        lease.holder, lease.rejected = _text(item), _text(found.get(lease.told[1]))
        taken = item is not None and lease.holder == lease.token
        if item is not None and taken:
            lease.version = item.unique
            lease.taken()
        tokens = [_text(found.get(name)) for _, name in places]
        return taken, self._snapshot(self._seen(spot, answers), tokens)

    async def _deliver(
        self,
        wire: Any,
        lease: MemcachedLease | None,
        key: str,
        value: Any,
        timeout: float,
        mark: Any,
        stamps: Mapping[str, str],
        version: Any = None,
    ) -> bool:
        """:meth:`fill`, and give the lease back in the same trip."""
        payload, spot = dumps(self.serializer, value), self._spot(self._prefix(), key)
        if version is None:  # the caller has not looked
            look = self._seen(spot, await wire.batch(gets(spot)))
            version = b"" if look.item is None else look.item.unique
            if look.mark != mark:
                if lease is not None:
                    await self._release(wire, lease)
                return False
        ending = [] if lease is None or lease.version is None else [lease.end()]
        filling = _filling(spot, payload, timeout, mark, version)
        result, *rest = await wire.batch([*filling, *ending])
        if lease is not None:
            lease.given_back()
        if version and result == b"NOT_FOUND":  # what it was to replace has ended meanwhile
            ending = []
            result, *rest = await wire.batch(_filling(spot, payload, timeout, mark, b""))
        if result == TOO_LARGE:
            self._too_large(key)
            if lease is not None:
                await wire.batch([_noting(lease)])
        if result != STORED:
            return False
        # Whoever deletes sets the mark first. If it has deleted already, the mark is a new one
        # here; if it has not, it will delete what was stored.
        if _text(rest[-1 - len(ending)].get(spot.mark[1])) == mark:
            return True
        await self._withdraw(wire, spot, payload)
        return False

    async def _withdraw(self, wire: Any, spot: Spot, payload: bytes) -> None:
        """Delete what was just stored, unless somebody has stored something else."""
        ((found),) = await wire.batch(gets([spot.entry]))
        item = found.get(spot.entry[1])
        if item is not None and item.raw == payload:
            await wire.batch([store("cas", spot.entry, b"", -1, item.unique)])

    async def _release(self, wire: Any, lease: MemcachedLease, shared: bool = True) -> None:
        """Give a lease back."""
        lease.given_back()
        commands = [] if shared else [_noting(lease)]
        if lease.version is not None:
            commands.append(lease.end())
        if commands:
            await wire.batch(commands)


def _text(item: Item | None) -> str | None:
    return None if item is None else item.text


def marking(place: Place) -> Command:
    """Give a key a new mark."""
    return store("set", place, new_token().encode(), exptime(TOMBSTONE_LIFE))


def _noting(lease: MemcachedLease) -> Command:
    """Tell those who wait for this holder that they must compute, too."""
    return store("set", lease.told, lease.note.encode(), exptime(lease.life))


def replacing(item: Item | None, place: Place, raw: bytes, life: float) -> Command:
    """Store something in the place of exactly what was there, or where nothing was."""
    verb, unique = ("add", b"") if item is None else ("cas", item.unique)
    return store(verb, place, raw, exptime(life), unique)


def _filling(
    spot: Spot, payload: bytes, life: float, mark: str | None, version: bytes
) -> list[Command]:
    """Store an entry, and look at its mark afterwards."""
    verb = "cas" if version else "add"
    commands = [store(verb, spot.entry, payload, exptime(life), version)]
    if mark is not None:  # it must outlive the entry that names it
        commands.append(touch(spot.mark, exptime(life and max(life, TOMBSTONE_LIFE))))
    return [*commands, *gets([spot.mark])]
