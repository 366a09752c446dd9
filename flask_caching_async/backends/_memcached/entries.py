"""An entry and what lies beside it on a server: what was found, and the commands that change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .._connections.server import text_of
from .._versioned.contract import KEY_VERSION_LIFE, as_key_version, as_token, new_token
from .looking import Spot
from .protocol import Command, Item, Place, gets, store, touch
from .values import exptime

__all__ = ["Look", "replacing", "storing", "superseding", "token_of"]


class Look(NamedTuple):
    """What was found at a spot."""

    item: Item | None
    key_version: str | None
    token: str | None

    @classmethod
    def of(cls, spot: Spot, found: Mapping[Place, Item]) -> Look:
        """What was found at a spot, among other places."""
        entry, version, space = spot
        key_version = None
        if (item := found.get(version)) is not None:
            key_version = text_of(as_key_version(item.raw))
        return cls(found.get(entry), key_version, token_of(found.get(space)))


def token_of(item: Item | None) -> str | None:
    """A token that was found, if it was one that we have given out."""
    return None if item is None else as_token(item.raw)


def superseding(place: Place) -> Command:
    """Give a key a new version."""
    return store("set", place, new_token().encode(), exptime(KEY_VERSION_LIFE))


def replacing(item: Item | None, place: Place, raw: bytes, life: float) -> Command:
    """Store something in the place of exactly what was there, or where nothing was."""
    verb, unique = ("add", b"") if item is None else ("cas", item.unique)
    return store(verb, place, raw, exptime(life), unique)


def storing(
    spot: Spot, payload: bytes, life: float, key_version: str | None, cas: bytes
) -> list[Command]:
    """Store an entry, and look at its key version afterwards."""
    verb = "cas" if cas else "add"
    commands = [store(verb, spot.entry, payload, exptime(life), cas)]
    if key_version is not None:  # it must outlive the entry that names it
        commands.append(touch(spot.key_version, exptime(life and max(life, KEY_VERSION_LIFE))))
    return [*commands, *gets([spot.key_version])]
