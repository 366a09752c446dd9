"""Looking at what stands under a key of any backend, whether it is an answer or not.

Unlike a look of the flow it neither counts as a success or a failure of the backend, nor makes up
for deletions that are pending.
"""

from __future__ import annotations

from .._entries.entry import BY_HAND, Entry
from .._entries.envelope import is_entry, unpack
from .._entries.isolation import size_of
from .._flow.store_protocol import Inspected
from ..backends._versioned.contract import KEY_VERSION, NAMESPACE, key_version_name
from ..typing import Value
from .by_hand import StepsByHand
from .failures import in_one_line
from .valid_keys import spelled

__all__ = ["InspectingSteps"]


class InspectingSteps(StepsByHand):
    """The step in one colour; see :class:`.StoreSteps`."""

    async def inspect(self, key: str, tags: tuple[str, ...]) -> Inspected:
        """Look at what stands under a key."""
        if self.breaker.is_open:
            return Inspected(None, "backend", error="its circuit breaker is open")
        try:
            return await self._inspect(spelled(key), tags)
        except Exception as error:
            return Inspected(None, "backend", error=in_one_line(error))

    async def _inspect(self, name: str, tags: tuple[str, ...]) -> Inspected:
        found = await self.ops.look_up(name)
        if found.value is None:
            return Inspected(None, "absent")
        entry, versions = unpack(found.value)
        size = size_of(found.value[-1] if is_entry(found.value) else found.value)
        if entry is None:
            return Inspected(None, "unreadable", size=size)
        by_hand = versions.pop(BY_HAND, None) is not None or not versions or BY_HAND in tags
        carried = tuple([tag for tag in versions if not tag.startswith(KEY_VERSION)])
        why, gone = "", await self._gone(name, versions, found.key_version)
        missing = () if by_hand else tuple([tag for tag in tags if tag not in versions])
        if gone:
            why = "invalidated"
        elif missing:
            why, gone = "other", missing
        elif self._is_over(entry):
            why = "expired"
        return Inspected(entry, why, carried, gone, size)

    async def _gone(
        self, name: str, versions: dict[str, str], key_version: Value
    ) -> tuple[str, ...]:
        """What an entry depends on that does not stand any more, or is to be invalidated yet."""
        pending, own = self.pending.look(), key_version_name(name)
        if pending.everything:
            return (NAMESPACE,)
        dropped = [*[key for key in pending.keys if key == name], *pending.tags]
        gone = [tag for tag in dropped if tag == name or tag in versions]
        names = [tag for tag in versions if tag != own]
        seen = {own: key_version}
        if names:
            look = await self.ops.look_up(name, names)
            seen |= dict(zip(names, look.tag_versions, strict=True))
        gone += [tag for tag, version in versions.items() if seen[tag] != version]
        return tuple(dict.fromkeys(gone))

    def _is_over(self, entry: Entry) -> bool:
        return bool(self.backend.clock() >= entry.usable_until)
