"""The read-through flow, written once for both colours, around a call which it never makes itself.

:func:`begin` answers from the store or from somebody else's computation, or it makes the caller
    compute: then it returns a :class:`Lead`, and the caller (``drive.py``) calls the function in a
    frame of its own and hands the outcome to :meth:`Lead.finish` or :meth:`Lead.fail`.

Nothing here calls the user's function, imports asyncio, or reads a clock that was not handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from ..exceptions import CacheError
from .entry import NOTHING, Entry, Reading, Verdict
from .flight import Failed, Flight, Flights, Landed, Outcome, Signal
from .policy import Fate, Job, Timetable
from .value import keep

__all__ = ["Fate", "Job", "Lead", "Ports", "begin"]

log = logging.getLogger("flask_caching_async")

#: Seconds between two tries for a lease that another process holds: from, growing to.
POLL = (0.002, 0.05)


class Steps(Protocol):
    """What the flow needs of a store, in the colour of the caller; see ``store.py``."""

    async def load(self, key: str, stamps: tuple[str, ...]) -> Reading: ...
    async def guard(
        self, key: str, stamps: tuple[str, ...], reading: Reading, life: float
    ) -> Any: ...
    async def save(self, key: str, value: Any, times: Timetable, guard: Any) -> bool | None: ...
    async def acquire(self, lease: Any) -> bool: ...
    async def unshared(self, lease: Any, holder: str) -> bool: ...


class Ports(Protocol):
    """The few things that the flow cannot do by itself, in the colour of the caller."""

    flights: Flights
    steps: Steps
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


async def begin(job: Job, reading: Reading, era: int, ports: Ports) -> Answer | Failed | Lead:
    """Answer ``job``, or make the caller compute it, or raise what somebody else's call raised.

    :param reading: what the caller found before it came here.
    :param era: ``flights.landed`` before that look.
    """
    flights, policy = ports.flights, job.policy
    if not job.forced and policy.judge(reading.entry, ports.clock()) is Verdict.STALE:
        assert reading.entry is not None
        ports.stats.stale += 1
        _revalidate(job, reading, ports)
        return Answer(reading.entry.open())
    ports.stats.misses += 1
    if not policy.lock:
        return await Lead(None, job, reading, ports).prepare(fresh_look=False)
    while True:
        flight, leading = flights.join(job.key, job.stamps)
        if leading:
            return await Lead(flight, job, reading, ports).prepare(flights.landed != era)
        if flight.guard is not None and not ports.stands(flight.guard, reading):
            # An invalidation came after this flight began, or after our own look: look again.
            names = tuple(dict.fromkeys((*job.stamps, *flight.stamps)))
            reading = await ports.steps.load(job.key, names)
            if (answer := _found(job, reading, ports.clock())) is not None:
                return answer
            if not ports.stands(flight.guard, reading):
                flights.displace_flight(flight)
                continue
        ports.stats.waits += 1
        too_old = job.forced and flight.computed
        outcome = await ports.wait(flight, policy.lock_timeout)
        if outcome is Signal.FOUND:
            reading = await ports.steps.load(job.key, job.stamps)
            if (answer := _found(job, reading, ports.clock())) is not None:
                return answer
        elif isinstance(outcome, Landed):
            if not too_old:
                return Answer(outcome.open())
        elif isinstance(outcome, Failed):
            return outcome
        elif outcome is not Signal.ABANDONED:
            break
    return await Lead(None, job, reading, ports).prepare(fresh_look=False)


def _revalidate(job: Job, reading: Reading, ports: Ports) -> None:
    """Let a stale key be computed in the background, unless somebody does so already."""
    flight = ports.flights.try_lead(job.key, job.stamps, job.policy.lock_timeout)
    if flight is None:
        return
    lead = Lead(flight, job, reading, ports)
    try:
        ports.spawn(lead)
    except Exception:
        log.exception("no background refresh of %r could be started", job.key)
        lead.abandon()


def _found(job: Job, reading: Reading, now: float) -> Answer | None:
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

    __slots__ = ("flight", "job", "reading", "ports", "guard", "lease")

    def __init__(self, flight: Flight | None, job: Job, reading: Reading, ports: Ports) -> None:
        self.flight = flight
        self.job = job
        self.reading = reading
        self.ports = ports
        self.guard: Any = None
        self.lease: Any = None

    async def prepare(self, fresh_look: bool, wait: bool = True) -> Answer | Lead:
        """Make sure that there is something to compute, and fix what must stand at its end.

        :param fresh_look: whether somebody may have stored a value since the last look.
        :param wait: whether to wait for another process that computes the same key. A background
            refresh does not: it ends, with what is there.
        """
        try:
            answer = await self._look(fresh_look)
            while answer is None and self._wants_lease():
                guard = self.guard
                answer = await self._take_lease(wait) or await self._look(fresh=True)
                if self.lease is None or self.guard == guard:
                    break
                self._release(shared=True)  # it was for what an invalidation has overtaken
        except BaseException:
            self.abandon()
            raise
        return self if answer is None else answer

    async def _look(self, fresh: bool) -> Answer | None:
        """Find an answer in the store after all, or the guard of what is going to be computed."""
        job, ports, flight = self.job, self.ports, self.flight
        if fresh and not self.reading.failed:
            self.reading = await ports.steps.load(job.key, job.stamps)
            answer = _found(job, self.reading, ports.clock())
            if answer is not None:
                self._land(Signal.FOUND)
                self._release(shared=True)
                return answer
        if not self.reading.failed:
            life = job.policy.seal(0.0, job.plan.expected()).life
            self.guard = await ports.steps.guard(job.key, job.stamps, self.reading, life)
            if flight is not None:
                flight.guard = self.guard
        return None

    def _wants_lease(self) -> bool:
        """Whether other processes may compute the key; the lease is for what they would compute."""
        job = self.job
        if self.flight is None or self.guard is None or not job.policy.lock:
            return False
        self.lease = self.ports.lease(job.key, self.guard, job.policy.lock_timeout)
        return self.lease is not None

    async def _take_lease(self, wait: bool) -> Answer | None:
        """Wait until this process may compute the key; an answer if that became unnecessary."""
        lease, ports, patience = self.lease, self.ports, self.job.policy.lock_timeout
        holder, waited, delay = None, 0.0, POLL[0]
        while not await ports.steps.acquire(lease):
            if not wait:
                self.lease = None
                self._land(Signal.ABANDONED)
                return Answer(None if self.reading.entry is None else self.reading.entry.open())
            if holder is not None and await ports.steps.unshared(lease, holder):
                break
            if lease.holder != holder:
                holder, waited = lease.holder, 0.0  # a new leader: patience starts anew
                if self.flight is not None:
                    self.flight.renew()
            if waited >= patience:
                break
            await ports.pause(delay)
            waited += delay
            delay = min(delay * 1.5, POLL[1])
        else:
            if holder is not None and await ports.steps.unshared(lease, holder):
                # Its value may not be stored: all who waited compute now, together.
                self._release(shared=False)
            return None
        self.lease = None  # compute without it
        return None

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
                stored = await ports.steps.save(job.key, value, times, self.guard)
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
