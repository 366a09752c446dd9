"""What one store gives to all calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._runtime.background import UnderWay
from .backoff import Backoff
from .leader import Leader
from .singleflight import Flights
from .store_protocol import Store

__all__ = ["Engine"]


class Engine:
    """What one store gives to all calls: flights, a clock and a way into the background.

    :param spawn: starts a leader in the background; the second argument says whether its function
        is async.
    :param background: counts what was started there, of all stores of a cache.
    """

    def __init__(
        self,
        store: Store,
        spawn: Callable[[Leader, bool], None],
        background: UnderWay | None = None,
    ) -> None:
        self.store = store
        #: The steps of the store for sync code (they never suspend), and for async code.
        self.sync, self.aio, self.direct = store.sync, store.aio, store.direct
        self.load_now = store.load_now
        self.flights = Flights()
        self.backoff = Backoff()
        self._spawn = spawn
        #: Its ports in both colours; they are made by whom they are for (``run.py``).
        self.ports: dict[type, Any] = {}
        self.background = background or UnderWay()

    def beside(self, store: Store) -> Engine:
        """One for another store of the same cache: that of a tenant."""
        return Engine(store, self._spawn, self.background)

    def spawn(self, leader: Leader, is_async: bool) -> None:
        """Let a leader compute in the background."""
        leader.ended = self.background.begin()
        try:
            self._spawn(leader, is_async)
        except BaseException:
            leader.ended()
            raise
