"""The worker threads of the process, for blocking calls of async code."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from .fork import forget_in_child
from .loops import wait_for

__all__ = ["carry_out", "in_thread", "in_worker", "offload"]

P = ParamSpec("P")
T = TypeVar("T")

_lock = threading.RLock()  # reentrant, for handlers
_workers: ThreadPoolExecutor | None = None


def _worker_pool() -> ThreadPoolExecutor:
    """The process-wide workers.

    One pool for all loops: ``anyio.to_thread`` starts a new worker for each fresh loop, and an
    ``async def`` view under WSGI has a fresh loop for each request (2.75 against 1.5 times the
    cost of a plain call).
    """
    global _workers
    with _lock:
        if _workers is None:
            size = min(32, (os.cpu_count() or 1) + 4)
            _workers = ThreadPoolExecutor(size, "flask-caching-async")
        return _workers


async def offload(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a worker thread, with the caller's context variables."""
    context = contextvars.copy_context()

    def call() -> T:
        return context.run(function, *args, **kwargs)

    if asyncio._get_running_loop() is not None:
        pool = _workers or _worker_pool()
        return await asyncio.get_running_loop().run_in_executor(pool, call)
    import anyio.to_thread

    return await anyio.to_thread.run_sync(call)


async def carry_out(function: Callable[[], T]) -> T:
    """:func:`offload` what has to be done, whether its caller waits for it or is cancelled.

    A call that no worker has begun yet is dropped with its caller by :func:`offload`.
    """
    context, future = contextvars.copy_context(), Future[T]()
    future.set_running_or_notify_cancel()  # so that no waiter can cancel it

    def call() -> None:
        try:
            future.set_result(context.run(function))
        except BaseException as error:
            future.set_exception(error)

    in_worker(call)
    return await wait_for(future, None)


def in_worker(function: Callable[[], object]) -> None:
    """Call a function in a worker thread and wait for nothing."""
    _worker_pool().submit(function)


def in_thread(function: Callable[[], object]) -> None:
    """Call a function in a new thread and wait for nothing.

    For sync code, which a handler may be, where it happens seldom: a handler that came in while its
    thread gives work to an executor, to any, would wait for the lock of all of them for ever.
    """
    threading.Thread(target=function, name="flask-caching-async-once", daemon=True).start()


@forget_in_child
def _forget_parent() -> None:
    global _lock, _workers
    _lock, _workers = threading.RLock(), None
