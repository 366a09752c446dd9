"""What happens when a backend fails: a read finds nothing, a write is not stored, and it is logged.

Each change is logged once, and a backend that fails several times in a row is left alone for a
while: see ``_breaker.py``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from ..exceptions import BackendError, BackendTimeout, CacheError, SerializationError
from .circuit_breaker import Breaker
from .pending_invalidations import Owed

__all__ = ["SPACE", "Attempts", "Failures", "Limits"]

log = logging.getLogger("flask_caching_async")


#: The stamp that all entries of a store carry; ``clear`` drops it.
SPACE = "~stamp~"


class Limits(NamedTuple):
    """When a backend is left alone, and for how long.

    :param threshold: failures in a row; 0 for never.
    :param reset: seconds between two attempts to find it working again.
    """

    threshold: int = 5
    reset: float = 5.0


class Failures:
    """Turns what a backend raises into "nothing found" or "not stored"; logs each change once.

    :param name: what the backend is called in the log.
    :param raising: whether to raise :class:`.BackendError` instead.
    :param probe: asks the backend something cheap, and raises if it does not answer.
    """

    def __init__(
        self,
        name: str,
        raising: Callable[[], bool],
        limits: Limits,
        probe: Callable[[], Any],
    ) -> None:
        self.raising = raising
        self._name = name
        self._down = False
        self._last = 0.0
        self.breaker = Breaker(limits.threshold, limits.reset, probe, self._recovered)
        #: Called when the backend answers again.
        self.on_recovery: list[Callable[[], Any]] = []

    def note(self, error: Exception, doing: str) -> None:
        """A backend operation failed.

        :raises BackendError: where failures are to be raised.
        """
        # Whoever answers that it cannot do this, is there.
        answered = type(error).__name__ == "ResponseError"
        if not answered and not isinstance(error, (SerializationError, TypeError)):
            self._last = time.monotonic()
            if not self.breaker.open:
                self.breaker.failed()
        if self.raising():
            if isinstance(error, CacheError):
                raise error
            kind = BackendTimeout if _is_timeout(error) else BackendError
            raise kind(f"{self._name} failed to {doing}: {error!r}") from error
        if isinstance(error, SerializationError):
            log.warning("not stored: %s", error)
        elif not self._down:
            self._down = True
            log.error(
                "%s failed to %s; the pages go on without it", self._name, doing, exc_info=error
            )

    def refuse(self, doing: str) -> None:
        """An operation is not even tried, because the backend is down.

        :raises BackendError: where failures are to be raised.
        """
        self.breaker.watch()
        if self.raising():
            raise BackendError(f"{self._name} is down, and was not asked to {doing}")

    def fine(self) -> None:
        """A backend operation succeeded."""
        self.breaker.worked()
        # Not at once: where it fails now and then, that would be two lines for each time.
        if self._down and time.monotonic() > self._last + self.breaker.reset:
            self._up()

    def _up(self) -> None:
        self._down = False
        log.warning("%s works again", self._name)

    def _recovered(self) -> None:
        for make_good in self.on_recovery:
            make_good()
        if self._down:
            self._up()


def _is_timeout(error: BaseException | None) -> bool:
    """Whether a driver gave up waiting; some have a class of their own for that."""
    while error is not None:
        if isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError":
            return True
        error = error.__cause__
    return False


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
