"""A server that is full evicts what it likes, also the version that a deletion has left."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends._memcached.values import own_name
from flask_caching_async.backends._versioned.contract import KEY_VERSION
from support.backends import ON_SERVERS, ServerBackend
from support.faces import COLOURS
from support.params import cases
from support.stages import Body, Stage, story


@pytest.fixture(params=ON_SERVERS)
def server(request: pytest.FixtureRequest) -> ServerBackend:
    """Either server, empty."""
    return ServerBackend(request.param, request.getfixturevalue)


@pytest.fixture
def stage(server: ServerBackend, colour: str) -> Iterator[Stage]:
    """A cache on it, in both colours."""
    cache = Cache(Flask(__name__), config=server.config)
    yield Stage(cache, colour)
    cache.close()


def evict_version(server: ServerBackend, stage: Stage, key: str) -> bool:
    """Evict the version of a key; whether there was one."""
    ours: Any = stage.cache.cache
    prefix = ours._prefix()
    if server.is_redis:
        return bool(server.server.ask("DEL", ours._beside(prefix, KEY_VERSION, key)))
    answer = server.server.ask(f"delete {own_name(prefix, KEY_VERSION + key)}")
    return bool(answer == "DELETED")


@cases(
    "before,change",
    itertools.product(["nothing", "a value that is over", "a deletion"], ["delete", "set"]),
    ways=("server,colour", itertools.product(ON_SERVERS, COLOURS)),
    whole=[f"{kind}-sync" for kind in ON_SERVERS],  # it is the server that decides
)
@story
async def test_what_began_before_a_deletion_is_not_stored_after_it(
    server: ServerBackend, stage: Stage, before: str, change: str
) -> None:
    """Though the version that the deletion left, or the value, was evicted while it ran."""
    body = Body(stage, 1 if before == "nothing" else 2)
    f = stage.memoize(0 if before != "a value that is over" else 0.001)(body.function())
    key = f.make_cache_key(f.uncached)
    if before != "nothing":
        await stage.call(f)
        await stage.pause(0.002)
    if before == "a deletion":
        await stage.delete(key)
        evict_version(server, stage, key)
    slow = stage.start(f)
    await body.entered(body.held[0])
    await (stage.delete(key) if change == "delete" else stage.set(key, "by hand"))
    if change == "set":
        await stage.delete(key)
    assert evict_version(server, stage, key)
    body.go.set()
    assert await slow.result() == body.calls
    assert await stage.get(key) is None
    assert await stage.call(f) == body.calls


@story
async def test_nothing_is_left_of_a_computation_that_was_not_disturbed(
    server: ServerBackend, stage: Stage
) -> None:
    """Each key that a visitor makes up costs its own entry, and no version of its key."""

    async def body(n: int) -> int:
        return n

    f = stage.memoize(60)(body)
    for n in range(3):
        await stage.call(f, n)
        assert await stage.call(f, n) == n
    assert stage.cache.stats().hits == 3
    if server.is_redis:
        assert not [name for name in server.server.ask("KEYS", "*") if "mark" in name]


@story
async def test_a_value_is_not_stored_where_a_change_may_have_been_evicted(
    server: ServerBackend, stage: Stage
) -> None:
    """Nothing else can be known; its caller gets it, and the next one computes."""
    body = Body(stage, 1)
    f = stage.memoize(60)(body.function())
    key = f.make_cache_key(f.uncached)
    slow = stage.start(f)
    await body.entered()
    assert evict_version(server, stage, key)
    body.go.set()
    assert await slow.result() == 1
    assert await stage.call(f) == 2 == await stage.call(f)
