"""SimpleCache: bounded, isolated, safe in threads and loops."""

from __future__ import annotations

import asyncio
import datetime
import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cachelib.serializers import BaseSerializer
from flask import Flask

from flask_caching_async import Cache, ConfigurationError, SerializationError
from flask_caching_async.backends import SimpleCache
from flask_caching_async.testing import FakeClock


@pytest.fixture
def backend() -> SimpleCache:
    """A backend with a clock of its own."""
    made = SimpleCache(threshold=10, default_timeout=100)
    made.clock = FakeClock()
    return made


def test_it_never_holds_more_than_its_threshold(app: Flask) -> None:
    """Whoever writes: by hand, many at once, counters, functions, views."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 5})
    f = cache.memoize(timeout=60)(lambda n: n)
    app.add_url_rule("/<n>", view_func=cache.cached()(lambda n: n))
    for number in range(20):
        cache.set(f"set {number}", number)
        cache.set_many({f"many {number} {n}": n for n in range(3)})
        cache.inc(f"inc {number}")
        cache.add(f"add {number}", 1)
        cache.get_or_set(f"made {number}", 1)
        f(number)
        app.test_client().get(f"/{number}")
        assert len(cache.cache.memory) <= 5
    assert len(cache.cache.memory) == 5


def test_a_threshold_of_zero_is_no_bound() -> None:
    """As in Flask-Caching."""
    backend = SimpleCache(threshold=0)
    for number in range(2000):
        backend.set(str(number), number)
    assert len(backend.memory) == 2000


def test_what_is_read_often_stays(backend: SimpleCache) -> None:
    """What nobody asked for lately goes first."""
    backend.set("often", 1)
    for number in range(100):
        assert backend.get("often") == 1
        backend.set(str(number), number)
    assert backend.get("often") == 1


def test_what_has_expired_goes_first(backend: SimpleCache) -> None:
    """Before anything that is alive."""
    for number in range(5):
        backend.set(f"short {number}", number, 1)
        backend.set(f"long {number}", number, 50)
    backend.clock.advance(2)  # type: ignore[attr-defined]
    for number in range(5):
        backend.set(f"new {number}", number)
    assert [backend.get(f"long {n}") for n in range(5)] == list(range(5))
    assert [backend.get(f"new {n}") for n in range(5)] == list(range(5))


def test_an_evicted_value_is_computed_again(app: Flask) -> None:
    """Eviction is no error, and an evicted tag drops nothing else."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 2})
    f = cache.memoize(tags=lambda n: [f"n:{n}"])(lambda n: n)
    for _ in range(3):
        assert [f(n) for n in range(10)] == list(range(10))
    cache.delete_tags("n:1")
    assert f(9) == 9


def test_a_threshold_that_is_no_number_is_refused() -> None:
    """Also when the backend is made by hand."""
    for threshold in ("500", -1, 1.5, None):
        with pytest.raises(ConfigurationError, match="CACHE_THRESHOLD"):
            SimpleCache(threshold=threshold)  # type: ignore[arg-type]


def test_ignore_errors_is_the_old_name_of_an_option() -> None:
    """It works, and warns."""
    with pytest.warns(DeprecationWarning, match="ignore_delete_many_errors") as caught:
        backend = SimpleCache(ignore_errors=True)
    assert backend.ignore_delete_many_errors is True
    assert caught[0].filename == __file__


VALUES: list[Any] = [
    None, True, 1, 1.5, "text", b"bytes", (1, 2), (1, [2]), [1, 2], [[1]], {"a": 1}, {"a": [1]},
    {1, 2}, frozenset({1}), datetime.date(2026, 1, 1), {"a": {"b": {3}}}, bytearray(b"x"), 1j,
]  # fmt: skip


def test_values_are_isolated(backend: SimpleCache) -> None:
    """Equal, of the same type, and never the same mutable object."""
    for value in VALUES:
        backend.set("key", value)
        one, two = backend.get("key"), backend.get("key")
        assert one == two == value
        assert type(one) is type(value)
        if isinstance(value, (list, dict, set, bytearray)):
            assert one is not two and one is not value, value


def test_what_cannot_be_copied_cannot_be_stored(backend: SimpleCache) -> None:
    """Nothing is stored then, also of many."""
    with pytest.raises(SerializationError, match="function|lock|pickle"):
        backend.set("key", threading.Lock())
    with pytest.raises(SerializationError):
        backend.set_many({"a": 1, "b": threading.Lock()})
    assert backend.get_many("key", "a", "b") == [None, None, None]


class Counting(BaseSerializer):
    """A serializer that counts its uses."""

    def __init__(self) -> None:
        self.dumped: list[Any] = []
        self.loaded: list[Any] = []

    def dumps(self, value: Any, protocol: int = 0) -> bytes:
        self.dumped.append(value)
        return repr(value).encode()

    def loads(self, bvalue: bytes) -> Any:
        self.loaded.append(bvalue)
        return eval(bvalue)  # noqa: S307


def test_a_serializer_of_yours_is_used_once_for_each_set_and_get(app: Flask) -> None:
    """Also by functions; ``has`` and deletions do not use it."""
    serializer = Counting()
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache", "CACHE_SERIALIZER": serializer})
    cache.set("key", [1])
    assert (serializer.dumped, serializer.loaded) == ([[1]], [])
    assert cache.get("key") == [1]
    assert cache.get_many("key") == [[1]]
    assert len(serializer.loaded) == 2
    assert cache.has("key")
    cache.delete("key")
    assert (len(serializer.dumped), len(serializer.loaded)) == (1, 2)
    f = cache.memoize()(lambda: {"a": 1})
    for _ in range(3):
        assert f() == {"a": 1}
    assert (len(serializer.dumped), len(serializer.loaded)) == (2, 4)


def test_the_serializer_may_be_replaced(backend: SimpleCache) -> None:
    """What was stored before is read back as it was stored."""
    backend.set("old", {"a": 1})
    backend.serializer = Counting()
    backend.set("new", {"a": 2})
    assert (backend.get("old"), backend.get("new")) == ({"a": 1}, {"a": 2})


def test_threads_and_loops_may_hammer_it(app: Flask) -> None:
    """No error, no value of another key, and never more values than allowed."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 20})
    cache.set("n", 0, 0)
    f = cache.memoize(tags=lambda n: [f"n:{n % 3}"])(lambda n: ["value", n])

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(400):
            n = rng.randrange(40)
            choice = rng.randrange(9)
            if choice == 0:
                cache.set(str(n), [n])
            elif choice == 1:
                assert cache.get(str(n)) in (None, [n])
            elif choice == 2:
                cache.delete_many(str(n), str(n + 1))
            elif choice == 3:
                cache.delete_tags(f"n:{n % 3}")
            elif choice == 4:
                cache.inc("n")
            elif choice == 5:
                cache.delete_memoized(f, n)
            elif choice == 6:
                assert asyncio.run(cache.aget(str(n))) in (None, [n])
            else:
                assert f(n) == ["value", n]
            with cache.cache.memory._lock:  # not in the middle of what another thread stores
                assert len(cache.cache.memory) <= 20

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(cache.cache.memory) <= 20


def test_a_stored_response_of_a_function_is_dropped_with_its_stamp(app: Flask) -> None:
    """Invalidation is seen by readers that hold the same entry."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    f = cache.memoize()(lambda n: [n])
    key = f.make_cache_key(f.uncached, 1)
    f(1)
    assert cache.cache.get(key) == [1]
    cache.delete_memoized(f)
    assert cache.cache.get(key) is None
    assert cache.cache.has(key) is False


def test_a_subclass_that_overrides_get_or_set_is_heard(app: Flask) -> None:
    """Its idea of them is used by the decorators, too."""
    seen: list[str] = []

    class Spy(SimpleCache):
        def set(self, key: str, value: Any, timeout: Any = None) -> bool:
            seen.append(key)
            return super().set(key, value, timeout)

    cache = Cache(app, config={"CACHE_TYPE": Spy})
    cache.set("key", 1)
    assert "key" in seen
    f = cache.memoize()(lambda: 1)
    assert f() == f() == 1
    assert f.make_cache_key(f.uncached) in seen
    cache.delete_memoized(f)
    assert f() == 1
    assert cache.stats().computed == 2


def test_async_callers_need_no_thread(app: Flask) -> None:
    """Memory does not block: the awaitable half runs inline."""
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    threads: list[int] = []

    class Where:
        def __reduce__(self) -> Any:
            threads.append(threading.get_ident())
            return (int, (1,))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(cache.aset("key", Where()))
    assert threads == [threading.get_ident()]
