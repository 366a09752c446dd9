"""Single flight: for each key, one computation in progress, shared by threads and event loops.

The first to join a flight leads it, the rest follow. The registry decides under a lock that never
covers I/O or user code; waiting is done elsewhere (``ports.py``), on a future that is created only
for the first follower.

Rules that a change must keep:

1. A flight lands exactly once, whatever happens to its leader.
2. Its future is marked as running, so that a cancelled follower cannot cancel it for all, and it
   carries an *outcome*, never an exception, which Python would miss if no follower looked at it.
3. No caller waits who could be waited for: not for a flight that the waiter's own context leads
   (recursion, also through child tasks and worker threads), nor along a circle of flights.
4. After an invalidation, no new caller joins what was in progress before it
   (:meth:`Flights.forget`).
"""

from __future__ import annotations

import asyncio
import copy
import enum
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias

from .._entries.entry import BY_HAND
from .._entries.times import NEVER
from .._runtime.fork import forget_in_child, forgets_parent
from .._runtime.loops import whoami

__all__ = ["Failed", "Flight", "Flights", "Landed", "Outcome", "leading"]


class Outcome(enum.Enum):
    """Outcomes that carry no value."""

    ABANDONED = "abandoned"  #: the leader was cancelled or died: one follower takes over
    FOUND = "found"  #: it was stored after all: each follower looks there by itself
    UNSHARED = "unshared"  #: the value may not be stored: each follower computes for itself
    ALONE = "alone"  #: waiting would never end, or took too long: this one computes alone


class Landed(NamedTuple):
    """The leader has a value.

    :param value: gives each caller a copy of its own.
    """

    value: Callable[[], Any]


class Failed(NamedTuple):
    """The leader's function raised."""

    error: BaseException

    def copy(self) -> BaseException:
        """An instance for one follower: an exception's traceback grows where it is raised.

        The same object where there can be no other one with all that is in it.
        """
        error = self.error
        if any(getattr(kind, "__slots__", ()) for kind in type(error).__mro__):
            return error
        try:
            one = copy.copy(error)
            if type(one) is not type(error):
                raise TypeError("its copy is something else")
        except Exception:  # its __init__ wants other arguments than it keeps
            try:
                one = type(error).__new__(type(error), *error.args)
                one.__dict__.update(error.__dict__)
            except Exception:  # so does its __new__
                return error
        one.args = error.args
        one.__cause__, one.__context__ = error.__cause__, error.__context__
        one.__suppress_context__ = error.__suppress_context__
        return one.with_traceback(None)


Landing: TypeAlias = Landed | Failed | Outcome

#: The flights that the current context leads, innermost last. Child tasks and worker threads that
#: copy their parent's context inherit it, and so know for whom they must not wait.
leading: ContextVar[tuple[Flight, ...]] = ContextVar("flask_caching_async.leading", default=())

# Reentrant: a handler may come in between at any step, a signal's or a user's __del__, and use the
# cache. It leaves no flight of its own open; so the registry need only be whole at each step.
_lock = threading.RLock()


class Flight:
    """One computation in progress."""

    __slots__ = (
        "key", "tags", "leader", "expected", "overtaken", "computed",
        "since", "blocked_on", "outcome", "abandon", "unstored",
    )  # fmt: skip

    def __init__(self, key: str, tags: Sequence[str]) -> None:
        self.key = key
        self.tags = tags
        self.leader: tuple[int | None, object] = whoami()
        #: What must still stand for the value to be stored; set before the function is called.
        self.expected: Any = None
        #: Whether something was invalidated, so that the value must not be stored.
        self.overtaken = False
        #: Whether its value is there, and only being stored.
        self.computed = False
        #: When its leader began to compute: followers count their patience from there.
        self.since = time.monotonic()
        #: The flights for which this one's leader waits.
        self.blocked_on: list[Flight] = []
        #: What its followers wait for; created by the first of them.
        self.outcome: Future[Landing] | None = None
        #: Why its value was not stored, if it was not.
        self.unstored: Any = None
        #: Ends the duty of its leader, where that cannot do so any more.
        self.abandon: Callable[[], None] | None = None

    def serves(self, tags: Sequence[str]) -> bool:
        """Whether its value answers a call with these tags, too: it is the same function's.

        The first tag says whose it is; a program that names the key itself means any function's.
        """
        mine, theirs = self.tags[:1], tags[:1]
        return mine == theirs or not mine or not theirs or BY_HAND in (*mine, *theirs)

    def begin(self) -> None:
        """The caller is the leader from now on, and computes."""
        self.leader = whoami()
        self.renew()

    def follow_up(self) -> Flight:
        """One more caller will wait for its outcome."""
        if self.outcome is None:
            self.outcome = Future()
            self.outcome.set_running_or_notify_cancel()
        return self

    def lost_since(self, then: float) -> bool:
        """Whether it has waited since ``then`` for its leader to begin."""
        return self.leader[1] is self and self.since <= then

    def is_lost(self) -> bool:
        """Whether its leader is a task of a loop that was closed, and will never go on."""
        task = self.leader[1]
        return isinstance(task, asyncio.Task) and task.get_loop().is_closed()

    def renew(self) -> None:
        """Followers count their patience anew."""
        self.since = time.monotonic()

    def __repr__(self) -> str:
        followed = "followed" if self.outcome else "alone"
        return f"<Flight {self.key!r} led by {self.leader} {followed}>"


class Flights:
    """The open flights of one store."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        #: How many flights have landed: unchanged means that nothing new can have been stored.
        self.landed = 0
        forgets_parent(self)

    def forget_parent(self) -> None:
        """In a forked child: no leader lives, nor a follower, who may have held a flight's lock."""
        for flight in self._flights.values():
            flight.outcome = None
        self._flights.clear()

    def join(self, key: str, tags: Sequence[str] = ()) -> tuple[Flight, bool]:
        """The open flight of ``key``, and whether the caller leads it."""
        self._drop_lost(key)
        with _lock:
            flight = self._flights.get(key)
            if flight is None:
                # In one step, of which a handler sees all or nothing; see ``_lock``.
                mine = Flight(key, tags)
                flight = self._flights.setdefault(key, mine)
                if flight is mine:
                    return flight, True
            return flight.follow_up(), False

    def lead(self, key: str, tags: Sequence[str] = ()) -> Flight | None:
        """A new flight, which the caller leads, or ``None`` if there is one already."""
        if key in self._flights:
            return None
        mine = Flight(key, tags)
        return mine if self._flights.setdefault(key, mine) is mine else None

    def open_one(self, key: str) -> Flight | None:
        """The open flight of ``key``, if there is one, for a caller who will not lead."""
        self._drop_lost(key)
        with _lock:
            flight = self._flights.get(key)
            return None if flight is None else flight.follow_up()

    def try_lead(
        self, key: str, tags: Sequence[str] = (), patience: float = NEVER
    ) -> Flight | None:
        """A new flight for another task or thread to lead, or ``None`` if there is one already.

        :param patience: seconds after which one that never began counts as lost: a loop may end
            before it has started all of its tasks.
        """
        self._drop_lost(key)
        with _lock:
            old = self._flights.get(key)
            if old is not None and not old.lost_since(time.monotonic() - patience):
                return None
            flight = self._flights[key] = Flight(key, tags)
            # Until it begins: of no task yet, but perhaps one that this thread's loop will run.
            thread, task = flight.leader
            flight.leader = (None if task is None else thread, flight)
            return flight

    def _drop_lost(self, key: str) -> None:
        flight = self._flights.get(key)
        if flight is None or not flight.is_lost():
            return
        with _lock:
            if self._flights.get(key) is not flight:
                return
            self._flights.pop(key, None)
            abandon = flight.abandon
        if abandon is not None:
            abandon()

    def follow(self, flight: Flight, blocked: int | None = None) -> bool:
        """Whether waiting for ``flight`` can end; if so, call :meth:`unfollow` after it.

        :param blocked: the thread that would stand still meanwhile.
        """
        mine = leading.get()
        if not mine and blocked is None:
            return True
        with _lock:
            if _depends_on(flight, mine, blocked):
                return False
            for led in mine:
                led.blocked_on.append(flight)
            return True

    def unfollow(self, flight: Flight) -> None:
        """End of a wait."""
        mine = leading.get()
        if mine:
            with _lock:
                for led in mine:
                    if flight in led.blocked_on:
                        led.blocked_on.remove(flight)

    def close(self, flight: Flight) -> bool:
        """Let no caller join any more; whether there are followers."""
        with _lock:
            if self._flights.get(flight.key) is flight:
                self._flights.pop(flight.key, None)
            flight.abandon = None
            self.landed += 1
            return flight.outcome is not None

    def land(self, flight: Flight, outcome: Landing) -> None:
        """End the flight and tell its followers."""
        if self.close(flight) and flight.outcome is not None and not flight.outcome.done():
            flight.outcome.set_result(outcome)

    def forget(self, keys: Collection[str], tags: Collection[str] = ()) -> None:
        """Let no new caller join the flights that an invalidation has overtaken.

        A key that is no text has no flight; it was refused before.
        """
        if not self._flights:  # what begins from here on is younger than the invalidation
            return
        with _lock:
            names = [key for key in keys if isinstance(key, str)]
            gone = [flight for key in names if (flight := self._flights.get(key)) is not None]
            if tags:
                dead = set(tags)
                gone += [f for f in list(self._flights.values()) if not dead.isdisjoint(f.tags)]
            for flight in gone:
                flight.overtaken = True
                self._flights.pop(flight.key, None)

    def forget_flight(self, flight: Flight) -> None:
        """Let no new caller join this flight."""
        with _lock:
            flight.overtaken = True
            if self._flights.get(flight.key) is flight:
                self._flights.pop(flight.key, None)

    def forget_all(self) -> None:
        """Let no new caller join any flight that is open now."""
        with _lock:
            for flight in list(self._flights.values()):
                flight.overtaken = True
            self._flights.clear()


def _depends_on(flight: Flight, mine: Collection[Flight], blocked: int | None) -> bool:
    """Whether ``flight`` can only land after one of ``mine`` did, or one that is led on the thread
    ``blocked``. Called under the lock.
    """
    pending, seen = [flight], set()
    while pending:
        current = pending.pop()
        if current in mine or current.leader[0] == blocked:
            return True
        if id(current) not in seen:
            seen.add(id(current))
            pending.extend(current.blocked_on)
    return False


@forget_in_child
def _forget_parent() -> None:
    """In a forked child no leader of the parent's flights lives."""
    global _lock
    _lock = threading.RLock()
