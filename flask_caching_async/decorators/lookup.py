"""The way of a call that is no fast hit: callbacks, key, a look into the store, and then the flow.

Sync pieces stand next to their async ones; what is the same in both is written once.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import NamedTuple

from werkzeug.exceptions import GatewayTimeout

from .._entries.entry import Elsewhere, Entry, Lookup, Verdict
from .._flow.callbacks import CallCallback
from .._flow.policy import Call
from .._flow.store_protocol import FlowSteps
from .._runtime.colour import run_now
from ..events import about
from ..exceptions import CacheError, InvalidKeyError
from ..pages.inputs import LEVELS
from ..pages.rules import Keyed
from ..typing import Args, Kwargs, Value
from .call_key import Found, find_key, found_of, key_without_asking
from .debug_checks import check_key
from .found import Bypass, Hit, LookedUp, Pending, hit_of, pending_of
from .plan import KeyAndTags, Plan, State

__all__ = ["alook_now", "look", "look_directly", "look_in_sync_code"]

log = logging.getLogger("flask_caching_async")


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
    except Exception as error:
        if state.binding.raising:
            raise
        extra = about("callback_failed", function=plan.name, error=type(error).__name__)
        failed = "is_stale of %s failed; it is called without the cache"
        log.exception(failed, plan.name, extra=extra)
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
    call = _call(plan, state, (key, tags), args, kwargs, lookup, False, called)
    if plan.of_request:
        _prepare(plan, state, call, keyed)
    return pending_of((engine, call, lookup, landed_before))


class Looked(NamedTuple):
    """When a call came, and what the first look at its key has found, if that was made."""

    found: Found
    called: float
    landed_before: int
    lookup: Lookup | None = None


#: ``Looked(*four)`` in a third of the time, as in ``_entries/entry.py``.
looked_of: Callable[[tuple[Found, float, int, Lookup | None]], Looked]
looked_of = functools.partial(tuple.__new__, Looked)


def find_now(plan: Plan, state: State, args: Args, kwargs: Kwargs) -> Looked | None:
    """What a first look is made with, where nothing has to be asked; ``None`` elsewhere."""
    engine = state.binding.engines.sole
    if engine is None or engine.quick is None:
        return None
    made = key_without_asking(plan, state, args, kwargs)
    if made is None:
        return None
    key, tags, above, keyed = made
    if state.checked is not tags or not (type(key) is str and key.isascii()):
        try:
            engine.store.check((key, *tags))
        except InvalidKeyError:  # find_key says what is wrong with it
            return None
        state.checked = tags
    found = found_of((key, tags, above, False, engine, keyed))
    return looked_of((found, state.timekeeper.clock(), engine.flights.landed, None))


def look_now(plan: Plan, state: State, args: Args, kwargs: Kwargs) -> Hit | Looked | None:
    """:func:`look` in sync code for most hits on a server or in files, without a coroutine.

    Where it is none, what was seen: with that, :func:`look` goes on. ``None`` where nothing was.
    """
    looked = find_now(plan, state, args, kwargs)
    if looked is None:
        return None
    found = looked.found
    assert found.engine.quick is not None, "find_now has looked"
    lookup = found.engine.quick.load_now(found.key, found.tags)
    return None if lookup is None else _hit_now(plan, state, looked, lookup, args, kwargs)


async def alook_now(plan: Plan, state: State, args: Args, kwargs: Kwargs) -> Hit | Looked | None:
    """:func:`look_now` in async code, with one coroutine for the look."""
    looked = find_now(plan, state, args, kwargs)
    if looked is None:
        return None
    found = looked.found
    lookup = await found.engine.aio.load(found.key, found.tags)
    return _hit_now(plan, state, looked, lookup, args, kwargs)


def _hit_now(
    plan: Plan, state: State, looked: Looked, lookup: Lookup, args: Args, kwargs: Kwargs
) -> Hit | Looked:
    """The hit, if a first look has found one that is fresh, and nobody has to be asked."""
    entry, options, found = lookup.entry, plan.options, looked.found
    if (
        entry is None
        or looked.called >= entry.fresh_until  # and still usable, else it would be None
        or type(entry.kept) is Elsewhere
        or options.is_stale
        or (plan.of_request and plan.demand(state) is not None)
    ):
        return looked._replace(lookup=lookup)
    value = entry.kept if entry.thaw is None else entry.value()
    if value is None and not options.cache_none:
        return looked._replace(lookup=lookup)
    return _hit(plan, state, found.key, found.tags, entry, value, args, kwargs)


def _hit(
    plan: Plan,
    state: State,
    key: str,
    tags: tuple[str, ...],
    entry: Entry | None,
    value: Value,
    args: Args,
    kwargs: Kwargs,
) -> Hit:
    """A fresh value was found."""
    if plan.indicate or state.binding.settings.signals:
        _tell(plan, state, True, key, args, kwargs)
    state.counters.hits += 1
    return hit_of((value, entry, key, tags))


def look_in_sync_code(
    plan: Plan,
    state: State,
    args: Args,
    kwargs: Kwargs,
    call_callback: CallCallback,
    refresh: bool = False,
) -> LookedUp:
    """:func:`look`, by the shortest way that there is for a call."""
    found: LookedUp | Looked | None = None
    if not refresh:
        found = look_directly(plan, state, args, kwargs) or look_now(plan, state, args, kwargs)
    if found is None or isinstance(found, Looked):
        return run_now(look(plan, state, args, kwargs, call_callback, False, refresh, found))
    return found


async def look(
    plan: Plan,
    state: State,
    args: Args,
    kwargs: Kwargs,
    call_callback: CallCallback,
    aio: bool = False,
    refresh: bool = False,
    looked: Looked | None = None,
) -> LookedUp:
    """Call the callbacks, find the key, look into the store: everything up to the verdict.

    Written once: sync code gives it a ``call_callback`` that returns at once, as its steps do.

    :param aio: whether the steps are those for async code.
    :param refresh: whether to compute whatever is there, as ``refresh()`` does.
    :param looked: the first look, if it was made.
    """
    if looked is None:
        found = await find_key(plan, state, args, kwargs, call_callback, refresh)
        if isinstance(found, Bypass):
            return found
        looked = Looked(found, state.timekeeper.clock(), found.engine.flights.landed)
    found, called, _, first = looked
    engine = found.engine
    key, tags, lookup = await _load(plan, state, found, engine.aio if aio else engine.sync, first)
    demand, value = None if refresh else plan.demand(state), None
    forced = found.forced or (demand is not None and demand.refuses(lookup.entry, called))
    verdict = Verdict.GONE if forced else state.policy.judge(lookup.entry, called)
    if verdict is Verdict.FRESH or (plan.options.is_stale and verdict is Verdict.STALE):
        assert lookup.entry is not None
        value = lookup.entry.value()
        if value is None and not plan.options.cache_none:
            verdict, lookup = Verdict.GONE, lookup._replace(entry=None)
        elif plan.options.is_stale:
            outdated = await is_outdated(plan, state, value, args, kwargs, call_callback)
            if outdated is None:
                return Bypass("callback")
            verdict, forced = (Verdict.GONE, True) if outdated else (verdict, forced)
    if verdict is Verdict.FRESH:
        return _hit(plan, state, key, tags, lookup.entry, value, args, kwargs)
    _tell(plan, state, verdict is Verdict.STALE, key, args, kwargs)
    if demand is not None and demand.only_stored and verdict is not Verdict.STALE:
        return Hit(GatewayTimeout(), None, key, ())
    call = _call(plan, state, (key, tags), args, kwargs, lookup, forced, called)
    _prepare(plan, state, call, found.keyed)
    return Pending(engine, call, lookup, looked.landed_before)


def _call(
    plan: Plan,
    state: State,
    key_and_tags: KeyAndTags,
    args: Args,
    kwargs: Kwargs,
    lookup: Lookup,
    forced: bool,
    called: float,
) -> Call:
    """A call that has to be waited for or computed."""
    key, tags = key_and_tags
    return Call(
        key, tags, state.policy, plan, state.counters, plan.function, args, kwargs, forced, called,
        state, lookup,
    )  # fmt: skip


def _prepare(plan: Plan, state: State, call: Call, keyed: Keyed | None) -> None:
    """Do to a call what it needs to be computed; in debug mode its key is looked at."""
    plan.prepare(state, call, keyed)
    if keyed is not None and state.binding.framework.debug:
        check_key(plan, state, call.key)


async def _load(
    plan: Plan, state: State, found: Found, steps: FlowSteps, first: Lookup | None
) -> tuple[str, tuple[str, ...], Lookup]:
    """Look into the store; what stands under a key may say that its pages have other ones.

    :param first: the first look, if it was made.
    """
    key, tags, above = found.key, found.tags, found.above
    lookup = first or await steps.load(key, tags)
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
