"""NullCache: caching is off, and nothing else changes."""

from __future__ import annotations

import asyncio
import threading

import pytest
from flask import Flask

from flask_caching_async import Cache
from support.faces import Face
from support.waiting import PATIENCE, at_once


@pytest.fixture
def null(app: Flask, colour: str) -> Face:
    """A cache that is off."""
    config = {"CACHE_TYPE": "NullCache", "CACHE_NO_NULL_WARNING": True}
    return Face(Cache(app, config=config), colour)


@pytest.mark.asyncio
async def test_every_operation_works_and_stores_nothing(null: Face) -> None:
    """What is written counts as done."""
    assert await null.set("key", 1) is True
    assert await null.set_many({"a": 1, "b": 2}) == ["a", "b"]
    assert await null.add("key", 1) is True
    assert await null.get("key") is None
    assert await null.has("key") is False
    assert await null.get_many("key", "a") == [None, None]
    assert await null.get_dict("key") == {"key": None}
    assert await null.delete("key") is True
    assert await null.delete_many("a") == ["a"]
    assert await null.clear() is True
    assert await null.inc("n", 5) == 5
    assert await null.get_or_set("key", lambda: "made") == "made"


@pytest.mark.asyncio
async def test_every_call_computes(null: Face) -> None:
    """Tagged, refreshed, deleted: nothing is stored, nothing fails."""
    calls: list[int] = []
    f = null.memoize(tags=["t"])(lambda: calls.append(1) or len(calls))
    assert [await null.call(f) for _ in range(3)] == [1, 2, 3]
    assert await null.call(f.refresh) == 4
    assert await null.delete_memoized(f) is True
    assert await null.delete_tags("t") is True
    assert null.cache.stats().hits == 0


def test_nobody_waits_for_another_caller(null: Face) -> None:
    """There are no flights: all of them compute at the same time."""
    computing = threading.Barrier(4)

    def body() -> int:
        computing.wait(PATIENCE)  # passes only if four compute at once
        return 1

    f = null.memoize(lock=True)(body)
    assert at_once(4, lambda: asyncio.run(f()) if null.is_async else f()) == [1] * 4
    assert null.cache.stats().waits == 0
