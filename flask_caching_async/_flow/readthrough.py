"""The read-through flow, written once for both colours, around a call which it never makes itself.

:func:`begin` answers from the store or from somebody else's computation, or it makes the caller
    compute: then it returns a :class:`.Lead`, and the caller (``drive.py``) calls the function in a
    frame of its own and hands the outcome to :meth:`.Lead.finish` or :meth:`.Lead.fail`.
"""

from __future__ import annotations

import logging

from .._entries.entry import Reading, Verdict
from .leader import Answer, Lead, Ports, found
from .policy import Job
from .singleflight import Failed, Landed, Outcome, Signal

__all__ = ["begin"]

log = logging.getLogger("flask_caching_async")


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
    if policy.soft_timeout is not None and (answer := await _softly(job, reading, ports)):
        return answer
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
            if (answer := found(job, reading, ports.clock())) is not None:
                return answer
            if not ports.stands(flight.guard, reading):
                flights.displace_flight(flight)
                continue
        ports.stats.waits += 1
        too_old = job.forced and flight.computed
        outcome = await ports.wait(flight, policy.lock_timeout)
        if outcome is Signal.FOUND:
            reading = await ports.steps.load(job.key, job.stamps)
            if (answer := found(job, reading, ports.clock())) is not None:
                return answer
        elif isinstance(outcome, Landed):
            if not too_old:
                return Answer(outcome.open())
        elif isinstance(outcome, Failed):
            return outcome
        elif outcome is not Signal.ABANDONED:
            break
    return await Lead(None, job, reading, ports).prepare(fresh_look=False)


async def _softly(job: Job, reading: Reading, ports: Ports) -> Answer | None:
    """Let the background compute, and take the old value if that takes too long.

    ``None`` where there is no old value that could be served instead.
    """
    policy, entry = job.policy, reading.entry
    if job.forced or policy.judge(entry, ports.clock()) is not Verdict.RESCUE:
        return None
    assert entry is not None and policy.soft_timeout is not None
    if ports.backoff.ready(job.key, ports.clock()):
        flight = ports.flights.open_one(job.key)
        if flight is None:
            _revalidate(job, reading, ports)
            flight = ports.flights.open_one(job.key)
        outcome: Outcome = Signal.FOUND  # if it has landed already
        if flight is not None:
            if flight.guard is not None and not ports.stands(flight.guard, reading):
                return None
            ports.stats.waits += 1
            outcome = await ports.wait(flight, policy.soft_timeout)
        if isinstance(outcome, Landed):
            return Answer(outcome.open())
        if outcome is Signal.UNSHARED:
            return None
        if outcome is Signal.FOUND or outcome is Signal.ABANDONED:
            look = await ports.steps.load(job.key, job.stamps)
            if (answer := found(job, look, ports.clock())) is not None:
                return answer
    ports.stats.rescued += 1
    return Answer(entry.open())


def _revalidate(job: Job, reading: Reading, ports: Ports) -> None:
    """Let a stale key be computed in the background, unless somebody does so already."""
    if not ports.backoff.ready(job.key, ports.clock()):
        return
    flight = ports.flights.try_lead(job.key, job.stamps, job.policy.lock_timeout)
    if flight is None:
        return
    lead = Lead(flight, job, reading, ports)
    try:
        ports.spawn(lead)
    except Exception:
        log.exception("no background refresh of %r could be started", job.key)
        lead.abandon()
