"""From a plan to what the user holds: the wrappers of a function, in both colours.

A *wrapper* is called in the place of the decorated function. It answers a fresh hit in memory by
itself, in a few lines, because most calls end there. All else goes to ``lookup.py``.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable

from .._entries.entry import MISSING
from .._frameworks.flask import LOOPLESS_HIT
from ..exceptions import outside
from ..keys import signature_of
from ..typing import Callback, Value
from .calls import acall_through_cache, call_through_cache
from .compiled import can_be_compiled, compiled_wrapper
from .fast_path import LooplessHit, fast_hit
from .methods import (
    Decorated,
    DecoratedClassMethod,
    DecoratedStaticMethod,
    as_function,
    may_be_method,
)
from .plan import Plan
from .refresh import attach_refresh

__all__ = ["PLAN", "check_parentheses", "decorate", "plan_of"]

#: The attribute of a decorated function that holds its plan.
PLAN = "_flask_caching_async_plan"


def sync_wrapper(plan: Plan) -> Callback:
    """What is called in the place of a ``def`` function."""
    hit = fast_hit(plan)
    if can_be_compiled(plan):
        return compiled_wrapper(plan, hit, call_through_cache, is_async=False)

    def wrapper(*args: Value, **kwargs: Value) -> Value:
        value = hit(args, kwargs)
        return (
            value if value is not MISSING else call_through_cache(plan, plan.state(), args, kwargs)
        )

    return wrapper


def async_wrapper(plan: Plan) -> Callback:
    """What is called in the place of an ``async def`` function."""
    hit = fast_hit(plan)
    if can_be_compiled(plan):
        return compiled_wrapper(plan, hit, acall_through_cache, is_async=True)

    async def wrapper(*args: Value, **kwargs: Value) -> Value:
        value = hit(args, kwargs)
        return (
            value
            if value is not MISSING
            else await acall_through_cache(plan, plan.state(), args, kwargs)
        )

    return wrapper


# --- decorating -----------------------------------------------------------------------------------


def check_parentheses(timeout: Value, method: str) -> None:
    """Refuse a function that is decorated without parentheses: it comes as the timeout.

    :raises TypeError: for it.
    """
    if _is_decorated_without_parentheses(timeout):
        name = getattr(timeout, "__qualname__", type(timeout).__name__)
        raise TypeError(
            f"{name} was given as the timeout of {method}, which takes its value alone: write the "
            f"parentheses, @cache.{method}()"
        )


def _is_decorated_without_parentheses(timeout: Value) -> bool:
    if isinstance(timeout, (staticmethod, classmethod, property)):
        return True
    if not callable(timeout):
        return False
    if inspect.isclass(timeout) or plan_of(timeout) is not None:
        return True
    try:
        parameters = signature_of(timeout)
        parameters.bind(None)
    except TypeError:
        return True
    except ValueError:  # some builtins have no signature
        return False
    own = inspect.isfunction(timeout) and next(iter(parameters.parameters)) in ("self", "cls")
    return own or _is_being_defined(timeout, sys._getframe(outside() - 1))


def _is_being_defined(function: Value, frame: types.FrameType) -> bool:
    """Whether a frame is at a decorator of this function, which has no name there yet."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_name == "<lambda>" or code.co_filename != frame.f_code.co_filename:
        return False
    first = code.co_firstlineno
    body = min((n for *_, n in code.co_lines() if n and n > first), default=first + 1)
    known = frame.f_locals.get(code.co_name) is function
    return first <= frame.f_lineno < body and not known


def decorate(function: Value, make_plan: Callable[[Callback], Plan]) -> Value:
    """Replace a function, method, classmethod or staticmethod by its cached self."""
    if isinstance(function, staticmethod):
        return DecoratedStaticMethod(_decorated(function.__func__, make_plan))
    if isinstance(function, classmethod):
        return DecoratedClassMethod(_decorated(function.__func__, make_plan))
    if not callable(function):
        raise TypeError(
            f"a function is decorated, not {function!r}; write the parentheses: @cache.memoize()"
        )
    return _decorated(function, make_plan)


def _decorated(function: Callback, make_plan: Callable[[Callback], Plan]) -> Decorated:
    plan = make_plan(function)
    wrapper = (async_wrapper if plan.is_async else sync_wrapper)(plan)
    decorated = (Decorated if may_be_method(function) else as_function)(function, wrapper)
    plan.wrapper = decorated
    decorated.uncached = function
    decorated.cache_timeout = plan.options.timeout
    plan.attach_api(decorated)
    attach_refresh(plan, decorated)
    if plan.is_async:
        setattr(decorated, LOOPLESS_HIT, LooplessHit(plan, decorated))
    setattr(decorated, PLAN, plan)
    return decorated


def plan_of(function: Value) -> Plan | None:
    """The plan of a decorated function, however it was reached; ``None`` if it is not decorated.

    A decorator around it need not hand on its attributes, if it says what it wraps.
    """
    plan: Plan | None = None
    while plan is None and function is not None:
        plan = getattr(function, PLAN, None)
        function = getattr(function, "__wrapped__", None)
    return plan
