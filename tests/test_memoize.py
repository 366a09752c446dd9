"""``memoize``: its arguments, in both colours; a function keeps its colour and its errors."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache, ColourError, ConfigurationError
from flask_caching_async.decorators.wrappers import plan_of
from flask_caching_async.testing import FakeClock
from support.faces import Face
from support.params import copying
from support.waiting import together


class Counter:
    """A body that counts how often it was computed."""

    def __init__(self, value: Callable[..., Any] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.value = value

    def __repr__(self) -> str:
        return type(self).__name__  # functions over it are told apart by their names alone

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((*args, *kwargs.items()))
        return len(self.calls) if self.value is None else self.value(*args, **kwargs)

    def __len__(self) -> int:
        return len(self.calls)


@pytest.fixture
def count() -> Counter:
    """Counts the computations of the function under test."""
    return Counter()


def in_colour(answer: Any, asynchronous: bool) -> Callable[..., Any]:
    """A callback that returns ``answer``, as ``def`` or as ``async def``."""
    if not asynchronous:
        return lambda: answer

    async def callback() -> Any:
        await asyncio.sleep(0)
        return answer

    return callback


#: The colours of a function with those of its callbacks; an async callback needs an async function.
callback_colours = pytest.mark.parametrize(
    ("colour", "async_callback"),
    [("sync", False), ("async", False), ("async", True)],
    ids=["sync", "async", "async+async-callback"],
)


# --- the colour of a function ---------------------------------------------------------------------


class Methods:
    """A method of each kind, decorated in each order."""

    def __repr__(self) -> str:
        return "Methods()"


def shapes(cache: Cache) -> dict[str, tuple[Callable[..., Any], Callable[..., Any]]]:
    """Every way to reach a decorated function: its sync and its async variant."""

    class Both(Methods):
        @cache.memoize()
        def method(self, a: int) -> int:
            """The method."""
            return a + 1

        @cache.memoize()
        async def amethod(self, a: int) -> int:
            """The method."""
            return a + 1

        @classmethod
        @cache.memoize()
        def inner_class(cls, a: int) -> int:
            """The method."""
            return a + 1

        @classmethod
        @cache.memoize()
        async def ainner_class(cls, a: int) -> int:
            """The method."""
            return a + 1

        @cache.memoize()
        @classmethod
        def outer_class(cls, a: int) -> int:
            """The method."""
            return a + 1

        @cache.memoize()
        @classmethod
        async def aouter_class(cls, a: int) -> int:
            """The method."""
            return a + 1

        @staticmethod
        @cache.memoize()
        def inner_static(a: int) -> int:
            """The method."""
            return a + 1

        @staticmethod
        @cache.memoize()
        async def ainner_static(a: int) -> int:
            """The method."""
            return a + 1

        @cache.memoize()
        @staticmethod
        def outer_static(a: int) -> int:
            """The method."""
            return a + 1

        @cache.memoize()
        @staticmethod
        async def aouter_static(a: int) -> int:
            """The method."""
            return a + 1

    @cache.memoize()
    def plain(a: int) -> int:
        """The method."""
        return a + 1

    @cache.memoize()
    async def aplain(a: int) -> int:
        """The method."""
        return a + 1

    one = Both()
    found = {"function": (plain, aplain), "method": (one.method, one.amethod)}
    for name in ("inner_class", "outer_class", "inner_static", "outer_static"):
        for owner in (Both, one):
            kind = f"{name} on {'the class' if owner is Both else 'an instance'}"
            found[kind] = (getattr(owner, name), getattr(owner, "a" + name))
    found["method on the class"] = (
        functools.partial(Both.method, one), functools.partial(Both.amethod, one)
    )  # fmt: skip
    return found


@pytest.mark.asyncio
async def test_every_function_keeps_its_colour_however_it_is_reached(any_cache: Cache) -> None:
    """``inspect.iscoroutinefunction`` says what it said before; the answers are right, and hits."""
    for name, (function, afunction) in shapes(any_cache).items():
        assert not inspect.iscoroutinefunction(function), name
        assert inspect.iscoroutinefunction(afunction), name
        before = any_cache.stats()
        for _ in range(2):
            assert function(1) == 2, name
            coroutine = afunction(1)
            assert inspect.iscoroutine(coroutine), name
            assert await coroutine == 2, name
        after = any_cache.stats()
        if "instance" not in name:  # there the class has filled the cache already
            assert (after.computed - before.computed, after.hits - before.hits) in {(2, 2), (0, 4)}


def test_a_decorated_function_looks_like_the_original(cache: Cache) -> None:
    """Name, docstring and signature are its own, on instances too."""
    for name, (function, afunction) in shapes(cache).items():
        if isinstance(function, functools.partial) and not hasattr(function, "uncached"):
            continue
        for f in (function, afunction):
            assert f.__doc__ == "The method.", name
            assert f.__name__ == f.uncached.__name__, name
            assert list(inspect.signature(f).parameters) == ["a"], name


@pytest.mark.asyncio
async def test_instances_and_classes_have_entries_of_their_own(face: Face) -> None:
    """A method's entries are kept apart by ``self``, a classmethod's by ``cls``."""

    class Base:
        def __init__(self, name: str) -> None:
            self.name = name

        def __repr__(self) -> str:
            return self.name

        @face.memoize()
        def method(self) -> str:
            return self.name

        @classmethod
        @face.memoize()
        def kind(cls) -> str:
            return cls.__name__

    class Child(Base):
        pass

    class Overrides(Base):
        @face.memoize()
        def method(self) -> str:
            return f"overridden {self.name}"

    one, other, child, over = Base("1"), Base("2"), Child("1"), Overrides("1")
    for _ in range(2):
        assert [await face.call(o.method) for o in (one, other, child, over)] == [
            "1", "2", "1", "overridden 1"
        ]  # fmt: skip
        assert [await face.call(k.kind) for k in (Base, Child, Overrides)] == [
            "Base", "Child", "Overrides"
        ]  # fmt: skip
    assert face.cache.stats().computed == 7


# --- what a function returns ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["generator", "returned", "async generator", "async returned"])
@pytest.mark.asyncio
async def test_generators_are_joined_already_on_the_first_call(cache: Cache, kind: str) -> None:
    """Text and bytes are joined, all else becomes a list; async generators, too."""
    joins: list[tuple[list[Any], Any]] = [
        (["a", "b"], "ab"), ([b"a", b"b"], b"ab"), ([1, "b"], [1, "b"]), ([], "")
    ]  # fmt: skip

    def generator(n: int) -> Iterator[Any]:
        yield from joins[n][0]

    async def agenerator(n: int) -> AsyncIterator[Any]:
        for chunk in joins[n][0]:
            await asyncio.sleep(0)
            yield chunk

    async def returned(n: int) -> Any:
        return generator(n)

    async def areturned(n: int) -> Any:
        return agenerator(n)

    f = cache.memoize()(
        {"generator": generator, "returned": returned, "async generator": agenerator,
         "async returned": areturned}[kind]
    )  # fmt: skip
    for n, (_, joined) in enumerate(joins):
        for _ in range(2):
            answer = f(n)
            assert (await answer if inspect.isawaitable(answer) else answer) == joined
        assert cache.stats().computed == n + 1


@copying
@pytest.mark.asyncio
async def test_values_come_back_equal_and_belong_to_their_caller(any_face: Face) -> None:
    """What one caller mutates, no other sees, on a miss as on a hit."""
    fresh = {"list": [1, {"deep": {1, 2}}], "tuple": (1, [2]), "bytes": b"\xff", "none": None}

    @any_face.memoize()
    def f() -> Any:
        return {"list": [1, {"deep": {1, 2}}], "tuple": (1, [2]), "bytes": b"\xff", "none": None}

    for _ in range(3):
        value = await any_face.call(f)
        assert value == fresh
        value["list"][1]["deep"].add(3)
        value["tuple"][1].append(3)
        value.clear()


@copying
@pytest.mark.asyncio
async def test_a_value_that_cannot_be_stored_is_returned_all_the_same(any_face: Face) -> None:
    """It is computed on each call."""
    count = Counter(lambda: threading.Lock())
    f = any_face.memoize()(lambda: count())
    for _ in range(2):
        assert isinstance(await any_face.call(f), type(threading.Lock()))
    assert len(count) == 2
    assert any_face.cache.stats().stored == 0


@pytest.mark.asyncio
async def test_none_is_not_stored_unless_cache_none_says_so(any_face: Face) -> None:
    """With ``cache_none`` it is a value like any other, in one round trip."""
    plain, kept = Counter(lambda: None), Counter(lambda: None)
    f = any_face.memoize()(lambda: plain())
    g = any_face.memoize(cache_none=True, make_name=lambda name: "g")(lambda: kept())
    for _ in range(3):
        assert await any_face.call(f) is None
        assert await any_face.call(g) is None
    assert (len(plain), len(kept)) == (3, 1)


@pytest.mark.asyncio
async def test_a_sync_function_that_returns_an_awaitable_raises(cache: Cache) -> None:
    """M19: it cannot be awaited twice. The coroutine is closed, nothing is stored."""

    async def load() -> int:
        return 1

    @cache.memoize()
    def f() -> Any:
        return load()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(ColourError, match=r"returned an awaitable.*async def"):
                f()
        gc.collect()
    assert cache.stats().stored == 0


@pytest.mark.asyncio
async def test_an_exception_reaches_the_caller_and_is_not_stored(face: Face) -> None:
    """Each call tries again, and sees its own function's error."""
    count = Counter(lambda: 1 / 0)
    f = face.memoize()(lambda: count())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await face.call(f)
    assert len(count) == 2


@pytest.mark.asyncio
async def test_a_stop_iteration_stays_what_it_is(cache: Cache) -> None:
    """The function is called in a plain frame, so Python does not turn it into a RuntimeError."""

    @cache.memoize()
    def f() -> Any:
        return next(iter(()))

    with pytest.raises(StopIteration):
        f()


# --- callbacks ------------------------------------------------------------------------------------

#: Answers of a callback, and whether they count as true.
TRUTHS: list[tuple[Any, bool]] = [
    (True, True), (1, True), ("x", True), ([0], True), (False, False), (None, False), ("", False)
]  # fmt: skip

CALLBACKS = "unless forced_update is_stale response_filter make_name timeout tags".split()


@callback_colours
@pytest.mark.asyncio
async def test_unless_bypasses_the_cache_if_its_answer_is_true(
    face: Face, count: Counter, async_callback: bool
) -> None:
    """Any true answer counts; nothing is read, and nothing written."""
    asked = True

    def unless(f: Any, n: int) -> Any:
        return in_colour(asked and TRUTHS[n][0], async_callback)()

    f = face.memoize(unless=unless)(lambda n: count())
    for n, (answer, true) in enumerate(TRUTHS):
        asked = True
        first, second = await face.call(f, n), await face.call(f, n)
        assert (first != second) == true, answer
        asked = False
        assert (await face.call(f, n) not in (first, second)) == true, answer


@callback_colours
@pytest.mark.asyncio
async def test_forced_update_computes_anew_and_stores_if_its_answer_is_true(
    face: Face, count: Counter, async_callback: bool
) -> None:
    """Any true answer counts; the new value is what the next call finds."""
    asked = False

    def forced_update(n: int) -> Any:
        return in_colour(asked and TRUTHS[n][0], async_callback)()

    f = face.memoize(forced_update=forced_update)(lambda n: count())
    for n, (answer, true) in enumerate(TRUTHS):
        asked = False
        first = await face.call(f, n)
        assert await face.call(f, n) == first, answer
        asked = True
        second = await face.call(f, n)
        assert (second != first) == true, answer
        asked = False
        assert await face.call(f, n) == second, answer


@callback_colours
@pytest.mark.asyncio
async def test_is_stale_computes_anew_if_its_answer_is_true(
    face: Face, count: Counter, async_callback: bool
) -> None:
    """It is given the stored value, and is not asked on a miss."""
    asked: list[Any] = []

    def is_stale(value: Any, n: int) -> Any:
        asked.append(value)
        return in_colour(TRUTHS[n][0], async_callback)()

    f = face.memoize(is_stale=is_stale)(lambda n: count())
    for n, (answer, true) in enumerate(TRUTHS):
        asked.clear()
        first = await face.call(f, n)
        assert asked == [], answer
        assert (await face.call(f, n) != first) == true, answer
        assert asked == [first], answer


@callback_colours
@pytest.mark.asyncio
async def test_response_filter_decides_what_is_stored(
    face: Face, count: Counter, async_callback: bool
) -> None:
    """It is given the value; any true answer stores it."""
    given: list[Any] = []

    def response_filter(value: Any) -> Any:
        given.append(value)
        return in_colour(TRUTHS[value[0]][0], async_callback)()

    f = face.memoize(response_filter=response_filter)(lambda n: (n, count()))
    for n, (answer, true) in enumerate(TRUTHS):
        given.clear()
        first, second = await face.call(f, n), await face.call(f, n)
        assert (first == second) == true, answer
        assert given == ([first] if true else [first, second]), answer


@pytest.mark.asyncio
async def test_callbacks_get_the_calls_arguments_if_they_take_any(face: Face) -> None:
    """``unless`` the function first, ``is_stale`` the value; without parameters, nothing."""
    seen: dict[str, Any] = {}

    def note(name: str, answer: Any = False) -> Callable[..., Any]:
        def callback(*args: Any, **kwargs: Any) -> Any:
            seen[name] = (args, kwargs)
            return answer

        return callback

    @face.memoize(
        unless=note("unless"),
        forced_update=note("forced_update"),
        is_stale=note("is_stale"),
        response_filter=note("response_filter", True),
        timeout=note("timeout", 60),
        tags=note("tags", ["t"]),
        make_name=note("make_name", "name"),
    )
    def f(a: int, b: int = 0, *, c: int = 0) -> int:
        return a + b + c

    for _ in range(2):
        assert await face.call(f, 1, 2, c=3) == 6
    call = ((1, 2), {"c": 3})
    assert seen["unless"] == ((f.uncached, 1, 2), {"c": 3})
    assert seen["forced_update"] == call
    assert seen["is_stale"] == ((6, 1, 2), {"c": 3})
    assert seen["tags"] == call
    assert seen["response_filter"] == seen["timeout"] == ((6,), {})
    assert seen["make_name"][0][0].endswith("f")


@pytest.mark.asyncio
async def test_parameters_may_have_any_name(face: Face) -> None:
    """No parameter of ours stands in the way of one of the function's."""
    names = "callback self plan state args kwargs f refresh function job".split()
    given = {name: 1 for name in names}
    scope: dict[str, Any] = {}
    exec(f"def f({', '.join(names)}): return callback", scope)
    for options in (
        {},
        {"tags": lambda **kw: ["t"]},
        {"forced_update": lambda **kw: True},
        {"is_stale": lambda value, **kw: True},
        {"unless": lambda function_, **kw: False},
        {"unless": lambda: True},
    ):
        f = face.memoize(make_name=lambda name: "f", **options)(scope["f"])
        for _ in range(2):
            assert await face.call(f, **given) == 1
        assert await face.call(f.refresh, **given) == 1
        await face.delete_memoized(f)


@pytest.mark.parametrize("name", CALLBACKS)
def test_an_async_callback_on_a_sync_function_is_refused_at_once(cache: Cache, name: str) -> None:
    """M8: it could never be awaited, and a coroutine is true. The error names both."""

    async def callback(*args: Any) -> Any:
        return True

    class Asks:
        async def __call__(self, *args: Any) -> Any:
            return True

    def body() -> int:
        return 1

    for given in (callback, functools.partial(callback), Asks()):
        with pytest.raises(TypeError, match=rf"body.*{name}.*async def") as caught:
            cache.memoize(**{name: given})(body)
        assert isinstance(caught.value, ColourError)


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_that_returns_an_awaitable_on_a_sync_function_raises(
    cache: Cache, name: str
) -> None:
    """A lambda hides its colour until it is called; nothing is left un-awaited."""

    async def answer() -> Any:
        return True

    @cache.memoize(**{name: lambda *args: answer()})
    def f() -> int:
        return 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ColourError, match="returned an awaitable"):
            f()
            f()  # is_stale is asked on hits only
        gc.collect()


@pytest.mark.asyncio
async def test_what_unless_raises_is_raised(face: Face) -> None:
    """Who may not see the stored value must not get it because the check broke."""
    f = face.memoize(unless=lambda: 1 / 0)(lambda: 1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await face.call(f)
    assert await face.call(f.refresh) == 1


@pytest.mark.parametrize("name", ["forced_update", "make_name", "tags"])
@pytest.mark.asyncio
async def test_a_callback_that_fails_costs_the_cache_and_not_the_call(
    app: Flask, name: str, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, with the function's name; where errors are raised, it is raised."""
    count = Counter()

    def callback(*args: Any) -> Any:
        raise LookupError("callback broke")

    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    f = Face(cache, colour).memoize(**{name: callback})(lambda: count())
    assert [await Face(cache, colour).call(f) for _ in range(2)] == [1, 2]
    assert "callback broke" in caplog.text
    raising = Cache(app, config={"CACHE_TYPE": "SimpleCache", "CACHE_ON_ERROR": "raise"})
    g = Face(raising, colour).memoize(**{name: callback})(lambda: count())
    with pytest.raises(LookupError):
        await Face(raising, colour).call(g)


@pytest.mark.parametrize("name", ["unless", "forced_update", "is_stale", "response_filter"])
def test_a_callback_that_is_not_callable_is_refused_at_once(cache: Cache, name: str) -> None:
    """``unless=True`` would otherwise fail on the first call."""
    with pytest.raises(TypeError, match=rf"{name} must be callable, not True"):
        cache.memoize(**{name: True})(lambda: 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jitter": 1.5}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"lock_timeout": -1}, "lock_timeout"),
        ({"stale_while_revalidate": -1}, "stale_while_revalidate"),
        ({"stale_if_error": timedelta(-1)}, "stale_if_error"),
    ],
)
def test_options_that_mean_nothing_are_refused_at_once(
    cache: Cache, options: dict[str, Any], message: str
) -> None:
    """The error names the option."""
    with pytest.raises(ConfigurationError, match=message):
        cache.memoize(**options)(lambda: 1)


def test_forgotten_parentheses_are_explained(cache: Cache) -> None:
    """``@cache.memoize`` decorates nothing."""
    with pytest.raises(TypeError, match=r"@cache\.memoize\(\)"):
        cache.memoize()("not a function")  # type: ignore[arg-type]


# --- timeouts -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_value_is_gone_at_exactly_its_timeout(
    any_face: Face, any_clock: FakeClock, count: Counter
) -> None:
    """Not before, not after; of however the timeout is written."""
    for timeout in (60, 60.0, "60", timedelta(minutes=1)):
        f = any_face.memoize(timeout=timeout)(lambda timeout: count())
        first = await any_face.call(f, timeout)
        any_clock.advance(59.9)
        assert await any_face.call(f, timeout) == first, timeout
        any_clock.advance(0.1)
        assert await any_face.call(f, timeout) == first + 1, timeout


@callback_colours
@pytest.mark.asyncio
async def test_a_callable_timeout_is_asked_for_each_value(
    face: Face, clock: FakeClock, async_callback: bool
) -> None:
    """Its answer may be a number, a timedelta, 0 (never) or None (the default timeout)."""
    lives: dict[str, Any] = {"10": 10, "20": timedelta(seconds=20), "300": None, "never": 0}
    computed: list[str] = []

    @face.memoize(timeout=lambda name: in_colour(lives[name], async_callback)())
    def f(name: str) -> str:
        computed.append(name)
        return name

    async def computed_at(seconds: float) -> set[str]:
        clock.advance(seconds)
        computed.clear()
        for name in lives:
            await face.call(f, name)
        return set(computed)

    assert await computed_at(0) == set(lives)
    assert await computed_at(9.9) == set()
    assert await computed_at(0.1) == {"10"}  # at 10 s
    assert await computed_at(10) == {"10", "20"}  # at 20 s
    assert await computed_at(5) == set()
    assert await computed_at(275) == {"10", "20", "300"}  # at 300 s
    assert await computed_at(10**9) == {"10", "20", "300"}


@pytest.mark.asyncio
async def test_a_timeout_of_zero_never_expires(
    any_face: Face, any_clock: FakeClock, count: Counter
) -> None:
    """As everywhere in Flask-Caching."""
    f = any_face.memoize(timeout=0)(lambda: count())
    await any_face.call(f)
    any_clock.advance(10**9)
    assert await any_face.call(f) == 1


@pytest.mark.asyncio
async def test_the_default_timeout_is_the_apps(app: Flask, colour: str, count: Counter) -> None:
    """``timeout=None`` takes CACHE_DEFAULT_TIMEOUT, a timedelta too."""
    cache = Cache(
        app,
        config={"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": timedelta(seconds=20)},
    )
    clock, face = FakeClock(), Face(cache, colour)
    clock.install(cache)
    f = face.memoize()(lambda: count())
    await face.call(f)
    clock.advance(19)
    assert await face.call(f) == 1
    clock.advance(1)
    assert await face.call(f) == 2


@pytest.mark.asyncio
async def test_cache_timeout_is_writable(face: Face, clock: FakeClock, count: Counter) -> None:
    """It counts for what is stored from then on; on a bound method it is the method's."""
    f = face.memoize(timeout=10)(lambda: count())
    assert f.cache_timeout == 10
    await face.call(f)
    f.cache_timeout = timedelta(seconds=100)
    clock.advance(10)
    assert await face.call(f) == 2
    clock.advance(99)
    assert await face.call(f) == 2
    clock.advance(1)
    f.cache_timeout = lambda value: 5
    assert await face.call(f) == 3
    clock.advance(5)
    assert await face.call(f) == 4


@pytest.mark.parametrize("level", ["decorator", "config"])
@pytest.mark.asyncio
async def test_jitter_shortens_a_timeout_by_at_most_its_share(
    app: Flask, colour: str, level: str
) -> None:
    """What is made together does not expire together, and never later than it was told."""
    share = {"CACHE_JITTER": 0.5} if level == "config" else {}
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache", **share})
    clock, face = FakeClock(), Face(cache, colour)
    clock.install(cache)
    f = face.memoize(timeout=1000, **({} if share else {"jitter": 0.5}))(lambda n: n)

    async def hits() -> int:
        before = cache.stats().hits
        for n in range(100):
            if cache.has(f.make_cache_key(f.uncached, n)):
                await face.call(f, n)
        return cache.stats().hits - before

    for n in range(100):
        await face.call(f, n)
    clock.advance(499.9)
    assert await hits() == 100
    clock.advance(250)
    assert 10 < await hits() < 90
    clock.advance(250.1)
    assert await hits() == 0


@pytest.mark.asyncio
async def test_lock_false_lets_everybody_compute(face: Face, count: Counter) -> None:
    """The option is taken per function, and by CACHE_LOCK for all."""
    f = face.memoize(lock=False)(lambda: count())
    assert await face.call(f) == await face.call(f) == 1
    off = Cache(face.cache.app, config={"CACHE_TYPE": "SimpleCache", "CACHE_LOCK": False})
    g = Face(off, face.colour).memoize(lock=True)(lambda: count())
    assert await face.call(g) == await face.call(g) == 2


@pytest.mark.asyncio
async def test_an_old_value_is_served_when_the_function_fails(face: Face, clock: FakeClock) -> None:
    """``stale_if_error``: within its window; after it, the error."""
    broken: list[bool] = []

    @face.memoize(timeout=10, stale_if_error=20)
    def f() -> str:
        if broken:
            raise OSError("down")
        return "value"

    assert await face.call(f) == "value"
    broken.append(True)
    clock.advance(10)
    assert await face.call(f) == "value"
    clock.advance(19.9)
    assert await face.call(f) == "value"
    clock.advance(0.1)
    with pytest.raises(OSError, match="down"):
        await face.call(f)


# --- uncached and refresh -------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_uncached_is_the_original_function(face: Face, count: Counter) -> None:
    """Calling it neither reads nor writes."""

    def body() -> int:
        return count()  # type: ignore[no-any-return]

    dyed = face.dye(body)
    f = face.cache.memoize()(dyed)
    assert f.uncached is dyed
    assert await face.call(f) == 1
    assert await face.call(f.uncached) == 2
    assert await face.call(f) == 1


@pytest.mark.asyncio
async def test_refresh_computes_stores_and_returns(face: Face, count: Counter) -> None:
    """Whatever is stored, and whatever ``unless`` and ``forced_update`` would say."""
    f = face.memoize(unless=lambda *a: asked.append(1))(lambda a, b=0: count())
    asked: list[int] = []
    assert inspect.iscoroutinefunction(f.refresh) == face.is_async
    assert await face.call(f, 1) == 1
    assert await face.call(f.refresh, 1, b=0) == 2
    assert await face.call(f, 1) == 2
    assert await face.call(f.refresh, 2) == 3
    assert await face.call(f, 2) == 3
    assert len(asked) == 3
    assert f.refresh.__doc__


@pytest.mark.asyncio
async def test_refresh_is_bound_as_its_method_is(face: Face) -> None:
    """On an instance, through the class, on a classmethod, on a staticmethod."""
    count = Counter()

    class Thing:
        def __init__(self, name: str) -> None:
            self.name = name

        def __repr__(self) -> str:
            return self.name

        @face.memoize()
        def method(self, a: int) -> tuple[Any, ...]:
            return self.name, a, count()

        @classmethod
        @face.memoize()
        def inner(cls, a: int) -> tuple[Any, ...]:
            return cls.__name__, a, count()

        outer = face.cache.memoize()(
            classmethod(face.dye(lambda cls, a: (cls.__name__, a, count())))
        )

        @staticmethod
        @face.memoize()
        def static(a: int) -> tuple[Any, ...]:
            return "static", a, count()

    one, other = Thing("one"), Thing("other")
    assert await face.call(one.method, 1) == ("one", 1, 1)
    assert await face.call(other.method, 1) == ("other", 1, 2)
    assert await face.call(one.method.refresh, 1) == ("one", 1, 3)
    assert await face.call(Thing.method, one, 1) == ("one", 1, 3)
    assert await face.call(Thing.method.refresh, one, 1) == ("one", 1, 4)
    assert await face.call(one.method, 1) == ("one", 1, 4)
    assert await face.call(other.method, 1) == ("other", 1, 2)
    # From Python 3.13 on, a classmethod does not let what it wraps know the class.
    inner = (Thing.inner, Thing) if sys.version_info >= (3, 13) else (Thing.inner,)
    for number, (method, *owner) in enumerate((inner, (Thing.outer,), (Thing.static,)), 5):
        assert await face.call(method.refresh, *owner, 1) == (await face.call(method, 1))
        assert (await face.call(method, 1))[2] == number
    assert (await face.call(one.inner, 1))[2] == 5


def test_no_context_is_needed(app: Flask, face: Face, count: Counter) -> None:
    """In a job, in a script, in a thread; what is stored there is found in a request."""
    f = face.memoize()(lambda: count())

    def call() -> Any:
        return asyncio.run(face.call(f))

    assert call() == 1
    assert together(call) == [1]
    with app.app_context():
        assert call() == 1
    with app.test_request_context():
        assert call() == 1


@pytest.mark.parametrize(
    ("threshold", "remembered"), [(500, 1024), (5000, 10_000), (10**9, 100_000), (0, 100_000)]
)
def test_the_keys_of_all_calls_that_may_be_stored_are_remembered(
    app: Flask, threshold: int, remembered: int
) -> None:
    """Within bounds, since a hit takes less than the making of its key."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": threshold})
    call = cache.memoize()(lambda number: number)
    assert call(1) == 1
    state = plan_of(call).state()
    assert state.remembered == remembered
    state.remembered = 3
    assert [call(number) for number in range(10)] == [*range(10)]
    assert len(state.memo) <= 3


# --- recursion ------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [20, 150])
@pytest.mark.asyncio
async def test_a_memoized_function_may_call_itself(cache: Cache, colour: str, depth: int) -> None:
    """To a depth that Python's own limit of 1000 frames leaves: at least 150."""
    cache.cache.memory.threshold = 0

    def fib(n: int) -> int:
        return n if n < 2 else memoized(n - 1) + memoized(n - 2)  # type: ignore[no-any-return]

    async def afib(n: int) -> int:
        return n if n < 2 else await memoized(n - 1) + await memoized(n - 2)  # type: ignore[no-any-return]

    memoized: Any = cache.memoize()(fib if colour == "sync" else afib)
    result: list[Any] = []

    def work() -> None:  # a thread of its own: pytest's frames do not count
        answer = memoized(depth)
        result.append(answer if colour == "sync" else asyncio.run(answer))

    limit = sys.getrecursionlimit()
    assert limit >= 1000
    thread = threading.Thread(target=work)
    sys.setrecursionlimit(1000)
    try:
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
    a, b = 0, 1
    for _ in range(depth):
        a, b = b, a + b
    assert result == [a]
    assert cache.stats().computed == depth + 1


# --- tags -----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_delete_tags_drops_what_carries_one(any_face: Face) -> None:
    """And nothing else; however the tags of a function are written."""
    written: list[Any] = [
        "user", ("user", "other"), ["user"], lambda a: "user", lambda a: ["user", f"user:{a}"],
        lambda a: (tag for tag in ("user",)),
    ]  # fmt: skip
    count = Counter()
    plain = any_face.memoize(make_name=lambda name: "plain")(lambda a: count())
    for n, tags in enumerate(written):
        f = any_face.memoize(tags=tags, make_name=lambda name, n=n: f"f{n}")(lambda a: count())
        first = [await any_face.call(f, 1), await any_face.call(plain, 1)]
        assert await any_face.delete_tags("nobody") is True
        assert [await any_face.call(f, 1), await any_face.call(plain, 1)] == first, tags
        assert await any_face.delete_tags("nobody", "user") is True
        assert [await any_face.call(f, 1), await any_face.call(plain, 1)] == [len(count), first[1]]
        assert len(count) == 2 * n + 3, tags


@pytest.mark.asyncio
async def test_tags_of_a_call_may_come_from_an_async_callable(cache: Cache) -> None:
    """On async functions."""
    count = Counter()

    async def tags(user: int) -> list[str]:
        await asyncio.sleep(0)
        return [f"user:{user}"]

    @cache.memoize(tags=tags)
    async def f(user: int) -> Any:
        return count()

    assert [await f(1), await f(2), await f(1)] == [1, 2, 1]
    await cache.adelete_tags("user:1")
    assert [await f(1), await f(2)] == [3, 2]


@pytest.mark.asyncio
async def test_an_async_make_name_names_an_async_function(cache: Cache) -> None:
    """The function and its twin under the same name share their entries."""
    count = Counter()

    async def make_name(name: str) -> str:
        return "shared"

    f = cache.memoize(make_name=make_name)(Face(cache, "async").dye(lambda a: count()))
    g = cache.memoize(make_name=lambda name: "shared")(lambda a: count())
    assert [await f(1), g(1), await f(2)] == [1, 1, 2]
    assert await f.amake_cache_key(f.uncached, 1) == g.make_cache_key(g.uncached, 1)


# --- both colours share ---------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_sync_and_an_async_function_of_one_name_share_their_entries(
    any_cache: Cache,
) -> None:
    """The key says nothing of the colour."""
    count = Counter()

    async def abody(a: int) -> Any:
        return count()

    f = any_cache.memoize(make_name=lambda name: "f")(lambda a: count())
    g = any_cache.memoize(make_name=lambda name: "f")(abody)
    assert [f(1), await g(1), await g(2), f(2)] == [1, 1, 2, 2]
