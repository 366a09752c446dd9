"""What is said of one call: its key, what is stored there, and what would answer it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..stats import Kind

__all__ = ["Explanation", "Reason", "StoredEntry"]


class Reason(NamedTuple):
    """Why a call is not answered from the cache, or its value is not stored.

    :param cause: one of the words of :data:`.CAUSES`, or ``"absent"``, ``"expired"``, ``"stale"``,
        ``"invalidated"``, ``"other"`` (it belongs to another function), ``"forced"``,
        ``"no-view"``, ``"order"`` (decorators in the wrong order), ``"not-cached"``.
    :param text: a sentence for people, with what to do where something is to be done.
    """

    cause: str
    text: str


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """What is stored under a key.

    :param age: seconds since it was computed; ``None`` for what was set by hand without times.
    :param fresh_for: seconds for which it will be served as fresh; negative if it is over,
        ``None`` if it never ends.
    :param usable_for: the same, for being served while it is stale.
    :param tags: the user's tags that drop it.
    :param size: bytes, as it is stored; about what it takes in memory.
    :param kind: what type of value it is.
    """

    age: float | None
    fresh_for: float | None
    usable_for: float | None
    tags: tuple[str, ...]
    size: int
    kind: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one call would be answered with, and why. Nothing was computed or changed for it.

    :param kind: what was asked about; ``None`` if it is nothing that this cache caches.
    :param name: the module and the name of the function.
    :param key: the key; ``None`` if the call has none.
    :param made_of: what the key is made of: pairs as ``("path", "/users/7")``,
        ``("header accept-language", "de")``, ``("argument id", "7")``.
    :param tags: the tags that its entry has to carry, as a user knows them.
    :param stored: what is stored there, be it served or not; ``None`` for nothing.
    :param answer: ``"hit"``, ``"stale"`` (an old value, and a refresh in the background),
        ``"compute"`` (the function would be called), ``"bypass"`` (the cache would not be asked),
        ``"not-cached"``.
    :param reasons: why it is not a hit, or why a value would not be stored, the weightiest first.
    """

    kind: Kind | None
    name: str
    key: str | None
    made_of: tuple[tuple[str, str], ...]
    tags: tuple[str, ...]
    stored: StoredEntry | None
    answer: Literal["hit", "stale", "compute", "bypass", "not-cached"]
    reasons: tuple[Reason, ...]

    @property
    def served(self) -> bool:
        """Whether the call would be answered from the cache."""
        return self.answer in ("hit", "stale")
