"""Fixtures: who asks a cache on a server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import settings

from flask_caching_async import Cache
from support.faces import Face
from support.lanes import LANES, Enter

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> str:
    """Who asks."""
    return str(request.param)


@pytest_asyncio.fixture
async def enter(lane: str) -> AsyncIterator[Enter]:
    """Use a cache in a lane, until the end of the test; ``await enter(cache)`` gives its face."""
    entered: list[Cache] = []

    async def enter_cache(cache: Cache) -> Face:
        if lane == "native":
            await cache.__aenter__()
            entered.append(cache)
            assert cache.cache.native_here()
        return Face(cache, "sync" if lane == "sync" else "async")

    yield enter_cache
    for cache in entered:
        await cache.__aexit__(None, None, None)
