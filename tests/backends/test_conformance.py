"""Every backend of ours, and the kinds that users write, keep what the public kit checks.

What a backend cannot do is said here by the kit's attributes, one line each, and is not asked.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cachelib
import pytest

from flask_caching_async.backends import BaseCache, FileSystemCache, SimpleCache
from flask_caching_async.backends.foreign import ForeignCache
from flask_caching_async.backends.memcache import MemcachedCache
from flask_caching_async.backends.rediscache import RedisCache
from flask_caching_async.backends.rediscluster import RedisClusterCache
from flask_caching_async.backends.redissentinel import RedisSentinelCache
from flask_caching_async.serializers import JSONSerializer
from support.backends import AsyncOnly, SyncOnly
from support.conformance import Conformance, Crowds, PlainOperations, ValuesAndKeys
from support.server_groups import RedisCluster, RedisReplicaSet
from support.servers import MemcachedServer, RedisServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_backend.py"

#: No backend here has a threshold that a check could reach.
PLENTY = 10_000

#: A busy machine is no dead server.
PATIENT: dict[str, Any] = {"connect_timeout": 20, "operation_timeout": 20}


# --- embedded -------------------------------------------------------------------------------------


class TestSimpleCache(Conformance):
    """The memory of this process."""

    leases = False

    @pytest.fixture
    def backend(self) -> BaseCache:
        return SimpleCache(threshold=PLENTY)


class TestSimpleCacheWithJSON(Conformance):
    """The same, with a serializer that knows plain data only, which is asked for values alone."""

    leases = False
    parts = (PlainOperations, ValuesAndKeys)
    values = Conformance.plain_values

    @pytest.fixture
    def backend(self) -> BaseCache:
        made = SimpleCache(threshold=PLENTY)
        made.serializer = JSONSerializer()
        return made


class TestFileSystemCache(Conformance):
    """Files; the lease of a dead process ends at once."""

    lease_life = 0.1

    @pytest.fixture
    def backend(self, tmp_path: Path) -> BaseCache:
        made = FileSystemCache(tmp_path, threshold=PLENTY)
        made._files.patience = 60.0  # for whoever is inside of a section
        return made


# --- foreign --------------------------------------------------------------------------------------


class TestCachelibSimpleCache(Conformance):
    """cachelib's memory."""

    leases = False
    expires_in_real_time = True
    reports_deletions = False  # delete_many does not name what was missing

    @pytest.fixture
    def backend(self) -> BaseCache:
        return ForeignCache(cachelib.SimpleCache(threshold=PLENTY))


class TestCachelibFileSystemCache(Conformance):
    """cachelib's files, through the same adapter."""

    leases = False
    parts = (PlainOperations, ValuesAndKeys)
    expires_in_real_time = True
    reports_deletions = False  # whatever was missing has been deleted

    @pytest.fixture
    def backend(self, tmp_path: Path) -> BaseCache:
        return ForeignCache(cachelib.FileSystemCache(str(tmp_path), threshold=0))


# --- of users -------------------------------------------------------------------------------------


class Sketch(Conformance):
    """What a backend with three methods over a dict cannot do."""

    leases = False
    copies_values = False
    atomic = False


class TestSyncOnly(Sketch):
    """Three sync methods, and a clear."""

    expires = False

    @pytest.fixture
    def backend(self) -> BaseCache:
        return SyncOnly()


class TestAsyncOnly(Sketch):
    """Three awaitable methods."""

    expires = False
    clears = False

    @pytest.fixture
    def backend(self) -> BaseCache:
        return AsyncOnly()


class TestTheSyncExample(Sketch):
    """The documentation's backend in ``def``: what it inherits, those above have, too."""

    parts = (PlainOperations, ValuesAndKeys)
    expires_in_real_time = True
    short_timeout = 0.05
    clears = False
    name = "SyncStore"

    @pytest.fixture
    def backend(self) -> BaseCache:
        return runpy.run_path(str(EXAMPLE))[self.name]()


class TestTheAsyncExample(TestTheSyncExample):
    """The documentation's backend in ``async def``."""

    name = "AsyncStore"


# --- Redis ----------------------------------------------------------------------------------------


class OnRedis(Conformance):
    """Redis tells the time itself, to the millisecond."""

    expires_in_real_time = True
    short_timeout = 0.1
    lease_life = 6


class TestRedisCache(OnRedis):
    """One server, shared with other prefixes."""

    @pytest.fixture
    def backend(self, redis_server: RedisServer) -> BaseCache:
        where = {"host": "127.0.0.1", "port": redis_server.port}
        return RedisCache(**where, key_prefix="conformance*[a]:", **PATIENT)


class TestRedisSentinelCache(OnRedis):
    """The master that a sentinel names: it is a ``RedisCache`` with other connections."""

    parts = (PlainOperations, Crowds)

    @pytest.fixture
    def backend(self, replica_set: RedisReplicaSet) -> BaseCache:
        where = {"sentinels": [("127.0.0.1", replica_set.sentinel.port)]}
        return RedisSentinelCache(**where, key_prefix="s:", **PATIENT)


class TestRedisClusterCache(OnRedis):
    """Three masters."""

    @pytest.fixture
    def backend(self, redis_cluster: RedisCluster) -> BaseCache:
        nodes = ",".join(f"127.0.0.1:{node.port}" for node in redis_cluster.nodes)
        return RedisClusterCache(nodes, key_prefix="c:", **PATIENT)


# --- Memcached ------------------------------------------------------------------------------------


class TestMemcachedCache(Conformance):
    """Two servers; values end by our clock, leases by the server's, which ticks once a second."""

    lease_life = 1

    @pytest.fixture
    def backend(self, two_memcached: tuple[MemcachedServer, MemcachedServer]) -> BaseCache:
        where = [f"127.0.0.1:{server.port}" for server in two_memcached]
        return MemcachedCache(where, key_prefix="m:", **PATIENT)


class TestMemcachedCacheOverAClient(Conformance):
    """A client of pymemcache, which is not ours."""

    leases = False

    @pytest.fixture
    def backend(self, memcached_server: MemcachedServer) -> Iterator[BaseCache]:
        from pymemcache.client.base import Client

        client = Client(("127.0.0.1", memcached_server.port))
        yield MemcachedCache(client, key_prefix="client:", **PATIENT)
        client.close()
