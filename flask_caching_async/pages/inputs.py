"""Selecting inputs: what a request says that selects one of several pages, as part of their key.

A page that was made from some of these is stored under a key made of their values, and what stands
under its plain key says which they are (:class:`.Elsewhere`). A page that depends on one header
only where another one is missing branches: each variant may lead on to variants of its own.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from urllib.parse import parse_qsl

from werkzeug.datastructures import EnvironHeaders
from werkzeug.sansio.request import Request

from .._runtime.fork import forgets_parent
from ..keys import SHORTEST, digest
from ..typing import Value
from .reads import Muted

__all__ = ["LEVELS", "Learned", "header_of", "values_of", "variant_key"]

#: How many keys are remembered whose pages vary, and of how many variants.
REMEMBERED = 4096
BOOKED = 16 * REMEMBERED
#: How often one variant of a page may lead on to others. A page that goes on after that reads
#: something else each time, and would never be found again.
LEVELS = 8
#: How many parameters of a query string are told apart; a page that reads more reads all of it.
PARAMETERS = 16


def variant_key(key: str, names: tuple[str, ...], request: Request) -> str:
    """The key of the page for this request, of those that vary by these inputs."""
    with Muted():
        return f"{key}|{_hashed(names, values_of(request, names))}"


@functools.lru_cache(4096)
def _hashed(names: tuple[str, ...], values: tuple[Value, ...]) -> str:
    text = repr((b"inputs", names, values))
    return digest(hashlib.sha256, text.encode(errors="surrogatepass"))


def values_of(request: Request, names: Iterable[str]) -> tuple[Value, ...]:
    """What a request says, of each input."""
    return tuple([_value(request, name) for name in names])


def _value(request: Request, name: str) -> Value:
    kind, _, rest = name.partition(":")
    if kind == "arg":
        return tuple([value for name, value in _pairs(request.query_string) if name == rest])
    if kind == "header":
        return header_of(request, rest)
    if kind == "cookie":
        return tuple(request.cookies.getlist(rest))
    if name == "args":
        return tuple(sorted(_pairs(request.query_string), key=lambda pair: pair[0]))
    if name == "address":
        return request.remote_addr
    return request.scheme if name == "scheme" else request.host


@functools.lru_cache(1024)
def _pairs(query_string: bytes) -> list[tuple[str, str]]:
    """A query string as Werkzeug reads it."""
    return parse_qsl(query_string.decode(), keep_blank_values=True, errors="werkzeug.url_quote")


def header_of(request: Request, name: str) -> str | None:
    """All that a request says in a header, which ASGI may give several times."""
    headers = request.headers
    if isinstance(headers, EnvironHeaders):
        return headers.get(name)
    return "\n".join(found) if (found := headers.getlist(name)) else None


class Learned:
    """What one process knows of the pages of one view that vary.

    :param bound: how many variants of one page are stored.
    """

    __slots__ = ("names", "bound", "_stored", "_booked", "_asked", "_lock", "__weakref__")

    def __init__(self, bound: int) -> None:
        #: The inputs by the key whose pages vary by them.
        self.names: dict[str, tuple[str, ...]] = {}
        self.bound = bound
        #: The variants that were stored, by the key that they are variants of, the oldest first.
        self._stored: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()
        self._booked = 0
        #: Variants that were asked for once while there was no room.
        self._asked: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.RLock()  # reentrant, for handlers
        forgets_parent(self)

    def forget_parent(self) -> None:
        """In a forked child: another thread may have held the lock."""
        self._lock = threading.RLock()

    def learn(self, key: str, names: Collection[str]) -> tuple[str, ...]:
        """Remember that the pages under a key vary by these inputs, and by those known before."""
        several = {*names, *self.names.get(key, ())}
        parameters = {name for name in several if name[:4] == "arg:"}
        if "args" in several or len(parameters) > PARAMETERS:
            several = {*(several - parameters), "args"}
        found = tuple(sorted(several))
        if found != self.names.get(key):
            if len(self.names) >= REMEMBERED:
                self.names.pop(next(iter(self.names), ""), None)
            self.names[key] = found
        return found

    def key_of(self, key: str, request: Request) -> tuple[str, dict[str, tuple[str, ...]]]:
        """The key for a request, as far as it is known, and the keys above it with their inputs."""
        above: dict[str, tuple[str, ...]] = {}
        while (names := self.names.get(key)) is not None:
            above[key] = names
            key = variant_key(key, names, request)
        return key, above

    def names_in(self, key: str) -> set[str]:
        """The inputs that are in a key."""
        found: set[str] = set()
        while len(key) > SHORTEST and (names := self.names.get(key[:-SHORTEST])) is not None:
            found.update(names)
            key = key[:-SHORTEST]
        return found

    def inputs_of(self, key: str, request: Request) -> set[str]:
        """The inputs that are in a key, and those of its variant for a request."""
        found = self.names_in(key)
        return found.union(*self.key_of(key, request)[1].values())

    def admit(self, parent: str, key: str, now: float, until: float) -> str | None:
        """Whether a variant may be stored: the key of one that goes for it, ``""`` for none.

        ``None`` if it may not.

        While there is room, all are. After that those that were asked for before, so that queries
        that are made up push out nothing that others use.
        """
        with self._lock:
            return self._admit(parent, key, now, until)

    def _admit(self, parent: str, key: str, now: float, until: float) -> str | None:
        out = ""
        stored = self._stored.setdefault(parent, OrderedDict())
        self._stored.move_to_end(parent)
        while self._booked >= BOOKED and len(self._stored) > 1:
            self._booked -= len(self._stored.popitem(last=False)[1])
        if key not in stored and len(stored) >= self.bound:
            oldest, ends = next(iter(stored.items()))
            if ends > now and key not in self._asked:
                self._asked[key] = None
                while len(self._asked) > self.bound:
                    self._asked.popitem(last=False)
                return None
            self._asked.pop(key, None)
            del stored[oldest]
            self._booked -= 1
            out = oldest if ends > now else ""
        self._booked += key not in stored
        stored.pop(key, None)
        stored[key] = until
        return out
