"""What one store gives to all calls, and what a decorator tells the flow of its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .backoff import Backoff
from .leader import Lead
from .policy import Fate, Job
from .singleflight import Flights


class CallHooks:
    """What a decorator was told about the values of a function: who is asked about each of them.

    :param answers: exceptions that are answers, not failures (a view's ``HTTPException``).
    :param fate: what is to be done with a value by its own nature.
    :param shown: what ``response_filter`` is given for a value.
    """

    answers: tuple[type[BaseException], ...] = ()
    response_filter: Callable[..., Any] | None = None
    timeout: Any = None

    def fate(self, value: Any, job: Job) -> Fate:
        """Whether the value may be stored at all."""
        return Fate.STORE

    def shown(self, value: Any) -> Any:
        """The value as callbacks see it."""
        return value

    def expected(self) -> float | None:
        """The timeout that values will have, as far as it is known before they are computed."""
        return None

    def lifetime(self, value: Any) -> Any:
        """The value's own timeout, or the function's (which may be a callable on the value)."""
        return self.timeout


class Engine:
    """What one store gives to all calls: flights, stats, a clock and a way into the background.

    :param now: the steps of the store for sync code (they never suspend).
    :param later: the steps of the store for async code.
    """

    def __init__(self, store: Any, stats: Any, spawn: Callable[[Lead, bool], None]) -> None:
        self.store = store
        self.now = store.now
        self.later = store.later
        self.flights = Flights()
        self.backoff = Backoff()
        self.stats = stats
        self.spawn = spawn
