"""What OpenTelemetry sees of a cache, by an exporter in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from quart import Quart

from flask_caching_async import Cache, ConfigurationError, NotInitializedError
from flask_caching_async.contrib.opentelemetry import instrument, uninstrument
from flask_caching_async.testing import FakeClock
from support.backends import config_for
from support.faces import Face
from support.waiting import auntil


class Seen:
    """What OpenTelemetry sees."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])
        self.caches: list[Cache] = []

    def see(self, cache: Cache, **more: Any) -> None:
        """Instrument a cache."""
        instrument(cache, tracer_provider=self.tracers, meter_provider=self.meters, **more)
        self.caches.append(cache)

    def spans(self) -> list[ReadableSpan]:
        """Those that have ended since the last look."""
        found = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return found

    def metrics(self) -> dict[tuple[str, tuple[Any, ...]], float]:
        """The value of each metric, by its name and its attributes but for the cache."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        named = sorted(point.attributes.items())
                        labels = tuple(v for n, v in named if n != "flask_caching.cache")
                        found[metric.name, labels] = point.value
        return found

    def end(self) -> None:
        """See nothing any more."""
        for cache in self.caches:
            uninstrument(cache)
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def seen() -> Iterator[Seen]:
    """An exporter in memory."""
    seen = Seen()
    yield seen
    seen.end()


def named(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span, without the names of ours in front."""
    return {n.removeprefix("flask_caching."): v for n, v in (span.attributes or {}).items()}


@pytest.mark.asyncio
async def test_a_computation_has_a_span_and_a_hit_has_none(face: Face, seen: Seen) -> None:
    """Of a function, and of get_or_set; with what it is called, and whether it was stored."""
    seen.see(face.cache)
    function = face.memoize()(compute_one)
    for _ in range(3):
        assert await face.call(function) == 1
    await face.get_or_set("key", lambda: 2)
    await face.call(face.memoize()(lambda: None))
    await face.call(function.refresh)
    first, second, third, fourth = seen.spans()
    assert first.name == f"compute {__name__}.compute_one" and first.kind is SpanKind.INTERNAL
    assert named(first) == {
        "cache": "cache", "kind": "function", "function": f"{__name__}.compute_one",
        "result": "miss", "stored": True,
    }  # fmt: skip
    assert named(second)["kind"] == "explicit"
    assert (named(third)["stored"], named(third)["cause"]) == (False, "none")
    assert named(fourth)["result"] == "forced"
    assert first.status.status_code is StatusCode.UNSET


def compute_one() -> int:
    """A function."""
    return 1


@pytest.mark.asyncio
async def test_what_a_function_raises_is_recorded(face: Face, clock: FakeClock, seen: Seen) -> None:
    """Whether its caller sees it, or an older value."""
    seen.see(face.cache)
    broken: list[bool] = [True]
    function = face.memoize(timeout=10, stale_if_error=100)(lambda: 1 // (not broken))
    with pytest.raises(ZeroDivisionError):
        await face.call(function)
    broken.clear()
    await face.call(function)
    broken.append(True)
    clock.advance(10)
    assert await face.call(function) == 1
    raised, fine, rescued = seen.spans()
    for span in (raised, rescued):
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "ZeroDivisionError"
        assert [event.name for event in span.events] == ["exception"]
    assert fine.status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
async def test_what_a_function_does_is_within_its_span(face: Face, seen: Seen) -> None:
    """And its span within that of whoever called it."""
    seen.see(face.cache)
    tracer = seen.tracers.get_tracer("mine")

    def body() -> int:
        with tracer.start_as_current_span("inside"):
            return 1

    with tracer.start_as_current_span("request"):
        await face.call(face.memoize(make_name=lambda name: "body")(body))
    inside, computed, request = seen.spans()
    assert inside.parent is not None and computed.parent is not None
    assert inside.parent.span_id == computed.context.span_id
    assert computed.parent.span_id == request.context.span_id


@pytest.mark.asyncio
async def test_a_refresh_in_the_background_has_a_trace_of_its_own(
    any_face: Face, any_clock: FakeClock, seen: Seen
) -> None:
    """With a link to what caused it."""
    face = any_face
    seen.see(face.cache)
    tracer = seen.tracers.get_tracer("mine")
    function = face.memoize(timeout=10, stale_while_revalidate=100)(compute_one)
    await face.call(function)
    seen.spans()
    any_clock.advance(20)
    with tracer.start_as_current_span("request") as request:
        assert await face.call(function) == 1
    spans: list[ReadableSpan] = []

    def refreshed() -> list[ReadableSpan]:
        spans.extend(seen.spans())
        return [span for span in spans if span.name.startswith("compute")]

    await auntil(refreshed)
    (span,) = refreshed()
    assert span.parent is None and named(span)["result"] == "refresh"
    assert [link.context.span_id for link in span.links] == [request.get_span_context().span_id]
    assert span.context.trace_id != request.get_span_context().trace_id


@pytest.mark.asyncio
async def test_operations_of_a_server_have_spans(
    app: Flask, redis_port: int, colour: str, seen: Seen
) -> None:
    """By the conventions for databases, and without a key or a value."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_PORT": redis_port}
    face = Face(Cache(app, config={**config, "CACHE_OPERATION_TIMEOUT": 20}), colour)
    seen.see(face.cache, name="pages")
    await face.set("secret", "value")
    assert await face.get("secret") == "value"
    await face.get_many("secret", "other")
    await face.delete("secret")
    await face.clear()
    spans = seen.spans()
    assert [span.name for span in spans] == [
        "set redis", "get redis", "get redis", "delete redis", "clear redis",
    ]  # fmt: skip
    assert {span.kind for span in spans} == {SpanKind.CLIENT}
    assert dict(spans[0].attributes or {}) == {
        "db.system.name": "redis", "db.operation.name": "set", "server.address": "localhost",
        "server.port": redis_port, "flask_caching.backend": "RedisCache",
        "flask_caching.cache": "pages",
    }  # fmt: skip
    assert (spans[2].attributes or {})["db.operation.batch.size"] == 2
    assert "secret" not in "".join(span.to_json() for span in spans)
    await face.call(face.memoize()(lambda a: a), 1)
    await asyncio.to_thread(face.cache.close)
    names = [span.name for span in seen.spans()]
    computed = next(name for name in names if name.startswith("compute"))
    assert names.index("set redis") < names.index(computed) and names[0] == "get redis"


@pytest.mark.asyncio
async def test_a_hit_on_a_server_is_one_span(
    app: Flask, memcached_port: int, colour: str, seen: Seen
) -> None:
    """What it reads, and nothing else."""
    where = {"CACHE_MEMCACHED_SERVERS": [f"127.0.0.1:{memcached_port}"]}
    config = {"CACHE_TYPE": "MemcachedCache", "CACHE_OPERATION_TIMEOUT": 20, **where}
    face = Face(Cache(app, config=config), colour)
    seen.see(face.cache)
    function = face.memoize()(compute_one)
    await face.call(function)
    seen.spans()
    assert await face.call(function) == 1
    assert [span.name for span in seen.spans()] == ["get memcached"]
    await asyncio.to_thread(face.cache.close)


@pytest.mark.asyncio
async def test_an_operation_that_fails_is_an_error(
    app: Flask, redis_proxy: Any, colour: str, seen: Seen
) -> None:
    """Though its caller finds nothing; its text, which may have a key in it, is not told."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_PORT": redis_proxy.port}
    face = Face(Cache(app, config={**config, "CACHE_ON_ERROR": "log"}), colour)
    seen.see(face.cache)
    redis_proxy.refuse()
    assert await face.get("secret") is None
    (span,) = seen.spans()
    assert span.status.status_code is StatusCode.ERROR and not span.status.description
    assert (span.attributes or {})["error.type"] and "secret" not in span.to_json()


@pytest.mark.asyncio
async def test_files_have_spans_of_no_database(app: Flask, tmp_path: Path, seen: Seen) -> None:
    """They are in this process."""
    face = Face(Cache(app, config=config_for("FileSystemCache", tmp_path)), "async")
    seen.see(face.cache)
    await face.set("key", 1)
    (span,) = seen.spans()
    assert (span.name, span.kind) == ("set FileSystemCache", SpanKind.INTERNAL)
    assert "db.system.name" not in (span.attributes or {})


@pytest.mark.asyncio
async def test_metrics_are_those_of_this_process(face: Face, seen: Seen) -> None:
    """By use, with results and causes; and how the backend is."""
    seen.see(face.cache)
    function = face.memoize()(compute_one)
    for _ in range(3):
        await face.call(function)
    await face.call(face.memoize(unless=lambda: True)(compute_two))
    found, name = seen.metrics(), f"{__name__}.compute_one"
    assert found["flask_caching.requests", (name, "function", "hit")] == 2
    assert found["flask_caching.requests", (name, "function", "miss")] == 1
    assert found["flask_caching.stored", (name, "function")] == 1
    assert found["flask_caching.compute.time", (name, "function")] > 0
    other = ("unless", f"{__name__}.compute_two", "function")
    assert found["flask_caching.not_stored", other] == 1
    assert found["flask_caching.breaker.open", ("SimpleCache",)] == 0


def compute_two() -> int:
    """Another function."""
    return 2


@pytest.mark.asyncio
async def test_nothing_is_seen_any_more_after_uninstrument(face: Face, seen: Seen) -> None:
    """And once more after instrument; doing it twice is an error, undoing it twice is none."""
    seen.see(face.cache)
    with pytest.raises(ConfigurationError, match="already"):
        seen.see(face.cache)
    uninstrument(face.cache)
    uninstrument(face.cache)
    await face.call(face.memoize()(compute_one))
    assert seen.spans() == [] and seen.metrics() == {}
    seen.see(face.cache)
    await face.call(face.memoize()(compute_two))
    assert len(seen.spans()) == 1 and seen.metrics()


def test_two_caches_are_seen_by_the_same_instruments(app: Flask, seen: Seen) -> None:
    """An SDK takes each name once."""
    for name in ("first", "second"):
        cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
        seen.see(cache, name=name)
        cache.set("key", 1)
    data = seen.reader.get_metrics_data()
    assert data is not None
    points = [
        (point.attributes or {})["flask_caching.cache"]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "flask_caching.stored"
        for point in metric.data.data_points
    ]
    assert sorted(map(str, points)) == ["first", "second"]


def test_a_cache_without_an_app_cannot_be_seen(seen: Seen) -> None:
    """It says what to do first."""
    with pytest.raises(NotInitializedError, match="init_app"):
        seen.see(Cache())


def test_a_cache_on_several_apps_is_seen_on_each(seen: Seen) -> None:
    """Their metrics are told apart by the app; or one of them alone is seen."""
    config = {"CACHE_TYPE": "SimpleCache"}
    first, second = Flask("first"), Flask("second")
    cache = Cache(first, config=config)
    cache.init_app(second, config)
    seen.see(cache)
    for app in (first, second, second):
        with app.app_context():
            cache.get("key")
    found = seen.metrics()
    assert found["flask_caching.requests", ("first", "get", "explicit", "miss")] == 1
    assert found["flask_caching.requests", ("second", "get", "explicit", "miss")] == 2
    uninstrument(cache)
    seen.see(cache, app=second, name="other")
    assert ("flask_caching.requests", ("get", "explicit", "miss")) in seen.metrics()


def test_tenants_are_seen_too(app: Flask, redis_port: int, seen: Seen) -> None:
    """Those that come later as well as those that were there."""
    prefix = ["a"]
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_PORT": redis_port}
    cache = Cache(app, config={**config, "CACHE_KEY_PREFIX": lambda: prefix[0]})
    cache.get("key")
    seen.see(cache)
    for prefix[0] in ("a", "b"):
        cache.get("key")
    assert [span.name for span in seen.spans()] == ["get redis"] * 2
    uninstrument(cache)
    cache.get("key")
    assert seen.spans() == []
    cache.close()


@pytest.mark.asyncio
async def test_a_page_of_quart_is_seen(seen: Seen) -> None:
    """As any other function; the span ends with the page."""
    app = Quart(__name__)
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    seen.see(cache)

    @app.get("/")
    @cache.cached()
    async def page() -> str:
        return "page"

    client = app.test_client()
    for _ in range(2):
        assert (await client.get("/")).status_code == 200
    (span,) = seen.spans()
    assert named(span)["kind"] == "view" and named(span)["stored"] is True
