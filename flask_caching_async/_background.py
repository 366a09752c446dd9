"""A small bounded pool of threads for work that outlives the request which started it."""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

__all__ = ["submit"]

log = logging.getLogger("flask_caching_async")

#: Threads, and pieces of work that may wait for one.
WORKERS = 4
WAITING = 1000

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_waiting = 0


def submit(work: Callable[[], Any]) -> bool:
    """Run ``work`` in the background, with a copy of the caller's context variables.

    False if so much is waiting that it was not accepted.
    """
    global _pool, _waiting
    with _lock:
        if _waiting >= WAITING:
            log.warning("%d background refreshes are waiting; one more was dropped", _waiting)
            return False
        _waiting += 1
        if _pool is None:
            _pool = ThreadPoolExecutor(WORKERS, "flask-caching-async-refresh")
        pool = _pool
    try:
        pool.submit(contextvars.copy_context().run, _run, work).add_done_callback(_done)
    except RuntimeError:  # the interpreter shuts down
        _done(None)
        return False
    return True


def _run(work: Callable[[], Any]) -> None:
    # When the program ends, it waits for the pool: for what runs, not for all that still waits.
    if threading.main_thread().is_alive():
        work()


def _done(_: Future[Any] | None) -> None:
    global _waiting
    with _lock:
        _waiting -= 1


def _after_fork() -> None:
    global _lock, _pool, _waiting
    _lock, _pool, _waiting = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
