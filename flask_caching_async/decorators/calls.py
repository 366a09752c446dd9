"""The general way of a call that its wrapper could not answer by itself, in both colours."""

from __future__ import annotations

from time import perf_counter_ns

from .._entries.entry import Elsewhere
from .._flow.callbacks import acall_callback, call_callback_now
from .._flow.run import aread_through, read_through
from ..exceptions import NotStoredError
from ..typing import Args, Kwargs, Value
from .found import Bypass, Hit, LookedUp, Pending
from .lookup import Looked, alook_now, look, look_directly, look_in_sync_code
from .plan import Plan, State

__all__ = ["acall_through_cache", "call_through_cache"]


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
    began = perf_counter_ns()
    found = look_in_sync_code(plan, state, args, kwargs, call_callback_now, refresh)
    if isinstance(found, Hit):
        state.counters.hit.note(perf_counter_ns() - began)
        value = plan.hand_out(state, found, found.value)
    elif isinstance(found, Pending):
        value = read_through(*found)
        state.note_miss(refresh, began)
        if type(value) is Elsewhere:  # its leader has found that it is not for everybody
            state.learn(found.call.key, value.names)
            return call_through_cache(plan, state, args, kwargs, refresh, strict)
        value = plan.hand_out(state, found, value)
    else:
        found.note(state.counters)
        value = plan.hand_out(state, found, plan.function(*args, **kwargs))
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
    began = perf_counter_ns()
    found: LookedUp | Looked | None = None
    if not refresh:
        found = look_directly(plan, state, args, kwargs)
        found = found or await alook_now(plan, state, args, kwargs)
    if found is None or isinstance(found, Looked):
        found = await look(plan, state, args, kwargs, acall_callback, True, refresh, found)
    if isinstance(found, Hit):
        state.counters.hit.note(perf_counter_ns() - began)
        value = plan.hand_out(state, found, found.value)
    elif isinstance(found, Pending):
        value = await aread_through(*found)
        state.note_miss(refresh, began)
        if type(value) is Elsewhere:
            state.learn(found.call.key, value.names)
            return await acall_through_cache(plan, state, args, kwargs, refresh, strict)
        value = plan.hand_out(state, found, value)
    else:
        found.note(state.counters)
        value = plan.hand_out(state, found, await plan.bypass(*args, **kwargs))
    if strict:
        _check_stored(plan, state, found, value)
    return value


def _check_stored(plan: Plan, state: State, found: LookedUp, value: Value) -> None:
    """Say so if a value was not stored that had to be.

    :raises NotStoredError: with the value.
    """
    unstored = found.call.unstored if isinstance(found, Pending) else None
    why = None if unstored is None else unstored.text
    if isinstance(found, Bypass):
        why = "the call bypassed the cache"
    elif state.binding.null:
        why = "CACHE_TYPE is NullCache"
    if why is not None:
        raise NotStoredError(f"{plan.name} was computed, and not stored: {why}", value)
