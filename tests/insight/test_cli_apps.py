"""Which app and which cache a command is about, and what it says where there is none."""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import flask
import pytest
import quart

from flask_caching_async import Cache
from flask_caching_async.insight.cli import commands
from support.command_lines import FRAMEWORKS, Shop, run, shops

APPS = {"flask": flask.Flask, "quart": quart.Quart}
FILES = {"CACHE_TYPE": "FileSystemCache"}


@pytest.fixture(params=FRAMEWORKS)
def app(request: Any) -> Any:
    """An app without a cache."""
    return APPS[request.param]("shop")


def two_caches(app: Any, folder: Path) -> tuple[Cache, Cache]:
    """A cache without a name, and one with."""
    first = Cache(app, config={**FILES, "CACHE_DIR": str(folder / "1")})
    second = Cache(app, config={**FILES, "CACHE_DIR": str(folder / "2")}, name="pages")
    return first, second


def test_a_cache_is_named_if_there_are_several(app: Any, tmp_path: Path) -> None:
    """Without a name they are listed; a name that there is not is answered by one that there is."""
    first, second = two_caches(app, tmp_path)
    first.set("key", 1)
    second.set("key", 2)
    code, _, err = run(app, "get", "key")
    assert code == 2 and "--cache cache or --cache pages" in err
    assert run(app, "get", "key", "--cache", "pages").out == "2\n"
    assert run(app, "get", "key", "--cache", "cache").out == "1\n"
    code, _, err = run(app, "get", "key", "--cache", "page")
    assert code == 2 and "no cache called 'page'" in err and "Did you mean 'pages'?" in err


def test_a_function_of_another_cache_says_which(app: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Nothing is dropped from the wrong one."""
    _, second = two_caches(app, tmp_path)
    module: Any = types.ModuleType("shelf")
    module.count = second.memoize()(lambda: 1)
    monkeypatch.setitem(sys.modules, "shelf", module)
    code, _, err = run(app, "delete-memoized", "shelf:count", "--cache", "cache")
    assert code == 1 and "add --cache pages" in err
    assert run(app, "delete-memoized", "shelf:count", "--cache", "pages").code == 0
    module.count = Cache().memoize()(lambda: 1)
    code, _, err = run(app, "delete-memoized", "shelf:count", "--cache", "pages")
    assert code == 1 and "does not have" in err


@pytest.mark.parametrize("name", sorted(set(commands.commands) - {"get", "delete"}))
def test_an_app_without_a_cache_is_told_what_to_write(name: str) -> None:
    """By every command, in one line."""
    needed = {"explain": ["/"], "refresh": ["/"]}
    given = needed.get(name, ["x"] if name.startswith("delete-") else [])
    code, out, err = run(flask.Flask("shop"), name, *given)
    assert (code, out) == (1, "")
    assert "has no cache: write cache = Cache(app)" in err and err.count("\n") == 1


def test_a_cache_of_flask_caching_is_told_what_to_import(app: Any) -> None:
    """It leaves itself at the same place."""
    theirs = type("Cache", (), {"__module__": "flask_caching"})
    app.extensions["cache"] = {theirs(): None}
    code, _, err = run(app, "ping")
    assert code == 1 and "from flask_caching_async import Cache" in err


def test_a_wrong_setting_is_told_in_one_line(monkeypatch: Any) -> None:
    """The app cannot be made then; the password of a URL is not shown."""
    for framework, kind in APPS.items():

        def create(kind: Any = kind) -> Any:
            made = kind("shop")
            url = "redis//:secret@localhost"
            Cache(made, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url})
            return made

        info = __import__(f"{framework}.cli", fromlist=["cli"]).ScriptInfo(create_app=create)
        result = kind("other").test_cli_runner().invoke(commands, ["ping"], obj=info)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "CACHE_REDIS_URL" in result.stderr and result.stderr.count("\n") == 1
        assert "secret" not in result.stderr


def test_without_an_app_the_command_line_says_how_to_name_one() -> None:
    """For whoever calls the group by itself; an app context is enough."""
    from click.testing import CliRunner

    result = CliRunner().invoke(commands, ["ping"])
    assert result.exit_code == 2 and "flask --app APP cache" in result.stderr
    app = flask.Flask("shop")
    Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    with app.app_context():
        assert CliRunner().invoke(commands, ["ping"]).exit_code == 0


def test_a_group_of_that_name_which_the_app_has_keeps_its_commands(app: Any) -> None:
    """They hide ours; the others are there."""
    Cache(app, config={"CACHE_TYPE": "SimpleCache"})

    @app.cli.group("cache")
    def own() -> None:
        """The app's own commands."""

    @own.command("clear")
    def clear() -> None:
        """The app's own."""
        click.echo("cleared by the app")

    @own.command("warm")
    def warm() -> None:
        """The app's own."""
        click.echo("warm")

    assert run(app, "clear").out == "cleared by the app\n"
    assert run(app, "warm").out == "warm\n"
    assert run(app, "ping").code == 0
    assert {"warm", "ping"} <= set(run(app, "--help").out.split())


def test_an_app_that_cannot_be_made_leaves_the_help(app: Any) -> None:
    """Its error comes once, from a command."""
    made: list[int] = []

    def create() -> Any:
        made.append(1)
        raise OSError("no database")

    runner = flask.Flask("other").test_cli_runner()
    info = flask.cli.ScriptInfo(create_app=create)
    assert "delete-tags" in runner.invoke(commands, ["--help"], obj=info).stdout
    made.clear()
    result = runner.invoke(commands, ["ping"], obj=info)
    assert isinstance(result.exception, OSError) and made == [1]


# --- a backend that fails -------------------------------------------------------------------------

#: Every command that asks the backend, with the arguments that it needs.
ASKING = [
    ["get", "key"], ["delete", "key"], ["delete-tags", "red"], ["clear", "--yes"], ["stats"],
    ["delete-view", "book"], ["delete-memoized", "{shop}:total"], ["refresh", "/books/1"],
    ["explain", "/books/1"], ["ping"], ["doctor"], ["stats", "--watch"], ["stats", "--reset"],
]  # fmt: skip


@pytest.fixture(params=FRAMEWORKS)
def dead(request: Any, monkeypatch: Any) -> Iterator[Shop]:
    """A shop whose Redis is not there, though its errors are only to be logged."""
    config = {
        "CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": "redis://:secret@127.0.0.1:1/0",
        "CACHE_KEY_PREFIX": "shop:", "CACHE_ON_ERROR": "log", "CACHE_BREAKER_RESET": 3600,
    }  # fmt: skip
    yield from shops(request.param, monkeypatch, config)


@pytest.mark.parametrize("args", ASKING, ids=" ".join)
def test_a_dead_server_is_told_and_is_the_exit_code_1(
    dead: Shop, args: list[str], caplog: Any
) -> None:
    """In one line, without its password; nothing claims to be done, and nothing stays pending."""
    code, out, err = dead(*[arg.format(shop=dead.name) for arg in args])
    assert code == 1 and "secret" not in out + err
    assert "connecting to 127.0.0.1:1" in out + err
    assert err.count("\n") <= 1 and "Dropped" not in out and "deleted" not in out
    assert caplog.records == []
    assert dead.cache.stats(by="function").backend.pending == ()


def test_after_a_command_errors_are_logged_as_before(dead: Shop, caplog: Any) -> None:
    """What commands insist on ends with them."""
    dead("get", "key")
    assert dead.cache.get("key") is None
    assert "failed to read" in caplog.text


def test_a_server_that_hangs_costs_no_more_than_the_timeouts(
    redis_proxy: Any, monkeypatch: Any
) -> None:
    """It is told, too."""
    config = {
        "CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": f"redis://127.0.0.1:{redis_proxy.port}",
        "CACHE_KEY_PREFIX": "shop:", "CACHE_OPERATION_TIMEOUT": 0.05, "CACHE_CONNECT_TIMEOUT": 0.05,
    }  # fmt: skip
    for shop in shops("flask", monkeypatch, config):
        assert shop("ping").code == 0
        redis_proxy.silence()
        for args in (["ping"], ["get", "key"], ["clear", "--yes"]):
            code, out, err = shop(*args)
            assert (code, out) == (1, "") and err.count("\n") == 1


def test_ping_says_where_what_and_how_fast(clean_redis: Any, monkeypatch: Any) -> None:
    """For people, and for programs."""
    config = {
        "CACHE_TYPE": "RedisCache",
        "CACHE_REDIS_URL": clean_redis.url,
        "CACHE_KEY_PREFIX": "a:",
    }
    for shop in shops("quart", monkeypatch, config):
        code, out, err = shop("ping")
        assert (code, err) == (0, "") and f"RedisCache at 127.0.0.1:{clean_redis.port}" in out
        assert "answered in" in out and "version" in out and "breaker closed" in out
        found = json.loads(shop("ping", "--json").out)
        assert found["ok"] is True and found["cache"] == "cache" and found["seconds"] < 10
        assert found["breaker_open"] is False


def test_a_tenant_is_the_one_that_the_prefix_answers(
    clean_redis: Any, app: Any, monkeypatch: Any
) -> None:
    """From the environment, for example; where it answers none, that is told."""

    def prefix() -> str:
        return f"{os.environ['TENANT']}:"

    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": clean_redis.url}
    cache = Cache(app, config={**config, "CACHE_KEY_PREFIX": prefix})
    for tenant in ("a", "b"):
        monkeypatch.setenv("TENANT", tenant)
        cache.set("key", tenant)
    monkeypatch.setenv("TENANT", "a")
    code, out, _ = run(app, "clear", "--yes")
    assert code == 0 and "of this tenant" in out
    assert run(app, "get", "key").code == 1
    monkeypatch.setenv("TENANT", "b")
    assert run(app, "get", "key").out == "'b'\n"
    monkeypatch.delenv("TENANT")
    code, out, err = run(app, "get", "key")
    assert (code, out) == (1, "") and "KeyError: 'TENANT'" in err
    assert run(app, "ping").code == 0 and run(app, "doctor").code == 0
