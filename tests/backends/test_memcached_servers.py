"""Several Memcacheds: one that is down costs its own keys, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_asyncio
from flask import Flask

from flask_caching_async import BackendError, Cache
from support.faces import Face
from support.fault_proxy import FaultProxy
from support.lanes import CAREFUL, Enter
from support.servers import HOST, MemcachedServer
from support.waiting import auntil

KEYS = [f"key {number}" for number in range(40)]


class Site:
    """A cache on two servers, one of which is behind a proxy that breaks it."""

    def __init__(self, face: Face, proxy: FaultProxy) -> None:
        self.face, self.proxy = face, proxy
        self.calls: list[str] = []
        self.function = face.memoize(60, tags=["all"])(self._body)

    def __repr__(self) -> str:
        return type(self).__name__  # what tells its bound methods apart

    def _body(self, key: str) -> str:
        self.calls.append(key)
        return f"the value of {key}"

    def on(self, number: int) -> list[str]:
        """The arguments whose results are on a server: 0 is the one behind the proxy."""
        backend: Any = self.face.cache.cache
        key = self.function.make_cache_key
        return [k for k in KEYS if backend.shard_of(key(self.function.uncached, k)) == number]

    async def computed(self) -> set[str]:
        """Call the function with all arguments; those that were computed."""
        self.calls.clear()
        for key in KEYS:
            assert await self.face.call(self.function, key) == f"the value of {key}"
        return set(self.calls)

    @property
    def open_breakers(self) -> list[bool]:
        """Of each server, whether it is left alone."""
        store: Any = self.face.cache._binding().engine.store
        return [shard.failures.breaker.is_open for shard in store._stores]


@pytest.fixture
def proxy(clean_memcached: MemcachedServer) -> Iterator[FaultProxy]:
    """A proxy before an empty Memcached."""
    with FaultProxy(clean_memcached.port) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def site(proxy: FaultProxy, clean_second_memcached: MemcachedServer, enter: Enter) -> Site:
    """In every lane."""
    where = [f"{HOST}:{proxy.port}", f"{HOST}:{clean_second_memcached.port}"]
    common = {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": where}
    config = {**CAREFUL, **common, "CACHE_ON_ERROR": "log", "CACHE_BREAKER_RESET": 0.05}
    site = Site(await enter(Cache(Flask("site"), config=config)), proxy)
    assert site.on(0) and site.on(1)
    return site


@pytest.mark.asyncio
async def test_one_that_is_down_costs_its_own_keys(site: Site) -> None:
    """What is on the other one is found, without a failure; afterwards all is as before."""
    assert await site.computed() == set(KEYS)
    assert await site.computed() == set()
    site.proxy.refuse()
    for _ in range(3):
        assert await site.computed() == set(site.on(0))
    assert site.open_breakers == [True, False]
    site.proxy.heal()
    await auntil(lambda: not any(site.open_breakers))
    assert await site.computed() == set(), "keys find the same server as before"


@pytest.mark.asyncio
async def test_what_is_set_by_hand_is_shared_out_alike(site: Site) -> None:
    """Each operation on many keys does for those of the living server what it can."""
    face, backend = site.face, site.face.cache.cache
    here = [key for key in KEYS if backend.shard_of(key) == 1]
    gone = [key for key in KEYS if key not in here]
    assert await face.set_many(dict.fromkeys(KEYS, "old"), tags=["t"]) == KEYS
    site.proxy.refuse()
    assert await face.get_many(*KEYS) == ["old" if key in here else None for key in KEYS]
    assert await face.set_many(dict.fromkeys(KEYS, "new")) == here
    assert not await face.delete_many(*here[:3]), "pages of these keys may have variants there"
    assert await face.inc("counter") in (1, None) and not await face.delete(gone[0])
    site.proxy.heal()
    await auntil(lambda: not any(site.open_breakers))
    assert await face.get_many(*here) == [None] * 3 + ["new"] * (len(here) - 3)
    assert await face.get_many(*gone) == [None] * len(gone), "it was not what was set last"


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["tag", "function", "clear"])
async def test_a_deletion_is_made_on_the_living_at_once_and_on_the_other_later(
    site: Site, how: str
) -> None:
    """Nothing is read from the one that missed it before it is made there, too."""
    face = site.face
    await site.computed()
    site.proxy.refuse()
    deletions = {
        "tag": lambda: face.delete_tags("all"),
        "function": lambda: face.delete_memoized(site.function),
        "clear": lambda: face.clear(),
    }
    assert await deletions[how]() is False
    assert await site.computed() == set(KEYS)
    assert await site.computed() == set(site.on(0))
    site.proxy.heal()
    await auntil(lambda: not any(site.open_breakers))
    assert await site.computed() == set(site.on(0)), "what was stored there before is gone"
    assert await site.computed() == set()


@pytest.mark.asyncio
async def test_an_error_of_one_is_raised_after_the_others_were_served(site: Site) -> None:
    """With ``CACHE_ON_ERROR="raise"`` a deletion fails, and is made wherever it can be."""
    await site.computed()
    store: Any = site.face.cache._binding().engine.store
    for shard in store._stores:
        shard.failures.raising = lambda: True
    site.proxy.refuse()
    with pytest.raises(BackendError):
        await site.face.delete_tags("all")
    for shard in store._stores:
        shard.failures.raising = lambda: False
    assert await site.computed() == set(KEYS)


@pytest.mark.asyncio
async def test_one_that_restarts_empty_costs_its_own_keys_once(
    site: Site, clean_memcached: MemcachedServer, clean_second_memcached: MemcachedServer
) -> None:
    """The versions on which the entries of the other one depend are there, as those entries are."""
    await site.computed()
    clean_second_memcached.restart()
    assert await site.face.get(site.on(1)[0]) is None, "its connection was closed"
    assert await site.computed() == set(site.on(1))
    assert await site.computed() == set()


def test_a_cancelled_deletion_is_made_on_all_servers(
    proxy: FaultProxy, clean_second_memcached: MemcachedServer
) -> None:
    """On a loop that owns connections: what had not begun is made before anything is read."""
    where = [f"{HOST}:{proxy.port}", f"{HOST}:{clean_second_memcached.port}"]
    config = {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": where}
    cache = Cache(Flask("site"), config={**CAREFUL, **config, "CACHE_ON_ERROR": "log"})

    async def story(deletion: Any) -> None:
        async with cache:
            await cache.aset_many(dict.fromkeys(KEYS, "old"), tags=["t"])
            proxy.delay(0.3)
            task = asyncio.create_task(deletion())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            proxy.heal()
            assert await cache.aget_many(*KEYS) == [None] * len(KEYS)

    for deletion in (
        lambda: cache.adelete_tags("t"),
        lambda: cache.aclear(),
        lambda: cache.adelete_many(*KEYS),
    ):
        asyncio.run(story(deletion))
