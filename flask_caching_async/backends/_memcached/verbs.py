"""What a backend says to its servers, in either colour: see ``transport.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..._runtime.colour import run_now
from .looking import Question, Seen
from .protocol import Answer, Command

__all__ = ["MemcachedTransport"]


class MemcachedTransport(Protocol):
    """Carries commands to the servers; see :class:`.PerLoop`."""

    async def batch(self, commands: Sequence[Command]) -> list[Answer]:
        """The answers to several commands, in one trip to each server.

        :raises BackendError: if a server did not carry one out.
        """
        ...

    async def look(self, question: Question) -> Seen:
        """What a look sees, in one trip to each server."""
        return question.seen_in(await self.batch(question.commands))

    def look_now(self, question: Question) -> Seen:
        """:meth:`look` of a transport that does not suspend, without a coroutine."""
        return run_now(self.look(question))

    async def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        ...
