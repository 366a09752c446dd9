"""Figures for Prometheus, as a scrape finds them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from blockbuster import blockbuster_ctx
from flask import Flask
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import make_wsgi_app
from quart import Quart
from werkzeug.serving import make_server

from flask_caching_async import Cache, ConfigurationError
from flask_caching_async.contrib import prometheus
from flask_caching_async.contrib.prometheus import COMPUTE_BOUNDS, HIT_BOUNDS, CacheCollector
from flask_caching_async.exceptions import BackendError
from flask_caching_async.insight.insights import Insights
from flask_caching_async.stats import (
    BUCKETS,
    BackendStats,
    StatsByUse,
    UseStats,
    Worker,
    upper_bound,
)
from support.backends import config_for
from support.faces import Face
from support.scrapes import Samples, metrics_of, samples_of
from support.waiting import PATIENCE, auntil, until

DOCS = Path(__file__).parent.parent.parent / "docs" / "_static" / "operating"


def scrape(collector: CacheCollector) -> Samples:
    """Ask a collector as a registry does."""
    return samples_of(metrics_of(collector))


def of(samples: Samples, metric: str, *labels: str) -> float:
    """The value of a metric that has these labels; 0 if there is none."""
    found = [
        v for (name, all_of), v in samples.items() if name == metric and {*labels} <= {*all_of}
    ]
    assert len(found) <= 1, found
    return found[0] if found else 0


@pytest.mark.asyncio
async def test_a_scrape_finds_what_each_function_did(face: Face) -> None:
    """Requests by their result, what was stored and what was not, and how long it took."""
    named = face.memoize()(lambda a: a)
    nothing = face.memoize()(_nothing)
    for _ in range(3):
        await face.call(named, 1)
        await face.call(nothing)
    await face.set("key", 1)
    found = scrape(CacheCollector(face.cache))
    name = face.cache.stats(by="function")
    first = next(use for use in name.values() if use.hits == 2)
    assert of(found, "flask_caching_requests_total", first.name, "hit") == 2
    assert of(found, "flask_caching_requests_total", first.name, "miss") == 1
    assert of(found, "flask_caching_stored_total", first.name) == 1
    other = f"{__name__}._nothing"
    assert of(found, "flask_caching_not_stored_total", other, "none") == 3
    assert of(found, "flask_caching_compute_seconds_count", other) == 3
    assert of(found, "flask_caching_compute_seconds_sum", other) > 0
    assert of(found, "flask_caching_compute_seconds_bucket", other, "+Inf") == 3
    assert of(found, "flask_caching_stored_total", "set", "explicit") == 1
    assert of(found, "flask_caching_breaker_open", "SimpleCache") == 0
    assert found["flask_caching_workers", ()] == 1


def _nothing() -> None:
    """What is not stored."""


def test_a_real_scrape_over_http(cache: Cache) -> None:
    """As Prometheus makes it."""
    cache.set("key", 1)
    cache.get("key")
    registry = CollectorRegistry()
    registry.register(CacheCollector(cache, name="pages"))
    server = make_server("127.0.0.1", 0, make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert 'flask_caching_requests_total{cache="pages",function="get"' in text
    assert of(samples_of(text), "flask_caching_requests_total", "get", "hit") == 1


def test_bounds_are_those_of_buckets() -> None:
    """So no bucket is counted half; and they rise."""
    exact = {upper_bound(bucket) for bucket in range(BUCKETS)}
    for bounds in (COMPUTE_BOUNDS, HIT_BOUNDS):
        assert set(bounds) <= exact and list(bounds) == sorted(set(bounds))


def test_buckets_count_all_that_is_below_their_bound(cache: Cache) -> None:
    """Each duration in its own bucket, and in all above it."""
    counters = cache._binding().ledger.of("function", "timed")
    for nanoseconds in (1, 2**20 - 1, 2**20, 2**30, 2**41):
        counters.compute.note(nanoseconds)
    found = scrape(CacheCollector(cache))
    counts = [
        of(found, "flask_caching_compute_seconds_bucket", "timed", text)
        for text in (*map(repr, COMPUTE_BOUNDS), "+Inf")
    ]
    assert counts == sorted(counts)
    below = dict(zip((*COMPUTE_BOUNDS, "more"), counts, strict=True))
    assert below[2**14 / 1e9] == 1 and below[2**20 / 1e9] == 2
    assert below[2**22 / 1e9] == 3 and below[2**31 / 1e9] == 4
    assert (below[2**36 / 1e9], below["more"]) == (4, 5)


def test_to_register_asks_nothing(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor needs it an app; a cache without one has no figures."""
    cache = Cache()
    registry = CollectorRegistry()
    registry.register(CacheCollector(cache))
    assert b"flask_caching_requests_total{" not in generate_latest(registry)
    cache.init_app(app, {"CACHE_TYPE": "SimpleCache"})
    cache.get("key")
    assert b"flask_caching_requests_total{" in generate_latest(registry)


def test_several_caches_and_apps_have_names(app: Flask) -> None:
    """One collector for all of them; a second one with the same metrics is refused."""
    config = {"CACHE_TYPE": "SimpleCache"}
    other = Flask("other")
    pages, both = Cache(app, config=config), Cache(app, config=config)
    both.init_app(other, config)
    with other.app_context():
        both.get("key")
    collector = CacheCollector(pages, name="pages").add(both, app=other, name="other")
    collector.add(both, app=app, name="app")
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    assert re.findall(r'requests_total{cache="(\w+)".*miss"', text) == ["other"]
    assert set(re.findall(r'workers{cache="(\w+)"}', text)) == {"pages", "other", "app"}
    with pytest.raises(ConfigurationError, match="name='pages'"):
        collector.add(both, name="pages")
    with pytest.raises(ConfigurationError, match="init_app"):
        collector.add(pages, app=other, name="new")
    with pytest.raises(ConfigurationError, match="not of"):
        CacheCollector(app)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(CacheCollector(pages))


def test_after_a_reset_counters_begin_anew(cache: Cache) -> None:
    """As after a restart, which Prometheus knows."""
    cache.get("key")
    collector = CacheCollector(cache)
    assert of(scrape(collector), "flask_caching_requests_total", "get", "miss") == 1
    cache.reset_stats()
    assert of(scrape(collector), "flask_caching_requests_total", "get", "miss") == 0


# --- figures that are shared ----------------------------------------------------------------------

ALL = StatsByUse(
    (UseStats("function", "app.view", hits=40, misses=2),),
    0.0,
    BackendStats("RedisCache", "there:1"),
    (Worker("a", 0.0, 0.0), Worker("b", 0.0, 0.0)),
)


class Sharing:
    """Lets figures of all workers be found, or not, as those of a backend."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: StatsByUse | Exception = ALL
        self.asked = 0
        self.go = threading.Event()
        self.go.set()

        def shared_stats(cache: Cache) -> StatsByUse:
            Path(__file__).read_text()  # which blocks
            assert self.go.wait(PATIENCE)
            return self.tell()

        async def ashared_stats(cache: Cache) -> StatsByUse:
            return self.tell()

        monkeypatch.setattr(Insights, "shared_stats", shared_stats)
        monkeypatch.setattr(Insights, "ashared_stats", ashared_stats)

    def tell(self) -> StatsByUse:
        """What is shared."""
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def sharing(monkeypatch: pytest.MonkeyPatch) -> Sharing:
    """Figures of two workers."""
    return Sharing(monkeypatch)


@pytest.fixture
def on_files(app: Flask, tmp_path: Path) -> Cache:
    """A cache that several processes share."""
    return Cache(app, config=config_for("FileSystemCache", tmp_path))


def test_a_worker_answers_for_all(on_files: Cache, sharing: Sharing) -> None:
    """Unless it is asked for its own figures."""
    found = scrape(CacheCollector(on_files))
    assert of(found, "flask_caching_requests_total", "app.view", "hit") == 40
    assert found["flask_caching_workers", ()] == 2
    own = scrape(CacheCollector(on_files, shared=False))
    assert of(own, "flask_caching_requests_total", "app.view", "hit") == 0


@pytest.mark.parametrize("how", ["raises", "alone"])
def test_a_scrape_while_the_backend_is_down_is_answered(
    on_files: Cache, sharing: Sharing, how: str
) -> None:
    """With the last totals, which do not fall, and with the state of the backend as it is now."""
    collector = CacheCollector(on_files)
    own = on_files.stats(by="function")
    sharing.answer = BackendError("down") if how == "raises" else own
    assert of(scrape(collector), "flask_caching_requests_total", "app.view", "hit") == 0
    sharing.answer = ALL
    scrape(collector)
    sharing.answer = BackendError("down") if how == "raises" else own
    found = scrape(collector)
    assert of(found, "flask_caching_requests_total", "app.view", "hit") == 40
    assert of(found, "flask_caching_breaker_open", "FileSystemCache") == 0


def test_an_open_breaker_is_seen(app: Flask, redis_proxy: Any) -> None:
    """On a real server that is gone."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_PORT": redis_proxy.port}
    cache = Cache(app, config={**config, "CACHE_ON_ERROR": "log", "CACHE_BREAKER_RESET": 60})
    redis_proxy.refuse()
    for _ in range(10):
        cache.get("key")
    cache.delete("key")
    found = scrape(CacheCollector(cache))
    assert of(found, "flask_caching_breaker_open", "RedisCache") == 1
    assert of(found, "flask_caching_backend_errors_total", "RedisCache") >= 5
    assert of(found, "flask_caching_pending_invalidations", "RedisCache") == 1
    redis_proxy.heal()
    cache._binding().engine.store.failures.owing.clear()


@pytest.mark.asyncio
async def test_a_scrape_on_an_event_loop_does_not_block_it(
    tmp_path: Path, sharing: Sharing
) -> None:
    """It is answered with what was read before; or with the newest, if that is awaited."""
    app = Quart(__name__)
    cache = Cache(app, config=config_for("FileSystemCache", tmp_path))
    collector = CacheCollector(cache)
    registry = CollectorRegistry()
    registry.register(collector)

    @app.get("/metrics")
    async def metrics() -> bytes:
        return generate_latest(registry)

    @app.get("/newest")
    async def newest() -> bytes:
        await collector.aread()
        return generate_latest(registry)

    client = app.test_client()
    sharing.go.clear()
    with blockbuster_ctx():
        first = samples_of((await (await client.get("/metrics")).get_data()).decode())
        sharing.go.set()
        await auntil(lambda: collector._figures["cache"]._last is not None)
        second = samples_of((await (await client.get("/metrics")).get_data()).decode())
        third = samples_of((await (await client.get("/newest")).get_data()).decode())
    counts = [of(s, "flask_caching_requests_total", "app.view", "hit") for s in
              (first, second, third)]  # fmt: skip
    assert counts == [0, 40, 40]
    assert sharing.asked == 2  # what was read a moment ago is not read again


def test_what_waits_for_nobody_is_read_once_at_a_time(on_files: Cache, sharing: Sharing) -> None:
    """A slow server is not asked by more and more threads."""
    figures = CacheCollector(on_files)._figures["cache"]
    with figures._reading:
        figures._read_alone(on_files)
    assert sharing.asked == 0
    figures._read_alone(on_files)
    until(lambda: sharing.asked == 1)


# --- without the package, and the files of the documentation --------------------------------------


@pytest.mark.parametrize(
    ("name", "package"),
    [("prometheus", "prometheus_client"), ("opentelemetry", "opentelemetry.metrics")],
)
def test_without_the_package_an_error_names_the_extra(name: str, package: str) -> None:
    """As soon as the module is imported, in a process of its own."""
    source = f"""
import sys
sys.modules[{package!r}] = None
from flask_caching_async import ConfigurationError
try:
    import flask_caching_async.contrib.{name}
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert f'pip install "flask-caching-async[{name}]"' in done.stdout, done.stderr


def exported() -> dict[str, set[str]]:
    """The labels of each sample that the collector may give."""
    found: dict[str, set[str]] = {}
    for family in CacheCollector(Cache()).describe():
        labels = set(family._labelnames)
        suffixes = {"counter": ("_total",), "gauge": ("",)}.get(
            family.type, ("_bucket", "_sum", "_count")
        )
        for suffix in suffixes:
            more = {"le"} if suffix == "_bucket" else set()
            found[family.name + suffix] = labels | more
    return found


def expressions() -> Iterable[str]:
    """What the dashboard and the rules ask Prometheus for."""
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]
    for group in yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def test_the_dashboard_and_the_rules_ask_for_what_is_exported() -> None:
    """Each metric exists, with the labels that are asked for."""
    known, used = exported(), set()
    for expression in expressions():
        names = re.findall(r"flask_caching_\w+", expression)
        assert names and set(names) <= set(known), expression
        used.update(names)
        labels = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expression))
        for by in re.findall(r"(?:by|on|ignoring|without)\s*\(([^)]*)\)", expression):
            labels.update(label.strip() for label in by.split(",") if label.strip())
        labels.update(re.findall(r"label_values\(.*,\s*(\w+)\)", expression))
        allowed = set.union(*[known[name] for name in names]) | {"job", "instance"}
        assert labels <= allowed, expression
    assert {name for name in known if not name.endswith(("_sum", "_count"))} - used <= {
        "flask_caching_stored_total", "flask_caching_hit_seconds_bucket",
        "flask_caching_rescued_total", "flask_caching_stored_bytes_total",
        "flask_caching_invalidations_total",
    }  # fmt: skip


def test_the_dashboard_can_be_imported() -> None:
    """It asks which data source it is to use, and each panel uses that one."""
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    assert dashboard["id"] is None and dashboard["schemaVersion"] >= 36 and dashboard["uid"]
    kinds = [(v["type"], v.get("query")) for v in dashboard["templating"]["list"]]
    assert ("datasource", "prometheus") in kinds
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) >= 8 and len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        place = panel["gridPos"]
        assert 0 <= place["x"] and place["x"] + place["w"] <= 24


def test_each_rule_says_what_to_do() -> None:
    """With a severity, a summary, a description and the page that goes on."""
    groups = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 6
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} <= set(rule["annotations"])


def test_the_bounds_of_buckets_are_what_the_module_says() -> None:
    """About a dozen each: every function has them all."""
    assert len(prometheus.COMPUTE_BOUNDS) <= 16 and len(prometheus.HIT_BOUNDS) <= 16
