"""However a cached function gets into a class, it is bound to the instance it is reached through.

A table: ways into a class, colours, and what users do with a method. ``classmethod`` and
``staticmethod`` have tables of their own, because they bind to something else.
"""

from __future__ import annotations

import copy
import enum
import functools
import inspect
import itertools
import pickle
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.decorators.methods import may_be_method
from support.faces import COLOURS, Face
from support.params import cases

Decorator = Callable[[Any], Any]

#: On Quart nothing is different here.
in_both_colours = pytest.mark.parametrize("colour", COLOURS, indirect=True)


class Named:
    """Instances are told apart by their names."""

    def __init__(self, name: str = "shop") -> None:
        self.name = name

    def __caching_id__(self) -> str:
        return self.name


def price(self: Any, n: int, factor: int = 2) -> tuple[str, int]:
    """What is memoized: the instance's name and a number."""
    return self.name, n * factor


def same(f: Any) -> Any:
    """A decorator that changes nothing, in the colour of what it wraps."""
    if inspect.iscoroutinefunction(f):

        @functools.wraps(f)
        async def around(*args: Any, **kwargs: Any) -> Any:
            return await f(*args, **kwargs)

        return around

    @functools.wraps(f)
    def around_now(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    return around_now


# --- the ways -------------------------------------------------------------------------------------


def in_the_body(memoize: Decorator) -> Any:
    class Shop(Named):
        price = memoize(globals()["price"])

    return Shop


def assigned_later(memoize: Decorator) -> Any:
    class Shop(Named):
        pass

    Shop.price = memoize(price)  # type: ignore[attr-defined]
    return Shop


def an_undecorated_method_replaced(memoize: Decorator) -> Any:
    class Shop(Named):
        def price(self, n: int, factor: int = 2) -> tuple[str, int]:
            return self.name, n * factor

    Shop.price = memoize(Shop.price)  # type: ignore[method-assign]
    return Shop


def a_module_level_function(memoize: Decorator) -> Any:
    function = memoize(price)

    class Shop(Named):
        price = function

    return Shop


def made_by_a_factory(memoize: Decorator) -> Any:
    def make() -> Any:
        def made(self: Any, n: int, factor: int = 2) -> tuple[str, int]:
            return self.name, n * factor

        return memoize(made)

    class Shop(Named):
        price = make()

    return Shop


def by_a_class_decorator(memoize: Decorator) -> Any:
    def with_price(cls: Any) -> Any:
        cls.price = memoize(price)
        return cls

    @with_price
    class Shop(Named):
        pass

    return Shop


def by_a_metaclass(memoize: Decorator) -> Any:
    class Meta(type):
        def __new__(mcs, name: str, bases: Any, body: dict[str, Any]) -> Any:
            return super().__new__(mcs, name, bases, {**body, "price": memoize(price)})

    class Shop(Named, metaclass=Meta):
        pass

    return Shop


def by_calling_type(memoize: Decorator) -> Any:
    return type("Shop", (Named,), {"price": memoize(price)})


def inherited(memoize: Decorator) -> Any:
    class Base(Named):
        price = memoize(globals()["price"])

    class Shop(Base):
        pass

    return Shop


def in_a_dataclass_with_slots(memoize: Decorator) -> Any:
    @dataclass(slots=True)
    class Shop:
        name: str = "shop"
        price = memoize(globals()["price"])

        def __caching_id__(self) -> str:
            return self.name

    return Shop


def above_another_decorator(memoize: Decorator) -> Any:
    class Shop(Named):
        price = memoize(same(globals()["price"]))

    return Shop


def in_two_classes(memoize: Decorator) -> Any:
    class Shop(Named):
        price = memoize(globals()["price"])

    class Other(Named):
        price = Shop.price

    return Other


WAYS = [
    in_the_body,
    assigned_later,
    an_undecorated_method_replaced,
    a_module_level_function,
    made_by_a_factory,
    by_a_class_decorator,
    by_a_metaclass,
    by_calling_type,
    inherited,
    in_a_dataclass_with_slots,
    above_another_decorator,
    in_two_classes,
]


#: A class knows nothing of colours: one of them has all ways.
in_each_way = cases("way", WAYS, ways=("colour", COLOURS))


@pytest.fixture
def shop(way: Callable[[Decorator], Any], face: Face) -> Any:
    """A class with a memoized method."""
    return way(face.memoize())


@in_each_way
@pytest.mark.asyncio
async def test_a_call_through_an_instance_or_the_class_is_one_call(face: Face, shop: Any) -> None:
    """``obj.price(3)`` and ``Shop.price(obj, 3)`` have one entry; another instance its own."""
    one, other = shop("one"), shop("other")
    assert await face.call(one.price, 3) == ("one", 6)
    assert await face.call(shop.price, one, 3) == ("one", 6)
    assert face.cache.stats().computed == 1
    assert await face.call(other.price, 3, factor=1) == ("other", 3)
    assert face.cache.stats().computed == 2


@in_each_way
@pytest.mark.asyncio
async def test_refresh_knows_its_instance(face: Face, shop: Any) -> None:
    """``obj.price.refresh(3)``, and its awaitable half."""
    one = shop("one")
    assert await face.call(one.price.refresh, 3) == ("one", 6)
    assert await one.price.arefresh(3) == ("one", 6)
    assert await face.call(shop.price.refresh, one, 3) == ("one", 6)
    assert face.cache.stats().computed == 3
    assert await face.call(one.price, 3) == ("one", 6)
    assert face.cache.stats().computed == 3


@in_each_way
@pytest.mark.asyncio
async def test_a_deletion_knows_its_instance(face: Face, shop: Any) -> None:
    """``delete_memoized(obj.price)`` drops the calls on it, ``(obj.price, 3)`` one of them."""
    one, other = shop("one"), shop("other")
    calls = [(one, 1), (one, 2), (other, 1)]
    for instance, n in calls:
        await face.call(instance.price, n)
    assert await face.delete_memoized(one.price, 1)
    assert [await face.call(i.price, n) for i, n in calls] == [("one", 2), ("one", 4), ("other", 2)]
    assert face.cache.stats().computed == 4
    assert await face.delete_memoized(one.price)
    for instance, n in calls:
        await face.call(instance.price, n)
    assert face.cache.stats().computed == 6
    assert await face.delete_memoized(shop.price)
    for instance, n in calls:
        await face.call(instance.price, n)
    assert face.cache.stats().computed == 9


@in_each_way
@pytest.mark.asyncio
async def test_the_undecorated_function_is_there(face: Face, shop: Any) -> None:
    """``uncached`` takes the instance, computes, and stores nothing."""
    one = shop("one")
    assert await face.call(one.price.uncached, one, 3) == ("one", 6)
    assert one.price.uncached is shop.price.uncached
    assert face.cache.stats().computed == 0


@in_each_way
def test_it_looks_like_a_method(face: Face, shop: Any) -> None:
    """Colour, signature, ``__self__`` and ``__func__``, equality."""
    one, other = shop("one"), shop("other")
    assert inspect.iscoroutinefunction(one.price) == face.is_async
    assert inspect.iscoroutinefunction(shop.price) == face.is_async
    assert list(inspect.signature(one.price).parameters) == ["n", "factor"]
    assert list(inspect.signature(shop.price).parameters) == ["self", "n", "factor"]
    assert one.price.__self__ is one and one.price.__func__ is shop.price
    assert one.price == one.price != other.price
    assert inspect.isfunction(shop.price) and inspect.ismethod(one.price)
    assert inspect.getfullargspec(shop.price).args == ["self", "n", "factor"]


# --- other decorators above ours ------------------------------------------------------------------


def documented(f: Any) -> Any:
    """What ``@api.doc()`` does: set an attribute."""
    f.__apidoc__ = {"params": 1}
    return f


def without_attributes(f: Any) -> Any:
    """A decorator that says what it wraps, and hands nothing else on."""

    @functools.wraps(f, updated=())
    def around(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    return around


KINDS: dict[str, tuple[Decorator, Callable[..., Any]]] = {
    "method": (lambda f: f, lambda self, n=1: n),
    "classmethod": (classmethod, lambda cls, n=1: n),
    "staticmethod": (staticmethod, lambda n=1: n),
}


@in_both_colours
@cases("kind,decorator", itertools.product(KINDS, ["memoize", "cached"]))
def test_an_attribute_that_is_set_above_is_found_on_class_and_instance(
    face: Face, kind: str, decorator: str
) -> None:
    """Where documentation and permissions are written down."""

    method, body = KINDS[kind]

    class Shop(Named):
        price = documented(getattr(face.cache, decorator)()(method(face.dye(body))))

    for found in (Shop.price, Shop().price, same(Shop.price), same(Shop().price)):
        assert found.__apidoc__ == {"params": 1}


@in_both_colours
@pytest.mark.asyncio
@pytest.mark.parametrize("around", [same, without_attributes])
async def test_a_decorator_around_a_bound_method_knows_what_it_is_around(
    face: Face, around: Any
) -> None:
    """Flask-Classful and dispatchers wrap what an instance gives: it is still that method."""

    class Shop(Named):
        price = face.memoize()(price)

    one, other = Shop("one"), Shop("other")
    wrapped = around(one.price)
    assert await face.call(wrapped, 3) == await face.call(one.price, 3) == ("one", 6)
    assert await face.call(other.price, 3) == ("other", 6)
    assert face.cache.stats().computed == 2
    assert await face.delete_memoized(wrapped)
    assert await face.call(wrapped, 3) == ("one", 6)
    assert await face.call(other.price, 3) == ("other", 6)
    assert face.cache.stats().computed == 3
    if around is same:
        assert await face.call(wrapped.refresh, 3) == ("one", 6)
        assert await wrapped.arefresh(3) == ("one", 6)
        assert face.cache.stats().computed == 5


@in_both_colours
@pytest.mark.asyncio
async def test_a_decorator_that_hands_no_attributes_on_hides_no_function(face: Face) -> None:
    """``wraps(f, updated=())``: what is deleted is found by what it wraps."""

    class Shop(Named):
        price = without_attributes(face.memoize()(price))

    one, other = Shop("one"), Shop("other")
    for shop in (one, other):
        assert await face.call(shop.price, 3) == (shop.name, 6)
    assert await face.delete_memoized(one.price)
    for shop in (one, other):
        assert await face.call(shop.price, 3) == (shop.name, 6)
    assert face.cache.stats().computed == 3
    assert await face.delete_memoized(Shop.price)
    for shop in (one, other):
        assert await face.call(shop.price, 3) == (shop.name, 6)
    assert face.cache.stats().computed == 5


# --- below a decorator that binds by itself -------------------------------------------------------


@in_both_colours
@pytest.mark.asyncio
async def test_below_another_decorator_refresh_is_given_the_instance(face: Face) -> None:
    """``functools.wraps`` hands the attributes on as they are; the rest knows the instance."""

    class Shop(Named):
        price = same(face.memoize()(globals()["price"]))

    one, other = Shop("one"), Shop("other")
    assert await face.call(one.price, 3) == ("one", 6)
    assert await face.call(one.price.refresh, one, 3) == ("one", 6)
    assert await one.price.arefresh(one, 3) == ("one", 6)
    assert face.cache.stats().computed == 3
    assert await face.call(other.price, 3) == ("other", 6)
    assert await face.delete_memoized(one.price)
    assert await face.call(other.price, 3) == ("other", 6)
    assert face.cache.stats().computed == 4
    assert await face.call(one.price, 3) == ("one", 6)
    assert face.cache.stats().computed == 5


# --- classmethod and staticmethod -----------------------------------------------------------------


def made(cls: Any, n: int = 1) -> tuple[str, int]:
    """What a classmethod returns."""
    return cls.__name__, n


@in_both_colours
@pytest.mark.parametrize("later", [False, True], ids=["in the body", "assigned later"])
@pytest.mark.parametrize("order", ["cache above", "cache below"])
@pytest.mark.asyncio
async def test_a_classmethod_is_bound_to_its_class(face: Face, order: str, later: bool) -> None:
    """In either order, for subclasses too; ``refresh`` below it only before Python 3.13."""
    memoize = face.memoize()
    if order == "cache above":
        function: Any = face.cache.memoize()(classmethod(face.dye(made)))
    else:
        function = classmethod(memoize(made))
    body = {} if later else {"made": function}
    shop: Any = type("Shop", (), body)
    if later:
        shop.made = function
    sub: Any = type("Sub", (shop,), {})
    for _ in range(2):
        assert await face.call(shop.made, 2) == ("Shop", 2)
        assert await face.call(sub.made, 2) == ("Sub", 2)
        assert await face.call(shop().made, n=2) == ("Shop", 2)
    assert face.cache.stats().computed == 2
    assert inspect.iscoroutinefunction(shop.made) == face.is_async
    assert await face.delete_memoized(shop.made, shop, 2)
    assert await face.call(sub.made, 2) == ("Sub", 2)
    assert face.cache.stats().computed == 2
    if order == "cache below" and sys.version_info >= (3, 13):
        with pytest.raises(TypeError, match="above it, or pass the class as the first argument"):
            await face.call(sub.made.refresh, 2)
        assert await face.call(sub.made.refresh, sub, 2) == ("Sub", 2)
        assert await sub.made.arefresh(sub, 2) == ("Sub", 2)
    else:
        assert await face.call(sub.made.refresh, 2) == ("Sub", 2)
        assert await sub.made.arefresh(2) == ("Sub", 2)
    assert face.cache.stats().computed == 4


@in_both_colours
@pytest.mark.parametrize("order", ["cache above", "cache below"])
@pytest.mark.asyncio
async def test_a_staticmethod_is_bound_to_nothing(face: Face, order: str) -> None:
    """In either order: call, refresh, deletion, the undecorated function."""

    def double(n: int) -> int:
        return 2 * n

    if order == "cache above":
        function: Any = face.cache.memoize()(staticmethod(face.dye(double)))
    else:
        function = staticmethod(face.memoize()(double))
    shop: Any = type("Shop", (), {"double": function})
    assert await face.call(shop.double, 3) == await face.call(shop().double, 3) == 6
    assert await face.call(shop().double.refresh, 3) == await shop.double.arefresh(3) == 6
    assert await face.call(shop.double.uncached, 3) == 6
    assert face.cache.stats().computed == 3
    assert await face.delete_memoized(shop.double, 3)
    assert await face.call(shop.double, 3) == 6
    assert face.cache.stats().computed == 4


@in_both_colours
@pytest.mark.asyncio
async def test_a_method_of_an_enumeration_is_no_member(face: Face) -> None:
    """``Enum`` takes for members what does not bind."""

    class Coin(enum.Enum):
        PENNY = 1
        POUND = 100

        @face.memoize()
        def times(self, n: int) -> int:
            return int(self.value) * n

    assert [coin.name for coin in Coin] == ["PENNY", "POUND"]
    assert await face.call(Coin.POUND.times, 2) == 200
    assert await face.call(Coin.POUND.times.refresh, 2) == 200
    assert face.cache.stats().computed == 2


# --- a function that is in no class ---------------------------------------------------------------

cache_of_module = Cache()


@cache_of_module.memoize()
def of_module(n: int) -> int:
    """A function that can be pickled by its name."""
    return n


@cache_of_module.memoize()
async def a_of_module(n: int) -> int:
    """The same, async."""
    return n


def inside() -> Any:
    """A function that stands in another one."""

    def made(n: int) -> int:
        return n

    return made


def of_other(this: Any, n: int) -> tuple[Any, int]:
    """A function whose first parameter is called as no method's is."""
    return this.name, n


class Standing:
    """A class with functions of all kinds."""

    def usual(self) -> None: ...
    def unusual(this) -> None: ...  # noqa: N805
    @staticmethod
    def static(n: int) -> None: ...


#: Functions, and whether what a decorator makes of them has to know what it is bound to.
MAY_BE_METHODS: dict[str, tuple[Any, bool]] = {
    "a function": (of_module.uncached, False),
    "a function in a function": (inside(), False),
    "a lambda": (lambda n: n, False),
    "no parameters": (inside, False),
    "another name": (of_other, False),
    "self": (price, True),
    "cls": (lambda cls: cls, True),
    "whatever is given": (same(price), True),
    "whatever is given, unnamed": (lambda *args: args, True),
    "whatever is given by name": (lambda **named: named, True),
    "in a class": (Standing.usual, True),
    "in a class, otherwise named": (Standing.unusual, True),
    "in a class, static": (Standing.static, True),
    "a partial": (functools.partial(price), True),
    "a builtin": (abs, True),
}


@cases("name", MAY_BE_METHODS)
def test_what_may_be_a_method_is_no_plain_function(name: str) -> None:
    """A table: what stands in a class, or has a place for an instance, binds by itself."""
    function, expected = MAY_BE_METHODS[name]
    assert may_be_method(function) == expected
    cached: Any = cache_of_module.memoize()(function)
    assert (type(cached) is not types.FunctionType) == expected
    assert isinstance(cached, types.FunctionType)


@pytest.mark.parametrize("signature", [None, 7])
def test_a_view_without_a_signature_is_cached_like_any_other(
    app: Flask, cache: Cache, signature: int | None
) -> None:
    """What it wraps has none, or it says something else: nobody asks for it."""

    def view() -> str:
        return "a page"

    if signature is None:
        functools.update_wrapper(view, dict)
    else:
        view.__signature__ = signature  # type: ignore[attr-defined]
    view.__qualname__ = "view"
    assert may_be_method(view)
    cached: Any = cache.cached()(view)
    with app.test_request_context("/"):
        assert [cached(), cached()] == ["a page", "a page"]
    assert cache.stats().computed == 1


def test_a_plain_function_that_becomes_a_method_is_bound_by_python(cache: Cache) -> None:
    """Whatever its first parameter is called; ``refresh`` is given the instance then."""

    class Shop(Named):
        price = cache.memoize()(of_other)

    one, two = Shop("one"), Shop("two")
    for _ in range(2):
        assert (one.price(1), two.price(1)) == (("one", 1), ("two", 1))
    assert cache.stats().computed == 2
    with pytest.raises(TypeError, match="'n'"):
        one.price.refresh(1)
    assert one.price.refresh(one, 1) == ("one", 1)
    assert cache.delete_memoized(one.price, one, 1)
    one.price(1)
    assert cache.stats().computed == 4


@in_both_colours
@pytest.mark.asyncio
async def test_arguments_count_however_they_are_given(face: Face) -> None:
    """By position, by name, both; too few, too many and one given twice are errors."""

    @face.memoize()
    def f(a: Any, b: Any = 2, /, c: Any = 3) -> Any:
        return a, b, c

    @face.memoize()
    def g(a: Any, b: Any = 2) -> Any:
        return a, b

    for _ in range(2):
        assert await face.call(f, 1) == await face.call(f, 1, 2) == (1, 2, 3)
        assert await face.call(f, 1, c=3) == await face.call(f, 1, 2, 3) == (1, 2, 3)
        assert await face.call(g, a=1) == await face.call(g, 1, b=2) == await face.call(g, 1, 2)
        assert await face.call(g, None, None) == (None, None)
    assert face.cache.stats().computed == 3
    wrong: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
        (f, (), {}), (f, (), {"a": 1}), (f, (1, 2, 3, 4), {}), (f, (1, 2, 3), {"c": 4}),
        (g, (), {}), (g, (), {"b": 1}), (g, (1,), {"a": 2}), (g, (1, 2, 3), {}),
        (g, (1,), {"d": 4}),
    ]  # fmt: skip
    for function, args, kwargs in wrong:
        with pytest.raises(TypeError):
            await face.call(function, *args, **kwargs)


@pytest.mark.parametrize("function", [of_module, a_of_module])
def test_a_cached_function_is_a_function(function: Any) -> None:
    """Its names, text, signature, module, colour; it is pickled and copied by reference."""
    assert type(function) is types.FunctionType
    original = function.uncached
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(function, name) == getattr(original, name)
    assert inspect.signature(function) == inspect.signature(original)
    assert inspect.getfullargspec(function) == inspect.getfullargspec(original)
    assert inspect.iscoroutinefunction(function) == inspect.iscoroutinefunction(original)
    assert inspect.isroutine(function) and callable(function)
    assert inspect.unwrap(function) is original
    assert pickle.loads(pickle.dumps(function)) is copy.deepcopy(function) is function


def test_attributes_of_the_function_are_kept() -> None:
    """What other decorators have left on it stays readable, and new attributes may be set."""

    def f() -> None:
        """Nothing."""

    f.mine = 1  # type: ignore[attr-defined]
    cached: Any = cache_of_module.memoize()(f)
    assert cached.mine == 1
    cached.yours = 2
    assert same(cached).yours == 2
    assert same(cached).refresh == cached.refresh
    assert not hasattr(cached, "unheard_of")
