"""``flask cache …``: what it says, and its exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.insight.cli import commands
from support.servers import free_port


def run(app: Flask, *args: str, **more: Any) -> tuple[int, str, str]:
    """The exit code of a command, and what it said."""
    result = app.test_cli_runner().invoke(commands, list(args), **more)
    return result.exit_code, result.stdout, result.stderr


def test_what_is_stored_is_read_and_deleted(app: Flask) -> None:
    """``get`` says 1 for what is not there."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    cache.set("key", "value")
    assert run(app, "get", "key")[:2] == (0, "'value'\n")
    assert run(app, "delete", "key")[0] == 0
    assert cache.get("key") is None
    assert run(app, "get", "key")[0] == 1


def test_clear_asks_first(app: Flask) -> None:
    """Who says no keeps all; ``--yes`` is not asked."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    cache.set("key", "value")
    assert run(app, "clear", input="n\n")[0] == 1
    assert cache.get("key") == "value"
    assert run(app, "clear", "--yes")[0] == 0
    assert cache.get("key") is None


def test_the_figures_can_be_read_by_a_program(app: Flask) -> None:
    """``stats --json``."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    cache.memoize()(lambda: 1)()
    code, said, _ = run(app, "stats", "--json")
    assert code == 0
    assert "lambda" in json.dumps(json.loads(said))
    assert run(app, "stats")[0] == 0


def test_a_page_is_explained(app: Flask) -> None:
    """By its path."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    app.add_url_rule("/page", view_func=cache.cached()(lambda: "page"), endpoint="page")
    code, said, _ = run(app, "explain", "/page")
    assert "view//page" in said and code in (0, 1)


def test_a_dead_server_is_said_in_one_line(app: Flask) -> None:
    """With the exit code 1, and no traceback."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": f"redis://127.0.0.1:{free_port()}"}
    Cache(app, config=config)
    for command in (("ping",), ("get", "key"), ("delete", "key"), ("clear", "--yes")):
        code, said, error = run(app, *command)
        assert code == 1, command
        assert "Traceback" not in said + error and said + error != ""


@pytest.mark.parametrize("more", [("--cache", "pages"), ()])
def test_one_of_several_caches_is_named(app: Flask, more: tuple[str, ...]) -> None:
    """Else the names are said."""
    for name in ("pages", "other"):
        Cache(app, config={"CACHE_TYPE": "SimpleCache"}, name=name).set("key", name)
    code, said, error = run(app, "get", *more, "key")
    assert (code == 0) is bool(more)
    assert "pages" in said + error


def test_an_app_without_a_cache_is_told_what_to_write(app: Flask) -> None:
    """And a command that is no command is one of usage."""
    code, _, error = run(app, "stats")
    assert code != 0 and "Cache" in error
    assert run(app, "statistics")[0] == 2
