"""Deleting what decorators stored: every form, and what can match nothing says so."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.local import LocalProxy

from flask_caching_async import Cache, ColourError
from support.backends import config_for
from support.faces import COLOURS, Face
from support.params import cases
from support.waiting import all_busy, auntil, until


class Log:
    """Counts computations."""

    def __init__(self) -> None:
        self.count = 0

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def __call__(self, *args: Any) -> int:
        self.count += 1
        return self.count


@pytest.fixture
def log() -> Log:
    """The computations of a test."""
    return Log()


class Bench:
    """A class with methods of each kind, all of them memoized."""

    def __init__(self, face: Face) -> None:
        log = Log()

        class Adder:
            def __init__(self, name: str) -> None:
                self.name = name

            def __repr__(self) -> str:
                return f"Adder({self.name!r})"

            @face.memoize()
            def add(self, a: int, b: int = 0) -> int:
                return log()

            @face.memoize()
            def other(self, a: int) -> int:
                return log()

            @face.memoize()
            def alone(self) -> int:
                return log()

            @face.memoize(args_to_ignore=["self"])
            def shared(self, a: int) -> int:
                return log()

            @classmethod
            @face.memoize()
            def kind(cls, a: int, b: int = 0) -> int:
                return log()

            @staticmethod
            @face.memoize()
            def static(a: int, b: int = 0) -> int:
                return log()

        class Child(Adder):
            pass

        self.face, self.log = face, log
        self.Adder, self.Child = Adder, Child
        self.one, self.two, self.child = Adder("1"), Adder("2"), Child("1")

    def calls(self) -> dict[str, Callable[[], Any]]:
        """Every call whose entry a deletion may hit."""
        one, two, child = self.one, self.two, self.child
        return {
            "one.add(1)": lambda: one.add(1),
            "one.add(2)": lambda: one.add(2),
            "two.add(1)": lambda: two.add(1),
            "child.add(1)": lambda: child.add(1),
            "one.other(1)": lambda: one.other(1),
            "one.alone()": lambda: one.alone(),
            "two.alone()": lambda: two.alone(),
            "shared(1)": lambda: one.shared(1),
            "shared(2)": lambda: two.shared(2),
            "Adder.kind(1)": lambda: self.Adder.kind(1),
            "Adder.kind(2)": lambda: self.Adder.kind(2),
            "Child.kind(1)": lambda: self.Child.kind(1),
            "static(1)": lambda: self.Adder.static(1),
            "static(2)": lambda: self.Adder.static(2),
        }

    async def recomputed(self) -> set[str]:
        """Make every call; which of them were computed."""
        found = set()
        for name, call in self.calls().items():
            before = self.log.count
            await self.face.call(call)
            if self.log.count > before:
                found.add(name)
        return found


#: What is deleted, and which calls must be computed again after that.
FORMS: dict[str, tuple[Callable[[Any], tuple[Any, tuple[Any, ...], dict[str, Any]]], set[str]]] = {
    "method through its class": (
        lambda s: (s.Adder.add, (), {}),
        {"one.add(1)", "one.add(2)", "two.add(1)", "child.add(1)"},
    ),
    "method through a subclass": (
        lambda s: (s.Child.add, (), {}),
        {"one.add(1)", "one.add(2)", "two.add(1)", "child.add(1)"},
    ),
    "bound method": (lambda s: (s.one.add, (), {}), {"one.add(1)", "one.add(2)"}),
    "bound method of a subclass": (lambda s: (s.child.add, (), {}), {"child.add(1)"}),
    "bound method without parameters": (lambda s: (s.one.alone, (), {}), {"one.alone()"}),
    "class with an instance of a method without parameters": (
        lambda s: (s.Adder.alone, (s.one,), {}),
        {"one.alone()"},
    ),
    "class with an instance": (lambda s: (s.Adder.add, (s.two,), {}), {"two.add(1)"}),
    "bound with an argument": (lambda s: (s.one.add, (1,), {}), {"one.add(1)"}),
    "bound with a keyword": (lambda s: (s.one.add, (), {"a": 1}), {"one.add(1)"}),
    "bound with a default": (lambda s: (s.one.add, (1, 0), {}), {"one.add(1)"}),
    "bound with its instance": (lambda s: (s.one.add, (s.one, 1), {}), {"one.add(1)"}),
    "bound with its instance and a keyword": (
        lambda s: (s.one.add, (s.one,), {"a": 1, "b": 0}),
        {"one.add(1)"},
    ),
    "class with instance and argument": (lambda s: (s.Adder.add, (s.one, 1), {}), {"one.add(1)"}),
    "class with instance and keyword": (
        lambda s: (s.Adder.add, (s.one,), {"a": 2}),
        {"one.add(2)"},
    ),
    "class with an equal instance": (
        lambda s: (s.Adder.add, (s.Adder("1"), 1), {}),
        {"one.add(1)"},
    ),
    "an instance of a subclass": (lambda s: (s.Adder.add, (s.child, 1), {}), {"child.add(1)"}),
    "a call that never was": (lambda s: (s.one.add, (99,), {}), set()),
    "ignored self, bound": (lambda s: (s.one.shared, (), {}), {"shared(1)", "shared(2)"}),
    "ignored self, bound with an argument": (lambda s: (s.two.shared, (1,), {}), {"shared(1)"}),
    "ignored self, through the class": (
        lambda s: (s.Adder.shared, (s.two, 2), {}),
        {"shared(2)"},
    ),
    "classmethod": (
        lambda s: (s.Adder.kind, (), {}),
        {"Adder.kind(1)", "Adder.kind(2)", "Child.kind(1)"},
    ),
    "classmethod with its class": (
        lambda s: (s.Adder.kind, (s.Adder,), {}),
        {"Adder.kind(1)", "Adder.kind(2)"},
    ),
    "classmethod with a subclass": (
        lambda s: (s.Adder.kind, (s.Child,), {}),
        {"Child.kind(1)"},
    ),
    "classmethod with class and argument": (
        lambda s: (s.Adder.kind, (s.Adder, 1), {}),
        {"Adder.kind(1)"},
    ),
    "classmethod with class and keyword": (
        lambda s: (s.Adder.kind, (s.Adder,), {"b": 0, "a": 1}),
        {"Adder.kind(1)"},
    ),
    "classmethod reached through an instance": (
        lambda s: (s.one.kind, (s.Adder, 2), {}),
        {"Adder.kind(2)"},
    ),
    "staticmethod": (lambda s: (s.Adder.static, (), {}), {"static(1)", "static(2)"}),
    "staticmethod with an argument": (lambda s: (s.one.static, (1,), {}), {"static(1)"}),
}  # fmt: skip


@cases("form", FORMS, ways=("colour", COLOURS))
@pytest.mark.asyncio
async def test_delete_memoized_drops_what_its_form_says_and_nothing_else(
    face: Face, form: str
) -> None:
    """Each form of Flask-Caching's docs, and ours."""
    bench = Bench(face)
    chosen, expected = FORMS[form]
    await bench.recomputed()
    assert await bench.recomputed() == set()
    function, args, kwargs = chosen(bench)
    assert await face.delete_memoized(function, *args, **kwargs) is True
    assert await bench.recomputed() == expected
    assert await bench.recomputed() == set()


@pytest.mark.asyncio
async def test_delete_memoized_works_on_every_backend(any_face: Face) -> None:
    """The stamps of a function and of an instance are kept on all of them."""
    bench = Bench(any_face)
    await bench.recomputed()
    for form in (
        *("method through its class", "bound method", "classmethod"),
        *("bound with an argument", "class with an instance"),
    ):
        chosen, expected = FORMS[form]
        function, args, kwargs = chosen(bench)
        assert await any_face.delete_memoized(function, *args, **kwargs) is True, form
        assert await bench.recomputed() == expected, form


#: Deletions that can match nothing.
IN_VAIN: tuple[Callable[[Any], tuple[Any, tuple[Any, ...], dict[str, Any]]], ...] = (
    lambda s: (s.Adder.add, (1,), {}),
    lambda s: (s.Adder.add, (), {"a": 1}),
    lambda s: (s.Adder.add, (object, 1), {}),
    lambda s: (s.Adder.add, (s.Adder, 1), {}),
    lambda s: (s.Adder.shared, (1,), {}),
    lambda s: (s.Adder.kind, (1,), {}),
    lambda s: (s.Adder.kind, (), {"a": 1}),
    lambda s: (s.one.kind, (s.one, 1), {}),
    lambda s: (s.one.add, (1, 2, 3), {}),
    lambda s: (s.one.add, (), {"b": 1}),
    lambda s: (s.one.add, (1,), {"nobody": 1}),
    lambda s: (s.Adder.static, (1, 2, 3), {}),
    lambda s: (s.one.alone, (1,), {}),
)


@pytest.mark.asyncio
async def test_a_deletion_that_can_match_nothing_raises_and_deletes_nothing(face: Face) -> None:
    """A method through its class without an instance, a classmethod without its class, a call
    that the function would not take."""
    bench = Bench(face)
    await bench.recomputed()
    for chosen in IN_VAIN:
        function, args, kwargs = chosen(bench)
        with pytest.raises(ValueError):
            await face.delete_memoized(function, *args, **kwargs)
            pytest.fail(f"{function} {args} {kwargs}")
        assert await bench.recomputed() == set(), (function, args, kwargs)


@pytest.mark.asyncio
async def test_the_wrong_object_is_named(face: Face, app: Flask) -> None:
    """A name, an undecorated function, one of the other decorator, one of another cache."""
    memoized = face.memoize()(lambda: 1)
    cached = face.cached(key_prefix="key")(lambda: 2)
    another = Face(Cache(app, config={"CACHE_TYPE": "SimpleCache"}), face.colour)
    await face.call(memoized)
    await face.call(cached)
    for delete in (face.delete_memoized, face.delete_memoized_verhash):
        with pytest.raises(TypeError, match="takes the decorated function itself, not 'memoized'"):
            await delete("memoized")
        with pytest.raises(ValueError, match=r"not decorated with @cache\.memoize"):
            await delete(len)
        with pytest.raises(ValueError, match="delete_cached"):
            await delete(cached)
        with pytest.raises(ValueError, match=r"not decorated"):
            await delete(memoized.uncached)
    with pytest.raises(TypeError, match="takes the decorated function itself"):
        await face.delete_cached("cached")
    with pytest.raises(ValueError, match="delete_memoized"):
        await face.delete_cached(memoized)
    with pytest.raises(ValueError, match="another Cache"):
        await another.delete_memoized(memoized)
    with pytest.raises(ValueError, match="another Cache"):
        await another.delete_cached(cached)
    before = face.cache.stats().computed
    await face.call(memoized)
    await face.call(cached)
    assert face.cache.stats().computed == before


@pytest.mark.asyncio
async def test_the_attribute_drops_every_call_also_through_an_instance(face: Face) -> None:
    """``method.delete_memoized()`` takes no arguments, as in Flask-Caching."""
    bench = Bench(face)
    await bench.recomputed()
    name = "adelete_memoized" if face.is_async else "delete_memoized"
    assert await face.call(getattr(bench.one.add, name)) is True
    assert await bench.recomputed() == {
        "one.add(1)", "one.add(2)", "two.add(1)", "child.add(1)"
    }  # fmt: skip
    with pytest.raises(TypeError):
        await face.call(getattr(bench.one.add, name), 1)


@pytest.mark.asyncio
async def test_delete_memoized_verhash_drops_all_calls(face: Face) -> None:
    """Of the function, or of the instance that it is reached through."""
    bench = Bench(face)
    await bench.recomputed()
    assert await face.delete_memoized_verhash(bench.one.add)
    assert await bench.recomputed() == {"one.add(1)", "one.add(2)"}
    assert await face.delete_memoized_verhash(bench.Adder.static)
    assert await bench.recomputed() == {"static(1)", "static(2)"}


@pytest.mark.asyncio
async def test_deleting_one_call_matches_it_however_it_is_spelled(face: Face) -> None:
    """Positional, by keyword, with defaults left out or given; in any type it was called with."""
    log = Log()

    @face.memoize()
    def f(a: Any, b: int = 2, *rest: int, c: int = 3, **more: int) -> int:
        return log()

    spellings: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((1,), {}), ((), {"a": 1}), ((1, 2), {}), ((1,), {"b": 2}), ((1,), {"c": 3, "b": 2})
    ]  # fmt: skip
    for args, kwargs in spellings:
        await face.call(f, 1)
        await face.call(f, True)
        before = log.count
        assert await face.delete_memoized(f, *args, **kwargs) is True
        await face.call(f, True)
        assert log.count == before
        await face.call(f, 1)
        assert log.count == before + 1
    await face.call(f, 1, 2, 3, c=4, d=5)
    before = log.count
    await face.delete_memoized(f, 1, 2, 3, d=5, c=4)
    await face.call(f, 1, 2, 3, c=4, d=5)
    assert log.count == before + 1


@pytest.mark.asyncio
async def test_a_deletion_uses_the_options_of_its_function(face: Face) -> None:
    """``make_name``, ``hash_method``, ``source_check``, ``args_to_ignore``, callable tags."""
    import hashlib

    log = Log()

    @face.memoize(
        make_name=lambda name: "other",
        hash_method=hashlib.md5,
        source_check=True,
        args_to_ignore=["session"],
        tags=lambda session, number: [f"n:{number}"],
    )
    def f(session: object, number: int) -> int:
        return log()

    assert [await face.call(f, None, 1), await face.call(f, None, 2)] == [1, 2]
    await face.delete_memoized(f, "whatever", 1)
    assert [await face.call(f, 0, 1), await face.call(f, 0, 2)] == [3, 2]
    await face.delete_memoized(f)
    assert [await face.call(f, 0, 1), await face.call(f, 0, 2)] == [4, 5]


@pytest.mark.parametrize("option", ["make_name", "tags"])
@pytest.mark.asyncio
async def test_async_key_callbacks_leave_the_a_twins(cache: Cache, option: str) -> None:
    """The sync ``make_cache_key`` and ``delete_memoized`` raise and name them; nothing leaks."""
    log = Log()

    async def callback(*args: Any) -> str:
        return "given"

    @cache.memoize(**{option: callback})
    async def f(a: int) -> int:
        return log()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [await f(1), await f(2)] == [1, 2]
        with pytest.raises(ColourError, match=f"{option}.*amake_cache_key"):
            f.make_cache_key(f.uncached, 1)
        with pytest.raises(ColourError, match=f"{option}.*adelete_memoized"):
            f.delete_memoized()
        assert [await f(1), await f(2)] == [1, 2]
        with pytest.raises(ColourError, match="adelete_memoized"):
            cache.delete_memoized(f, 1)
        assert [await f(1), await f(2)] == [1, 2]
        assert await cache.aget(await f.amake_cache_key(f.uncached, 1)) == 1
        assert await cache.adelete_memoized(f, 1)
        assert [await f(1), await f(2)] == [3, 2]
        assert await f.adelete_memoized()
        assert [await f(1), await f(2)] == [4, 5]


class Current(LocalProxy[Any]):
    """A proxy of a class of its own."""


@pytest.mark.anyio
@cases(
    "proxy",
    [LocalProxy, Current, lambda find: LocalProxy(lambda: LocalProxy(find))],
    ids=["a proxy", "of another class", "of a proxy"],
)
async def test_a_proxy_is_what_it_stands_for_wherever_it_is_given(face: Face, proxy: Any) -> None:
    """``current_user`` finds and drops what the user finds, as an argument and as an instance."""
    log = Log()

    class User:
        def __repr__(self) -> str:
            return "User()"

        @face.memoize()
        def greeting(self, hour: int) -> int:
            return log()

    @face.memoize(timeout=proxy(lambda: 5))
    def hi(user: User) -> int:
        return log()

    user = User()
    current = proxy(lambda: user)
    for told, asked in [(user, current), (current, user)]:
        first = await face.call(hi, told)
        assert await face.call(hi, asked) == first
        assert await face.delete_memoized(hi, asked)
        assert await face.call(hi, told) > first
        for arguments in [(User.greeting, asked), (User.greeting, asked, 1), (asked.greeting,)]:
            first = await face.call(User.greeting, told, 1)
            assert await face.call(User.greeting, asked, 1) == first
            assert await face.delete_memoized(*arguments)
            assert await face.call(User.greeting, told, 1) > first
    with pytest.raises(ValueError, match="no instance"):
        await face.delete_memoized(User.greeting, proxy(lambda: "x"), 1)
    assert await face.get_or_set(proxy(lambda: "key"), proxy(lambda: 1)) == 1
    assert await face.get("key") == 1


# --- views ----------------------------------------------------------------------------------------


class VisitedViews:
    """An app with cached views, and how often they were computed."""

    def __init__(self, app: Flask, face: Face) -> None:
        self.app, self.face, self.seen = app, face, []
        seen: list[str] = self.seen

        @app.route("/user/<name>")
        @face.cached()
        def user(name: str) -> str:
            seen.append(f"user {name}")
            return name

        @app.route("/works")
        @face.cached(query_string=True)
        def works() -> str:
            from flask import request

            seen.append(f"works {request.query_string.decode()}")
            return "works"

        @app.route("/one")
        @app.route("/two")
        @face.cached(vary_on="Accept-Language")
        def varies() -> str:
            seen.append("varies")
            return "varies"

        self.user, self.works, self.varies = user, works, varies

    def visit(self, *paths: str, **options: Any) -> list[str]:
        """Ask for pages; what was computed for that."""
        self.seen.clear()
        for path in paths:
            assert self.app.test_client().get(path, **options).status_code == 200
        return list(self.seen)


@pytest.fixture
def site(app: Flask, face: Face) -> VisitedViews:
    """Views in memory."""
    return VisitedViews(app, face)


@pytest.fixture
def any_site(app: Flask, any_face: Face) -> VisitedViews:
    """Views on each backend."""
    return VisitedViews(app, any_face)


PAGES = ("/user/ann", "/user/bob", "/works?a=1&b=2", "/works?a=2", "/works", "/one")
ALL = ["user ann", "user bob", "works a=1&b=2", "works a=2", "works ", "varies"]


@cases(
    "chosen,context,expected",
    [
        (lambda s: (s.user, ("/user/ann",), {}), None, ["user ann"]),
        (lambda s: (s.user, (), {"path": "/user/ann"}), None, ["user ann"]),
        (lambda s: (s.user, (), {"name": "bob"}), "/", ["user bob"]),
        (lambda s: (s.user, (), {}), None, ["user ann", "user bob"]),
        (lambda s: (s.user, ("/user/nobody",), {}), None, []),
        (lambda s: (s.works, ("/works", "b=2&a=1"), {}), None, ["works a=1&b=2"]),
        (lambda s: (s.works, ("/works", {"a": 1, "b": "2"}), {}), None, ["works a=1&b=2"]),
        (lambda s: (s.works, ("/works", [("b", 2), ("a", 1)]), {}), None, ["works a=1&b=2"]),
        (lambda s: (s.works, ("/works", ""), {}), None, ["works "]),
        (lambda s: (s.works, ("/works",), {}), None, ["works a=1&b=2", "works a=2", "works "]),
        (lambda s: (s.works, (), {"query_args": "a=2"}), "/works", ["works a=2"]),
        (lambda s: (s.works, (), {}), None, ["works a=1&b=2", "works a=2", "works "]),
        (lambda s: (s.varies, ("/one",), {}), None, ["varies"]),
        (lambda s: (s.varies, ("/two",), {}), None, []),
    ],
    ids=["path", "path by name", "view arguments", "whole view", "no such page", "query text",
         "query mapping", "query pairs", "empty query", "every query of a path",
         "query and the request's path", "whole view with query", "variants of a path",
         "variants of another path"],
)  # fmt: skip
def test_delete_cached_drops_what_its_form_says(
    site: VisitedViews, chosen: Any, context: str | None, expected: list[str]
) -> None:
    """Each form of Flask-Caching's docs, and ours; outside a request where it can be."""
    assert site.visit(*PAGES) == ALL
    assert site.visit(*PAGES) == []
    function, args, kwargs = chosen(site)
    if context is None:
        assert asyncio.run(site.face.delete_cached(function, *args, **kwargs))
    else:
        with site.app.test_request_context(context):
            assert asyncio.run(site.face.delete_cached(function, *args, **kwargs))
    assert site.visit(*PAGES) == expected
    assert site.visit(*PAGES) == []


def test_pages_are_dropped_on_every_backend(any_site: VisitedViews) -> None:
    """One of them, those of a path with all its variants, and all of a view."""
    delete_cached = any_site.face.delete_cached
    assert any_site.visit(*PAGES) == ALL
    assert asyncio.run(delete_cached(any_site.works, "/works", "b=2&a=1"))
    assert any_site.visit(*PAGES) == ["works a=1&b=2"]
    assert asyncio.run(delete_cached(any_site.user, "/user/ann"))
    assert any_site.visit(*PAGES) == ["user ann"]
    assert asyncio.run(delete_cached(any_site.works))
    assert any_site.visit(*PAGES) == ALL[2:5]


def test_delete_drops_all_variants_of_a_path(any_site: VisitedViews) -> None:
    """By the key that users know: ``view/`` and the path."""
    any_site.visit(*PAGES)
    assert any_site.visit("/one", headers={"Accept-Language": "de"}) == ["varies"]
    asyncio.run(any_site.face.delete("view//works"))
    asyncio.run(any_site.face.delete("view//one"))
    assert any_site.visit(*PAGES) == [*ALL[2:]]
    assert any_site.visit("/one", headers={"Accept-Language": "de"}) == ["varies"]


def test_a_page_that_deletion_cannot_match_is_named(app: Flask, face: Face) -> None:
    """A view whose keys come from ``make_cache_key`` has no path."""
    view = face.cached(make_cache_key=lambda *args, **kwargs: "key")(lambda: "page")
    with pytest.raises(ValueError, match="make_cache_key"):
        asyncio.run(face.delete_cached(view, "/path"))


def test_async_key_callbacks_of_a_view_leave_the_a_twins(app: Flask, cache: Cache) -> None:
    """The sync ``delete_cached`` and ``make_cache_key`` raise and name them; nothing leaks."""
    log = Log()

    async def prefix() -> str:
        return "prefix"

    async def body() -> str:
        return f"page {log()}"

    view = cache.cached(key_prefix=prefix)(body)
    app.add_url_rule("/", view_func=view)
    client = app.test_client()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [client.get("/").text for _ in range(2)] == ["page 1"] * 2
        with pytest.raises(ColourError, match="amake_cache_key"):
            view.make_cache_key(path="/")
        with pytest.raises(ColourError, match="adelete_cached"):
            cache.delete_cached(view, "/")
        assert client.get("/").text == "page 1"
        assert asyncio.run(cache.adelete_cached(view, "/"))
        assert client.get("/").text == "page 2"
        assert cache.delete_cached(view)
        assert client.get("/").text == "page 3"


@pytest.mark.asyncio
async def test_delete_cached_drops_a_function_with_a_key_of_its_own(face: Face) -> None:
    """It needs no request."""
    log = Log()
    f = face.cached(key_prefix="all comments")(lambda: log())
    assert [await face.call(f), await face.call(f)] == [1, 1]
    assert await face.delete_cached(f)
    assert await face.call(f) == 2
    assert await face.delete("all comments")
    assert await face.call(f) == 3


def test_the_key_of_a_page_can_be_made_and_deleted_by_hand(site: VisitedViews) -> None:
    """``make_cache_key(path=, query_args=)`` outside of a request is the key inside of it."""
    site.visit("/works?a=1&b=2", "/user/ann")
    key = site.works.make_cache_key(path="/works", query_args={"b": 2, "a": 1})
    assert asyncio.run(site.face.has(key))
    assert asyncio.run(site.face.delete(key))
    assert site.visit("/works?b=2&a=1", "/user/ann") == ["works b=2&a=1"]
    with site.app.test_request_context():
        assert site.user.make_cache_key(name="ann") == "view//user/ann"
        assert site.user.make_cache_key("ann") == "view//user/ann"


# --- tags and races -------------------------------------------------------------------------------


def test_tags_are_shared_by_views_functions_and_values(app: Flask, any_face: Face) -> None:
    """One deletion drops all of them; what has no such tag stays."""
    log = Log()
    f = any_face.memoize(tags=["news"])(lambda: log())
    app.add_url_rule("/", view_func=any_face.cached(tags=["news"])(lambda: f"page {log()}"))
    page = app.test_client().get("/").text

    async def fill() -> None:
        await any_face.set("tagged", "value", tags=["news", "more"])
        await any_face.set("plain", "value")
        await any_face.get_or_set("made", lambda: "value", tags=["news"])
        await any_face.call(f)
        assert await any_face.get_many("tagged", "plain", "made") == ["value"] * 3

    async def empty() -> None:
        await any_face.delete_tags("news")
        assert await any_face.get_many("tagged", "plain", "made") == [None, "value", None]
        assert await any_face.call(f) == 3

    asyncio.run(fill())
    asyncio.run(empty())
    assert app.test_client().get("/").text != page


#: What a function does to its own entry while it is computed.
INVALIDATIONS: dict[str, Callable[[Cache, Any], Any]] = {
    "function": lambda cache, f: cache.delete_memoized(f),
    "call": lambda cache, f: cache.delete_memoized(f, 1),
    "tag": lambda cache, f: cache.delete_tags("t"),
    "clear": lambda cache, f: cache.clear(),
    "key": lambda cache, f: cache.delete(f.make_cache_key(f.uncached, 1)),
    "set": lambda cache, f: cache.set(f.make_cache_key(f.uncached, 1), "by hand"),
}


@pytest.mark.asyncio
async def test_an_invalidation_wins_over_the_computation_that_makes_it(any_face: Face) -> None:
    """What it computed is returned to its caller, and neither stored nor served again."""

    def function(how: str, log: Log) -> Any:
        def body(a: int) -> Any:
            number = log()
            if number == 1:
                INVALIDATIONS[how](any_face.cache, f)
            return number

        f = any_face.memoize(tags=["t"], make_name=lambda name: how)(body)
        return f

    for how in INVALIDATIONS:
        f = function(how, Log())
        assert await any_face.call(f, 1) == 1, how
        for _ in range(2):
            assert await any_face.call(f, 1) == ("by hand" if how == "set" else 2), how


# --- cancelled ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["key", "tag", "everything"])
@pytest.mark.parametrize("backend", ["FileSystemCache", "async-only"])
def test_a_deletion_is_made_though_its_caller_was_cancelled(
    app: Flask, tmp_path: Path, backend: str, ask: str
) -> None:
    """Also while it waits for a thread, or for the loop of the process, that is busy."""
    cache = Cache(app, config=config_for(backend, tmp_path))
    cache.set("a", 1, tags=["t"])
    delete = {
        "key": lambda: cache.adelete("a"),
        "tag": lambda: cache.adelete_tags("t"),
        "everything": cache.aclear,
    }[ask]

    async def main() -> None:
        task = asyncio.create_task(delete())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with all_busy():
        asyncio.run(main())
    until(lambda: cache.get("a") is None)


def test_after_a_cancelled_deletion_nobody_joins_what_it_overtakes(
    app: Flask, tmp_path: Path
) -> None:
    """A call that begins then computes anew, instead of waiting for an old value."""
    cache = Cache(app, config=config_for("FileSystemCache", tmp_path))
    go, calls = asyncio.Event(), Log()

    @cache.memoize()
    async def f() -> int:
        number = calls()
        if number == 1:
            await go.wait()
        return number

    async def main() -> None:
        old = asyncio.create_task(f())
        await auntil(lambda: calls.count == 1)
        with contextlib.ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, all_busy())
            deletion = asyncio.create_task(f.adelete_memoized())
            await asyncio.sleep(0)
            deletion.cancel()
            await asyncio.wait([deletion])
        assert await f() == 2
        go.set()
        assert await old == 1
        assert await f() == 2

    asyncio.run(main())


# --- what it says ---------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_deletion_says_that_variants_of_a_page_existed(any_face: Face, app: Flask) -> None:
    """The key of the page itself had none, where each of its pages depends on the query string."""
    page = any_face.cached(60, query_string=True)(lambda: "page")
    with app.test_request_context("/news?page=2"):
        assert await any_face.call(page) == "page"
    assert await any_face.delete("view//news") is True
    assert await any_face.delete("view//news") is False
    assert await any_face.delete("view//sports") is False
    with app.test_request_context("/news?page=2"):
        await any_face.call(page)
    assert await any_face.delete_many("view//news", "nothing") == ["view//news", "nothing"]


@pytest.mark.asyncio
async def test_tags_in_a_list_are_those_tags(any_face: Face) -> None:
    """Given as one argument, or one in another; what is no tag is refused."""
    face = any_face
    for tags in (["books"], (["books"], "more"), ({"books"},), [("books", "x")]):
        await face.set("key", 1, tags=tags)
        assert await face.get("key") == 1
        assert await face.delete_tags(["books"]) is True
        assert await face.get("key") is None, tags
    await face.set("key", 1, tags=[7])
    assert await face.delete_tags("7") and await face.get("key") is None
    for wrong in (None, b"books", {"books": 1}, object(), [["a"]]):
        with pytest.raises(TypeError, match="tag"):
            await face.delete_tags(wrong)
        with pytest.raises(TypeError, match="tag"):
            await face.set("key", 1, tags=[wrong])


@pytest.mark.asyncio
async def test_a_property_is_deleted_by_its_function(face: Face) -> None:
    """``Cls.prop.fget`` is the decorated function, of all instances or of one."""

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        def __caching_id__(self) -> str:
            return self.name

        price = property(face.memoize()(lambda self: self.name))

    shops = [Shop("one"), Shop("other")]
    price: Any = Shop.price
    for arguments, dropped in (((shops[0],), 1), ((), 2)):
        for shop in shops:
            assert await face.call(lambda: shop.price) == shop.name  # noqa: B023
        computed = face.cache.stats().computed
        assert await face.delete_memoized(price.fget, *arguments)
        for shop in shops:
            assert await face.call(lambda: shop.price) == shop.name  # noqa: B023
        assert face.cache.stats().computed == computed + dropped


@pytest.mark.parametrize("colour", COLOURS)
def test_a_view_deletes_its_pages_itself(app: Flask, cache: Cache, colour: str) -> None:
    """``view.delete_cached(...)`` is ``cache.delete_cached(view, ...)``, in both colours."""
    face, computed = Face(cache, colour), []
    view: Any = face.cached(query_string=True)(lambda number: computed.append(number) or "page")
    app.add_url_rule("/<number>", "page", view)
    client = app.test_client()

    def visited() -> int:
        before = len(computed)
        for path in ("/1", "/1?a=1", "/2"):
            assert client.get(path).text == "page"
        return len(computed) - before

    assert (visited(), visited()) == (3, 0)
    for delete in (view.delete_cached, lambda *a, **k: asyncio.run(view.adelete_cached(*a, **k))):
        assert delete() and visited() == 3
        assert delete("/1") and visited() == 2
        assert delete("/1", {"a": 1}) and visited() == 1
        with app.test_request_context():
            assert delete(number="2") and visited() == 1
