"""How often a backend is asked: a hit is one look, and an invalidation does not count entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from support.backends import SyncOnly
from support.faces import Face


class Counting(SyncOnly):
    """A backend that counts its round trips; an operation on many keys is one."""

    def __init__(self) -> None:
        super().__init__()
        self.trips: Counter[str] = Counter()

    def get(self, key: str) -> Any:
        self.trips["get"] += 1
        return super().get(key)

    def get_many(self, *keys: str) -> list[Any]:
        self.trips["get_many"] += 1
        return [self.held.get(key) for key in keys]

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.trips["set"] += 1
        return super().set(key, value, timeout)

    def set_many(self, mapping: Mapping[str, Any], timeout: Any = None) -> list[Any]:
        self.trips["set_many"] += 1
        self.held.update(mapping)
        return list(mapping)

    def delete(self, key: str) -> bool:
        self.trips["delete"] += 1
        return super().delete(key)


@pytest.fixture
def counting(app: Flask) -> Counting:
    """The backend of :func:`face`."""
    return Counting()


@pytest.fixture
def face(app: Flask, counting: Counting, colour: str) -> Face:
    """A cache on a backend that counts, in both colours."""
    return Face(Cache(app, config={"CACHE_TYPE": lambda *_: counting}), colour)


@pytest.mark.asyncio
async def test_a_hit_of_a_memoized_function_is_one_round_trip(
    face: Face, counting: Counting
) -> None:
    """The entry and all its stamps come together, tags and the instance's included."""

    class Works:
        def __repr__(self) -> str:
            return "Works()"

        count = face.memoize(tags=["works", "numbers"])(lambda self, a: a)

    works = Works()
    plain = face.memoize()(lambda a: a)
    for function, args in ((plain, (1,)), (Works.count, (works, 1))):
        await face.call(function, *args)
        counting.trips.clear()
        assert await face.call(function, *args) == 1
        assert counting.trips == {"get_many": 1}


def test_a_hit_of_a_view_is_one_round_trip(app: Flask, face: Face, counting: Counting) -> None:
    """With its path, query string and variants all in the stamps."""
    view = face.cached(query_string=True, vary_on="Accept-Language", tags="works")(lambda: "page")
    app.add_url_rule("/", "view", view)
    client = app.test_client()
    client.get("/?a=1")
    counting.trips.clear()
    assert client.get("/?a=1").text == "page"
    assert counting.trips == {"get_many": 1}


@pytest.mark.asyncio
async def test_reading_many_keys_is_one_round_trip(face: Face, counting: Counting) -> None:
    """``get_many`` and ``get_dict`` ask once; values set by hand carry no stamps."""
    await face.set_many({"a": 1, "b": 2})
    counting.trips.clear()
    assert await face.get_many("a", "b", "c") == [1, 2, None]
    assert await face.get_dict("a") == {"a": 1}
    assert counting.trips == {"get_many": 2}


@pytest.mark.asyncio
async def test_an_invalidation_costs_the_same_for_any_number_of_entries(
    face: Face, counting: Counting
) -> None:
    """Nothing is searched, whether one call is dropped or a hundred."""
    f = face.memoize(tags="works")(lambda a: a)
    costs = []
    for entries in (1, 100):
        for n in range(entries):
            await face.call(f, n)
        counting.trips.clear()
        await face.delete_memoized(f)
        await face.delete_tags("works")
        costs.append(counting.trips.total())
    assert costs[0] == costs[1] <= 4
