"""From a plan to what the user holds: the shells around a function, in both colours.

A *shell* is what replaces the decorated function. It answers a fresh hit in memory by itself, in a
few lines, because most calls end there. All else goes to ``calling.py``. The sync shell and its
async twin stand next to each other.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

from ._colour import run_now
from ._flow.drive import aread_through
from ._flow.entry import MISSING
from ._hosts.flask import LANE
from .calling import BYPASS, Hit, Pending, acall, call, look
from .methods import CachedClassMethod, CachedMethod
from .plans import Plan
from .refreshing import refreshers
from .views import ask_now

__all__ = ["PLAN", "ask_now", "decorate", "plan_of"]

#: The attribute of a decorated function that holds its plan.
PLAN = "_flask_caching_async_plan"


# --- the shells -----------------------------------------------------------------------------------


def lean_hit(plan: Any) -> Callable[[Any, Any], Any]:
    """What answers a fresh hit in memory about which nobody need be asked; else ``MISSING``."""
    cache, cache_none, quick_key = plan.cache, plan.options.cache_none, plan.quick_key
    give = plan.give if plan.answers else None

    def answer(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        state = plan.last
        if state is None or state.binding is not cache._only:
            state = plan.state()
        if not state.lean:
            return MISSING
        entry = state.peek(quick_key(state, args, kwargs))
        if entry is None or state.clock() >= entry.fresh_until:
            return MISSING
        try:
            value = entry.value if entry.thaw is None else entry.thaw(entry.value)
        except Exception:  # it cannot be read back: the careful way finds a miss
            return MISSING
        if value is None and not cache_none:
            return MISSING
        state.counters.hits += 1
        return value if give is None else give(value)

    return answer


def sync_shell(plan: Any) -> Callable[..., Any]:
    """What replaces a ``def`` function."""
    hit = lean_hit(plan)

    @functools.wraps(plan.function)
    def shell(*args: Any, **kwargs: Any) -> Any:
        value = hit(args, kwargs)
        return value if value is not MISSING else call(plan, plan.state(), args, kwargs)

    return shell


def async_shell(plan: Any) -> Callable[..., Any]:
    """What replaces an ``async def`` function."""
    hit = lean_hit(plan)

    @functools.wraps(plan.function)
    async def shell(*args: Any, **kwargs: Any) -> Any:
        value = hit(args, kwargs)
        return value if value is not MISSING else await acall(plan, plan.state(), args, kwargs)

    return shell


# --- before there is a loop -----------------------------------------------------------------------


class Lane:
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
        plan, hit = self.plan, lean_hit(self.plan)

        async def asking(callback: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            answer = callback(*args, **kwargs)
            return original(_awaited)(answer) if inspect.isawaitable(answer) else answer

        def answer(*args: Any, **kwargs: Any) -> Any:
            value = hit(args, kwargs)
            if value is not MISSING:
                return value
            state = plan.state()
            found = run_now(look(plan, state, args, kwargs, asking, state.binding.engine.now))
            if found is BYPASS:
                return original(plan.bypass)(*args, **kwargs)
            if type(found) is Pending:
                return original(resume)(plan, found)
            return plan.give(cast(Hit, found).value)

        return answer


async def _awaited(answer: Any) -> Any:
    return await answer


async def resume(plan: Any, found: Pending) -> Any:
    """Go on, on a loop, with a call that was looked up without one."""
    engine = found.state.binding.engine
    return plan.give(await aread_through(engine, found.job, found.reading, found.era))


# --- decorating -----------------------------------------------------------------------------------


def decorate(cache: Any, function: Any, make_plan: Callable[[Any], Plan]) -> Any:
    """Replace a function, method, classmethod or staticmethod by its cached self."""
    if isinstance(function, staticmethod):
        return staticmethod(_decorated(function.__func__, make_plan))
    if isinstance(function, classmethod):
        return CachedClassMethod(_decorated(function.__func__, make_plan))
    if not callable(function):
        raise TypeError(
            f"a function is decorated, not {function!r}; write the parentheses: @cache.memoize()"
        )
    shell = _decorated(function, make_plan)
    return CachedMethod(shell) if _in_class_body(function) else shell


def _in_class_body(function: Callable[..., Any]) -> bool:
    """Whether the function is being defined in the body of a class."""
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(outer) and not outer.endswith("<locals>")


def _decorated(function: Callable[..., Any], make_plan: Callable[[Any], Plan]) -> Any:
    plan: Any = make_plan(function)
    shell: Any = async_shell(plan) if plan.is_async else sync_shell(plan)
    plan.wrapper = shell
    shell.uncached = function
    shell.cache_timeout = plan.options.timeout
    plan.dress(shell)
    refreshers(plan, shell)
    if plan.is_async:
        setattr(shell, LANE, Lane(plan, shell))
    setattr(shell, PLAN, plan)
    return shell


def plan_of(function: Any) -> Any:
    """The plan of a decorated function, however it was reached; ``None`` if it is not decorated."""
    return getattr(function, PLAN, None)
