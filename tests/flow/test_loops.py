"""Event loops are neither blocked nor left untidy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError, blockbuster_ctx
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.testing import FakeClock
from support.backends import config_for
from support.crew import TESTS
from support.params import cases
from support.waiting import PATIENCE, auntil


@pytest.mark.parametrize("backend", ["FileSystemCache", "SimpleCache", "cachelib", "async-only"])
@pytest.mark.asyncio
async def test_no_operation_blocks_the_event_loop(tmp_path: Path, backend: str) -> None:
    """Files are read, written and locked elsewhere; waiting for others lets the loop run."""
    cache = Cache(Flask(__name__), config=config_for(backend, tmp_path))
    clock = FakeClock()
    clock.install(cache)
    calls: list[int] = []

    @cache.memoize(timeout=10, stale_while_revalidate=60, tags=["tag"])
    async def f(n: int) -> int:
        calls.append(n)
        await asyncio.sleep(0.005)
        return len(calls)

    with blockbuster_ctx():
        with pytest.raises(BlockingError):
            Path(__file__).read_text()
        assert await asyncio.gather(*[f(1) for _ in range(10)]) == [1] * 10
        assert await f(1) == 1
        clock.advance(10)
        assert await f(1) == 1
        await auntil(lambda: cache.stats().stored == 2)
        assert await f.refresh(1) == 3
        await cache.aset("k", 1)
        assert await cache.aget("k") == 1 and await cache.ahas("k")
        await cache.aset_many({"a": 1, "b": 2}, tags=["tag"])
        assert await cache.aget_many("a", "b") == [1, 2]
        await cache.aadd("c", 1)
        await cache.ainc("n")
        await cache.adelete("k")
        await cache.adelete_many("a", "b")
        await cache.adelete_tags("tag")
        await cache.adelete_memoized(f)
        assert await cache.aget_or_set("g", lambda: 5) == 5
        task = asyncio.create_task(f(2))
        await asyncio.sleep(0.002)
        task.cancel()
        assert await f(2) > 3
        await cache.aclear()
        await cache.aclose()


ENDINGS = {
    "pending refresh": """
        async def main():
            assert await f() == 1
            clock.advance(10)
            slow.append(1)
            assert await f() == 1
            while len(calls) < 2:
                await asyncio.sleep(0.001)
        asyncio.run(main())
        """,
    "refresh that never began": """
        async def main():
            assert await f() == 1
            clock.advance(10)
            assert await f() == 1
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        asyncio.run(main())
        """,
    "cancelled leader and followers": """
        async def main():
            slow.append(1)
            tasks = [asyncio.create_task(f()) for _ in range(3)]
            while cache.stats().waits < 2 or not calls:
                await asyncio.sleep(0.001)
            tasks[0].cancel()
            tasks[2].cancel()
        asyncio.run(main())
        """,
    "several loops": """
        async def main():
            slow.append(1)
            try:
                await asyncio.wait_for(f(), 0.02)
            except TimeoutError:
                pass
        for _ in range(3):
            asyncio.run(main())
        """,
    "trio": """
        async def main():
            assert await g() == 1
            clock.advance(10)
            assert await g() == 1
            while cache.stats().stored < 2:
                await trio.sleep(0.001)
            with trio.move_on_after(0.02):
                slow.append(1)
                await g.refresh()
        trio.run(main)
        """,
}


@cases("backend", ["async-only", "FileSystemCache", "SimpleCache"])
@cases("ending", ENDINGS)
def test_a_loop_that_ends_in_the_middle_ends_silently(
    tmp_path: Path, backend: str, ending: str
) -> None:
    """No "Task was destroyed", no warning, nothing on stderr, in development mode."""
    begin = f"""
        import asyncio, logging, sys, trio
        from pathlib import Path
        sys.path.insert(0, {TESTS!r})
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # not that a busy machine is slow
        from support.backends import config_for
        from flask import Flask
        from flask_caching_async import Cache
        from flask_caching_async.testing import FakeClock

        cache = Cache(Flask("script"), config=config_for({backend!r}, Path({str(tmp_path)!r})))
        clock, slow, calls = FakeClock(), [], []
        clock.install(cache)

        @cache.memoize(timeout=10, stale_while_revalidate=60)
        async def f():
            calls.append(1)
            await asyncio.sleep(30 if slow else 0)
            return len(calls)

        @cache.memoize(timeout=10, stale_while_revalidate=60)
        async def g():
            calls.append(1)
            await trio.sleep(30 if slow else 0)
            return len(calls)
        """
    script = textwrap.dedent(begin) + textwrap.dedent(ENDINGS[ending]) + "print('end')\n"
    done: Any = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script],
        capture_output=True, text=True, timeout=1.5 * PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
