"""Periodic renewal: chosen functions and pages are computed anew before they expire.

Of all processes that share a backend, one renews: the one that holds a lease. If it dies, the lease
ends, and another one goes on. Where nothing is shared (``SimpleCache``), each renews its own.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from types import MethodType

from .._entries.times import seconds
from .._runtime.background import Allowance, before_executors_end
from .._runtime.colour import run_now
from .._runtime.fork import begin_in_child
from .._runtime.threads import offload
from ..backends._versioned.contract import Lease
from ..binding import Binding
from ..events import about
from ..exceptions import ColourError
from ..typing import Args, Kwargs, Timeout, Value
from .wrappers import plan_of

__all__ = ["Renewal", "Renewals"]

log = logging.getLogger("flask_caching_async")

#: Seconds that the end of the program, or of serving, waits for a round that is under way.
SHUTDOWN = 5.0
#: Seconds before a forked child begins: its other modules must have forgotten the parent first.
AFTER_FORK = 0.5


class Renewal:
    """One function or page that is renewed periodically; :meth:`.Cache.refresh_every` makes it.

    :param every: seconds.
    """

    def __init__(self, every: float, function: Value, args: Args, kwargs: Kwargs) -> None:
        self.every, self.function, self.args, self.kwargs = every, function, args, kwargs
        self.stopped = False
        self._rounds: list[_Rounds] = []

    def start(self) -> None:
        """Begin in this process, though it serves nobody: in the worker of a queue, for example."""
        for rounds in self._rounds:
            rounds.begin()

    def stop(self) -> None:
        """Renew no more; a round that is under way ends."""
        self.stopped = True
        _end(self._rounds)

    def run(self) -> bool:
        """One round now, as a timer would make it, for each app; whether this process made any.

        :raises ColourError: on the loop that would have to make it; await :meth:`arun` there.
        """
        for rounds in self._rounds:
            if rounds.would_block():
                raise ColourError(f"run() blocks the loop that renews {self.name}: await arun()")
        return any([rounds.make(wait=True) for rounds in self._rounds])

    async def arun(self) -> bool:
        """Awaitable :meth:`run`."""
        return any([await offload(rounds.make, True) for rounds in self._rounds])

    @property
    def name(self) -> str:
        """The function and its arguments."""
        return self._named()[0]

    @property
    def function_name(self) -> str:
        """The function, as the statistics name it."""
        plan = plan_of(self.function)
        return "" if plan is None else plan.name

    @property
    def key(self) -> str:
        """The key of its lease, in all processes."""
        name, distinction = self._named()
        return f"renewal~{name}{distinction}"

    def _named(self) -> tuple[str, str]:
        given = [*map(repr, self.args), *(f"{n}={v!r}" for n, v in self.kwargs.items())]
        plan = plan_of(self.function)
        assert plan is not None
        return f"{plan.name}({', '.join(given)})", plan.distinction

    def attach(self, binding: Binding) -> _Rounds:
        """Make rounds for one more app."""
        rounds = _Rounds(self, binding)
        self._rounds.append(rounds)
        return rounds


class _Rounds:
    """The rounds of one renewal on one app, in this process."""

    def __init__(self, renewal: Renewal, binding: Binding) -> None:
        self.renewal, self.binding = renewal, binding
        self._forget()
        self._failing = False
        _all.add(self)

    def _forget(self) -> None:
        """In a forked child: the lease and the thread are the parent's."""
        self._wake = threading.Event()
        self._making = threading.Lock()
        self._maker: int | None = None
        self._lease: Lease | None = None
        self._thread: threading.Thread | None = None

    def begin(self, delay: float = 0) -> None:
        """Make rounds in a thread of their own, ``delay`` seconds from now."""
        if self._thread is None and not self.renewal.stopped:
            # One of its own for each thread: the last one may still be in a round.
            wake = self._wake = threading.Event()
            name, args = "flask-caching-async-renewal", (wake, delay)
            self._thread = threading.Thread(target=self._run, args=args, name=name, daemon=True)
            self._thread.start()

    def end(self, patience: float) -> None:
        """Make no more, and let another process.

        :param patience: seconds to wait for a round that is under way; a loop cannot wait for what
            runs on itself.
        """
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread() and not self._here():
            thread.join(max(patience, 0))
        self._give_back()

    def _here(self) -> bool:
        loop = self.binding.framework.loop
        return loop is not None and loop is asyncio._get_running_loop()

    def would_block(self) -> bool:
        """Whether a round needs the loop that runs here."""
        is_async = inspect.iscoroutinefunction(self.renewal.function)
        return self._here() and (is_async or not self.binding.framework.serves)

    def _run(self, wake: threading.Event, delay: float) -> None:
        while not wake.wait(delay):
            self.make()
            delay = self.renewal.every

    def make(self, wait: bool = False) -> bool:
        """One round; whether it was this process's turn.

        :param wait: whether to wait for a round that is under way, instead of leaving it at that.
        """
        making, me = self._making, threading.get_ident()
        if self._maker == me or not making.acquire(blocking=wait):
            return False  # a handler would wait for what it came in between
        self._maker = me
        try:
            if not self._is_mine():
                return False
            renewal = self.renewal
            function, more, named = renewal.function, renewal.args, renewal.kwargs
            self.binding.framework.call(function, more, named)
        except CancelledError:
            log.debug("%r was not renewed to its end: its loop has ended", self.renewal.name)
        except Exception:
            if not self._failing:
                log.exception(
                    "%r could not be renewed; it is tried again", self.renewal.name,
                    extra=about("renewal_failed", function=self.renewal.function_name),
                )  # fmt: skip
            self._failing = True
        else:
            if self._failing:
                extra = about("renewal_works", function=self.renewal.function_name)
                log.warning("%r is renewed again", self.renewal.name, extra=extra)
            self._failing = False
        finally:
            self._maker = None
            making.release()  # not another one that a forked child has
        return True

    def _is_mine(self) -> bool:
        """Whether it is this process that renews: it holds the lease, or there is none."""
        lease = self._lease
        if lease is not None and getattr(lease, "held", True):
            return True
        store = self.binding.engine.store
        life = self.binding.settings.lock_timeout
        lease = store.backend.lease(f"{self.renewal.key}@0", life)
        if lease is None:
            return True
        taken, _ = run_now(store.sync.acquire_lease(lease, self.renewal.key, ()))
        self._lease = lease if taken else None
        return bool(taken)

    def _give_back(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            run_now(self.binding.engine.store.sync.release_lease(lease, True))


class Renewals:
    """What a :class:`.Cache` knows of renewals."""

    _renewals: list[Renewal]
    _bound: Callable[[], list[Binding]]

    def refresh_every(
        self, every: Timeout, function: Value, /, *args: Value, **kwargs: Value
    ) -> Renewal:
        """Renew a memoized function or a cached view periodically, in one process of all.

        ::

            cache.refresh_every(60, exchange_rates, "EUR")
            cache.refresh_every(300, works, path="/works", query_args={"page": "1"})

        It begins when this process serves the app: under WSGI in a thread, with the first request;
        under Quart on the serving loop. Without an app it begins at once. In a process that serves
        nobody, ``start`` of what this returns begins it. ``CACHE_RENEWALS = False`` turns it off.

        :param every: seconds or a ``timedelta``.
        :param args: what ``function.refresh`` is called with.
        :raises TypeError: if the function is not decorated, or ``every`` is no time.
        """
        interval = seconds(every, "every")
        if not interval or interval < 0:
            raise TypeError(f"every must be more than 0 seconds, not {every!r}")
        if plan_of(function) is None:
            raise TypeError(f"{function!r} is neither memoized nor cached")
        if isinstance(function, MethodType):  # bound by a decorator that is not ours
            function, args = function.__func__, (function.__self__, *args)
        renewal = Renewal(interval, function, args, kwargs)
        self._renewals.append(renewal)
        for binding in self._bound():
            self._attach(renewal, binding)
        return renewal

    def _attach(self, renewal: Renewal, binding: Binding) -> None:
        rounds = renewal.attach(binding)
        if not binding.settings.renewals:
            return
        if binding.framework.loop is not None:
            rounds.begin()
        else:
            binding.framework.when_served(rounds.begin)


_all: weakref.WeakSet[_Rounds] = weakref.WeakSet()


_allowance = Allowance(SHUTDOWN)


def _end(several: Iterable[_Rounds]) -> None:
    """End them together, within one limit."""
    deadline, several = time.monotonic() + _allowance.left, list(several)
    for rounds in several:
        rounds._wake.set()
    for rounds in several:
        try:
            rounds.end(deadline - time.monotonic())
        except Exception as error:  # the backend may be gone before us
            log.debug("a renewal did not end well: %r", error)


@begin_in_child
def _begin_anew() -> None:
    for rounds in list(_all):
        had_thread = rounds._thread is not None
        rounds._forget()
        if had_thread:
            rounds.begin(AFTER_FORK)


def _drain() -> None:
    """Wait a bounded time for the rounds that are under way, as long as they can go on."""
    with _allowance.spend() as deadline:
        for rounds in list(_all):
            if rounds._making.acquire(timeout=max(deadline - time.monotonic(), 0)):
                rounds._making.release()


before_executors_end(_drain)
atexit.register(lambda: _end(_all))
