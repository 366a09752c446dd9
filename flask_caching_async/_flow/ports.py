"""The few things that the flow cannot do by itself, in both colours, side by side."""

from __future__ import annotations

import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from .._runtime.colour import run_now
from .._runtime.loops import pause, wait_for, whoami
from .engine import Engine
from .leader import Leader
from .singleflight import Flight, Landing, Outcome
from .store_protocol import FlowSteps


class SyncPorts:
    """Ports whose coroutines return at once, blocking the thread where they must wait."""

    __slots__ = (
        "engine", "flights", "steps", "direct", "backoff", "watch", "clock", "stands", "lease"
    )  # fmt: skip

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.flights = engine.flights
        self.steps: FlowSteps = engine.sync
        self.direct = engine.direct
        self.backoff, self.watch = engine.backoff, engine.watch
        self.clock = engine.store.clock
        self.stands, self.lease = engine.store.stands, engine.store.lease

    async def wait(self, flight: Flight, patience: float) -> Landing:
        # A leader on this very thread cannot go on while we block it.
        if not self.flights.follow(flight, blocked=threading.get_ident()):
            return Outcome.ALONE
        try:
            while True:
                left = flight.since + patience - time.monotonic()
                try:
                    return flight.outcome.result(max(left, 0))  # type: ignore[union-attr]
                except FutureTimeout:
                    if flight.since + patience <= time.monotonic():
                        return Outcome.ALONE
        finally:
            self.flights.unfollow(flight)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - a sync port blocks, and never suspends

    def release(self, lease: Any, shared: bool) -> None:
        lease.abandoned = True  # first: see VersionedSteps.acquire_lease
        if lease.failed:
            self.engine.store.release_in_background(lease, shared)
        else:
            run_now(self.steps.release_lease(lease, shared))

    def spawn(self, leader: Leader) -> None:
        self.engine.spawn(leader, False)


class AsyncPorts(SyncPorts):
    """Ports that suspend where they must wait."""

    __slots__ = ()

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.steps: FlowSteps = engine.aio

    async def wait(self, flight: Flight, patience: float) -> Landing:
        if flight.leader == whoami() or not self.flights.follow(flight):
            return Outcome.ALONE
        try:
            while True:
                left = flight.since + patience - time.monotonic()
                try:
                    return await wait_for(flight.outcome, max(left, 0))  # type: ignore[arg-type]
                except TimeoutError:
                    if flight.since + patience <= time.monotonic():
                        return Outcome.ALONE
        finally:
            self.flights.unfollow(flight)

    async def pause(self, seconds: float) -> None:
        await pause(seconds)

    def release(self, lease: Any, shared: bool) -> None:
        # It is I/O that no caller waits for, and a cancelled task could not.
        lease.abandoned = True
        self.engine.store.release_in_background(lease, shared)

    def spawn(self, leader: Leader) -> None:
        self.engine.spawn(leader, True)
