"""``stats`` on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flask_caching_async.insight.cli import interrupting
from flask_caching_async.insight.cli.output import duration, elapsed, table
from support.command_lines import FRAMEWORKS, Shop, shops
from support.params import table as rows


@pytest.fixture(params=FRAMEWORKS)
def shop(request: Any, monkeypatch: Any, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose cache is in files."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path / "files")}
    yield from shops(request.param, monkeypatch, config)


@pytest.mark.filterwarnings("ignore:.*read the session")
def test_stats_has_a_row_for_each_use_and_their_total(shop: Shop) -> None:
    """With the causes of what was not stored, in words."""
    shop.module.prices.of("pen")
    shop.module.prices.of("pen")
    shop("refresh", "/me")
    code, out, err = shop("stats")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert lines["name"][:4] == ["name", "kind", "calls", "hit"]
    of = next(row for name, row in lines.items() if name.endswith(".Prices.of"))
    assert of[1:5] == ["function", "2", "50.0", "1"]
    assert of[10::2] == ["ms", "ms", "ms"]
    assert int(lines["total"][1]) >= 3
    assert "1 x  personal  it was made from what belongs to one visitor" in out


def test_columns_of_numbers_end_below_each_other(shop: Shop) -> None:
    """Whatever is wide in the names of others."""
    shop.module.prices.of("pen")
    _, out, _ = shop("stats")
    heading, *body = out.split("\n\n")[1].splitlines()
    ends = heading.index("calls") + len("calls")
    assert all(row[ends - 1].isdigit() and row[ends] == " " for row in body)


def test_json_has_the_figures_as_numbers(shop: Shop) -> None:
    """Seconds throughout; the total is the sum of the rows."""
    for _ in range(3):
        shop.module.prices.of("pen")
    found = json.loads(shop("stats", "--json").out)
    (use,) = [use for use in found["uses"] if use["name"].endswith("Prices.of")]
    assert (use["kind"], use["calls"], use["hits"], use["misses"]) == ("function", 3, 2, 1)
    assert use["compute"]["count"] == 1 and 0 < use["compute"]["mean"] < 10
    assert found["total"]["hits"] == sum(use["hits"] for use in found["uses"])
    assert found["cache"] == "cache" and found["backend"]["breaker_open"] is False


def test_a_cache_that_nothing_has_used_says_so(shop: Shop) -> None:
    """Instead of a table without rows."""
    code, out, _ = shop("stats")
    assert code == 0 and "Nothing has used this cache yet." in out


def test_reset_counts_from_now_on(shop: Shop) -> None:
    """It is said beside the answer; there is none."""
    shop.module.prices.of("pen")
    code, out, err = shop("stats", "--reset")
    assert (code, out) == (0, "") and "Counting begins anew" in err
    assert "Nothing has used" in shop("stats").out


def test_watch_looks_again_until_it_is_interrupted(shop: Shop, monkeypatch: Any) -> None:
    """That is no error; in a pipe, each look is a block, or a line of JSON."""
    shop.module.prices.of("pen")
    for args, count in ((["--watch"], "total"), (["--watch", "0.5", "--json"], '"workers":')):
        slept: list[float] = []

        def sleep(seconds: float, slept: list[float] = slept) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                raise KeyboardInterrupt

        # Not for all: threads of the cache sleep, too.
        monkeypatch.setattr(interrupting, "time", SimpleNamespace(sleep=sleep))
        code, out, _ = shop("stats", *args)
        assert code == 0 and out.count(count) == 3 and "\x1b" not in out
        assert slept == [0.5 if "0.5" in args else 2.0] * 3
    assert len(out.splitlines()) == 3
    assert shop("stats", "--watch", "0").code == 2


def test_watch_outlives_a_backend_that_fails_meanwhile(redis_proxy: Any, monkeypatch: Any) -> None:
    """It says so, and goes on."""
    url = f"redis://127.0.0.1:{redis_proxy.port}"
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url, "CACHE_KEY_PREFIX": "shop:"}
    for shop in shops("flask", monkeypatch, config):
        looks = 0

        def sleep(seconds: float) -> None:
            nonlocal looks
            looks += 1
            if looks == 3:
                raise KeyboardInterrupt
            redis_proxy.cut() if looks == 1 else redis_proxy.heal()
            redis_proxy.refuse() if looks == 1 else None

        # Not for all: threads of the cache sleep, too.
        monkeypatch.setattr(interrupting, "time", SimpleNamespace(sleep=sleep))
        code, out, err = shop("stats", "--watch")
        assert code == 0 and out.count("breaker closed") == 2 and "has not given the figures" in err


@rows(
    "seconds,text",
    [(0.0000341, "0.034 ms"), (0.00123, "1.23 ms"), (0.0456, "45.6 ms"), (0.789, "789 ms"),
     (1.5, "1.50 s"), (75.25, "75.2 s"), (1234, "1234 s")],
)  # fmt: skip
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    """And a unit."""
    assert duration(seconds) == text


@rows("seconds,text", [(5, "5 s"), (119, "119 s"), (300, "5 min"), (7200, "2 h"), (200000, "2 d")])
def test_spans_are_told_in_one_unit(seconds: float, text: str) -> None:
    """The largest of which there are two."""
    assert elapsed(seconds) == text


def test_a_table_is_aligned_by_what_a_terminal_shows() -> None:
    """Wide letters take two columns, combining ones none; orders to the terminal are escaped."""
    lines = table([("name", "n"), ("書庫", "1"), ("e\u0301", "10"), ("\x1b[2J", "100")])
    assert lines == ["name       n", "書庫       1", "e\u0301         10", "\\x1b[2J  100"]
