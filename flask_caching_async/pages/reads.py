"""What is read of a request: a set of names for each computation, and one for all before it.

An *input* is a text: ``header:accept-language``, ``cookie:theme``, ``arg:page`` (of the query
string), ``args`` (all of it), ``address``, ``host``, ``scheme``; or what belongs to one visitor:
``session``, ``authorization``, ``cookies`` (all), ``headers`` (all), ``body``, ``environ``;
``g.NAME`` and ``request.NAME`` for what was put there before the computation began.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol

from ..typing import Value

__all__ = [
    "BASE",
    "NOBODY",
    "Base",
    "Reads",
    "Recording",
    "aside",
    "base_for",
    "base_of",
    "by_the_cache",
    "is_counted",
    "is_routed",
    "Muted",
    "note",
    "note_of",
    "read_until_now",
    "reading",
    "reads_of",
    "subclass",
]

#: The attribute of a request, of its session and of the like that holds its :class:`Base`.
BASE = "_flask_caching_async_reads"


class Base:
    """What has been read of one request outside of all computations."""

    __slots__ = ("names", "open")

    def __init__(self) -> None:
        self.names: set[str] = set()
        #: The computations that are under way.
        self.open: list[Reads] = []


class Reads:
    """What one computation has read.

    :param base: of its request.
    :param before: what had been read of the request before it began.
    :param given: the names in ``g`` and on the request that were set before it began.
    """

    __slots__ = ("base", "names", "before", "given", "own", "variables", "changes", "of_cache")

    def __init__(self, base: Base, before: frozenset[str], given: set[str]) -> None:
        self.base = base
        self.names: set[str] = set()
        self.before = before
        self.given = given
        #: What the computation itself has put there.
        self.own: set[str] = set()
        #: What context processors gave to templates, by name, with what each of them had read.
        self.variables: dict[str, list[tuple[Value, set[str]]]] = {}
        #: Whether it wants to change the response after the view.
        self.changes = False
        #: How many changes of the response are the cache's own.
        self.of_cache = 0

    def all_names(self) -> set[str]:
        """What was read, with what had been read for what was given."""
        given = any(name[:2] == "g." or name[:8] == "request." for name in self.names)
        return self.names | self.before if given else self.names


#: The computation that the current context is in; its threads and tasks inherit it.
reading: ContextVar[Reads | None] = ContextVar("flask_caching_async.reading", default=None)

#: Stands for a computation whose reads do not count.
NOBODY = Reads(Base(), frozenset(), set())


def note(base: Base | None, name: str) -> None:
    """Note that something was read of the request that has this base."""
    reads = reading.get()
    if reads is NOBODY or base is None:
        return
    if reads is not None and reads.base is base:
        reads.names.add(name)
        return
    # Above all computations; or in a thread that has not inherited the context of one.
    base.names.add(name)
    for one in base.open:
        one.names.add(name)


def reads_of(base: Base | None) -> list[Reads]:
    """The computations that what happens here belongs to, the innermost first."""
    reads = reading.get()
    if base is None or reads is NOBODY:
        return []
    if reads is not None and reads.base is base:
        return [reads]
    return list(base.open)


class Recording:
    """A context in which is noted what is read.

    :param given: the names in ``g`` and on the request that are set now.
    :param changes: what the app will do with the response.
    :param end: is called after the outermost one.
    """

    __slots__ = ("base", "given", "changes", "end", "into", "_outer", "_token", "_before", "_reads")

    def __init__(
        self,
        base: Base,
        given: set[str],
        changes: Sized = (),
        end: Callable[[], None] = lambda: None,
        into: MadeFrom | None = None,
    ) -> None:
        self.base, self.given, self.changes, self.end, self.into = base, given, changes, end, into

    def __enter__(self) -> Reads:
        base, outer = self.base, reading.get()
        if outer is not None and outer.base is not base:
            outer = None
        before = base.names if outer is None else base.names | outer.before | outer.names
        reads = self._reads = Reads(base, frozenset(before), self.given)
        if self.into is not None:
            self.into.reads = reads
        self._outer, self._before = outer, len(self.changes)
        self._token = reading.set(reads)
        base.open.append(reads)
        return reads

    def __exit__(self, *_: object) -> None:
        base, reads, outer = self.base, self._reads, self._outer
        base.open.remove(reads)
        try:
            reading.reset(self._token)
        except ValueError:  # the collector ends coroutines in any context
            pass
        reads.changes = len(self.changes) > self._before + reads.of_cache
        (base if outer is None else outer).names.update(reads.names)
        if not base.open:
            self.end()


class MadeFrom(Protocol):
    """Keeps what a computation has read."""

    reads: Reads | None


@contextlib.contextmanager
def aside(reads: Reads) -> Iterator[set[str]]:
    """Note what is read in here in a set of its own, which counts for nothing by itself."""
    own = Reads(reads.base, reads.before, reads.given)
    token = reading.set(own)
    try:
        yield own.names
    finally:
        reading.reset(token)


class Muted:
    """A context in which nothing is noted: it is the cache that reads."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = reading.set(NOBODY)

    def __exit__(self, *_: object) -> None:
        reading.reset(self._token)


def by_the_cache() -> AbstractContextManager[None]:
    """A context in which a key is made: that is noted if the call is a part of a computation.

    What that is made from selects the page around it, too.
    """
    return Muted() if reading.get() is None else contextlib.nullcontext()


def read_until_now(base: Base) -> frozenset[str]:
    """What has been read of a request, by whomever."""
    return frozenset(base.names).union(*[one.before | one.names for one in base.open])


def base_of(owner: Value) -> Base | None:
    """The base of a request, a session or the like; ``None`` if it is not watched."""
    attributes: Mapping[str, Value] = getattr(owner, "__dict__", {})
    return attributes.get(BASE)


def base_for(request: Value) -> Base:
    """The base of a request, which has one from now on."""
    attributes: dict[str, Value] = request.__dict__
    base = attributes.get(BASE)
    if base is None:
        base = attributes[BASE] = Base()
    return base


def note_of(request: Value, *names: str) -> None:
    """Note that something was read of a request, if it is not its framework that reads.

    That has opened the session and found the view by the time that it has looked for a rule.
    """
    if is_counted(request):
        base = base_for(request)
        for name in names:
            note(base, name)


def is_counted(request: Value) -> bool:
    """Whether what is read of a request now is read by the app."""
    reads = reading.get()
    return reads is not NOBODY and (reads is not None or is_routed(request))


def is_routed(request: Value) -> bool:
    """Whether the app has looked for a rule, and has found one or none."""
    return request.url_rule is not None or request.routing_exception is not None


def subclass(kind: type, members: dict[str, Value]) -> type:
    """A subclass of what is watched, which passes for its base."""
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, BASE: None}
    return type(kind)(kind.__name__, (kind,), {**named, **members})
