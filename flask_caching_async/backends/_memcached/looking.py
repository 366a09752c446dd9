"""A look at an entry, its key version and some tag versions: what it asks for, and what it sees.

A hit does nothing else. So what it asks for is remembered, and an answer that has all of it is read
in a few steps: what was asked for last, the entry, may hold anything, and all before it is short.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .._connections.conversation import Reading
from .._connections.server import text_of
from .._versioned.contract import KEY_VERSION, NAMESPACE, as_key_version, as_token
from .protocol import Answers, Item, Place, found_in, gets, item_of
from .values import name_of, own_name

if TYPE_CHECKING:
    from .ring import Ring

__all__ = ["Question", "Seen", "Spot", "own_place", "place_of", "question_of", "spot_of"]

#: The end of an answer.
END = b"\r\nEND\r\n"


class Spot(NamedTuple):
    """Where an entry lies, its key version, and the version of the namespace."""

    entry: Place
    key_version: Place
    space: Place


class Seen(NamedTuple):
    """What a look has seen: an item, and versions that we gave out.

    :param space: that of the namespace.
    """

    item: Item | None
    key_version: str | None
    space: str | None
    tags: tuple[str | None, ...]


#: ``Seen(*four)`` in a third of the time, as in ``_entries/entry.py``.
seen_of: Callable[[tuple[Item | None, str | None, str | None, tuple[str | None, ...]]], Seen]
seen_of = functools.partial(tuple.__new__, Seen)

#: The versions of a key, of the namespace and of tags.
Versions: TypeAlias = tuple[str | None, str | None, tuple[str | None, ...]]


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
        self._tokens = list(dict.fromkeys([spot.space, *tags]))
        self.commands = gets([*self._tokens, spot.key_version, spot.entry])
        #: What is sent if one server has all of it, and one command asks for it.
        self.sent = self.commands[0].sent if len(self.commands) == 1 else None
        self._entry_head = b"VALUE %b " % spot.entry[1].encode()
        #: What stood before the entry in the last answer, and the versions in that: in most answers
        #: it is the same.
        self._known: tuple[bytes, Versions] | None = None

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
        known = self._known
        if known is None or not data.startswith(known[0]):
            known = self._read_versions(data)
            if known is None:
                return None
            self._known = known
        head, start = self._entry_head, len(known[0])
        if not (data.startswith(head, start) and data.endswith(END)):
            return None
        line_end = data.find(b"\r\n", start)
        try:
            flags, size, unique = data[start + len(head) : line_end].split(b" ")
            begin, stop = line_end + 2, line_end + 2 + int(size)
            if stop + len(END) != len(data):
                return None
            item = item_of((data[begin:stop], int(flags), unique))
        except ValueError:
            return None
        return seen_of((item, *known[1]))

    def _read_versions(self, data: bytes) -> tuple[bytes, Versions] | None:
        """What stands before the entry in an answer, and the versions in that."""
        lines = data.split(b"\r\n", 2 * len(self._tokens) + 2)
        *before, _ = lines
        if len(before) != 2 * len(self._tokens) + 2:
            return None
        found: dict[Place, bytes] = {}
        places = [*self._tokens, self.spot.key_version]
        for place, line, token in zip(places, before[::2], before[1::2], strict=True):
            if not line.startswith(b"VALUE %b 0 %d " % (place[1].encode(), len(token))):
                return None
            found[place] = token
        return b"\r\n".join([*before, b""]), self._versions(found)

    def seen_in(self, answers: Iterable[Mapping[Place, Item]]) -> Seen:
        """What was found at these places."""
        items = found_in(answers)
        versions = self._versions({place: item.raw for place, item in items.items()})
        return seen_of((items.get(self.spot.entry), *versions))

    def _versions(self, found: Mapping[Place, bytes]) -> Versions:
        """The versions in what was found at these places."""
        key_version = text_of(as_key_version(found.get(self.spot.key_version)))
        tokens = tuple([as_token(found.get(place)) for place in self.tags])
        return key_version, as_token(found.get(self.spot.space)), tokens


@functools.lru_cache(2048)
def question_of(ring: Ring, prefix: str, key: str, tags: tuple[str, ...]) -> Question:
    """How to look at a key, and at the versions of some tags."""
    places = tuple([own_place(ring, prefix, tag, key) for tag in tags])
    return Question(spot_of(ring, prefix, key), places)
