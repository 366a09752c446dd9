"""Starting a background refresh, on the running loop or in a thread of the pool."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from .._flow.leader import Leader
from .._flow.run import arefresh, refresh
from .._runtime import background as _background
from .._runtime.loops import running_loop_kind, start_task


def spawn_on_loop(leader: Leader) -> None:
    """Compute in the background, on the running asyncio loop.

    The function belongs to that loop, and may use what is bound to it.
    """
    task = start_task(arefresh(leader))
    # One that its loop never began has landed nothing.
    task.add_done_callback(lambda ended: leader.abandon() if ended.cancelled() else None)


def spawn_in_pool(leader: Leader, work: Callable[[], Any]) -> bool:
    """Compute in a thread of the pool; False if it takes no more."""
    accepted = _background.submit(work)
    if not accepted:
        leader.abandon()
    return accepted


def refreshed(
    loop: asyncio.AbstractEventLoop | None, function: Any, args: Any, kwargs: Any
) -> None:
    """Refresh a function, and wait for it; an async one on ``loop``, or on one of its own."""
    answer = function.refresh(*args, **kwargs)
    if not inspect.isawaitable(answer):
        return
    if loop is not None and loop.is_running():
        asyncio.run_coroutine_threadsafe(_finish(answer), loop).result()
    else:
        asyncio.run(_finish(answer))


async def _finish(answer: Any) -> Any:
    return await answer


def work_of(leader: Leader, is_async: bool) -> Callable[[], Any]:
    """A refresh as something that a thread can call; there the caller's loop does not count."""
    if not is_async:
        return functools.partial(refresh, leader)
    if running_loop_kind() == "trio":
        return functools.partial(sys.modules["trio"].run, arefresh, leader)
    return functools.partial(_on_a_loop, leader)


def _on_a_loop(leader: Leader) -> None:
    asyncio.run(arefresh(leader))
