"""An answer that needs no computation: whether what is stored is good enough."""

from __future__ import annotations

from .._entries.entry import Elsewhere, Entry, Lookup, Verdict
from ..typing import Value
from .policy import Call

__all__ = ["Answer", "found"]


class Answer:
    """An answer that needs no computation."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value


def found(call: Call, lookup: Lookup, now: float) -> Answer | None:
    """What is stored, if it is good enough to need no computation."""
    entry = lookup.entry
    if entry is None:
        return None
    if type(entry.kept) is Elsewhere:  # another caller has found that out
        return Answer(entry.kept)
    if call.policy.judge(entry, now) is not Verdict.FRESH:
        return None
    if call.forced and not _is_newer(entry, call):
        return None
    value = entry.value()
    if value is None and not call.policy.cache_none:
        return None
    call.served = entry
    return Answer(value)


def _is_newer(entry: Entry, call: Call) -> bool:
    """Whether an entry is younger than a forced call.

    Its time alone does not say it, since the worker that stored it has a clock of its own. So it
    must also be another one than the call has found at first.
    """
    first = call.first
    if first is None or first.failed or entry.created <= call.called:
        return False
    return first.entry is None or _times(first.entry) != _times(entry)


def _times(entry: Entry) -> tuple[float, float, float]:
    return entry.created, entry.fresh_until, entry.usable_until
