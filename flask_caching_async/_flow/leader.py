"""The duty to compute one key, and to land what comes of it.

Nothing here calls the user's function, imports asyncio, or reads a clock that was not handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from .._entries.entry import NOTHING, Entry
from .._entries.isolation import keep
from .._entries.times import LONG_AGO, Times
from .._runtime.colour import run_now
from ..events import about
from ..exceptions import CacheError
from ..stats import CAUSES
from ..typing import Value
from .candidate import Candidate, CandidatePorts
from .policy import ElsewhereKey, Fate, NotStored
from .singleflight import Failed, Landed, Landing, Outcome
from .store_protocol import DirectSteps, Saved

__all__ = ["Leader", "Ports"]

log = logging.getLogger("flask_caching_async")

#: The cause why a value was not stored that could have been; all others mean that it could not.
OVERTAKEN = "overtaken"
#: The causes with which a backend that was to store a value has given its lease back.
GIVEN_BACK = (OVERTAKEN, "too-large")


class Watched(Protocol):
    """Who watches computations."""

    around: Callable[[Leader], AbstractContextManager[Any]] | None

    def refresh(self, leader: Leader) -> AbstractContextManager[Any]: ...


class Ports(CandidatePorts, Protocol):
    """The few things that the flow cannot do by itself, in the colour of the caller."""

    @property
    def watch(self) -> Watched: ...

    def spawn(self, leader: Leader) -> None: ...


class Leader(Candidate):
    """The duty to compute one key."""

    ports: Ports

    __slots__ = ()

    def _say(self, why: NotStored) -> None:
        """Why the value is not stored: for this call, and for those that follow it."""
        self.call.unstored = why
        if self.flight is not None:
            self.flight.unstored = why
        counters = self.call.counters
        counters.remember(self.call.key, why)
        if why.cause:
            name, key, cause = counters.name, self.call.key, why.cause
            counters.not_stored[cause] += 1
            if log.isEnabledFor(logging.DEBUG):
                extra = about("not_stored", function=name, key=key, cause=cause)
                log.debug("a value of %s was not stored: %s", name, why.text, extra=extra)

    def _land_value(self, value: Value) -> None:
        """Land with a value; it is copied only if it has followers."""
        flight, flights = self.flight, self.ports.flights
        if flight is not None and flights.close(flight):
            flights.land(flight, _copies(value))

    async def finish(self, value: Value, fate: Fate, timeout: float | None = None) -> Value:
        """The function returned: store, release those who wait, and give the answer.

        :param timeout: the value's own timeout in seconds.
        """
        call, ports = self.call, self.ports
        if not self._may_store(value, fate):
            return self._withhold(value, fate)
        place = call.hooks.elsewhere(call)
        stored: Saved = "backend"
        try:
            if self.flight is not None and self.flight.overtaken:
                stored = OVERTAKEN
            elif self.expected is not None and not self.lookup.failed:
                times = call.policy.times_of(ports.clock(), timeout)
                stored = await self._store(value, times, place)
            self._note(stored)
        finally:
            self._land_value(value if place is None else place.marker)
            # After an invalidation, one of those who wait computes anew, and stores.
            self._release(shared=type(stored) is int or stored in GIVEN_BACK)
        return value

    def finish_directly(
        self, direct: DirectSteps, value: Value, fate: Fate, timeout: float | None
    ) -> Value:
        """:meth:`finish` in memory, for a value that is stored under the key that was asked for."""
        call, flight = self.call, self.flight
        if not self._may_store(value, fate):
            return self._withhold(value, fate)
        try:
            stored: Saved = OVERTAKEN
            if flight is None or not flight.overtaken:
                times = call.policy.times_of(self.ports.clock(), timeout)
                stored = self._store_directly(value, times, direct)
            self._note(stored)
        finally:
            self._land_value(value)
        return value

    def _may_store(self, value: Value, fate: Fate) -> bool:
        """The value is there; whether it is to be stored."""
        self.call.counters.computed += 1
        if self.flight is not None:
            self.flight.computed = True
        if fate is not Fate.STORE:
            self._say(self.call.hooks.unstorable(value, self.call))
        elif value is None and not self.call.policy.cache_none:
            self._say(NotStored("none", "it returned None, and cache_none is not set"))
        else:
            return True
        return False

    def _withhold(self, value: Value, fate: Fate) -> Value:
        """Hand a value to its own caller only, or serve an older one instead of a failure."""
        fallback = self._fallback() if fate is Fate.FAIL else NOTHING
        self.failure = value if fate is Fate.FAIL else None
        if fallback is NOTHING:
            self._land(Outcome.UNSHARED)
        else:
            value = fallback
            self._land_value(fallback)
        self._release(shared=False)
        return value

    def _note(self, stored: Saved) -> None:
        """Count what was stored, and say why something was not."""
        if type(stored) is int:
            counters = self.call.counters
            counters.stored += 1
            counters.size += stored
            if counters.unstored:
                counters.unstored.pop(self.call.key, None)
        elif self.call.unstored is None:
            cause = cast(str, stored)
            self._say(NotStored(cause, CAUSES[cause]))

    async def _store(self, value: Value, times: Times, place: ElsewhereKey | None) -> Saved:
        """Save a value."""
        call, steps = self.call, self.ports.steps
        out = self._make_room(call.key if place is None else place.key, times)
        if out is None:
            return "variants"
        if out:
            await steps.invalidate([out], [])
        if place is not None:
            stored = await self._store_elsewhere(value, times, place)
            if type(stored) is not int:
                return stored
            call.served = times
            value, times = place.marker, times._replace(fresh_until=LONG_AGO)
        stored = await steps.save(call.key, value, times, self.expected, self.lookup, self.lease)
        if type(stored) is int and place is None:
            call.served = times
        if type(stored) is int or stored in GIVEN_BACK:
            self.lease = None  # it was given back with the value
        return stored

    def _store_directly(self, value: Value, times: Times, direct: DirectSteps) -> Saved:
        """:meth:`_store` under the key that the call began with, in memory."""
        call = self.call
        out = "" if call.hooks.plain else self._make_room(call.key, times)
        if out is None:
            return "variants"
        if out:
            run_now(self.ports.steps.invalidate([out], []))
        stored = direct.save_directly(call.key, value, times, self.expected)
        if type(stored) is int:
            call.served = times
        return stored

    def _make_room(self, key: str, times: Times) -> str | None:
        """The key that has to go, ``""`` for none; ``None`` if there are too many of its kind."""
        out = self.call.hooks.make_room(self.call, key, times)
        if out is None:
            self._say(NotStored("variants", CAUSES["variants"]))
        return out

    async def _store_elsewhere(self, value: Value, times: Times, place: ElsewhereKey) -> Saved:
        """Save a value under a key that nobody knew when its computation began.

        What must stand there is read now; then, that nothing was invalidated until then under the
        key that was known. So whatever comes in between is noticed by one of the two.
        """
        call, ports, life = self.call, self.ports, times.life
        lookup = await ports.steps.load(place.key, place.tags)
        expect = ports.steps.expect
        expected = await expect(place.key, place.tags, lookup, life, call.forced)
        now = await ports.steps.load(call.key, call.tags)
        if lookup.failed or now.failed or expected is None:
            return "backend"
        if not ports.stands(self.expected, now):
            return OVERTAKEN
        return await ports.steps.save(place.key, value, times, expected, lookup, None)

    def fail(self, error: BaseException) -> Value:
        """The function raised: land, and return what may be served instead, or ``NOTHING``."""
        if not isinstance(error, Exception):  # cancelled, or the thread ends
            self.abandon()
            return NOTHING
        self.call.counters.failed += 1
        self.failure = error
        self._say(NotStored("", f"it raised {error!r}"))
        fallback = self._fallback()
        if fallback is NOTHING:
            self._land(Failed(error))
        else:
            self._land_value(fallback)
        self._release(shared=False)
        return fallback

    def _fallback(self) -> Value:
        """The value that was good until now, if ``stale_if_error`` still allows it."""
        policy, entry, now = self.call.policy, self.lookup.entry, self.ports.clock()
        if entry is None or not policy.stale_if_error or now >= entry.usable_until:
            return NOTHING
        if now >= entry.fresh_until + policy.stale_if_error:
            return NOTHING
        self.call.counters.rescued += 1
        self.call.served = entry
        return entry.value()


def _copies(value: Value) -> Landing:
    """What followers get of a leader's value: copies, or leave to compute their own."""
    try:
        kept, thaw = keep(value)
    except CacheError:
        return Outcome.UNSHARED
    return Landed(Entry(kept, thaw).value)
