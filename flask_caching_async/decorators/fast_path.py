"""A hit for which no callback is called: from memory, and for an async view without a loop."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from time import perf_counter_ns

from .._entries.entry import BY_HAND, MISSING, Elsewhere
from .._flow.callbacks import resolved
from .._flow.run import aread_through
from ..typing import Args, Callback, Kwargs, Value
from .calls import acall_through_cache
from .found import Bypass, Pending, hit_of
from .lookup import look_in_sync_code
from .methods import Decorated
from .plan import Plan, State

__all__ = ["LooplessHit", "fast_hit", "resume"]


def fast_hit(plan: Plan) -> Callable[[Args, Kwargs], Value]:
    """What answers a fresh hit in memory for which no callback is called; else ``MISSING``."""
    cache, cache_none, answers = plan.cache, plan.options.cache_none, plan.answers
    text_of, key_of, quick_key = plan.text, plan.key_of, plan.quick_key
    tag, user_tags, shares, answer_page = plan.author, plan.fixed_tags, plan.shares, page_hit(plan)

    def answer(args: Args, kwargs: Kwargs) -> Value:
        state = plan.last
        if state is None or state.binding is not cache._only:
            state = plan.state()
        if (peek := state.peek) is None:
            return answer_otherwise(answer, answer_page, state, args, kwargs)
        if text_of is None:
            key = quick_key(state, args, kwargs)
        else:
            try:  # an empty dict costs, too
                text = text_of(*args, **kwargs) if kwargs else text_of(*args)
            except Warning:
                raise
            except Exception:  # arguments that the function does not take, or without a text
                key = quick_key(state, args, kwargs)
            else:
                key = state.memo.get(text) or key_of(state, text)
        entry = None if key is None else peek(key)
        if entry is None or state.timekeeper.clock() >= entry.fresh_until:
            return MISSING
        # The function's own tag is the first; one of another function under this key is no answer.
        alien = entry.owner is not tag and entry.owner not in (tag, BY_HAND) and not shares
        if alien or (user_tags and not entry.answers(user_tags)):
            return MISSING
        try:
            value = entry.kept if entry.thaw is None else entry.thaw(entry.kept)
        except Exception:  # it cannot be read back: the careful way finds a miss
            return MISSING
        if value is None and not cache_none:
            return MISSING
        state.counters.hits += 1
        if answers and isinstance(value, answers):
            raise value
        return value

    return answer


def answer_otherwise(
    answer: Callable[[Args, Kwargs], Value],
    answer_page: Callable[[State, Args, Kwargs], Value],
    state: State,
    args: Args,
    kwargs: Kwargs,
) -> Value:
    """What answers where :func:`fast_hit` has nothing to look with: a page, or a measured hit."""
    if not state.armed:
        return MISSING if state.page_peek is None else answer_page(state, args, kwargs)
    state.disarm()
    began = perf_counter_ns()
    value = answer(args, kwargs)
    if value is not MISSING:
        state.counters.hit.note(perf_counter_ns() - began)
    return value


def page_hit(plan: Plan) -> Callable[[State, Args, Kwargs], Value]:
    """:func:`fast_hit` where an answer is a page, of which more is said in HTTP than its value."""
    quick_key, tag, cache_none = plan.quick_key, plan.author, plan.options.cache_none
    user_tags, shares = plan.fixed_tags, plan.shares

    def answer(state: State, args: Args, kwargs: Kwargs) -> Value:
        key, peek = quick_key(state, args, kwargs), state.page_peek
        entry = None if key is None or peek is None else peek(key)
        if key is None or entry is None or state.timekeeper.clock() >= entry.fresh_until:
            return MISSING
        if not (shares or entry.owner in (tag, BY_HAND)) or not entry.answers(user_tags):
            return MISSING
        try:
            value = entry.value()
        except Exception:  # as in fast_hit
            return MISSING
        if value is None and not cache_none:
            return MISSING
        state.counters.hits += 1
        return plan.hand_out(state, hit_of((value, entry, key, user_tags)), value)

    return answer


class LooplessHit:
    """Answers an async view from sync code where it can; see ``_frameworks/flask.py``.

    :param function: the decorated function that Flask must have been given for this to apply.
    """

    def __init__(self, plan: Plan, function: Decorated) -> None:
        self.plan = plan
        self.function = function
        #: The ``async_to_sync`` that asked last, and the sync function for it.
        self._made: tuple[Callback | None, Callback | None] = (None, None)

    def enter(self, func: Callback, original: Callback, *owner: object) -> Callback:
        """The sync function that Flask calls for ``func``.

        :param original: the app's own ``async_to_sync``, for all that needs a loop.
        :param owner: the instance that ``func`` is bound to, if any.
        """
        if self.plan.async_callbacks:
            slow: Callback = original(func)
            return slow
        made_for, answer = self._made
        if answer is None or made_for is not original:
            answer = self._make(original)
            self._made = (original, answer)
        return functools.partial(answer, *owner) if owner else answer

    def _make(self, original: Callback) -> Callback:
        plan, hit = self.plan, fast_hit(self.plan)

        async def call_callback(callback: Callback, /, *args: Value, **kwargs: Value) -> Value:
            answer = resolved(callback(*args, **kwargs))
            return original(_awaited)(answer) if inspect.isawaitable(answer) else answer

        def answer(*args: Value, **kwargs: Value) -> Value:
            value = hit(args, kwargs)
            if value is not MISSING:
                return value
            state = plan.state()
            began = perf_counter_ns()
            found = look_in_sync_code(plan, state, args, kwargs, call_callback)
            if isinstance(found, Pending):
                value = original(resume)(plan, found)
                state.note_miss(False, began)
                return value
            if isinstance(found, Bypass):
                found.note(state.counters)
                value = original(plan.bypass)(*args, **kwargs)
                return plan.hand_out(state, found, value)
            state.counters.hit.note(perf_counter_ns() - began)
            return plan.hand_out(state, found, found.value)

        return answer


async def _awaited(answer: Awaitable[Value]) -> Value:
    return await answer


async def resume(plan: Plan, found: Pending) -> Value:
    """Go on, on a loop, with a call that was looked up without one."""
    value, call = await aread_through(*found), found.call
    if type(value) is Elsewhere:
        call.context.learn(call.key, value.names)
        return await acall_through_cache(plan, call.context, call.args, call.kwargs)
    return plan.hand_out(call.context, found, value)
