"""Tests that are made of tables run all of their rows, and each way that they name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from support.params import cases, cross, table

WAYS = ("colour", ["sync", "async", "quart"])


def runs_of(*marks: Any, ways: tuple[str, list[str]] = WAYS) -> list[str]:
    """The ids of what a test with these marks is run with, and its parameters before them."""
    made: list[Any] = []
    definition = SimpleNamespace(
        iter_markers=lambda name: [mark.mark for mark in marks],
        add_marker=lambda mark, append: made.append(mark.mark),
    )
    cross(SimpleNamespace(definition=definition), *ways)  # type: ignore[arg-type]
    names, runs = made[0].args if made else ("", [])
    return [names, *(run.id for run in runs)]


def test_a_table_is_run_whole_in_one_way_and_by_its_first_row_in_the_others() -> None:
    """By those that are named, if some are."""
    numbers = "n", [1, 2, 3]
    assert runs_of() == ["colour", "sync", "async", "quart"]
    assert runs_of(cases(*numbers)) == [
        "colour,n", "sync-1", "sync-2", "sync-3", "async-1", "quart-1",
    ]  # fmt: skip
    assert runs_of(cases(*numbers, whole=("quart",), everywhere=("2", "3"))) == [
        "colour,n", "sync-2", "sync-3", "async-2", "async-3", "quart-1", "quart-2", "quart-3",
    ]  # fmt: skip
    assert runs_of(cases(*numbers, ways=("lane", "ab"))) == ["lane,n", "a-1", "a-2", "a-3", "b-1"]


def test_two_tables_cross_without_a_product() -> None:
    """Each row comes with the first one of the other."""
    two = cases("n", [1, 2]), cases("a,b", [("x", None), ("y", 0)], ids=["x", "y"])
    assert runs_of(*two) == [
        "colour,n,a,b", "sync-1-x", "sync-2-x", "sync-1-y", "async-1-x", "quart-1-x",
    ]  # fmt: skip
    assert runs_of(*two, ways=("", [])) == ["n,a,b", "1-x", "2-x", "1-y"]


def test_what_is_not_there_is_no_way_and_no_row() -> None:
    """A name that was written wrong would test less than it says."""
    with pytest.raises(AssertionError, match="not all of {'trio'} are ways"):
        runs_of(cases("n", [1], whole=("trio",)))
    with pytest.raises(AssertionError, match="one row"):
        cases("n", [1], everywhere=("2",))


def test_a_pure_table_says_which_of_its_rows_fail() -> None:
    """Not only the first one; and it is given the fixtures that the rule asks for."""

    @table("n,m", [(1, 1), (1, 2), (3, 3), (3, 4)], ids="abcd")
    def rule(n: int, m: int, more: int) -> None:
        """It is the same."""
        with pytest.raises(ZeroDivisionError):
            assert n / (m - n + more) == n

    with pytest.raises(BaseExceptionGroup, match="2 of 4 rows") as caught:
        rule(more=0)
    assert [error.__notes__ for error in caught.value.exceptions] == [
        ["This was the row 'b'."],
        ["This was the row 'd'."],
    ]
