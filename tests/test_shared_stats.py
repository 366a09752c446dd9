"""``shared_stats()``: the figures of all processes that share a backend, added up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.exceptions import ConfigurationError
from flask_caching_async.statistics.sharing import Sharing
from support.servers import free_port

pytestmark = pytest.mark.shares_figures


@pytest.fixture
def worker(tmp_path: Path) -> Callable[[], Cache]:
    """Makes a cache over one folder: to each other they are what processes are."""
    config = {
        "CACHE_TYPE": "FileSystemCache",
        "CACHE_DIR": str(tmp_path),
        "CACHE_STATS_INTERVAL": 3600,
    }
    return lambda: Cache(Flask("site"), config=config)


def sharing_of(cache: Cache) -> Sharing:
    """What writes its figures."""
    sharing = cache._binding().sharing
    assert sharing is not None
    return sharing


def square(number: int) -> int:
    """A function that several processes memoize."""
    return number * number


NAME = "test_shared_stats.square"


def used(cache: Cache, hits: int) -> Any:
    """Let a cache compute once, and answer ``hits`` calls."""
    function = cache.memoize()(square)
    function(hits)
    for _ in range(hits):
        function(hits)
    return function


def counted(cache: Cache) -> tuple[int, int]:
    """Hits and misses of all processes, as one of them sees them."""
    use = next(use for name, use in cache.shared_stats().items() if name.endswith("square"))
    return use.hits, use.misses


def test_the_figures_of_all_processes_are_added_up(worker: Callable[[], Cache]) -> None:
    """Those that have been written, and one's own as they are now."""
    one, two = worker(), worker()
    used(one, 3)
    used(two, 4)
    assert counted(one) == (3, 1)
    sharing_of(one).flush()
    sharing_of(two).flush()
    assert counted(one) == counted(two) == (7, 2)
    sharing_of(one).flush()
    assert counted(two) == (7, 2)
    assert len(two.shared_stats().workers) == 2
    assert asyncio.run(two.ashared_stats())[next(iter(two.shared_stats()))].hits == 7


def test_what_an_ended_process_has_counted_stays(worker: Callable[[], Cache]) -> None:
    """It leaves its figures in the index."""
    one, two = worker(), worker()
    used(one, 3)
    sharing_of(one).leave()
    used(two, 4)
    sharing_of(two).flush()
    assert counted(two) == (7, 2)
    assert len(two.shared_stats().workers) == 1


def test_a_killed_process_loses_nothing_that_it_had_written(
    worker: Callable[[], Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one adds it to the index; if it was only asleep, it is counted once all the same."""
    one, two = worker(), worker()
    function = used(one, 3)
    sharing_of(one).flush()
    used(two, 4)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100_000)
    sharing_of(two).flush()
    index = sharing_of(two)._seen
    assert index is not None
    sharing_of(two)._retire(index)
    retired = sharing_of(two)._seen
    assert retired is not None and len(retired.members) == 1
    assert counted(two) == (7, 2)
    function(3)
    sharing_of(one).flush()
    assert counted(two) == counted(one) == (7, 3)


def test_clearing_the_cache_loses_no_figures(worker: Callable[[], Cache]) -> None:
    """They are written again, with those of processes that have ended."""
    one, two, three = worker(), worker(), worker()
    used(one, 3)
    sharing_of(one).leave()
    for cache in (two, three):
        used(cache, 4)
        sharing_of(cache).flush()
    two.clear()
    for cache in (two, three):
        sharing_of(cache).flush()
    assert counted(two) == counted(three) == (12, 2)


def test_a_reset_is_one_for_all(worker: Callable[[], Cache]) -> None:
    """What was counted before it is gone, and what comes after it is not."""
    one, two = worker(), worker()
    functions = [used(one, 3), used(two, 4)]
    for cache in (one, two):
        sharing_of(cache).flush()
    assert one.reset_stats()
    assert list(one.shared_stats()) == []
    sharing_of(two).flush()
    functions[1](4)
    functions[0](3)
    sharing_of(one).flush()
    sharing_of(two).flush()
    assert counted(one) == counted(two) == (2, 0)
    assert one.stats().hits == 1


def test_a_reset_that_others_cannot_be_told_of_says_so(app: Flask) -> None:
    """This process counts from there on all the same."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": f"redis://127.0.0.1:{free_port()}"}
    cache = Cache(app, config=config)
    cache._binding().ledger.get_or_sets.hits += 1
    assert cache.reset_stats() is False
    assert cache.stats().hits == 0
    assert asyncio.run(cache.areset_stats()) is False
    assert cache.shared_stats().workers == ()


def test_garbage_in_their_place_is_no_figures(worker: Callable[[], Cache]) -> None:
    """It is overwritten."""
    one = worker()
    used(one, 3)
    deep, endless = "[" * 100_000, '[1,"a",Infinity,0,[],[],0,[]]'
    for garbage in ("[]", "{", "[1,2]", b"\xff", 7, '[1,"a","b",[],0,[[1]]]', deep, endless):
        one.cache.set(sharing_of(one)._index_key, garbage)
        assert counted(one) == (3, 1)
        sharing_of(one).flush()
        assert counted(one) == (3, 1)


def test_each_use_has_figures_of_its_own(cache: Cache) -> None:
    """Functions, fragments, and what is done by hand; causes, durations and sizes."""
    function = cache.memoize(response_filter=lambda value: value != 4)(square)
    for number in (1, 1, 1, 2):
        function(number)
    cache.set("key", "value")
    cache.get("key")
    cache.get("none")
    cache.get_or_set("other", 1)
    function.delete_memoized()
    cache.delete("key")
    found = cache.stats(by="function")
    name = next(name for name in found if name.endswith("square"))
    use = found[name]
    assert (use.hits, use.misses, use.computed, use.stored, use.calls) == (2, 2, 2, 1, 4)
    assert dict(use.not_stored) == {"filter": 1}
    assert use.compute.count == 2 and use.compute.percentile(50) > 0 and use.size > 0
    assert use.invalidations == found["delete"].invalidations == 1
    assert (found["get"].hits, found["get"].misses, found["set"].stored) == (1, 1, 1)
    assert found["get_or_set"].misses == 1
    assert use.hit_ratio == 0.5
    with pytest.raises(KeyError, match="did you mean"):
        found[name + "s"]
    with pytest.raises(AttributeError):
        found.since = 0.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="'function'"):
        cache.stats(by="view")  # type: ignore[call-overload]
    cache.reset_stats()
    assert list(cache.stats(by="function")) == []
    assert cache.stats().hits == 0


def test_hits_in_memory_are_measured_now_and_then() -> None:
    """The first after a computation, and the first after each look at the figures."""
    cache = Cache(Flask("site"), config={"CACHE_TYPE": "SimpleCache"})
    function = cache.memoize()(square)
    for _ in range(5):
        function(1)
    name = next(name for name in cache.stats(by="function") if name.endswith("square"))
    assert cache.stats(by="function")[name].hit.count == 1
    for _ in range(5):
        function(1)
    assert cache.stats(by="function")[name].hit.count == 2
    assert cache.stats(by="function")[name].hits == 9


def test_caches_of_an_app_have_names(tmp_path: Path) -> None:
    """Their own, or by their order."""
    app = Flask("site")
    config = {"CACHE_TYPE": "SimpleCache"}
    caches = [Cache(app, config=config), Cache(app, config=config, name="pages")]
    caches.append(Cache(app, config=config))
    assert [cache.name for cache in caches] == ["cache", "pages", "cache-2"]
    caches[0].init_app(app, config)
    assert caches[0].name == "cache"
    with pytest.raises(ConfigurationError, match="named 'pages' already"):
        Cache(app, config=config, name="pages")
    with pytest.raises(ConfigurationError, match="is a text"):
        Cache(app, config=config, name="")
