"""The two colours of a call: ports, shells and the frame that calls the user's function.

Each sync piece stands next to its async twin. A twin exists only where the line itself is the
difference; everything else is in ``readthrough.py``, once.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import Token
from typing import Any, cast

from .._colour import pause, run_now, wait_for, whoami
from .asking import aask, ask, awhole, whole
from .backoff import Backoff
from .entry import NOTHING, Reading
from .flight import Failed, Flight, Flights, Outcome, Signal, leading
from .policy import seconds
from .readthrough import Answer, Fate, Job, Lead, begin
from .value import IMMUTABLE

__all__ = [
    "Engine",
    "Plan",
    "aask",
    "aread_through",
    "arefresh",
    "ask",
    "awhole",
    "read_through",
    "refresh",
]

log = logging.getLogger("flask_caching_async")


class Plan:
    """What a decorator was told about the values of a function: who is asked about each of them.

    :param answers: exceptions that are answers, not failures (a view's ``HTTPException``).
    :param fate: what is to be done with a value by its own nature.
    :param shown: what ``response_filter`` is given for a value.
    """

    answers: tuple[type[BaseException], ...] = ()
    response_filter: Callable[..., Any] | None = None
    timeout: Any = None

    def fate(self, value: Any, job: Job) -> Fate:
        """Whether the value may be stored at all."""
        return Fate.STORE

    def shown(self, value: Any) -> Any:
        """The value as callbacks see it."""
        return value

    def expected(self) -> float | None:
        """The timeout that values will have, as far as it is known before they are computed."""
        return None

    def lifetime(self, value: Any) -> Any:
        """The value's own timeout, or the function's (which may be a callable on the value)."""
        return self.timeout


class Engine:
    """What one store gives to all calls: flights, stats, a clock and a way into the background.

    :param now: the steps of the store for sync code (they never suspend).
    :param later: the steps of the store for async code.
    """

    def __init__(self, store: Any, stats: Any, spawn: Callable[[Lead, bool], None]) -> None:
        self.store = store
        self.now = store.now
        self.later = store.later
        self.flights = Flights()
        self.backoff = Backoff()
        self.stats = stats
        self.spawn = spawn


class SyncPorts:
    """Ports whose coroutines return at once, blocking the thread where they must wait."""

    __slots__ = ("engine", "flights", "steps", "backoff", "stats", "clock", "stands", "lease")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.flights, self.steps, self.stats = engine.flights, engine.now, engine.stats
        self.backoff = engine.backoff
        self.clock = engine.store.clock
        self.stands, self.lease = engine.store.stands, engine.store.lease

    async def wait(self, flight: Flight, patience: float) -> Outcome:
        # A leader on this very thread cannot go on while we block it.
        if not self.flights.follow(flight, blocked=threading.get_ident()):
            return Signal.ALONE
        try:
            while True:
                left = flight.since + patience - time.monotonic()
                try:
                    return flight.outcome.result(max(left, 0))  # type: ignore[union-attr]
                except FutureTimeout:
                    if flight.since + patience <= time.monotonic():
                        return Signal.ALONE
        finally:
            self.flights.unfollow(flight)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - a sync port blocks, and never suspends

    def release(self, lease: Any, shared: bool) -> None:
        lease.abandoned = True  # first: see TokenSteps.claim
        if lease.failed:
            self.engine.store.detach("release", lease, shared)
        else:
            run_now(self.steps.release(lease, shared))

    def spawn(self, lead: Lead) -> None:
        self.engine.spawn(lead, False)


class AsyncPorts(SyncPorts):
    """Ports that suspend where they must wait."""

    __slots__ = ()

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.steps = engine.later

    async def wait(self, flight: Flight, patience: float) -> Outcome:
        if flight.leader == whoami() or not self.flights.follow(flight):
            return Signal.ALONE
        try:
            while True:
                left = flight.since + patience - time.monotonic()
                try:
                    return await wait_for(flight.outcome, max(left, 0))  # type: ignore[arg-type]
                except TimeoutError:
                    if flight.since + patience <= time.monotonic():
                        return Signal.ALONE
        finally:
            self.flights.unfollow(flight)

    async def pause(self, seconds: float) -> None:
        await pause(seconds)

    def release(self, lease: Any, shared: bool) -> None:
        # Nobody waits for it, and a cancelled task could not: but it is I/O.
        lease.abandoned = True
        self.engine.store.detach("release", lease, shared)

    def spawn(self, lead: Lead) -> None:
        self.engine.spawn(lead, True)


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
