"""The duty to compute one key: to prepare it, and to land what comes of it.

Nothing here calls the user's function, imports asyncio, or reads a clock that was not handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .._entries.entry import NOTHING, Entry, Lookup
from .._entries.isolation import keep
from .._entries.times import LONG_AGO, Times
from ..exceptions import CacheError
from ..stats import Counters
from ..typing import Value
from .answer import Answer, found
from .backoff import Backoff
from .policy import Call, ElsewhereKey, Fate
from .singleflight import Failed, Flight, Flights, Landed, Landing, Outcome
from .store_protocol import FlowSteps

__all__ = ["Leader", "Ports"]

#: Seconds between two tries for a lease that another process holds: from, growing to.
POLL = (0.002, 0.05)


#: Why a value was not stored.
UNTAKEN = "the backend did not take it"
OVERTAKEN = "it was deleted, or set, while it was computed"


class Ports(Protocol):
    """The few things that the flow cannot do by itself, in the colour of the caller."""

    flights: Flights
    steps: FlowSteps
    backoff: Backoff
    stats: Counters
    clock: Callable[[], float]

    def stands(self, expected: Any, lookup: Lookup) -> bool: ...
    def lease(self, key: str, expected: Any, life: float) -> Any: ...
    def release(self, lease: Any, shared: bool) -> None: ...
    async def wait(self, flight: Flight, patience: float) -> Landing: ...
    async def pause(self, seconds: float) -> None: ...
    def spawn(self, leader: Leader) -> None: ...


def _nobody_asks() -> None:
    """A call that computes waits for itself."""


class Leader:
    """The duty to compute one key.

    :param flight: what followers wait for, or ``None`` for a computation that is not shared.
    """

    __slots__ = ("flight", "call", "lookup", "ports", "expected", "lease", "failure", "ended")

    def __init__(self, flight: Flight | None, call: Call, lookup: Lookup, ports: Ports) -> None:
        self.flight = flight
        self.call = call
        self.lookup = lookup
        self.ports = ports
        self.expected: Any = None
        self.lease: Any = None
        #: Why there is no new value.
        self.failure: Any = None
        #: Tells that it has ended, if it was started in the background.
        self.ended: Callable[[], None] = _nobody_asks
        if flight is not None:
            flight.abandon = self.abandon

    async def prepare(self, fresh_look: bool, wait: bool = True) -> Answer | Leader:
        """Make sure that there is something to compute, and fix what must stand at its end.

        :param fresh_look: whether another caller may have stored a value since the last look.
        :param wait: whether to wait for another process that computes the same key. A background
            refresh does not: it ends, with what is there.
        """
        try:
            answer = await self._look() if fresh_look else None
            if answer is None:
                await self._expect()
            while answer is None and self._wants_lease():
                expected = self.expected
                answer = await self._take_lease(wait)
                if answer is None:
                    await self._expect()
                if self.lease is None or self.expected == expected:
                    break
                self._release(shared=True)  # it was for what an invalidation has overtaken
        except BaseException:
            self.abandon()
            raise
        return self if answer is None else answer

    async def _look(self, lookup: Lookup | None = None) -> Answer | None:
        """Find an answer in the store after all.

        :param lookup: a look that was just made, for which no further one is needed.
        """
        call, ports = self.call, self.ports
        if self.lookup.failed:
            return None
        self.lookup = lookup or await ports.steps.load(call.key, call.tags)
        answer = found(call, self.lookup, ports.clock())
        if answer is not None:
            self._land(Outcome.FOUND)
            self._release(shared=True)
        return answer

    async def _expect(self) -> None:
        """Fix what must still stand when the value is stored."""
        call, flight = self.call, self.flight
        self.expected = None
        if not self.lookup.failed:
            life = call.policy.times_of(0.0, call.hooks.known_timeout()).life
            expect, lookup = self.ports.steps.expect, self.lookup
            self.expected = await expect(call.key, call.tags, lookup, life, call.forced)
            if flight is not None:
                flight.expected = self.expected

    def _wants_lease(self) -> bool:
        """Whether other processes may compute the key; the lease is for what they would compute."""
        call = self.call
        if self.flight is None or self.expected is None or not call.policy.lock:
            return False
        self.lease = self.ports.lease(call.key, self.expected, call.policy.lock_timeout)
        return self.lease is not None

    async def _take_lease(self, wait: bool) -> Answer | None:
        """Wait until this process may compute the key; an answer if that became unnecessary."""
        call, lease, ports = self.call, self.lease, self.ports
        patience = call.policy.lock_timeout
        holder, waited, delay, tried = None, 0.0, POLL[0], False
        while True:
            taken, lookup = await ports.steps.acquire_lease(lease, call.key, call.tags)
            if taken:
                break
            if lookup is not None and lookup.failed:  # no lease, then, and nothing to store in
                self.lookup, self.lease = lookup, None
                return None
            # Most who wait see the value here, before they see that its lease was given back.
            if lookup is not None and (answer := found(call, lookup, ports.clock())) is not None:
                self.lease = None
                self._land(Outcome.FOUND)
                return answer
            if not wait:
                self.lease = None
                self._land(Outcome.ABANDONED)
                return Answer(None if self.lookup.entry is None else self.lookup.entry.value())
            if holder is not None and await ports.steps.unshared(lease, holder):
                self.lease = None
                self._part()
                return None
            if waited >= patience and lease.holder == holder:
                self.lease = None  # compute without it
                return await self._look(lookup)
            ports.stats.waits += not tried
            tried = True
            if lease.holder != holder:
                holder, waited = lease.holder, 0.0  # a new leader: patience starts anew
                if self.flight is not None:
                    self.flight.renew()
            await ports.pause(delay)
            waited += delay
            delay = min(delay * 1.5, POLL[1])
        if holder is not None and await ports.steps.unshared(lease, holder):
            self._release(shared=True)  # quietly: the others must still see what the holder said
            self._part()
            return None
        return await self._look(lookup)

    def _part(self) -> None:
        """The other process's value may not be stored: all who waited compute now, together."""
        self._land(Outcome.UNSHARED)
        self.flight = None

    def _release(self, shared: bool) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            self.ports.release(lease, shared)

    def _land(self, outcome: Landing) -> None:
        if self.flight is not None:
            self.ports.flights.land(self.flight, outcome)

    def abandon(self) -> None:
        """This leader will not compute: let the next caller lead."""
        self._land(Outcome.ABANDONED)
        self._release(shared=True)

    def _say(self, why: str) -> None:
        """Why the value is not stored: for this call, and for those that follow it."""
        self.call.unstored = why
        if self.flight is not None:
            self.flight.unstored = why

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
        ports.stats.computed += 1
        if self.flight is not None:
            self.flight.computed = True
        if value is None and not call.policy.cache_none and fate is Fate.STORE:
            fate = Fate.UNCACHEABLE
            self._say("it returned None, and cache_none is not set")
        elif fate is not Fate.STORE:
            self._say(call.hooks.unstorable(value, call))
        if fate is not Fate.STORE:
            fallback = self._fallback() if fate is Fate.FAIL else NOTHING
            self.failure = value if fate is Fate.FAIL else None
            if fallback is NOTHING:
                self._land(Outcome.UNSHARED)
            else:
                value = fallback
                self._land_value(fallback)
            self._release(shared=False)
            return value
        stored, place = None, call.hooks.elsewhere(call)
        try:
            if self.flight is not None and self.flight.overtaken:
                stored = False
            elif self.expected is not None and not self.lookup.failed:
                times = call.policy.times_of(ports.clock(), timeout)
                stored = await self._store(value, times, place)
            if not stored and call.unstored is None:
                self._say(UNTAKEN if stored is None else OVERTAKEN)
        finally:
            self._land_value(value if place is None else place.marker)
            # After an invalidation, one of those who wait computes anew, and stores.
            self._release(shared=stored is not None)
        ports.stats.stored += bool(stored)
        return value

    async def _store(self, value: Value, times: Times, place: ElsewhereKey | None) -> bool | None:
        """Save a value; ``None`` if it cannot be stored at all."""
        call, steps = self.call, self.ports.steps
        key = call.key if place is None else place.key
        out = call.hooks.make_room(call, key, times)
        if out is None:
            self._say("there are too many variants of its page")
            return None
        if out:
            await steps.invalidate([out], [])
        if place is not None:
            stored = await self._store_elsewhere(value, times, place)
            if not stored:
                return stored
            call.served = times
            value, times = place.marker, times._replace(fresh_until=LONG_AGO)
        stored = await steps.save(call.key, value, times, self.expected, self.lookup, self.lease)
        if stored and place is None:
            call.served = times
        if stored is not None:
            self.lease = None  # it was given back with the value
        return stored

    async def _store_elsewhere(
        self, value: Value, times: Times, place: ElsewhereKey
    ) -> bool | None:
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
            return None
        if not ports.stands(self.expected, now):
            return False
        return await ports.steps.save(place.key, value, times, expected, lookup, None)

    def fail(self, error: BaseException) -> Value:
        """The function raised: land, and return what may be served instead, or ``NOTHING``."""
        if not isinstance(error, Exception):  # cancelled, or the thread ends
            self.abandon()
            return NOTHING
        self.ports.stats.failed += 1
        self.failure = error
        self._say(f"it raised {error!r}")
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
        self.ports.stats.rescued += 1
        self.call.served = entry
        return entry.value()


def _copies(value: Value) -> Landing:
    """What followers get of a leader's value: copies, or leave to compute their own."""
    try:
        kept, thaw = keep(value)
    except CacheError:
        return Outcome.UNSHARED
    return Landed(Entry(kept, thaw).value)
