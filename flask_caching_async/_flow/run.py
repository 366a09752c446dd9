"""The two colours of a call: ports, shells and the frame that calls the user's function.

Each sync piece stands next to its async twin. A twin exists only where the line itself is the
difference; everything else is in ``readthrough.py``, once.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from contextvars import Token
from typing import Any, cast

from .._entries.entry import NOTHING, Reading
from .._entries.isolation import IMMUTABLE
from .._entries.times import seconds
from .._runtime.colour import run_now
from .callbacks import aask, ask, awhole, whole
from .engine import Engine
from .leader import Answer, Lead
from .policy import Fate, Job
from .ports import AsyncPorts, SyncPorts
from .readthrough import begin
from .singleflight import Failed, Flight, leading

__all__ = ["aread_through", "arefresh", "read_through", "refresh"]

log = logging.getLogger("flask_caching_async")


# --- computing ------------------------------------------------------------------------------------


def _enter(lead: Lead) -> Token[tuple[Flight, ...]] | None:
    """From here on the current context computes: nothing in it may wait for this flight."""
    if lead.flight is None:
        return None
    lead.flight.begin()
    return leading.set((*leading.get(), lead.flight))


def _leave(token: Token[tuple[Flight, ...]] | None) -> None:
    if token is not None:
        with contextlib.suppress(ValueError):  # the collector ends coroutines in any context
            leading.reset(token)


def fill(lead: Lead) -> Any:
    """Call the user's function, and land whatever comes of it."""
    job, plan, timeout = lead.job, lead.job.plan, cast(Any, None)
    token = _enter(lead)
    try:
        try:
            value = job.function(*job.args, **job.kwargs)
            if type(value) not in IMMUTABLE:
                value = whole(value, job.function)
        except plan.answers as answer:
            value = answer
        finally:
            _leave(token)
        fate = plan.fate(value, job)
        if plan.response_filter and not ask(plan.response_filter, plan.shown(value)):
            fate = Fate.PASS if fate is Fate.STORE else fate
        if fate is Fate.STORE and callable(timeout := plan.lifetime(value)):
            timeout = ask(timeout, plan.shown(value))
        timeout = seconds(timeout)
    except BaseException as error:
        rescue = lead.fail(error)
        if rescue is NOTHING:
            raise
        return rescue
    return run_now(lead.finish(value, fate, timeout))


async def afill(lead: Lead) -> Any:
    """Call the user's function, and land whatever comes of it."""
    job, plan, timeout = lead.job, lead.job.plan, cast(Any, None)
    token = _enter(lead)
    try:
        try:
            value = job.function(*job.args, **job.kwargs)
            if inspect.iscoroutine(value):
                value = await value
            if type(value) not in IMMUTABLE:
                value = await awhole(value)
        except plan.answers as answer:
            value = answer
        finally:
            _leave(token)
        fate = plan.fate(value, job)
        if plan.response_filter and not await aask(plan.response_filter, plan.shown(value)):
            fate = Fate.PASS if fate is Fate.STORE else fate
        if fate is Fate.STORE and callable(timeout := plan.lifetime(value)):
            timeout = await aask(timeout, plan.shown(value))
        timeout = seconds(timeout)
    except BaseException as error:
        rescue = lead.fail(error)
        if rescue is NOTHING:
            raise
        return rescue
    return await lead.finish(value, fate, timeout)


# --- the slow half of a call: everything after "not a fresh hit" ----------------------------------


def read_through(engine: Engine, job: Job, reading: Reading, era: int) -> Any:
    """Answer a job that its shell could not answer from a fresh entry."""
    answer = run_now(begin(job, reading, era, SyncPorts(engine)))
    if type(answer) is Answer:
        return answer.value
    if type(answer) is Failed:  # raised here: no coroutine can raise a StopIteration
        raise answer.twin()
    return fill(cast(Lead, answer))


async def aread_through(engine: Engine, job: Job, reading: Reading, era: int) -> Any:
    """Answer a job that its shell could not answer from a fresh entry."""
    answer = await begin(job, reading, era, AsyncPorts(engine))
    if type(answer) is Answer:
        return answer.value
    if type(answer) is Failed:
        raise answer.twin()
    return await afill(cast(Lead, answer))


# --- in the background ----------------------------------------------------------------------------


def _detach(lead: Lead) -> None:
    """Whatever the caller was computing does not wait for what its background does."""
    leading.set(())
    if lead.flight is not None:
        lead.flight.begin()


def refresh(lead: Lead) -> None:
    """Compute a key in the background; the old value is kept if that fails."""
    _detach(lead)
    try:
        answer = run_now(lead.prepare(fresh_look=True, wait=False))
        if type(answer) is Lead:
            fill(answer)
    except Exception as error:
        lead.failure = error
    _learn(lead)


async def arefresh(lead: Lead) -> None:
    """Compute a key in the background; the old value is kept if that fails."""
    lead.ports = AsyncPorts(lead.ports.engine)  # type: ignore[attr-defined]
    _detach(lead)
    try:
        answer = await lead.prepare(fresh_look=True, wait=False)
        if type(answer) is Lead:
            await afill(answer)
    except Exception as error:
        lead.failure = error
    _learn(lead)


def _learn(lead: Lead) -> None:
    """After a refresh: log a change once, and let the next attempt wait if this one failed."""
    key, ports, failure = lead.job.key, lead.ports, lead.failure
    if failure is None:
        if ports.backoff.worked(key):
            log.info("the background refresh of %r works again", key)
    elif ports.backoff.failed(key, ports.clock()):
        cause = failure if isinstance(failure, BaseException) else None
        why = "" if cause is not None else f" with {failure!r}"
        log.error(
            "a background refresh of %r failed%s; the old value is kept, and it is tried again "
            "later", key, why, exc_info=cause,
        )  # fmt: skip
