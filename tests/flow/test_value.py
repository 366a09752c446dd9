"""What a caller mutates is never what the cache holds."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime as dt
import decimal
import threading
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from flask_caching_async import Cache
from flask_caching_async._entries.isolation import keep
from flask_caching_async.exceptions import SerializationError
from support.params import named, table

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.dates()
    | st.decimals(allow_nan=False)
)
KEYS = st.text(max_size=3) | st.integers()
NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(collections.deque, st.lists(inner, max_size=3))
        | st.builds(collections.OrderedDict, st.dictionaries(KEYS, inner, max_size=3))
    ),
    max_leaves=8,
)


def spoil(value: Any) -> None:
    """Change whatever can be changed in a value, at every depth."""
    if isinstance(value, dict):
        for inner in value.values():
            spoil(inner)
        value["spoilt"] = True
    elif isinstance(value, (list, collections.deque)):
        for inner in value:
            spoil(inner)
        value.append("spoilt")
    elif isinstance(value, tuple):
        for inner in value:
            spoil(inner)
    elif isinstance(value, Thing):
        spoil(value.rows)
        value.name = "spoilt"


@dataclasses.dataclass
class Thing:
    """A value of the user's."""

    name: str
    rows: list[Any]


def taken_out(kept: Any, thaw: Any) -> Any:
    """A copy of what is held, as a caller gets it."""
    return kept if thaw is None else thaw(kept)


@settings(max_examples=150, deadline=None, database=None)
@given(value=NESTED)
def test_copies_are_equal_and_apart(value: Any) -> None:
    """Neither the giver's object nor any copy that was given out reaches what is held."""
    original = copy.deepcopy(value)
    kept, thaw = keep(value)
    spoil(value)
    first = taken_out(kept, thaw)
    assert first == original and type(first) is type(original)
    spoil(first)
    assert taken_out(kept, thaw) == original


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(value=NESTED)
def test_a_cached_value_is_nobodys_to_change(app: Flask, value: Any) -> None:
    """Through the decorator, ``get`` and ``set``, on the backend in memory."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    original = copy.deepcopy(value)

    @cache.memoize(cache_none=True)
    def f() -> Any:
        return copy.deepcopy(original)

    for _ in range(3):
        answer = f()
        assert answer == original
        spoil(answer)
    cache.set("k", value)
    spoil(value)
    for _ in range(2):
        answer = cache.get("k")
        assert answer == original
        spoil(answer)


@table(
    "value",
    [
        "text", b"bytes", 1, 1.5, True, None, 1j, Markup("<b>"), range(3), (1, "two", None),
        frozenset({1, 2}), dt.datetime(2026, 1, 1), dt.timedelta(1), decimal.Decimal("1.5"),
    ],
)  # fmt: skip
def test_what_cannot_change_is_not_copied(value: Any) -> None:
    """The very object is held and handed out."""
    kept, thaw = keep(value)
    assert kept is value and thaw is None


@pytest.mark.parametrize("value", [[1, "a"], {"a": 1, 2: None}], ids=named)
def test_flat_collections_are_copied_without_pickle(value: Any) -> None:
    """A copy method does it, both ways."""
    kept, thaw = keep(value)
    assert type(kept) is type(value) and kept is not value and kept == value
    assert thaw is not None and thaw(kept) is not kept


@table(
    "value",
    [
        Thing("a", [1]), [[1]], {"a": [1]}, ([1],), bytearray(b"x"), {1, 2},
        type("Sub", (str,), {"__module__": __name__})("sub") if False else [Thing("b", [])],
        collections.Counter("aab"),
    ],
)  # fmt: skip
def test_everything_else_is_copied_whole(value: Any) -> None:
    """At every depth."""
    original = copy.deepcopy(value)
    kept, thaw = keep(value)
    spoil(value)
    assert taken_out(kept, thaw) == original


class Named(str):
    """A str that can be changed."""

    name = "original"


def test_a_subclass_of_an_immutable_type_may_be_mutable() -> None:
    """So it is copied."""
    value = Named("text")
    kept, thaw = keep(value)
    value.name = "changed"
    assert taken_out(kept, thaw).name == "original"
    kept, thaw = keep([value])
    assert taken_out(kept, thaw)[0] is not value


@table("value", [threading.Lock(), lambda: 1, (i for i in ())], ids=["a", "b", "c"])
def test_what_cannot_be_copied_is_refused(value: Any) -> None:
    """With an error of ours that names the type."""
    with pytest.raises(SerializationError, match=type(value).__qualname__):
        keep(value)
