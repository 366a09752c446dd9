"""``delete-view``, ``delete-memoized``, ``refresh`` and ``explain`` on the command line."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_caching_async.insight.cli.arguments import call_of, headers_of, literal
from support.command_lines import FRAMEWORKS, Shop, shops
from support.params import table


@pytest.fixture(params=FRAMEWORKS)
def shop(request: Any, monkeypatch: Any, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose cache is in files."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path / "files")}
    yield from shops(request.param, monkeypatch, config)


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of the shop, whatever its colour."""
    answer = function(*args, **kwargs)
    return asyncio.run(answer) if inspect.iscoroutine(answer) else answer


def get(shop: Shop, path: str, **headers: str) -> str:
    """Ask the shop for a page."""
    response = shop.app.test_client().get(path, headers=headers)
    if inspect.iscoroutine(response):
        response = asyncio.run(response)
    text = response.get_data(as_text=True)
    return str(asyncio.run(text) if inspect.iscoroutine(text) else text)


# --- arguments ------------------------------------------------------------------------------------


@table(
    "text,value",
    [
        ("7", 7), ("-1.5", -1.5), ("red", "red"), ('"7"', "7"), ("None", None), ("", ""),
        ("[1, 'a']", [1, "a"]), ("007", "007"), ("2024-01-01", "2024-01-01"), ("f(x)", "f(x)"),
        ("(" * 500, "(" * 500),
    ],
)  # fmt: skip
def test_an_argument_is_a_literal_or_else_a_text(text: str, value: Any) -> None:
    """What is no literal of Python needs no quotes."""
    assert literal(text) == value and type(literal(text)) is type(value)


def test_arguments_are_given_by_their_place_or_their_name() -> None:
    """A quoted text with an equals sign is no name."""
    assert call_of(["7", "lang=de", "b=2", "'a=b'", "1=2"]) == (
        (7, "a=b", "1=2"),
        {"lang": "de", "b": 2},
    )


def test_headers_are_given_as_in_http() -> None:
    """With a colon; spaces around them do not count."""
    assert headers_of(["Accept-Language: de", "X:1"]) == {"Accept-Language": "de", "X": "1"}


# --- delete-memoized ------------------------------------------------------------------------------


def test_delete_memoized_drops_all_calls_or_the_one_with_these_arguments(shop: Shop) -> None:
    """Negative numbers are arguments, not options; names are those of the function."""
    for price in (-1, 2):
        call(shop.module.total, price, currency="USD")
    shop.module.calls.clear()
    assert shop("delete-memoized", shop.named("total"), "-1", "currency=USD").code == 0
    for price in (-1, 2):
        call(shop.module.total, price, currency="USD")
    assert shop.module.calls == [(-1, 0.2, "USD")]
    code, out, _ = shop("delete-memoized", shop.named("total"))
    assert code == 0 and "Dropped all calls" in out
    call(shop.module.total, 2, currency="USD")
    assert len(shop.module.calls) == 2


def test_a_function_may_be_named_as_the_statistics_name_it(shop: Shop) -> None:
    """With points alone."""
    assert shop("delete-memoized", f"{shop.name}.Prices.of").code == 0


def test_a_method_is_dropped_for_all_instances_and_said_to_be(shop: Shop) -> None:
    """There is no instance on a command line, unless the module has one."""
    prices = shop.module.Prices()
    prices.of("pen")
    code, out, _ = shop("delete-memoized", shop.named("Prices.of"))
    assert code == 0 and "on all instances" in out
    prices.of("pen")
    assert shop.module.calls == ["pen", "pen"]
    code, _, err = shop("delete-memoized", shop.named("Prices.of"), "pen")
    assert code == 1 and "there is no instance here" in err
    assert shop("delete-memoized", shop.named("prices.of"), "pen").code == 0


def test_a_classmethod_is_given_its_class(shop: Shop) -> None:
    """Its other arguments stand on the command line."""
    for thing in ("pen", "ink"):
        shop.module.Prices.taxed(thing)
    assert shop("delete-memoized", shop.named("Prices.taxed"), "pen").code == 0
    for thing in ("pen", "ink"):
        shop.module.Prices.taxed(thing)
    assert shop.module.calls == ["pen", "ink", "pen"]


def test_what_names_no_memoized_function_is_told_in_one_line(shop: Shop) -> None:
    """With what was most likely meant, and the exit code 1."""
    told = {
        "no_such_module:total": "there is no module 'no_such_module'",
        "nothing": "write package.module:function",
        ":total": "write package.module:function",
        shop.named("totl"): "did you mean 'total'?",
        shop.named("Prices.off"): "nothing called 'off' in Prices",
        shop.named("undecorated"): "is not decorated",
        shop.named("calls"): "is a list",
        shop.named("book"): "use delete-view",
    }
    for name, text in told.items():
        code, out, err = shop("delete-memoized", name)
        assert (code, out) == (1, "") and text in err and err.count("\n") == 1, (name, err)


def test_arguments_that_the_function_does_not_take_are_an_error(shop: Shop) -> None:
    """Such a call was never stored."""
    code, _, err = shop("delete-memoized", shop.named("total"), "1", "colour=red")
    assert code == 1 and "no call of" in err and "colour" in err
    assert shop("delete-memoized", shop.named("total"), "a=1", "a=2").code == 2
    assert shop("delete-memoized", shop.named("total"), "--wrong").code == 2


# --- delete-view ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (["book"], []),
        (["{shop}:book"], []),
        (["book", "number=1"], [2]),
        (["book", "--path", "/books/1"], [2]),
        (["book", "--path", "/books/2?page=3"], [1, 2]),
    ],
    ids=str,
)
def test_delete_view_drops_all_pages_or_those_that_are_named(
    shop: Shop, given: list[str], left: list[int]
) -> None:
    """By its endpoint or its function, its arguments or a path."""
    for number in (1, 2):
        get(shop, f"/books/{number}")
    shop.module.calls.clear()
    code, out, err = shop("delete-view", *[text.format(shop=shop.name) for text in given])
    assert (code, err) == (0, "") and out.startswith("Dropped")
    for number in (1, 2):
        get(shop, f"/books/{number}")
    assert shop.module.calls == [number for number in (1, 2) if number not in left]


def test_what_names_no_cached_view_is_told_in_one_line(shop: Shop) -> None:
    """Also a view that is not cached, and one that was registered too early."""
    told = {
        "bok": "did you mean 'book'?",
        "plain": "is not cached: put @cache.cached() below @app.route",
        "late": "registered as a view before it was cached",
        shop.named("total"): "use delete-memoized",
    }
    for name, text in told.items():
        code, out, err = shop("delete-view", name)
        assert (code, out) == (1, "") and text in err and err.count("\n") == 1, (name, err)


def test_a_page_is_named_in_one_way(shop: Shop) -> None:
    """By a path, or by names; a place says nothing."""
    assert shop("delete-view", "book", "--path", "/books/1", "number=1").code == 2
    code, _, err = shop("delete-view", "book", "1")
    assert code == 2 and "name=1" in err
    code, _, err = shop("delete-view", "book", "--path", "/elsewhere")
    assert code == 1 and "no rule of the app leads to" in err


# --- refresh --------------------------------------------------------------------------------------


def test_refresh_computes_a_page_and_says_what_is_stored(shop: Shop) -> None:
    """Whatever was stored; the next visitor gets the new one."""
    get(shop, "/books/7?page=2")
    code, out, err = shop("refresh", "/books/7?page=2")
    assert (code, err) == (0, "")
    assert f"Computed {shop.module.book.__module__}.book for /books/7?page=2" in out
    assert "Stored under view//books/7" in out and "fresh for" in out
    assert shop.module.calls == [7, 7]
    assert get(shop, "/books/7?page=2") == "book 7 2" and len(shop.module.calls) == 2


def test_refresh_asks_for_a_page_with_headers(shop: Shop) -> None:
    """Which choose a variant; also of a sync view on Quart."""
    assert shop("refresh", "/greeting", "-H", "Accept-Language: de").code == 0
    assert get(shop, "/greeting", **{"Accept-Language": "de"}) == "de"
    assert shop("refresh", "/greeting", "-H", "nonsense").code == 2


@pytest.mark.filterwarnings("ignore:.*read the session")
def test_refresh_says_why_nothing_was_stored(shop: Shop) -> None:
    """In one line, with the exit code 1."""
    told = {
        "/me": "was computed, and not stored: it was made from the session",
        "/broken": "failed, and nothing was stored: LookupError: no such shelf",
        "/books/nine": "no view of",
        "/plain": "is not cached",
        "/late": "registered as a view before it was cached",
    }
    for path, text in told.items():
        code, out, err = shop("refresh", path)
        assert (code, out) == (1, "") and text in err and err.count("\n") == 1, (path, err)


def test_in_debug_mode_an_error_of_a_view_has_its_traceback(shop: Shop, monkeypatch: Any) -> None:
    """As anywhere in debug mode."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    monkeypatch.setenv("QUART_DEBUG", "1")
    with warnings.catch_warnings(action="ignore"):  # debug mode looks at more
        code, _, err = shop("refresh", "/broken")
    assert code == 1 and "Traceback" in err and "no such shelf" in err


def test_a_quart_app_is_started_and_stopped_for_a_refresh(monkeypatch: Any, tmp_path: Path) -> None:
    """A view may need what is opened before serving. Nothing else is: no renewal begins."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path)}
    for shop in shops("quart", monkeypatch, config):
        shop.module.events = events = []
        shop.app.before_serving(functools.partial(events.append, "open"))
        shop.app.after_serving(functools.partial(events.append, "closed"))
        shop.cache.refresh_every(60, shop.module.total, 99)
        assert shop("refresh", "/books/1").code == 0
        assert events == ["open", "closed"]
        assert shop.module.calls == [1]


# --- explain --------------------------------------------------------------------------------------


def test_explain_says_what_would_answer_a_page(shop: Shop) -> None:
    """Before and after it is stored; for people and for programs."""
    code, out, _ = shop("explain", "/books/7?page=2")
    assert code == 0 and "nothing is stored under this key" in out and "/books/7" in out
    get(shop, "/books/7?page=2")
    found = json.loads(shop("explain", "/books/7?page=2", "--json").out)
    assert (found["cache"], found["answer"], found["served"]) == ("cache", "hit", True)
    assert found["stored"]["tags"] == ["books"]
    assert shop.module.calls == [7]


def test_explain_says_what_would_answer_a_call(shop: Shop) -> None:
    """With its arguments, as delete-memoized takes them."""
    call(shop.module.total, -1, currency="USD")
    found = json.loads(shop("explain", shop.named("total"), "-1", "currency=USD", "--json").out)
    assert found["answer"] == "hit"
    assert (
        json.loads(shop("explain", shop.named("total"), "2", "--json").out)["answer"] == "compute"
    )


@pytest.mark.filterwarnings("ignore:.*read the session")
def test_explain_knows_why_the_workers_did_not_store_it(shop: Shop) -> None:
    """What a process knows of its last value, another one is not told; their figures are shared."""
    get(shop, "/me")
    said = "1 x not stored, or past the cache (personal): it was made from what belongs to one"
    assert said in shop("explain", "/me").out
    assert json.loads(shop("explain", "/me", "--json").out)["not_stored"] == {"personal": 1}


def test_explain_takes_headers_of_a_request(shop: Shop) -> None:
    """They choose the variant."""
    get(shop, "/greeting", **{"Accept-Language": "de"})
    said = [shop("explain", "/greeting", "-H", f"Accept-Language: {to}").out for to in ("de", "en")]
    assert "answered from the cache" in said[0] and "answered from the cache" not in said[1]


def test_explain_refuses_what_is_neither_a_path_nor_a_function(shop: Shop) -> None:
    """A path has no other arguments than its query string."""
    assert shop("explain", "/books/1", "7").code == 2
    assert shop("explain", "no_such_module:f").code == 1
