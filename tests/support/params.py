"""Parameters that several test files have: which backends in which colours, and their names.

A rule that does not depend on them is tested without them: a product of backends and colours has
only those members in which something could differ. A table of a rule is run whole in one of them,
and by its first row in each of the others: see :func:`cases`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import pytest

#: Backends in colours, each of which goes its own way to the values: at once, inline, in a worker
#: thread, or by the loop of the process. Below the framework Quart goes the way of async; it is
#: there once all the same, for what the framework does around it.
WAYS = (
    ("SimpleCache", "sync"),
    ("SimpleCache", "async"),
    ("FileSystemCache", "sync"),
    ("FileSystemCache", "async"),
    ("FileSystemCache", "quart"),
    ("cachelib", "sync"),
    ("sync-only", "async"),
    ("async-only", "sync"),
    ("async-only", "async"),
)

#: Each pace at which values come, once: for what others do meanwhile, wherever the values are kept.
PACES = (
    "embedded,colour",
    (
        ("SimpleCache", "sync"),
        ("SimpleCache", "async"),
        ("FileSystemCache", "async"),
        ("async-only", "sync"),
    ),
)
each_pace = pytest.mark.parametrize(*PACES, indirect=True)

#: Each form in which a value is kept, once: for what does not depend on the colour.
each_form = pytest.mark.parametrize(
    ("embedded", "colour"),
    [
        ("SimpleCache", "sync"),
        ("FileSystemCache", "async"),
        ("cachelib", "sync"),
        ("async-only", "async"),
    ],
    indirect=True,
)


def _ways_of(*kinds: str) -> pytest.MarkDecorator:
    ways = [(kind, colour) for kind, colour in WAYS if kind in kinds]
    return pytest.mark.parametrize(("embedded", "colour"), ways, indirect=True)


#: Backends that keep time by the cache's clock to the moment.
timekeepers = _ways_of("SimpleCache", "FileSystemCache")

#: Backends whose values are copies.
copying = _ways_of("SimpleCache", "FileSystemCache", "cachelib")


class _Row(NamedTuple):
    """Values for some parameters of a test, and their id."""

    values: tuple[Any, ...]
    id: str


def _rows(names: str, values: Iterable[Any], ids: Iterable[str] | None = None) -> list[_Row]:
    rows = [tuple(value) if "," in names else (value,) for value in values]
    return [_Row(row, told) for row, told in zip(rows, ids or map(_id, rows), strict=True)]


def _id(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_id, value))
    return value if isinstance(value, str) else getattr(value, "__name__", None) or named(value)


def cases(
    names: str,
    rows: Iterable[Any],
    *,
    ids: Iterable[str] | None = None,
    ways: tuple[str, Iterable[Any]] | None = None,
    whole: Collection[str] = (),
    everywhere: Collection[str] = (),
) -> pytest.MarkDecorator:
    """A table of a rule, as for ``pytest.mark.parametrize``, that is crossed without a product.

    All rows are run in one way, and the first row in each of the others. So are several tables of
    one test among each other: each row comes with the first one of each other table.

    :param ways: a fixture with a parameter, or several, and what that may be. Without it, that is
        ``colour`` and ``embedded``, if the test asks for them and says nothing of them.
    :param whole: the ids of the ways that run all rows, if it is not the first way alone: those
        where different code meets them.
    :param everywhere: the ids of the rows that each way runs, if it is not the first row alone: one
        for each piece of code that is not the same in all ways.
    """
    every = _rows(names, rows, ids)
    few = [row for row in every if row.id in everywhere] if everywhere else every[:1]
    assert len(few) == (len(everywhere) or 1), f"not each of {everywhere} is one row"
    return pytest.mark.cases(names, every, few, ways and (ways[0], list(ways[1])), whole)


def table(
    names: str, rows: Iterable[Any], *, ids: Iterable[str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A table of a pure rule, as for ``pytest.mark.parametrize``, that is one test of all its rows.

    Of rows that are so quick, one test each is more work than the rule. It says which rows fail.
    """
    parameters, every = names.split(","), _rows(names, rows, ids)

    def decorator(rule: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(rule)
        def test(**fixtures: Any) -> None:
            failed = []
            for row in every:
                try:
                    rule(**dict(zip(parameters, row.values, strict=True)), **fixtures)
                except (Exception, pytest.fail.Exception) as error:
                    error.add_note(f"This was the row {row.id!r}.")
                    failed.append(error)
            if failed:
                raise BaseExceptionGroup(f"{len(failed)} of {len(every)} rows", failed)

        asked = inspect.signature(rule)
        fixtures = [one for one in asked.parameters.values() if one.name not in parameters]
        test.__signature__ = asked.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return test

    return decorator


def cross(metafunc: pytest.Metafunc, fixtures: str, ways: Iterable[Any]) -> None:
    """Parametrize a test by the ways in which it is run, and by its :func:`cases`."""
    names, tables, short, whole = [], [], [], set[str]()
    for mark in metafunc.definition.iter_markers("cases"):
        parameters, rows, few, said, in_full = mark.args
        fixtures, ways = said or (fixtures, ways)
        names.append(parameters)
        tables.append(rows)
        short.append(few)
        whole.update(in_full)
    every = _rows(fixtures, ways) if fixtures else [_Row((), "")]
    whole = whole or {every[0].id}
    assert whole <= {way.id for way in every}, f"not all of {whole} are ways"
    crossed = [(w, *some) for w in every for some in _star(tables if w.id in whole else short)]
    if parameters := ",".join(filter(None, (fixtures, *names))):
        runs = [
            pytest.param(
                *(value for row in rows for value in row.values),
                id="-".join(row.id for row in rows if row.id),
            )
            for rows in crossed
        ]
        indirect = fixtures.split(",") if fixtures else False
        mark = pytest.mark.parametrize(parameters, runs, indirect=indirect)
        metafunc.definition.add_marker(mark, append=False)  # before what a fixture says of itself


def _star(tables: list[list[_Row]]) -> list[list[_Row]]:
    """Each row of each table, with the first rows of the others."""
    first = [table[0] for table in tables]
    others = [(at, row) for at, table in enumerate(tables) for row in table[1:]]
    return [first, *([*first[:at], row, *first[at + 1 :]] for at, row in others)]


def named(value: Any) -> str:
    """A name for a parameter: its repr, without an address, which differs from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
