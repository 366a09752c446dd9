"""What ``doctor`` finds, and what not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cachelib
import pytest
import redis
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.serializers import JSONSerializer
from support.command_lines import FRAMEWORKS, run, shops

#: A backend that is as it should be; nothing listens there.
REDIS = {
    "CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": "redis://127.0.0.1:1",
    "CACHE_KEY_PREFIX": "shop:", "CACHE_SERIALIZER": JSONSerializer,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: Any) -> None:
    """Nothing says how many workers there are."""
    for name in ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"):
        monkeypatch.delenv(name, raising=False)


def found(config: dict[str, Any], app: Any = None) -> tuple[int, set[tuple[str, str]]]:
    """The exit code, and what was found: levels and names."""
    app = app or Flask("shop")
    Cache(app, config=config)
    code, out, _ = run(app, "doctor", "--json")
    findings = json.loads(out)["findings"]
    assert all(finding["text"] and finding["advice"] for finding in findings)
    return code, {(finding["level"], finding["name"]) for finding in findings}


def test_a_cache_that_is_as_it_should_be_has_no_finding(tmp_path: Path) -> None:
    """And says so."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path / "files")}
    assert found(config) == (0, set())
    app = Flask("shop")
    Cache(app, config=config)
    assert "Nothing was found." in run(app, "doctor").out


def test_a_finding_says_what_to_write() -> None:
    """The weightiest comes first; at the end stands how many there are."""
    app = Flask("shop")
    Cache(app, config={**REDIS, "CACHE_DEFAULT_TIMEOUT": 0})
    code, out, _ = run(app, "doctor")
    assert code == 1 and "\x1b" not in out
    _, first, advice, *_, last = out.splitlines()
    assert first.startswith("error: RedisCache at 127.0.0.1:1 does not answer:")
    assert "CACHE_REDIS_URL" in advice and last == "1 error, 1 warning"


def test_a_server_that_does_not_answer_is_an_error() -> None:
    """So is NullCache; if it is meant, that is a warning."""
    assert found(REDIS) == (1, {("error", "unreachable")})
    meant = {"CACHE_TYPE": "NullCache", "CACHE_NO_NULL_WARNING": True}
    assert found(meant) == (0, {("warning", "null-cache")})
    with pytest.warns(UserWarning, match="NullCache"):
        assert found({}) == (1, {("error", "null-cache")})


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("WEB_CONCURRENCY", "4", "error"),
        ("WEB_CONCURRENCY", "1", "advice"),
        ("GUNICORN_CMD_ARGS", "--bind=:8000 --workers=3", "error"),
        ("GUNICORN_CMD_ARGS", "-w 3", "error"),
        ("GUNICORN_CMD_ARGS", "--threads 4 -w1", "advice"),
        ("OTHER", "", "advice"),
    ],
)
def test_memory_under_several_workers_is_an_error(
    name: str, value: str, level: str, monkeypatch: Any
) -> None:
    """As far as the environment says how many; else it is an advice, but not in debug mode."""
    monkeypatch.setenv(name, value)
    code, findings = found({"CACHE_TYPE": "SimpleCache"})
    assert (code, findings) == (int(level == "error"), {(level, "memory-of-many")})


def test_in_debug_mode_memory_is_fine(monkeypatch: Any) -> None:
    """There is one process."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    assert found({"CACHE_TYPE": "SimpleCache"}) == (0, set())


@pytest.mark.parametrize(
    ("settings", "finding"),
    [
        ({"CACHE_KEY_PREFIX": ""}, ("warning", "no-prefix")),
        ({"CACHE_KEY_PREFIX": "shop"}, ("warning", "open-prefix")),
        ({"CACHE_KEY_PREFIX": "flask_cache_"}, ("advice", "usual-prefix")),
        ({"CACHE_SERIALIZER": None}, ("warning", "pickle")),
        ({"CACHE_DEFAULT_TIMEOUT": 0}, ("warning", "no-timeout")),
        ({"CACHE_OPERATION_TIMEOUT": 60}, ("warning", "long-timeout")),
        ({"CACHE_OPTIONS": {"socket_timeout": 60}}, ("warning", "long-timeout")),
        ({"CACHE_BREAKER_THRESHOLD": 0}, ("warning", "no-breaker")),
        ({"CACHE_REDIS_HOTS": "redis"}, ("warning", "unknown-setting")),
        ({"CACHE_SHELF": "left"}, ("advice", "unknown-setting")),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:CACHE_")
def test_what_hurts_on_a_shared_server_is_found(
    settings: dict[str, Any], finding: tuple[str, str]
) -> None:
    """Each alone, besides that nothing listens there."""
    assert found({**REDIS, **settings}) == (1, {("error", "unreachable"), finding})


@pytest.mark.filterwarnings("ignore:CACHE_REDIS_HOTS")
def test_an_unknown_setting_is_answered_by_the_nearest_known_one() -> None:
    """Also one that only the app's own configuration has."""
    app = Flask("shop")
    app.config["CACHE_REDIS_HOTS"] = "redis"
    Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    assert "did you mean CACHE_REDIS_HOST?" in run(app, "doctor").out


@pytest.mark.filterwarnings("ignore:CACHE_DIR")
def test_a_directory_that_others_may_write_to_is_an_error(tmp_path: Path) -> None:
    """Unless what is found there runs nothing."""
    tmp_path.chmod(0o777)
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path)}
    assert found(config) == (1, {("error", "open-directory")})
    assert found({**config, "CACHE_SERIALIZER": JSONSerializer}) == (0, set())


def test_a_client_without_a_timeout_is_found_in_a_foreign_backend() -> None:
    """It waits for ever; one of ours has a timeout whatever is said."""

    def backend(timeout: float | None) -> Any:
        made: Any = cachelib.SimpleCache()
        made.__class__ = type("Foreign", (cachelib.SimpleCache,), {})
        made._write_client = redis.Redis(port=1, socket_timeout=timeout)
        return lambda app, config, args, kwargs: made

    for timeout, expected in ((None, True), (0.5, False)):
        _, findings = found({"CACHE_TYPE": backend(timeout)})
        assert (("warning", "no-timeout") in findings) == expected


def test_two_caches_in_one_place_are_found(tmp_path: Path) -> None:
    """A directory each is fine."""
    app = Flask("shop")
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path / "files")}
    Cache(app, config=config)
    Cache(app, config=config, name="same")
    Cache(app, config={**config, "CACHE_DIR": str(tmp_path / "other")}, name="other")
    for name, told in {"cache": True, "same": True, "other": False}.items():
        out = run(app, "doctor", "--cache", name).out
        assert ("store in one place under one prefix" in out) == told


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_view_that_was_registered_before_it_was_cached_is_an_error(
    framework: str, monkeypatch: Any, tmp_path: Path
) -> None:
    """In both frameworks, and without debug mode."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path / "files")}
    for shop in shops(framework, monkeypatch, config):
        code, out, _ = shop("doctor")
        assert code == 1 and "late was registered as a view before it was cached" in out
        assert "put @cache.cached below @app.route" in out


def test_no_finding_shows_a_password() -> None:
    """Neither in text nor in JSON."""
    app = Flask("shop")
    Cache(app, config={**REDIS, "CACHE_REDIS_URL": "redis://:secret@127.0.0.1:1"})
    assert "secret" not in run(app, "doctor").out + run(app, "doctor", "--json").out
