"""Arguments: two that differ never share a value, whatever their ``repr`` shows of them."""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import inspect
import io
import logging
import re
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import numpy
import pydantic
import pytest
from flask import Flask, Request, Response, current_app, g, request, session
from werkzeug.datastructures import FileStorage
from werkzeug.local import LocalProxy

from flask_caching_async import AddressKeyWarning, Cache, ConfigurationError, InvalidKeyError
from flask_caching_async.identity import Notes, NoText, canonical
from flask_caching_async.tokens import quick_text, text_while_alive
from support.backends import OURS, config_of_ours
from support.faces import Face
from support.params import PACES, cases, each_pace, table

LONG = "(" + "|".join(f"word{n}" for n in range(60)) + ")"


def middle(number: int, kind: Any = int) -> Any:
    """An array whose repr does not show where it differs."""
    made = numpy.zeros(5000, kind)
    made[2500] = number
    return made


@dataclass
class Login:
    """Its repr shows no password."""

    name: str
    password: str = field(repr=False)
    connection: Any = field(default=None, repr=False, compare=False)


@dataclass(repr=False)
class Silent:
    """It has no repr at all."""

    number: int


@attrs.define
class Account:
    """Its repr shows no password."""

    name: str
    password: str = attrs.field(repr=False)


class Settings(pydantic.BaseModel):
    """Its repr masks one field, and leaves out another."""

    key: pydantic.SecretStr
    hidden: int = pydantic.Field(default=0, repr=False)


class Measure(numpy.ndarray):  # type: ignore[type-arg]
    """An array with an attribute of its own."""

    unit: str

    @classmethod
    def of(cls, unit: str) -> Any:
        """Numbers in a unit."""
        made = numpy.zeros(3).view(cls)
        made.unit = unit
        return made


def record(number: int) -> Any:
    """A scalar with an array in it."""
    return numpy.array([(1, middle(number))], dtype=[("a", int), ("b", int, 5000)])[0]


#: Makes a value of a number: of two numbers, two that must not be confused.
VALUES: dict[str, Callable[[int], Any]] = {
    "array": middle,
    "array of objects": lambda n: middle(n, object),
    "array of another shape": lambda n: numpy.zeros((1, 6) if n == 1 else (2, 3)),
    "array of another type": lambda n: numpy.zeros(4, numpy.int32 if n == 1 else numpy.uint32),
    "array in another order": lambda n: numpy.array([[1, 2], [3, 4]])[:: 1 if n == 1 else -1],
    "array of dates": lambda n: middle(n, "datetime64[ns]"),
    "array of texts": lambda n: middle(n, "U9"),
    "masked array": lambda n: numpy.ma.array(numpy.zeros(5000), mask=middle(n - 1, bool)),
    "record": record,
    "array with a unit": lambda n: Measure.of("m" if n == 1 else "km"),
    "in a dict": lambda n: {"k": [middle(n)]},
    "in an OrderedDict": lambda n: collections.OrderedDict(k=middle(n)),
    "in a defaultdict": lambda n: collections.defaultdict(list, k=middle(n)),
    "in a deque": lambda n: collections.deque([middle(n)]),
    "in a namespace": lambda n: types.SimpleNamespace(k=middle(n)),
    "in a proxy of a dict": lambda n: types.MappingProxyType({"k": middle(n)}),
    "in a ChainMap": lambda n: collections.ChainMap({"k": middle(n)}),
    "in a UserDict": lambda n: collections.UserDict(k=middle(n)),
    "values of a dict": lambda n: {"k": middle(n)}.values(),
    "memoryview": lambda n: memoryview(bytes([n])),
    "pattern": lambda n: re.compile(LONG + str(n)),
    "pattern with flags": lambda n: re.compile(LONG, re.I if n == 1 else re.M),
    "match": lambda n: re.match(".*", "x" * 100 + str(n)),
    "secret": lambda n: pydantic.SecretStr(f"s{n}"),
    "secret bytes": lambda n: pydantic.SecretBytes(b"%d" % n),
    "model with a secret": lambda n: Settings(key=pydantic.SecretStr(f"s{n}")),
    "model with a hidden field": lambda n: Settings(key=pydantic.SecretStr("s"), hidden=n),
    "dataclass with a hidden field": lambda n: Login("ann", f"p{n}", object()),
    "dataclass without a repr": Silent,
    "attrs class with a hidden field": lambda n: Account("ann", f"p{n}"),
    "logger": lambda n: logging.getLogger(f"a logger {n}"),
    "app": lambda n: Flask(f"app{n}"),
    "module": lambda n: (types, re)[n - 1],
}


@table("name", VALUES)
def test_what_a_repr_leaves_out_counts(cache: Cache, name: str) -> None:
    """Two values that differ inside have two keys, two that are made alike have one."""

    @cache.memoize()
    def f(value: Any) -> None: ...

    one, same, other = (f.make_cache_key(f.uncached, VALUES[name](n)) for n in (1, 1, 2))
    assert one == same != other


class Said:
    """Has a repr that is given to it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


#: Instances of methods; each is asked for twice, for it may have a token by then.
INSTANCES: dict[str, Callable[[], Any]] = {
    **{name: functools.partial(make, 1) for name, make in VALUES.items()},
    "no repr": lambda: type("Plain", (), {})(),
    "no repr, and an identity": lambda: type("Known", (), {"__caching_id__": lambda self: "k"})(),
    "a repr": lambda: Said("Shop"),
    "a longer repr": lambda: Said("Shop('Hamburg')"),
    "a repr in brackets": lambda: Said("<Shop 7>"),
    "a repr with a number": lambda: Said("Shop(1234567)"),
    "a repr with another object": lambda: Said(f"Shop({object()!r})"),
    "a repr with its own number": lambda: _numbered("{}"),
    "a repr with its own number in hex": lambda: _numbered("{:X}"),
    "a proxy": lambda: LocalProxy(lambda: Said("Shop")),
    "a class": lambda: Said,
    "a decorated function": lambda: Cache().memoize()(abs),
}


def _numbered(form: str) -> Said:
    said = Said("")
    said.text = f"number {form.format(id(said))}"
    return said


@table("name", INSTANCES)
def test_the_quick_text_of_an_instance_is_its_careful_one(name: str) -> None:
    """Where it has one at all."""
    instance, notes = INSTANCES[name](), Notes(lambda v, text, name: text_while_alive(v, text))
    for known in (False, True):
        quick = quick_text(instance)
        try:
            careful = canonical(instance, notes)
        except NoText:
            careful = None
        assert quick in (None, careful)
        assert quick or not (known and name in ("no repr", "a repr", "a longer repr"))


def test_an_instance_that_changes_its_class_or_gets_an_identity_has_another_text() -> None:
    """Though it had a token before."""
    instance = Opaque()
    before = canonical(instance, Notes(lambda v, text, name: text_while_alive(v, text)))
    assert quick_text(instance) == before
    instance.__class__ = Again
    assert quick_text(instance) is None
    instance.__class__, instance.__caching_id__ = Opaque, lambda: "x"  # type: ignore[attr-defined]
    assert quick_text(instance) is None


def test_a_secret_stands_in_no_text(cache: Cache) -> None:
    """Only its hash is kept with the keys that are remembered."""
    secret = pydantic.SecretStr("hunter2")
    for value in (secret, [secret], Settings(key=secret)):
        assert "hunter2" not in canonical(value)


def test_frames_that_differ_inside_are_told_apart(cache: Cache) -> None:
    """Of pandas, in any of their parts."""
    pandas = pytest.importorskip("pandas")

    def frame(column: str = "a", kind: Any = "int64", index: int = 0) -> Any:
        made = pandas.DataFrame({column: pandas.Series(middle(0)).astype(kind), "text": "x"})
        made.index = made.index + index
        return made

    def changed(name: str, value: Any) -> Any:
        made = frame()
        made.loc[2500, name] = value
        return made

    def days(n: int) -> Any:
        return pandas.Series(pandas.date_range("2026-01-01", periods=500, tz="UTC")).shift(n)

    levels = [pandas.MultiIndex.from_product([range(100), [n]]) for n in (1, 2)]
    values = [
        frame(), changed("a", 1), changed("text", "y"), frame("b"), frame(kind="int32"),
        frame(index=1), frame()["a"], changed("a", 1)["a"], frame().index, frame(index=1).index,
        frame()["text"].astype("category"), changed("text", "y")["text"].astype("category"),
        pandas.Index(middle(0)), pandas.Index(middle(1)), frame(kind="Int64"), days(0), days(1),
        *levels,
    ]  # fmt: skip
    texts = [canonical(value) for value in values]
    assert len(set(texts)) == len(values)
    assert texts == [canonical(value.copy()) for value in values]


# --- what has no text -----------------------------------------------------------------------------


class Opaque:
    """Told apart by nothing but its address."""

    def __init__(self, number: int = 0) -> None:
        self.number = number


class Slotted:
    """An object whose end cannot be noticed."""

    __slots__ = ("number",)

    def __init__(self, number: int = 0) -> None:
        self.number = number


class Box:
    """Its repr has the address of what is in it."""

    def __init__(self, number: int = 0) -> None:
        self.inside = Opaque(number)

    @property
    def number(self) -> int:
        """The number of what is in it."""
        return self.inside.number

    def __repr__(self) -> str:
        return f"Box({self.inside!r})"


class Again(Opaque):
    """Each stands at the address of the last one, as far as anyone can see."""

    def __repr__(self) -> str:
        return "<tests.Again object at 0x7f0000000000>"


class Numbered:
    """Its repr has its address without saying so."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"<Numbered {id(self)}>"


@contextlib.contextmanager
def told() -> Iterator[list[str]]:
    """What is warned of."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield found
    assert {w.category for w in caught} <= {AddressKeyWarning}
    assert all(w.filename == __file__ or "support" in w.filename for w in caught)
    found += [str(w.message) for w in caught]


@cases("kind", [Opaque, Slotted, Box, Again, Numbered], ways=PACES)
@pytest.mark.asyncio
async def test_an_object_never_gets_the_value_of_one_that_is_gone(
    any_face: Face, kind: Any
) -> None:
    """Though it stands at the same address; one warning names the function and the argument."""

    @any_face.memoize()
    def number_of(value: Any) -> int:
        return int(value.number)

    with told() as found:
        for number in range(50):
            value = kind(number)
            assert await any_face.call(number_of, value) == number
            del value
            gc.collect(0)
    assert len(found) == 1
    assert "'value'" in found[0] and number_of.__qualname__ in found[0]
    assert kind.__qualname__ in found[0]


@each_pace
@pytest.mark.asyncio
async def test_one_object_finds_its_own_value_again(any_face: Face) -> None:
    """As long as it lives, and in this process only."""

    @any_face.memoize()
    def number_of(value: Any) -> int:
        return int(value.number)

    value = Opaque(1)
    with told():
        assert await any_face.call(number_of, value) == await any_face.call(number_of, value) == 1
        assert any_face.cache.stats().computed == 1
        await any_face.delete_memoized(number_of, value)
        assert await any_face.call(number_of, value) == 1
        assert any_face.cache.stats().computed == 2
        key = number_of.make_cache_key(None, value)
        assert key == number_of.make_cache_key(None, value)
        assert key != number_of.make_cache_key(None, Opaque(1))
    assert hex(id(value)) not in key


@dataclass
class Node:
    """A node of a tree that knows its parent, which knows it."""

    name: str
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)


def tree_of(*names: str) -> Node:
    """A tree of two floors."""
    root = Node("root")
    root.children += [Node(name, root) for name in names]
    return root


@each_pace
@pytest.mark.asyncio
async def test_an_argument_that_leads_back_to_itself_counts_by_what_it_has(any_face: Face) -> None:
    """Equal trees are one call, others are not, and a node is not its parent."""
    calls: list[Node] = []

    @any_face.memoize()
    def size_of(node: Node) -> int:
        calls.append(node)
        return len(calls)

    trees = [tree_of("a", "b"), tree_of("a", "c"), tree_of("a", "b").children[0], tree_of()]
    assert [await any_face.call(size_of, tree) for tree in trees] == [1, 2, 3, 4]
    assert await any_face.call(size_of, tree_of("a", "b")) == 1
    assert await any_face.call(size_of, tree_of("a", "b").children[0]) == 3


@cases("kind", ["a list in itself", "a deep list"], ways=PACES)
@pytest.mark.asyncio
async def test_an_argument_without_an_end_is_not_stored(any_face: Face, kind: str) -> None:
    """One warning says so, and the call is answered, also where errors are raised."""
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    value = endless if kind == "a list in itself" else deep
    calls: list[int] = []

    @any_face.memoize()
    def number_of(value: Any) -> int:
        calls.append(1)
        return len(calls)

    with told() as found:
        assert [await any_face.call(number_of, value) for _ in range(2)] == [1, 2]
        with pytest.raises(InvalidKeyError, match="number_of"):
            number_of.make_cache_key(None, value)
    assert len(found) == 1 and "'value'" in found[0]


@each_pace
@pytest.mark.asyncio
async def test_a_call_with_an_argument_that_has_no_key_is_not_stored(any_face: Face) -> None:
    """Neither is there anything to delete, nor a key to be had."""

    @any_face.memoize()
    def number_of(value: Any) -> int:
        return int(value.number)

    value = Slotted(1)
    with told() as found:
        assert await any_face.call(number_of, value) == 1
        value.number = 2
        assert await any_face.call(number_of, value) == 2
        assert await any_face.call(number_of.refresh, value) == 2
        with pytest.raises(InvalidKeyError, match="number_of"):
            number_of.make_cache_key(None, value)
        with pytest.raises(ValueError, match="number_of"):
            await any_face.delete_memoized(number_of, value)
    assert len(found) == 1 and "not stored" in found[0]


def test_the_methods_of_an_object_without_a_text_are_its_own(cache: Cache) -> None:
    """``self`` is an argument like any other."""

    class Counter(Opaque):
        @cache.memoize()
        def plus(self, n: int) -> int:
            return self.number + n

    with told() as found:
        for number in range(20):
            counter = Counter(number)
            assert counter.plus(1) == counter.plus(1) == number + 1
            del counter
    assert len(found) == 1 and "'self'" in found[0]
    assert cache.stats().computed == 20


def test_a_default_without_a_text_is_the_default(cache: Cache) -> None:
    """``missing = object()`` lives as long as the function, so there is nothing to warn of."""
    missing = object()

    @cache.memoize()
    def f(a: int, b: Any = missing, *, c: Any = missing) -> tuple[bool, bool]:
        return b is missing, c is missing

    assert f(1) == f(1, missing) == f(1, c=missing) == (True, True)
    assert f(1, 2) == (False, True)
    assert cache.stats().computed == 2


def test_a_text_about_an_address_is_none(cache: Cache) -> None:
    """A repr may well say where something is."""

    class Place:
        def __init__(self, where: str) -> None:
            self.where = where

        def __repr__(self) -> str:
            return f"<Place at {self.where}>"

    f = cache.memoize()(lambda place: place.where)
    assert [f(Place("0x1F")), f(Place("0x2F")), f(Place("0x1F"))] == ["0x1F", "0x2F", "0x1F"]
    assert cache.stats().computed == 2


def test_each_app_is_warned_once(cache: Cache) -> None:
    """A cache may serve several, whose logs differ."""
    f = cache.memoize()(lambda value: 1)
    second = Flask("second")
    cache.init_app(second, {"CACHE_TYPE": "SimpleCache"})
    first = cache._apps and next(app for app in cache._apps if app is not second)
    with told() as found:
        for app in (first, second) * 2:
            with app.app_context():
                f(Opaque())
    assert len(found) == 2


# --- requests and proxies -------------------------------------------------------------------------


def test_a_proxy_counts_as_what_it_stands_for(app: Flask, cache: Cache) -> None:
    """``session`` is the visitor's own, ``current_app`` the app."""
    app.secret_key = "secret"

    @cache.memoize()
    def name_of(value: Any) -> Any:
        return value.name if hasattr(value, "url_map") else value.get("name")

    for name in ("ann", "bob"):
        with app.test_request_context():
            session["name"] = name
            assert name_of(session) == name_of(dict(session)) == name
            assert name_of(current_app) == app.name
    people = [{"name": "ann"}, {"name": "bob"}]
    current = LocalProxy(lambda: people[0])
    assert name_of(current) == "ann"
    people.reverse()
    assert name_of(current) == "bob"


def test_a_request_is_no_key(app: Flask, cache: Cache) -> None:
    """Its repr says neither its headers nor its visitor; that is said once, and nothing stored."""

    @cache.memoize()
    def visitor(request: Request) -> str | None:
        return request.headers.get("X-User")

    with told() as found:
        for name in ("ann", "bob"):
            with app.test_request_context(headers={"X-User": name}):
                assert visitor(request) == visitor(request._get_current_object()) == name  # type: ignore[attr-defined]
    assert len(found) == 1
    assert "'request'" in found[0] and "visitor" in found[0] and "not stored" in found[0]


def test_what_else_a_framework_describes_but_does_not_show_is_no_key(
    app: Flask, cache: Cache
) -> None:
    """A response's repr has its length, an upload's its name."""

    @cache.memoize()
    def text(value: Any) -> str:
        return str(value.user if hasattr(value, "user") else value.data)

    @cache.memoize()
    def read(value: FileStorage) -> bytes:
        return value.read()

    with told() as found:
        assert [text(Response(body)) for body in ("one", "two")] == ["b'one'", "b'two'"]
        uploads = [FileStorage(io.BytesIO(body), "a.txt") for body in (b"one", b"two")]
        assert [read(upload) for upload in uploads] == [b"one", b"two"]
        for name in ("ann", "bob"):
            with app.app_context():
                g.user = name
                assert text(g) == name
    assert len(found) == 2


def test_a_file_is_no_key(cache: Cache, tmp_path: Path) -> None:
    """Its repr has its name, not what is in it."""

    @cache.memoize()
    def read(file: Any) -> str:
        return str(file.read())

    with told() as found:
        for content in ("one", "two"):
            (tmp_path / "file").write_text(content)
            with open(tmp_path / "file") as file:
                assert read(file) == content
    assert len(found) == 1 and "'file'" in found[0]


@pytest.mark.parametrize("backend", OURS)
def test_arrays_are_told_apart_on_every_backend(
    app: Flask, tmp_path: Path, request: pytest.FixtureRequest, backend: str
) -> None:
    """And each finds its own value again."""
    cache = Cache(app, config=config_of_ours(backend, tmp_path, request.getfixturevalue))
    total = cache.memoize()(lambda values: int(values.sum()))
    for _ in range(2):
        assert [total(middle(n)) for n in (1, 2)] == [1, 2]
    assert cache.stats().computed == 2


# --- decorators around the function ---------------------------------------------------------------


def passing_on(f: Any) -> Any:
    """A decorator that changes nothing."""

    @functools.wraps(f)
    def around(*args: Any, **kwargs: Any) -> Any:
        with contextlib.nullcontext():
            return f(*args, **kwargs)

    return around


def passing_positions_on(f: Any) -> Any:
    """One that takes no keyword arguments."""

    @functools.wraps(f)
    def around(*args: Any) -> Any:
        return f(*args)

    return around


def giving_first(f: Any) -> Any:
    """One that gives its function a first argument, as ``click.pass_context`` does."""

    @functools.wraps(f)
    def around(*args: Any, **kwargs: Any) -> Any:
        return f("db", *args, **kwargs)

    return around


def giving_by_name(f: Any) -> Any:
    """One that gives its function a keyword argument."""

    @functools.wraps(f)
    def around(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs, db="db")

    return around


def taking_away(f: Any) -> Any:
    """One that has a keyword argument of its own."""

    @functools.wraps(f)
    def around(*args: Any, loud: bool = False, **kwargs: Any) -> Any:
        return (loud, f(*args, **kwargs))

    return around


def taking_away_unseen(f: Any) -> Any:
    """One that takes it out of what it is given."""

    @functools.wraps(f)
    def around(*args: Any, **kwargs: Any) -> Any:
        return (kwargs.pop("loud", False), f(*args, **kwargs))

    return around


def with_a_default(f: Any) -> Any:
    """One that knows a default which the function does not know, or another one."""

    @functools.wraps(f)
    def around(*args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("y", "own")
        return f(*args, **kwargs)

    return around


def saying_itself(f: Any) -> Any:
    """One that takes other arguments than its function."""

    @functools.wraps(f)
    def around(y: Any, *, x: Any = 7) -> Any:
        return f(x, y)

    return around


def saying_its_signature(f: Any) -> Any:
    """One whose ``__signature__`` is handed on by ``functools.wraps``, as ours are."""
    around = passing_on(f)
    around.__signature__ = inspect.signature(f)
    return around


def one(x: Any) -> Any:
    """A function of one argument."""
    return x


def two(x: Any, y: Any = 2) -> Any:
    """A function with a default."""
    return x, y


def both(x: Any, y: Any) -> Any:
    """A function without one."""
    return x, y


def with_db(x: Any, db: Any) -> Any:
    """A function that is given what it needs last."""
    return x, db


def with_db_first(db: Any, x: Any, y: Any = 2, z: Any = 3) -> Any:
    """A function that is given what it needs first."""
    return db, x, y, z


def patched(x: Any, mocked: Any) -> Any:
    """A function that is given a mock."""
    return x


#: Decorators with a function, and calls of them, each with another answer.
AROUND: dict[str, tuple[Any, Any, list[tuple[tuple[Any, ...], dict[str, Any]]]]] = {
    "passes on": (passing_on, two, [((1,), {}), ((2,), {}), ((1,), {"y": 3})]),
    "passes positions on": (passing_positions_on, two, [((1,), {}), ((1, 3), {})]),
    "gives first": (
        giving_first,
        with_db_first,
        [((1,), {}), ((1, 5), {}), ((1, 5, 2), {}), ((1,), {"z": 9}), ((), {"x": 2})],
    ),
    "gives by name": (giving_by_name, with_db, [((1,), {}), ((2,), {})]),
    "takes away": (taking_away, one, [((1,), {}), ((1,), {"loud": True})]),
    "takes away unseen": (taking_away_unseen, one, [((1,), {}), ((1,), {"loud": True})]),
    "has a default": (with_a_default, both, [((1,), {}), ((1,), {"y": 2})]),
    "has another default": (with_a_default, two, [((1,), {}), ((1,), {"y": 2})]),
    "says itself": (saying_itself, both, [((1,), {}), ((1,), {"x": 2}), ((2,), {})]),
    "twice": (
        lambda f: passing_on(giving_by_name(passing_on(f))), with_db, [((1,), {}), ((2,), {})]
    ),
    "gives first, above a signature": (
        lambda f: giving_first(saying_its_signature(f)),
        with_db_first,
        [((1,), {}), ((1, 5), {}), ((1,), {"z": 9})],
    ),
    "takes away, above a signature": (
        lambda f: taking_away(saying_its_signature(f)), one, [((1,), {}), ((1,), {"loud": True})]
    ),
    "mock.patch": (mock.patch(f"{__name__}.one"), patched, [((1,), {}), ((2,), {})]),
}  # fmt: skip


@pytest.mark.asyncio
@cases("name", AROUND)
async def test_the_arguments_count_that_a_decorator_is_called_with(face: Face, name: str) -> None:
    """It may give its function arguments, take them away, or have defaults of its own."""
    around, function, given = AROUND[name]
    plain = around(function)
    decorated = face.memoize()(plain)
    for _ in range(2):
        for args, kwargs in given:
            assert await face.call(decorated, *args, **kwargs) == plain(*args, **kwargs)
    assert face.cache.stats().computed == len(given)
    for args, kwargs in given:
        computed = face.cache.stats().computed
        assert await face.delete_memoized(decorated, *args, **kwargs)
        assert await face.call(decorated, *args, **kwargs) == plain(*args, **kwargs)
        assert face.cache.stats().computed == computed + 1


@pytest.mark.parametrize("around", [passing_on, lambda f: passing_on(passing_on(f))])
def test_a_decorator_that_passes_arguments_on_makes_no_difference(
    cache: Cache, around: Any
) -> None:
    """However a call is spelled it is one call, and a wrong one is an error."""
    decorated = cache.memoize(args_to_ignore=["ignored"])(around(lambda a, b=2, ignored=0: (a, b)))
    calls = [decorated(1), decorated(a=1), decorated(1, 2), decorated(b=2, a=1), decorated(1, 2, 3)]
    assert calls == [(1, 2)] * 5
    assert cache.stats().computed == 1
    with pytest.raises(TypeError):
        decorated()
    with pytest.raises(ValueError, match="no call"):
        cache.delete_memoized(decorated, 1, c=2)


@pytest.mark.parametrize("backend", OURS)
def test_a_deletion_reaches_calls_that_leave_a_default_out(
    app: Flask, tmp_path: Path, request: pytest.FixtureRequest, backend: str
) -> None:
    """Where a decorator may have another one, they are two calls, but may be one."""
    cache = Cache(app, config=config_of_ours(backend, tmp_path, request.getfixturevalue))
    decorated = cache.memoize()(taking_away_unseen(two))
    spelled: list[tuple[Any, ...]] = [(1,), (1, 2)]
    for deleted in spelled:
        for call in [*spelled, (1, 3)]:
            decorated(*call)
        computed = cache.stats().computed
        assert cache.delete_memoized(decorated, *deleted)
        for call in [*spelled, (1, 3)]:
            decorated(*call)
        assert cache.stats().computed == computed + 2


def test_keyword_arguments_of_a_decorator_can_be_ignored(cache: Cache) -> None:
    """They are known by name like those of the function."""
    decorated = cache.memoize(args_to_ignore=["loud", "x"])(taking_away(two))
    assert decorated(1, 5, loud=True) == decorated(2, 5) == (True, (1, 5))
    with pytest.raises(ConfigurationError, match="args_to_ignore"):
        cache.memoize(args_to_ignore=["quiet"])(taking_away(two))
