"""Signals and counters of cached views: what is told, when, and that telling harms nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, abort

from flask_caching_async import (
    Cache,
    cache_memoize_hit,
    cache_memoize_miss,
    cache_view_hit,
    cache_view_miss,
)
from flask_caching_async.testing import FakeClock
from support.backends import config_for
from support.params import each_pace
from support.sites import Site, background

SIGNALS = {
    "view hit": cache_view_hit,
    "view miss": cache_view_miss,
    "memoize hit": cache_memoize_hit,
    "memoize miss": cache_memoize_miss,
}


class Heard(list[tuple[str, dict[str, Any]]]):
    """What listeners were told, in order."""

    @property
    def names(self) -> list[str]:
        """Which signals were sent."""
        return [name for name, _ in self]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Listens to all signals."""
    heard = Heard()
    listeners: list[tuple[Any, Callable[..., None]]] = []
    for name, signal in SIGNALS.items():

        def listen(sender: Any, *, name: str = name, **payload: Any) -> None:
            heard.append((name, payload))

        signal.connect(listen)
        listeners.append((signal, listen))
    yield heard
    for signal, listen in listeners:
        signal.disconnect(listen)


@pytest.fixture
def site(app: Flask, colour: str) -> Site:
    """A site that sends signals, in both colours."""
    config = {"CACHE_TYPE": "SimpleCache", "CACHE_ENABLE_SIGNALS": True}
    return Site(app, Cache(app, config=config), colour)


@pytest.fixture
def any_site(embedded: str, app: Flask, colour: str, tmp_path: Any) -> Site:
    """A site that sends signals, on each kind of backend."""
    config = {**config_for(embedded, tmp_path), "CACHE_ENABLE_SIGNALS": True}
    return Site(app, Cache(app, config=config), colour)


def test_signals_are_off_by_default(app: Flask, cache: Cache, colour: str, heard: Heard) -> None:
    """``CACHE_ENABLE_SIGNALS`` turns them on; they can be turned on later, too."""
    site = Site(app, cache, colour)
    site.numbers()
    assert [site.text(), site.text(), heard] == ["1", "1", []]
    cache.enable_signals = True
    assert (site.text(), heard.names) == ("1", ["view hit"])


@each_pace
def test_a_view_sends_one_signal_for_each_request(any_site: Site, heard: Heard) -> None:
    """Through the sync lane as well; the payload is the cache, the key and the call's arguments."""
    any_site.numbers("/works/<int:number>")
    for _ in range(3):
        any_site.get("/works/5")
    payload = {
        "cache": any_site.cache, "cache_key": "view//works/5", "args": (), "kwargs": {"number": 5},
    }  # fmt: skip
    assert heard == [("view miss", payload), ("view hit", payload), ("view hit", payload)]


def test_a_memoized_function_sends_its_function_too(site: Site, heard: Heard) -> None:
    """``f`` is the undecorated one."""
    function = site.face.memoize()(lambda a, b=2: a + b)
    with site.app.app_context():
        assert [site.call(function, 1), site.call(function, 1)] == [3, 3]
        key = function.make_cache_key(function.uncached, 1)
    call = {"cache_key": key, "args": (1,), "kwargs": {}}
    payload = {"cache": site.cache, "f": function.uncached, **call}
    assert heard == [("memoize miss", payload), ("memoize hit", payload)]


@pytest.mark.parametrize("how", ["forced_update", "is_stale"])
def test_a_forced_or_stale_call_sends_a_miss(site: Site, heard: Heard, how: str) -> None:
    """The function is about to be called."""
    site.numbers(**{how: lambda *args: True})
    assert [site.text(), site.text()] == ["1", "2"]
    assert heard.names == ["view miss", "view miss"]


def test_a_bypassed_call_sends_nothing(site: Site, heard: Heard) -> None:
    """The cache was not asked."""
    site.numbers(unless=lambda: True, methods=["GET"])
    site.numbers("/post", endpoint="post", methods=["POST"])
    site.get()
    site.app.test_client().post("/post")
    assert not heard


def test_a_stale_page_is_a_hit_and_its_refresh_is_silent(
    site: Site, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One signal per request, none for what happens in the background."""
    clock = FakeClock()
    clock.install(site.cache)
    site.numbers("/works", 10, stale_while_revalidate=10)
    with background(monkeypatch) as wait:
        site.get()
        clock.advance(10)
        assert site.text() == "1"
        wait()
    assert heard.names == ["view miss", "view hit"]


def test_an_abort_sends_signals_like_a_page(site: Site, heard: Heard) -> None:
    """It is an answer that is stored."""
    site.view()(lambda: abort(404))
    assert [site.get().status_code, site.get().status_code] == [404, 404]
    assert heard.names == ["view miss", "view hit"]


def test_a_failing_listener_harms_nobody(
    site: Site, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """The page is served, the other listeners are told, and the failure is logged."""

    def broken(sender: Any, **payload: Any) -> None:
        raise LookupError("in a listener")

    site.numbers()
    with cache_view_hit.connected_to(broken), cache_view_miss.connected_to(broken):
        assert [site.text(), site.text()] == ["1", "1"]
    assert heard.names == ["view miss", "view hit"]
    assert caplog.text.count("LookupError: in a listener") == 2


def test_an_async_listener_harms_nobody(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """It cannot be awaited where a signal is sent; a log says so."""

    async def listen(sender: Any, **payload: Any) -> None:
        raise AssertionError("never awaited")

    site.numbers()
    with cache_view_miss.connected_to(listen):
        assert site.text() == "1"
    assert "async" in caplog.text


def test_a_muted_signal_is_silent(site: Site, heard: Heard) -> None:
    """As blinker has it."""
    site.numbers()
    with cache_view_miss.muted():
        site.get()
    assert not heard


def test_stats_count_requests_of_views(site: Site) -> None:
    """Hits and misses, what was computed and stored; a snapshot does not change."""
    site.numbers("/works/<int:n>")
    before = site.cache.stats()
    for n in (1, 1, 1, 2):
        site.get(f"/works/{n}")
    stats = site.cache.stats()
    assert (stats.hits, stats.misses, stats.computed, stats.stored) == (2, 2, 2, 2)
    assert stats.hit_ratio == 0.5
    assert (before.hits, before.misses, before.hit_ratio) == (0, 0, 0.0)
    with pytest.raises(AttributeError):
        stats.hits = 9  # type: ignore[misc]


def test_stats_count_failures_and_what_is_not_stored(site: Site) -> None:
    """A page that may not be stored was computed all the same."""
    site.view("/bad", endpoint="bad")(lambda: 1 / 0)
    site.view("/busy", endpoint="busy")(lambda: ("busy", 503))
    site.app.testing = False
    assert [site.get("/bad").status_code, site.get("/busy").status_code] == [500, 503]
    stats = site.cache.stats()
    assert (stats.misses, stats.computed, stats.failed, stats.stored) == (2, 1, 1, 0)
