"""Setting values on Memcached by hand, so that ``clear`` of their namespace ends them.

``values.py`` says how they lie there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from ...typing import Timeout, Value
from .._connections.both_colours import over_transport
from .._connections.operations import ServerOperations
from .._versioned.contract import new_token
from .entries import superseding, token_of
from .looking import Question, Spot, own_place, place_of, question_of, spot_of
from .protocol import STORED, TOO_LARGE, Item, Place, found_in, gets, store
from .values import Header, MemcachedValues, exptime
from .verbs import MemcachedTransport

if TYPE_CHECKING:
    from .ring import Ring

__all__ = ["MemcachedSetting"]

#: How often a value is set again, because all was cleared at the same moment.
CLEARED = 5


class MemcachedSetting(MemcachedValues, ServerOperations[MemcachedTransport]):
    """Where things lie on the servers, the version of the namespace, and setting."""

    _ring: Ring
    #: The last known version of each namespace, by its place.
    _tokens: dict[Place, str]

    # --- places -----------------------------------------------------------------------------------

    def _own_place(self, prefix: str, tag: str) -> Place:
        return own_place(self._ring, prefix, tag)

    def _spot(self, prefix: str, key: str) -> Spot:
        return spot_of(self._ring, prefix, key)

    def _question(self, key: str, tags: Sequence[str]) -> Question:
        """What a look at a key asks for."""
        return question_of(self._ring, self._prefix(), key, tuple(tags))

    def shards(self) -> Sequence[Self]:
        """One view for each server: all that an entry depends on is on the server of that entry."""
        return [self._on(number) for number in self._ring.numbers]

    def _on(self, number: int) -> Self:
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__, _ring=self._ring.only(number), _tokens={})
        part.clock = lambda: self.clock()
        part.where = self.where.split(", ")[number]
        return part

    def shard_of(self, key: str) -> int:
        """The number of the server that has a key."""
        return place_of(self._ring, self._prefix(), key)[0]

    # --- the version of the namespace -------------------------------------------------------------

    async def _space(self, transport: MemcachedTransport, place: Place) -> str:
        """The version of the namespace; it is created if it is missing, and lives for ever."""
        (made,) = await self._made(transport, [place])
        token = made or new_token()  # none: nothing can be stored now
        if len(self._tokens) > 1000:
            self._tokens.clear()  # many prefixes
        self._tokens[place] = token
        return token

    async def _made(
        self, transport: MemcachedTransport, places: Sequence[Place]
    ) -> list[str | None]:
        """The versions at some places, in one trip; what is missing, or none of ours, is made.

        They have no end: nobody could tell how long one still lives, to let it live on. The server
        evicts those that are not asked for any more.
        """
        adding = [store("add", place, new_token().encode()) for place in places]
        found: dict[Place, Item] = {}
        for _ in range(2):
            answers = (await transport.batch([*adding, *gets(places)]))[len(adding) :]
            found = found_in(answers)
            foreign = [
                store("cas", place, b"", -1, item.unique)  # it ends now
                for place, item in found.items()
                if token_of(item) is None
            ]
            if not foreign:
                break
            await transport.batch(foreign)
        return [token_of(found.get(place)) for place in places]

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
        spots = {key: self._spot(prefix, key) for key in payloads}
        spaces = list(dict.fromkeys(spot.space for spot in spots.values()))
        until = self.clock() + life
        # The version is what it was the last time. The same trip says whether that is still so.
        for _ in range(CLEARED):
            tokens = {
                space: self._tokens.get(space) or await self._space(transport, space)
                for space in spaces
            }
            commands = looking = gets(spaces)
            for key, (entry, key_version, space) in spots.items():
                raw = Header(tokens[space], until).around(payloads[key])
                storing = store("set", entry, raw, exptime(life))
                commands = [*commands, superseding(key_version), storing]
            answers = await transport.batch(commands)
            found = found_in(answers[: len(looking)])
            overtaken = [space for space in spaces if token_of(found.get(space)) != tokens[space]]
            if not overtaken:
                stored = answers[len(looking) + 1 :: 2]
                return self._stored(dict(zip(payloads, stored, strict=True)))
            for space in overtaken:
                self._tokens.pop(space, None)
        return []

    set_many, aset_many = over_transport(_set_many)

    def _stored(self, results: Mapping[str, bytes]) -> list[str]:
        """The keys that were stored; what was under one that is too large is gone."""
        for key, result in results.items():
            if result == TOO_LARGE:
                self._too_large(key)
        return [key for key, result in results.items() if result == STORED]
