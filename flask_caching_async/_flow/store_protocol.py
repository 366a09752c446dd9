"""What the flow needs of a store."""

from __future__ import annotations

from typing import Any, Protocol

from .._entries.entry import Reading
from .._entries.times import Timetable


class Steps(Protocol):
    """What the flow needs of a store, in the colour of the caller; see ``store.py``."""

    async def load(self, key: str, stamps: tuple[str, ...]) -> Reading: ...
    async def guard(
        self, key: str, stamps: tuple[str, ...], reading: Reading, life: float
    ) -> Any: ...
    async def save(
        self, key: str, value: Any, times: Timetable, guard: Any, reading: Reading, lease: Any
    ) -> bool | None: ...
    async def claim(
        self, lease: Any, key: str, stamps: tuple[str, ...]
    ) -> tuple[bool, Reading | None]: ...
    async def unshared(self, lease: Any, holder: str) -> bool: ...
