"""Fixtures with real servers: Redis in every arrangement, Memcached, a proxy that breaks things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.fault_proxy import FaultProxy
from support.server_groups import RedisCluster, RedisReplicaSet
from support.servers import MemcachedServer, RedisServer, ServerError


def _lasting(make: Callable[[], Any], text: str) -> Any:
    """A fixture that starts something once per session, when it is needed first."""

    def start() -> Iterator[Any]:
        try:
            made = make().start()
        except ServerError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        yield made
        made.stop()

    start.__doc__ = text
    return pytest.fixture(scope="session")(start)


def _clean(name: str) -> Any:
    """A fixture that gives the same thing to each test as if it were new."""

    def restore(request: pytest.FixtureRequest) -> Any:
        return request.getfixturevalue(name).restore()

    restore.__doc__ = f"``{name}``, restored and empty."
    return pytest.fixture(restore)


redis_server = _lasting(RedisServer, "A Redis.")
memcached_server = _lasting(MemcachedServer, "A Memcached.")
second_memcached_server = _lasting(MemcachedServer, "Another Memcached.")
replica_set = _lasting(RedisReplicaSet, "A Redis master, its replica and a sentinel.")
redis_cluster = _lasting(RedisCluster, "A Redis Cluster of three masters.")

clean_memcached = _clean("memcached_server")
clean_second_memcached = _clean("second_memcached_server")
clean_replica_set = _clean("replica_set")
clean_cluster = _clean("redis_cluster")


@pytest.fixture
def clean_redis(redis_server: RedisServer) -> RedisServer:
    """``redis_server``, restored and empty, without the connections of whoever came before."""
    server = redis_server.restore()
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    return server


@pytest.fixture(scope="session")
def two_memcached(
    memcached_server: MemcachedServer, second_memcached_server: MemcachedServer
) -> tuple[MemcachedServer, MemcachedServer]:
    """Two Memcacheds."""
    return memcached_server, second_memcached_server


@pytest.fixture
def clean_two_memcached(
    clean_memcached: MemcachedServer, clean_second_memcached: MemcachedServer
) -> tuple[MemcachedServer, MemcachedServer]:
    """``two_memcached``, restored and empty."""
    return clean_memcached, clean_second_memcached


@pytest.fixture
def redis_port(clean_redis: RedisServer) -> int:
    """The port of an empty Redis."""
    return clean_redis.port


@pytest.fixture
def memcached_port(clean_memcached: MemcachedServer) -> int:
    """The port of an empty Memcached."""
    return clean_memcached.port


@pytest.fixture
def memcached_ports(clean_two_memcached: tuple[MemcachedServer, MemcachedServer]) -> list[int]:
    """The ports of two empty Memcacheds."""
    return [server.port for server in clean_two_memcached]


@pytest.fixture
def redis_proxy(redis_port: int) -> Iterator[FaultProxy]:
    """A proxy before an empty Redis."""
    with FaultProxy(redis_port) as proxy:
        yield proxy


@pytest.fixture
def memcached_proxy(memcached_port: int) -> Iterator[FaultProxy]:
    """A proxy before an empty Memcached."""
    with FaultProxy(memcached_port) as proxy:
        yield proxy
