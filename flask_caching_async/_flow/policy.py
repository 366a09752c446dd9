"""The rules for one call: how long its value stays fresh, and whether it is stored at all."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

from .._entries.entry import AnyEntry, Elsewhere, Lookup, Verdict, judge
from .._entries.times import NEVER, Times, times_of_three
from ..stats import CAUSES, Counters
from ..typing import Args, Callback, Kwargs, Value

__all__ = ["Call", "CallHooks", "ElsewhereKey", "Fate", "NotStored", "Policy"]


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

    def times_of(self, now: float, timeout: float | None = None) -> Times:
        """The times of a value that was finished at ``now``.

        :param timeout: the value's own, instead of the function's; 0 never expires.
        """
        life = self.timeout if timeout is None else timeout
        if life == 0:
            return times_of_three((now, NEVER, NEVER))
        if self.jitter:
            life *= 1 - self.jitter * random.random()
        fresh_until = now + life
        if self.stale_while_revalidate or self.stale_if_error:
            tail = max(self.stale_while_revalidate, self.stale_if_error)
            return times_of_three((now, fresh_until, fresh_until + tail))
        return times_of_three((now, fresh_until, fresh_until))  # one number, which takes 24 bytes

    def judge(self, entry: AnyEntry | None, now: float) -> Verdict:
        """What ``entry`` is good for under this policy."""
        return judge(entry, now, self.stale_while_revalidate, self.stale_if_error)


class Fate(enum.Enum):
    """What is to be done with a value that was computed."""

    STORE = "store"  #: store it, and share it with those who wait
    UNCACHEABLE = "uncacheable"  #: hand it to this caller only
    FAIL = "fail"  #: an error as a value (a 5xx): like UNCACHEABLE, but an old value is better


class NotStored(NamedTuple):
    """Why a value was not stored.

    :param cause: one of the words of :data:`.CAUSES`, which counts it; empty for what is counted as
        something else.
    :param text: the same in words.
    """

    cause: str
    text: str


class CallHooks:
    """What a decorator says about the values of a function: which callbacks see each of them.

    :param answers: exceptions that are answers, not failures (a view's ``HTTPException``).
    """

    answers: tuple[type[BaseException], ...] = ()
    response_filter: Callback | None = None
    #: Makes of a value what is stored for it, and handed out.
    storable: Callback | None = None
    timeout: float | None = None
    #: Whether each value is stored, under the key that was asked for. Then ``fate``, ``stays``,
    #: ``elsewhere`` and ``make_room`` say what they say here, and a miss need not ask them.
    plain = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        names = ("fate", "stays", "elsewhere", "make_room")
        cls.plain = all(getattr(cls, name) is getattr(CallHooks, name) for name in names)

    def fate(self, value: Value, call: Call) -> Fate:
        """Whether the value may be stored at all, by its own nature."""
        return Fate.STORE

    def for_callbacks(self, value: Value) -> Value:
        """The value as callbacks see it."""
        return value

    def unstorable(self, value: Value, call: Call) -> NotStored:
        """Why a value may not be stored."""
        return NotStored("filter", CAUSES["filter"])

    def stays(self, call: Call) -> bool:
        """Whether the value of a call is stored under the key that the call began with."""
        return True

    def elsewhere(self, call: Call) -> ElsewhereKey | None:
        """Where the value of a call is stored, if not under the key that the call began with."""
        return None

    def make_room(self, call: Call, key: str, times: Times) -> str | None:
        """The key that has to go for a value to be stored, ``""`` for none.

        ``None`` if the value is not to be stored, since there are too many of its kind.
        """
        return ""

    def known_timeout(self) -> float | None:
        """The timeout that values will have, as far as it is known before they are computed."""
        return None

    def lifetime(self, value: Value) -> Any:
        """The value's own timeout, or the function's (which may be a callable on the value)."""
        return self.timeout


class ElsewhereKey(NamedTuple):
    """Where a value is stored that has turned out to be one of several.

    :param marker: what is stored under the key that was asked for.
    """

    key: str
    tags: tuple[str, ...]
    marker: Elsewhere


class Call:
    """One call that was not answered at once: what to compute, under which key, by which rules."""

    __slots__ = (
        "key", "tags", "policy", "hooks", "counters", "function", "args", "kwargs",
        "forced", "called", "context", "first", "unstored", "within",
        "made_from", "served",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        tags: tuple[str, ...],
        policy: Policy,
        hooks: CallHooks,
        counters: Counters,
        function: Callback,
        args: Args = (),
        kwargs: Kwargs | None = None,
        forced: bool = False,
        called: float = 0.0,
        context: Any = None,
        first: Lookup | None = None,
    ) -> None:
        self.key = key
        self.tags = tags
        self.policy = policy
        #: What its decorator says of its values.
        self.hooks = hooks
        #: Those of what was called.
        self.counters = counters
        self.function = function
        self.args = args
        self.kwargs = kwargs or {}
        #: Whether a value that was finished before this call is not good enough.
        self.forced = forced
        #: When the call came; seconds since the epoch.
        self.called = called
        #: What the hooks want to find again when the value is there.
        self.context = context
        #: What this call's first look has found.
        self.first = first
        #: Why its value was not stored, if that is known: for who asks for it.
        self.unstored: NotStored | None = None
        #: What makes the context that the function is called in, if there is one.
        self.within: Callable[[], AbstractContextManager[Any]] | None = None
        #: What its decorator notes of the computation.
        self.made_from: Any = None
        #: The times of the value that it is answered with, as far as they are known.
        self.served: AnyEntry | Times | None = None
