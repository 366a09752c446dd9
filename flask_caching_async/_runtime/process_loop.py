"""An event loop that lives as long as the process, for clients that are bound to one.

A loop that ends with its request must never own a connection; this one never ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from .fork import forget_in_child
from .loops import wait_for

__all__ = ["bridge", "on_process_loop", "submit_to_process_loop"]

T = TypeVar("T")

_lock = threading.RLock()  # reentrant, for handlers
_loop: asyncio.AbstractEventLoop | None = None


def _process_loop() -> asyncio.AbstractEventLoop:
    """An event loop that lives as long as the process, on a daemon thread of its own."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            made = asyncio.new_event_loop()
            threading.Thread(
                target=made.run_forever, name="flask-caching-async-loop", daemon=True
            ).start()
            _loop = made  # last: it serves; one that a handler has made meanwhile is left alone
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


async def bridge(make: Callable[[], Awaitable[T]]) -> T:
    """Run ``make()`` on the process loop without blocking the running one.

    A cancelled caller does not stop it, also where that loop has not begun it yet.
    """
    # Marked at once, so that no waiter can cancel it: asyncio marks its own when the work ends.
    future: Future[_Returned[T] | _Raised] = Future()
    future.set_running_or_notify_cancel()

    async def run() -> None:
        future.set_result(await _caught(make))

    submit_to_process_loop(run)
    done = await wait_for(future, None)
    if isinstance(done, _Raised):
        raise done.error
    return done.result


class _Returned(Generic[T]):
    def __init__(self, result: T) -> None:
        self.result = result


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _caught(make: Callable[[], Awaitable[T]]) -> _Returned[T] | _Raised:
    # As a value: an exception that is not awaited any more would be reported as never retrieved.
    try:
        return _Returned(await make())
    except BaseException as error:
        return _Raised(error)


@forget_in_child
def _forget_parent() -> None:
    global _lock, _loop
    _lock, _loop = threading.RLock(), None
