"""From a plan to what the user holds: the shells around a function, in both colours.

A *shell* is what replaces the decorated function. It answers a fresh hit in memory by itself, in a
few lines, because most calls end there. All else goes to ``calling.py``. The sync shell and its
async twin stand next to each other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .._entries.entry import MISSING
from .._frameworks.flask import LOOPLESS_HIT
from .fast_path import LooplessHit, fast_hit
from .lookup import acall_through_cache, call_through_cache
from .methods import CachedClassMethod, CachedMethod
from .plan import Plan
from .refresh import refreshers

__all__ = ["PLAN", "decorate", "plan_of"]

#: The attribute of a decorated function that holds its plan.
PLAN = "_flask_caching_async_plan"


# --- the shells -----------------------------------------------------------------------------------


def sync_wrapper(plan: Any) -> Callable[..., Any]:
    """What replaces a ``def`` function."""
    hit = fast_hit(plan)

    @functools.wraps(plan.function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        value = hit(args, kwargs)
        return (
            value if value is not MISSING else call_through_cache(plan, plan.state(), args, kwargs)
        )

    return wrapper


def async_wrapper(plan: Any) -> Callable[..., Any]:
    """What replaces an ``async def`` function."""
    hit = fast_hit(plan)

    @functools.wraps(plan.function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        value = hit(args, kwargs)
        return (
            value
            if value is not MISSING
            else await acall_through_cache(plan, plan.state(), args, kwargs)
        )

    return wrapper


# --- before there is a loop -----------------------------------------------------------------------


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
    wrapper = _decorated(function, make_plan)
    return CachedMethod(wrapper) if _in_class_body(function) else wrapper


def _in_class_body(function: Callable[..., Any]) -> bool:
    """Whether the function is being defined in the body of a class."""
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(outer) and not outer.endswith("<locals>")


def _decorated(function: Callable[..., Any], make_plan: Callable[[Any], Plan]) -> Any:
    plan: Any = make_plan(function)
    wrapper: Any = async_wrapper(plan) if plan.is_async else sync_wrapper(plan)
    plan.wrapper = wrapper
    wrapper.uncached = function
    wrapper.cache_timeout = plan.options.timeout
    plan.attach_api(wrapper)
    refreshers(plan, wrapper)
    if plan.is_async:
        setattr(wrapper, LOOPLESS_HIT, LooplessHit(plan, wrapper))
    setattr(wrapper, PLAN, plan)
    return wrapper


def plan_of(function: Any) -> Any:
    """The plan of a decorated function, however it was reached; ``None`` if it is not decorated."""
    return getattr(function, PLAN, None)
