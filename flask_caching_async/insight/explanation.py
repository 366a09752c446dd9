"""What is said of one call: its key, what is stored there, and what would answer it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from ..stats import Kind

__all__ = ["Answer", "Explanation", "Reason", "StoredEntry", "told_time"]

#: What a call would be answered with; see :class:`Explanation`.
Answer: TypeAlias = Literal["hit", "stale", "compute", "bypass", "not-cached"]

#: What the answers mean.
ANSWERS = {
    "hit": "answered from the cache",
    "stale": "answered with an old value, while a new one is computed in the background",
    "compute": "it would be called",
    "bypass": "it would be called, past the cache",
    "not-cached": "not cached",
}


def told_time(seconds: float) -> str:
    """A number of seconds for people."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


class Reason(NamedTuple):
    """Why a call is not answered from the cache, or its value is not stored.

    :param cause: one of the words of ``stats.CAUSES``, or ``"absent"``, ``"expired"``, ``"stale"``,
        ``"invalidated"``, ``"unreadable"``, ``"other"`` (it belongs to another function),
        ``"forced"``, ``"failed"`` (the function raised), ``"no-view"``, ``"order"`` (decorators in
        the wrong order), ``"not-cached"``.
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

    def text(self) -> str:
        """All of it in one line."""
        parts = [] if self.age is None else [f"computed {told_time(self.age)} ago"]
        if self.fresh_for is None:
            parts.append("fresh for ever")
        elif self.fresh_for > 0:
            parts.append(f"fresh for {told_time(self.fresh_for)}")
        else:
            parts.append(f"fresh until {told_time(-self.fresh_for)} ago")
        if self.usable_for is not None and self.usable_for > max(self.fresh_for or 0, 0):
            parts.append(f"served while it is stale for {told_time(self.usable_for)}")
        parts += [f"about {self.size:,} bytes", self.kind]
        if self.tags:
            parts.append(f"tags {', '.join(self.tags)}")
        return "; ".join(parts)


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
    answer: Answer
    reasons: tuple[Reason, ...]

    @property
    def served(self) -> bool:
        """Whether the call would be answered from the cache."""
        return self.answer in ("hit", "stale")

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data, which JSON can say."""
        found = asdict(self)
        found["served"] = self.served
        found["made_of"] = [list(pair) for pair in self.made_of]
        found["reasons"] = [{"cause": cause, "text": text} for cause, text in self.reasons]
        found["tags"] = list(self.tags)
        if self.stored is not None:
            found["stored"]["tags"] = list(self.stored.tags)
        return found

    def text(self) -> str:
        """All of it for people, in several lines."""
        kind = f" ({self.kind})" if self.kind else ""
        lines = [f"{self.name}{kind}: {ANSWERS[self.answer]}"]
        lines += [f"  {head:<8} {content}" for head, content in self._lines()]
        return "\n".join(lines)

    def _lines(self) -> Iterator[tuple[str, str]]:
        for number, (_, text) in enumerate(self.reasons):
            yield "" if number else "why", text
        if self.key is not None:
            yield "key", self.key
        for number, (name, content) in enumerate(self.made_of):
            yield "" if number else "made of", f"{name}: {content}"
        if self.tags:
            yield "tags", ", ".join(self.tags)
        if self.stored is not None:
            yield "stored", self.stored.text()
        elif self.key is not None:
            yield "stored", "nothing"

    __str__ = text
