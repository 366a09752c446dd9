"""The duty to compute one key: to prepare it, and to land what comes of it.

Nothing here calls the user's function, imports asyncio, or reads a clock that was not handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .._entries.entry import NOTHING, Entry, Reading, Verdict
from .._entries.isolation import keep
from ..exceptions import CacheError
from .backoff import Backoff
from .policy import Fate, Job
from .singleflight import Failed, Flight, Flights, Landed, Outcome, Signal
from .store_protocol import Steps

__all__ = ["Answer", "Lead", "Ports", "found"]

#: Seconds between two tries for a lease that another process holds: from, growing to.
POLL = (0.002, 0.05)


class Ports(Protocol):
    """The few things that the flow cannot do by itself, in the colour of the caller."""

    flights: Flights
    steps: Steps
    backoff: Backoff
    stats: Any
    clock: Callable[[], float]

    def stands(self, guard: Any, reading: Reading) -> bool: ...
    def lease(self, key: str, guard: Any, life: float) -> Any: ...
    def release(self, lease: Any, shared: bool) -> None: ...
    async def wait(self, flight: Flight, patience: float) -> Outcome: ...
    async def pause(self, seconds: float) -> None: ...
    def spawn(self, lead: Lead) -> None: ...


class Answer:
    """An answer that needs no computation."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def found(job: Job, reading: Reading, now: float) -> Answer | None:
    """What is stored, if it is good enough to need no computation."""
    entry = reading.entry
    if entry is None or job.policy.judge(entry, now) is not Verdict.FRESH:
        return None
    value = entry.open()
    if job.forced and entry.created <= job.called:
        return None
    return None if value is None and not job.policy.cache_none else Answer(value)


class Lead:
    """The duty to compute one key.

    :param flight: what others follow, or ``None`` for a computation that nobody shares.
    """

    __slots__ = ("flight", "job", "reading", "ports", "guard", "lease", "failure")

    def __init__(self, flight: Flight | None, job: Job, reading: Reading, ports: Ports) -> None:
        self.flight = flight
        self.job = job
        self.reading = reading
        self.ports = ports
        self.guard: Any = None
        self.lease: Any = None
        #: Why there is no new value.
        self.failure: Any = None

    async def prepare(self, fresh_look: bool, wait: bool = True) -> Answer | Lead:
        """Make sure that there is something to compute, and fix what must stand at its end.

        :param fresh_look: whether somebody may have stored a value since the last look.
        :param wait: whether to wait for another process that computes the same key. A background
            refresh does not: it ends, with what is there.
        """
        try:
            answer = await self._look() if fresh_look else None
            if answer is None:
                await self._guard()
            while answer is None and self._wants_lease():
                guard = self.guard
                answer = await self._take_lease(wait)
                if answer is None:
                    await self._guard()
                if self.lease is None or self.guard == guard:
                    break
                self._release(shared=True)  # it was for what an invalidation has overtaken
        except BaseException:
            self.abandon()
            raise
        return self if answer is None else answer

    async def _look(self, reading: Reading | None = None) -> Answer | None:
        """Find an answer in the store after all.

        :param reading: a look that was just made, for which no further one is needed.
        """
        job, ports = self.job, self.ports
        if self.reading.failed:
            return None
        self.reading = reading or await ports.steps.load(job.key, job.stamps)
        answer = found(job, self.reading, ports.clock())
        if answer is not None:
            self._land(Signal.FOUND)
            self._release(shared=True)
        return answer

    async def _guard(self) -> None:
        """Fix what must still stand when the value is stored."""
        job, flight = self.job, self.flight
        self.guard = None
        if not self.reading.failed:
            life = job.policy.seal(0.0, job.plan.expected()).life
            guarding = self.ports.steps.guard(job.key, job.stamps, self.reading, life)
            self.guard = await guarding
            if flight is not None:
                flight.guard = self.guard

    def _wants_lease(self) -> bool:
        """Whether other processes may compute the key; the lease is for what they would compute."""
        job = self.job
        if self.flight is None or self.guard is None or not job.policy.lock:
            return False
        self.lease = self.ports.lease(job.key, self.guard, job.policy.lock_timeout)
        return self.lease is not None

    async def _take_lease(self, wait: bool) -> Answer | None:
        """Wait until this process may compute the key; an answer if that became unnecessary."""
        job, lease, ports = self.job, self.lease, self.ports
        patience = job.policy.lock_timeout
        holder, waited, delay = None, 0.0, POLL[0]
        while True:
            taken, reading = await ports.steps.claim(lease, job.key, job.stamps)
            if reading is not None and reading.failed:  # no lease, then, and nothing to store in
                self.reading, self.lease = reading, None
                return None
            if taken:
                break
            # Most who wait see the value here, before they see that its lease was given back.
            if reading is not None and (answer := found(job, reading, ports.clock())) is not None:
                self.lease = None
                self._land(Signal.FOUND)
                return answer
            if not wait:
                self.lease = None
                self._land(Signal.ABANDONED)
                return Answer(None if self.reading.entry is None else self.reading.entry.open())
            if holder is not None and await ports.steps.unshared(lease, holder):
                self.lease = None
                self._part()
                return None
            if waited >= patience and lease.holder == holder:
                self.lease = None  # compute without it
                return await self._look(reading)
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
        return await self._look(reading)

    def _part(self) -> None:
        """The other process's value may not be stored: all who waited compute now, together."""
        self._land(Signal.UNSHARED)
        self.flight = None

    def _release(self, shared: bool) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            self.ports.release(lease, shared)

    def _land(self, outcome: Outcome) -> None:
        if self.flight is not None:
            self.ports.flights.land(self.flight, outcome)

    def abandon(self) -> None:
        """Nobody will compute this: let the next caller lead."""
        self._land(Signal.ABANDONED)
        self._release(shared=True)

    def _land_value(self, value: Any) -> None:
        """Land with a value; it is copied only if somebody follows."""
        flight, flights = self.flight, self.ports.flights
        if flight is not None and flights.close(flight):
            flights.land(flight, _copies(value))

    async def finish(self, value: Any, fate: Fate, timeout: float | None = None) -> Any:
        """The function returned: store, release those who wait, and give the answer.

        :param timeout: the value's own timeout in seconds.
        """
        job, ports = self.job, self.ports
        ports.stats.computed += 1
        if self.flight is not None:
            self.flight.computed = True
        if value is None and not job.policy.cache_none and fate is Fate.STORE:
            fate = Fate.PASS
        if fate is not Fate.STORE:
            rescue = self._rescue() if fate is Fate.FAIL else NOTHING
            self.failure = value if fate is Fate.FAIL else None
            if rescue is NOTHING:
                self._land(Signal.UNSHARED)
            else:
                value = rescue
                self._land_value(rescue)
            self._release(shared=False)
            return value
        stored = None
        try:
            if self.flight is not None and self.flight.overtaken:
                stored = False
            elif self.guard is not None and not self.reading.failed:
                times = job.policy.seal(ports.clock(), timeout)
                stored = await ports.steps.save(
                    job.key, value, times, self.guard, self.reading, self.lease
                )
                if stored is not None:
                    self.lease = None  # it was given back with the value
        finally:
            self._land_value(value)
            # After an invalidation, one of those who wait computes anew, and stores.
            self._release(shared=stored is not None)
        ports.stats.stored += bool(stored)
        return value

    def fail(self, error: BaseException) -> Any:
        """The function raised: land, and return what may be served instead, or ``NOTHING``."""
        if not isinstance(error, Exception):  # cancelled, or the thread ends
            self.abandon()
            return NOTHING
        self.ports.stats.failed += 1
        self.failure = error
        rescue = self._rescue()
        if rescue is NOTHING:
            self._land(Failed(error))
        else:
            self._land_value(rescue)
        self._release(shared=False)
        return rescue

    def _rescue(self) -> Any:
        """The value that was good until now, if ``stale_if_error`` still allows it."""
        policy, entry, now = self.job.policy, self.reading.entry, self.ports.clock()
        if entry is None or not policy.stale_if_error or now >= entry.usable_until:
            return NOTHING
        if now >= entry.fresh_until + policy.stale_if_error:
            return NOTHING
        self.ports.stats.rescued += 1
        return entry.open()


def _copies(value: Any) -> Outcome:
    """What followers get of a leader's value: copies, or leave to compute their own."""
    try:
        kept, thaw = keep(value)
    except CacheError:
        return Signal.UNSHARED
    return Landed(Entry(kept, thaw).open)
