"""Sync and async: how one piece of logic serves both.

A function has a *colour*: ``def`` or ``async def``. The logic of this package is written once, as
``async def`` steps, and this module has the few tools by which either colour runs them:

* sync code drives a step with :func:`run_now`, over an object whose methods return at once
  (:class:`Instant`). edgedb's blocking client works the same way.
* async code awaits the step, over an object whose methods do suspend (:class:`Awaited`).
* a step that blocks is moved off the loop with :func:`offload`.
* a step of a client that is bound to an event loop runs on a loop of the process
  (:func:`on_process_loop`), because a loop that ends with a request must never own a client.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = [
    "Awaited",
    "Instant",
    "bridge",
    "in_worker",
    "is_coroutine_function",
    "offload",
    "on_process_loop",
    "pause",
    "run_now",
    "running_loop_kind",
    "start_task",
    "wait_for",
    "whoami",
]

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
    kind = running_loop_kind()
    if kind == "asyncio":
        return threading.get_ident(), asyncio.current_task()
    if kind == "trio":
        return threading.get_ident(), sys.modules["trio"].lowlevel.current_task()
    return threading.get_ident(), None


async def pause(seconds: float) -> None:
    """Sleep without blocking the loop, on asyncio and trio."""
    if asyncio._get_running_loop() is not None:
        await asyncio.sleep(seconds)
        return
    import anyio  # only here and in offload: not worth 50 ms of everybody's start

    await anyio.sleep(seconds)


async def wait_for(future: Future[T], timeout: float | None) -> T:
    """Await a concurrent future without owning it: a cancelled waiter cancels only itself.

    :param future: marked as running, so that nobody can cancel it.
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
    landed, token = trio.Event(), trio.lowlevel.current_trio_token()

    def wake(_: Future[T]) -> None:
        try:
            token.run_sync_soon(landed.set)
        except trio.RunFinishedError:  # nobody waits on that loop any more
            pass

    future.add_done_callback(wake)
    with trio.move_on_after(float("inf") if timeout is None else timeout):
        await landed.wait()
        return future.result()
    raise TimeoutError


# --- threads and a loop of the process ------------------------------------------------------------

_lock = threading.Lock()
_workers: ThreadPoolExecutor | None = None
_loop: asyncio.AbstractEventLoop | None = None


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


async def offload(function: Callable[..., T], *args: Any) -> T:
    """Call a blocking function in a worker thread, with the caller's context variables."""
    context = contextvars.copy_context()

    def call() -> T:
        return context.run(function, *args)

    if asyncio._get_running_loop() is not None:
        pool = _workers or _worker_pool()
        return await asyncio.get_running_loop().run_in_executor(pool, call)
    import anyio.to_thread

    return await anyio.to_thread.run_sync(call)


def in_worker(function: Callable[..., Any], *args: Any) -> None:
    """Call a function in a worker thread and wait for nothing."""
    _worker_pool().submit(function, *args)


#: Tasks that nobody waits for: asyncio itself holds them weakly.
_tasks: set[asyncio.Task[Any]] = set()


def start_task(step: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a coroutine on the running asyncio loop, and keep it until it ends."""
    task = asyncio.get_running_loop().create_task(step)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


def _process_loop() -> asyncio.AbstractEventLoop:
    """An event loop that lives as long as the process, on a daemon thread of its own."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(
                target=_loop.run_forever, name="flask-caching-async-loop", daemon=True
            ).start()
        return _loop


def submit_to_process_loop(make: Callable[[], Awaitable[T]]) -> Future[T]:
    """Start ``make()`` on the process loop; its future is marked by asyncio itself."""

    async def run() -> T:
        return await make()

    return asyncio.run_coroutine_threadsafe(run(), _process_loop())


def on_process_loop(make: Callable[[], Awaitable[T]]) -> T:
    """Run ``make()`` on the process loop and block until it is done."""
    if _loop is not None and asyncio._get_running_loop() is _loop:
        raise RuntimeError(
            "a blocking cache method was called on the loop that would have to serve it; "
            "inside an async backend await the a-methods (aget, aset, ...)"
        )
    return submit_to_process_loop(make).result()


def _reset_after_fork() -> None:
    """A forked child has none of its parent's threads: start with none."""
    global _lock, _workers, _loop
    _lock = threading.Lock()
    _workers = None
    _loop = None


async def bridge(make: Callable[[], Awaitable[T]]) -> T:
    """Run ``make()`` on the process loop without blocking the running one."""
    future: Future[tuple[bool, Any]] = submit_to_process_loop(lambda: _caught(make))
    worked, result = await wait_for(future, None)
    if worked:
        return result  # type: ignore[no-any-return]
    raise result


async def _caught(make: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
    # As a value: an exception that nobody awaits any more would be reported as never retrieved.
    try:
        return True, await make()
    except Exception as error:
        return False, error


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
