"""Memcached's text protocol, without any I/O: what is sent, and how to understand the answers.

Several commands are sent at once, to one server, and answered in their order. Drivers would wait
for each answer before they send the next command.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from ...exceptions import BackendError

__all__ = [
    "CANNOT_COUNT",
    "STORED",
    "TOO_LARGE",
    "Answer",
    "Answers",
    "Command",
    "Item",
    "Place",
    "add_to",
    "closed",
    "delete",
    "found_in",
    "gets",
    "item_of",
    "portions",
    "raise_errors",
    "store",
    "touch",
    "version",
]

STORED, TOO_LARGE = b"STORED", b"SERVER_ERROR object too large for cache"

#: All other answers of one line that leave the connection as good as before.
KNOWN = frozenset((b"NOT_STORED", b"EXISTS", b"NOT_FOUND", b"DELETED", b"TOUCHED", STORED))
#: What stands there is no number that the server knows, or what to add is none.
CANNOT_COUNT = (b"CLIENT_ERROR cannot increment or decrement", b"CLIENT_ERROR invalid numeric")

#: What answers begin with that have more to say.
SAID = (b"SERVER_ERROR", b"VERSION ", *CANNOT_COUNT)

#: How many names one command asks for, and how many commands and bytes one trip sends.
NAMES, COMMANDS, SIZE = 100, 200, 1 << 20


class Item(NamedTuple):
    """What is under one name.

    :param flags: a number that the client which stored it chose; ours is 0.
    :param unique: changes whenever it is stored, but not when it is touched.
    """

    raw: bytes
    flags: int
    unique: bytes

    @property
    def text(self) -> str:
        """A token that we stored."""
        return self.raw.decode("utf-8", "replace")


#: ``Item(*three)`` in a third of the time, as in ``_entries/entry.py``.
item_of: Callable[[tuple[bytes, int, bytes]], Item] = functools.partial(tuple.__new__, Item)

#: A server's number, and a name there.
Place: TypeAlias = tuple[int, str]

#: What a server answers to a command: items by their places if it fetches, or a line. Which one it
#: is, the one who sent the command knows.
Answer: TypeAlias = Any


class Command(NamedTuple):
    """Something to send.

    :param at: the number of the server.
    :param fetched: the places of what it asks for, by their names on the server: its answer is
        items, and not one line.
    """

    at: int
    sent: bytes
    fetched: Mapping[bytes, Place] | None = None


def gets(wanted: Iterable[Place]) -> list[Command]:
    """Ask for items: one command for each server, or more if they are many.

    :param wanted: ``(server, name)`` of each.
    """
    by_server: dict[int, dict[str, None]] = {}
    for at, name in wanted:
        by_server.setdefault(at, {})[name] = None
    return [
        _get(at, names[start : start + NAMES])
        for at, names in ((at, list(names)) for at, names in by_server.items())
        for start in range(0, len(names), NAMES)
    ]


def _get(at: int, names: Sequence[str]) -> Command:
    fetched = {name.encode(): (at, name) for name in names}
    return Command(at, b"gets %b\r\n" % b" ".join(fetched), fetched)


def found_in(answers: Iterable[Answer]) -> dict[Place, Item]:
    """All items in the answers to :func:`gets`."""
    found: dict[Place, Item] = {}
    for answer in answers:
        found.update(answer)
    return found


def store(verb: str, place: Place, raw: bytes, until: int = 0, unique: bytes = b"") -> Command:
    """Store an item.

    :param verb: ``set``, ``add`` (unless there is one) or ``cas`` (if it is still ``unique``).
    :param until: seconds, at most 30 days; or the time since the epoch; 0 for ever; -1 is over.
    """
    head = f"{verb} {place[1]} 0 {until} {len(raw)}".encode()
    return Command(place[0], b"%b %b\r\n%b\r\n" % (head, unique, raw))


def delete(place: Place) -> Command:
    """Delete an item."""
    return Command(place[0], f"delete {place[1]}\r\n".encode())


def touch(place: Place, until: int) -> Command:
    """Let an item live until another time."""
    return Command(place[0], f"touch {place[1]} {until}\r\n".encode())


def version(at: int) -> Command:
    """Ask a server for its version."""
    return Command(at, b"version\r\n")


def add_to(place: Place, delta: int) -> Command:
    """Change a number that is stored as digits; the server knows none below 0."""
    verb = "incr" if delta >= 0 else "decr"
    return Command(place[0], f"{verb} {place[1]} {abs(delta)}\r\n".encode())


def portions(commands: Sequence[Command]) -> Iterator[Sequence[Command]]:
    """Commands in portions, so small that all can be sent before the first answer is read."""
    start = size = 0
    for number, command in enumerate(commands):
        if number > start and (number - start >= COMMANDS or size + len(command.sent) > SIZE):
            yield commands[start:number]
            start, size = number, 0
        size += len(command.sent)
    if start < len(commands):
        yield commands[start:]


class Answers:
    """The answers of one server to some commands, as they arrive.

    Whatever does not look like an answer to them is an error: then the connection must not be used
    any more, because it may give the answer to another question.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        #: Items by place, or a line, for each command.
        self.done: list[Answer] = []
        self._commands = commands
        self._arrived = bytearray()
        self._needed = 0
        self._found: dict[Place, Item] = {}

    def feed(self, data: bytes) -> list[Answer] | None:
        """Take what has arrived; all answers, or ``None`` as long as more is to come.

        :raises BackendError: if it is no answer.
        """
        if not data:
            raise closed()
        whole = data  # mostly all of it comes at once
        if self._arrived:
            self._arrived += data
            if len(self._arrived) < self._needed:
                return None
            whole = bytes(self._arrived)
        try:
            used = self._read(whole)
        except ValueError as error:
            raise BackendError(f"Memcached answered {whole[:80]!r}") from error
        if used < len(whole) or self._arrived:
            self._arrived = bytearray(whole[used:])
        if len(self.done) < len(self._commands):
            return None
        if self._arrived:
            raise BackendError(f"Memcached answered more: {bytes(self._arrived[:80])!r}")
        return self.done

    def _read(self, arrived: bytes) -> int:
        """Understand what is complete; how many bytes that were."""
        start, done = 0, self.done
        self._needed = 0
        for command in self._commands[len(done) :]:
            if command.fetched is not None:
                start, complete = self._read_items(arrived, start, command.fetched)
                if not complete:
                    break
                done.append(self._found)
                self._found = {}
            else:
                end = arrived.find(b"\r\n", start)
                if end < 0:
                    break
                done.append(_checked(arrived[start:end]))
                start = end + 2
        return start

    def _read_items(
        self, arrived: bytes, start: int, fetched: Mapping[bytes, Place]
    ) -> tuple[int, bool]:
        """Understand items from ``start`` on: where that ends, and whether no more are to come."""
        found = self._found
        while (end := arrived.find(b"\r\n", start)) >= 0:
            line = arrived[start:end]
            if line == b"END":
                return end + 2, True
            word, name, flags, size, unique = line.split(b" ")
            begin, stop = end + 2, end + 2 + int(size)
            if word != b"VALUE" or name not in fetched or not size.isdigit():
                raise ValueError(line)
            if arrived[stop : stop + 2] != b"\r\n":
                if len(arrived) >= stop + 2 or not b"\r\n".startswith(arrived[stop:]):
                    raise ValueError(line)
                self._needed = stop + 2 - start
                break
            found[fetched[name]] = item_of((arrived[begin:stop], int(flags), unique))
            start = stop + 2
        return start, False


def _checked(line: bytes) -> bytes:
    if line in KNOWN or line.isdigit() or line.startswith(SAID):
        return line
    raise ValueError(line)


def closed() -> BackendError:
    """The error for a connection that the server has closed."""
    return BackendError("Memcached closed the connection")


def raise_errors(answers: list[Answer]) -> list[Answer]:
    """The answers, if all commands were carried out; a value that is too large is no error."""
    for answer in answers:
        if type(answer) is bytes and answer.startswith(b"SERVER_ERROR") and answer != TOO_LARGE:
            raise BackendError(f"Memcached answered {answer.decode('utf-8', 'replace')}")
    return answers
