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
from .._frameworks.flask import LANE
from .fast_path import Lane, lean_hit
from .lookup import acall, call
from .methods import CachedClassMethod, CachedMethod
from .plan import Plan
from .refresh import refreshers

__all__ = ["PLAN", "decorate", "plan_of"]

#: The attribute of a decorated function that holds its plan.
PLAN = "_flask_caching_async_plan"


# --- the shells -----------------------------------------------------------------------------------


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
