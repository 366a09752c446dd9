"""A small bounded pool of threads for work that outlives the request which started it.

Not a ``ThreadPoolExecutor``: the end of the program waits for that as long as it takes. Here it
waits for what has been begun, :data:`SHUTDOWN` seconds at most, and what has not begun is dropped.

It waits twice. When the main thread ends, all executors of the process stop accepting work, and an
async function that is under way needs them; so :func:`before_executors_end` is the time to wait for
what is under way then. More may begin after that, where other threads keep the process alive.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - whose end is registered before ours
import contextlib
import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from ..events import about
from .fork import forget_in_child, forgets_parent

__all__ = ["Allowance", "UnderWay", "before_executors_end", "submit"]

log = logging.getLogger("flask_caching_async")

#: Threads, and pieces of work that may be under way or wait for one.
WORKERS = 4
WAITING = 1000
#: Seconds that a thread without work stays.
IDLE = 10.0
#: Seconds that the end of the program waits for what is under way.
SHUTDOWN = 5.0


class Allowance:
    """Some seconds, to be spent in parts."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    @contextlib.contextmanager
    def spend(self) -> Iterator[float]:
        """Gives the moment, on the monotonic clock, at which all is spent."""
        begun = time.monotonic()
        try:
            yield begun + self.left
        finally:
            self.left = max(self.left - (time.monotonic() - begun), 0)


def before_executors_end(hook: Callable[[], object]) -> None:
    """Call ``hook`` when the main thread ends, while executors still accept work.

    They end by this private function of ``threading``, before those of :mod:`atexit` are called.
    """
    getattr(threading, "_register_atexit", atexit.register)(hook)


class UnderWay:
    """How much goes on in the background, wherever that is, and how to wait for its end."""

    def __init__(self) -> None:
        self._count = 0
        self._change = threading.Condition()
        forgets_parent(self)

    def forget_parent(self) -> None:
        """In a forked child, nothing of it goes on."""
        self._count, self._change = 0, threading.Condition()

    def begin(self) -> Callable[[], None]:
        """One more begins; call what this returns when it has ended, once or more often."""
        ended: list[None] = []

        def end() -> None:
            with change:
                if not ended and change is self._change:
                    ended.append(None)
                    self._count -= 1
                    change.notify_all()

        with (change := self._change):
            self._count += 1
        return end

    def wait(self, timeout: float | None) -> bool:
        """Wait until nothing goes on any more; False if that takes longer."""
        with (change := self._change):
            return change.wait_for(lambda: not self._count, timeout)


class _Pool:
    def __init__(self) -> None:
        self.allowance = Allowance(SHUTDOWN)
        self.under_way: set[object] = set()
        self.change = threading.Condition()
        self.work: deque[Callable[[], object]] = deque()
        self.threads = self.idle = self.pending = 0
        self.ended = False

    def submit(self, work: Callable[[], object]) -> bool:
        with self.change:
            if self.ended:
                return False
            if self.pending >= WAITING:
                extra = about("refresh_dropped", count=1)
                waiting = "%d background refreshes are waiting; one more was dropped"
                log.warning(waiting, WAITING, extra=extra)
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
                self.under_way.add(work)
            try:
                work()
            except BaseException:  # SystemExit, say: the next piece of work is not to blame
                log.exception("background work failed", extra=about("background_failed"))
            finally:
                with self.change:
                    self.pending -= 1
                    self.under_way.discard(work)
                    self.change.notify_all()

    def drain(self) -> None:
        """Wait a bounded time for what is under way now."""
        with self.allowance.spend() as deadline, self.change:
            begun = set(self.under_way)
            while begun & self.under_way and (left := deadline - time.monotonic()) > 0:
                self.change.wait(left)

    def end(self) -> None:
        """Take no more, and wait a bounded time for what is under way."""
        with self.allowance.spend() as deadline, self.change:
            self.ended = True
            self.work.clear()
            self.change.notify_all()
            while self.threads and (left := deadline - time.monotonic()) > 0:
                self.change.wait(left)
            if self.threads:
                extra = about("refresh_dropped", count=self.threads)
                abandoned = "%d background refreshes were abandoned at the end"
                log.warning(abandoned, self.threads, extra=extra)


_pool = _Pool()


def submit(work: Callable[[], object]) -> bool:
    """Run ``work`` in the background, with a copy of the caller's context variables.

    False if so much is waiting that it was not accepted, or if the program ends.
    """
    context = contextvars.copy_context()
    return _pool.submit(lambda: context.run(work))


@forget_in_child
def _forget_parent() -> None:
    global _pool
    _pool = _Pool()


before_executors_end(lambda: _pool.drain())
atexit.register(lambda: _pool.end())
