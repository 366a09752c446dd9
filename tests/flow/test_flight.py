"""The registry of flights, by itself."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import Any

import pytest

from flask_caching_async._flow.singleflight import Failed, Flights, Landed, Outcome, leading
from support.params import table
from support.waiting import together


def followed(flights: Flights, key: str = "k", *stamps: str) -> Any:
    """A flight that somebody leads and somebody follows."""
    flight, leads = flights.join(key, stamps)
    assert leads
    assert flights.join(key, stamps) == (flight, False)
    return flight


def test_the_first_leads_and_the_others_follow() -> None:
    """Of many threads that join at once, one leads; then the next one does."""
    flights = Flights()
    results = together(*[lambda: flights.join("k")] * 32)
    leaders = [flight for flight, leads in results if leads]
    assert len(leaders) == 1
    assert {id(flight) for flight, _ in results} == {id(leaders[0])}
    flights.land(leaders[0], Outcome.ABANDONED)
    assert flights.join("k")[1]


def test_a_flight_lands_once_and_its_outcome_stays() -> None:
    """What comes after the first outcome changes nothing."""
    flights = Flights()
    flight = followed(flights)
    flights.land(flight, Landed(lambda: 1))
    flights.land(flight, Outcome.ABANDONED)
    assert flight.outcome.result(0).value() == 1
    assert flights.join("k")[1]


def test_a_landing_does_not_end_its_successor() -> None:
    """A flight that was overtaken lands late; the one that replaced it goes on."""
    flights = Flights()
    old = followed(flights)
    flights.forget(["k"])
    new, leads = flights.join("k")
    assert leads and new is not old
    flights.land(old, Outcome.ABANDONED)
    assert flights.join("k") == (new, False)


def test_without_followers_there_is_no_future() -> None:
    """Most computations are followed by nobody, and pay for nobody."""
    flights = Flights()
    flight, _ = flights.join("k")
    assert flight.outcome is None and "alone" in repr(flight)
    assert not flights.close(flight)
    flights.land(flight, Outcome.ABANDONED)
    assert flight.outcome is None
    assert "followed" in repr(followed(flights))


def test_nobody_can_cancel_the_future_of_a_flight() -> None:
    """It counts as running from the start."""
    flight = followed(Flights())
    assert not flight.outcome.cancel()


@table(
    "keys,stamps,gone",
    [
        (["a"], [], "a"),
        (["a", "b", "x"], [], "ab"),
        ([], ["s"], "ab"),
        (["c"], ["t"], "bc"),
        ([], [], ""),
        (["x"], ["x"], ""),
    ],
)
def test_displacing_hits_keys_and_stamps(keys: list[str], stamps: list[str], gone: str) -> None:
    """Who is hit takes no new followers and knows that it was overtaken; the others do not."""
    flights = Flights()
    open_ = {
        "a": flights.join("a", ("s",))[0],
        "b": flights.join("b", ("s", "t"))[0],
        "c": flights.join("c")[0],
    }
    flights.forget(keys, stamps)
    for key, flight in open_.items():
        assert flight.overtaken is (key in gone)
        assert flights.join(key)[1] is (key in gone)


def test_displacing_all_hits_all() -> None:
    """``clear`` has overtaken everything that was under way."""
    flights = Flights()
    open_ = [flights.join(key)[0] for key in "abc"]
    flights.forget_all()
    assert all(flight.overtaken for flight in open_)
    assert all(flights.join(key)[1] for key in "abc")


def test_try_lead_never_waits_and_never_follows() -> None:
    """A background refresh begins only where nobody computes."""
    flights = Flights()
    flight = flights.try_lead("k")
    assert flight is not None
    assert flights.try_lead("k") is None
    assert flights.try_lead("k", patience=60) is None
    assert flights.join("k") == (flight, False)
    flights.land(flight, Outcome.ABANDONED)
    assert flights.try_lead("k") is not None


def test_a_refresh_that_nobody_began_is_lost_after_a_while() -> None:
    """Another one may begin then; one that was begun is never lost."""
    flights = Flights()
    lost = flights.try_lead("k")
    assert lost is not None
    time.sleep(0.002)
    new = flights.try_lead("k", patience=0.001)
    assert new is not None and new is not lost
    new.begin()
    time.sleep(0.002)
    assert flights.try_lead("k", patience=0.001) is None


def test_nobody_waits_for_itself() -> None:
    """A context that leads a flight cannot follow it, nor one that waits for it."""
    flights = Flights()
    mine = flights.join("mine")[0]
    other = flights.join("other")[0]
    third = flights.join("third")[0]

    def play() -> None:
        assert flights.follow(mine)
        leading.set((mine,))
        assert not flights.follow(mine)
        assert flights.follow(other)
        flights.unfollow(other)
        third.blocked_on.append(other)
        other.blocked_on.append(mine)
        assert not flights.follow(third)

    contextvars.copy_context().run(play)


def test_a_blocked_thread_waits_for_nothing_that_it_leads() -> None:
    """Nor for what waits for something that it leads."""
    flights = Flights()
    mine = flights.join("mine")[0]
    me = threading.get_ident()
    assert flights.follow(mine) and not flights.follow(mine, blocked=me)
    [theirs] = together(lambda: flights.join("theirs")[0])
    assert flights.follow(theirs, blocked=me)
    theirs.blocked_on.append(mine)
    assert not flights.follow(theirs, blocked=me)


class Picky(Exception):
    """Wants what it does not keep."""

    def __init__(self, *, why: str) -> None:
        super().__init__("picky", why)
        self.why = why


class Demanding(Exception):
    """Cannot be made without what it does not keep, not even by its ``__new__``."""

    def __new__(cls, *, why: str) -> Demanding:
        one = super().__new__(cls)
        one.args = (1, 2)
        return one

    def __init__(self, *, why: str) -> None:
        self.why = why


class Slotted(Exception):
    """Has state where no copy finds it."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code = code


@pytest.mark.parametrize("error", [Demanding(why="so"), Slotted(7)])
def test_a_follower_gets_the_same_error_where_there_can_be_no_copy(error: Exception) -> None:
    """Rather than one about the copy."""
    assert Failed(error).copy() is error


class Changing(Exception):
    """Keeps something else than it is given."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


@table(
    "error",
    [
        ValueError("x", 1),
        KeyError("k"),
        FileNotFoundError(2, "no such file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        StopIteration(5),
        ExceptionGroup("several", [ValueError(1), TypeError(2)]),
        ImportError("no", name="module", path="path"),
        Picky(why="so"),
        Changing(7),
    ],
)
def test_a_follower_gets_an_equal_error(error: Exception) -> None:
    """Type, arguments, state and notes are the leader's; the object and its traceback are not."""
    error.__cause__ = LookupError("cause")
    error.add_note("a note")
    try:
        raise error
    except Exception:
        copied = Failed(error).copy()
    assert copied is not error and type(copied) is type(error)
    assert (str(copied), copied.args) == (str(error), error.args)
    assert vars(copied) == vars(error)
    assert copied.__cause__ is error.__cause__ and copied.__suppress_context__
    assert copied.__traceback__ is None and error.__traceback__ is not None
    for name in ("errno", "filename", "value", "name", "path", "exceptions", "object"):
        assert getattr(copied, name, None) == getattr(error, name, None)
