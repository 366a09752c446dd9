"""Foreign backends: cachelib's classes, and what cannot be decoded."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cachelib
import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends.foreign import ForeignCache
from flask_caching_async.serializers import JSONSerializer
from support.faces import COLOURS, Face

KINDS = ("cachelib.FileSystemCache", "cachelib.SimpleCache", "FileSystemCache", "SimpleCache+JSON",
         "FileSystemCache+JSON", "cachelib.SimpleCache+JSON")  # fmt: skip


@pytest.fixture(params=KINDS)
def stored(request: pytest.FixtureRequest, app: Flask, tmp_path: Path) -> Cache:
    """A cache whose backend keeps bytes."""
    kind, _, serializer = request.param.partition("+")
    config: dict[str, Any] = {"CACHE_TYPE": kind}
    if kind == "cachelib.FileSystemCache":
        config["CACHE_ARGS"] = [str(tmp_path / "files")]
    elif kind == "FileSystemCache":
        config["CACHE_DIR"] = str(tmp_path / "files")
    if serializer:
        config["CACHE_SERIALIZER"] = JSONSerializer
    return Cache(app, config=config)


class Garbage:
    """A serializer that reads nothing while ``broken``, as after a deploy that moved a class."""

    def __init__(self, whole: Any) -> None:
        self.whole, self.broken = whole, False

    def dumps(self, value: Any, *args: Any) -> Any:
        return self.whole.dumps(value)

    def dump(self, value: Any, f: Any, *args: Any) -> Any:
        return self.whole.dump(value, f)

    def loads(self, data: Any) -> Any:
        if self.broken:
            raise ModuleNotFoundError("No module named 'moved'")
        return self.whole.loads(data)

    def load(self, f: Any) -> Any:
        if self.broken:
            f.read()
            raise ModuleNotFoundError("No module named 'moved'")
        return self.whole.load(f)


@pytest.mark.asyncio
async def test_a_value_that_cannot_be_decoded_is_a_miss_and_is_overwritten(stored: Cache) -> None:
    """For functions and for ``get``; nobody waits for it to expire."""
    backend: Any = stored.cache
    backend.serializer = Garbage(backend.serializer)

    async def in_colour(face: Face) -> None:
        calls: list[int] = []
        f = face.memoize()(lambda: calls.append(1) or len(calls))
        await face.set("key", "value")
        assert [await face.call(f), await face.call(f)] == [1, 1]
        backend.serializer.broken = True
        assert await face.get("key") is None
        assert await face.get_many("key", "nothing") == [None, None]
        assert await face.call(f) == 2
        backend.serializer.broken = False
        await face.call(f)  # what was stored while it was broken may be good, or dead
        computed = len(calls)
        assert await face.call(f) == computed
        assert len(calls) == computed
        await face.set("key", "new")
        assert await face.get("key") == "new"
        await face.delete_memoized(f)

    for colour in COLOURS:
        await in_colour(Face(stored, colour))


def test_a_class_that_moved_is_a_miss_and_is_overwritten(app: Flask, tmp_path: Path) -> None:
    """Pickle raises AttributeError or ModuleNotFoundError after a deploy; the page goes on."""
    module: Any = types.ModuleType("will_move")

    class Thing:
        def __eq__(self, other: object) -> bool:
            return type(other) is type(self)

    Thing.__module__, Thing.__qualname__ = "will_move", "Thing"
    module.Thing = Thing
    for number, kind in enumerate(("FileSystemCache", "cachelib.FileSystemCache")):
        folder = str(tmp_path / str(number))
        cache = Cache(app, config={"CACHE_TYPE": kind, "CACHE_DIR": folder,
                                   "CACHE_ARGS": [folder] if number else []})  # fmt: skip
        current: list[Any] = [Thing()]
        f = cache.memoize(args_to_ignore=["current"])(lambda current=current: current[0])
        sys.modules["will_move"] = module
        try:
            assert f() == f() == Thing()
        finally:
            del sys.modules["will_move"]
        current[0] = "computed again"
        assert f() == "computed again"
        assert f() == "computed again"
        assert cache.stats().computed == 2


def test_garbage_in_a_file_is_a_miss_and_is_overwritten(app: Flask, tmp_path: Path) -> None:
    """A full disk, a killed writer, another program."""
    folder = tmp_path / "files"
    cache = Cache(app, config={"CACHE_TYPE": "cachelib.FileSystemCache",
                               "CACHE_ARGS": [str(folder)]})  # fmt: skip
    calls: list[int] = []
    f = cache.memoize()(lambda: calls.append(1) or "value")
    assert f() == f() == "value"
    for data in (b"", b"\x00", b"garbage" * 100, pickle.dumps(1), b"\x80\x05."):
        calls.clear()
        for name in os.listdir(folder):
            (folder / name).write_bytes(data)
        assert f() == "value"
        assert f() == "value"
        assert len(calls) == 1, data
        assert cache.get("nothing") is None


class Recording:
    """A client that writes down what it was asked."""

    default_timeout = 77

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}
        self.timeouts: list[Any] = []
        self.closed = 0

    def get(self, key: str) -> Any:
        return self.held.get(key)

    def get_many(self, *keys: str) -> list[Any]:
        return [self.held.get(key) for key in keys]

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.timeouts.append(timeout)
        self.held[key] = value
        return True

    def set_many(self, mapping: Mapping[str, Any], timeout: Any = None) -> bool:
        self.held.update(mapping)
        return True

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.timeouts.append(timeout)
        return self.held.setdefault(key, value) is value

    def delete(self, key: str) -> bool:
        return self.held.pop(key, None) is not None

    def delete_many(self, *keys: str) -> bool:
        return all([self.delete(key) for key in keys])

    def close(self) -> None:
        self.closed += 1


def test_parts_of_seconds_are_rounded_up() -> None:
    """Foreign backends count whole seconds, and 0 means for ever."""
    for timeout, whole in ((1, 1), (1.2, 2), (0.1, 1), (0.0, 0), (0, 0), (None, None)):
        client = Recording()
        foreign = ForeignCache(client)
        foreign.set("key", 1, timeout)
        foreign.add("other", 1, timeout)
        assert client.timeouts == [whole, whole]


def test_a_negative_part_of_a_second_is_not_for_ever() -> None:
    """It is rounded away from 0."""
    client = Recording()
    ForeignCache(client).add("key", 1, -0.5)
    assert client.timeouts == [-1]


def test_a_client_is_adapted_and_stays_what_users_see(app: Flask) -> None:
    """Its default timeout is used, its ``close`` is called."""
    client = Recording()

    def factory(app: Any, config: Any, args: Any, kwargs: Any) -> Recording:
        return client

    cache = Cache(app, config={"CACHE_TYPE": factory})
    assert cache.cache is client is app.extensions["cache"][cache]
    assert cache.set("key", 1) is True
    assert cache.set_many({"a": 1, "b": 2}) == ["a", "b"]
    assert cache.delete("key") is True
    assert cache.delete_many("a", "nothing") == ["a", "nothing"]
    assert cache.unlink("b") == ["b"]
    assert client.held.get("b") is None
    cache.close()
    cache.close()
    assert client.closed == 2


@pytest.mark.parametrize("answer", [True, None, 2, ["a", "b"]])
def test_a_client_may_say_in_any_way_that_it_deleted(app: Flask, answer: Any) -> None:
    """By a boolean, as Flask-Caching's own once did, a number as for UNLINK, or nothing at all."""

    class Deletes(Recording):
        def delete_many(self, *keys: str) -> Any:
            super().delete_many(*keys)
            return answer

        unlink = delete_many

    client = Deletes()
    cache = Cache(app, config={"CACHE_TYPE": lambda *args: client})
    assert cache.set_many({"a": 1, "b": 2}) == ["a", "b"]
    assert cache.delete_many("a", "b") == ["a", "b"] and cache.get_many("a", "b") == [None, None]
    assert ForeignCache(client).unlink("a", "b") == ["a", "b"]


def test_one_value_that_cannot_be_decoded_does_not_hide_the_others() -> None:
    """Of many that are read at once."""

    class Breaks(Recording):
        def get(self, key: str) -> Any:
            if key == "bad":
                raise ValueError("undecodable")
            return self.held.get(key)

        def get_many(self, *keys: str) -> list[Any]:
            return [self.get(key) for key in keys]

    foreign = ForeignCache(Breaks())
    foreign.set("good", 1)
    assert foreign.get_many("good", "bad", "nothing") == [1, None, None]
    assert foreign.get("bad") is None


def test_a_client_that_is_down_is_not_taken_for_undecodable_values() -> None:
    """Else nobody would ever hear of it."""

    class Down(Recording):
        def get(self, key: str) -> Any:
            raise OSError("refused")

        def get_many(self, *keys: str) -> list[Any]:
            raise OSError("refused")

    for ask in (lambda f: f.get("key"), lambda f: f.get_many("a", "b")):
        with pytest.raises(OSError, match="refused"):
            ask(ForeignCache(Down()))


@pytest.mark.parametrize("make", [cachelib.SimpleCache, lambda: cachelib.FileSystemCache("unused")])
def test_every_operation_of_cachelib_is_reached(
    make: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the adapter, with its own answers."""
    monkeypatch.chdir(tmp_path)
    foreign = ForeignCache(make())
    assert foreign.set("a", 1, 60)
    assert foreign.has("a") is True
    assert foreign.add("a", 2) is False
    assert foreign.add("b", 2) is True
    assert foreign.get_many("a", "b", "c") == [1, 2, None]
    assert (foreign.inc("a"), foreign.dec("a", 2)) == (2, 0)
    assert foreign.delete("b") is True
    assert foreign.has("b") is False
    assert foreign.clear() is True
    assert foreign.get("a") is None
