"""``get``, ``delete``, ``delete-tags`` and ``clear`` on the command line, in Flask and in Quart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_caching_async.insight.cli import commands
from support.command_lines import FRAMEWORKS, Shop, shops


@pytest.fixture(params=FRAMEWORKS)
def shop(request: Any, monkeypatch: Any, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose cache is in files."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path / "files")}
    yield from shops(request.param, monkeypatch, config)


def test_get_shows_a_value_as_python_writes_it(shop: Shop) -> None:
    """Also a stored None, which is a value."""
    shop.cache.set("list", [1, "two"])
    shop.cache.set("none", None)
    assert shop("get", "list") == (0, "[1, 'two']\n", "")
    assert shop("get", "none") == (0, "None\n", "")


def test_get_of_a_key_without_a_value_is_the_exit_code_1(shop: Shop) -> None:
    """It says so where a pipe does not get it."""
    assert shop("get", "nothing") == (1, "", "Error: nothing is stored under 'nothing'.\n")


def test_get_gives_plain_data_as_json_and_nothing_else(shop: Shop) -> None:
    """What JSON cannot say is an error that names its type."""
    shop.cache.set("data", {"a": [1, None]})
    shop.cache.set("set", {1})
    assert json.loads(shop("get", "data", "--json").out) == {"a": [1, None]}
    code, out, err = shop("get", "set", "--json")
    assert (code, out) == (1, "") and "a set and cannot be said in JSON" in err


def test_get_raw_gives_text_bytes_and_pages_to_the_byte(shop: Shop) -> None:
    """Without a line end; a number has no such form."""
    response = shop.app.response_class("<h1>é</h1>")
    for key, value in {"text": "é\n", "bytes": b"a\r\nb", "page": response, "number": 7}.items():
        shop.cache.set(key, value)
    runner = shop.app.test_cli_runner()

    def raw(key: str) -> bytes:
        return bytes(runner.invoke(commands, ["get", "--raw", key]).stdout_bytes)

    assert raw("text") == "é\n".encode()
    assert raw("bytes") == b"a\r\nb"
    assert raw("page") == "<h1>é</h1>".encode()
    code, _, err = shop("get", "number", "--raw")
    assert code == 1 and "is a int; --raw is for text, bytes and pages" in err
    assert shop("get", "number", "--raw", "--json").code == 2


def test_a_value_gives_no_orders_to_the_terminal(shop: Shop) -> None:
    """Neither by its repr, nor by a key that is told back."""
    shop.cache.set("evil", Evil())
    assert shop("get", "evil").out == "\\x1b[2J\\u202e\n"
    assert "\x1b" not in shop("delete", "\x1b[2J").out


class Evil:
    """Its repr would clear a terminal."""

    def __repr__(self) -> str:
        return "\x1b[2J\u202e"


def test_delete_says_of_each_key_whether_it_was_there(shop: Shop) -> None:
    """One that was not is no error: afterwards all is as it was wanted."""
    shop.cache.set("a", 1)
    assert shop("delete", "a", "b") == (0, "a: deleted\nb: nothing was stored under it\n", "")
    assert shop.cache.get("a") is None
    assert shop("delete").code == 2


def test_delete_tags_drops_what_carries_one_of_them(shop: Shop) -> None:
    """And nothing else."""
    for tag in ("red", "green", "blue"):
        shop.cache.set(tag, 1, tags=[tag])
    assert shop("delete-tags", "red", "green") == (0, "Dropped what carries red or green.\n", "")
    assert shop.cache.get_many("red", "green", "blue") == [None, None, 1]


def test_clear_refuses_where_nobody_can_be_asked(shop: Shop) -> None:
    """Without a terminal and without --yes nothing is dropped."""
    shop.cache.set("a", 1)
    code, out, err = shop("clear")
    assert (code, out) == (1, "") and "add --yes" in err
    assert shop.cache.get("a") == 1


def test_clear_drops_all_if_told_so(shop: Shop, tmp_path: Path) -> None:
    """It says what, and where."""
    shop.cache.set("a", 1)
    code, out, _ = shop("clear", "--yes")
    assert code == 0 and "'cache'" in out and str(tmp_path / "files") in out
    assert shop.cache.get("a") is None


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_clear_asks_on_a_terminal(shop: Shop, monkeypatch: Any, answer: str, code: int) -> None:
    """Only a yes drops anything."""
    monkeypatch.setattr(
        "click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False
    )
    shop.cache.set("a", 1)
    done = shop("clear", input=answer)
    assert done.code == code and "Drop everything" in done.err + done.out
    assert (shop.cache.get("a") is None) == (code == 0)


def test_a_command_can_be_run_where_a_loop_runs(shop: Shop) -> None:
    """In an async test of an app, for example."""

    async def test() -> None:
        shop.cache.set("a", 1)
        assert shop("get", "a").out == "1\n"
        assert shop("refresh", "/books/7").code == 0

    asyncio.run(test())


@pytest.mark.parametrize("kind", ["SimpleCache", "NullCache"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_whose_memory_is_looked_at_is_said_beside_the_answer(
    framework: str, kind: str, monkeypatch: Any
) -> None:
    """That of a server cannot be seen from a command."""
    config = {"CACHE_TYPE": kind, "CACHE_NO_NULL_WARNING": True}
    for shop in shops(framework, monkeypatch, config):
        code, out, err = shop("delete", "a")
        assert code == 0 and "Note:" not in out
        said = "this is the memory of this command" if kind == "SimpleCache" else "NullCache"
        assert said in err
