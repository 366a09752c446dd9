"""``ping()``: whether the backend answers, how fast, and what is wrong if it does not."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends import BaseCache
from support.faces import Face
from support.fault_proxy import FaultProxy
from support.params import table
from support.server_groups import RedisCluster
from support.servers import HOST, MemcachedServer, RedisServer

#: Seconds that opening a connection, and an operation on it, may take together.
BUDGET = 1.5


def face_of(app: Flask, colour: str, kind: str, **settings: Any) -> Face:
    """A cache that raises what fails, so that a ping that does would be noticed."""
    config = {"CACHE_TYPE": kind, "CACHE_ON_ERROR": "raise", "CACHE_BREAKER_THRESHOLD": 2}
    return Face(Cache(app, config=config | settings), colour)


@pytest.mark.asyncio
async def test_each_backend_answers(any_face: Face) -> None:
    """Also one that users wrote with no more than they must; nothing is counted for it."""
    was = any_face.cache.stats()
    found = await any_face.ping()
    assert found
    assert (found.ok, found.error, found.is_open, found.pending) == (True, "", False, 0)
    assert found.backend in type(any_face.cache.cache).__name__ + " ForeignCache"
    assert 0 <= found.seconds < BUDGET
    assert any_face.cache.stats() == was


@pytest.mark.asyncio
async def test_a_server_says_its_version(
    clean_redis: RedisServer, clean_memcached: MemcachedServer, app: Flask, colour: str
) -> None:
    """In either colour, and on a loop that has connections of its own."""
    redis = face_of(app, colour, "RedisCache", CACHE_REDIS_URL=clean_redis.url)
    address = f"{HOST}:{clean_memcached.port}"
    memcached = face_of(app, colour, "MemcachedCache", CACHE_MEMCACHED_SERVERS=[address])
    for face, where in ((redis, str(clean_redis.port)), (memcached, address)):
        for found in (await face.ping(), await native(face)):
            assert found.ok
            assert found.version[0].isdigit()
            assert where in found.where
    assert clean_redis.ask("DBSIZE") == 0


async def native(face: Face) -> Any:
    """A ping over connections of the running loop."""
    async with face.cache as cache:
        return await cache.aping()


@pytest.fixture
def proxy(clean_redis: RedisServer) -> Iterator[FaultProxy]:
    """A proxy before an empty Redis."""
    proxy = FaultProxy(clean_redis.port).start()
    yield proxy
    proxy.stop()


@pytest.mark.asyncio
async def test_a_server_that_is_gone_or_silent_is_told_in_time(
    proxy: FaultProxy, app: Flask, colour: str
) -> None:
    """Nothing is raised, no breaker opens, and no error is counted; then it answers again."""
    url = f"redis://:sesame@{HOST}:{proxy.port}/0"
    face = face_of(app, colour, "RedisCache", CACHE_REDIS_URL=url, CACHE_OPERATION_TIMEOUT=0.1)
    binding = face.cache._binding()
    for fault in ("refuse", "silence"):
        getattr(proxy, fault)()
        for _ in range(3):
            began = time.monotonic()
            found = await face.ping()
            assert not found
            assert time.monotonic() - began < BUDGET
            assert found.error
            assert "sesame" not in found.error + found.where
            assert not found.is_open
    assert binding.ledger.backend().errors == 0


@pytest.mark.asyncio
async def test_a_ping_goes_past_the_breaker_and_leaves_it_as_it_is(
    clean_redis: RedisServer, app: Flask, colour: str
) -> None:
    """An open one stays open, with what is pending, until its own thread has made up for that."""
    face = face_of(
        app, colour, "RedisCache",
        CACHE_REDIS_URL=clean_redis.url, CACHE_ON_ERROR="log", CACHE_BREAKER_RESET=3600,
    )  # fmt: skip
    clean_redis.kill()
    await face.delete_tags("a")
    for _ in range(2):
        await face.get("key")
    found = await face.ping()
    assert (found.ok, found.is_open, found.pending) == (False, True, 1)
    clean_redis.start()
    found = await face.ping()
    assert (found.ok, found.is_open, found.pending) == (True, True, 1)


@pytest.mark.asyncio
async def test_a_user_of_redis_who_may_not_ask_for_its_version_is_answered(
    clean_redis: RedisServer, app: Flask, colour: str
) -> None:
    """By a read instead; a wrong password is told."""
    clean_redis.ask("ACL", "SETUSER", "small", "on", ">word", "~*", "+@all", "-info")
    try:
        for word, ok in (("word", True), ("wrong", False)):
            url = f"redis://small:{word}@{HOST}:{clean_redis.port}/0"
            found = await face_of(app, colour, "RedisCache", CACHE_REDIS_URL=url).ping()
            assert (found.ok, found.version) == (ok, "")
            assert "wrong" not in found.error.replace("WRONGPASS", "").replace("wrong ", "")
    finally:
        clean_redis.ask("ACL", "DELUSER", "small")


@pytest.mark.asyncio
async def test_one_of_several_servers_that_is_down_is_named(
    clean_two_memcached: tuple[MemcachedServer, MemcachedServer], app: Flask, colour: str
) -> None:
    """All of them are asked."""
    names = [f"{HOST}:{server.port}" for server in clean_two_memcached]
    settings: Any = {"CACHE_MEMCACHED_SERVERS": names, "CACHE_OPERATION_TIMEOUT": 0.1}
    face = face_of(app, colour, "MemcachedCache", **settings)
    assert (await face.ping()).ok
    clean_two_memcached[1].pause()
    try:
        for found in (await face.ping(), await native(face)):
            assert not found
            assert names[1] in found.error
            assert names[0] not in found.error
    finally:
        clean_two_memcached[1].resume()


@pytest.mark.asyncio
async def test_the_masters_of_a_cluster_are_asked(
    clean_cluster: RedisCluster, app: Flask, colour: str
) -> None:
    """Each of them, in either colour."""
    face = face_of(app, colour, "RedisClusterCache", CACHE_REDIS_URL=clean_cluster.url)
    for found in (await face.ping(), await native(face)):
        assert found.ok, found.error
        assert found.version[0].isdigit()


@pytest.mark.asyncio
async def test_a_folder_is_written_to_and_nothing_stays(
    tmp_path: Path, app: Flask, colour: str
) -> None:
    """One that is gone is made anew by the next write; a file in its place is told."""
    folder = tmp_path / "cache"
    face = face_of(app, colour, "FileSystemCache", CACHE_DIR=str(folder))
    before = sorted(folder.rglob("*"))
    found = await face.ping()
    assert (found.ok, found.where) == (True, str(folder))
    assert sorted(folder.rglob("*")) == before
    shutil.rmtree(folder)
    assert (await face.ping()).ok
    assert not folder.exists()
    folder.write_text("not a folder")
    found = await face.ping()
    assert not found
    assert os.path.basename(folder) in found.error


class Own(BaseCache):
    """A backend of a user's, with a way of its own to be asked."""

    answer: Any = "7.1"

    def get(self, key: str) -> Any:
        return None

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        return True

    def delete(self, key: str) -> bool:
        return False

    def ping(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


ANSWERS: list[tuple[Any, bool, str, str]] = [
    ("7.1", True, "7.1", ""),
    (None, True, "", ""),
    (False, False, "", "it says that it does not work"),
    (OSError("no way"), False, "", "OSError: no way"),
]


@table("answer,ok,version,error", ANSWERS)
def test_a_backend_of_a_users_may_have_its_own_way(
    answer: Any, ok: bool, version: str, error: str
) -> None:
    """It returns a version, or anything but ``False``, or raises; both halves ask it."""
    backend = Own()
    backend.answer = answer
    cache = Cache(Flask("site"), config={"CACHE_TYPE": lambda *_: backend})
    for found in (cache.ping(), asyncio.run(cache.aping())):
        assert (found.ok, found.version, found.error) == (ok, version, error)


@pytest.mark.asyncio
async def test_the_loop_goes_on_while_a_server_is_silent(proxy: FaultProxy, app: Flask) -> None:
    """The awaitable half blocks no loop, and can be cancelled."""
    url = f"redis://{HOST}:{proxy.port}/0"
    face = face_of(app, "async", "RedisCache", CACHE_REDIS_URL=url, CACHE_OPERATION_TIMEOUT=30)
    async with face.cache as cache:
        proxy.silence()
        task = asyncio.ensure_future(cache.aping())
        for _ in range(20):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.heal()
        assert (await cache.aping()).ok
