"""The way of a call that no shell could answer by itself: callbacks, key, look, and then the flow.

Sync pieces stand next to their async twins; what is the same in both is written once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from .._entries.entry import Lookup, Verdict
from .._flow.callbacks import acall_callback, call_callback_now
from .._flow.policy import Call
from .._flow.run import aread_through, read_through
from .._runtime.colour import run_now
from ..exceptions import CacheError
from .plan import State

__all__ = ["BYPASS", "Hit", "Pending", "acall_through_cache", "call_through_cache", "look"]

log = logging.getLogger("flask_caching_async")


class Hit(NamedTuple):
    """The answer was stored."""

    value: Any


class Pending(NamedTuple):
    """The answer has to be waited for or computed."""

    state: State
    call: Call
    lookup: Lookup
    landed_before: int


#: The call is none of the cache's business.
BYPASS = Hit(None)


async def find_key(
    plan: Any,
    state: State,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    call_callback: Any,
    refresh: bool,
) -> tuple[str, tuple[str, ...], bool] | None:
    """The key and stamps of a call, and whether it must be computed whatever is stored.

    ``None`` if the cache is to be bypassed. A callback that fails has the same effect, and is
    logged: a page without its cache is better than no page. What ``unless`` raises is raised, as in
    Flask-Caching.
    """
    options = plan.options
    if options.unless and not refresh:
        # Not in the try: whoever may not see the cached page must not get it because this failed.
        more, named = plan.extra("unless", (plan.function, *args), kwargs)
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
            more, named = plan.extra("forced_update", args, kwargs)
            forced = bool(await call_callback(options.forced_update, *more, **named))
        return *made, forced
    except CacheError:
        raise
    except Exception as error:
        plan.explain(error, args, kwargs)
        if state.binding.raising:
            raise
        log.exception("a callback of %s failed; it is called without the cache", plan.name)
        return None


async def is_outdated(
    plan: Any, state: State, value: Any, args: Any, kwargs: Any, call_callback: Callable[..., Any]
) -> bool | None:
    """What ``is_stale`` says of a stored value; ``None``, as in :func:`find_key`, if it fails."""
    more, named = plan.extra("is_stale", args, kwargs)
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
    plan: Any,
    state: State,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    call_callback: Callable[..., Any],
    steps: Any,
    refresh: bool = False,
) -> Hit | Pending:
    """Ask the callbacks, find the key, look into the store: everything up to the verdict.

    Written once: sync code gives it an ``asking`` and ``steps`` that return at once.

    :param refresh: whether to compute whatever is there, as ``refresh()`` does.
    """
    options, binding = plan.options, state.binding
    found = await find_key(plan, state, args, kwargs, call_callback, refresh)
    if found is None:
        return BYPASS
    key, tags, forced = found
    called, landed_before = state.clock(), binding.engine.flights.landed
    lookup: Lookup = await steps.load(key, tags)
    verdict = Verdict.GONE if forced else state.policy.judge(lookup.entry, called)
    value = None
    if verdict is Verdict.FRESH or (options.is_stale and verdict is Verdict.STALE):
        assert lookup.entry is not None
        value = lookup.entry.value()
        if value is None and not options.cache_none:
            verdict, lookup = Verdict.GONE, lookup._replace(entry=None)
        elif options.is_stale:
            outdated = await is_outdated(plan, state, value, args, kwargs, call_callback)
            if outdated is None:
                return BYPASS
            if outdated:
                verdict, forced = Verdict.GONE, True
    served = verdict is Verdict.FRESH or verdict is Verdict.STALE
    if binding.settings.signals:
        plan.signal(served, key, args, kwargs)
    if served and plan.indicate:
        binding.framework.after_this_request(_indicate)
    if verdict is Verdict.FRESH:
        state.counters.hits += 1
        return Hit(value)
    function = plan.watched(state) if binding.framework.debug else plan.function
    call = Call(key, tags, state.policy, plan, function, args, kwargs, forced, called, state)
    return Pending(state, call, lookup, landed_before)


def _indicate(response: Any) -> Any:
    response.headers["hit_cache"] = "True"
    return response


# --- the general way of a call --------------------------------------------------------------------


def call_through_cache(
    plan: Any, state: State, args: Any, kwargs: Any, refresh: bool = False
) -> Any:
    """A call that the shell could not answer by itself."""
    engine = state.binding.engine
    found = run_now(look(plan, state, args, kwargs, call_callback_now, engine.sync, refresh))
    if found is BYPASS:
        return plan.function(*args, **kwargs)
    if type(found) is Pending:
        return plan.unwrap(read_through(engine, found.call, found.lookup, found.landed_before))
    return plan.unwrap(cast(Hit, found).value)


async def acall_through_cache(
    plan: Any, state: State, args: Any, kwargs: Any, refresh: bool = False
) -> Any:
    """A call that the shell could not answer by itself."""
    engine = state.binding.engine
    found = await look(plan, state, args, kwargs, acall_callback, engine.aio, refresh)
    if found is BYPASS:
        return await plan.bypass(*args, **kwargs)
    if type(found) is Pending:
        return plan.unwrap(
            await aread_through(engine, found.call, found.lookup, found.landed_before)
        )
    return plan.unwrap(cast(Hit, found).value)
