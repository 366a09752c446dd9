"""Handlers that use the cache while their own thread is in the middle of it.

A signal handler runs between any two steps of the main thread; a ``__del__`` runs wherever the
garbage collector does, or where an old value is dropped.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async._store.failures import Failures, Limits
from flask_caching_async.backends._connections.slots import Slots
from flask_caching_async.backends.filesystemcache import FileSystemCache
from support.backends import OURS, config_of_ours
from support.interrupts import Interrupt, ended
from support.params import table
from support.waiting import PATIENCE, together

#: How many steps lie between two at which a handler comes in; a whole walk takes too long.
STRIDES = {"SimpleCache": 9, "FileSystemCache": 43, "RedisCache": 29, "MemcachedCache": 53}
THRESHOLD = 8


class Site:
    """A cache with a memoized function, and what a handler does with them."""

    def __init__(self, config: dict[str, Any]) -> None:
        quick = {"CACHE_THRESHOLD": THRESHOLD, "CACHE_KEY_PREFIX": "p:", "CACHE_ON_ERROR": "raise"}
        self.cache = Cache(Flask("site"), config={**config, **quick})
        #: Whether nothing else happens meanwhile. A server may be at what the interrupted call has
        #: sent, while a handler goes on.
        self.alone = "CACHE_CONNECT_TIMEOUT" not in config
        self.computed = 0
        self.function = self.cache.memoize(tags=["t"])(self._compute)
        #: How often the function had been called when its values were last invalidated.
        self.invalidated = -1

    def __repr__(self) -> str:
        return type(self).__name__  # what tells its bound methods apart

    def _compute(self, n: int) -> int:
        self.computed += 1
        return self.computed

    def begin(self, filled: bool) -> None:
        """Forget all, and let something be there, or nothing."""
        self.cache.clear()
        self.invalidated = -1
        if filled:
            self.function(1)
            self.cache.set("k", 3)

    def handle(self) -> None:
        """What a handler finds is what it would find anywhere else."""
        cache, function = self.cache, self.function
        cache.get("k")
        cache.set("k", 5)
        assert cache.get("k") == 5 or not self.alone
        cache.delete("k")
        assert cache.get("k") is None or not self.alone
        function(1)
        self._invalidate(lambda: cache.delete_memoized(function))
        assert cache.inc("n") >= 1  # type: ignore[operator]
        self._invalidate(lambda: cache.delete_tags("t"))
        self._invalidate(cache.clear)
        for n in range(THRESHOLD + 1):
            cache.set(f"many {n}", n)

    def _invalidate(self, invalidate: Callable[[], object]) -> None:
        self.invalidated = self.computed
        assert invalidate()
        assert self.function(1) > self.invalidated

    def check(self) -> None:
        """Afterwards, nothing old is served, and everything goes on."""
        cache = self.cache
        assert self.function(1) > self.invalidated
        for n in range(2 * THRESHOLD):
            cache.set(f"later {n}", n)
        assert cache.get(f"later {2 * THRESHOLD - 1}") == 2 * THRESHOLD - 1
        memory = getattr(cache.cache, "memory", None)
        if memory is not None:
            assert len(memory.entries) == len(memory._evictor) <= THRESHOLD
            assert not memory._changes


CALLS: dict[str, Callable[[Site], object]] = {
    "get": lambda site: site.cache.get("k"),
    "set": lambda site: site.cache.set("k", 1),
    "set with tags": lambda site: site.cache.set("k", 1, tags=["t"]),
    "add": lambda site: site.cache.add("k", 1),
    "inc": lambda site: site.cache.inc("n"),
    "delete": lambda site: site.cache.delete("k"),
    "delete_tags": lambda site: site.cache.delete_tags("t"),
    "clear": lambda site: site.cache.clear(),
    "call": lambda site: site.function(1),
    "refresh": lambda site: site.function.refresh(1),
}


class TimeIsUp(BaseException):
    """What a handler raises to end what its thread is at."""


def time_is_up() -> None:
    """Such a handler."""
    raise TimeIsUp


def run_async(call: Coroutine[Any, Any, object]) -> object:
    """What a coroutine comes to that has nothing to wait for."""
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


# Python tells of what was raised in the callback of a weak reference, where nothing can be raised,
# and of a coroutine that was made and, one step later, never awaited.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("outcome", ["a value", "an error", "a new value"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_handler_that_raises_leaves_nobody_waiting(colour: str, outcome: str) -> None:
    """At whatever step of a miss: no flight stays open, whose followers would wait in vain."""
    cache = Cache.standalone({"CACHE_TYPE": "SimpleCache"})

    def number(n: int) -> int:
        return 1 // (outcome != "an error") * n

    async def number_async(n: int) -> int:
        return number(n)

    function: Any = cache.memoize()(number if colour == "sync" else number_async)
    asked = function.refresh if outcome == "a new value" else function

    def call() -> object:
        with contextlib.suppress(ZeroDivisionError, TimeIsUp):
            return asked(n) if colour == "sync" else run_async(asked(n))
        return None

    n = 0
    call()
    flights = cache._binding().engine.flights
    while True:
        n += 1
        interrupt = Interrupt(time_is_up, n - 1, raises=True)
        interrupt.run(call)
        assert not flights._flights, interrupt.where
        if not interrupt.where:
            break
    assert n > 100
    gc.collect()  # here, and not in another test, Python tells of those coroutines


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("backend", OURS)
def test_a_handler_may_use_the_cache_wherever_it_comes_in_between(
    backend: str, call: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """It neither waits for its own thread nor finds or leaves anything half done."""
    site = Site(config_of_ours(backend, tmp_path, request.getfixturevalue))
    files = isinstance(site.cache.cache, FileSystemCache)
    stride = STRIDES[backend] * (19 if files and call == "clear" else 1)
    for filled in (False, True):
        at, came = 0, True
        while came:
            site.begin(filled)
            interrupt = Interrupt(site.handle, at)
            ended(lambda interrupt=interrupt: interrupt.run(lambda: CALLS[call](site)))
            came = bool(interrupt.where)
            assert interrupt.error is None, interrupt.where
            site.check()
            at += stride
    site.cache.close()


@pytest.mark.parametrize("call", ["set", "delete", "clear", "refresh"])
def test_in_memory_a_handler_may_come_between_any_two_instructions(call: str) -> None:
    """Where a value is dropped, which is in the middle of a line."""
    site, at, came = Site({"CACHE_TYPE": "SimpleCache"}), 0, True
    while came:
        site.begin(True)
        interrupt = Interrupt(site.handle, at, opcodes=True)
        interrupt.run(lambda: CALLS[call](site))
        came = bool(interrupt.where)
        assert interrupt.error is None, interrupt.where
        site.check()
        at += 23


#: What changes a key, its value and timeout before, and what they may be after a handler has set
#: 100 for 50 seconds meanwhile: one after the other, in either order.
CHANGES: dict[str, tuple[Callable[[Cache], object], int | None, set[tuple[int | None, int]]]] = {
    "set": (lambda cache: cache.set("k", 1, 900), 3, {(1, 900), (100, 50)}),
    "set_many": (lambda cache: cache.set_many({"k": 1}, 900), 3, {(1, 900), (100, 50)}),
    "a first set": (lambda cache: cache.set("k", 1, 900), None, {(1, 900), (100, 50)}),
    "inc": (lambda cache: cache.inc("k"), 3, {(101, 50), (100, 50)}),
    "touch": (lambda cache: cache.touch("k", 900), 3, {(100, 900), (100, 50)}),
    "add": (lambda cache: cache.add("k", 1, 900), None, {(100, 50)}),
    "delete": (lambda cache: cache.delete("k"), 3, {(None, 0), (100, 50)}),
}


@table("change", CHANGES)
def test_what_a_handler_sets_is_neither_lost_nor_mixed(change: str) -> None:
    """The value of one with the timeout of the other, for example."""
    call, before, allowed = CHANGES[change]
    cache = Cache.standalone({"CACHE_TYPE": "SimpleCache"})
    cache.cache.clock = lambda: 1000.0
    memory, at, came = cache.cache.memory, 0, True
    while came:
        cache.clear()
        if before is not None:
            cache.set("k", before, 300)
        # A step of one line that calls nothing is one to a handler: see _swap.
        opcodes = change not in ("inc", "touch")
        interrupt = Interrupt(lambda: cache.set("k", 100, 50), at, opcodes)
        interrupt.run(lambda: call(cache))
        came = bool(interrupt.where)
        assert interrupt.error is None
        entry = memory.peek("k")
        until = 0 if entry is None else entry.usable_until - 1000
        assert not came or (cache.get("k"), until) in allowed, interrupt.where
        at += 1
    assert at > 30


class Dying:
    """A value that uses the cache when it is dropped."""

    def __init__(self, site: Site, died: list[str]) -> None:
        self.site, self.died = site, died

    def __deepcopy__(self, memo: object) -> Dying:
        return self

    def __reduce__(self) -> Any:
        return Dying, (self.site, self.died)

    def __del__(self) -> None:
        if self.site is not None:
            try:
                self.site.handle()
            except BaseException as error:
                self.died.append(repr(error))
            else:
                self.died.append("")


def test_a_value_that_is_dropped_may_use_the_cache() -> None:
    """By a set, a deletion, ``clear`` or an eviction, in the midst of it."""
    for drop in (
        lambda site: site.cache.set("victim", 1),
        lambda site: site.cache.delete("victim"),
        lambda site: site.cache.clear(),
        lambda site: [site.cache.set(f"other {n}", n) for n in range(3 * THRESHOLD)],
    ):
        site, died = Site({"CACHE_TYPE": "SimpleCache"}), list[str]()
        # As it is: pickled, another object would be dropped.
        memory = site.cache.cache.memory
        memory.set_and_supersede([("victim", Dying(site, died), None)], site.cache.cache.times(60))
        ended(lambda drop=drop, site=site: drop(site))
        gc.collect()
        assert died == [""]
        site.check()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a POSIX system")
@pytest.mark.parametrize("backend", OURS)
def test_signals_that_come_all_the_time_stop_nothing(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Their handler uses the cache, while the main thread does, too."""
    site = Site(config_of_ours(backend, tmp_path, request.getfixturevalue))
    came: list[BaseException | None] = []

    def handler(number: int, frame: object) -> None:
        try:
            site.handle()
        except BaseException as error:
            came.append(error)
        else:
            came.append(None)

    before = signal.signal(signal.SIGUSR1, handler)
    ends = threading.Event()

    def send() -> None:
        while not ends.is_set():
            seen = len(came)
            os.kill(os.getpid(), signal.SIGUSR1)
            while len(came) == seen and not ends.wait(0.001):
                pass

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        while len(came) < 12:
            for call in CALLS.values():
                call(site)
    finally:
        ends.set()
        sender.join(PATIENCE)
        signal.signal(signal.SIGUSR1, before)
    assert not [error for error in came if error is not None]
    site.check()
    site.cache.close()


def test_slots_are_taken_by_so_many_at_a_time() -> None:
    """Each waits for one, and gives it back; who waits in vain is told how long."""
    slots, inside, most = Slots(3), list[int](), list[int]()

    def use() -> None:
        slots.take(PATIENCE)
        inside.append(1)
        most.append(len(inside))
        inside.pop()
        slots.give_back()

    together(*[use] * 12)
    assert max(most) <= 3
    for _ in range(3):
        slots.take(0)
    with pytest.raises(TimeoutError, match="all 3 connections were busy for 0.01 s"):
        slots.take(0.01)
    slots.give_back()
    slots.take(0)


def test_a_failure_amid_a_success_is_not_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """At whichever instruction: the next success is news, until all is said of that failure."""
    for down in (False, True):
        # From 3.12 on, Python shows the instructions of a function from its second call on.
        at, interrupt = -1, None
        while at <= 0 or (interrupt is not None and interrupt.where):
            backend = FileSystemCache.__new__(FileSystemCache)
            failures = Failures(backend, lambda: False, Limits(), lambda: None)
            failures.note(OSError("first"), "read")
            if not down:
                failures._up()

            def fail(failures: Failures = failures) -> None:
                failures.note(OSError("amid"), "read")

            interrupt = Interrupt(fail, at, opcodes=True)
            interrupt.run(failures.fine)
            assert interrupt.error is None
            news = failures._down or failures.breaker._row > 0
            assert failures.failing or not news, interrupt.where
            at += 1
        assert at > 10
