"""What happens when a backend fails: a read finds nothing, a write is not stored, and it is logged.

Each change is logged once, and a backend that fails several times in a row is left alone for a
while: see ``circuit_breaker.py``.
"""

from __future__ import annotations

import atexit
import logging
import textwrap
import time
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar
from weakref import WeakSet, WeakValueDictionary

from ..backends._versioned.contract import NAMESPACE, Operations
from ..backends.base import BaseCache
from ..events import Place, about
from ..exceptions import (
    BackendError,
    BackendTimeout,
    CacheError,
    InvalidKeyError,
    SerializationError,
)
from ..stats import BackendStats
from ..typing import Coro
from .circuit_breaker import CircuitBreaker
from .pending_invalidations import PendingInvalidations, told

__all__ = ["Attempts", "Failures", "Limits"]

log = logging.getLogger("flask_caching_async")

#: The most characters of an error, and of what was being done, in a line of the log.
LINE = 400

#: Who is told of each failure that is noted, where it is noted.
watchers: list[Callable[[Exception], object]] = []

#: Seconds that the end of the program may spend on deletions that are pending.
SHUTDOWN = 5.0

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D")


class Limits(NamedTuple):
    """When a backend is left alone, and for how long.

    :param threshold: failures in a row; 0 for never.
    :param reset: seconds between two attempts to find it working again.
    """

    threshold: int = 5
    reset: float = 5.0


class Failures:
    """Turns what a backend raises into "nothing found" or "not stored"; logs each change once.

    :param backend: says what its errors mean, and gives its name to the log.
    :param raising: whether to raise :class:`.BackendError` instead.
    :param probe: asks the backend something cheap, and raises if it does not answer.
    """

    def __init__(
        self,
        backend: BaseCache,
        raising: Callable[[], bool],
        limits: Limits,
        probe: Callable[[], object],
    ) -> None:
        self.raising = raising
        self._backend, self._name = backend, type(backend).__name__
        if backend.where:
            self._name += f" at {backend.where}"
        #: Whether it was said that another app stores under the same keys.
        self.warned_of_other = False
        self._down = False
        #: Whether it is news that an operation succeeds.
        self.failing = False
        #: How many operations have failed, of which the backend is to blame.
        self.errors = 0
        self._last = 0.0
        self.breaker = CircuitBreaker(*limits, probe, self._recovered, self._say_state)
        #: What is pending, of all key prefixes; made when the backend answers again.
        self.owing: dict[PendingInvalidations, None] = {}
        _all.add(self)
        self._of_prefixes: WeakValueDictionary[str, PendingInvalidations] = WeakValueDictionary()

    @property
    def place(self) -> Place:
        """The backend, as events name it."""
        return {"backend": type(self._backend).__name__, "where": str(self._backend.where or "")}

    def condition(self) -> BackendStats:
        """How the backend is, as far as it is known without asking it."""
        owing = [name for pending in list(self.owing) for name in pending.names]
        place = self.place
        return BackendStats(
            place["backend"], place["where"], self.errors, self.breaker.is_open, tuple(owing)
        )

    def pending_of(self, prefix: str) -> PendingInvalidations:
        """The invalidations under a key prefix: the same for all stores, as long as any pends."""
        pending = self._of_prefixes.get(prefix)
        if pending is None:
            pending = self._of_prefixes[prefix] = PendingInvalidations(self.owing)
        return pending

    def note(self, error: Exception, doing: str) -> None:
        """A backend operation failed.

        :raises BackendError: where failures are to be raised.
        """
        for watcher in watchers:
            watcher(error)
        self._last = time.monotonic()
        blamed = not (is_of_the_caller(error) or self._backend.is_answer(error))
        self.errors += blamed
        if blamed and not self.breaker.is_open:
            self.breaker.failed()
        self.failing = True  # after all that a success would have to change
        if self.raising():
            if isinstance(error, CacheError) and not isinstance(error, BackendError):
                raise error
            kind = BackendTimeout if self._is_timeout(error) else BackendError
            raise kind(f"{self._failed_to(doing)}: {in_one_line(error)}") from error
        if isinstance(error, (SerializationError, InvalidKeyError)):
            extra = about("value_refused", **self.place, error=type(error).__name__)
            log.warning("not stored: %s", error, extra=extra)
        elif not self._down:
            self._down = self.failing = True
            failed, cause = self._failed_to(doing), in_one_line(error)
            extra = about("backend_down", **self.place, error=type(error).__name__)
            log.error("%s; the pages go on without it: %s", failed, cause, extra=extra)
            log.debug("where that failure came from", exc_info=error)

    def _failed_to(self, doing: str) -> str:
        return f"{self._name} failed to {textwrap.shorten(doing, LINE, placeholder=' ...')}"

    def refuse(self, doing: str) -> None:
        """An operation is not even tried, because the backend is down.

        :raises BackendError: where failures are to be raised.
        """
        self.breaker.watch()
        if self.raising():
            raise BackendError(f"{self._name} is down, and was not asked to {doing}")

    def fine(self) -> None:
        """A backend operation succeeded."""
        self.failing = False  # first: whoever fails from here on says so again
        self.breaker.worked()
        # Not at once: where it fails now and then, that would be two lines for each time.
        if self._down and time.monotonic() > self._last + self.breaker.reset:
            self._up()
        if self._down:
            self.failing = True

    def _up(self) -> None:
        self._down = False
        log.warning("%s works again", self._name, extra=about("backend_up", **self.place))

    def _say_state(self, is_open: bool) -> None:
        if is_open:
            log.warning(
                "%s failed %d times in a row, and is left alone: it is asked every %g seconds "
                "whether it answers", self._name, self.breaker.threshold, self.breaker.reset,
                extra=about("breaker_open", **self.place),
            )  # fmt: skip
        else:
            extra = about("breaker_closed", **self.place)
            log.warning("%s answers, and is left alone no more", self._name, extra=extra)

    def say_replayed(self, count: int) -> None:
        """Deletions that were pending have been made."""
        extra = about("invalidation_replayed", **self.place, count=count)
        log.info("%d deletions that were pending on %s are made", count, self._name, extra=extra)

    def say_pending(self, names: list[str]) -> None:
        """A deletion could not be made yet."""
        log.error(
            "%s is not deleted yet: this process tries again before it reads anything, and "
            "when it ends", names,
            extra=about("invalidation_pending", **self.place, names=names),
        )  # fmt: skip

    def _recovered(self) -> None:
        for pending in list(self.owing):
            pending.replay()
        if self._down:
            self._up()

    def _is_timeout(self, error: BaseException | None) -> bool:
        while error is not None:
            if self._backend.is_timeout(error):
                return True
            error = error.__cause__
        return False


def in_one_line(error: BaseException) -> str:
    """An error as it stands in the log.

    Drivers keep passwords out of theirs: see ``backends/_connections/secrets.py``.
    """
    name = "" if isinstance(error, CacheError) and str(error) else type(error).__name__
    parts = [part for part in (name, str(error)) if part]
    return textwrap.shorten(": ".join(parts), LINE, placeholder=" ...")


#: Those of all backends of this process.
_all: WeakSet[Failures] = WeakSet()


@atexit.register
def _at_exit() -> None:
    """Try once more to make the deletions that are pending: nobody else knows of them."""
    deadline = time.monotonic() + SHUTDOWN
    for failures in list(_all):
        for pending in list(failures.owing):
            try:
                made = time.monotonic() < deadline and pending.replay()
            except Exception as error:
                made = False
                log.debug("a pending deletion failed at the end: %r", error)
            if not made:
                names = pending.names
                log.error(
                    "%s was never deleted, and this program ends: others may go on with what is "
                    "stored there", names,
                    extra=about("invalidation_lost", **failures.place, names=names),
                )  # fmt: skip


def is_of_the_caller(error: BaseException) -> bool:
    """Whether an operation can never succeed, whatever the server does: a value or a key is wrong.

    Drivers raise errors of their own, or an ``OSError``, for what a server does.
    """
    if isinstance(error, (BackendError, OSError)):
        return False
    return isinstance(error, (SerializationError, TypeError, ValueError, ArithmeticError))


class Attempts:
    """Before and after an operation of a backend: is it up, is one pending, did it fail?

    :param ops: the backend's operations in one colour.
    :param pending: invalidations that could not be made yet.
    """

    def __init__(self, ops: Operations, failures: Failures, pending: PendingInvalidations) -> None:
        self.ops = ops
        self.failures, self.breaker = failures, failures.breaker
        #: What is pending here is among what is pending under any prefix, mostly nothing.
        self.pending, self.owing = pending, failures.owing

    async def _ready(self, doing: str) -> bool:
        """Whether the backend may be used: it is up, and no invalidation is pending any more."""
        if self.breaker.is_open:
            self.failures.refuse(doing)
            return False
        return not self.pending or await self.replay()

    async def replay(self) -> bool:
        """Make the invalidations that are pending; whether none is any more."""
        replaying = self.pending.replaying
        if not replaying.acquire(blocking=False):
            return False  # another thread or task is at it, or what this handler came in between
        try:
            pending = self.pending.look()
            if pending.everything:
                await self._clear()
            elif pending.keys or pending.tags:
                await self.ops.invalidate(pending.keys, pending.tags)
            count = 1 if pending.everything else len(told([*pending.keys, *pending.tags]))
            self.pending.replayed(pending)
            self.failures.say_replayed(count)
            return True
        except Exception as error:
            if is_of_the_caller(error):  # no backend would ever make this one: everything goes
                self.pending.add_everything()
            self.failures.note(error, "make up for deletions")
            return False
        finally:
            replaying.release()  # not another one that a forked child has

    async def _attempt(
        self,
        doing: str,
        default: D,
        step: Callable[P, Coro[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R | D:
        """What a step gives, or ``default`` if the backend fails or is not to be used."""
        if (self.breaker.is_open or self.owing) and not await self._ready(doing):
            return default
        try:
            result = await step(*args, **kwargs)
        except Exception as error:
            self.failures.note(error, doing)
            return default
        if self.failures.failing:
            self.failures.fine()
        return result

    async def _write(
        self,
        doing: str,
        default: D,
        step: Callable[P, Coro[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R | D:
        """Like :meth:`_attempt` for a step that is given a value, which may be wrong.

        :raises SerializationError: if the value can never be stored; the server is not to blame.
        """
        if (self.breaker.is_open or self.owing) and not await self._ready(doing):
            return default
        try:
            result = await step(*args, **kwargs)
        except (SerializationError, InvalidKeyError):
            raise
        except Exception as error:
            if is_of_the_caller(error):
                raise SerializationError(f"cannot {doing}: {error}") from error
            self.failures.note(error, doing)
            return default
        if self.failures.failing:
            self.failures.fine()
        return result

    async def _clear(self) -> bool:
        await self.ops.invalidate((), [NAMESPACE])
        return await self.ops.clear()
