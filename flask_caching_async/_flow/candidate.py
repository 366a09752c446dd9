"""Becoming the leader of a key: a second look, what must stand at the end, and the lease.

Nothing here calls the user's function, imports asyncio, or reads a clock that was not handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

from .._entries.entry import Lookup
from .answer import Answer, found
from .backoff import Backoff
from .policy import Call
from .singleflight import Flight, Flights, Landing, Outcome
from .store_protocol import DirectSteps, FlowSteps

__all__ = ["Candidate", "CandidatePorts"]

#: Seconds between two tries for a lease that another process holds: from, growing to.
POLL = (0.002, 0.05)


class CandidatePorts(Protocol):
    """The few things that a candidate cannot do by itself, in the colour of the caller."""

    flights: Flights
    steps: FlowSteps
    direct: DirectSteps | None
    backoff: Backoff
    clock: Callable[[], float]

    def stands(self, expected: Any, lookup: Lookup) -> bool: ...
    def lease(self, key: str, expected: Any, life: float) -> Any: ...
    def release(self, lease: Any, shared: bool) -> None: ...
    async def wait(self, flight: Flight, patience: float) -> Landing: ...
    async def pause(self, seconds: float) -> None: ...


def _nobody_asks() -> None:
    """A call that computes waits for itself."""


class Candidate:
    """Who is to lead a key, and prepares for it.

    :param flight: what followers wait for, or ``None`` for a computation that is not shared.
    """

    __slots__ = (
        "flight", "call", "lookup", "ports", "expected", "lease", "failure", "ended", "has_begun"
    )  # fmt: skip

    def __init__(
        self, flight: Flight | None, call: Call, lookup: Lookup, ports: CandidatePorts
    ) -> None:
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
        #: Whether its flight knows that it was led here and now.
        self.has_begun = False
        if flight is not None:
            flight.abandon = self.abandon

    @property
    def in_background(self) -> bool:
        """Whether no caller waits for it."""
        return self.ended is not _nobody_asks

    async def prepare(self, fresh_look: bool, wait: bool = True) -> Answer | Self:
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

    def expect_directly(self, direct: DirectSteps) -> None:
        """What :meth:`prepare` comes to in memory, where there is no lease to wait for."""
        call, flight = self.call, self.flight
        self.expected = direct.expect_directly(call.key, call.tags, call.forced)
        if flight is not None:
            flight.expected = self.expected
            flight.abandon = self.abandon
        self.has_begun = True

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
            call.counters.waits += not tried
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
