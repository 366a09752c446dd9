"""Loops with connections of their own (``async with cache:``), and all those without."""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from blockbuster import blockbuster_ctx
from flask import Flask

from flask_caching_async import Cache
from support.fault_proxy import FaultProxy
from support.lanes import CAREFUL
from support.server_groups import RedisCluster
from support.servers import HOST, RedisServer
from support.waiting import PATIENCE, auntil, together, until

KINDS = ("RedisCache", "RedisClusterCache")


def cache_on(server: Any, **config: Any) -> Cache:
    """A cache on a server, a proxy or a cluster."""
    common: dict[str, Any] = {**CAREFUL, "CACHE_TYPE": "RedisCache"}
    if isinstance(server, RedisCluster):
        common |= {"CACHE_TYPE": "RedisClusterCache", "CACHE_REDIS_URL": server.url}
    elif isinstance(server, FaultProxy):
        common |= {"CACHE_REDIS_HOST": HOST, "CACHE_REDIS_PORT": server.port}
    else:
        common |= {"CACHE_REDIS_URL": server.url}
    return Cache(Flask("site"), config={**common, **config})


def connections(server: Any) -> list[str]:
    """All connections to a server (or to the nodes of a cluster) but those that ask, and its own.

    A node of a cluster is connected to the others on another port.
    """
    lines = [
        line
        for node in getattr(server, "nodes", [server])
        for line in node.ask("CLIENT", "LIST").splitlines()
    ]
    return [line for line in lines if "cmd=client|list" not in line]


def workers() -> int:
    """How many worker threads there are."""
    return sum(
        "flask-caching-async_" in thread.name or "asyncio" in thread.name
        for thread in threading.enumerate()
    )


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Any:
    """An empty server, and an empty cluster."""
    name = "clean_redis" if request.param == "RedisCache" else "clean_cluster"
    return request.getfixturevalue(name)


@pytest.fixture
def cache(server: Any) -> Iterator[Cache]:
    """A cache on it."""
    cache = cache_on(server)
    yield cache
    cache.close()


async def use(cache: Cache, who: str = "k") -> None:
    """Use a cache on the running loop."""
    assert await cache.aset(who, [who]) and await cache.aget(who) == [who]
    assert await cache.aset_many({f"{who}/1": 1, f"{who}/2": 2})
    assert await cache.aget_many(f"{who}/1", "nothing", f"{who}/2") == [1, None, 2]
    assert await cache.aget_or_set(f"{who}/3", lambda: 3) == 3

    @cache.memoize(tags=[who])
    async def f(n: str) -> str:
        return n

    assert await f(who) == who == await f(who)
    assert await cache.adelete(who) and await cache.aget(who) is None
    assert await cache.adelete_tags(who)


# --- in the block ---------------------------------------------------------------------------------


def test_in_the_block_operations_run_on_the_loop_itself(server: Any, cache: Cache) -> None:
    """No worker thread is used or started, and nothing blocks the loop."""
    before = workers()

    async def main() -> None:
        async with cache:
            assert cache.cache.native_here()
            await cache.aget("warm up")
            with blockbuster_ctx():
                await use(cache)
            assert asyncio.get_running_loop()._default_executor is None  # type: ignore[attr-defined]
            assert connections(server)

    asyncio.run(main(), debug=False)
    assert workers() == before
    assert cache.cache._transports._blocking is None, "no connection of the threads, either"


def test_at_the_end_of_the_block_all_connections_are_closed(server: Any, cache: Cache) -> None:
    """Also when it ends with an exception, or is cancelled; and nothing is left to be warned of."""

    async def main() -> None:
        for ending in (None, RuntimeError("end"), asyncio.CancelledError()):
            try:
                async with cache:
                    await asyncio.gather(*[use(cache, f"{n}") for n in range(20)])
                    assert len(connections(server)) > 1
                    if ending is not None:
                        raise ending
            except (RuntimeError, asyncio.CancelledError) as error:
                assert error is ending
            assert not cache.cache.native_here()
            await auntil(lambda: not connections(server))

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        asyncio.run(main())
        gc.collect()


def test_blocks_can_be_nested_and_entered_again(server: Any, cache: Cache) -> None:
    """The inner one, in this task or another, does not close what the outer one uses."""

    async def inner(n: int) -> None:
        async with cache:
            await use(cache, f"{n}")

    async def main() -> None:
        for _ in range(2):
            async with cache:
                async with cache:
                    await use(cache)
                assert cache.cache.native_here()
                await asyncio.gather(*[inner(n) for n in range(10)])
                assert cache.cache.native_here()
                await use(cache)
            assert not cache.cache.native_here()
            await asyncio.gather(*[inner(n) for n in range(10)])
            assert not cache.cache.native_here()
            await use(cache)  # in a worker thread
            await cache.aclose()
            await auntil(lambda: not connections(server))
        await cache.aclose()

    asyncio.run(main())


def test_closing_while_others_are_at_work_harms_nobody(server: Any, cache: Cache) -> None:
    """They finish, and what they used is closed then."""

    async def main() -> None:
        async with cache:
            tasks = [asyncio.create_task(use(cache, f"{n}")) for n in range(50)]
            await auntil(lambda: len(connections(server)) > 1)
            await cache.aclose()
            await asyncio.gather(*tasks)
        await cache.aclose()
        cache.close()
        await auntil(lambda: not connections(server))

    asyncio.run(main())
    gc.collect()


def test_every_loop_has_connections_of_its_own(server: Any, cache: Cache) -> None:
    """Two loops that live long, in two threads, and plain threads use the same keys at once."""
    meet = threading.Barrier(2)

    async def live(who: str) -> None:
        async with cache:
            wire = cache.cache._transports.here()
            await use(cache, who)
            await asyncio.to_thread(meet.wait, PATIENCE)
            for n in range(30):
                await cache.aset(f"{who}{n}", n)
                assert await cache.aget(f"{who}{n}") == n
            assert cache.cache._transports.here() is wire
            await asyncio.to_thread(meet.wait, PATIENCE)
            await use(cache, who)

    def plain() -> None:
        for n in range(60):
            cache.set(f"plain{n}", n)
            assert cache.get(f"plain{n}") == n

    results = together(lambda: asyncio.run(live("a")), lambda: asyncio.run(live("b")), plain, plain)
    assert results == [None] * 4
    assert not cache.cache._transports._of_loops
    cache.close()
    until(lambda: not connections(server))


def test_many_loops_that_begin_and_end_at_once(cache: Cache) -> None:
    """Opening and closing in one thread does not disturb another."""

    def live(who: str) -> None:
        async def main() -> None:
            async with cache:
                await use(cache, who)

        for _ in range(5):
            asyncio.run(main())

    assert together(*[lambda n=n: live(f"{n}") for n in range(8)]) == [None] * 8
    assert not cache.cache._transports._of_loops and not cache.cache._transports._openings


def test_native_and_blocking_code_see_the_same_entries(cache: Cache) -> None:
    """What one stores or deletes, the other finds or misses, and they share computations."""
    calls: list[str] = []

    def plain() -> str:
        calls.append("plain")
        until(lambda: cache.stats().waits >= 5)
        return "value"

    async def coroutine() -> str:
        calls.append("coroutine")
        await auntil(lambda: cache.stats().waits >= 5)
        return "value"

    sync, later = cache.cached(key_prefix="k")(plain), cache.cached(key_prefix="k")(coroutine)

    async def main() -> list[str]:
        async with cache:
            cache.set("a", 1)
            assert await cache.aget("a") == 1
            await cache.aset("a", 2)
            assert cache.get("a") == 2
            return list(
                await asyncio.gather(
                    *[later() for _ in range(3)], *[asyncio.to_thread(sync) for _ in range(3)]
                )
            )

    assert asyncio.run(main()) == ["value"] * 6
    assert len(calls) == 1
    assert sync() == "value" and asyncio.run(later()) == "value"
    assert len(calls) == 1


# --- without it -----------------------------------------------------------------------------------


def test_without_the_block_any_loop_works(server: Any, cache: Cache) -> None:
    """One ``asyncio.run`` after the other, and several at once, over the threads' connections."""
    for n in range(5):
        asyncio.run(use(cache, f"{n}"))
    assert together(*[lambda n=n: asyncio.run(use(cache, f"{n}")) for n in range(6)]) == [None] * 6
    assert not cache.cache._transports._of_loops
    cache.close()
    until(lambda: not connections(server))


def test_trio(server: Any, cache: Cache) -> None:
    """In worker threads, with the block and without."""

    async def main() -> None:
        await use(cache)
        async with cache:
            assert not cache.cache.native_here()
            async with trio.open_nursery() as nursery:
                for n in range(10):
                    nursery.start_soon(use, cache, f"{n}")
        await use(cache)

    trio.run(main)
    cache.close()
    until(lambda: not connections(server))


def test_hundreds_of_async_views_own_no_client(server: Any, cache: Cache) -> None:
    """Each has a loop that ends with it; one connection serves them all, and none fails."""
    app = cache.app

    @app.route("/<int:n>")
    async def view(n: int) -> dict[str, Any]:
        await cache.aset(f"k{n}", n)
        assert not cache.cache.native_here()
        return {"found": await cache.aget_many(f"k{n}", "nothing")}

    client = app.test_client()
    for n in range(300):
        response = client.get(f"/{n}")
        assert (response.status_code, response.json) == (200, {"found": [n, None]})
    assert not cache.cache._transports._of_loops
    if isinstance(server, RedisServer):
        assert len(connections(server)) == 1


def test_a_loop_that_ends_without_closing_harms_nobody(server: Any, cache: Cache) -> None:
    """Others go on; only where warnings of that kind are shown does somebody hear of it."""

    async def forget() -> None:
        await cache.cache.aopen()
        await use(cache)

    async def remember() -> None:
        async with cache:
            await use(cache)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(3):
            asyncio.run(forget())
            cache.set("a", 1)
            assert asyncio.run(cache.aget("a")) == 1
        asyncio.run(remember())
        gc.collect()
    assert not cache.cache._transports._of_loops
    cache.close()
    until(lambda: not connections(server))


SCRIPT = """
    import asyncio
    from flask import Flask
    from flask_caching_async import Cache

    cache = Cache(Flask("site"), config={config!r})

    @cache.memoize()
    async def f(n):
        return n

    async def plain():
        await cache.aset("a", 1)
        assert await cache.aget("a") == 1 == await f(1)

    async def block():
        async with cache:
            await plain()
            raise KeyboardInterrupt

    async def forgotten():
        await cache.cache.aopen()
        await plain()

    asyncio.run(plain())
    asyncio.run(plain())
    try:
        asyncio.run(block())
    except KeyboardInterrupt:
        pass
    if {forget}:
        asyncio.run(forgotten())
        asyncio.run(forgotten())
    asyncio.run(plain())
    print(cache.get("a"))
    """


@pytest.mark.parametrize("forget", [False, True])
def test_a_script_ends_silently(server: Any, forget: bool) -> None:
    """Whatever it used; with all warnings on, if it closed what it opened."""
    kind = "RedisClusterCache" if isinstance(server, RedisCluster) else "RedisCache"
    config: dict[str, Any] = {**CAREFUL, "CACHE_TYPE": kind, "CACHE_REDIS_URL": server.url}
    script = textwrap.dedent(SCRIPT).format(config=config, forget=forget)
    strict = [] if forget else ["-W", "error"]
    done = subprocess.run(
        [sys.executable, *strict, "-c", script], capture_output=True, text=True, timeout=45
    )
    assert (done.returncode, done.stdout) == (0, "1\n")
    # redis-py reports each client of a cluster that was forgotten.
    assert done.stderr == "" or (forget and kind == "RedisClusterCache")


# --- cancelled and late ---------------------------------------------------------------------------


class Fuzz:
    """Tasks that read and write values which tell their keys, and get cancelled at any point."""

    def __init__(self, cache: Cache, cancels: int) -> None:
        self.cache, self.cancels = cache, cancels
        self.random = random.Random(20)
        self.answers = self.cancelled = 0
        self.wrong: list[Any] = []
        self.f = cache.memoize()(self.body)

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    async def body(self, n: int) -> str:
        await asyncio.sleep(0)
        return f"f{n}"

    def check(self, found: Any, expected: str) -> None:
        """Note an answer."""
        self.answers += 1
        if found not in (None, expected):
            self.wrong.append((found, expected))

    async def work(self) -> None:
        """Do something, again and again."""
        cache, roll = self.cache, self.random.randrange
        while True:
            n, kind = roll(40), roll(5)
            if kind == 0:
                await cache.aset(f"k{n}", f"v{n}")
            elif kind == 1:
                self.check(await cache.aget(f"k{n}"), f"v{n}")
            elif kind == 2:
                numbers = [roll(40) for _ in range(roll(1, 6))]
                found = await cache.aget_many(*[f"k{n}" for n in numbers])
                for n, value in zip(numbers, found, strict=True):
                    self.check(value, f"v{n}")
            elif kind == 3:
                self.check(await self.f(n), f"f{n}")
            else:
                await cache.adelete(f"k{n}")

    async def run(self, disturb: Callable[[int], None] = lambda step: None) -> None:
        """Cancel so many tasks, each replaced by another; then the rest."""
        tasks = [asyncio.create_task(self.work()) for _ in range(20)]
        for step in range(self.cancels):
            disturb(step)
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0)
            if step % 16 == 0:
                await asyncio.sleep(0.002)
            n = self.random.randrange(len(tasks))
            tasks[n].cancel()
            self.cancelled += await self.ended(tasks[n])
            tasks[n] = asyncio.create_task(self.work())
        await auntil(lambda: self.answers > 300 or any(task.done() for task in tasks))
        for task in tasks:
            task.cancel()
        for task in tasks:
            await self.ended(task)

    async def ended(self, task: asyncio.Task[None]) -> bool:
        """Wait for a cancelled task; anything else that it raises is raised here."""
        assert (await asyncio.wait([task], timeout=PATIENCE))[0], (
            "it did not hear that it was cancelled"
        )
        return task.cancelled() or task.result() is not None


@pytest.mark.parametrize("block", [True, False])
def test_a_cancelled_call_never_leaves_its_answer_to_another(server: Any, block: bool) -> None:
    """Hundreds of calls are cancelled amid others: every answer belongs to its key."""
    cache = cache_on(server, CACHE_OPTIONS={"max_connections": 5})
    fuzz = Fuzz(cache, 400)

    async def main() -> None:
        if block:
            await cache.__aenter__()
        await fuzz.run()
        assert fuzz.wrong == [] and fuzz.cancelled > 300 and fuzz.answers > 300
        await cache.aget("k1")  # makes up for deletions that were cancelled
        # No connection was lost for those who come after.
        await asyncio.gather(*[use(cache, f"after {n}") for n in range(20)])
        # A cluster's client may open more for a moment, and keeps what it has opened.
        most = 3 * (2 * 5 + 1) if isinstance(server, RedisCluster) else 5
        await auntil(lambda: len(connections(server)) <= most)
        await cache.aclose()

    asyncio.run(main())
    cache.close()
    until(lambda: not connections(server))
    gc.collect()


def test_a_cancelled_call_over_tls(request: pytest.FixtureRequest) -> None:
    """The same, where a connection has more to do before it is closed."""
    with RedisServer(tls=True) as server:
        cache = cache_on(server, CACHE_OPTIONS={"ssl_ca_certs": server.certificate})
        fuzz = Fuzz(cache, 40)

        async def main() -> None:
            async with cache:
                await fuzz.run()
                await cache.aget("k1")
                await use(cache)

        asyncio.run(main())
        assert fuzz.wrong == []
        cache.close()
        gc.collect()  # asyncio leaves what was cancelled in the middle of TLS's handshake to this
        until(lambda: not connections(server))


@pytest.mark.parametrize("block", [True, False])
def test_a_late_answer_is_never_given_to_another(redis_proxy: FaultProxy, block: bool) -> None:
    """With a server that is slower than ``CACHE_OPERATION_TIMEOUT`` now and then."""
    cache = cache_on(
        redis_proxy,
        CACHE_ON_ERROR="log",
        CACHE_OPERATION_TIMEOUT=0.06,
        CACHE_BREAKER_THRESHOLD=0,
        CACHE_OPTIONS={"max_connections": 5},
    )
    fuzz = Fuzz(cache, 120)

    def disturb(step: int) -> None:
        if step % 30 == 10:
            redis_proxy.delay(0.1)
        elif step % 30 == 0:
            redis_proxy.heal()

    async def main() -> None:
        if block:
            await cache.__aenter__()
        await fuzz.run(disturb)
        redis_proxy.heal()
        await cache.aclose()

    asyncio.run(main())
    assert fuzz.wrong == []
    assert cache.get("k1") in (None, "v1")
    cache.close()
    gc.collect()


@pytest.mark.asyncio
async def test_a_close_that_is_cancelled_still_closes_what_threads_share(
    server: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it waits for the calls of its own loop."""
    backend: Any = cache.cache

    async def cancelled() -> None:
        raise asyncio.CancelledError

    before = len(connections(server))
    await backend.aopen()
    await asyncio.to_thread(backend.set, "a", 1)
    assert len(connections(server)) > before
    monkeypatch.setattr(backend._transports.here(), "close", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await backend.aclose()
    await auntil(lambda: len(connections(server)) == before)


def test_the_lease_of_a_cancelled_computation_is_given_back(server: Any, cache: Cache) -> None:
    """At once, so that nobody waits for it."""

    async def never() -> None:
        await asyncio.sleep(60)

    f = cache.memoize(lock_timeout=10 * PATIENCE)(never)  # it would not end by itself

    def leases() -> int:
        nodes = getattr(server, "nodes", [server])
        return sum(len(node.ask("KEYS", "*~lease~*")) for node in nodes)

    async def main() -> None:
        async with cache:
            tasks = [asyncio.create_task(f()) for _ in range(3)]
            await auntil(lambda: leases() == 1 and cache.stats().waits >= 2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await auntil(lambda: leases() == 0)

    asyncio.run(main())
