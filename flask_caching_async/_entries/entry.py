"""What is stored: a value with its own timetable, and the verdict on it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

from .times import NEVER

__all__ = ["Entry", "MISSING", "NOTHING", "Reading", "Verdict", "judge"]


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


class Verdict(enum.Enum):
    """What an entry is good for."""

    FRESH = "fresh"  #: may be served
    STALE = "stale"  #: may be served while a refresh runs in the background
    RESCUE = "rescue"  #: may be served instead of an error
    GONE = "gone"  #: nothing


class Entry:
    """A stored value.

    :param value: what is kept; read it with :meth:`open`.
    :param thaw: makes a private copy of ``value``; ``None`` where nothing can be mutated.
    :param created: when its computation ended, in seconds since the epoch.
    :param fresh_until: from then on it is stale.
    :param usable_until: from then on it is gone.
    """

    __slots__ = ("value", "thaw", "created", "fresh_until", "usable_until")

    def __init__(
        self,
        value: Any,
        thaw: Callable[[Any], Any] | None = None,
        created: float = 0.0,
        fresh_until: float = NEVER,
        usable_until: float = NEVER,
    ) -> None:
        self.value = value
        self.thaw = thaw
        self.created = created
        self.fresh_until = fresh_until
        self.usable_until = usable_until

    def open(self) -> Any:
        """The value, never one that somebody else can mutate."""
        return self.value if self.thaw is None else self.thaw(self.value)


class Reading(NamedTuple):
    """One look at a key.

    :param entry: what may be served in some way, or ``None``.
    :param seen: what the store needs to tell later whether something was invalidated since.
    :param failed: whether the backend failed; then this call makes no further operation on it.
    :param version: what the store needs to replace exactly what was found here, if anything.
    """

    entry: Entry | None
    seen: Any = None
    failed: bool = False
    version: Any = None


def judge(entry: Entry | None, now: float, revalidate: float = 0.0, rescue: float = 0.0) -> Verdict:
    """What ``entry`` is good for at ``now``.

    The two windows are those of RFC 5861.

    :param revalidate: ``stale_while_revalidate``, in seconds after the entry was fresh.
    :param rescue: ``stale_if_error``, likewise.
    """
    if entry is None or now >= entry.usable_until:
        return Verdict.GONE
    if now < entry.fresh_until:
        return Verdict.FRESH
    if now < entry.fresh_until + revalidate:
        return Verdict.STALE
    return Verdict.RESCUE if now < entry.fresh_until + rescue else Verdict.GONE
