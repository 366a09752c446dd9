"""The ways in which a backend is called, and how one check runs in each that makes a difference.

A check is written once, as a coroutine over :class:`Hands`. Sync code drives it to its end with
``run_now``; async code awaits it. A *regime* is a colour: the sync methods, or the awaitable ones.
There is one *way* to call the sync methods. For the awaitable ones there are several, by the life
of the event loop, and :func:`ways_of` chooses those that make a difference for the backend at hand.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

from .._entries.entry import MISSING, Lookup
from .._entries.times import Times
from .._runtime.colour import Awaited, Instant, run_now
from .._store.open import open_store
from ..backends.base import PAIRS, BaseCache, Lease, new_token

__all__ = [
    "REGIMES",
    "Computation",
    "Hands",
    "Way",
    "every_way",
    "in_each_regime",
    "play",
    "ways_of",
]

Check = Callable[["Hands"], Coroutine[Any, Any, None]]
Job = Callable[[], Awaitable[Any]]

SYNC, ASYNC = REGIMES = ("sync", "async")


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
        #: What the decorators use, in this regime: ``load``, ``expect``, ``save`` …
        self.steps: Any = store.sync if how is Instant else store.aio
        self._face = how(backend)
        if how is Alone:
            self._face, self.steps = Alone(Awaited(backend)), Alone(store.aio)

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

    async def begin(self, key: str, *tags: str) -> Computation:
        """Begin to compute the value of a key, as the decorators do."""
        lookup = await self.steps.load(key, tags)
        expect = await self.steps.expect(key, tags, lookup, 60.0)
        return Computation(self, key, tags, lookup, expect)

    async def compute(self, key: str, value: Any, *tags: str, life: float = 60.0) -> Any:
        """Begin to compute a value, and end at once."""
        return await (await self.begin(key, *tags)).end(value, life)

    async def found(self, key: str, *tags: str) -> Any:
        """The value that the decorators find under a key, or ``MISSING``."""
        entry = (await self.steps.load(key, tags)).entry
        return MISSING if entry is None else entry.value()

    async def got(self, key: str) -> Any:
        """The value that ``Cache.get`` finds under a key, or ``MISSING``."""
        return (await self.steps.get((key,)))[0]

    async def by_hand(self, key: str, value: Any, *tags: str) -> Any:
        """Set a value by hand, as ``Cache.set`` does."""
        return await self.steps.set_many({key: value}, 60, tags)


class Computation:
    """A computation of a key that is under way."""

    def __init__(
        self, cache: Hands, key: str, tags: tuple[str, ...], lookup: Lookup, expect: Any
    ) -> None:
        self.cache, self.key, self.tags = cache, key, tags
        self.lookup, self.expect = lookup, expect

    async def end(self, value: Any, life: float = 60.0, lease: Lease | None = None) -> Any:
        """Try to store the value, and give the lease back; whether it was stored."""
        if self.expect is None:  # a tag version was dropped just when it was to be created
            return None
        now = self.cache.store.clock()
        times = Times(now, now + life, now + life)
        what = (self.key, value, times, self.expect, self.lookup, lease)
        saved = await self.cache.steps.save(*what)
        return True if type(saved) is int else False if saved == "overtaken" else None

    def lease(self, life: float) -> Lease | None:
        """A lease for this computation, as another process would have it."""
        return self.cache.store.lease(self.key, self.expect, life)

    async def acquire_lease(self, lease: Lease) -> bool:
        """Try once to take a lease."""
        taken, _ = await self.cache.steps.acquire_lease(lease, self.key, self.tags)
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


class Way(NamedTuple):
    """One way in which the methods of a backend are called.

    :param name: a part of the keys of a check that runs in this way.
    :param told: what a note at the failure of a check says that it used.
    :param run: runs a check on a backend, with a part of its keys that no other check has.
    """

    name: str
    told: str
    run: Callable[[BaseCache, Check, str], None]


def _sync(backend: BaseCache, check: Check, mine: str) -> None:
    run_now(check(Hands(backend, Instant, mine)))


def _on_one_loop(backend: BaseCache, check: Check, mine: str) -> None:
    asyncio.run(check(Hands(backend, Awaited, mine)))


def _on_a_loop_for_each_call(backend: BaseCache, check: Check, mine: str) -> None:
    run_now(check(Hands(backend, Alone, mine)))


def _on_an_opened_loop(backend: BaseCache, check: Check, mine: str) -> None:
    asyncio.run(_between(backend, check, mine))


async def _between(backend: BaseCache, check: Check, mine: str) -> None:
    await backend.aopen()
    try:
        await check(Hands(backend, Awaited, mine))
    finally:
        await backend.aclose()


NO_LOOP = Way("sync", "the sync methods", _sync)
ONE_LOOP = Way("one", "the awaitable methods, all on one event loop that ends", _on_one_loop)
LOOP_FOR_EACH_CALL = Way(
    "each",
    "the awaitable methods, each call on an event loop of its own",
    _on_a_loop_for_each_call,
)
OPENED_LOOP = Way(
    "opened",
    "the awaitable methods, between aopen() and aclose() on one event loop",
    _on_an_opened_loop,
)


def ways_of(backend: BaseCache, regime: str) -> list[Way]:
    """The ways of a regime that make a difference for a backend.

    Where its author wrote only sync methods, the awaitable ones are ours, and no loop ever reaches
    the backend: then it makes no difference how many there are. Where its author wrote neither
    ``aopen`` nor ``aclose``, nothing is opened for a loop that lasts.
    """
    if regime == SYNC:
        return [NO_LOOP]
    ways = [ONE_LOOP]
    if any(_wrote(backend, "a" + name) for name in PAIRS if name != "close"):
        ways.append(LOOP_FOR_EACH_CALL)
    if _wrote(backend, "aopen") or _wrote(backend, "aclose"):
        ways.append(OPENED_LOOP)
    return ways


def every_way(backend: BaseCache) -> list[Way]:
    """All ways that make a difference for a backend."""
    return [way for regime in REGIMES for way in ways_of(backend, regime)]


def _wrote(backend: BaseCache, name: str) -> bool:
    """Whether a backend's author wrote an awaitable method: it is neither inherited from
    ``BaseCache``, nor derived from the sync method beside it."""
    kinds = type(backend).__mro__
    for kind in kinds[: kinds.index(BaseCache)]:
        method = vars(kind).get(name)
        if method is not None:
            return getattr(method, "__wrapped__", method) is not vars(kind).get(name[1:])
    return False


def play(backend: BaseCache, ways: list[Way], check: Check, mine: str | None = None) -> None:
    """Run a check in one way after the other, and close the backend after each.

    :param mine: a part of its keys that is the same for several checks.
    """
    __tracebackhide__ = True
    mine = mine or new_token()
    for way in ways:
        try:
            way.run(backend, check, f"{mine} {way.name}")
        except Exception as error:
            error.add_note(f"This check used {way.told}.")
            raise
        finally:
            backend.close()


def in_each_regime(
    check: Callable[[Any, Hands], Coroutine[Any, Any, None]],
) -> Callable[[Any, BaseCache, str], None]:
    """Make a test of a check; it is run once for each regime.

    Not with ``functools.wraps``: pytest must see the test's own parameters.
    """

    def test(self: Any, backend: BaseCache, regime: str) -> None:
        __tracebackhide__ = True
        play(backend, ways_of(backend, regime), functools.partial(check, self))

    test.__name__, test.__qualname__ = check.__name__, check.__qualname__
    test.__doc__, test.__module__ = check.__doc__, check.__module__
    return test
