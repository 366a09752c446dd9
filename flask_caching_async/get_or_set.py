"""``get_or_set`` and ``aget_or_set``: a value by hand that is computed once, however many ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter_ns

from ._entries.entry import BY_HAND, MISSING, Lookup, Verdict
from ._entries.times import seconds
from ._flow.callbacks import resolved
from ._flow.engine import Engine
from ._flow.policy import Call, CallHooks, Policy
from ._flow.run import aread_through, read_through
from ._runtime.colour import run_now
from .decorators.plan import user_tags
from .deletions import Deletions
from .stats import Counters
from .typing import Timeout, Value

__all__ = ["GetOrSet"]


class ValueHooks(CallHooks):
    """``get_or_set``: a value with a timeout, and no callbacks."""

    def __init__(self, timeout: Timeout | None) -> None:
        self.timeout = seconds(timeout)

    def known_timeout(self) -> float | None:
        """The timeout."""
        return self.timeout


class GetOrSet(Deletions):
    """What of a :class:`.Cache` reads and writes at once."""

    def get_or_set(
        self,
        key: str,
        default: Value | Callable[[], Value],
        timeout: Timeout | None = None,
        *,
        tags: Iterable[str] = (),
    ) -> Value:
        """The value of ``key``, or ``default``, which is stored then.

        :param default: a value, or a callable that makes it. However many ask at the same time,
            also through a decorated function with this key, it is called once.
        """
        counters = (self._only or self._binding()).ledger.get_or_sets
        return self._get_or_set(key, default, timeout, tags, counters)

    async def aget_or_set(
        self,
        key: str,
        default: Value | Callable[[], Value],
        timeout: Timeout | None = None,
        *,
        tags: Iterable[str] = (),
    ) -> Value:
        """Awaitable :meth:`get_or_set`; ``default`` may also be an async callable."""
        counters = (self._only or self._binding()).ledger.get_or_sets
        return await self._aget_or_set(key, default, timeout, tags, counters)

    def _get_or_set(
        self,
        key: str,
        default: Value,
        timeout: Timeout | None,
        tags: Iterable[str],
        counters: Counters,
    ) -> Value:
        """:meth:`get_or_set`, which counts itself as a use of its own: a fragment, for example."""
        sole = self._sole()
        if sole is not None and (value := _fresh(sole, key, timeout, tags)) is not MISSING:
            counters.hits += 1
            return value
        began = perf_counter_ns()
        self._sync("get_or_set", 4)
        engine, call = self._call(key, default, timeout, tags, counters)
        landed_before, lookup = engine.flights.landed, run_now(engine.sync.load(key, call.tags))
        if call.policy.judge(lookup.entry, call.called) is Verdict.FRESH:
            return _answer(counters, lookup, began)
        return read_through(engine, call, lookup, landed_before)

    async def _aget_or_set(
        self,
        key: str,
        default: Value,
        timeout: Timeout | None,
        tags: Iterable[str],
        counters: Counters,
    ) -> Value:
        """:meth:`aget_or_set`, which counts itself as a use of its own."""
        sole = self._asole()
        if sole is not None and (value := _fresh(sole, key, timeout, tags)) is not MISSING:
            counters.hits += 1
            return value
        began = perf_counter_ns()
        engine, call = self._call(key, default, timeout, tags, counters)
        landed_before, lookup = engine.flights.landed, await engine.aio.load(key, call.tags)
        if call.policy.judge(lookup.entry, call.called) is Verdict.FRESH:
            return _answer(counters, lookup, began)
        return await aread_through(engine, call, lookup, landed_before)

    def _call(
        self,
        key: str,
        default: Value,
        timeout: Timeout | None,
        tags: Iterable[str],
        counters: Counters,
    ) -> tuple[Engine, Call]:
        binding = self._only or self._binding()
        settings, engine = binding.settings, binding.engine
        tags, default = user_tags(tags), resolved(default)
        engine.store.check((key, *tags))
        policy = Policy(
            timeout=settings.default_timeout,
            jitter=settings.jitter,
            lock=settings.lock and not binding.null,
            lock_timeout=settings.lock_timeout,
        )
        make = default if callable(default) else lambda: default
        tags, hooks, called = (BY_HAND, *tags), ValueHooks(timeout), binding.timekeeper.clock()
        return engine, Call(key, tags, policy, hooks, counters, make, called=called)


def _fresh(engine: Engine, key: str, timeout: Timeout | None, tags: Iterable[str]) -> Value:
    """The fresh value of a key in memory, for a hit that needs no more; else ``MISSING``."""
    usual = not tags and (timeout is None or type(timeout) is int)  # else they are looked at
    if engine.direct is None or not usual:
        return MISSING
    return engine.direct.get_directly(key, fresh=True)


def _answer(counters: Counters, lookup: Lookup, began: int) -> Value:
    """A fresh value was found."""
    assert lookup.entry is not None
    value = lookup.entry.value()
    counters.hits += 1
    counters.hit.note(perf_counter_ns() - began)
    return value
