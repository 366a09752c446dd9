"""Whether the backend answers: for a readiness probe."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Health"]


@dataclass(frozen=True, slots=True)
class Health:
    """What a ping found; true if the backend answered.

    :param ok: whether it did.
    :param backend: its class.
    :param where: its server or folder, without passwords; empty for memory.
    :param seconds: how long the answer took.
    :param is_open: whether the circuit breaker is open, so that the backend is left alone.
    :param pending: how many deletions wait for it to answer again.
    :param version: that of the server, where it says one.
    :param error: what is wrong, in one line, without passwords; empty if nothing is.
    """

    ok: bool
    backend: str
    where: str = ""
    seconds: float = 0.0
    is_open: bool = False
    pending: int = 0
    version: str = ""
    error: str = ""

    def __bool__(self) -> bool:
        return self.ok
