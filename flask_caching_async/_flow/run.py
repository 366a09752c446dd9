"""The two colours of a call, and the frame that calls the user's function.

Each sync piece stands next to its async one. There are two only where the line itself is the
difference; everything else is in ``readthrough.py``, once.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import Token
from time import perf_counter_ns
from typing import Any, cast

from .._entries.entry import NOTHING, Lookup
from .._entries.isolation import IMMUTABLE
from .._entries.times import seconds
from .._runtime.colour import run_now
from ..events import about
from ..typing import Value
from .answer import Answer
from .callbacks import acall_callback, ajoin_generated, call_callback, join_generated
from .engine import Engine
from .leader import Leader
from .policy import Call, Fate
from .ports import AsyncPorts, SyncPorts
from .readthrough import begin, lead_directly
from .singleflight import Failed, Flight, leading

__all__ = [
    "aread_through",
    "arefresh",
    "arefresh_within",
    "read_through",
    "refresh",
    "refresh_within",
]

log = logging.getLogger("flask_caching_async")


#: A timeout, before there is a value.
NOT_KNOWN: Any = None

# --- computing ------------------------------------------------------------------------------------


def _enter(leader: Leader) -> Token[tuple[Flight, ...]] | None:
    """From here on the current context computes: nothing in it may wait for this flight."""
    if leader.flight is None:
        return None
    if not leader.has_begun:
        leader.flight.begin()
    return leading.set((*leading.get(), leader.flight))


def _leave(token: Token[tuple[Flight, ...]] | None) -> None:
    if token is not None:
        try:
            leading.reset(token)
        except ValueError:  # the collector ends coroutines in any context
            pass


def compute(leader: Leader) -> Value:
    """Call the user's function, and land whatever comes of it."""
    call, hooks = leader.call, leader.call.hooks
    token, began, timeout = _enter(leader), perf_counter_ns(), NOT_KNOWN
    try:
        try:
            if call.within is None:  # not in a function of its own: recursion has a limit
                value = call.function(*call.args, **call.kwargs)
                if type(value) not in IMMUTABLE:
                    value = join_generated(value, call.function)
            else:
                with call.within():
                    value = join_generated(call.function(*call.args, **call.kwargs), call.function)
        except hooks.answers as answer:
            value = answer
        finally:
            _leave(token)
            call.counters.compute.note(perf_counter_ns() - began)
        fate = Fate.STORE if hooks.plain else hooks.fate(value, call)
        keep = hooks.response_filter
        if keep and not call_callback(keep, hooks.for_callbacks(value)):
            fate = Fate.UNCACHEABLE if fate is Fate.STORE else fate
        if fate is Fate.STORE and callable(timeout := hooks.lifetime(value)):
            timeout = call_callback(timeout, hooks.for_callbacks(value))
        timeout = seconds(timeout)
        if fate is Fate.STORE and hooks.storable is not None:
            value = hooks.storable(value, call)
    except BaseException as error:
        fallback = leader.fail(error)
        if fallback is NOTHING:
            raise
        return fallback
    direct = leader.ports.direct
    if direct is not None and (hooks.plain or hooks.stays(call)):
        return leader.finish_directly(direct, value, fate, timeout)
    return run_now(leader.finish(value, fate, timeout))


async def acompute(leader: Leader) -> Value:
    """Call the user's function, and land whatever comes of it."""
    call, hooks = leader.call, leader.call.hooks
    token, began, timeout = _enter(leader), perf_counter_ns(), NOT_KNOWN
    try:
        try:
            if call.within is None:
                value = call.function(*call.args, **call.kwargs)
                if inspect.iscoroutine(value):
                    value = await value
                if type(value) not in IMMUTABLE:
                    value = await ajoin_generated(value)
            else:
                with call.within():
                    value = call.function(*call.args, **call.kwargs)
                    if inspect.iscoroutine(value):
                        value = await value
                    value = await ajoin_generated(value)
        except hooks.answers as answer:
            value = answer
        finally:
            _leave(token)
            call.counters.compute.note(perf_counter_ns() - began)
        fate = Fate.STORE if hooks.plain else hooks.fate(value, call)
        keep = hooks.response_filter
        if keep and not await acall_callback(keep, hooks.for_callbacks(value)):
            fate = Fate.UNCACHEABLE if fate is Fate.STORE else fate
        if fate is Fate.STORE and callable(timeout := hooks.lifetime(value)):
            timeout = await acall_callback(timeout, hooks.for_callbacks(value))
        timeout = seconds(timeout)
        if fate is Fate.STORE and hooks.storable is not None:
            value = hooks.storable(value, call)
    except BaseException as error:
        fallback = leader.fail(error)
        if fallback is NOTHING:
            raise
        return fallback
    direct = leader.ports.direct
    if direct is not None and (hooks.plain or hooks.stays(call)):
        return leader.finish_directly(direct, value, fate, timeout)
    return await leader.finish(value, fate, timeout)


# --- the slow half of a call: everything after "not a fresh hit" ----------------------------------


def _ports(engine: Engine, kind: type[SyncPorts]) -> SyncPorts:
    ports: SyncPorts = engine.ports.setdefault(kind, kind(engine))
    return ports


def read_through(engine: Engine, call: Call, lookup: Lookup, landed_before: int) -> Value:
    """Answer a call that its wrapper could not answer from a fresh entry."""
    ports = engine.ports.get(SyncPorts) or _ports(engine, SyncPorts)
    leader: Leader | None = None
    try:
        leader = lead_directly(call, lookup, landed_before, ports)
        if leader is None:
            answer = run_now(begin(call, lookup, landed_before, ports))
            if type(answer) is Answer:
                return answer.value
            if type(answer) is Failed:  # raised here: no coroutine can raise a StopIteration
                raise answer.copy()
            leader = cast(Leader, answer)
        if leader.ports.watch.around is not None:
            with leader.ports.watch.around(leader):
                return compute(leader)
        return compute(leader)
    except BaseException:
        if leader is not None:
            leader.abandon()  # a handler may have raised at any step; else it has landed already
        raise


async def aread_through(engine: Engine, call: Call, lookup: Lookup, landed_before: int) -> Value:
    """Answer a call that its wrapper could not answer from a fresh entry."""
    ports = engine.ports.get(AsyncPorts) or _ports(engine, AsyncPorts)
    leader: Leader | None = None
    try:
        leader = lead_directly(call, lookup, landed_before, ports)
        if leader is None:
            answer = await begin(call, lookup, landed_before, ports)
            if type(answer) is Answer:
                return answer.value
            if type(answer) is Failed:
                raise answer.copy()
            leader = cast(Leader, answer)
        if leader.ports.watch.around is not None:
            with leader.ports.watch.around(leader):
                return await acompute(leader)
        return await acompute(leader)
    except BaseException:
        if leader is not None:
            leader.abandon()
        raise


# --- in the background ----------------------------------------------------------------------------


def _detach(leader: Leader) -> None:
    """What the caller was computing does not wait for what its background does."""
    leading.set(())
    if leader.flight is not None:
        leader.flight.begin()


def refresh(leader: Leader) -> None:
    """Compute a key in the background; the old value is kept if that fails."""
    _detach(leader)
    with leader.ports.watch.refresh(leader):
        try:
            answer = run_now(leader.prepare(fresh_look=True, wait=False))
            if type(answer) is Leader:
                answer.call.counters.refreshes += 1
                compute(answer)
        except Exception as error:
            leader.failure = error
    _learn(leader)


async def arefresh(leader: Leader) -> None:
    """Compute a key in the background; the old value is kept if that fails."""
    leader.ports = _ports(leader.ports.engine, AsyncPorts)  # type: ignore[attr-defined]
    _detach(leader)
    with leader.ports.watch.refresh(leader):
        try:
            answer = await leader.prepare(fresh_look=True, wait=False)
            if type(answer) is Leader:
                answer.call.counters.refreshes += 1
                await acompute(answer)
        except Exception as error:
            leader.failure = error
    _learn(leader)


def refresh_within(
    contexts: AbstractContextManager[Any], leader: Leader, work: Callable[[], Any]
) -> None:
    """Let ``work`` refresh in contexts of its own, which end with its failure if it has one.

    So that what ends with them, a transaction for example, knows how the refresh came out.
    """
    _hold(leader)
    entered = False
    try:
        with contexts:
            entered = True
            work()
            _raise_failure(leader)
    except BaseException as error:
        if _is_news(leader, error, entered):
            raise


async def arefresh_within(
    contexts: AbstractAsyncContextManager[Any], leader: Leader, work: Callable[[], Awaitable[Any]]
) -> None:
    """Let ``work`` refresh in contexts of its own, which end with its failure if it has one."""
    _hold(leader)
    entered = False
    try:
        async with contexts:
            entered = True
            await work()
            _raise_failure(leader)
    except BaseException as error:
        if _is_news(leader, error, entered):
            raise


def _hold(leader: Leader) -> None:
    """While the contexts begin, nothing in them may wait for the flight that waits for them."""
    _detach(leader)
    if leader.flight is not None:
        leading.set((leader.flight,))


def _raise_failure(leader: Leader) -> None:
    if isinstance(leader.failure, Exception):
        raise leader.failure


def _is_news(leader: Leader, error: BaseException, entered: bool) -> bool:
    """Whether an error that left the contexts of a refresh has not been dealt with yet."""
    if entered:
        return error is not leader.failure
    leader.abandon()
    if isinstance(error, Exception):
        leader.failure = error
        _learn(leader)
        return False
    return True


def _learn(leader: Leader) -> None:
    """After a refresh: log a change once, and let the next attempt wait if this one failed."""
    key, ports, failure = leader.call.key, leader.ports, leader.failure
    function = leader.call.counters.name
    if failure is None:
        if ports.backoff.worked(key):
            extra = about("refresh_works", function=function, key=key)
            log.info("the background refresh of %r works again", key, extra=extra)
    elif ports.backoff.failed(key, ports.clock()):
        cause = failure if isinstance(failure, BaseException) else None
        why = "" if cause is not None else f" with {failure!r}"
        log.error(
            "a background refresh of %r failed%s; the old value is kept, and it is tried again "
            "later", key, why, exc_info=cause,
            extra=about("refresh_failed", function=function, key=key, error=type(failure).__name__),
        )  # fmt: skip
