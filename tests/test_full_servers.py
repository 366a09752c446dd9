"""A server or a disk that is full: reads go on, deletions are made, a write is not stored."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends._files.directory import Directory
from support.backends import ServerBackend, config_for
from support.faces import Face


class Full:
    """A cache on something that can be full.

    :param fill: lets it be full, or not any more.
    """

    def __init__(self, face: Face, fill: Any) -> None:
        self.face, self.fill = face, fill
        self.calls = 0
        self.function = face.memoize(60)(self._body)

    def __repr__(self) -> str:
        return type(self).__name__  # what tells its bound methods apart

    def _body(self, n: int) -> int:
        self.calls += 1
        return self.calls

    async def is_hit(self, n: int) -> bool:
        """Whether a call is answered by the cache."""
        before = self.calls
        await self.face.call(self.function, n)
        return self.calls == before


@pytest.fixture
def redis_that_fills(app: Flask, clean_redis: Any, colour: str, request: Any) -> Iterator[Full]:
    """A Redis that evicts nothing."""
    config = ServerBackend("RedisCache", request.getfixturevalue).config
    cache = Cache(app, config={**config, "CACHE_ON_ERROR": "log"})

    def fill(full: bool = True) -> None:
        clean_redis.ask("CONFIG", "SET", "maxmemory", int(full))

    yield Full(Face(cache, colour), fill)
    fill(False)
    cache.close()


class SmallDisk:
    """Lets a cache directory have so many bytes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.limit = folder, 1 << 30
        create = Directory._create

        def limited(files: Directory, path: str, data: bytes) -> None:
            if self.used() + len(data) > self.limit:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            create(files, path, data)

        monkeypatch.setattr(Directory, "_create", limited)

    def used(self) -> int:
        """How many bytes there are."""
        return sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file())


@pytest.fixture
def disk_that_fills(
    app: Flask, colour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Full:
    """A cache directory on a small disk."""
    config = {**config_for("FileSystemCache", tmp_path), "CACHE_ON_ERROR": "log"}
    disk = SmallDisk(tmp_path, monkeypatch)

    def fill(full: bool = True) -> None:
        disk.limit = disk.used() if full else 1 << 30

    return Full(Face(Cache(app, config=config), colour), fill)


@pytest.fixture(params=["redis", "disk"])
def full(request: pytest.FixtureRequest, colour: str) -> Full:
    """Either of them."""
    return request.getfixturevalue(f"{request.param}_that_fills")  # type: ignore[no-any-return]


@pytest.mark.asyncio
async def test_clear_gets_a_full_cache_empty(full: Full) -> None:
    """Entries and plain values go, and what is computed then is new."""
    assert not await full.is_hit(1)
    await full.face.set("key", "old")
    full.fill()
    assert await full.face.clear()
    assert await full.face.get("key") is None
    assert not await full.is_hit(1)
    full.fill(False)
    assert [await full.is_hit(2) for _ in range(2)] == [False, True]


@pytest.mark.asyncio
async def test_a_deletion_is_made_where_nothing_can_be_stored(full: Full) -> None:
    """Of a key, of a call and of a function; and all else is served as before."""
    for n in range(3):
        assert not await full.is_hit(n)
    await full.face.set_many({"key": "old", "other": "kept"})
    full.fill()
    assert await full.face.delete("key")
    assert await full.face.delete_memoized(full.function, 1)
    assert await full.face.get_many("key", "other") == [None, "kept"]
    assert [await full.is_hit(n) for n in range(3)] == [True, False, True]
    assert await full.face.delete_memoized(full.function)
    assert [await full.is_hit(n) for n in (0, 2)] == [False] * 2


@pytest.mark.asyncio
async def test_a_write_that_a_full_redis_refuses_ends_no_reading(redis_that_fills: Full) -> None:
    """It is not stored, more often than the breaker has patience; the older value is gone."""
    full = redis_that_fills
    assert not await full.is_hit(1)
    await full.face.set_many({"key": "old", "other": "kept"})
    full.fill()
    for _ in range(7):
        assert not await full.face.set("key", "new")
        assert not await full.face.add("more", 1)
        assert await full.face.inc("n") is None
        assert not await full.is_hit(2)
        assert await full.is_hit(1)
    assert await full.face.get_many("key", "other") == [None, "kept"]
    full.fill(False)
    assert await full.face.set("key", "new") and await full.face.get("key") == "new"


@pytest.mark.asyncio
async def test_a_computation_that_a_deletion_on_a_full_redis_has_overtaken_is_not_stored(
    redis_that_fills: Full,
) -> None:
    """It ends when there is room again; its key had no entry that could tell."""
    full = redis_that_fills
    face = full.face

    def body() -> int:
        full.calls += 1
        if full.calls == 1:
            full.fill()
            assert not face.cache.delete("view")  # there was nothing
            full.fill(False)
        return full.calls

    function = face.cached(60, key_prefix="view")(body)
    assert await face.call(function) == 1
    assert await face.call(function) == 2


@pytest.mark.asyncio
async def test_a_full_disk_makes_room_for_what_is_new(disk_that_fills: Full) -> None:
    """The oldest values go; a value for which there is never room is not stored."""
    full = disk_that_fills
    for number in range(30):
        await full.face.set(f"old {number}", "x" * 500)
    full.fill()
    assert await full.face.set("new", "y" * 400) and await full.face.get("new") == "y" * 400
    assert await full.face.get("old 0") is None and await full.face.get("old 29") == "x" * 500
    for _ in range(7):
        assert not await full.face.set("huge", "z" * 100_000)
        assert await full.face.get("new") == "y" * 400
    assert not await full.is_hit(1) and await full.is_hit(1)
