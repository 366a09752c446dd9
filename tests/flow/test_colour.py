"""The tools by which one piece of logic serves sync and async code."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import anyio
import pytest
import trio

from flask_caching_async._runtime import colour as _colour
from flask_caching_async._runtime.colour import Awaited, Instant, is_coroutine_function, run_now
from flask_caching_async._runtime.loops import pause, running_loop_kind, wait_for, whoami
from flask_caching_async._runtime.process_loop import bridge, on_process_loop
from flask_caching_async._runtime.threads import carry_out, offload
from support.waiting import PATIENCE, all_busy, until

#: Runs an async function on each kind of loop.
RUNNERS: list[Any] = [lambda make: asyncio.run(make()), trio.run]
each_loop = pytest.mark.parametrize("run", RUNNERS, ids=["asyncio", "trio"])
current: contextvars.ContextVar[str] = contextvars.ContextVar("current", default="none")


def pending() -> Future[str]:
    """A future that nobody can cancel, as those of flights are."""
    future: Future[str] = Future()
    future.set_running_or_notify_cancel()
    return future


def test_run_now_returns_and_raises_what_the_step_does() -> None:
    """A step over instant objects never suspends."""

    class Target:
        def get(self, key: str) -> str:
            if not key:
                raise KeyError(key)
            return key.upper()

    async def step(face: Any, key: str) -> list[str]:
        return [await face.get(key), await face.get(key)]

    assert run_now(step(Instant(Target()), "a")) == ["A", "A"]
    with pytest.raises(KeyError):
        run_now(step(Instant(Target()), ""))


def test_run_now_refuses_a_step_that_suspends() -> None:
    """It is closed, not left pending, and the error says what is wrong."""
    closed = []

    class Suspends:
        def __await__(self) -> Any:
            yield

    async def step() -> None:
        try:
            await Suspends()
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="suspended in sync code"):
        run_now(step())
    assert closed == [True]


def test_awaited_gives_the_a_methods_under_their_sync_names() -> None:
    """The counterpart of Instant."""

    class Target:
        async def aget(self, key: str) -> str:
            await asyncio.sleep(0)
            return key

    assert asyncio.run(Awaited(Target()).get("k")) == "k"


def test_what_counts_as_a_coroutine_function() -> None:
    """Also partials, and objects whose ``__call__`` is async; not classes."""

    async def coroutine() -> None: ...

    class Callable_:
        async def __call__(self) -> None: ...

    class Plain:
        def __call__(self) -> None: ...

    yes: list[Callable[..., Any]] = [
        coroutine, functools.partial(functools.partial(coroutine)), Callable_(),
        functools.partial(Callable_()), Callable_().__call__,
    ]  # fmt: skip
    no: list[Callable[..., Any]] = [lambda: coroutine(), Callable_, Plain(), len]
    assert all(map(is_coroutine_function, yes))
    assert not any(map(is_coroutine_function, no))


@each_loop
def test_a_caller_is_its_thread_and_its_task(run: Any) -> None:
    """So that two tasks of one loop are told apart, and a thread without a loop has no task."""
    assert whoami() == (threading.get_ident(), None) and running_loop_kind() is None

    async def main() -> None:
        me = whoami()
        assert me == whoami() and me[0] == threading.get_ident() and me[1] is not None
        assert running_loop_kind() == ("asyncio" if run is RUNNERS[0] else "trio")
        assert await offload(running_loop_kind) is None

    run(main)


@each_loop
def test_offload_leaves_the_loop_and_keeps_the_context(run: Any) -> None:
    """The function runs in another thread with the caller's context; its errors come back."""

    async def main() -> None:
        current.set("mine")
        thread, value = await offload(lambda: (threading.get_ident(), current.get()))
        assert thread != threading.get_ident() and value == "mine"
        with pytest.raises(ZeroDivisionError):
            await offload(lambda: 1 // 0)
        began = time.monotonic()
        await pause(0.01)
        assert time.monotonic() - began >= 0.009

    run(main)


@each_loop
def test_wait_for_returns_what_another_thread_sets(run: Any) -> None:
    """And times out without harm to the future."""

    async def main() -> None:
        future = pending()
        with pytest.raises(TimeoutError):
            await wait_for(future, 0.005)
        threading.Timer(0.01, future.set_result, ["value"]).start()
        assert await wait_for(future, PATIENCE) == "value"
        assert await wait_for(future, None) == "value"

    run(main)


def test_a_cancelled_waiter_cancels_only_itself() -> None:
    """On asyncio: the future goes on, and so do the others who wait for it."""

    async def main() -> None:
        future = pending()
        tasks = [asyncio.create_task(wait_for(future, PATIENCE)) for _ in range(3)]
        await asyncio.sleep(0.005)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert not future.cancelled()
        future.set_result("value")
        assert await asyncio.gather(*tasks[1:]) == ["value"] * 2

    asyncio.run(main())


def test_a_cancelled_trio_waiter_cancels_only_itself() -> None:
    """The same on trio."""

    async def main() -> None:
        future = pending()
        results = []

        async def wait() -> None:
            results.append(await wait_for(future, PATIENCE))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            with trio.move_on_after(0.005) as scope:
                await wait_for(future, None)
            assert scope.cancelled_caught
            future.set_result("value")
        assert results == ["value"]

    trio.run(main)


@each_loop
def test_a_future_may_end_after_the_loops_that_waited_for_it(run: Any, caplog: Any) -> None:
    """Nobody calls a loop that is closed."""
    future = pending()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await wait_for(future, 0.001)

    async def cancelled() -> None:
        task = asyncio.create_task(wait_for(future, PATIENCE))
        await asyncio.sleep(0.002)
        task.cancel()

    run(main)
    asyncio.run(cancelled())
    future.set_result("late")
    assert not caplog.records


@each_loop
def test_bridge_runs_on_the_process_loop_without_blocking_this_one(run: Any) -> None:
    """Results and errors come back."""
    ended = threading.Event()

    async def work() -> int:
        await asyncio.sleep(0.01)
        ended.set()
        return threading.get_ident()

    async def fail() -> None:
        raise KeyError("k")

    async def main() -> None:
        assert await bridge(work) != threading.get_ident()
        with pytest.raises(KeyError):
            await bridge(fail)

    run(main)
    assert ended.wait(PATIENCE)
    assert on_process_loop(work) != threading.get_ident()


@each_loop
@pytest.mark.parametrize("way", ["a worker", "the process loop"])
def test_what_must_be_done_is_begun_though_its_caller_is_gone(run: Any, way: str) -> None:
    """A cancelled caller does not take with it what has only been waiting for its turn."""
    done = threading.Event()

    async def work() -> None:
        done.set()

    async def begin() -> None:
        await (carry_out(done.set) if way == "a worker" else bridge(work))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(begin)
            await anyio.sleep(0)
            group.cancel_scope.cancel()

    with all_busy():
        run(main)
        assert not done.is_set()
    assert done.wait(PATIENCE)


def test_blocking_on_the_process_loop_from_itself_is_refused() -> None:
    """It would wait for ever."""

    async def work() -> None:
        on_process_loop(work)

    with pytest.raises(RuntimeError, match="await the a-methods"):
        on_process_loop(work)


def test_work_in_the_background_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """More than so many waiting refreshes are dropped, and it is logged."""
    from flask_caching_async._runtime import background as _background

    go = threading.Event()
    done: list[int] = []
    monkeypatch.setattr(_background, "WAITING", 6)
    monkeypatch.setattr(_background, "_pool", _background._Pool())
    accepted = [
        _background.submit(lambda n=n: (go.wait(PATIENCE), done.append(n)))  # type: ignore[misc]
        for n in range(8)
    ]
    assert accepted == [True] * 6 + [False] * 2
    told = " ".join(caplog.messages)
    assert "2" not in told.split("one more")[0] and "dropped" in told
    go.set()
    until(lambda: len(done) == 6)
    assert sorted(done) == list(range(6))


def test_work_in_the_background_has_the_context_of_its_caller() -> None:
    """A copy of it."""
    from flask_caching_async._runtime import background as _background

    seen: Future[str] = Future()
    current.set("caller")
    assert _background.submit(lambda: seen.set_result(current.get()))
    assert seen.result(PATIENCE) == "caller"
    current.set("none")


def test_the_tools_are_all_named() -> None:
    """What the package uses of this module is public in it."""
    assert all(hasattr(_colour, name) for name in _colour.__all__)
