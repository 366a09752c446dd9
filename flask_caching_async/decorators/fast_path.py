"""A hit without asking anybody: from memory, and for an async view before there is a loop."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

from .._entries.entry import MISSING
from .._flow.run import aread_through
from .._runtime.colour import run_now
from .lookup import BYPASS, Hit, Pending, look

__all__ = ["LooplessHit", "fast_hit", "resume"]


def fast_hit(plan: Any) -> Callable[[Any, Any], Any]:
    """What answers a fresh hit in memory about which nobody need be asked; else ``MISSING``."""
    cache, cache_none, quick_key = plan.cache, plan.options.cache_none, plan.quick_key
    unwrap = plan.unwrap if plan.answers else None

    def answer(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        state = plan.last
        if state is None or state.binding is not cache._only:
            state = plan.state()
        if not state.fast:
            return MISSING
        entry = state.peek(quick_key(state, args, kwargs))
        if entry is None or state.clock() >= entry.fresh_until:
            return MISSING
        try:
            value = entry.kept if entry.thaw is None else entry.thaw(entry.kept)
        except Exception:  # it cannot be read back: the careful way finds a miss
            return MISSING
        if value is None and not cache_none:
            return MISSING
        state.counters.hits += 1
        return value if unwrap is None else unwrap(value)

    return answer


class LooplessHit:
    """Answers an async view from sync code where it can; see ``_hosts/flask.py``.

    :param function: the shell that Flask must have been given for this to apply.
    """

    def __init__(self, plan: Any, function: Callable[..., Any]) -> None:
        self.plan = plan
        self.function = function
        #: The ``async_to_sync`` that asked last, and the sync function for it.
        self._made: tuple[Any, Any] = (None, None)

    def enter(self, func: Callable[..., Any], original: Any, *owner: Any) -> Callable[..., Any]:
        """The sync function that Flask calls for ``func``.

        :param original: the app's own ``async_to_sync``, for all that needs a loop.
        :param owner: the instance that ``func`` is bound to, if any.
        """
        if self.plan.async_callbacks:
            return original(func)  # type: ignore[no-any-return]
        made_for, answer = self._made
        if made_for is not original:
            answer = self._make(original)
            self._made = (original, answer)
        return functools.partial(answer, *owner) if owner else answer

    def _make(self, original: Any) -> Callable[..., Any]:
        plan, hit = self.plan, fast_hit(self.plan)

        async def call_callback(callback: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            answer = callback(*args, **kwargs)
            return original(_awaited)(answer) if inspect.isawaitable(answer) else answer

        def answer(*args: Any, **kwargs: Any) -> Any:
            value = hit(args, kwargs)
            if value is not MISSING:
                return value
            state = plan.state()
            found = run_now(
                look(plan, state, args, kwargs, call_callback, state.binding.engine.sync)
            )
            if found is BYPASS:
                return original(plan.bypass)(*args, **kwargs)
            if type(found) is Pending:
                return original(resume)(plan, found)
            return plan.unwrap(cast(Hit, found).value)

        return answer


async def _awaited(answer: Any) -> Any:
    return await answer


async def resume(plan: Any, found: Pending) -> Any:
    """Go on, on a loop, with a call that was looked up without one."""
    engine = found.state.binding.engine
    return plan.unwrap(await aread_through(engine, found.call, found.lookup, found.landed_before))
