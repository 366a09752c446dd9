"""The way of a call that is no fast hit: callbacks, key, a look into the store, and then the flow.

Sync pieces stand next to their async ones; what is the same in both is written once.
"""

from __future__ import annotations

import logging

from werkzeug.exceptions import GatewayTimeout

from .._entries.entry import Verdict
from .._flow.callbacks import CallCallback, acall_callback, call_callback_now
from .._flow.engine import Engine
from .._flow.policy import Call
from .._flow.run import aread_through, read_through
from .._runtime.colour import run_now
from ..exceptions import CacheError, InvalidKeyError, NotStoredError
from ..typing import Args, Callback, Kwargs, Value
from .debug_checks import watched
from .found import Bypass, Hit, LookedUp, Pending
from .plan import Plan, State

__all__ = ["acall_through_cache", "call_through_cache", "look"]

log = logging.getLogger("flask_caching_async")


async def find_key(
    plan: Plan, state: State, args: Args, kwargs: Kwargs, call_callback: CallCallback, refresh: bool
) -> tuple[str, tuple[str, ...], bool, Engine] | None:
    """The key and tags of a call, whether it must be computed whatever is stored, and the engine.

    ``None`` if the cache is to be bypassed. A callback that fails has the same effect, and is
    logged: a page without its cache is better than no page. What ``unless`` raises is raised, as in
    Flask-Caching.
    """
    options = plan.options
    if options.unless and not refresh:
        # Not in the try: a visitor who may not see the cached page must not get it by a failure.
        more, named = plan.arguments_for("unless", (plan.function, *args), kwargs)
        if await call_callback(options.unless, *more, **named):
            return None
    try:
        answers = [
            await call_callback(callback) for callback in plan.key_callbacks(state, args, kwargs)
        ]
        made = plan.make_key(state, args, kwargs, answers)
        if made is None:
            return None
        forced = refresh
        if options.forced_update and not refresh:
            more, named = plan.arguments_for("forced_update", args, kwargs)
            forced = bool(await call_callback(options.forced_update, *more, **named))
        engine = state.binding.engine  # this asks a callable key prefix, too
        engine.store.check((made[0], *made[1]))
        return *made, forced, engine
    except Exception as error:
        if isinstance(error, CacheError) and not isinstance(error, InvalidKeyError):
            raise
        plan.explain(error, args, kwargs)
        if state.binding.raising:
            raise
        log.exception("a callback of %s failed; it is called without the cache", plan.name)
        return None


async def is_outdated(
    plan: Plan, state: State, value: Value, args: Args, kwargs: Kwargs, call_callback: CallCallback
) -> bool | None:
    """What ``is_stale`` says of a stored value; ``None``, as in :func:`find_key`, if it fails."""
    more, named = plan.arguments_for("is_stale", args, kwargs)
    try:
        return bool(
            await call_callback(plan.options.is_stale, plan.for_callbacks(value), *more, **named)
        )
    except CacheError:
        raise
    except Exception:
        if state.binding.raising:
            raise
        log.exception("is_stale of %s failed; it is called without the cache", plan.name)
        return None


async def look(
    plan: Plan,
    state: State,
    args: Args,
    kwargs: Kwargs,
    call_callback: CallCallback,
    aio: bool = False,
    refresh: bool = False,
) -> LookedUp:
    """Call the callbacks, find the key, look into the store: everything up to the verdict.

    Written once: sync code gives it a ``call_callback`` that returns at once, as its steps do.

    :param aio: whether the steps are those for async code.
    :param refresh: whether to compute whatever is there, as ``refresh()`` does.
    """
    options = plan.options
    found = await find_key(plan, state, args, kwargs, call_callback, refresh)
    if found is None:
        return Bypass()
    key, tags, forced, engine = found
    called, landed_before = state.timekeeper.clock(), engine.flights.landed
    lookup = await (engine.aio if aio else engine.sync).load(key, tags)
    demand, value = None if refresh else plan.demand(state), None
    forced = forced or (demand is not None and demand.refuses(lookup.entry, called))
    verdict = Verdict.GONE if forced else state.policy.judge(lookup.entry, called)
    if verdict is Verdict.FRESH or (options.is_stale and verdict is Verdict.STALE):
        assert lookup.entry is not None
        value = lookup.entry.value()
        if value is None and not options.cache_none:
            verdict, lookup = Verdict.GONE, lookup._replace(entry=None)
        elif options.is_stale:
            outdated = await is_outdated(plan, state, value, args, kwargs, call_callback)
            if outdated is None:
                return Bypass()
            if outdated:
                verdict, forced = Verdict.GONE, True
    _tell(plan, state, verdict is Verdict.FRESH or verdict is Verdict.STALE, key, args, kwargs)
    if verdict is Verdict.FRESH:
        state.counters.hits += 1
        return Hit(value, lookup.entry, key, tags)
    if demand is not None and demand.only_stored and verdict is not Verdict.STALE:
        return Hit(GatewayTimeout(), None, key, ())
    function = _computing(plan, state, key)
    call = Call(key, tags, state.policy, plan, function, args, kwargs, forced, called)
    call.context, call.first = state, lookup
    return Pending(engine, call, lookup, landed_before)


def _computing(plan: Plan, state: State, key: str) -> Callback:
    """What is called to compute a value; in debug mode it is watched."""
    function = plan.computing(state)
    return watched(plan, state, function, key) if state.binding.framework.debug else function


def _tell(plan: Plan, state: State, served: bool, key: str, args: Args, kwargs: Kwargs) -> None:
    """Say whether the answer was stored: to listeners, and in the header of its response."""
    binding = state.binding
    if binding.settings.signals:
        plan.signal(served, key, args, kwargs)
    if served and plan.indicate:
        binding.framework.after_this_request(_indicate)


def _indicate(response: Value) -> Value:
    response.headers["hit_cache"] = "True"
    return response


# --- the general way of a call --------------------------------------------------------------------


def call_through_cache(
    plan: Plan,
    state: State,
    args: Args,
    kwargs: Kwargs,
    refresh: bool = False,
    strict: bool = False,
) -> Value:
    """A call that its wrapper could not answer by itself.

    :param strict: whether it is an error if the value is not stored.
    """
    found = run_now(look(plan, state, args, kwargs, call_callback_now, False, refresh))
    if isinstance(found, Pending):
        value = plan.hand_out(state, found, read_through(*found))
    elif isinstance(found, Bypass):
        value = plan.hand_out(state, found, plan.function(*args, **kwargs))
    else:
        value = plan.hand_out(state, found, found.value)
    if strict:
        _check_stored(plan, state, found, value)
    return value


async def acall_through_cache(
    plan: Plan,
    state: State,
    args: Args,
    kwargs: Kwargs,
    refresh: bool = False,
    strict: bool = False,
) -> Value:
    """A call that its wrapper could not answer by itself."""
    found = await look(plan, state, args, kwargs, acall_callback, True, refresh)
    if isinstance(found, Pending):
        value = plan.hand_out(state, found, await aread_through(*found))
    elif isinstance(found, Bypass):
        value = plan.hand_out(state, found, await plan.bypass(*args, **kwargs))
    else:
        value = plan.hand_out(state, found, found.value)
    if strict:
        _check_stored(plan, state, found, value)
    return value


def _check_stored(plan: Plan, state: State, found: LookedUp, value: Value) -> None:
    """Say so if a value was not stored that had to be.

    :raises NotStoredError: with the value.
    """
    why = found.call.unstored if isinstance(found, Pending) else None
    if isinstance(found, Bypass):
        why = "the call bypassed the cache"
    elif state.binding.null:
        why = "CACHE_TYPE is NullCache"
    if why is not None:
        raise NotStoredError(f"{plan.name} was computed, and not stored: {why}", value)
