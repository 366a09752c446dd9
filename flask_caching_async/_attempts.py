"""Before and after an operation of a backend: is it up, is it owed something, did it fail?"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ._failures import Failures
from ._owed import Owed
from .exceptions import SerializationError

__all__ = ["SPACE", "Attempts"]

#: The stamp that all entries of a store carry; ``clear`` drops it.
SPACE = "~stamp~"


class Attempts:
    """What :class:`.TokenSteps` knows of failures.

    :param face: the backend's operations as coroutines, in one colour.
    :param owed: invalidations that could not be made yet.
    """

    def __init__(self, face: Any, failures: Failures, owed: Owed) -> None:
        self.face = face
        self.failures = failures
        self.breaker = failures.breaker
        self.owed = owed

    async def _ready(self, doing: str) -> bool:
        """Whether the backend may be used: it is up, and nothing is owed to it any more."""
        if self.breaker.open:
            self.failures.refuse(doing)
            return False
        return not self.owed or await self.settle()

    async def settle(self) -> bool:
        """Make the invalidations that failed; whether nothing is owed any more."""
        if not self.owed.paying.acquire(blocking=False):
            return False  # somebody is at it
        try:
            everything, keys, stamps = self.owed.look()
            if everything:
                await self._clear()
            elif keys or stamps:
                await self.face.expel(keys, stamps)
            self.owed.paid(everything, keys, stamps)
            return True
        except Exception as error:
            self.failures.note(error, "make up for deletions")
            return False
        finally:
            self.owed.paying.release()

    async def _attempt(
        self, doing: str, default: Any, step: Callable[..., Coroutine[Any, Any, Any]], *args: Any
    ) -> Any:
        """What a step gives, or ``default`` if the backend fails or is not to be used."""
        if (self.breaker.open or self.owed) and not await self._ready(doing):
            return default
        try:
            result = await step(*args)
        except SerializationError:
            raise
        except Exception as error:
            self.failures.note(error, doing)
            return default
        self.failures.fine()
        return result

    async def _clear(self) -> bool:
        await self.face.expel((), [SPACE])
        return bool(await self.face.clear())
