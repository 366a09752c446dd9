"""Cached functions in the body of a class: bound, inherited, copied, under other decorators."""

from __future__ import annotations

import abc
import asyncio
import copy
import enum
import functools
import inspect
import pickle
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView, View

from flask_caching_async import Cache
from support.faces import Face

cache_of_module = Cache()


class Person:
    """A class that can be pickled, with a method of each decorator."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Person({self.name!r})"

    @cache_of_module.memoize()
    def greet(self, word: str = "hello") -> str:
        """Say something."""
        return f"{word} {self.name}"

    @cache_of_module.cached(key_prefix="everybody")
    def everybody(self) -> str:
        return f"the one who asked first: {self.name}"


@pytest.fixture
def module_cache(app: Flask) -> Cache:
    """The cache of ``Person``."""
    cache_of_module.init_app(app, config={"CACHE_TYPE": "SimpleCache"})
    return cache_of_module


def test_a_bound_method_behaves_like_one(module_cache: Cache) -> None:
    """``__self__``, ``__func__``, equality, hash and repr."""
    ann, bob = Person("ann"), Person("bob")
    assert ann.greet.__self__ is ann
    assert ann.greet.__func__ is Person.greet
    assert ann.greet == ann.greet != bob.greet
    assert ann.greet != Person.greet
    assert len({ann.greet, ann.greet, bob.greet}) == 2
    assert repr(ann.greet) == "<bound cached Person.greet of Person('ann')>"
    assert (ann.greet.__name__, ann.greet.__qualname__) == ("greet", "Person.greet")
    assert str(inspect.signature(ann.greet)) == "(word: 'str' = 'hello') -> 'str'"
    assert list(inspect.signature(Person.greet).parameters) == ["self", "word"]


def test_attributes_of_a_bound_method_are_those_of_the_function(module_cache: Cache) -> None:
    """Reading and writing them: there is one function, however it is reached."""
    ann = Person("ann")
    assert ann.greet.uncached is Person.greet.uncached
    assert ann.greet.uncached(ann, "hi") == "hi ann"
    assert ann.greet.cache_timeout is None
    ann.greet.cache_timeout = 7
    try:
        assert Person.greet.cache_timeout == Person("bob").greet.cache_timeout == 7
    finally:
        Person.greet.cache_timeout = None
    key = ann.greet.make_cache_key(ann.greet.uncached, ann, "hi")
    ann.greet("hi")
    assert module_cache.get(key) == "hi ann"


def test_instances_with_cached_methods_can_be_copied_and_pickled(module_cache: Cache) -> None:
    """What is cached belongs to the class, and what tells instances apart is their text."""
    ann = Person("ann")
    assert ann.greet() == "hello ann"
    before = module_cache.stats().computed
    for twin in (copy.copy(ann), copy.deepcopy(ann), pickle.loads(pickle.dumps(ann))):
        assert twin.greet() == "hello ann"
    assert module_cache.stats().computed == before


def test_a_decorated_function_of_a_module_can_be_pickled_by_its_name(module_cache: Cache) -> None:
    """As any function: for process pools."""
    assert pickle.loads(pickle.dumps(module_level)) is module_level


@cache_of_module.memoize()
def module_level(a: int) -> int:
    """A function that can be pickled."""
    return a


def test_cached_works_on_a_method_with_a_key_of_its_own(module_cache: Cache) -> None:
    """``cached`` ignores the arguments, the instance included."""
    assert Person("ann").everybody() == Person("bob").everybody()


@pytest.mark.asyncio
async def test_a_subclass_inherits_and_may_call_super(face: Face) -> None:
    """Both functions have entries of their own."""

    class Base:
        def __repr__(self) -> str:
            return "same text"

        @face.memoize()
        def f(self) -> str:
            return "base"

    class Inherits(Base):
        pass

    class Extends(Base):
        if face.is_async:

            @face.cache.memoize()
            async def f(self) -> str:
                return "more than " + await super().f()

        else:

            @face.cache.memoize()
            def f(self) -> str:
                return "more than " + super().f()

    for _ in range(2):
        assert await face.call(Base().f) == "base"
        assert await face.call(Inherits().f) == "base"
        assert await face.call(Extends().f) == "more than base"
    # An instance of a subclass is another instance, whatever its text.
    assert face.cache.stats().computed == 4


@pytest.mark.asyncio
async def test_other_decorators_see_a_function(face: Face) -> None:
    """``wraps``, ``partialmethod``, ``property``, ``abstractmethod`` above ours."""

    def shout(f: Any) -> Any:
        if inspect.iscoroutinefunction(f):

            @functools.wraps(f)
            async def aloud(*args: Any, **kwargs: Any) -> str:
                return str(await f(*args, **kwargs)).upper()

            return aloud

        @functools.wraps(f)
        def loud(*args: Any, **kwargs: Any) -> str:
            return str(f(*args, **kwargs)).upper()

        return loud

    class Abstract(abc.ABC):
        @abc.abstractmethod
        @face.memoize()
        def needed(self) -> str:
            return "abstract"

    class Thing(Abstract):
        def __repr__(self) -> str:
            return "Thing()"

        @face.memoize()
        def f(self, a: str) -> str:
            return f"f {a}"

        @shout
        @face.memoize()
        def loud(self, a: str) -> str:
            return f"loud {a}"

        @property
        @face.memoize()
        def prop(self) -> str:
            return "prop"

        def needed(self) -> Any:
            return super().needed()

        of_x = functools.partialmethod(f, "x")

    thing = Thing()
    with pytest.raises(TypeError, match="abstract"):
        Abstract()  # type: ignore[abstract]
    for _ in range(2):
        assert await face.call(thing.f, "x") == "f x"
        assert await face.call(thing.of_x) == "f x"
        assert await face.call(thing.loud, "x") == "LOUD X"
        assert await face.call(lambda: thing.prop) == "prop"
        assert await face.call(thing.needed) == "abstract"
    assert inspect.iscoroutinefunction(thing.loud) == face.is_async
    assert face.cache.stats().computed == 4


@pytest.mark.parametrize("kind", ["plain", "enum", "slots"])
def test_a_classmethod_in_any_kind_of_class_is_bound(cache: Cache, kind: str) -> None:
    """Also where a metaclass or a decorator builds the class; nothing is left in it."""

    class Plain:
        @classmethod
        @cache.memoize()
        def made(cls, a: int) -> tuple[str, int]:
            return cls.__name__, a

    class Colour(enum.Enum):
        RED = 1

        @classmethod
        @cache.memoize()
        def made(cls, a: int) -> tuple[str, int]:
            return cls.__name__, a

    @dataclass(slots=True)
    class Slots:
        x: int = 0

        @classmethod
        @cache.memoize()
        def made(cls, a: int) -> tuple[str, int]:
            return cls.__name__, a

    owner: Any = {"plain": Plain, "enum": Colour, "slots": Slots}[kind]
    # From Python 3.13 on, a classmethod asks nothing of what it wraps.
    first = () if sys.version_info < (3, 13) else (owner,)
    for _ in range(2):
        assert owner.made(1) == owner.made.refresh(*first, 1) == (owner.__name__, 1)
    assert cache.delete_memoized(owner.made, owner, 1)
    assert not [name for name in vars(owner) if "flask_caching" in name]
    assert list(Colour) == [Colour.RED]


@pytest.mark.asyncio
async def test_a_method_can_be_replaced_on_one_instance(face: Face) -> None:
    """As a mock does."""

    class Thing:
        def __repr__(self) -> str:
            return "Thing()"

        @face.memoize()
        def f(self) -> str:
            return "f"

    thing = Thing()
    thing.f = lambda: "mock"  # type: ignore[method-assign,assignment]
    assert thing.f() == "mock"
    del thing.f
    assert await face.call(thing.f) == "f"


@pytest.mark.asyncio
async def test_a_function_that_becomes_a_method_later_is_bound(face: Face) -> None:
    """A shell is a function, and Python binds functions."""

    @face.memoize()
    def f(self: Any, a: int) -> tuple[str, int]:
        return repr(self), a

    class Thing:
        method = f

        def __repr__(self) -> str:
            return "Thing()"

    assert await face.call(Thing().method, 1) == ("Thing()", 1)
    assert await face.call(f, 5, 1) == ("5", 1)


@pytest.mark.asyncio
async def test_nested_and_slotted_classes_work(face: Face) -> None:
    """A class in a class, in a function, without a ``__dict__``."""

    class Outer:
        class Inner:
            __slots__ = ("n",)

            def __init__(self, n: int) -> None:
                self.n = n

            def __caching_id__(self) -> int:
                return self.n

            @face.memoize()
            def f(self) -> int:
                return self.n

    one, two = Outer.Inner(1), Outer.Inner(2)
    assert [await face.call(o.f) for o in (one, two, Outer.Inner(1))] == [1, 2, 1]
    assert face.cache.stats().computed == 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_view_classes_cache_their_methods(app: Flask, cache: Cache, asynchronous: bool) -> None:
    """``dispatch_request`` of a ``View`` and ``get`` of a ``MethodView``."""
    face = Face(cache, "async" if asynchronous else "sync")
    computed: list[str] = []

    class Page(View):
        @face.cached()
        def dispatch_request(self) -> str:
            computed.append("page")
            return "page"

    class Item(MethodView):
        @face.cached()
        def get(self, number: int) -> str:
            computed.append(f"item {number}")
            return f"item {number}"

        def post(self, number: int) -> str:
            return "posted"

    app.add_url_rule("/page", view_func=Page.as_view("page"))
    app.add_url_rule("/item/<int:number>", view_func=Item.as_view("item"))
    client = app.test_client()
    for _ in range(2):
        assert client.get("/page").text == "page"
        assert client.get("/item/1").text == "item 1"
        assert client.get("/item/2").text == "item 2"
        assert client.post("/item/1").text == "posted"
    assert computed == ["page", "item 1", "item 2"]
    assert cache.get("view//item/1") == "item 1"


def registered_as_classful_does(app: Flask, kind: Any, rule: str, name: str) -> None:
    """Register a method of an instance, as Flask-Classful 0.16 does after it has found it."""
    found = dict(inspect.getmembers(kind, inspect.isfunction))
    arguments = inspect.getfullargspec(found[name]).args
    method = getattr(kind(), name)

    @functools.wraps(method)
    def around(*args: Any, **kwargs: Any) -> Any:
        return app.ensure_sync(method)(*args, **kwargs)

    @functools.wraps(around)
    def proxy(**values: Any) -> Any:
        return around(**values)

    assert arguments[0] == "self"
    app.add_url_rule(rule, f"{kind.__name__}:{name}", proxy)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_class_of_views_of_an_extension_finds_cached_methods(
    app: Flask, cache: Cache, asynchronous: bool
) -> None:
    """It asks for functions and their arguments; ``refresh`` and deletions know the view."""
    face = Face(cache, "async" if asynchronous else "sync")
    computed: list[str] = []

    class Items:
        @face.cached()
        def get(self, number: str) -> str:
            computed.append(number)
            return f"{type(self).__name__} {number}: {len(computed)}"

    registered_as_classful_does(app, Items, "/items/<number>", "get")

    def page() -> str:
        return app.test_client().get("/items/3").text

    get: Any = Items.get
    assert [page(), page()] == ["Items 3: 1", "Items 3: 1"]
    assert asyncio.run(face.call(get.refresh, path="/items/3")) == "Items 3: 2"
    assert page() == "Items 3: 2"
    with app.test_request_context():
        assert cache.delete_cached(get, number="3")
    assert page() == "Items 3: 3"
    assert cache.delete_cached(get)
    assert page() == "Items 3: 4"
