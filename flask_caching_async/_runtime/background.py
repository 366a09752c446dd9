"""A small bounded pool of threads for work that outlives the request which started it.

Not a ``ThreadPoolExecutor``: the end of the program waits for that as long as it takes. Here it
waits for what has been begun, :data:`SHUTDOWN` seconds at most, and what has not begun is dropped.
"""

from __future__ import annotations

import atexit
import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .fork import forget_in_child

__all__ = ["submit"]

log = logging.getLogger("flask_caching_async")

#: Threads, and pieces of work that may be under way or wait for one.
WORKERS = 4
WAITING = 1000
#: Seconds that a thread without work stays.
IDLE = 10.0
#: Seconds that the end of the program waits for what is under way.
SHUTDOWN = 5.0


class _Pool:
    def __init__(self) -> None:
        self.change = threading.Condition()
        self.work: deque[Callable[[], Any]] = deque()
        self.threads = self.idle = self.pending = 0
        self.ended = False

    def submit(self, work: Callable[[], Any]) -> bool:
        with self.change:
            if self.ended:
                return False
            if self.pending >= WAITING:
                log.warning("%d background refreshes are waiting; one more was dropped", WAITING)
                return False
            self.work.append(work)
            self.pending += 1
            if self.idle >= len(self.work) or self.threads >= WORKERS:
                self.change.notify()
                return True
            self.threads += 1
        name = "flask-caching-async-refresh"
        threading.Thread(target=self._run, name=name, daemon=True).start()
        return True

    def _run(self) -> None:
        while True:
            with self.change:
                self.idle += 1
                came = self.change.wait_for(lambda: self.work or self.ended, IDLE)
                self.idle -= 1
                if not came or self.ended:
                    self.threads -= 1
                    self.change.notify_all()
                    return
                work = self.work.popleft()
            try:
                work()
            except BaseException:  # SystemExit, say: the next piece of work is not to blame
                log.exception("background work failed")
            finally:
                with self.change:
                    self.pending -= 1

    def end(self) -> None:
        """Take no more, and wait a bounded time for what is under way."""
        deadline = time.monotonic() + SHUTDOWN
        with self.change:
            self.ended = True
            self.work.clear()
            self.change.notify_all()
            while self.threads and (left := deadline - time.monotonic()) > 0:
                self.change.wait(left)
            if self.threads:
                log.warning("%d background refreshes were abandoned at the end", self.threads)


_pool = _Pool()


def submit(work: Callable[[], Any]) -> bool:
    """Run ``work`` in the background, with a copy of the caller's context variables.

    False if so much is waiting that it was not accepted, or if the program ends.
    """
    context = contextvars.copy_context()
    return _pool.submit(lambda: context.run(work))


@forget_in_child
def _forget_parent() -> None:
    global _pool
    _pool = _Pool()


atexit.register(lambda: _pool.end())
