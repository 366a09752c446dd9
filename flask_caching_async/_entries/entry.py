"""What is stored: a value with its own times, and the verdict on it."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol, TypeAlias

from ..typing import Value
from .times import LONG_AGO, NEVER

__all__ = [
    "BASE_TAG",
    "BY_HAND",
    "AnyEntry",
    "PeekedEntry",
    "Thaw",
    "Elsewhere",
    "Entry",
    "MISSING",
    "NOTHING",
    "Lookup",
    "Verdict",
    "is_marker",
    "judge",
    "lookup_of",
    "tag_of",
]


class Absent(enum.Enum):
    """Names for "not there", where ``None`` is a value like any other."""

    MISSING = "MISSING"
    NOTHING = "NOTHING"

    def __repr__(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        return False


#: Nothing is stored under the key.
MISSING = Absent.MISSING
#: There is no older value to serve instead of an error.
NOTHING = Absent.NOTHING


#: The tag of entries that a program stored under a key of its own choice, with ``set`` or
#: ``get_or_set``: they are an answer to each call of that key. It has no version.
BY_HAND = "~set~"


def tag_of(kind: str, name: str) -> str:
    """The tag of something: of a base key (``b``), a user's tag (``t``), a function or a view.

    It begins with a tilde, as no key does on a backend.
    """
    return f"~{kind}:{name}"


#: What the tags of base keys begin with: a page has one for each key that it is a variant of.
BASE_TAG = tag_of("b", "")


class Verdict(enum.Enum):
    """What an entry is good for."""

    FRESH = "fresh"  #: may be served
    STALE = "stale"  #: may be served while a refresh runs in the background
    STALE_IF_ERROR = "stale-if-error"  #: may be served instead of an error
    GONE = "gone"  #: nothing


#: Makes a private copy of what is kept for a value.
Thaw: TypeAlias = Callable[[Value], Value]


class AnyEntry(Protocol):
    """An :class:`Entry`, or one in memory, which has more to it."""

    kept: Value
    thaw: Thaw | None
    created: float
    fresh_until: float
    usable_until: float

    def value(self) -> Value:
        """The value, never one that another caller can mutate."""
        ...


class PeekedEntry(AnyEntry, Protocol):
    """An entry in memory, whose versions were looked at already."""

    #: The tag of the function that computed it, or ``BY_HAND``.
    owner: str

    def answers(self, tags: Collection[str]) -> bool:
        """Whether it carries all these tags, or was set by hand."""
        ...


class Entry:
    """A stored value.

    :param kept: what is held for the value; read it with :meth:`value`.
    :param thaw: makes a private copy of ``kept``; ``None`` where nothing can be mutated.
    :param created: when its computation ended, in seconds since the epoch.
    :param fresh_until: from then on it is stale.
    :param usable_until: from then on it is gone.
    """

    __slots__ = ("kept", "thaw", "created", "fresh_until", "usable_until")

    def __init__(
        self,
        kept: Value,
        thaw: Thaw | None = None,
        created: float = 0.0,
        fresh_until: float = NEVER,
        usable_until: float = NEVER,
    ) -> None:
        self.kept = kept
        self.thaw = thaw
        self.created = created
        self.fresh_until = fresh_until
        self.usable_until = usable_until

    def value(self) -> Value:
        """The value, never one that another caller can mutate."""
        return self.kept if self.thaw is None else self.thaw(self.kept)


class Elsewhere:
    """Stands where a page would be whose pages have keys of their own, made of these inputs.

    :param names: see ``pages/inputs.py``.
    """

    __slots__ = ("names",)

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names


def is_marker(entry: AnyEntry) -> bool:
    """Whether an entry has no value, but says where there is one."""
    return entry.fresh_until == LONG_AGO


class Lookup(NamedTuple):
    """One look at a key.

    :param entry: what may be served in some way, or ``None``.
    :param seen: what the store needs to tell later whether something was invalidated since.
    :param failed: whether the backend failed; then this call makes no further operation on it.
    :param cas: what the backend needs to replace exactly what was found here, if anything.
    """

    entry: Entry | None
    seen: Any = None
    failed: bool = False
    cas: bytes | None = None


#: ``Lookup(*four)`` in a third of the time: what a named tuple has for it is a function of Python.
lookup_of: Callable[[tuple[Entry | None, Any, bool, bytes | None]], Lookup]
lookup_of = functools.partial(tuple.__new__, Lookup)


def judge(
    entry: AnyEntry | None, now: float, revalidate: float = 0.0, if_error: float = 0.0
) -> Verdict:
    """What ``entry`` is good for at ``now``.

    The two windows are those of RFC 5861.

    :param revalidate: ``stale_while_revalidate``, in seconds after the entry was fresh.
    :param if_error: ``stale_if_error``, likewise.
    """
    if entry is None or now >= entry.usable_until:
        return Verdict.GONE
    if now < entry.fresh_until:
        return Verdict.FRESH
    if now < entry.fresh_until + revalidate:
        return Verdict.STALE
    return Verdict.STALE_IF_ERROR if now < entry.fresh_until + if_error else Verdict.GONE
