"""What a backend says to Redis, in either colour, whatever carries it there.

``transport.py`` has the verbs over connections of our own, ``client_transport.py`` over a client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from ..._runtime.colour import run_now

__all__ = ["Argument", "Command", "RedisTransport", "Reply"]

#: A part of a command; redis-py makes bytes of it.
Argument: TypeAlias = str | bytes | int | float
#: A command with its arguments.
Command: TypeAlias = Sequence[Argument]
#: What the server answers: bytes, a number, a list of these … Which one it is, the command says.
Reply: TypeAlias = Any


class RedisTransport(Protocol):
    """Carries commands to a server, or to the nodes of a cluster; see :class:`.PerLoop`."""

    async def run(self, *command: Argument) -> Reply:
        """The answer to one command."""
        ...

    async def batch(self, commands: Sequence[Command]) -> list[Reply]:
        """The answers to several commands, in one trip or one for each node.

        The first error among them is raised after all were answered.
        """
        ...

    async def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """The values of several names, in one trip or one for each node."""
        found: list[bytes | None] = await self.run("MGET", *names)
        return found

    def mget_now(self, names: Sequence[str]) -> list[bytes | None]:
        """:meth:`mget` of a transport that does not suspend, without a coroutine."""
        return run_now(self.mget(names))

    async def told(self) -> list[Reply]:
        """What the server, or each master of a cluster, says of itself."""
        return [await self.run("INFO", "server")]

    async def sweep(self, pattern: str) -> None:
        """Remove all keys that match, in batches, without blocking the server."""
        cursor = 0
        while True:
            then, names = await self.run("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            if names:
                await self.run("UNLINK", *names)
            cursor = int(then)
            if cursor == 0:
                return

    async def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        ...
