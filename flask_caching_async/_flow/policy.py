"""The rules for one call: how long its value stays fresh, and whether it is stored at all."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._entries.entry import Entry, Verdict, judge
from .._entries.times import NEVER, Timetable

__all__ = ["Fate", "Job", "Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The options of one decorated function on one app; seconds throughout."""

    timeout: float = 300.0
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    jitter: float = 0.0
    lock: bool = True
    lock_timeout: float = 10.0
    cache_none: bool = False
    soft_timeout: float | None = None

    def seal(self, now: float, timeout: float | None = None) -> Timetable:
        """The timetable of a value that was finished at ``now``.

        :param timeout: the value's own, instead of the function's; 0 never expires.
        """
        life = self.timeout if timeout is None else timeout
        if life == 0:
            return Timetable(now, NEVER, NEVER)
        if self.jitter:
            life *= 1 - self.jitter * random.random()
        fresh_until = now + life
        tail = max(self.stale_while_revalidate, self.stale_if_error)
        return Timetable(now, fresh_until, fresh_until + tail)

    def judge(self, entry: Entry | None, now: float) -> Verdict:
        """What ``entry`` is good for under this policy."""
        return judge(entry, now, self.stale_while_revalidate, self.stale_if_error)


class Fate(enum.Enum):
    """What is to be done with a value that was computed."""

    STORE = "store"  #: store it, and share it with those who wait
    PASS = "pass"  #: hand it to this caller only
    FAIL = "fail"  #: an error as a value (a 5xx): like PASS, but an old value is better


class Job:
    """One call that was not answered at once: what to compute, under which key, by which rules."""

    __slots__ = (
        "key", "stamps", "policy", "plan", "function", "args", "kwargs",
        "forced", "called", "context",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        stamps: tuple[str, ...],
        policy: Policy,
        plan: Any,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        forced: bool = False,
        called: float = 0.0,
        context: Any = None,
    ) -> None:
        self.key = key
        self.stamps = stamps
        self.policy = policy
        #: The decorated function's callbacks; see ``drive.Plan``.
        self.plan = plan
        self.function = function
        self.args = args
        self.kwargs = kwargs or {}
        #: Whether a value that was finished before this call is not good enough.
        self.forced = forced
        #: When the call came; seconds since the epoch.
        self.called = called
        #: Whatever the plan wants to find again when the value is there.
        self.context = context
