"""Starting a background refresh, on the running loop or in a thread of the pool."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable

from .._flow.leader import Leader
from .._flow.run import arefresh, refresh
from .._runtime import background as _background
from .._runtime.loops import result_of, running_loop_kind, start_task
from ..events import about
from ..typing import Args, Kwargs, Value

log = logging.getLogger("flask_caching_async")


def spawn_on_loop(leader: Leader) -> None:
    """Compute in the background, on the running asyncio loop.

    The function belongs to that loop, and may use what is bound to it.
    """
    start_task(arefresh(leader)).add_done_callback(functools.partial(ended, leader))


def ended(leader: Leader, task: asyncio.Task[None]) -> None:
    """A refresh has ended: one that its loop never began has landed nothing."""
    leader.ended()
    if task.cancelled():
        leader.abandon()
    elif (error := task.exception()) is not None:
        extra = about(
            "background_failed",
            function=leader.call.counters.name,
            key=leader.call.key,
            error=type(error).__name__,
        )
        log.error("background work failed", exc_info=error, extra=extra)


def spawn_in_pool(leader: Leader, work: Callable[[], Value]) -> bool:
    """Compute in a thread of the pool; False if it takes no more."""

    def work_to_its_end() -> None:
        try:
            work()
        finally:
            leader.ended()

    accepted = _background.submit(work_to_its_end)
    if not accepted:
        leader.abandon()
        leader.ended()
    return accepted


def context_without(*variables: contextvars.ContextVar[Value] | None) -> contextvars.Context:
    """A copy of the caller's context variables, but for those that hold a framework's contexts."""
    own = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        if variable not in variables:
            own.run(variable.set, value)
    return own


def refreshed(
    loop: asyncio.AbstractEventLoop | None, function: Value, args: Args, kwargs: Kwargs
) -> None:
    """Refresh a function, and wait for it; an async one on ``loop``, or on one of its own."""
    answer = function.refresh(*args, **kwargs)
    if not inspect.isawaitable(answer):
        return
    if loop is not None and loop.is_running():
        result_of(asyncio.run_coroutine_threadsafe(_finish(answer), loop), loop)
    else:
        asyncio.run(_finish(answer))


async def _finish(answer: Awaitable[Value]) -> Value:
    return await answer


def work_of(leader: Leader, is_async: bool) -> Callable[[], Value]:
    """A refresh as something that a thread can call; there the caller's loop does not count."""
    if not is_async:
        return functools.partial(refresh, leader)
    if running_loop_kind() == "trio":
        return functools.partial(sys.modules["trio"].run, arefresh, leader)
    return functools.partial(_on_a_loop, leader)


def _on_a_loop(leader: Leader) -> None:
    asyncio.run(arefresh(leader))
