"""Leases that are taken over a network, and the thread that renews those of living holders."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..._runtime.colour import run_now
from ..._runtime.fork import forget_in_child
from ...typing import Coro
from .._connections.per_loop import Closable, PerLoop
from .contract import Lease, new_token

__all__ = ["RemoteLease"]

log = logging.getLogger("flask_caching_async")

#: How many holders back a lease remembers that their values were not shared.
NOTED = 100


T = TypeVar("T", bound=Closable)
#: Lets a lease live for its life again; whether it was still ours.
Renew = Callable[[T, Any], Coro[bool]]


class RemoteLease(Lease, Generic[T]):
    """What is known of a lease on a server; the backend's operations do the work.

    :param name: where it is kept.
    :param life: seconds that others wait for its holder. The lease of a dead one ends in a third of
        that: one of them follows it then, before all of them have lost patience.
    :param transports: those of the backend.
    :param renew: a step over a blocking transport; called in a thread of its own.
    """

    def __init__(self, name: str, life: float, transports: PerLoop[T], renew: Renew[T]) -> None:
        self.name, self.life = name, max(life / 3, 0.05)
        self.transports, self._renew = transports, renew
        self.token = new_token()
        #: The transport over which it was asked for.
        self.taken_over: T | None = None
        #: The last holders that released it and said that no other caller may have their values.
        self.rejected: str | None = None
        self.held = False
        self.due = 0.0

    def unshared(self, holder: str | None) -> bool:
        """Whether ``holder`` released it with ``shared=False``."""
        return holder is not None and holder in (self.rejected or "").split()

    @property
    def note(self) -> str:
        """What is left for those who wait for this holder, or for one before it."""
        return " ".join([self.token, *(self.rejected or "").split()[:NOTED]])

    def taken(self) -> None:
        """It is ours: renew it until :meth:`given_back`."""
        self.held, self.holder = True, self.token
        _renewer.add(self)

    def given_back(self) -> None:
        """It is not ours any more."""
        self.held = False
        _renewer.drop(self)

    forsake = given_back

    def renew(self) -> None:
        """Let it live on; a failure only lets it end earlier."""
        transport = self.transports.for_renewal(self.taken_over)
        if transport is None:
            self.given_back()  # the backend was closed: it ends by itself
            return
        try:
            if self.held and not run_now(self._renew(transport, self)):
                self.given_back()  # it ended, and another process may have it
        except Exception as error:
            log.debug("a lease could not be renewed: %r", error)


class _Renewer:
    """One thread for all leases of this process; it sleeps while there are none."""

    def __init__(self) -> None:
        # Weakly: a lease that its leader has lost, whatever happened to it, ends by itself.
        self._leases: weakref.WeakValueDictionary[int, RemoteLease[Any]]
        self._leases = weakref.WeakValueDictionary()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakes = float("inf")

    def add(self, lease: RemoteLease[Any]) -> None:
        lease.due = time.monotonic() + lease.life / 3
        with self._change:
            self._leases[id(lease)] = lease
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="flask-caching-async-leases", daemon=True
                )
                self._thread.start()
            elif lease.due < self._wakes:
                self._change.notify()

    def drop(self, lease: RemoteLease[Any]) -> None:
        with self._change:
            self._leases.pop(id(lease), None)

    def _living(self) -> list[RemoteLease[Any]]:
        # Their references are listed in one step: a handler may add a lease while they are read.
        return [lease for one in self._leases.valuerefs() if (lease := one()) is not None]

    def _run(self) -> None:
        while True:
            with self._change:
                self._wakes = min((lease.due for lease in self._living()), default=float("inf"))
                left = self._wakes - time.monotonic()
                if left > 0:
                    self._change.wait(min(left, threading.TIMEOUT_MAX))
                now = time.monotonic()
                due = [lease for lease in self._living() if lease.due <= now]
            while due:
                lease = due.pop()
                lease.due = time.monotonic() + lease.life / 3
                lease.renew()
                del lease  # while this thread sleeps, only the leader may hold it


_renewer = _Renewer()


@forget_in_child
def _forget_parent() -> None:
    global _renewer
    _renewer = _Renewer()
