"""A process that is forked while computations are under way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support.backends import OURS, STORES, config_of_ours
from support.crew import TESTS
from support.waiting import PATIENCE

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")

FORK = """
    import asyncio, os, signal, sys, threading, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from support.backends import config_for
    from flask import Flask
    from flask_caching_async import Cache
    from flask_caching_async.testing import FakeClock

    cache = Cache(Flask("script"), config=config_for({backend!r}, Path({folder!r})))
    clock = FakeClock()
    clock.install(cache)
    go, parent = threading.Event(), os.getpid()
    entered = []

    def body(n):
        entered.append(n)
        if os.getpid() == parent and n != "quick":
            go.wait(40)
        return os.getpid()

    swr = dict(timeout=10, stale_while_revalidate=60)
    f = cache.memoize(lock_timeout=0.3)(body)  # for the leases that the parent holds
    old = cache.memoize(**swr)(lambda n: body(n))
    aold = cache.cached(key_prefix="aold", **swr)(lambda: body("aold"))

    async def abody(n):
        return await asyncio.to_thread(body, n)

    af = cache.memoize()(abody)
    assert old("quick") == parent
    clock.advance(10)
    assert old("quick") == parent           # a refresh in the pool
    threads = [threading.Thread(target=f, args=(n,)) for n in (1, 1, 1, 2)]
    threads += [threading.Thread(target=lambda: asyncio.run(af(3))) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(set(entered)) < 4 or cache.stats().waits < 3:
        time.sleep(0.001)

    def child():
        me = os.getpid()
        signal.alarm(30)
        started = [threading.Thread(target=f, args=(n,)) for n in (2, 5, 5, 5)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        assert f(5) == me
        assert asyncio.run(af(6)) == me
        cache.set("k", 1)
        assert cache.get("k") == 1
        assert f.refresh(7) == me
        clock.advance(10)
        old("quick")
        while old("quick") != me:  # the alarm ends it
            time.sleep(0.005)
            clock.advance(15)
        cache.delete_memoized(f)
        assert cache.clear() or {backend!r} == "async-only"

    pid = os.fork()
    if not pid:
        try:
            child()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    go.set()
    for thread in threads:
        thread.join()
    assert f(9) == parent
    assert status == 0, status
    print("end")
    """


LOCKED = """
    import os, queue, signal, sys, threading
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from flask import Flask
    from flask_caching_async import Cache
    from flask_caching_async._flow import singleflight
    from flask_caching_async._runtime import background, process_loop, threads
    from flask_caching_async.backends._versioned import leases

    cache = Cache(Flask("script"), config={config!r})
    f = cache.memoize(tags=["t"])(lambda n: os.getpid())
    f(1), cache.set("k", 1), cache.delete("gone")
    store = cache._binding().engine.store
    locks = [singleflight._lock, background._pool.change, process_loop._lock, threads._lock]
    locks += [leases._renewer._change]
    pending = getattr(store.sync, "pending", None)
    if pending is not None:
        pending.add(["k"])
        locks += [pending._lock, pending.replaying]  # in the midst of a replay
    for holder in (getattr(cache.cache, "memory", None), getattr(cache.cache, "_transports", None)):
        locks += [] if holder is None else [holder._lock]
    slots = []
    if hasattr(cache.cache, "_transports"):
        transport = cache.cache._transports.blocking()
        pools = [transport.pool] if hasattr(transport, "pool") else transport.pools
        slots += [pool._slots for pool in pools for _ in range(pool.limit)]
    for each in slots:
        each.take(0)
    held, go = threading.Event(), threading.Event()

    def hold():
        for lock in locks:
            lock.acquire()
        held.set()
        go.wait(40)
        for lock in locks:
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(40)
    pid = os.fork()
    if not pid:
        try:
            signal.alarm(30)
            me = os.getpid()
            assert cache.get("k") is (None if pending is not None else 1)
            cache.delete_memoized(f)
            assert f(1) == me and f.refresh(2) == me and cache.set("a", 1) and cache.get("a") == 1
            assert cache.delete("a") and cache.get("a") is None
            assert not pending
            background.submit(lambda: None)
            threads.in_worker(lambda: None)
            assert process_loop.on_process_loop(lambda: cache.aset("b", 2))
            assert cache.get("b") == 2 and cache.clear() and cache.get("b") is None
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    go.set()
    thread.join()
    for each in slots:
        each.give_back()  # its end needs one
    if pending is not None:
        pending.replayed(pending.look())  # not a word of it at the end
    assert status == 0, status
    print("end")
    """


@pytest.mark.parametrize("backend", OURS)
def test_a_child_that_is_forked_while_all_locks_are_held_can_use_the_cache(
    tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    """Also while a deletion is made up for, of which the child cannot know how far that came."""
    config = config_of_ours(backend, tmp_path, request.getfixturevalue)
    config |= {"CACHE_KEY_PREFIX": "p:", "CACHE_ON_ERROR": "raise"}
    run_script(LOCKED.format(tests=TESTS, config=config))


def run_script(script: str) -> None:
    """Run a script in a process of its own, which must end well."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=1.5 * PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


@pytest.mark.parametrize("backend", STORES)
def test_a_child_that_is_forked_amid_flights_can_use_the_cache(
    tmp_path: Path, backend: str
) -> None:
    """It has none of its parent's threads, and waits for none of their flights and locks."""
    run_script(FORK.format(tests=TESTS, backend=backend, folder=str(tmp_path)))
