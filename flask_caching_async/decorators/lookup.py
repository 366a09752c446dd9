"""The way of a call that is no fast hit: callbacks, key, a look into the store, and then the flow.

Sync pieces stand next to their async ones; what is the same in both is written once.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from werkzeug.exceptions import GatewayTimeout

from .._entries.entry import Elsewhere, Lookup, Verdict
from .._flow.callbacks import CallCallback, acall_callback, call_callback_now
from .._flow.engine import Engine
from .._flow.policy import Call
from .._flow.run import aread_through, read_through
from .._flow.store_protocol import FlowSteps
from .._runtime.colour import run_now
from ..exceptions import CacheError, InvalidKeyError, NotStoredError
from ..pages.inputs import LEVELS
from ..pages.rules import Keyed
from ..typing import Args, Kwargs, Value
from .debug_checks import check_key
from .found import Bypass, Hit, LookedUp, Pending
from .plan import KeyAndTags, Plan, State

__all__ = ["acall_through_cache", "call_through_cache", "look", "look_directly"]

log = logging.getLogger("flask_caching_async")


class Found(NamedTuple):
    """The key of a call.

    :param forced: whether it must be computed whatever is stored.
    :param above: the keys of which it is a variant by what its page is known to be made from.
    :param keyed: what the key has of the request, where that is known.
    """

    key: str
    tags: tuple[str, ...]
    above: tuple[str, ...]
    forced: bool
    engine: Engine
    keyed: Keyed | None


def key_without_asking(
    plan: Plan, state: State, args: Args, kwargs: Kwargs
) -> tuple[str, tuple[str, ...], tuple[str, ...], Keyed | None] | None:
    """What :func:`find_key` finds where nothing has to be called: the first fields of ``Found``.

    ``None`` where there is more to it, be it an error.
    """
    if plan.asks or (plan.of_request and plan.replaced_key() is not None):
        return None
    keyed = plan.known_inputs(state) if plan.of_request else None
    try:
        made = plan.make_key(state, args, kwargs, ())
        if made is None:
            return None
        if plan.of_request:
            return *plan.vary(state, *made, keyed), keyed
        return *made, (), None
    except Exception:
        return None


async def find_key(
    plan: Plan, state: State, args: Args, kwargs: Kwargs, call_callback: CallCallback, refresh: bool
) -> Found | None:
    """The key and tags of a call, and the engine.

    ``None`` if the cache is to be bypassed. A callback that fails has the same effect, and is
    logged: a page without its cache is better than no page. What ``unless`` raises is raised, as in
    Flask-Caching.
    """
    options, forced = plan.options, refresh
    found = None if refresh else key_without_asking(plan, state, args, kwargs)
    keyed = plan.known_inputs(state) if found is None else found[3]
    if options.unless and not refresh:
        # Not in the try: a visitor who may not see the cached page must not get it by a failure.
        more, named = plan.arguments_for("unless", (plan.function, *args), kwargs)
        asking = call_callback
        if keyed is not None:
            asking = plan.noting(state, call_callback, keyed.excused)
        if await asking(options.unless, *more, **named):
            return None
    try:
        made = found and found[:2]
        if made is None:
            made = await _make_key(plan, state, args, kwargs, call_callback, keyed)
        if made is None:
            return None
        if options.forced_update and not refresh:
            more, named = plan.arguments_for("forced_update", args, kwargs)
            forced = bool(await call_callback(options.forced_update, *more, **named))
        engine = state.binding.engine  # this asks a callable key prefix, too
        key, tags, above = found[:3] if found else plan.vary(state, *made, keyed)
        engine.store.check((key, *tags))
        return Found(key, tags, above, forced, engine, keyed)
    except Exception as error:
        if isinstance(error, CacheError) and not isinstance(error, InvalidKeyError):
            raise
        plan.explain(error, args, kwargs)
        if state.binding.raising:
            raise
        log.exception("a callback of %s failed; it is called without the cache", plan.name)
        return None


async def _make_key(
    plan: Plan,
    state: State,
    args: Args,
    kwargs: Kwargs,
    call_callback: CallCallback,
    keyed: Keyed | None,
) -> KeyAndTags | None:
    """Call the callbacks of a key, and make it; ``None`` if the call is not to be cached."""
    asking, callbacks = call_callback, plan.key_callbacks(state, args, kwargs)
    makers = len(callbacks) - callable(plan.options.tags)  # which come last, and make no key
    if keyed is not None and makers:
        asking = plan.noting(state, call_callback, keyed.inputs)
    answers = [await asking(callback) for callback in callbacks[:makers]]
    answers += [await call_callback(callback) for callback in callbacks[makers:]]
    return plan.make_key(state, args, kwargs, answers)


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


def look_directly(plan: Plan, state: State, args: Args, kwargs: Kwargs) -> Pending | None:
    """:func:`look` for most misses in memory: nothing has to be called, and nothing is stored.

    ``None`` where there is more to it, be it an error.
    """
    engine = state.binding.engines.sole
    if state.peek is None or engine is None or engine.direct is None:
        return None
    made = key_without_asking(plan, state, args, kwargs)
    if made is None:
        return None
    key, tags, above, keyed = made
    called, landed_before = state.timekeeper.clock(), engine.flights.landed
    lookup = engine.direct.load_directly(key, tags)
    if above or lookup.entry is not None:
        return None
    call = Call(key, tags, state.policy, plan, plan.function, args, kwargs, False, called)
    call.context, call.first = state, lookup
    if plan.of_request:
        _prepare(plan, state, call, keyed)
    return Pending(engine, call, lookup, landed_before)


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
    forced, engine = found.forced, found.engine
    called, landed_before = state.timekeeper.clock(), engine.flights.landed
    key, tags, lookup = await _load(plan, state, found, engine.aio if aio else engine.sync)
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
    call = Call(key, tags, state.policy, plan, plan.function, args, kwargs, forced, called)
    call.context, call.first = state, lookup
    _prepare(plan, state, call, found.keyed)
    return Pending(engine, call, lookup, landed_before)


def _prepare(plan: Plan, state: State, call: Call, keyed: Keyed | None) -> None:
    """Do to a call what it needs to be computed; in debug mode its key is looked at."""
    plan.prepare(state, call, keyed)
    if keyed is not None and state.binding.framework.debug:
        check_key(plan, state, call.key)


async def _load(
    plan: Plan, state: State, found: Found, steps: FlowSteps
) -> tuple[str, tuple[str, ...], Lookup]:
    """Look into the store; what stands under a key may say that its pages have other ones."""
    key, tags, above = found.key, found.tags, found.above
    lookup = await steps.load(key, tags)
    for _ in range(LEVELS):
        entry = lookup.entry
        if entry is None or type(entry.kept) is not Elsewhere:
            break
        state.learn(key, entry.kept.names)
        key, tags, _ = plan.vary(state, key, tags, found.keyed)
        found.engine.store.check((key, *tags))
        lookup = await steps.load(key, tags)
    if lookup.entry is None and above and not lookup.failed and not found.forced:
        # What a program has put there by hand is an answer to all of them.
        plain = await steps.load(above[0], found.tags[: len(found.tags) - len(above)])
        if plain.entry is not None and type(plain.entry.kept) is not Elsewhere:
            return key, tags, plain._replace(seen=lookup.seen, cas=None)
    return key, tags, lookup


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
    found: LookedUp | None = None if refresh else look_directly(plan, state, args, kwargs)
    if found is None:
        found = run_now(look(plan, state, args, kwargs, call_callback_now, False, refresh))
    if isinstance(found, Pending):
        value = read_through(*found)
        if type(value) is Elsewhere:  # its leader has found that it is not for everybody
            state.learn(found.call.key, value.names)
            return call_through_cache(plan, state, args, kwargs, refresh, strict)
        value = plan.hand_out(state, found, value)
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
    found: LookedUp | None = None if refresh else look_directly(plan, state, args, kwargs)
    if found is None:
        found = await look(plan, state, args, kwargs, acall_callback, True, refresh)
    if isinstance(found, Pending):
        value = await aread_through(*found)
        if type(value) is Elsewhere:
            state.learn(found.call.key, value.names)
            return await acall_through_cache(plan, state, args, kwargs, refresh, strict)
        value = plan.hand_out(state, found, value)
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
