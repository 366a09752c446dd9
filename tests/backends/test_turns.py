"""Counting in turns: threads wait, handlers do not, and a child has none of its parent's locks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from flask_caching_async.contrib._turns import Turns
from support.interrupts import Interrupt, ended
from support.waiting import PATIENCE, together


def test_threads_that_count_one_key_take_turns() -> None:
    """None of them begins before another one has ended."""
    turns, inside, sums = Turns(PATIENCE), threading.Lock(), [0]

    def attempt() -> int:
        assert inside.acquire(blocking=False)
        sums.append(sums[-1] + 1)
        inside.release()
        return sums[-1]

    counted = together(*[lambda: [turns.count("k", attempt) for _ in range(20)]] * 8)
    assert sorted(sum(counted, [])) == list(range(1, 161))


@pytest.mark.parametrize(("patience", "expected"), [(PATIENCE, 7), (0.0, None)])
def test_it_is_tried_again_until_it_has_taken_too_long(patience: float, expected: object) -> None:
    """Another process was faster; whatever comes of it, the next one is not kept waiting."""
    turns, outcomes = Turns(patience), iter([None, None, 7])
    assert turns.count("k", lambda: next(outcomes)) == expected
    assert together(lambda: turns.count("k", lambda: 8)) == [8]


def test_a_failure_keeps_nobody_waiting() -> None:
    """What an attempt raises is raised, and the next one has its turn."""
    turns = Turns(PATIENCE)
    with pytest.raises(ZeroDivisionError):
        turns.count("k", lambda: 1 // 0)
    assert together(lambda: turns.count("k", lambda: 8)) == [8]


def test_a_handler_that_counts_in_between_does_not_wait_for_its_own_thread() -> None:
    """At any step: both have a number of their own."""
    at, came = 0, True
    while came:
        turns, total = Turns(1.0), [0]

        def count(total: list[int] = total) -> int:
            total[0] += 1
            return total[0]

        def handler(turns: Turns = turns, count: Callable[[], int] = count) -> None:
            assert turns.count("k", count)

        interrupt = Interrupt(handler, at)
        one = ended(lambda turns=turns, i=interrupt, c=count: i.run(lambda: turns.count("k", c)))
        came, at = bool(interrupt.where), at + 1
        assert interrupt.error is None, interrupt.where
        assert one in (1, 2) and total[0] == 1 + came
    assert at > 5


def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    """It has new locks."""
    turns = Turns(PATIENCE)

    def forked() -> int | None:
        turns.forget_parent()  # as in a child, while a thread of the parent has its turn
        return together(lambda: turns.count("k", lambda: 8))[0]

    assert turns.count("k", forked) == 8
