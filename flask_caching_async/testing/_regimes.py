"""The regimes in which a backend is used, and how one check runs in each of them.

A check is written once, as a coroutine over :class:`Hands`. Sync code drives it to its end with
``run_now``; async code awaits it.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from .._entries.entry import MISSING, Reading
from .._entries.times import Timetable
from .._runtime.colour import Awaited, Instant, run_now
from .._store.open import open_store
from ..backends.base import BaseCache, Lease, new_token

__all__ = ["REGIMES", "Computation", "Hands", "in_each_regime", "play", "play_everywhere"]

Check = Callable[["Hands"], Coroutine[Any, Any, None]]
Job = Callable[[], Awaitable[Any]]

SYNC, ENDING, LASTING = REGIMES = ("sync", "ending-loops", "lasting-loop")


class Alone:
    """Awaitable methods as coroutines that never suspend: each call has a loop of its own."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._target, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return asyncio.run(method(*args, **kwargs))

        return call


class Hands:
    """A backend in one regime: ``await cache.get(key)`` calls ``get`` or awaits ``aget``.

    :param how: makes coroutines of the backend's methods.
    :param mine: a part of all keys that no other check has.
    """

    def __init__(self, backend: BaseCache, how: type[Any], mine: str) -> None:
        self.backend, self.how, self._mine = backend, how, mine
        self.store = store = open_store(backend, lambda: True)
        #: What the decorators use, in this regime: ``load``, ``guard``, ``save`` …
        self.steps: Any = store.now if how is Instant else store.later
        self._face = how(backend)
        if how is Alone:
            self._face, self.steps = Alone(Awaited(backend)), Alone(store.later)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return getattr(self._face, name)  # type: ignore[no-any-return]

    def key(self, name: str = "key") -> str:
        """A key that no other check uses."""
        return f"{name} {self._mine}"

    def keys(self, names: str) -> list[str]:
        """Several such keys."""
        return [self.key(name) for name in names.split()]

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        if self.how is Awaited:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)  # noqa: ASYNC251 - nothing else runs on this thread

    async def together(self, *jobs: Job) -> list[Any]:
        """Start jobs at the same moment, in tasks or in threads, and return their results."""
        if self.how is Awaited:
            outcomes: list[Any] = await asyncio.gather(
                *(job() for job in jobs), return_exceptions=True
            )
        else:
            outcomes = in_threads([functools.partial(_drive, job) for job in jobs])
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return outcomes

    async def begin(self, key: str, *stamps: str) -> Computation:
        """Begin to compute the value of a key, as the decorators do."""
        reading = await self.steps.load(key, stamps)
        guard = await self.steps.guard(key, stamps, reading, 60.0)
        return Computation(self, key, stamps, reading, guard)

    async def compute(self, key: str, value: Any, *stamps: str, life: float = 60.0) -> Any:
        """Begin to compute a value, and end at once."""
        return await (await self.begin(key, *stamps)).end(value, life)

    async def found(self, key: str, *stamps: str) -> Any:
        """The value that the decorators find under a key, or ``MISSING``."""
        entry = (await self.steps.load(key, stamps)).entry
        return MISSING if entry is None else entry.open()

    async def got(self, key: str) -> Any:
        """The value that ``Cache.get`` finds under a key, or ``MISSING``."""
        return (await self.steps.get((key,)))[0]

    async def by_hand(self, key: str, value: Any, *stamps: str) -> Any:
        """Set a value by hand, as ``Cache.set`` does."""
        return await self.steps.put({key: value}, 60, stamps)


class Computation:
    """A computation of a key that is under way."""

    def __init__(
        self, cache: Hands, key: str, stamps: tuple[str, ...], reading: Reading, guard: Any
    ) -> None:
        self.cache, self.key, self.stamps = cache, key, stamps
        self.reading, self.guard = reading, guard

    async def end(self, value: Any, life: float = 60.0, lease: Lease | None = None) -> Any:
        """Try to store the value, and give the lease back; whether it was stored."""
        if self.guard is None:  # a stamp was dropped just when it was to be created
            return None
        now = self.cache.store.clock()
        times = Timetable(now, now + life, now + life)
        what = (self.key, value, times, self.guard, self.reading, lease)
        return await self.cache.steps.save(*what)

    def lease(self, life: float) -> Lease | None:
        """A lease for this computation, as another process would have it."""
        return self.cache.store.lease(self.key, self.guard, life)

    async def claim(self, lease: Lease) -> bool:
        """Try once to take a lease."""
        taken, _ = await self.cache.steps.claim(lease, self.key, self.stamps)
        return bool(taken)


def _drive(job: Job) -> Any:
    return run_now(job())  # type: ignore[arg-type]


def in_threads(jobs: list[Callable[[], Any]]) -> list[Any]:
    """What each job returned or raised; all of them start at the same moment."""
    outcomes: list[Any] = [None] * len(jobs)
    start = threading.Barrier(len(jobs))

    def work(number: int) -> None:
        start.wait()
        try:
            outcomes[number] = jobs[number]()
        except BaseException as error:
            outcomes[number] = error

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


# --- one check in each regime ---------------------------------------------------------------------


def play(backend: BaseCache, regime: str, check: Check, mine: str | None = None) -> None:
    """Run a check in one regime, and close the backend.

    :param mine: a part of its keys that is the same for several checks.
    """
    mine = mine or new_token()
    try:
        if regime == SYNC:
            _run(lambda: run_now(check(Hands(backend, Instant, mine + "0"))), "the sync methods")
        elif regime == LASTING:
            what = "the awaitable methods, between aopen() and aclose() on one event loop"
            _run(lambda: asyncio.run(_between(backend, check, mine + "3")), what)
        else:
            what = "the awaitable methods, all on one event loop that ends"
            _run(lambda: asyncio.run(check(Hands(backend, Awaited, mine + "1"))), what)
            what = "the awaitable methods, each call on an event loop of its own"
            _run(lambda: run_now(check(Hands(backend, Alone, mine + "2"))), what)
    finally:
        backend.close()


def play_everywhere(backend: BaseCache, check: Check, mine: str | None = None) -> None:
    """Run a check in one regime after the other."""
    for regime in REGIMES:
        play(backend, regime, check, mine)


async def _between(backend: BaseCache, check: Check, mine: str) -> None:
    await backend.aopen()
    try:
        await check(Hands(backend, Awaited, mine))
    finally:
        await backend.aclose()


def _run(work: Callable[[], Any], what: str) -> None:
    __tracebackhide__ = True
    try:
        work()
    except Exception as error:
        error.add_note(f"This check used {what}.")
        raise


def in_each_regime(
    check: Callable[[Any, Hands], Coroutine[Any, Any, None]],
) -> Callable[[Any, BaseCache, str], None]:
    """Make a test of a check; it is run once for each regime.

    Not with ``functools.wraps``: pytest must see the test's own parameters.
    """

    def test(self: Any, backend: BaseCache, regime: str) -> None:
        __tracebackhide__ = True
        play(backend, regime, functools.partial(check, self))

    test.__name__, test.__qualname__ = check.__name__, check.__qualname__
    test.__doc__, test.__module__ = check.__doc__, check.__module__
    return test
