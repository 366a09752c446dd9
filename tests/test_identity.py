"""Functions that share a module and a name: each has entries of its own, and finds them again."""

from __future__ import annotations

import asyncio
import enum
import functools
import hashlib
import logging
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, current_app
from flask.views import MethodView

from flask_caching_async import AddressKeyWarning, Cache
from flask_caching_async.identity import canonical
from flask_caching_async.keys import digest
from support.backends import OURS, config_for, config_of_ours
from support.faces import Face
from support.params import cases
from support.waiting import PATIENCE

#: Another cache, which holds nothing.
OTHER = Cache.standalone({"CACHE_TYPE": "NullCache", "CACHE_NO_NULL_WARNING": True})


def product(a: int, b: int) -> int:
    """A function of which there is one."""
    return a * b


class Opaque:
    """Told apart by nothing but its address."""

    def __init__(self, rate: int = 0) -> None:
        self.rate = rate

    def rated(self, value: int) -> int:
        """A method."""
        return value * self.rate

    def __call__(self, value: int) -> int:
        return value * self.rate


class Tax(Opaque):
    """Told apart by its rate."""

    def __repr__(self) -> str:
        return f"Tax({self.rate})"


class Base:
    """A class whose method is another one in each subclass."""

    rate = 1

    @classmethod
    def of_class(cls, value: int) -> int:
        """The class counts."""
        return value * cls.rate


def subclass(rate: int) -> type[Base]:
    """A class with a name of its own."""
    return type(f"Sub{rate}", (Base,), {"rate": rate})


def closure(rate: Any) -> Callable[[int], Any]:
    """A function over a value."""

    def times(value: int) -> Any:
        return value * (rate if isinstance(rate, int) else rate.rate)

    return times


def nested(rate: int) -> Callable[[int], int]:
    """A function over a function over a value."""
    inner = closure(rate)
    return lambda value: inner(value)


def decorated(rate: int) -> Callable[[int], int]:
    """A function of one name in a decorator that was told something."""

    @functools.wraps(product)
    def wrapper(value: int) -> int:
        return product(value, rate)

    del wrapper.__wrapped__
    return wrapper


def wrapped(rate: int) -> Callable[[int], int]:
    """A closure in a decorator that knows nothing of it."""
    inner = closure(rate)

    @functools.wraps(inner)
    def wrapper(value: int) -> int:
        return int(inner(value))

    return wrapper


def closure_over(inner: Callable[[int], int]) -> Callable[[int], int]:
    """A function over one that is memoized elsewhere."""
    memoized = OTHER.memoize()(inner)

    def outer(value: int) -> int:
        return memoized(value)

    return outer


def local_method(rate: int) -> Callable[..., int]:
    """A method of a class that is made anew."""

    class Local:
        def times(self, value: int) -> int:
            return value * rate

        def __repr__(self) -> str:
            return "Local()"

    return Local().times


@dataclass
class Rate:
    """A callable that is told apart by its fields."""

    rate: int

    def __call__(self, value: int) -> int:
        return value * self.rate


MAKERS: dict[str, Callable[[int], Callable[[int], int]]] = {
    "partial": lambda rate: functools.partial(product, rate),
    "partial by keyword": lambda rate: functools.partial(product, b=rate),
    "partial of a closure": lambda rate: functools.partial(closure(rate)),
    "callable": Tax,
    "dataclass": Rate,
    "method of a local class": local_method,
    "partial of a method": lambda rate: functools.partial(Tax(rate).rated),
    "closure over a memoized function": lambda rate: closure_over(closure(rate)),
    "bound method": lambda rate: Tax(rate).rated,
    "bound classmethod": lambda rate: subclass(rate).of_class,
    "method of a builtin": lambda rate: {10: 10 * rate, 1: rate}.get,  # type: ignore[dict-item,return-value]
    "closure": closure,
    "nested closure": nested,
    "closure over a class": lambda rate: closure(subclass(rate)),
    "lru_cache of a closure": lambda rate: functools.lru_cache(closure(rate)),
    "decorator": decorated,
    "closure in a decorator": wrapped,
    "lambda": lambda rate: (lambda v: v * 2) if rate == 2 else (lambda v: v * 3),
    "default of a lambda": lambda rate: lambda v, rate=rate: v * rate,
}
each_maker = cases("maker", MAKERS.values(), ids=MAKERS, everywhere=("partial", "lambda"))


@each_maker
@pytest.mark.asyncio
async def test_functions_of_one_name_have_entries_of_their_own(
    maker: Callable[[int], Any], face: Face
) -> None:
    """Neither gets the other's value, nor loses its own by the other's call."""
    two, three = face.memoize()(maker(2)), face.memoize()(maker(3))
    for _ in range(2):
        assert [await face.call(two, 10), await face.call(three, 10)] == [20, 30]
    assert face.cache.stats().computed == 2


@each_maker
@pytest.mark.asyncio
async def test_a_function_that_is_made_alike_finds_the_entries(
    maker: Callable[[int], Any], face: Face
) -> None:
    """A module that is reloaded, an app's factory that is called twice."""
    for _ in range(2):
        assert await face.call(face.memoize()(maker(2)), 10) == 20
    assert face.cache.stats().computed == 1


@each_maker
@pytest.mark.asyncio
async def test_a_deletion_of_a_function_drops_its_entries(
    maker: Callable[[int], Any], cache: Cache
) -> None:
    """All of them, or those of one call: then the other function's stay."""
    two, three = cache.memoize()(maker(2)), cache.memoize()(maker(3))
    for delete in (cache.delete_memoized, cache.adelete_memoized):
        for call in ((), (10,)):
            assert (two(10), three(10), two(1)) == (20, 30, maker(2)(1))
            computed = cache.stats().computed
            dropped = delete(two, *call)
            assert dropped if isinstance(dropped, bool) else await dropped
            assert (two(10), two(1)) == (20, maker(2)(1))
            assert cache.stats().computed == computed + (1 if call else 2)
            if call:
                assert three(10) == 30
                assert cache.stats().computed == computed + 1


def test_a_function_of_a_module_has_its_name_as_its_key(cache: Cache) -> None:
    """Also below a decorator that keeps it: a release does not empty the cache."""

    def kept(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    name = f"{__name__}.product"
    key = f"{name}/" + digest(hashlib.sha256, name.encode() + b"\0" + b"2,3", b"")
    for function in (product, kept(product), kept(kept(product))):
        assert cache.memoize()(function).make_cache_key(None, 2, 3) == key
    rated = cache.memoize()(Tax.rated)
    name = f"{__name__}.Opaque.rated"
    text = canonical(Tax(1)) + ",2"
    key = f"{name}/" + digest(hashlib.sha256, f"{name}\0{text}".encode(), b"")
    assert rated.make_cache_key(None, Tax(1), 2) == key


@pytest.mark.parametrize("name", ["f", "make.<locals>.f"])
def test_a_release_that_changes_a_function_finds_its_entries(cache: Cache, name: str) -> None:
    """As in Flask-Caching: ``source_check`` is for those who do not want that."""
    scopes: list[dict[str, Any]] = [{"__name__": "m"} for _ in range(2)]
    for number, scope in enumerate(scopes, 1):
        exec(f"def f(a):\n    return a * {number}", scope)
        scope["f"].__qualname__ = name
    assert [cache.memoize()(scope["f"])(10) for scope in scopes] == [10, 10]


# --- what has no text -----------------------------------------------------------------------------

OPAQUE: dict[str, Callable[[Opaque], Callable[[int], int]]] = {
    "partial": lambda one: functools.partial(lambda one, value: one.rated(value), one),
    "callable": lambda one: one,
    "bound method": lambda one: one.rated,
    "closure": closure,
}
each_opaque = cases("maker", OPAQUE.values(), ids=OPAQUE)


@each_opaque
@pytest.mark.asyncio
async def test_functions_over_objects_without_a_text_are_told_apart_in_this_process(
    maker: Callable[[Opaque], Any], face: Face
) -> None:
    """And one warning says how to name them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = [Opaque(rate) for rate in (2, 3, 4)]
        functions = [face.memoize()(maker(one)) for one in made]
        for _ in range(2):
            assert [await face.call(f, 10) for f in functions] == [20, 30, 40]
        again = face.memoize()(maker(made[0]))
        assert await face.call(again, 10) == 20
    assert face.cache.stats().computed == 3
    assert [w.category for w in caught] == [AddressKeyWarning]
    assert caught[0].filename.endswith("faces.py")  # where it is decorated
    for word in ("make_name", "Opaque"):
        assert word in str(caught[0].message)


@each_opaque
def test_an_object_that_is_gone_leaves_its_entries_to_nobody(
    maker: Callable[[Opaque], Any], cache: Cache
) -> None:
    """The next object at its address has a function of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AddressKeyWarning)
        for rate in range(20):
            one = Opaque(rate)
            f = cache.memoize()(maker(one))
            assert f(10) == rate * 10
            del one, f


def test_the_warning_names_the_variable(cache: Cache) -> None:
    """And once for each function, however often it is made."""
    one = Opaque(2)
    with pytest.warns(AddressKeyWarning, match=r"<lambda> .*\(one: Opaque\)") as caught:
        functions = [cache.memoize()(lambda value: one.rated(value)) for _ in range(2)]
    assert [f(10) for f in functions] == [20, 20]
    assert len(caught) == 1


def test_a_name_makes_their_entries_those_of_all(cache: Cache) -> None:
    """``make_name`` is the user's own word: nothing of the closure counts, and nothing warns."""
    f, g = (
        cache.memoize(make_name=lambda name: f"{name}.shop")(closure(Opaque(rate)))
        for rate in (2, 3)
    )
    assert f(10) == g(10) == 20


def test_what_a_decorator_keeps_takes_no_function_of_a_module_its_name(
    app: Flask, tmp_path: Path
) -> None:
    """Each process has one of that name; a second one is told apart, with a warning."""
    cache = Cache(app, config=config_for("FileSystemCache", tmp_path))

    def limited(limiter: Opaque) -> Any:
        @functools.wraps(product)
        def wrapper(*args: int) -> int:
            return product(*args) + limiter.rate

        return cache.memoize()(wrapper)

    one, other = Opaque(1), Opaque(2)
    first = limited(one)
    assert first(10, 10) == first(10, 10) == limited(one)(10, 10) == 101
    with pytest.warns(AddressKeyWarning, match="product"):
        assert limited(other)(10, 10) == 102
    assert first(10, 10) == 101
    assert cache.stats().computed == 2


class Database:
    """An extension of an app."""

    def init_app(self, app: Flask) -> None:
        """Every extension has it."""


class Colour(enum.Enum):
    """A choice."""

    RED = object()


def create_app(folder: Path) -> tuple[Flask, list[Any]]:
    """A factory whose functions close over all that such functions do."""
    app = Flask("shop")
    cache = Cache(app, config=config_for("FileSystemCache", folder))
    database, log, blueprint = Database(), logging.getLogger("shop"), Blueprint("b", "shop")
    config, lock, alock, missing = app.config, threading.Lock(), asyncio.Lock(), object()
    colour, rate, names, proxy = Colour.RED, Tax(2), frozenset("abcdefgh"), current_app
    later: Any

    @cache.memoize()
    def price(n: int) -> int:
        return n * rate.rate

    @cache.memoize()
    def total(n: int) -> Any:
        used = (app, cache, database, log, blueprint, config, lock, alock, missing, colour, names)
        return price(n) + bool(used) + (0 if n else total(later) + bool(proxy))

    later = Opaque()
    return app, [price, total]


def test_an_ordinary_factory_is_nothing_to_warn_of(tmp_path: Path) -> None:
    """And an app that is made alike finds the entries of the other."""
    (one, functions), (other, again) = create_app(tmp_path), create_app(tmp_path)
    with one.app_context():
        assert [f(10) for f in functions] == [20, 21]
    with other.app_context():
        assert [f(10) for f in again] == [20, 21]
    assert again[0].make_cache_key(None, 1) == functions[0].make_cache_key(None, 1)
    cache = next(iter(other.extensions["cache"]))
    assert cache.stats().computed == 0


def test_a_repr_that_fails_does_not_break_the_decorator(cache: Cache) -> None:
    """Nor does a list that contains itself: such a function is told apart within its process."""

    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    endless: list[Any] = []
    endless.append(endless)
    with pytest.warns(AddressKeyWarning):
        for value in (Bad(), endless):
            f = cache.memoize()(closure(value))
            assert f.uncached.__closure__ and cache.delete_memoized(f)


def test_functions_that_lead_to_each_other_are_written_down_once(cache: Cache) -> None:
    """However many ways there are from one to the other."""

    def tangle(rate: int) -> Any:
        functions: list[Any] = []
        for _ in range(40):

            def step(n: int, others: Any = tuple(functions)) -> int:
                return n * rate + len(others)

            functions.append(step)
        last, own = functions[-1], functions

        def start(n: int) -> int:
            return n * rate if own else last(n)

        functions.append(start)
        return cache.memoize()(start)

    two, three = tangle(2), tangle(3)
    assert (two(10), three(10), tangle(2)(10)) == (20, 30, 20)
    assert cache.stats().computed == 2


def test_a_helper_that_changes_does_not_empty_the_cache(cache: Cache) -> None:
    """The code of what a closure calls counts no more than its own."""

    def made(code: str) -> Any:
        scope: dict[str, Any] = {"__name__": "m"}
        exec(
            "def create():\n"
            f"    def helper(n): return {code}\n"
            "    def f(n): return helper(n)\n"
            "    return f\n",
            scope,
        )
        return cache.memoize()(scope["create"]())

    assert [made("n")(10), made("n + 1")(10)] == [10, 10]


# --- views ----------------------------------------------------------------------------------------


def test_views_of_one_factory_share_no_page(app: Flask, cache: Cache) -> None:
    """Neither where both are called for one path, nor when one of them is deleted."""

    def made(text: str) -> Any:
        @cache.cached()
        def view() -> str:
            return f"{text} {cache.stats().computed}"

        return view

    one, other = made("one"), made("other")
    for path in ("/a", "/a"):
        with app.test_request_context(path):
            assert (one().split()[0], other().split()[0]) == ("one", "other")
    app.add_url_rule("/one", "one", one)
    app.add_url_rule("/other", "other", other)
    client = app.test_client()
    texts = [client.get(path).text for path in ("/one", "/other")]
    assert [client.get(path).text for path in ("/one", "/other")] == texts
    for view, path, text in ((one, "/one", texts[0]), (other, "/other", texts[1])):
        assert cache.delete_cached(view)
        assert client.get(path).text != text


def test_a_view_is_the_same_in_every_process_whatever_it_closes_over(
    app: Flask, tmp_path: Path
) -> None:
    """Its key is its path: another process, with another object there, finds its pages."""
    config = config_for("FileSystemCache", tmp_path)

    def site(number: int) -> Any:
        site, shop = Flask("site"), Opaque(number)
        cache = Cache(site, config=config)

        @site.get("/")
        @cache.cached()
        def page() -> str:
            return str(shop.rate)

        return site.test_client(), cache, page

    (one, cache, page), (other, _, _) = site(1), site(2)
    assert (one.get("/").text, other.get("/").text) == ("1", "1")
    assert cache.delete_cached(page)
    assert (other.get("/").text, one.get("/").text) == ("2", "2")


def test_views_of_classes_have_names_of_their_own(app: Flask, cache: Cache) -> None:
    """To delete one leaves the other."""

    class Page(MethodView):
        decorators = [cache.cached()]

        def get(self) -> str:
            return f"{type(self).__name__} {cache.stats().computed}"

    class Other(Page):
        pass

    views = [Page.as_view("page"), Other.as_view("other")]
    app.add_url_rule("/page", view_func=views[0])
    app.add_url_rule("/other", view_func=views[1])
    client = app.test_client()
    texts = [client.get(path).text for path in ("/page", "/other")]
    assert texts == ["Page 0", "Other 1"]
    assert cache.delete_cached(views[0])
    assert [client.get(path).text for path in ("/page", "/other")] == ["Page 2", "Other 1"]


def test_each_of_several_renewals_of_one_name_has_its_turn(app: Flask, tmp_path: Path) -> None:
    """Partials of one function hold leases of their own."""
    cache = Cache(app, config=config_for("FileSystemCache", tmp_path))
    functions = [cache.memoize()(functools.partial(product, rate)) for rate in (2, 3)]
    renewals = [cache.refresh_every(3600, f, 10) for f in functions]
    assert len({renewal.key for renewal in renewals}) == 2
    for renewal in renewals:
        renewal.stop()


# --- names ----------------------------------------------------------------------------------------

#: Names that differ in letters that not every alphabet has, or in what stands around them.
NAMES = ["größe", "grße", "gr.locals.ße", "gr.<locals>.ße", "भाषा", "भष", "f", "ｆ", "f.", "<f>"]


@pytest.mark.parametrize("backend", OURS)
def test_names_of_any_letters_are_told_apart(
    app: Flask, tmp_path: Path, request: pytest.FixtureRequest, backend: str
) -> None:
    """Also where ``make_name`` makes another one of them."""
    config = config_of_ours(backend, tmp_path, request.getfixturevalue)
    cache = Cache(app, config=config)

    def named(name: str, **options: Any) -> Any:
        def function() -> str:
            return f"{name} {options}"

        function.__qualname__ = name
        return cache.memoize(**options)(function)

    plain = [named(name) for name in NAMES]
    renamed = [named(name, make_name=lambda name: f"{name}.v2") for name in NAMES[:2]]
    functions = plain + renamed
    for _ in range(2):
        assert [f() for f in functions] == [f.uncached() for f in functions]
    assert cache.stats().computed == len(functions)
    assert plain[0].make_cache_key(None).startswith(f"{__name__}.größe/")


# --- between processes ----------------------------------------------------------------------------

SCRIPT = """
import functools, sys, warnings
from flask_caching_async import Cache

cache = Cache.standalone({config})

class Opaque:
    rate = 5
    def rated(self, value):
        return self.rate * value
    __call__ = rated

class Tax(Opaque):
    def __init__(self, rate):
        self.rate = rate
    def __repr__(self):
        return f"Tax({{self.rate}})"

def product(a, b):
    return a * b

def closure(rate):
    def times(value):
        return value * rate
    return times

functions = [
    functools.partial(product, 2), Tax(3), Tax(3).rated, closure(4), lambda value: value * 6,
]
cached = [cache.memoize()(f) for f in functions]
one = Opaque()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    unnamed = cache.memoize()(one.rated)
    named = cache.memoize(make_name=lambda name: "named")(one.rated)
    for line in sys.stdin:
        if line.startswith("drop"):
            [cache.delete_memoized(f, 10) for f in (*cached, named, unnamed)]
        before = cache.stats().computed
        [f(10) for f in (*cached, named)]
        found = cache.stats().computed
        unnamed(10)
        print(found - before, cache.stats().computed - found, flush=True)
"""


@pytest.mark.parametrize("backend", OURS[1:])
def test_other_processes_find_the_entries_and_drop_those_that_they_cannot_find(
    backend: str, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    """What has no text is each process's own, but a deletion reaches it in all of them."""
    config = config_of_ours(backend, tmp_path, request.getfixturevalue)
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(SCRIPT.format(config=config)))
    processes = [
        subprocess.Popen(
            [sys.executable, str(file)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for seed in ("1", "2")
    ]

    def ask(process: Any, order: str) -> str:
        process.stdin.write(f"{order}\n")
        return str(process.stdout.readline().strip())

    one, other = processes
    try:
        assert ask(one, "call") == "6 1"
        assert ask(other, "call") == "0 1"
        assert ask(one, "call") == ask(other, "call") == "0 0"
        assert ask(other, "drop") == "6 1"
        assert ask(one, "call") == "0 1"
    finally:
        for process in processes:
            process.communicate(timeout=PATIENCE)
