"""Keys: equal calls share one, different calls never do, and they are the same in every process."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import hashlib
import os
import subprocess
import sys
import textwrap
import uuid
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.local import LocalProxy

from flask_caching_async import (
    AddressKeyWarning,
    Cache,
    ConfigurationError,
    make_template_fragment_key,
)
from flask_caching_async.call_text import call_text
from flask_caching_async.identity import canonical
from flask_caching_async.keys import query_pairs
from support.faces import Face
from support.params import cases, each_form, table
from support.waiting import PATIENCE

quick = settings(max_examples=150, deadline=None)


@pytest.fixture
def key_of(cache: Cache) -> Callable[..., str]:
    """The key of a memoized function's call."""
    return lambda f, *args, **kwargs: f.make_cache_key(f.uncached, *args, **kwargs)


# --- calls of any shape ---------------------------------------------------------------------------

#: Some of them are names that generated code may use itself.
NAMES = (
    "a b type id self cls key value repr text write order _plain _our_type __our_plain __name f "
    "args use_request path query_args refresh plan state"
).split()

plain_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from(["", "1", "True", "None", "a,b", "'", '"', "\\", "{a!r}", "\ud800", "é" * 300]),
    st.text(max_size=5),
    st.binary(max_size=3),
)
hashable_values = st.one_of(plain_values, st.tuples(plain_values, plain_values))
values = st.recursive(
    plain_values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(hashable_values, inner, max_size=3),
        st.frozensets(hashable_values, max_size=3),
        st.sets(hashable_values, max_size=3),
    ),
    max_leaves=5,
)


def identity(value: Any) -> Any:
    """What tells a value apart, written independently of the package."""
    kind = type(value).__name__
    if isinstance(value, (list, tuple)):
        return kind, tuple(identity(item) for item in value)
    if isinstance(value, dict):
        return kind, tuple((identity(k), identity(v)) for k, v in value.items())
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(identity(item) for item in value)
    return kind, repr(value)


class Shape(NamedTuple):
    """The parameters of a function: names by kind, and defaults by name."""

    only: list[str]
    both: list[str]
    rest: bool
    named: list[str]
    more: bool
    defaults: dict[str, Any]

    def function(self) -> Callable[..., Any]:
        """A function with these parameters."""

        def written(name: str) -> str:
            return f"{name}=defaults[{name!r}]" if name in self.defaults else name

        head = [written(name) for name in self.only]
        head += ["/"] if self.only else []
        head += [written(name) for name in self.both]
        head += ["*rest"] if self.rest else ["*"] if self.named else []
        head += [written(name) for name in self.named]
        head += ["**more"] if self.more else []
        scope: dict[str, Any] = {"defaults": self.defaults}
        exec(f"def made({', '.join(head)}): return None", scope)
        return scope["made"]  # type: ignore[no-any-return]


@st.composite
def shapes(draw: Any) -> Shape:
    """Parameters of all kinds."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    kinds = [draw(st.sampled_from(("only", "both", "named"))) for _ in names]
    by_kind = {k: [n for n, kind in zip(names, kinds, strict=True) if kind == k] for k in kinds}
    only, both, named = (by_kind.get(k, []) for k in ("only", "both", "named"))
    positional = [*only, *both]
    count = draw(st.integers(0, len(positional)))
    defaulted = [*positional[len(positional) - count :], *(n for n in named if draw(st.booleans()))]
    defaults = {name: draw(values) for name in defaulted}
    return Shape(only, both, draw(st.booleans()), named, draw(st.booleans()), defaults)


class Call(NamedTuple):
    """The bound arguments of a call."""

    given: dict[str, Any]
    rest: tuple[Any, ...]
    more: dict[str, Any]

    def identity(self, shape: Shape) -> Any:
        """What tells the call apart from others of the same function."""
        bound = {**shape.defaults, **self.given}
        named = {name: identity(value) for name, value in bound.items()}
        more = {name: identity(value) for name, value in self.more.items()}
        return sorted(named.items()), identity(self.rest), sorted(more.items())


@st.composite
def calls(draw: Any, shape: Shape) -> Call:
    """A call that the function takes."""
    names = [*shape.only, *shape.both, *shape.named]
    given = {name: draw(values) for name in names if name not in shape.defaults}
    given |= {name: draw(values) for name in shape.defaults if draw(st.booleans())}
    rest = tuple(draw(st.lists(values, max_size=2))) if shape.rest else ()
    extra = st.sampled_from([n for n in ("x", "y", "self", "type", *shape.only) if n not in (
        *shape.both, *shape.named)])  # fmt: skip
    more = draw(st.dictionaries(extra, values, max_size=2)) if shape.more else {}
    return Call(given, rest, more)


def spell(draw: Any, shape: Shape, call: Call) -> tuple[list[Any], dict[str, Any]]:
    """One of the ways to write a call down."""
    bound = {**shape.defaults, **call.given}
    positional = [*shape.only, *shape.both]
    by_position = len(positional)
    if not call.rest:
        least = max([i + 1 for i, n in enumerate(shape.only) if n in call.given], default=0)
        least = max(least, sum(n not in shape.defaults for n in shape.only))
        by_position = draw(st.integers(least, len(positional)))
    args = [bound[name] for name in positional[:by_position]] + list(call.rest)
    named = [n for n in [*positional[by_position:], *shape.named] if n not in shape.only]
    kwargs = {n: bound[n] for n in named if n in call.given or draw(st.booleans())} | call.more
    order = draw(st.permutations(list(kwargs)))
    return args, {name: kwargs[name] for name in order}


@quick
@given(st.data())
def test_calls_share_a_text_exactly_if_they_bind_the_same_arguments(data: st.DataObject) -> None:
    """Whatever the parameters, and however a call is spelled."""
    shape = data.draw(shapes())
    text = call_text(shape.function()).write
    one, other = data.draw(calls(shape)), data.draw(calls(shape))
    texts = []
    for call in (one, one, other):
        args, kwargs = spell(data.draw, shape, call)
        texts.append(text(*args, **kwargs))
    assert texts[0] == texts[1]
    assert (texts[0] == texts[2]) == (one.identity(shape) == other.identity(shape))


@quick
@given(values, values)
def test_texts_of_values_are_as_different_as_the_values(one: Any, other: Any) -> None:
    """Types count, and so does the order of what has one."""
    assert (canonical(one) == canonical(other)) == (identity(one) == identity(other))


LOOKALIKES = [
    1, True, "1", "True", 1.0, "1.0", b"1", (1,), [1], {1}, frozenset({1}), {1: 1}, [(1,)], [[1]],
    ((1,),), None, 0, False, "", b"", (), [], {}, "None", 0.0, -0.0, {1: "1"}, {"1": 1}, [1, 2],
    ["1, 2"], "[1]", ["1", "2"], decimal.Decimal(1), complex(1), 10**5000, "x" * 5000, "\ud800",
    10**5000 + 1, "x" * 5001, {"a": 1, "b": 2}, {"b": 2, "a": 1}, datetime.date(2026, 1, 1),
    datetime.datetime(2026, 1, 1), uuid.UUID(int=1), range(1), bytearray(b"1"), int, "int", str,
]  # fmt: skip


@each_form
@pytest.mark.asyncio
async def test_lookalike_arguments_never_get_each_others_value(any_face: Face) -> None:
    """``1``, ``True``, ``"1"``, ``1.0`` ... are different calls, nested or not."""
    made: list[Any] = []

    @any_face.memoize()
    def number(value: Any, *rest: Any) -> int:
        made.append(value)
        return len(made)

    wrap: list[Callable[[Any], Any]] = [lambda v: (v,), lambda v: ([v],), lambda v: (0, {"k": v})]
    for args in wrap:
        answers = [await any_face.call(number, *args(v)) for v in LOOKALIKES]
        assert len(set(answers)) == len(LOOKALIKES)
        assert [await any_face.call(number, *args(v)) for v in LOOKALIKES] == answers


def test_positional_only_arguments_are_part_of_the_key(
    cache: Cache, key_of: Callable[..., str]
) -> None:
    """M12: what stands before the slash counts, also if ``**kwargs`` repeat its name."""

    @cache.memoize()
    def pair(a: int, /, b: int, **more: int) -> tuple[int, int]:
        return a, b

    assert pair(1, b=2) == (1, 2)
    assert pair(9, b=2) == (9, 2)
    assert len({key_of(pair, 1, 2), key_of(pair, 1, 2, a=1), key_of(pair, 1, 2, a=2)}) == 3


def test_a_falsy_default_is_not_none(cache: Cache, key_of: Callable[..., str]) -> None:
    """Leaving an argument out is giving its default, and ``None`` is another value."""
    for falsy in (0, False, "", (), 0.0, b""):

        @cache.memoize()
        def f(a: Any = falsy) -> Any:
            return a

        assert key_of(f) == key_of(f, falsy) == key_of(f, a=falsy) != key_of(f, None), falsy


def test_the_order_of_keywords_and_sets_does_not_count(
    cache: Cache, key_of: Callable[..., str]
) -> None:
    """The order of a list or a dict does: a function may well depend on it."""

    @cache.memoize()
    def f(a: Any = None, **more: Any) -> None: ...

    assert key_of(f, x=1, y=2, a=3) == key_of(f, a=3, y=2, x=1)
    assert key_of(f, {"b", "a", "c"}) == key_of(f, {"c", "b", "a"})
    assert key_of(f, [frozenset({3, 1, 2})]) == key_of(f, [frozenset({2, 1, 3})])
    assert key_of(f, [1, 2]) != key_of(f, [2, 1])
    assert key_of(f, {"a": 1, "b": 2}) != key_of(f, {"b": 2, "a": 1})


def test_functions_of_one_name_in_two_places_do_not_meet(
    cache: Cache, key_of: Callable[..., str]
) -> None:
    """A key contains the module and the qualified name."""

    class A:
        @staticmethod
        @cache.memoize()
        def f(a: int) -> str:
            return "A"

    class B:
        @staticmethod
        @cache.memoize()
        def f(a: int) -> str:
            return "B"

    assert (A.f(1), B.f(1)) == ("A", "B")
    assert key_of(A.f, 1) != key_of(B.f, 1)


# --- between processes ----------------------------------------------------------------------------

SCRIPT = """
import enum, functools
from dataclasses import dataclass, field
from typing import NamedTuple
from flask import Flask
from flask_caching_async import Cache, make_template_fragment_key

class Colour(enum.Enum):
    RED = object()

@dataclass
class Point:
    x: int = 1
    names: frozenset = frozenset("abcdefgh")

class Named(NamedTuple):
    names: frozenset = frozenset("abcdefgh")

class Bag(set):
    pass

class Row:
    def __caching_id__(self):
        return 7

app = Flask(__name__)
cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})

@cache.memoize()
def f(*args, **kwargs):
    return 1

names = set("abcdefgh")
args = (
    "text", 1.5, b"x", names, frozenset(names), {"k": [names]}, Colour.RED, Point, len, Row(),
    Point(), Named(), Bag("abcdefgh"), [Point()], {"p": Named()},
)
for arg in args:
    print(f.make_cache_key(f.uncached, arg))
print(f.make_cache_key(f.uncached, *args, **{name: name for name in names}))
print(make_template_fragment_key("page", ["a", 1, None]))

@app.route("/")
@cache.cached(query_string=True, vary_on=("Accept", lambda: names))
def view():
    return "page"

with app.app_context():
    print(view.make_cache_key(path="/", query_args={"b": 1, "a": [2, 3]}))
app.test_client().get("/?b=1&a=2")
print(sorted(key for key in cache.cache.memory.entries))
"""


def test_keys_are_the_same_in_every_process(tmp_path: Any) -> None:
    """No ``hash()``, no memory address; also in sets inside of other objects."""
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-W", "error", str(file)]
    running = [
        subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=-1, text=True)
        for seed in ("1", "2")
    ]
    one, other = (process.communicate(timeout=PATIENCE)[0].splitlines() for process in running)
    assert one == other
    assert len(one) == 19


# --- what tells an object apart -------------------------------------------------------------------


class Row:
    """An object with an identity that is no text, and no repr of its own."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __caching_id__(self) -> int:
        return self.number


class Level(enum.IntEnum):
    """Members equal to plain numbers."""

    ONE = 1


@dataclass
class Point:
    """Told apart by its fields."""

    x: Any
    y: Any = 0


class Opaque:
    """Told apart by nothing but its address."""


@pytest.mark.parametrize(
    "wrap",
    [lambda v: v, lambda v: [v], lambda v: (v, 1), lambda v: {"k": v}, lambda v: {"k": [(v,)]}],
    ids=["bare", "list", "tuple", "dict", "deep"],
)
def test_a_caching_id_counts_on_any_argument(
    cache: Cache, key_of: Callable[..., str], wrap: Callable[[Any], Any]
) -> None:
    """Not only on ``self``: positional, by keyword, in ``*args``, ``**kwargs`` and containers."""

    @cache.memoize()
    def f(a: Any = None, *rest: Any, b: Any = None, **more: Any) -> None: ...

    one, same, other = wrap(Row(1)), wrap(Row(1)), wrap(Row(2))
    for call in (
        lambda v: key_of(f, v),
        lambda v: key_of(f, 0, v),
        lambda v: key_of(f, b=v),
        lambda v: key_of(f, c=v),
    ):
        assert call(one) == call(same) != call(other)


def test_a_caching_id_on_an_enum_member_counts(cache: Cache, key_of: Callable[..., str]) -> None:
    """The user's own word comes first; a class is told apart by its name, whatever it defines."""

    class Tenant(enum.Enum):
        A = "a"
        ALSO_A = "A"

        def __caching_id__(self) -> str:
            return str(self.value).lower()

    @cache.memoize()
    def f(a: Any) -> None: ...

    assert key_of(f, Tenant.A) == key_of(f, Tenant.ALSO_A)
    assert key_of(f, Row) != key_of(f, Tenant)


def test_objects_of_two_types_with_one_text_are_different(
    cache: Cache, key_of: Callable[..., str]
) -> None:
    """The type is part of the text, and no text can imitate another object."""

    class Imitation:
        def __repr__(self) -> str:
            return "1"

    class Text(str):
        pass

    @cache.memoize()
    def f(a: Any, b: Any = 0) -> None: ...

    given = [1, Imitation(), Level.ONE, Text("1"), "1", Row(1), Point(1), Point("1"), Point(True)]
    assert len({key_of(f, v) for v in given}) == len(given)
    assert len({canonical([v]) for v in given}) == len(given)
    assert key_of(f, Point([1, {2}])) == key_of(f, Point([1, {2}]))


def test_an_address_in_a_key_warns_once_for_each_function_and_argument(
    cache: Cache, key_of: Callable[..., str]
) -> None:
    """The warning names both, and what to do."""

    @cache.memoize()
    def f(a: Any, b: Any = 0) -> None: ...

    @cache.memoize()
    def g(*, deep: Any) -> None: ...

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            key_of(f, Opaque())
            key_of(f, 1, b=[Opaque()])
            key_of(g, deep={"k": (Opaque(),)})
            key_of(f, Row(1), Point(1))
    assert {w.category for w in caught} == {AddressKeyWarning}
    texts = [str(w.message) for w in caught]
    assert [("'a'" in t, "'b'" in t, "'deep'" in t) for t in texts] == [
        (True, False, False), (False, True, False), (False, False, True)
    ]  # fmt: skip
    assert f"{f.__module__}.{f.__qualname__}" in texts[0]
    assert "Opaque" in texts[0]
    assert "__caching_id__" in texts[0] and "args_to_ignore" in texts[0]


@pytest.mark.parametrize("where", ["lean", "careful"])
@pytest.mark.asyncio
async def test_an_argument_without_a_text_does_not_break_the_call(
    app: Flask, where: str, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A ``repr`` that fails means: no cache for this call; where errors are raised it is seen."""

    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    face = Face(cache, colour)

    @face.memoize(tags=() if where == "lean" else (lambda value: ["t"]))
    def f(value: Any) -> str:
        return "computed"

    assert await face.call(f, Bad()) == "computed"
    assert "callback" in caplog.text or "key" in caplog.text
    raising = Cache(app, config={"CACHE_TYPE": "SimpleCache", "CACHE_ON_ERROR": "raise"})
    face = Face(raising, colour)
    g = face.memoize()(lambda value: "computed")
    with pytest.raises(RuntimeError, match="no repr"):
        await face.call(g, Bad())


# --- args_to_ignore and make_name -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("ignored", "same"),
    [
        ("a", [((1, 2), {}), ((9, 2), {}), ((), {"a": 3, "b": 2})]),
        ("b", [((1, 2), {}), ((1, 3), {}), ((1,), {"b": 4}), ((1,), {})]),
        ("c", [((1, 2), {"c": 1}), ((1, 2), {"c": 2}), ((1, 2), {})]),
        ("extra", [((1, 2), {"extra": 1}), ((1, 2), {"extra": 2}), ((1, 2), {})]),
        ("rest", [((1, 2, 3), {}), ((1, 2, 4, 5), {}), ((1, 2), {})]),
        ("more", [((1, 2), {"x": 1}), ((1, 2), {"y": 2}), ((1, 2), {})]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ignored_arguments_are_not_part_of_the_key(
    cache: Cache, key_of: Callable[..., str], ignored: str, same: list[Any]
) -> None:
    """By name, however they are passed; the others still count."""

    @cache.memoize(args_to_ignore=[ignored])
    def f(a: int, b: int = 0, *rest: int, c: int = 0, **more: int) -> None: ...

    assert len({key_of(f, *args, **kwargs) for args, kwargs in same}) == 1
    others = [((5, 5), {}), ((5, 5, 5), {}), ((5, 5), {"c": 5}), ((5, 5), {"z": 5})]
    hidden = {"rest": 1, "c": 2, "more": 3}.get(ignored)
    shown = [call for index, call in enumerate(others) if index != hidden]
    assert len({key_of(f, *args, **kwargs) for args, kwargs in shown}) == len(shown)


def test_an_ignored_self_shares_one_entry_among_all_instances(cache: Cache) -> None:
    """Then nothing is asked about the instance, not even its text."""

    class Opaque:
        @cache.memoize(args_to_ignore=["self"])
        def f(self, a: int) -> object:
            return object.__repr__(self)

    one, other = Opaque(), Opaque()
    assert one.f(1) == other.f(1) == Opaque.f(other, 1)


def test_ignoring_what_the_function_does_not_have_is_an_error(cache: Cache) -> None:
    """A typo there would give everybody a wrong value; with ``**kwargs`` any name may come."""
    with pytest.raises(ConfigurationError, match=r"\['user'\].*\['usr'\]"):
        cache.memoize(args_to_ignore=["user"])(lambda usr: None)
    cache.memoize(args_to_ignore=["user"])(lambda **named: None)


@pytest.mark.asyncio
async def test_make_name_names_the_function_in_its_keys(face: Face) -> None:
    """It is given the function's name; two functions that get one name share their entries."""
    given: list[str] = []

    def make_name(name: str) -> str:
        given.append(name)
        return "shared"

    @face.memoize(make_name=make_name)
    def f(a: int) -> str:
        return "f"

    @face.memoize(make_name=make_name)
    def g(a: int) -> str:
        return "g"

    assert [await face.call(f, 1), await face.call(g, 1), await face.call(g, 2)] == ["f", "f", "g"]
    assert given[0].endswith("f") and given[1].endswith("g")
    assert f.make_cache_key(f.uncached, 1) == g.make_cache_key(g.uncached, 1)


@pytest.mark.asyncio
async def test_a_name_that_is_an_address_is_no_key(face: Face) -> None:
    """Such a call is not stored, and that is said once."""
    f = face.memoize(make_name=lambda name: Opaque())(lambda a: a)
    with pytest.warns(AddressKeyWarning, match="make_name") as caught:
        assert [await face.call(f, 1), await face.call(f, 1)] == [1, 1]
    assert len(caught) == 1 and face.cache.stats().computed == 0


@cases("value", [None, "ann"])
@pytest.mark.asyncio
async def test_a_callback_may_answer_with_a_proxy(face: Face, value: str | None) -> None:
    """``unless=lambda: current_user``: it is what it stands for, and nothing to be awaited."""
    f = face.memoize(unless=lambda: LocalProxy(lambda: value))(lambda: object.__name__)
    assert [await face.call(f), await face.call(f)] == ["object", "object"]
    assert face.cache.stats().computed == (0 if value else 1)


# --- hash_method and source_check -----------------------------------------------------------------


def recorder(hash_method: Any, used: list[str]) -> Callable[..., Any]:
    """A hash method that writes down that it was used."""

    def made(*args: Any) -> Any:
        used.append(hash_method.__name__)
        return hash_method(*args)

    return made


@pytest.mark.asyncio
async def test_the_decorators_hash_method_wins_over_the_caches(app: Flask, colour: str) -> None:
    """And the cache's may be assigned anew: from then on other keys are used."""
    used: list[str] = []
    config = {"CACHE_TYPE": "SimpleCache", "CACHE_HASH_METHOD": recorder(hashlib.sha1, used)}
    cache = Cache(app, config=config)
    face = Face(cache, colour)
    computed: list[int] = []

    @face.memoize()
    def f(a: int) -> int:
        computed.append(a)
        return a

    @face.memoize(hash_method=recorder(hashlib.md5, used))
    def g(a: int) -> int:
        return a

    await face.call(f, 1)
    await face.call(g, 1)
    assert set(used[: used.index("openssl_md5")]) == {"openssl_sha1"}
    before = f.make_cache_key(f.uncached, 1)
    cache.hash_method = hashlib.sha512
    assert cache.hash_method is hashlib.sha512
    assert f.make_cache_key(f.uncached, 1) != before
    await face.call(f, 1)
    await face.call(f, 1)
    assert computed == [1, 1]


@pytest.mark.parametrize("level", ["decorator", "config", "assigned"])
@pytest.mark.asyncio
async def test_source_check_makes_the_source_part_of_the_key(
    app: Flask, level: str, colour: str, tmp_path: Any
) -> None:
    """An edited function has keys of its own; going back to the old source finds the old entry."""
    cache = Cache(
        app, config={"CACHE_TYPE": "SimpleCache", "CACHE_SOURCE_CHECK": level == "config"}
    )
    if level == "assigned":
        cache.source_check = True
        assert cache.source_check is True
    face = Face(cache, colour)
    keys, answers = [], []
    for version in (1, 2, 1):
        file = tmp_path / f"version{version}.py"
        file.write_text(f"def f(a):\n    return {version}\n")
        scope: dict[str, Any] = {"__name__": "module"}
        exec(compile(file.read_text(), str(file), "exec"), scope)
        more = {"source_check": True} if level == "decorator" else {}
        f = face.memoize(**more)(scope["f"])
        answers.append(await face.call(f, 1))
        keys.append(f.make_cache_key(f.uncached, 1))
    assert answers == [1, 2, 1]
    assert keys[0] == keys[2] != keys[1]
    assert cache.stats().computed == 2


# --- wrong calls ----------------------------------------------------------------------------------


@cases("careful", [False, True])
@pytest.mark.asyncio
async def test_a_wrong_call_raises_the_functions_own_type_error(face: Face, careful: bool) -> None:
    """With the words that users know; a coroutine that nobody awaits is not made."""

    def f(a: int, b: int, c: int = 0) -> int:
        return a + b + c

    options = {"tags": lambda *args, **kwargs: ["t"]} if careful else {}
    cached = face.memoize(**options)(f)
    wrong: list[tuple[tuple[int, ...], dict[str, int]]] = [
        ((), {}), ((1,), {}), ((1, 2, 3, 4), {}), ((1, 2), {"nobody": 1}), ((1, 2), {"a": 3})
    ]  # fmt: skip
    for args, kwargs in wrong:
        with pytest.raises(TypeError) as direct:
            f(*args, **kwargs)
        for function in (cached, cached, cached.refresh):
            with pytest.raises(TypeError) as found:
                await face.call(function, *args, **kwargs)
            assert str(found.value) == str(direct.value)


# --- query strings and fragments ------------------------------------------------------------------


def test_the_order_of_names_does_not_count_but_that_of_the_values_of_one_does(
    app: Flask, cache: Cache
) -> None:
    """Text, mappings and pairs say the same thing; the key in the request is the same, too."""

    @app.route("/works")
    @cache.cached(query_string=True)
    def works() -> str:
        return "works"

    def key(query_args: Any) -> str:
        with app.test_request_context():
            return works.make_cache_key(path="/works", query_args=query_args)

    same = ["a=1&b=2&a=3", "?b=2&a=1&a=3", {"a": [1, 3], "b": 2}, [("b", 2), ("a", 1), ("a", 3)]]
    assert len({key(query) for query in same}) == 1
    different = [
        "",
        "a=1",
        "a=1&a=1",
        "a=1&a=2",
        "a=2&a=1",
        "a=1&b=2",
        "a=&b=2",
        "a=2&b=1",
        "a=1%26b=2",
    ]
    assert len({key(query) for query in different}) == len(different)
    for query in different:
        with app.test_request_context(f"/works?{query}"):
            assert works.make_cache_key(use_request=True) == key(query)


pairs = st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=4)


@quick
@given(pairs, st.randoms())
def test_query_keys_are_as_different_as_the_pairs(items: list[Any], random: Any) -> None:
    """The same exactly if each name has the same values in the same order."""
    app = Flask(__name__)
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    view = cache.cached(query_string=True)(lambda: "")
    shuffled = list(items)
    random.shuffle(shuffled)
    with app.test_request_context():
        key = functools.partial(view.make_cache_key, path="/")
        same = MultiDict(items).to_dict(flat=False) == MultiDict(shuffled).to_dict(flat=False)
        assert (key(query_args=items) == key(query_args=shuffled)) == same
        if items:
            assert key(query_args=items) != key(query_args=items[1:])


def test_query_pairs_take_multidicts_with_all_their_values() -> None:
    """What ``request.args`` is."""
    assert query_pairs(MultiDict([("a", 1), ("a", 2)])) == [("a", "1"), ("a", "2")]
    assert query_pairs({"a": ("x", "y"), "b": None}) == [("a", "x"), ("a", "y"), ("b", "None")]


fragments = st.text(alphabet="_\\ab ", max_size=4)


@quick
@given(fragments, st.lists(fragments, max_size=3), fragments, st.lists(fragments, max_size=3))
def test_fragments_share_a_key_exactly_if_they_are_the_same(
    name: str, vary: list[str], other_name: str, other_vary: list[str]
) -> None:
    """``("a_b", "c")`` is not ``("a", "b_c")``, and "user_5" is not "user" with 5."""
    # A name alone is Flask-Caching's key; names that look like a key with parts are the users'.
    if not vary or not other_vary:
        name, other_name = name.replace("\\", ""), other_name.replace("\\", "")
    one, other = (
        make_template_fragment_key(name, vary),
        make_template_fragment_key(other_name, other_vary),
    )
    if bool(vary) == bool(other_vary):
        assert (one == other) == ((name, vary) == (other_name, other_vary))


@table("vary", [None, (), [], iter(())])
def test_a_fragment_without_parts_has_flask_cachings_key(vary: Iterable[Any] | None) -> None:
    """Users delete by it."""
    assert make_template_fragment_key("sidebar", vary) == "_template_fragment_cache_sidebar"


def test_parts_of_a_fragment_may_be_of_any_type() -> None:
    """They count as their text."""
    key = make_template_fragment_key("user", [5, None, 1.5])
    assert key == make_template_fragment_key("user", ["5", "None", "1.5"])
    assert key != make_template_fragment_key("user_5", ["None", "1.5"])
