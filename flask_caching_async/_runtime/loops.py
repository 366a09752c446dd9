"""The event loop that runs the caller: which kind it is, and how to wait on it."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import CancelledError, Future
from contextvars import Context
from typing import TypeVar

from ..typing import Coro

__all__ = ["pause", "result_of", "running_loop_kind", "start_task", "wait_for", "whoami"]

T = TypeVar("T")


def running_loop_kind() -> str | None:
    """``"asyncio"`` or ``"trio"`` on a thread whose event loop runs this code, else ``None``."""
    if asyncio._get_running_loop() is not None:
        return "asyncio"
    trio = sys.modules.get("trio")
    if trio is not None:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            return None
        return "trio"
    return None


def whoami() -> tuple[int, object]:
    """The thread that runs the caller, and its task where there is one."""
    if asyncio._get_running_loop() is not None:
        return threading.get_ident(), asyncio.current_task()
    if "trio" in sys.modules and running_loop_kind() == "trio":
        return threading.get_ident(), sys.modules["trio"].lowlevel.current_task()
    return threading.get_ident(), None


async def pause(seconds: float) -> None:
    """Sleep without blocking the loop, on asyncio and trio."""
    if asyncio._get_running_loop() is not None:
        await asyncio.sleep(seconds)
        return
    import anyio  # only here and in offload: not worth 50 ms of every program's start

    await anyio.sleep(seconds)


async def wait_for(future: Future[T], timeout: float | None) -> T:
    """Await a concurrent future without owning it: a cancelled waiter cancels only itself.

    :param future: marked as running, so that no waiter can cancel it.
    :param timeout: seconds.
    :raises TimeoutError: after ``timeout``; the future goes on.
    """
    if asyncio._get_running_loop() is not None:
        waiter = asyncio.wrap_future(future)
        try:
            if (await asyncio.wait((waiter,), timeout=timeout))[0]:
                return waiter.result()
            raise TimeoutError
        finally:
            waiter.cancel()  # or the future would call this loop when it may be closed
    trio = sys.modules["trio"]
    came, token = trio.Event(), trio.lowlevel.current_trio_token()

    def wake(_: Future[T]) -> None:
        try:
            token.run_sync_soon(came.set)
        except trio.RunFinishedError:  # no task waits on that loop any more
            pass

    future.add_done_callback(wake)
    with trio.move_on_after(float("inf") if timeout is None else timeout):
        await came.wait()
        return future.result()
    raise TimeoutError


def result_of(future: Future[T], loop: asyncio.AbstractEventLoop) -> T:
    """Block until ``loop``, in another thread, has the result.

    :raises CancelledError: if the loop was closed before: no result will ever come then.
    """
    while not future.done():
        closed = loop.is_closed()  # first: what it did before that is done
        try:
            return future.result(CLOSED_LOOP_CHECK)
        except TimeoutError:
            if closed and not future.done():
                raise CancelledError from None
    return future.result()


#: Seconds between two looks whether a loop that is waited for is still there.
CLOSED_LOOP_CHECK = 1.0

#: Tasks that no caller waits for: asyncio itself holds them weakly.
_tasks: set[asyncio.Task[object]] = set()


def start_task(step: Coro[T], context: Context | None = None) -> asyncio.Task[T]:
    """Start a coroutine on the running asyncio loop, and keep it until it ends."""
    task = asyncio.get_running_loop().create_task(step, context=context)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
