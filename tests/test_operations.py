"""What users do by hand: each pair, on every backend, in both colours."""

from __future__ import annotations

import asyncio
import inspect
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache, CacheWarning, SerializationError
from flask_caching_async.testing import FakeClock
from support.backends import AsyncOnly, SyncOnly
from support.faces import Face
from support.params import cases, copying, each_pace, timekeepers
from support.waiting import PATIENCE

VALUES = [
    1, 0, -1, 1.5, "text", "", b"bytes", b"\xff\x00", b"12", "12", True, False, [1, [2]], (1, (2,)),
    {"k": {"d": 1}}, {1, 2}, frozenset({1}), timedelta(1), "\ud800", 10**100, [], {}, ("body", 404),
]  # fmt: skip


# --- reading and writing --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_values_of_all_types_come_back_as_they_were(any_face: Face) -> None:
    """Types included: tuples stay tuples, bytes stay bytes; also tagged, and many at once."""
    for value in VALUES:
        assert await any_face.set("key", value)
        for found in (await any_face.get("key"), (await any_face.get_many("key"))[0]):
            assert found == value and type(found) is type(value)
        assert await any_face.set("tagged", value, tags=["t"])
        found = await any_face.get("tagged")
        assert found == value and type(found) is type(value)


@pytest.mark.asyncio
async def test_a_missing_key_is_none_everywhere(any_face: Face) -> None:
    """And ``has`` says False, ``delete`` too; ``delete_many`` counts it as gone."""
    assert await any_face.get("nothing") is None
    assert await any_face.has("nothing") is False
    assert await any_face.get_many("a", "b") == [None, None]
    assert await any_face.get_dict("a", "b") == {"a": None, "b": None}
    assert not await any_face.delete("nothing")
    assert await any_face.delete_many("a", "b") == ["a", "b"]
    assert await any_face.unlink("a", "b") == ["a", "b"]


@each_pace
@pytest.mark.asyncio
async def test_nothing_is_asked_for_nothing(any_face: Face) -> None:
    """Without keys, the many-operations answer with nothing."""
    assert await any_face.get_many() == []
    assert await any_face.get_dict() == {}
    assert await any_face.set_many({}) == []
    assert await any_face.delete_many() == []
    assert await any_face.unlink() == []
    assert await any_face.delete_tags() is True


@pytest.mark.asyncio
async def test_set_overwrites_and_delete_removes(any_face: Face) -> None:
    """``delete`` says whether there was something."""
    assert await any_face.set("key", 1) is True
    assert await any_face.set("key", 2) is True
    assert await any_face.get("key") == 2
    assert await any_face.has("key") is True
    assert await any_face.delete("key") is True
    assert await any_face.get("key") is None
    assert not await any_face.delete("key")


@pytest.mark.asyncio
async def test_add_stores_only_what_is_not_there(any_face: Face) -> None:
    """What was deleted, or dropped by a tag, is not there."""
    assert await any_face.add("key", 1) is True
    assert await any_face.add("key", 2) is False
    assert await any_face.get("key") == 1
    await any_face.delete("key")
    assert await any_face.add("key", 3, tags=["t"]) is True
    assert await any_face.add("key", 4, tags=["t"]) is False
    assert await any_face.get("key") == 3
    await any_face.delete_tags("t")
    assert await any_face.has("key") is False
    assert await any_face.add("key", 5) is True
    assert await any_face.get("key") == 5


@pytest.mark.asyncio
async def test_many_values_are_set_read_and_deleted_together(any_face: Face) -> None:
    """In the order of the keys; ``set_many`` and ``delete_many`` return the keys."""
    assert await any_face.set_many({"a": 1, "b": 2}) == ["a", "b"]
    assert await any_face.get_many("b", "nothing", "a") == [2, None, 1]
    assert await any_face.get_dict("b", "a") == {"b": 2, "a": 1}
    assert await any_face.delete_many("a", "nothing") == ["a", "nothing"]
    assert await any_face.get_many("a", "b") == [None, 2]
    assert await any_face.unlink("b") == ["b"]
    assert await any_face.has("b") is False


@pytest.mark.asyncio
async def test_tagged_values_are_dropped_with_their_tag(any_face: Face) -> None:
    """In every reading: ``get``, ``has``, ``get_many``, ``get_dict``, ``get_or_set``."""
    await any_face.set("a", 1, tags=["x"])
    await any_face.set_many({"b": 2, "c": 3}, tags=("x", "y"))
    await any_face.add("d", 4, tags=["y"])
    await any_face.set("e", 5)
    assert await any_face.get_many(*"abcde") == [1, 2, 3, 4, 5]
    assert await any_face.delete_tags("x") is True
    assert await any_face.get_many(*"abcde") == [None, None, None, 4, 5]
    assert [await any_face.get(key) for key in "abcde"] == [None, None, None, 4, 5]
    assert [await any_face.has(key) for key in "abcde"] == [False, False, False, True, True]
    assert await any_face.get_dict("a", "d") == {"a": None, "d": 4}
    assert await any_face.get_or_set("a", 6, tags=["x"]) == 6
    assert await any_face.delete_tags("x", "y") is True
    assert await any_face.get_many(*"abcde") == [None, None, None, None, 5]
    await any_face.set("a", 7, tags=["x"])
    assert await any_face.get("a") == 7


@pytest.mark.asyncio
async def test_tags_may_be_one_text(face: Face) -> None:
    """Not the letters of it."""
    await face.set("key", 1, tags="news")
    await face.delete_tags("n")
    assert await face.get("key") == 1
    await face.delete_tags("news")
    assert await face.get("key") is None


@pytest.mark.asyncio
async def test_clear_drops_everything(any_face: Face) -> None:
    """Values, tagged values, counters, what functions stored; a second time, too.

    A backend that has no ``clear`` keeps what carries no stamp, and says so.
    """
    can_list = not isinstance(any_face.cache.cache, AsyncOnly)
    f = any_face.memoize()(lambda: object.__repr__(any_face))
    for _ in range(2):
        await any_face.set("plain", 1)
        await any_face.set("tagged", 1, tags=["t"])
        await any_face.set("counter", 5)
        await any_face.call(f)
        computed = any_face.cache.stats().computed
        assert await any_face.clear() is can_list
        assert await any_face.get("tagged") is None
        await any_face.call(f)
        assert any_face.cache.stats().computed == computed + 1
        if can_list:
            assert await any_face.get_many("plain", "counter") == [None] * 2
            assert await any_face.inc("counter") == 1


@copying
@pytest.mark.asyncio
async def test_none_is_a_value_that_has_knows_of(any_face: Face) -> None:
    """``get`` cannot tell it from nothing, ``has`` and ``get_or_set`` can."""
    await any_face.set("key", None)
    assert await any_face.get("key") is None
    assert await any_face.has("key") is True
    await any_face.set("tagged", None, tags=["t"])
    assert await any_face.has("tagged") is True
    assert await any_face.get_or_set("tagged", 1) is None
    await any_face.delete_tags("t")
    assert await any_face.has("tagged") is False


@copying
@pytest.mark.asyncio
async def test_what_a_caller_mutates_is_not_what_the_cache_holds(any_face: Face) -> None:
    """Neither the value that was stored, nor the one that was read."""
    value = {"list": [1]}
    for options in ({}, {"tags": ["t"]}):
        value["list"] = [1]
        await any_face.set("key", value, **options)
        value["list"].append(2)
        found = await any_face.get("key")
        assert found == {"list": [1]}
        found["list"].append(3)
        assert await any_face.get("key") == {"list": [1]}
        (await any_face.get_many("key"))[0].clear()
        assert await any_face.get("key") == {"list": [1]}


@timekeepers
@pytest.mark.asyncio
async def test_a_value_that_cannot_be_stored_raises(any_face: Face) -> None:
    """By hand, an error is the answer; the key keeps what it had."""
    await any_face.set("key", 1)
    for method, args in (("set", ("key",)), ("set_many", ()), ("add", ("other",))):
        given = (*args, threading.Lock()) if args else ({"key": threading.Lock()},)
        with pytest.raises(SerializationError):
            await getattr(any_face, method)(*given)
    assert await any_face.get_many("key", "other") == [1, None]


# --- timeouts -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_default_stands_for_what_is_missing(any_face: Face) -> None:
    """And for ``None``, on all backends alike; any other value that is false is a value."""
    assert await any_face.get("key", "default") == "default"
    await any_face.set("none", None)
    assert await any_face.get("none", "default") == "default"
    assert await any_face.get("key", default=0) == 0
    for value in (0, "", [], False):
        await any_face.set("key", value)
        assert await any_face.get("key", "default") == value


@timekeepers
@pytest.mark.asyncio
async def test_what_is_touched_lives_anew(any_face: Face, clock: FakeClock) -> None:
    """Set by hand, with tags and without, counted, or computed; it keeps its tags and its value."""
    clock.install(any_face.cache)
    function = any_face.memoize(10, tags=["t"])(lambda: ["computed"])
    assert await any_face.call(function) == ["computed"]
    computed = function.make_cache_key(function.uncached)
    await any_face.set("plain", ["plain"], timeout=10)
    await any_face.set("tagged", "tagged", timeout=10, tags=["t"])
    await any_face.set("number", 5, timeout=10)
    keys = ["plain", "tagged", "number", computed]
    for key in keys:
        clock.advance(2)
        assert await any_face.touch(key, 100) is True, key
    clock.advance(50)
    assert await any_face.get_many(*keys) == [["plain"], "tagged", 5, ["computed"]]
    assert await any_face.inc("number") == 6
    await any_face.delete_tags("t")
    assert await any_face.get_many(*keys) == [["plain"], None, 6, None]
    assert not await any_face.touch("tagged") and not await any_face.touch("missing")
    clock.advance(60)
    assert await any_face.get("plain") is None and not await any_face.touch("plain", 5)
    await any_face.set("plain", 1, timeout=10)
    assert await any_face.touch("plain", -1) and await any_face.get("plain") is None


@pytest.mark.asyncio
async def test_touching_brings_nothing_back(any_face: Face) -> None:
    """Neither what was deleted nor what was cleared; on every backend."""
    for way in ("delete", "clear", "tag"):
        await any_face.set("key", 1, timeout=60, tags=["t"] if way == "tag" else ())
        assert await any_face.touch("key", timedelta(seconds=90)) and await any_face.get("key") == 1
        if way == "delete":
            await any_face.delete("key")
        elif way == "tag":
            await any_face.delete_tags("t")
        elif not await any_face.clear():
            continue  # this backend cannot
        assert not await any_face.touch("key") and await any_face.get("key") is None


@cases("timeout", [10, 10.0, "10", timedelta(seconds=10)])
@pytest.mark.asyncio
async def test_a_timeout_is_written_in_many_ways(
    face: Face, clock: FakeClock, timeout: Any
) -> None:
    """Seconds as a number or a text, or a ``timedelta``."""
    await face.set("key", 1, timeout)
    clock.advance(9.9)
    assert await face.get("key") == 1
    clock.advance(0.1)
    assert await face.get("key") is None


@timekeepers
@pytest.mark.parametrize("tags", [(), ("t",)], ids=["plain", "tagged"])
@pytest.mark.asyncio
async def test_a_value_is_gone_at_exactly_its_timeout(
    any_face: Face, any_clock: FakeClock, tags: Any
) -> None:
    """However it was stored."""
    timeout = 10
    await any_face.set("set", 1, timeout, tags=tags)
    await any_face.set_many({"many": 1}, timeout, tags=tags)
    await any_face.add("add", 1, timeout, tags=tags)
    await any_face.get_or_set("made", 1, timeout, tags=tags)
    keys = ("set", "many", "add", "made")
    any_clock.advance(9.9)
    assert await any_face.get_many(*keys) == [1, 1, 1, 1]
    assert all([await any_face.has(key) for key in keys])
    any_clock.advance(0.1)
    assert await any_face.get_many(*keys) == [None] * 4
    assert not any([await any_face.has(key) for key in keys])
    assert await any_face.add("set", 2) is True


@timekeepers
@pytest.mark.parametrize("tags", [(), ("t",)], ids=["plain", "tagged"])
@pytest.mark.asyncio
async def test_zero_never_expires_and_none_is_the_default(
    any_face: Face, any_clock: FakeClock, tags: Any
) -> None:
    """300 seconds, if nothing else is configured."""
    await any_face.set("never", 1, 0, tags=tags)
    await any_face.set("default", 1, tags=tags)
    await any_face.get_or_set("made never", 1, 0, tags=tags)
    await any_face.get_or_set("made", 1, tags=tags)
    any_clock.advance(299)
    keys = ("never", "default", "made never", "made")
    assert await any_face.get_many(*keys) == [1, 1, 1, 1]
    any_clock.advance(1)
    assert await any_face.get_many(*keys) == [1, None, 1, None]
    any_clock.advance(10**8)
    assert await any_face.get_many(*keys) == [1, None, 1, None]


@pytest.mark.asyncio
async def test_a_negative_timeout_is_over_before_it_begins(any_face: Face) -> None:
    """What the key had is gone, too."""
    for timeout in (-1, -0.5, timedelta(seconds=-1)):
        await any_face.set("key", 1)
        await any_face.set("key", 2, timeout)
        assert await any_face.get("key") is None, timeout
        await any_face.set_many({"many": 1}, timeout)
        await any_face.set("tagged", 1, timeout, tags=["t"])
        assert await any_face.get_many("many", "tagged") == [None] * 2, timeout
        if not isinstance(any_face.cache.cache, (SyncOnly, AsyncOnly)):  # these know no timeouts
            await any_face.add("add", 1, timeout)
            assert await any_face.get("add") is None, timeout
        assert await any_face.get_or_set("made", 1, timeout) == 1, timeout
        assert await any_face.get("made") is None, timeout


@each_pace
@pytest.mark.asyncio
async def test_a_timeout_that_is_none_is_refused(any_face: Face) -> None:
    """With the words what it must be."""
    for timeout in ("soon", [], object()):
        for method in ("set", "add", "get_or_set"):
            with pytest.raises(TypeError, match="timeout must be seconds or a timedelta"):
                await getattr(any_face, method)("key", 1, timeout)
        with pytest.raises(TypeError, match="timeout must be seconds or a timedelta"):
            await any_face.set_many({"key": 1}, timeout)


# --- counting -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_has_tags_is_counted(any_face: Face) -> None:
    """It keeps its tags; once one of them is deleted, counting begins anew."""
    for value in (41, 1.5):
        await any_face.set("n", value, tags=["t", "u"])
        assert await any_face.inc("n") == value + 1
        assert await any_face.dec("n", 2) == value - 1
        assert await any_face.get("n") == value - 1
        await any_face.delete_tags("t")
        assert await any_face.get("n") is None
        assert await any_face.inc("n", 5) == 5 == await any_face.get("n")
        await any_face.delete_tags("t", "u")
        assert await any_face.get("n") == 5
    assert await any_face.get_or_set("computed", lambda: 7, tags=["t"]) == 7
    assert await any_face.inc("computed") == 8 == await any_face.get("computed")
    await any_face.delete_tags("t")
    assert await any_face.get("computed") is None
    await any_face.set("text", "1", tags=["t"])
    with pytest.raises(SerializationError, match="text"):
        await any_face.inc("text")
    assert await any_face.get("text") == "1"


@pytest.mark.asyncio
async def test_inc_and_dec_return_the_new_value(any_face: Face) -> None:
    """A missing counter begins at 0."""
    assert await any_face.inc("n") == 1
    assert await any_face.inc("n", 5) == 6
    assert await any_face.inc("n", delta=2) == 8
    assert await any_face.dec("n") == 7
    assert await any_face.dec("n", 10) == -3
    assert await any_face.get("n") == -3
    assert await any_face.dec("m") == -1
    await any_face.set("n", 40)
    assert await any_face.inc("n", 2) == 42


@timekeepers
@pytest.mark.asyncio
async def test_a_counter_keeps_its_time(any_face: Face, any_clock: FakeClock) -> None:
    """Counting does not lengthen its life."""
    await any_face.set("n", 1, 10)
    any_clock.advance(6)
    assert await any_face.inc("n") == 2
    any_clock.advance(4)
    assert await any_face.get("n") is None
    assert await any_face.inc("n") == 1


@timekeepers
def test_counting_is_atomic(any_face: Face) -> None:
    """Threads, some of them with loops, lose no count that was not reported as failed."""

    def work(number: int) -> int:
        async def several() -> int:
            counted = 0
            for _ in range(10):
                counted += 2 * (await any_face.inc("n", 2) is not None)
                counted -= await any_face.dec("n") is not None
            return counted

        return asyncio.run(several())

    with ThreadPoolExecutor(8) as pool:
        counted = sum(pool.map(work, range(16)))
    assert any_face.cache.get("n") == counted > 0


@timekeepers
def test_only_one_of_many_adds(any_face: Face) -> None:
    """``add`` is a way to elect somebody."""
    barrier = threading.Barrier(8)

    def work(number: int) -> bool:
        barrier.wait(PATIENCE)
        return asyncio.run(any_face.add("key", number))  # type: ignore[no-any-return]

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(work, range(8)))
    assert won.count(True) == 1
    assert any_face.cache.get("key") == won.index(True)


# --- get_or_set -----------------------------------------------------------------------------------


@each_pace
@pytest.mark.asyncio
async def test_get_or_set_takes_values_and_callables(any_face: Face) -> None:
    """A callable is called only if there is nothing."""
    calls: list[int] = []
    assert await any_face.get_or_set("value", [1]) == [1]
    assert await any_face.get_or_set("value", [2]) == [1]
    assert await any_face.get_or_set("made", lambda: calls.append(1) or "made") == "made"
    assert await any_face.get_or_set("made", lambda: calls.append(1) or "again") == "made"
    assert calls == [1]
    assert await any_face.get_many("value", "made") == [[1], "made"]
    await any_face.set("by hand", 5)
    assert await any_face.get_or_set("by hand", 6) == 5
    await any_face.delete("made")
    assert await any_face.get_or_set("made", lambda: "again") == "again"


@pytest.mark.asyncio
async def test_aget_or_set_takes_async_callables(any_cache: Cache) -> None:
    """And awaits them once; ``get_or_set`` refuses them."""
    calls: list[int] = []

    async def make() -> str:
        await asyncio.sleep(0)
        calls.append(1)
        return "made"

    assert [await any_cache.aget_or_set("key", make) for _ in range(3)] == ["made"] * 3
    answers = await asyncio.gather(*(any_cache.aget_or_set("other", make) for _ in range(5)))
    assert answers == ["made"] * 5
    assert len(calls) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match="async"):
            any_cache.get_or_set("third", make)
    assert await any_cache.aget("third") is None


@pytest.mark.asyncio
async def test_get_or_set_does_not_store_what_fails(face: Face) -> None:
    """The error reaches the caller."""
    with pytest.raises(ZeroDivisionError):
        await face.get_or_set("key", lambda: 1 / 0)
    assert await face.get_or_set("key", 1) == 1


@pytest.mark.asyncio
async def test_get_or_set_of_none_computes_each_time(face: Face) -> None:
    """``None`` is not stored, as by the decorators."""
    calls: list[int] = []
    for _ in range(2):
        assert await face.get_or_set("key", lambda: calls.append(1)) is None
    assert len(calls) == 2


@each_pace
@pytest.mark.asyncio
async def test_get_or_set_and_a_memoized_call_share_their_key(any_face: Face) -> None:
    """What one stored, the other finds."""
    f = any_face.memoize()(lambda a: f"computed {a}")
    key = f.make_cache_key(f.uncached, 1)
    assert await any_face.get_or_set(key, "by hand") == "by hand"
    assert await any_face.call(f, 1) == "by hand"
    await any_face.call(f, 2)
    assert await any_face.get_or_set(f.make_cache_key(f.uncached, 2), "never") == "computed 2"


# --- entries of decorators ------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_get_reads_what_a_function_stored(any_face: Face) -> None:
    """Unwrapped: the value, not the entry; ``None`` if it was dropped."""
    f = any_face.memoize(tags=["t"])(lambda a: {"a": a})
    key = f.make_cache_key(f.uncached, 1)
    await any_face.call(f, 1)
    assert await any_face.get(key) == {"a": 1}
    assert await any_face.get_dict(key) == {key: {"a": 1}}
    await any_face.delete_memoized(f)
    assert await any_face.get(key) is None
    assert await any_face.has(key) is False


def test_get_reads_what_a_view_stored_and_the_view_serves_what_is_set(
    app: Flask, any_face: Face
) -> None:
    """A plain value under a view's key is its page."""
    app.add_url_rule("/page", view_func=any_face.cached()(lambda: "computed"))
    client = app.test_client()
    assert client.get("/page").text == "computed"
    assert asyncio.run(any_face.get("view//page")) == "computed"
    assert asyncio.run(any_face.has("view//page")) is True
    asyncio.run(any_face.set("view//page", "by hand"))
    assert client.get("/page").text == "by hand"


@pytest.mark.asyncio
async def test_values_without_tags_are_stored_plainly(any_face: Face) -> None:
    """Other programs on the same backend can read them, and we read theirs."""
    await any_face.set("key", {"a": 1})
    backend: Any = any_face.cache.cache
    assert backend.get("key") == {"a": 1}
    await any_face.set_many({"many": 2})
    await any_face.add("add", 3)
    assert [backend.get("many"), backend.get("add")] == [2, 3]
    backend.set("theirs", "value")
    assert await any_face.get("theirs") == "value"


# --- the colours ----------------------------------------------------------------------------------

WARNED: dict[str, Callable[[Cache, Any], Any]] = {
    "get": lambda c, f: c.get("k"),
    "has": lambda c, f: c.has("k"),
    "get_many": lambda c, f: c.get_many("k"),
    "get_dict": lambda c, f: c.get_dict("k"),
    "set": lambda c, f: c.set("k", 1),
    "set_many": lambda c, f: c.set_many({"k": 1}),
    "add": lambda c, f: c.add("k", 1),
    "inc": lambda c, f: c.inc("n"),
    "dec": lambda c, f: c.dec("n"),
    "delete": lambda c, f: c.delete("k"),
    "delete_many": lambda c, f: c.delete_many("k"),
    "unlink": lambda c, f: c.unlink("k"),
    "delete_tags": lambda c, f: c.delete_tags("t"),
    "clear": lambda c, f: c.clear(),
    "get_or_set": lambda c, f: c.get_or_set("k", 1),
    "delete_memoized": lambda c, f: c.delete_memoized(f),
    "delete_memoized_verhash": lambda c, f: c.delete_memoized_verhash(f),
    "close": lambda c, f: c.close(),
}


@pytest.mark.parametrize("name", WARNED)
@pytest.mark.asyncio
async def test_a_sync_method_on_a_running_loop_warns_once_in_debug_mode(
    app: Flask, cache: Cache, name: str
) -> None:
    """It works, and names its twin; the warning points at the caller."""
    app.debug = True
    f = cache.memoize()(lambda: 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        WARNED[name](cache, f)
        WARNED[name](cache, f)
    assert len(caught) == 1
    assert caught[0].category is CacheWarning
    assert f"await cache.a{name}()" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.asyncio
async def test_in_production_no_sync_method_warns(app: Flask, cache: Cache) -> None:
    """Any warning here would be an error."""
    app.debug = False
    for call in WARNED.values():
        call(cache, cache.memoize()(lambda: 1))


def test_without_a_loop_nobody_warns(app: Flask, cache: Cache) -> None:
    """Sync methods are for sync code."""
    app.debug = True
    for call in WARNED.values():
        call(cache, cache.memoize()(lambda: 1))


@pytest.mark.asyncio
async def test_every_a_method_returns_a_coroutine(any_cache: Cache) -> None:
    """Nothing happens before it is awaited."""
    coroutine = any_cache.aset("key", 1)
    assert inspect.iscoroutine(coroutine)
    assert await any_cache.aget("key") is None
    await coroutine
    assert await any_cache.aget("key") == 1


def test_closing_twice_is_fine_and_a_later_use_opens_again(any_face: Face) -> None:
    """``close``, ``aclose`` and ``async with``."""

    async def use() -> None:
        for number in range(3):
            await any_face.set("key", number)
            assert await any_face.get("key") == number
            await any_face.close()
            await any_face.close()
        async with any_face.cache as entered:
            assert entered is any_face.cache
            assert await entered.aget("key") == 2
        assert await any_face.get("key") == 2

    asyncio.run(use())
    asyncio.run(use())


def test_many_loops_and_threads_use_one_cache(any_cache: Cache) -> None:
    """Each ``async def`` view under WSGI has a loop of its own."""

    async def use(number: int) -> list[Any]:
        await any_cache.aset(f"key {number}", number)
        found = await asyncio.gather(*(any_cache.aget(f"key {number}") for _ in range(3)))
        return [*found, any_cache.get(f"key {number}")]

    def work(number: int) -> list[Any]:
        return asyncio.run(use(number))

    with ThreadPoolExecutor(6) as pool:
        for number, found in enumerate(pool.map(work, range(24))):
            assert found == [number] * 4
