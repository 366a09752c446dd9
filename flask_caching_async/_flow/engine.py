"""What one store gives to all calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakSet

from .._runtime.background import UnderWay
from .backoff import Backoff
from .leader import Leader
from .singleflight import Flights
from .store_protocol import Store, StoreSteps

__all__ = ["Engine", "Watch"]

#: What is around a computation.
Around = Callable[[Leader], AbstractContextManager[Any]]
#: Makes of the steps of a store those that somebody watches.
WatchSteps = Callable[[StoreSteps], StoreSteps]


class Watch:
    """Who watches the computations, and the operations of the backend, of one cache on one app.

    Nobody, as a rule; then a miss asks once whether there is anybody, and a hit never does.
    """

    def __init__(self) -> None:
        self.around: Around | None = None
        self.steps: WatchSteps | None = None
        #: Those of all tenants.
        self.engines: WeakSet[Engine] = WeakSet()

    def set(self, around: Around | None, steps: WatchSteps | None) -> None:
        """Let somebody watch from now on, or nobody."""
        self.around, self.steps = around, steps
        for engine in list(self.engines):
            engine.arrange()

    def refresh(self, leader: Leader) -> AbstractContextManager[Any]:
        """What is around a refresh in the background."""
        return nullcontext() if self.around is None else self.around(leader)


class Engine:
    """What one store gives to all calls: flights, a clock and a way into the background.

    :param spawn: starts a leader in the background; the second argument says whether its function
        is async.
    :param background: counts what was started there, of all stores of a cache.
    :param watch: who watches all stores of a cache.
    """

    def __init__(
        self,
        store: Store,
        spawn: Callable[[Leader, bool], None],
        background: UnderWay | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.store, self.direct = store, store.direct
        self.flights = Flights()
        self.backoff = Backoff()
        self._spawn = spawn
        self.background, self.watch = background or UnderWay(), watch or Watch()
        self.watch.engines.add(self)
        self.arrange()

    def beside(self, store: Store) -> Engine:
        """One for another store of the same cache: that of a tenant."""
        return Engine(store, self._spawn, self.background, self.watch)

    def arrange(self) -> None:
        """Decide which steps there are: those of the store, or those that somebody watches."""
        store, watched = self.store, self.watch.steps
        #: The steps of the store for sync code (they never suspend), and for async code.
        self.sync, self.aio, self.quick = store.sync, store.aio, store.quick
        if watched is not None and store.direct is None:
            self.sync, self.aio, self.quick = watched(store.sync), watched(store.aio), None
        #: Its ports in both colours; they are made by whom they are for (``run.py``).
        self.ports: dict[type, Any] = {}

    def spawn(self, leader: Leader, is_async: bool) -> None:
        """Let a leader compute in the background."""
        leader.ended = self.background.begin()
        try:
            self._spawn(leader, is_async)
        except BaseException:
            leader.ended()
            raise
