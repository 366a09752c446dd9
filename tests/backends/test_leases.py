"""Leases that their leaders lose: none stays taken, is renewed, or keeps something open."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async._runtime.colour import run_now
from flask_caching_async.backends import BaseCache
from flask_caching_async.backends._versioned import leases
from flask_caching_async.backends._versioned.contract import Lease
from flask_caching_async.exceptions import BackendError
from support.backends import ON_SERVERS, ServerBackend, config_for
from support.fault_proxy import FaultProxy
from support.memcached_items import raw
from support.servers import HOST, RedisServer
from support.waiting import auntil, until

KINDS = ("FileSystemCache", *ON_SERVERS)


class Place:
    """An empty backend that has leases, and what of them is left on it.

    :param cache: a cache on it.
    :param connections: how many connections, or locked files, are open.
    """

    def __init__(self, cache: Cache, connections: Callable[[], int]) -> None:
        self.cache, self.connections = cache, connections
        self.backend: BaseCache = cache.cache
        self.store: Any = cache._binding().engine.store
        self.steps: Any = self.store.sync

    def lease(self) -> Any:
        """A lease on ``k``."""
        return self.backend.lease("k@state", 600)

    def acquire(self, lease: Lease) -> tuple[bool, Any]:
        """Try once for a lease, as a leader does in sync code."""
        return run_now(self.steps.acquire_lease(lease, "k", ()))

    def is_free(self) -> bool:
        """Whether another leader gets the lease; it gives it back."""
        other = self.lease()
        taken, _ = self.backend.acquire_lease(other, "k")
        if taken:
            self.backend.release_lease(other)
        return taken


def open_files(folder: Path) -> int:
    """How many files of a folder this process has open."""
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # the one that lists them
            pass
    return sum(name.startswith(str(folder)) for name in names)


def place_of(kind: str, folder: Path, fixture: Callable[[str], Any], **more: Any) -> Place:
    """A backend of a kind."""
    if kind == "FileSystemCache":
        config, count = config_for(kind, folder), lambda: open_files(folder)
    else:
        server = ServerBackend(kind, fixture)
        config, count = server.config, server.connections
    return Place(Cache(Flask("site"), config={**config, **more}), count)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each of them in turn."""
    place = place_of(request.param, tmp_path, request.getfixturevalue)
    yield place
    place.cache.close()


@pytest.fixture(params=ON_SERVERS)
def server_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Those on servers, where a thread renews leases."""
    place = place_of(request.param, tmp_path, request.getfixturevalue)
    until(lambda: place.connections() == 0)  # those of the test before
    yield place
    place.cache.close()


def renewed() -> set[str]:
    """The names of all leases that the thread renews."""
    with leases._renewer._change:
        return {lease.name for lease in leases._renewer._leases}


def is_renewed(lease: Any) -> bool:
    """Whether the thread renews a lease; files need none."""
    return getattr(lease, "name", None) in renewed()


# --- an acquisition that fails half-way -----------------------------------------------------------


def test_a_lease_whose_look_fails_is_given_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken, and then its key could not be read: the next leader gets it at once."""

    async def fail(*args: Any) -> Any:
        raise BackendError("the look fails")

    monkeypatch.setattr(place.steps, "_lookup", fail)
    lease = place.lease()
    taken, lookup = place.acquire(lease)
    assert not taken and lookup.failed
    assert not is_renewed(lease) and place.is_free()


def test_a_lease_that_was_had_before_its_backend_failed_is_let_go(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing renews it, and no file of it stays open."""
    acquire = place.steps.ops.acquire_lease

    class Ops:
        """Operations that fail once they have taken a lease."""

        async def acquire_lease(self, *args: Any) -> Any:
            assert (await acquire(*args))[0]
            raise BackendError("on the way back")

    lease = place.lease()
    with monkeypatch.context() as patch:
        patch.setattr(place.steps, "ops", Ops())
        taken, lookup = place.acquire(lease)
    assert not taken and lookup.failed
    assert not is_renewed(lease)
    if not hasattr(lease, "name"):
        assert place.connections() == 0 and place.is_free()


def test_a_lease_is_given_back_where_another_replays_a_pending_deletion(place: Place) -> None:
    """No look is made meanwhile: the lease is not kept for it."""
    acquire, pending = place.steps.ops.acquire_lease, place.steps.pending

    class Ops:
        """Operations during which another thread begins to make up for a deletion."""

        async def acquire_lease(self, *args: Any) -> Any:
            found = await acquire(*args)
            pending.add(["x"])
            assert pending.replaying.acquire(blocking=False)
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(ops, name)

    ops, lease = place.steps.ops, place.lease()
    place.steps.ops = Ops()
    taken, lookup = place.acquire(lease)
    assert not taken and lookup.failed
    assert not is_renewed(lease) and place.is_free()


def test_a_lease_is_let_go_while_the_backend_is_left_alone(place: Place) -> None:
    """Nothing is sent to it, and nothing goes on renewing; a file is unlocked all the same."""
    lease = place.lease()
    assert place.acquire(lease)[0]
    place.steps.breaker.is_open = True
    run_now(place.steps.release_lease(lease, True))
    assert not is_renewed(lease)
    if not hasattr(lease, "name"):
        assert place.connections() == 0 and place.is_free()


def test_a_lease_that_its_leader_loses_is_not_renewed(place: Place) -> None:
    """Whatever has happened to it; a file of it is closed."""
    lease = place.lease()
    assert place.acquire(lease)[0]
    gone, name = weakref.ref(lease), getattr(lease, "name", None)
    del lease
    gc.collect()
    assert gone() is None and name not in renewed()
    if name is None:
        assert place.connections() == 0 and place.is_free()


# --- cancelled ------------------------------------------------------------------------------------


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("kind", ON_SERVERS)
def test_a_call_that_is_cancelled_before_it_hears_of_its_lease_gives_it_back(
    kind: str, native: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The server has given it, and the answer is on its way: others need not wait for its end."""
    server = ServerBackend(kind, request.getfixturevalue).server
    is_redis = kind == "RedisCache"
    with FaultProxy(
        request.getfixturevalue(f"{'redis' if is_redis else 'memcached'}_port")
    ) as proxy:
        where: dict[str, Any] = {"CACHE_MEMCACHED_SERVERS": [f"{HOST}:{proxy.port}"]}
        if is_redis:
            where = {"CACHE_REDIS_URL": f"redis://{HOST}:{proxy.port}/0"}
        place = place_of(kind, tmp_path, request.getfixturevalue, **where)

        def is_taken(lease: Any) -> bool:
            found = server.ask("EXISTS", lease.name) if is_redis else raw(server, lease.name)
            return bool(found)

        async def main() -> None:
            if native:
                await place.cache.cache.aopen()
            assert await place.cache.aget("k") is None  # it is connected
            lease = place.lease()
            proxy.delay(2.0)  # of answers
            task = asyncio.create_task(place.store.aio.acquire_lease(lease, "k", ()))
            await auntil(lambda: is_taken(lease))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            proxy.heal()
            lease.abandoned = True
            await place.store.aio.release_lease(lease, True)
            await auntil(lambda: not is_taken(lease))
            assert not is_renewed(lease)
            await place.cache.aclose()

        asyncio.run(main())
        place.cache.close()


def test_a_handshake_that_is_cancelled_leaves_no_connection() -> None:
    """A server that never answers a TLS hello: the connection is closed with the call."""
    with RedisServer(tls=True) as server, FaultProxy(server.port) as proxy:
        config = {
            "CACHE_TYPE": "RedisCache",
            "CACHE_REDIS_URL": f"rediss://{HOST}:{proxy.port}/0",
            "CACHE_CONNECT_TIMEOUT": 60,
            "CACHE_OPTIONS": {"ssl_ca_certs": str(server.certificate)},
        }
        cache = Cache(Flask("site"), config=config)

        async def main() -> None:
            await cache.cache.aopen()
            proxy.silence()
            task = asyncio.create_task(cache.cache.aget("k"))
            await auntil(lambda: proxy.requests)  # its hello has come
            task.cancel()
            assert isinstance(
                (await asyncio.gather(task, return_exceptions=True))[0], BaseException
            )
            await auntil(lambda: not proxy.connections)
            await cache.aclose()

        asyncio.run(main())


# --- closed ---------------------------------------------------------------------------------------


def test_nothing_renews_a_lease_of_a_backend_that_was_closed(server_place: Place) -> None:
    """A renewal would open a connection that no later call closes."""
    lease = server_place.lease()
    assert server_place.acquire(lease)[0]
    server_place.cache.close()
    until(lambda: server_place.connections() == 0)
    lease.renew()
    assert not lease.held and not is_renewed(lease)
    assert server_place.backend._transports._blocking is None  # type: ignore[attr-defined]


def test_nothing_renews_a_lease_of_a_loop_that_was_closed(server_place: Place) -> None:
    """While the loop has connections, those of threads renew its leases; then nothing does."""
    place = server_place

    async def main() -> Any:
        await place.backend.aopen()
        lease = place.lease()
        assert (await place.store.aio.acquire_lease(lease, "k", ()))[0]
        await asyncio.to_thread(lease.renew)
        assert lease.held and place.connections() == 2
        await place.cache.aclose()
        return lease

    lease = asyncio.run(main())
    lease.renew()
    assert not lease.held
    until(lambda: place.connections() == 0)  # the server notices when it comes to it


@pytest.mark.parametrize("native", [True, False])
def test_a_lease_that_is_given_back_late_leaves_no_connection(
    server_place: Place, native: bool
) -> None:
    """By a call that was cancelled, say, when the backend was closed already."""
    place = server_place

    async def main() -> Any:
        await place.backend.aopen()
        lease = place.lease()
        assert (await place.store.aio.acquire_lease(lease, "k", ()))[0]
        await place.cache.aclose()
        await place.store.aio.release_lease(lease, True)  # in a worker thread
        return lease

    if native:
        asyncio.run(main())
    else:
        lease = place.lease()
        assert place.acquire(lease)[0]
        place.cache.close()
        run_now(place.steps.release_lease(lease, True))
    until(lambda: place.connections() == 0)  # the server notices when it comes to it
    assert place.is_free()
