"""What one store gives to all calls."""

from __future__ import annotations

from collections.abc import Callable

from ..stats import Counters
from .backoff import Backoff
from .leader import Leader
from .singleflight import Flights
from .store_protocol import Store

__all__ = ["Engine"]


class Engine:
    """What one store gives to all calls: flights, counters, a clock and a way into the background.

    :param spawn: starts a leader in the background; the second argument says whether its function
        is async.
    """

    def __init__(
        self, store: Store, stats: Counters, spawn: Callable[[Leader, bool], None]
    ) -> None:
        self.store = store
        #: The steps of the store for sync code (they never suspend), and for async code.
        self.sync, self.aio = store.sync, store.aio
        self.flights = Flights()
        self.backoff = Backoff()
        self.stats = stats
        self.spawn = spawn
