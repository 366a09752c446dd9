"""How long values live, and what an entry is good for: pure decisions."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_caching_async._entries.entry import MISSING, NOTHING, Entry, Verdict, judge
from flask_caching_async._entries.times import NEVER, seconds
from flask_caching_async._flow.policy import Policy
from support.params import table

TIMES = st.floats(0.001, 10**6)


@table(
    "revalidate,if_error,verdicts",
    [
        (0, 0, ["fresh", "fresh", "gone", "gone", "gone", "gone"]),
        (10, 0, ["fresh", "fresh", "stale", "stale", "gone", "gone"]),
        (0, 10, ["fresh", "fresh", "stale-if-error", "stale-if-error", "gone", "gone"]),
        (10, 20, ["fresh", "fresh", "stale", "stale", "stale-if-error", "gone"]),
        (20, 10, ["fresh", "fresh", "stale", "stale", "stale", "gone"]),
    ],
)
def test_an_entry_is_fresh_then_stale_then_only_for_errors_then_gone(
    revalidate: float, if_error: float, verdicts: list[str]
) -> None:
    """Each window ends at its very moment."""
    policy = Policy(timeout=100, stale_while_revalidate=revalidate, stale_if_error=if_error)
    entry = Entry("v", None, *policy.times_of(1000))
    moments = [1000, 1099.9, 1100, 1109.9, 1110, 1120]
    assert [policy.judge(entry, now).value for now in moments] == verdicts


def test_nothing_is_gone() -> None:
    """And an entry is gone when its backend may have dropped it, whatever the windows say."""
    assert judge(None, 0) is Verdict.GONE
    assert judge(Entry("v", None, 0, 10, 20), 25, 100, 100) is Verdict.GONE


@given(timeout=TIMES, revalidate=TIMES, if_error=TIMES, now=TIMES)
def test_times_are_in_order(timeout: float, revalidate: float, if_error: float, now: float) -> None:
    """A value is kept exactly as long as something may still be done with it."""
    policy = Policy(timeout, revalidate, if_error)
    created, fresh_until, usable_until = policy.times_of(now)
    assert created == now < fresh_until <= usable_until
    assert usable_until == pytest.approx(now + timeout + max(revalidate, if_error))


@given(jitter=st.floats(0, 1), timeout=st.floats(1, 1000))
def test_jitter_takes_at_most_its_share(jitter: float, timeout: float) -> None:
    """It never lengthens a life."""
    life = Policy(timeout, jitter=jitter).times_of(0).fresh_until
    assert timeout * (1 - jitter) - 1e-6 <= life <= timeout


def test_0_is_for_ever_and_a_value_may_have_a_timeout_of_its_own() -> None:
    """Whatever the jitter and the windows are."""
    policy = Policy(0, stale_while_revalidate=5, jitter=0.5)
    assert policy.times_of(7) == (7, NEVER, NEVER) and policy.times_of(7).life == 0
    assert Policy(50).times_of(0, 10).fresh_until == 10
    assert Policy(50).times_of(0, 0).fresh_until == NEVER
    assert Policy(50).times_of(0).life == 50


@table(
    "timeout,number",
    [
        (None, None), (5, 5), (0.5, 0.5), ("5", 5), (" -1 ", -1),
        (dt.timedelta(minutes=1), 60), (dt.timedelta(milliseconds=1), 1), (dt.timedelta(0), 0),
    ],
)  # fmt: skip
def test_timeouts_are_seconds_or_timedeltas(timeout: Any, number: float | None) -> None:
    """A part of a second in a ``timedelta`` is rounded up, so that it never becomes 0."""
    assert seconds(timeout) == number


@table("timeout", ["soon", [], object()])
def test_anything_else_is_an_error_that_names_the_setting(timeout: Any) -> None:
    """Not a silent default."""
    with pytest.raises(TypeError, match="jiffies must be seconds"):
        seconds(timeout, "jiffies")


def test_absence_has_a_name_and_is_false() -> None:
    """So that ``None`` can be a value."""
    assert (repr(MISSING), repr(NOTHING)) == ("MISSING", "NOTHING")
    assert not MISSING and not NOTHING and MISSING is not NOTHING


def test_an_entry_opens_to_a_copy() -> None:
    """Where it can be changed at all."""
    value = [1]
    entry = Entry(value, list.copy)
    assert entry.value() == value and entry.value() is not value
    assert Entry(value).value() is value
