"""The read-through flow, written once for both colours, around a call which it never makes itself.

:func:`begin` answers from the store or from another caller's computation, or it makes the caller
compute: then it returns a :class:`.Leader`, and the caller (``run.py``) calls the function in a
frame of its own and hands the outcome to :meth:`.Leader.finish` or :meth:`.Leader.fail`.
"""

from __future__ import annotations

import copy
import logging

from .._entries.entry import Lookup, Verdict
from ..events import about
from .answer import Answer, found
from .leader import Leader, Ports
from .policy import Call
from .singleflight import Failed, Flight, Landed, Landing, Outcome

__all__ = ["begin", "lead_directly"]

log = logging.getLogger("flask_caching_async")


async def begin(
    call: Call, lookup: Lookup, landed_before: int, ports: Ports
) -> Answer | Failed | Leader:
    """Answer ``call``, or make the caller compute it, or hand on what its leader's call raised.

    :param lookup: what the caller found before it came here.
    :param landed_before: ``flights.landed`` before that look.
    """
    flights, policy = ports.flights, call.policy
    if not call.forced and policy.judge(lookup.entry, ports.clock()) is Verdict.STALE:
        return _stale(call, lookup, ports)
    if policy.soft_timeout is not None and (answer := await _softly(call, lookup, ports)):
        return answer
    call.counters.misses += 1
    if not policy.lock:
        return await Leader(None, call, lookup, ports).prepare(fresh_look=False)
    while True:
        flight, leading = flights.join(call.key, call.tags)
        if not leading and not flight.serves(call.tags):
            break  # two functions have this key, and neither's value is an answer of the other
        if leading:
            try:
                leader = Leader(flight, call, lookup, ports)
                return await leader.prepare(flights.landed != landed_before)
            except BaseException:  # of a handler, at whatever step
                flights.land(flight, Outcome.ABANDONED)
                raise
        if flight.expected is not None and not ports.stands(flight.expected, lookup):
            # An invalidation came after this flight began, or after our own look: look again.
            names = tuple(dict.fromkeys((*call.tags, *flight.tags)))
            lookup = await ports.steps.load(call.key, names)
            if (answer := found(call, lookup, ports.clock())) is not None:
                return answer
            if not ports.stands(flight.expected, lookup):
                flights.forget_flight(flight)
                continue
        outcome = await _follow(flight, call, ports)
        if isinstance(outcome, (Answer, Failed)):
            return outcome
        if outcome is Outcome.FOUND:
            lookup = await ports.steps.load(call.key, call.tags)
            if (answer := found(call, lookup, ports.clock())) is not None:
                return answer
        elif outcome is not Outcome.ABANDONED:
            break
    return await Leader(None, call, lookup, ports).prepare(fresh_look=False)


def lead_directly(call: Call, lookup: Lookup, landed_before: int, ports: Ports) -> Leader | None:
    """What :func:`begin` comes to for most misses in memory, in a few steps.

    ``None`` where there is something that might be served, or someone who might be waited for.
    """
    direct, flights, policy = ports.direct, ports.flights, call.policy
    if direct is None or not policy.lock:
        return None
    may_serve = policy.stale_while_revalidate or policy.soft_timeout is not None
    if lookup.entry is not None and may_serve and not call.forced:
        return None
    leader = Leader(None, call, lookup, ports)
    try:
        leader.flight = flights.lead(call.key, call.tags)
        if leader.flight is None:
            return None
        if flights.landed != landed_before:
            leader.lookup = direct.load_directly(call.key, call.tags)
            if found(call, leader.lookup, ports.clock()) is not None:
                leader.abandon()
                return None
        call.counters.misses += 1
        leader.expect_directly(direct)
        return leader
    except BaseException:  # of a handler, at whatever step
        leader.abandon()
        raise


def _stale(call: Call, lookup: Lookup, ports: Ports) -> Answer:
    """The old value, while the background computes a new one."""
    assert lookup.entry is not None
    call.counters.stale += 1
    _revalidate(call, lookup, ports)
    call.served = lookup.entry
    return Answer(lookup.entry.value())


async def _follow(flight: Flight, call: Call, ports: Ports) -> Answer | Failed | Outcome:
    """Wait for another caller's computation."""
    call.counters.waits += 1
    too_old = call.forced and flight.computed
    outcome = await ports.wait(flight, call.policy.lock_timeout)
    call.unstored = flight.unstored
    if isinstance(outcome, Landed):
        return Outcome.ABANDONED if too_old else Answer(outcome.value())
    return outcome


async def _softly(call: Call, lookup: Lookup, ports: Ports) -> Answer | None:
    """Let the background compute, and take the old value if that takes too long.

    ``None`` where there is no old value that could be served instead.
    """
    policy, entry = call.policy, lookup.entry
    if call.forced or policy.judge(entry, ports.clock()) is not Verdict.STALE_IF_ERROR:
        return None
    assert entry is not None and policy.soft_timeout is not None
    if ports.backoff.ready(call.key, ports.clock()):
        flight = ports.flights.open_one(call.key)
        if flight is None:
            _revalidate(call, lookup, ports)
            flight = ports.flights.open_one(call.key)
        outcome: Landing = Outcome.FOUND  # if it has landed already
        if flight is not None:
            if not flight.serves(call.tags):
                return None
            if flight.expected is not None and not ports.stands(flight.expected, lookup):
                return None
            call.counters.waits += 1
            outcome = await ports.wait(flight, policy.soft_timeout)
        if isinstance(outcome, Landed):
            return Answer(outcome.value())
        if outcome is Outcome.UNSHARED:
            return None
        if outcome is Outcome.FOUND or outcome is Outcome.ABANDONED:
            look = await ports.steps.load(call.key, call.tags)
            if (answer := found(call, look, ports.clock())) is not None:
                return answer
    call.counters.rescued += 1
    call.served = entry
    return Answer(entry.value())


def _revalidate(call: Call, lookup: Lookup, ports: Ports) -> None:
    """Let a stale key be computed in the background, unless it is being computed."""
    if not ports.backoff.ready(call.key, ports.clock()):
        return
    flight = ports.flights.try_lead(call.key, call.tags, call.policy.lock_timeout)
    if flight is None:
        return
    # What becomes of that is another story than what this call is answered with.
    leader = Leader(flight, copy.copy(call), lookup, ports)
    try:
        ports.spawn(leader)
    except Exception:
        log.exception(
            "no background refresh of %r could be started", call.key,
            extra=about("refresh_dropped", function=call.counters.name, key=call.key, count=1),
        )  # fmt: skip
        leader.abandon()
