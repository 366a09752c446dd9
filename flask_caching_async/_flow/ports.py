"""The few things that the flow cannot do by itself, in both colours, side by side."""

from __future__ import annotations

import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from .._runtime.colour import run_now
from .._runtime.loops import pause, wait_for, whoami
from .engine import Engine
from .leader import Lead
from .singleflight import Flight, Outcome, Signal


class SyncPorts:
    """Ports whose coroutines return at once, blocking the thread where they must wait."""

    __slots__ = ("engine", "flights", "steps", "backoff", "stats", "clock", "stands", "lease")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.flights, self.steps, self.stats = engine.flights, engine.now, engine.stats
        self.backoff = engine.backoff
        self.clock = engine.store.clock
        self.stands, self.lease = engine.store.stands, engine.store.lease

    async def wait(self, flight: Flight, patience: float) -> Outcome:
        # A leader on this very thread cannot go on while we block it.
        if not self.flights.follow(flight, blocked=threading.get_ident()):
            return Signal.ALONE
        try:
            while True:
                left = flight.since + patience - time.monotonic()
                try:
                    return flight.outcome.result(max(left, 0))  # type: ignore[union-attr]
                except FutureTimeout:
                    if flight.since + patience <= time.monotonic():
                        return Signal.ALONE
        finally:
            self.flights.unfollow(flight)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - a sync port blocks, and never suspends

    def release(self, lease: Any, shared: bool) -> None:
        lease.abandoned = True  # first: see TokenSteps.claim
        if lease.failed:
            self.engine.store.detach("release", lease, shared)
        else:
            run_now(self.steps.release(lease, shared))

    def spawn(self, lead: Lead) -> None:
        self.engine.spawn(lead, False)


class AsyncPorts(SyncPorts):
    """Ports that suspend where they must wait."""

    __slots__ = ()

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.steps = engine.later

    async def wait(self, flight: Flight, patience: float) -> Outcome:
        if flight.leader == whoami() or not self.flights.follow(flight):
            return Signal.ALONE
        try:
            while True:
                left = flight.since + patience - time.monotonic()
                try:
                    return await wait_for(flight.outcome, max(left, 0))  # type: ignore[arg-type]
                except TimeoutError:
                    if flight.since + patience <= time.monotonic():
                        return Signal.ALONE
        finally:
            self.flights.unfollow(flight)

    async def pause(self, seconds: float) -> None:
        await pause(seconds)

    def release(self, lease: Any, shared: bool) -> None:
        # Nobody waits for it, and a cancelled task could not: but it is I/O.
        lease.abandoned = True
        self.engine.store.detach("release", lease, shared)

    def spawn(self, lead: Lead) -> None:
        self.engine.spawn(lead, True)
