"""An entry in memory: a value with its times, the versions that it depends on, and its place."""

from __future__ import annotations

from collections.abc import Collection

from ..._entries.entry import BY_HAND, Thaw
from ...typing import Value
from .eviction import NOWHERE, Node
from .versions import BY_HAND_VERSION, Version

__all__ = ["MemoryEntry"]

#: The generation of an entry that no reader has checked yet.
_UNCHECKED = -1


class MemoryEntry(Node):
    """An entry in memory; has the attributes of :class:`.Entry`.

    :param times: a :class:`.Times`, or a bare tuple of the same.
    """

    __slots__ = ("kept", "thaw", "created", "fresh_until", "versions", "generation", "owner")

    def __init__(
        self,
        key: str,
        kept: Value,
        thaw: Thaw | None,
        times: tuple[float, float, float],
        versions: tuple[Version, ...],
    ) -> None:
        # What Node.__init__ does, too: a call costs as much as all of this.
        self.key, self.visited, self._queue = key, False, NOWHERE
        self.created, self.fresh_until, self.usable_until = times
        self.kept = kept
        self.thaw = thaw
        self.versions = versions
        #: When its versions were found alive, counted in invalidations.
        self.generation = _UNCHECKED
        #: The first tag: that of the function it was computed by, or that of what is set by hand.
        self.owner = versions[0].name if versions else BY_HAND

    def value(self) -> Value:
        """The value, never one that another caller can mutate."""
        return self.kept if self.thaw is None else self.thaw(self.kept)

    def answers(self, tags: Collection[str]) -> bool:
        """Whether it carries all these tags, or was set by hand; else it is another function's."""
        versions = self.versions
        if not versions or versions[0] is BY_HAND_VERSION or BY_HAND in tags:
            return True
        return {version.name for version in versions}.issuperset(tags)
