"""Sync and async: how one piece of logic serves both.

A function has a *colour*: ``def`` or ``async def``. The logic of this package is written once, as
``async def`` steps, and this module has the few tools by which either colour runs them:

* sync code drives a step with :func:`run_now`, over an object whose methods return at once
  (:class:`Instant`). edgedb's blocking client works the same way.
* async code awaits the step, over an object whose methods do suspend (:class:`Awaited`).
* a step that blocks is moved off the loop with :func:`.offload`.
* a step of a client that is bound to an event loop runs on a loop of the process
  (:func:`.on_process_loop`), because a loop that ends with a request must never own a client.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Awaited", "Instant", "is_coroutine_function", "run_now"]

T = TypeVar("T")


def run_now(step: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result.

    :param step: a coroutine over :class:`Instant` objects.
    :raises RuntimeError: if it did suspend; that is a bug of this package.
    """
    try:
        step.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    step.close()
    raise RuntimeError(f"{step!r} suspended in sync code; sync ports must return at once")


class Instant:
    """The sync methods of an object, as coroutines that return at once."""

    __slots__ = ("_target",)

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._target, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return call


class Awaited:
    """The awaitable methods of an object (``aget`` …) under their sync names (``get`` …)."""

    __slots__ = ("_target",)

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        return getattr(self._target, "a" + name)  # type: ignore[no-any-return]


def is_coroutine_function(function: Any) -> bool:
    """Whether calling ``function`` gives a coroutine.

    Unlike :func:`inspect.iscoroutinefunction` it also knows objects whose ``__call__`` is
    ``async def``.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    call = getattr(type(function), "__call__", None)  # noqa: B004
    return not inspect.isclass(function) and inspect.iscoroutinefunction(call)
