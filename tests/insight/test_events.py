"""The fields of the log: each event once, with what it is about."""

from __future__ import annotations

import ast
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import flask_caching_async
from flask_caching_async import Cache
from flask_caching_async._store import failures as store_failures
from flask_caching_async.events import EVENTS, FIELDS, about
from flask_caching_async.signals import cache_memoize_miss
from flask_caching_async.stats import CAUSES
from flask_caching_async.testing import FakeClock
from support.backends import SyncOnly
from support.faces import Face
from support.waiting import at_once, auntil, until

PACKAGE = Path(flask_caching_async.__file__).parent


class Failing(SyncOnly):
    """Memory that fails when it is told to."""

    where = "nowhere:1"
    error: Exception | None = None

    def get(self, key: str) -> Any:
        self._perhaps()
        return super().get(key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self._perhaps()
        return super().set(key, value, timeout)

    def delete(self, key: str) -> bool:
        self._perhaps()
        return super().delete(key)

    def clear(self) -> bool:
        self._perhaps()
        return super().clear()

    def _perhaps(self) -> None:
        if self.error is not None:
            raise self.error


def make_failing(app: Any, config: Any, args: Any, kwargs: Any) -> Failing:
    """A factory function for ``CACHE_TYPE``."""
    return Failing()


@pytest.fixture
def failing(app: Flask, colour: str, caplog: pytest.LogCaptureFixture) -> Face:
    """A cache on a backend that may fail, and a log that keeps all lines."""
    caplog.set_level(logging.DEBUG, logger="flask_caching_async")
    config = {"CACHE_TYPE": make_failing, "CACHE_ON_ERROR": "log", "CACHE_BREAKER_THRESHOLD": 3}
    face = Face(Cache(app, config={**config, "CACHE_BREAKER_RESET": 0.02}), colour)
    face.cache._binding().engine.store.failures.breaker.reset = 0.02
    return face


def told(caplog: pytest.LogCaptureFixture, *events: str) -> list[dict[str, Any]]:
    """The fields of these events, in the order of the log, and that each is a known field."""
    fields = [
        {n: v for n, v in vars(record).items() if n.startswith("cache_")}
        for record in caplog.records
    ]
    assert {name for one in fields for name in one} <= set(FIELDS)
    assert {one["cache_event"] for one in fields if one} <= set(EVENTS)
    return [one for one in fields if one.get("cache_event") in events]


PLACE = {"cache_backend": "Failing", "cache_where": "nowhere:1"}


@pytest.mark.asyncio
async def test_an_outage_is_told_by_its_events(
    failing: Face, caplog: pytest.LogCaptureFixture
) -> None:
    """Each change once, in order, with the backend and what was to be deleted."""
    backend = failing.cache.cache
    breaker = failing.cache._binding().engine.store.failures.breaker
    backend.error = ConnectionError("gone")
    await failing.delete("first")
    for _ in range(10):
        await failing.get("key")
        await failing.delete("second")
    backend.error = None
    await auntil(lambda: not breaker.is_open)
    await failing.get("key")
    found = [record for record in caplog.records if record.levelno >= logging.INFO]
    events = [record.cache_event for record in found]  # type: ignore[attr-defined]
    assert events[:3] == ["invalidation_pending", "backend_down", "breaker_open"]
    assert sorted(events[3:]) == ["backend_up", "breaker_closed", "invalidation_replayed"]
    fields = told(caplog, *events)
    assert all({**one, **PLACE} == one for one in fields)
    assert fields[0]["cache_names"] == ["first"]
    assert fields[1]["cache_error"] == "ConnectionError"
    assert [one["cache_count"] for one in fields if "cache_count" in one] == [2]


@pytest.mark.asyncio
async def test_a_clear_that_is_pending_is_told(
    failing: Face, caplog: pytest.LogCaptureFixture
) -> None:
    """As a deletion is, with the word for everything."""
    failing.cache.cache.error = OSError("full")
    await failing.clear()
    await failing.clear()
    found = told(caplog, "invalidation_pending")
    assert [one["cache_names"] for one in found] == [["everything"]]


def test_what_was_never_deleted_is_told_at_the_end(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """When the program ends."""
    config = {"CACHE_TYPE": make_failing, "CACHE_ON_ERROR": "log"}
    cache = Cache(app, config=config)
    cache.cache.error = OSError("full")
    cache.delete("key")
    store_failures._at_exit()
    mine = [one for one in told(caplog, "invalidation_lost") if one["cache_names"] == ["key"]]
    assert mine == [{**PLACE, "cache_event": "invalidation_lost", "cache_names": ["key"]}]
    cache.cache.error = None
    cache.get("key")


@pytest.mark.asyncio
async def test_what_is_not_stored_is_told_at_debug(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    """With the function, the cause and the key; a bypass has no key."""
    caplog.set_level(logging.DEBUG, logger="flask_caching_async")
    nothing = face.memoize()(lambda: None)
    passed = face.memoize(unless=lambda: True)(lambda: 1)
    await face.call(nothing)
    await face.call(passed)
    first, second = told(caplog, "not_stored")
    name = f"{__name__}.test_what_is_not_stored_is_told_at_debug.<locals>.<lambda>"
    assert (first["cache_function"], first["cache_cause"]) == (name, "none")
    assert isinstance(first["cache_key"], str)
    assert (second["cache_cause"], "cache_key" in second) == ("unless", False)
    assert {first["cache_cause"], second["cache_cause"]} <= set(CAUSES)


@pytest.mark.asyncio
async def test_nothing_is_said_of_what_is_not_stored_unless_debug_is_on(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    """It may happen with each request."""
    caplog.set_level(logging.INFO, logger="flask_caching_async")
    await face.call(face.memoize()(lambda: None))
    assert caplog.records == []


@pytest.mark.asyncio
async def test_a_refresh_that_fails_and_works_again_is_told(
    face: Face, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once each, with its function, its key and the kind of its error."""
    caplog.set_level(logging.INFO, logger="flask_caching_async")
    broken: list[bool] = []

    def body() -> int:
        return 1 // (not broken)

    function = face.memoize(timeout=10, stale_while_revalidate=10_000)(body)
    await face.call(function)
    broken.append(True)
    for _ in range(2):
        clock.advance(100)
        await face.call(function)
        await auntil(lambda: not face.cache._binding().engine.background._count)
    broken.clear()
    clock.advance(100)
    await face.call(function)
    await auntil(lambda: told(caplog, "refresh_works"))
    failed, works = told(caplog, "refresh_failed", "refresh_works")
    assert failed["cache_error"] == "ZeroDivisionError"
    assert failed["cache_function"] == works["cache_function"]
    assert failed["cache_function"].endswith("body") and failed["cache_key"] == works["cache_key"]


@pytest.mark.asyncio
async def test_callbacks_listeners_and_values_that_fail_are_told(
    app: Flask, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With the function, or the name of what called them."""
    config = {"CACHE_TYPE": "SimpleCache", "CACHE_ENABLE_SIGNALS": True, "CACHE_ON_ERROR": "log"}
    face = Face(Cache(app, config=config), colour)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("no")

    await face.call(face.memoize(forced_update=fail)(lambda: 1))
    with cache_memoize_miss.connected_to(fail):
        await face.call(face.memoize()(lambda: 2))
    assert await face.call(face.memoize()(lambda: (n for n in [print]))) is not None
    await face.call(face.memoize()(lambda: __import__("threading").Lock()))
    callback, listener, refused = told(
        caplog, "callback_failed", "listener_failed", "value_refused"
    )
    assert callback["cache_error"] == "ValueError" and "cache_function" in callback
    assert listener["cache_names"] == ["cache-memoize-miss"]
    assert refused["cache_backend"] == "SimpleCache"
    assert refused["cache_error"] == "SerializationError"


def test_a_renewal_that_fails_and_works_again_is_told(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    """Once each, with its function."""
    broken = [True]

    @cache.memoize()
    def renewed() -> int:
        return 1 // (not broken)

    renewal = cache.refresh_every(3600, renewed)
    for _ in range(2):
        renewal.run()
    broken.clear()
    renewal.run()
    failed, works = told(caplog, "renewal_failed", "renewal_works")
    assert failed["cache_function"] == works["cache_function"] == renewal.function_name
    assert failed["cache_function"].endswith("renewed")


class JsonFormatter(logging.Formatter):
    """The one of the documentation."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {n: v for n, v in vars(record).items() if n.startswith("cache_")}
        return json.dumps({"level": record.levelname, "message": record.getMessage(), **fields})


def test_a_formatter_writes_the_fields_as_json(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """All of them are texts, numbers and lists."""
    cache = Cache(app, config={"CACHE_TYPE": make_failing, "CACHE_ON_ERROR": "log"})
    cache.cache.error = OSError("full")
    cache.delete("key")
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert lines[0]["cache_event"] == "invalidation_pending" and lines[0]["cache_names"] == ["key"]
    cache.cache.error = None
    cache.get("key")


def test_no_field_is_one_that_every_record_has() -> None:
    """``logging`` refuses such a name when the line is written, which may be years later."""
    record = logging.LogRecord("name", logging.INFO, "path", 1, "message", (), None)
    assert not set(FIELDS) & {*vars(record), "message", "asctime"}
    assert set(about("backend_up", backend="a", where="b")) <= set(FIELDS)


def calls_of_the_log() -> list[tuple[str, ast.Call]]:
    """Every call of a method of ``log`` in the package, with its place."""
    return [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
    ]


def test_every_line_from_info_on_is_an_event() -> None:
    """None is written without its fields."""
    levels = ("info", "warning", "error", "exception", "critical")
    bare = [
        place
        for place, call in calls_of_the_log()
        if call.func.attr in levels  # type: ignore[attr-defined]
        and "extra" not in [keyword.arg for keyword in call.keywords]
    ]
    assert bare == []


def test_every_event_is_one_that_the_package_tells() -> None:
    """There is no word that nothing says."""
    said = {
        node.args[0].value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "about"
        and isinstance(node.args[0], ast.Constant)
    }
    assert said == set(EVENTS)


def test_the_breaker_says_each_change_once_however_many_threads_fail(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """They fail together."""
    config = {"CACHE_TYPE": make_failing, "CACHE_ON_ERROR": "log", "CACHE_BREAKER_THRESHOLD": 2}
    cache = Cache(app, config={**config, "CACHE_BREAKER_RESET": 0.02})
    cache.cache.error = OSError("full")
    at_once(8, lambda: [cache.get("key") for _ in range(5)])
    assert len(told(caplog, "breaker_open")) == 1
    breaker = cache._binding().engine.store.failures.breaker  # type: ignore[attr-defined]
    cache.cache.error = None
    until(lambda: not breaker.is_open)
    assert len(told(caplog, "breaker_closed")) == 1
