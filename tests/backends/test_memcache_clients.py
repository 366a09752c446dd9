"""Memcached through a client that its user has made."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import aiomcache
import pytest
from flask import Flask
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient

from flask_caching_async import Cache
from flask_caching_async.backends.memcache import MemcachedCache
from flask_caching_async.exceptions import ConfigurationError, SerializationError
from support.faces import COLOURS, Face
from support.lanes import CAREFUL, use_everything
from support.servers import HOST, MemcachedServer
from support.waiting import together


def cache_with(kind: str, servers: Any, **config: Any) -> Cache:
    """A cache on servers, or over a client."""
    common = {"CACHE_TYPE": kind, "CACHE_MEMCACHED_SERVERS": servers}
    return Cache(Flask("site"), config={**CAREFUL, **common, **config})


@pytest.fixture
def server(clean_memcached: MemcachedServer) -> MemcachedServer:
    """An empty server."""
    return clean_memcached


@pytest.fixture
def where(server: MemcachedServer) -> list[str]:
    """Its address."""
    return [f"{HOST}:{server.port}"]


async def as_good_as_servers(ready: Any) -> None:
    """Use a client that was given instead of servers, in every way."""
    cache = cache_with("MemcachedCache", ready)
    assert isinstance(cache.cache, MemcachedCache) and cache.cache._client is ready
    for colour in COLOURS:
        await use_everything(Face(cache, colour))
        assert cache.clear()
    async with cache:
        assert not cache.cache.native_here()
        await use_everything(Face(cache, "async"))
    keys = [str(number) for number in range(8)]
    stored = together(*[lambda key=key: cache.set(key, key) and cache.get(key) for key in keys])
    assert stored == keys
    cache.close()
    if hasattr(ready, "close"):
        ready.set("still", b"open")
        assert ready.get("still") == b"open"


class ReadyClients:
    """What is promised of clients of any package that are given instead of servers."""

    #: By name, what makes a client for the server on a port.
    clients: ClassVar[dict[str, Callable[[int], Any]]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test with each client."""
        metafunc.parametrize("kind", self.clients)

    @pytest.fixture
    def ready(self, kind: str, server: MemcachedServer) -> Iterator[Any]:
        """A client."""
        made = self.clients[kind](server.port)
        yield made
        if hasattr(made, "close"):
            made.close()

    @pytest.mark.asyncio
    async def test_a_ready_client_is_as_good_as_servers(self, ready: Any) -> None:
        """It is used by one thread at a time, and its owner closes it."""
        await as_good_as_servers(ready)

    def test_a_ready_client_and_servers_see_the_same_values(
        self, ready: Any, where: list[str]
    ) -> None:
        """Both store values in the same form, and clear the same namespace."""
        one, two = cache_with("MemcachedCache", ready), cache_with("MemcachedCache", where)
        for a, b in ((one, two), (two, one)):
            assert a.set("k", ["v"], 60) and b.get("k") == ["v"] and b.inc("n") == 1
            assert a.get("n") == 1 and b.clear() and a.get_many("k", "n") == [None, None]
        two.close()

    def test_a_value_with_tags_is_counted_by_a_ready_client(self, ready: Any) -> None:
        """It keeps its tags, and begins anew once they were deleted, as with servers."""
        cache = cache_with("MemcachedCache", ready)
        assert cache.set("n", 1, 60, tags=["t"])
        assert (cache.inc("n"), cache.dec("n", 5), cache.get("n")) == (2, -3, -3)
        assert cache.delete_tags("t") and cache.inc("n") == 1
        cache.set("text", "x")
        with pytest.raises(SerializationError, match="cannot count 'text'"):
            cache.inc("text")

    def test_what_is_too_large_for_a_ready_client_is_not_stored(
        self, ready: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """False and a line in the log, as with servers."""
        cache = cache_with("MemcachedCache", ready)
        with caplog.at_level(logging.WARNING):
            assert cache.set_many({"a": os.urandom(1_100_000), "b": 1}) == ["b"]
            assert cache.add("c", os.urandom(1_100_000)) is False
        assert [line for line in caplog.messages if "'a' is too large" in line]
        assert cache.get_many("a", "b", "c") == [None, 1, None]


class TestReadyClients(ReadyClients):
    """Those of pymemcache."""

    clients: ClassVar[dict[str, Callable[[int], Any]]] = {
        "pymemcache": lambda port: Client((HOST, port)),
        "pymemcache pooled": lambda port: PooledClient((HOST, port), max_pool_size=2),
        "pymemcache hash": lambda port: HashClient([(HOST, port)], use_pooling=True),
    }


class Plain:
    """No more than most clients have in common; its values are lost if two threads call at once."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.busy = threading.Lock()

    @contextmanager
    def alone(self) -> Iterator[dict[str, bytes]]:
        assert self.busy.acquire(blocking=False), "two threads called at once"
        try:
            time.sleep(0)
            yield self.held
        finally:
            self.busy.release()

    def get(self, key: str) -> Any:
        with self.alone() as held:
            return held.get(key)

    def set(self, key: str, value: bytes, time: int = 0) -> bool:
        with self.alone() as held:
            held[key] = value
        return True

    def add(self, key: str, value: bytes, time: int = 0) -> bool:
        with self.alone() as held:
            return held.setdefault(key, value) is value

    def delete(self, key: str) -> bool:
        with self.alone() as held:
            return held.pop(key, None) is not None


@pytest.mark.asyncio
async def test_four_methods_are_enough() -> None:
    """Of a client of any kind, which is used by one thread at a time."""
    await as_good_as_servers(Plain())


@pytest.mark.parametrize("ready", [7, object(), aiomcache.Client(HOST, 1)], ids=type)
def test_what_is_no_client_for_sync_code_is_refused(ready: Any) -> None:
    """An async one, too: every app has sync code."""
    with pytest.raises(ConfigurationError, match="CACHE_MEMCACHED_SERVERS"):
        cache_with("MemcachedCache", ready)


def test_without_pylibmc_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which package to install."""
    monkeypatch.setitem(sys.modules, "pylibmc", None)
    with pytest.raises(ConfigurationError, match="SASLMemcachedCache needs .*install pylibmc"):
        cache_with("SASLMemcachedCache", None)
