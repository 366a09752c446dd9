"""What values depend on lives as long as they do, and not much longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends._versioned.defaults import VERSION_LIFE
from flask_caching_async.testing import FakeClock
from support.backends import SHARED, config_of_ours
from support.stages import Body, Stage, story

MONTHS = 3 * VERSION_LIFE


@pytest.fixture
def stage(tmp_path: Path, colour: str, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """On files, whose clock can be moved, or on another backend, in both colours."""
    kind = getattr(request, "param", "FileSystemCache")
    config = config_of_ours(kind, tmp_path, request.getfixturevalue)
    cache = Cache(Flask(__name__), config=config)
    yield Stage(cache, colour)
    cache.close()


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": 2 * MONTHS}], ids=str)
@story
async def test_what_never_expires_does_not_end_with_what_was_stored_before_it(
    stage: Stage, options: Any
) -> None:
    """A function with the same tag, and a short timeout, was called first."""
    clock = FakeClock()
    clock.install(stage.cache)
    short = stage.memoize(timeout=300, tags=["tag"])(Body(stage).function("short"))
    long = stage.memoize(**options, tags=["tag"])(Body(stage).function("long"))
    assert await stage.call(short) == 1
    assert await stage.call(long) == 1
    clock.advance(MONTHS)
    assert await stage.call(long) == 1
    await stage.delete_tags("tag")
    assert await stage.call(long) == 2


@story
async def test_one_function_may_store_for_longer_than_before(stage: Stage) -> None:
    """Its own tag lives on, too: its timeout was written after the first call."""
    clock = FakeClock()
    clock.install(stage.cache)
    f = stage.memoize(timeout=300)(Body(stage).function())
    assert await stage.call(f, 1) == 1
    f.cache_timeout = 0
    assert await stage.call(f, 2) == 2
    clock.advance(MONTHS)
    assert await stage.call(f, 2) == 2
    await stage.delete_memoized(f)
    assert await stage.call(f, 2) == 3


@pytest.mark.parametrize("backend", SHARED)
def test_versions_live_as_long_as_they_are_needed(
    tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    """The namespace's for ever; that of a tag is made to live on, and keeps its token."""
    config = config_of_ours(backend, tmp_path, request.getfixturevalue)
    cache = Cache(Flask(__name__), config=config)
    ours: Any = cache._binding().engine.store.backend
    first = ours.ensure_versions(["~stamp~", "tag", "other"], 100)
    assert ours.ensure_versions(["tag"], 0) == first[1:2]
    assert ours.ensure_versions(["~stamp~", "tag", "other"], 100) == first
    if backend == "FileSystemCache":
        clock = FakeClock()
        clock.install(cache)
        clock.advance(MONTHS * 100)
        again = ours.ensure_versions(["~stamp~", "tag", "other"], 100)
        assert [a == b for a, b in zip(again, first, strict=True)] == [True, True, False]
    elif backend == "RedisCache":
        server = request.getfixturevalue("redis_server")
        lives = [server.ask("PTTL", ours._prefix() + tag) for tag in ("~stamp~", "tag", "other")]
        assert [int(life) == -1 for life in lives] == [True, True, False]
    cache.close()


@pytest.mark.parametrize("stage", ["RedisCache"], indirect=True)
@story
async def test_versions_end_soon_after_what_needs_them(stage: Stage, redis_server: Any) -> None:
    """Each path that a visitor makes up has one; only that of the namespace never ends."""
    short, long, ever = (
        stage.memoize(timeout, tags=["tag"])(Body(stage).function(str(timeout)))
        for timeout in (1, 86_400, 0)
    )

    def lives() -> tuple[set[int], int]:
        names = [name for name in redis_server.ask("KEYS", "*") if "~stamp~" not in name]
        found = {name: int(redis_server.ask("PTTL", name)) for name in names}
        return {life for name, life in found.items() if "~t:tag" in name}, max(found.values())

    await stage.call(short)
    ((tag,), most) = lives()
    assert 0 < tag <= most <= 3_600_000
    await stage.call(long)
    ((tag,), most) = lives()
    assert 86_400_000 < tag <= most <= 2 * 86_400_000
    await stage.call(short, 2)
    assert lives()[0].pop() > 86_400_000
    await stage.call(ever)
    assert lives()[0] == {-1}
    assert await stage.call(long) == 1
    await stage.delete_tags("tag")
    assert await stage.call(long) == 2
