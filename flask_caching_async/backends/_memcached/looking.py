"""A look at an entry, its key version and some tag versions: what it asks for, and what it sees.

A hit does nothing else. So what it asks for is remembered, and an answer that has all of it is read
in a few steps: what was asked for last, the entry, may hold anything, and all before it is short.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from .._connections.conversation import Reading
from .._versioned.contract import KEY_VERSION, NAMESPACE
from .protocol import Answers, Item, Place, found_in, gets
from .values import name_of, own_name

if TYPE_CHECKING:
    from .ring import Ring

__all__ = ["Question", "Seen", "Spot", "own_place", "place_of", "question_of", "spot_of"]

#: The lengths of a token, and of a witness, as they stand in an answer.
TOKEN, WITNESS = 16, 17
#: The end of an answer.
END = b"\r\nEND\r\n"


class Spot(NamedTuple):
    """Where an entry lies, its key version, and the version of the namespace."""

    entry: Place
    key_version: Place
    space: Place


class Seen(NamedTuple):
    """What a look has seen, as it is stored."""

    item: Item | None
    key_version: bytes | None
    space: bytes | None
    tags: tuple[bytes | None, ...]


def place_of(ring: Ring, prefix: str, key: str) -> Place:
    """Where an entry lies."""
    name = name_of(prefix, key)
    return ring.at(name), name


def own_place(ring: Ring, prefix: str, tag: str, beside: str = "") -> Place:
    """Where the version of a tag lies.

    :param beside: a key; what stands for the version of a key is on the server of its entry.
    """
    name = own_name(prefix, tag)
    return ring.at(name_of(prefix, beside) if tag.startswith(KEY_VERSION) else name), name


def spot_of(ring: Ring, prefix: str, key: str) -> Spot:
    """Where an entry lies, and what belongs to it."""
    at, name = place_of(ring, prefix, key)
    key_version = at, own_name(prefix, KEY_VERSION + key)
    return Spot((at, name), key_version, (at, own_name(prefix, NAMESPACE)))


class Question:
    """A look at a spot, and at the versions of some tags.

    :param spot: where the entry lies.
    :param tags: where these versions lie.
    """

    def __init__(self, spot: Spot, tags: tuple[Place, ...]) -> None:
        self.spot, self.tags = spot, tags
        tokens = list(dict.fromkeys([spot.space, *tags]))
        self.commands = gets([*tokens, spot.key_version, spot.entry])
        #: What is sent if one server has all of it, and one command asks for it.
        self.sent = self.commands[0].sent if len(self.commands) == 1 else None
        self._heads = [b"VALUE %b 0 %d " % (name.encode(), TOKEN) for _, name in tokens]
        version, entry = spot.key_version[1].encode(), spot.entry[1].encode()
        self._version_heads = {
            length: b"VALUE %b 0 %d " % (version, length) for length in (TOKEN, WITNESS)
        }
        self._entry_head = b"VALUE %b " % entry
        self._order = [tokens.index(place) for place in (spot.space, *tags)]

    def reading(self) -> Reading:
        """Reads the answer to what was sent: a list with what was seen."""
        answers: Answers | None = None

        def read(data: bytes) -> list[Seen] | None:
            nonlocal answers
            if answers is None:
                seen = self.read(data)
                if seen is not None:
                    return [seen]
                answers = Answers(self.commands)
            done = answers.feed(data)
            return None if done is None else [self.seen_in(done)]

        return read

    def read(self, data: bytes) -> Seen | None:
        """What stands in an answer that is whole and has all that was asked for; else ``None``."""
        heads = self._heads
        lines = data.split(b"\r\n", 2 * len(heads) + 3)
        if len(lines) != 2 * len(heads) + 4:
            return None
        tokens = lines[1:-4:2]
        for head, line, token in zip(heads, lines[:-4:2], tokens, strict=True):
            if not line.startswith(head) or len(token) != TOKEN:
                return None
        version_line, version, entry_line, raw = lines[-4:]
        version_head = self._version_heads.get(len(version))
        if version_head is None or not version_line.startswith(version_head):
            return None
        if not entry_line.startswith(self._entry_head) or not raw.endswith(END):
            return None
        try:
            flags, size, unique = entry_line[len(self._entry_head) :].split(b" ")
            if int(size) != len(raw) - len(END):
                return None
            item = Item(raw[: -len(END)], int(flags), unique)
        except ValueError:
            return None
        space, *tags = [tokens[number] for number in self._order]
        return Seen(item, version, space, tuple(tags))

    def seen_in(self, answers: Iterable[Mapping[Place, Item]]) -> Seen:
        """What was found at these places."""
        found = found_in(answers)
        raws = [
            None if (item := found.get(place)) is None else item.raw
            for place in (self.spot.key_version, self.spot.space, *self.tags)
        ]
        return Seen(found.get(self.spot.entry), raws[0], raws[1], tuple(raws[2:]))


@functools.lru_cache(2048)
def question_of(ring: Ring, prefix: str, key: str, tags: tuple[str, ...]) -> Question:
    """How to look at a key, and at the versions of some tags."""
    places = tuple([own_place(ring, prefix, tag, key) for tag in tags])
    return Question(spot_of(ring, prefix, key), places)
