"""One failure stays one failure: what can never succeed fails for its caller, and nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from flask import Flask

from flask_caching_async import Cache, CacheError, InvalidKeyError, SerializationError
from flask_caching_async.backends import BaseCache
from support.backends import ON_SERVERS, OURS, config_of_ours
from support.faces import Face
from support.params import cases

#: Each backend in each colour; ``native`` is a loop that has connections of its own.
EVERYWHERE = [(kind, colour) for kind in OURS for colour in ("sync", "async")]
EVERYWHERE += [(kind, colour) for kind in ON_SERVERS for colour in ("native", "quart")]
#: A backend writes keys in one place for all of its colours; each operation asks in both of them.
EACH_KIND = [*(f"{kind}-sync" for kind in OURS), "SimpleCache-async"]

#: Keys that are none on any backend, and one that cannot be sent to a server.
NO_TEXT: list[Any] = [None, 7, b"bytes", 1.5, ("a", "b")]
SURROGATE = "visitor \ud800"


class Setting:
    """A cache in one colour, on an empty backend.

    :param kind: one of :data:`OURS`.
    """

    def __init__(self, kind: str, face: Face) -> None:
        self.kind, self.face = kind, face
        self.on_server = kind in ON_SERVERS
        self.bad_keys = [*NO_TEXT, *([SURROGATE] if self.on_server else [])]

    @property
    def pending(self) -> bool:
        """Whether an invalidation is pending."""
        return bool(getattr(self.face.cache._binding().engine.store.sync, "pending", False))

    @property
    def is_down(self) -> bool:
        """Whether the backend is left alone."""
        store: Any = self.face.cache._binding().engine.store
        return bool(store.failures.breaker.is_open)

    async def works(self) -> bool:
        """Whether it reads and stores, and nothing is pending."""
        await self.face.set("works", 1)
        return await self.face.get("works") == 1 and not self.pending and not self.is_down


@pytest_asyncio.fixture(params=EVERYWHERE, ids="-".join)
async def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Setting]:
    """Each of our backends, in each colour."""
    kind, colour = request.param
    config = config_of_ours(kind, tmp_path, request.getfixturevalue)
    app: Any = Flask(__name__)
    if colour == "quart":
        from quart import Quart

        app = Quart(__name__)
    cache = Cache(app, config={**config, "CACHE_ON_ERROR": "log"})
    setting = Setting(kind, Face(cache, "sync" if colour == "sync" else "async"))
    if colour in ("native", "quart"):
        async with cache:
            yield setting
    else:
        yield setting
        cache.close()


# --- keys that are none ---------------------------------------------------------------------------


@pytest.mark.asyncio
@cases(
    "operation",
    ["get", "has", "delete", "inc", "get_many", "delete_many"],
    ways=("anywhere", EVERYWHERE),
    whole=EACH_KIND,
)
async def test_a_key_that_is_none_fails_for_its_caller(anywhere: Setting, operation: str) -> None:
    """By name, as a TypeError and a ValueError, and more often than the breaker has patience."""
    for key in anywhere.bad_keys * 2:
        with pytest.raises(InvalidKeyError) as caught:
            await getattr(anywhere.face, operation)(key)
        assert repr(key) in str(caught.value) and isinstance(caught.value, CacheError)
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, ValueError)
    assert await anywhere.works()


@pytest.mark.asyncio
@cases("operation", ["set", "add", "get_or_set"], ways=("anywhere", EVERYWHERE), whole=EACH_KIND)
async def test_nothing_is_stored_under_a_key_that_is_none(
    anywhere: Setting, operation: str
) -> None:
    """Nor is the value computed, and the breaker stays closed."""
    for key in anywhere.bad_keys * 2:
        with pytest.raises(InvalidKeyError):
            await getattr(anywhere.face, operation)(key, 1)
    with pytest.raises(InvalidKeyError):
        await anywhere.face.set_many({"good": 1, 7: 2})
    assert await anywhere.face.get("good") is None
    assert await anywhere.works()


@pytest.mark.asyncio
async def test_one_bad_key_among_good_ones_deletes_none(anywhere: Setting) -> None:
    """The call fails before the backend is asked."""
    await anywhere.face.set("good", 1)
    for key in anywhere.bad_keys:
        with pytest.raises(InvalidKeyError):
            await anywhere.face.delete_many("good", key)
    assert await anywhere.face.get("good") == 1


@pytest.mark.asyncio
async def test_a_tag_that_cannot_be_sent_fails_for_its_caller(anywhere: Setting) -> None:
    """As keys do; in memory and in files it is a tag like any other."""
    if not anywhere.on_server:
        await anywhere.face.set("key", 1, tags=[SURROGATE])
        assert await anywhere.face.delete_tags(SURROGATE)
        assert await anywhere.face.get("key") is None
        return
    for _ in range(6):
        with pytest.raises(InvalidKeyError):
            await anywhere.face.delete_tags(SURROGATE)
        with pytest.raises(InvalidKeyError):
            await anywhere.face.set("key", 1, tags=[SURROGATE])
    assert await anywhere.works()


@pytest.mark.asyncio
async def test_a_function_whose_key_is_none_is_called_without_the_cache(
    anywhere: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """What makes a key may fail; the caller gets its answer, and the log says why."""
    made: Any
    calls: list[int] = []
    face, given = anywhere.face, [None, SURROGATE] if anywhere.on_server else [None]
    for made in given:
        function = face.cached(make_cache_key=lambda: made)(lambda: calls.append(1) or len(calls))  # noqa: B023
        before = len(calls)
        assert [await face.call(function) for _ in range(7)] == list(range(before + 1, before + 8))
    assert "is no key" in caplog.text and ("lone surrogate" in caplog.text) == anywhere.on_server
    assert await anywhere.works()


@pytest.mark.asyncio
async def test_any_argument_has_a_key(anywhere: Setting) -> None:
    """A memoized call is hashed, whatever text it is given."""
    calls: list[str] = []
    function = anywhere.face.memoize()(lambda text: calls.append(text) or len(calls))
    assert [await anywhere.face.call(function, SURROGATE) for _ in range(2)] == [1, 1]
    await anywhere.face.delete_memoized(function, SURROGATE)
    assert await anywhere.face.call(function, SURROGATE) == 2


# --- values that are none -------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_value_that_cannot_be_stored_is_no_failure_of_the_server(
    anywhere: Setting,
) -> None:
    """Nor is one that cannot be counted, a delta or a timeout that is none."""
    await anywhere.face.set("text", "not a number")
    for _ in range(7):
        with pytest.raises(SerializationError):
            await anywhere.face.set("key", lambda: 0)
        with pytest.raises(SerializationError, match="'text'"):
            await anywhere.face.inc("text")
        with pytest.raises(TypeError, match="delta must be a number"):
            await anywhere.face.inc("n", "many")
        with pytest.raises(TypeError, match="timeout must be"):
            await anywhere.face.set("key", 1, float("nan"))
    assert await anywhere.works()
    assert await anywhere.face.get("text") == "not a number"


@pytest.mark.asyncio
async def test_a_timeout_longer_than_any_server_counts_is_for_ever(anywhere: Setting) -> None:
    """It is stored, and nothing is pending."""
    for timeout in (1e300, 10**400, float("inf")):
        assert await anywhere.face.set("key", str(timeout)[:20], timeout)
        assert await anywhere.face.get("key") == str(timeout)[:20]
    assert await anywhere.works()


# --- backends that refuse more than ours ----------------------------------------------------------


class Picky(BaseCache):
    """A backend of a user that takes short keys only, and says so with a ``ValueError``."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Any] = {}
        self.down = False

    def _checked(self, key: str) -> str:
        if self.down:
            raise ConnectionError("no server")
        if len(key) > 50:
            raise ValueError(f"{key!r} is too long")
        return key

    def get(self, key: str) -> Any:
        return self.held.get(self._checked(key))

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        self.held[self._checked(key)] = value
        return True

    def delete(self, key: str) -> bool:
        return self.held.pop(self._checked(key), None) is not None

    def clear(self) -> bool:
        self._checked("")
        self.held.clear()
        return True


@pytest.fixture
def picky(app: Flask, colour: str) -> Setting:
    """A cache on it."""
    config = {"CACHE_TYPE": lambda *_: Picky(), "CACHE_ON_ERROR": "log"}
    return Setting("Picky", Face(Cache(app, config=config), colour))


@pytest.mark.asyncio
async def test_a_key_that_only_this_backend_refuses_fails_for_its_caller(picky: Setting) -> None:
    """Writes say so; reads find nothing; nothing is pending, and the breaker stays closed."""
    for _ in range(7):
        with pytest.raises(InvalidKeyError, match="too long"):
            await picky.face.delete("k" * 60)
        with pytest.raises(SerializationError, match="too long"):
            await picky.face.set("k" * 60, 1)
        assert await picky.face.get("k" * 60) is None
    assert await picky.works()


@pytest.mark.asyncio
async def test_a_read_that_fails_for_its_key_is_logged_once(
    picky: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """The log does not grow with the requests, and does not say that something was not stored."""
    for _ in range(7):
        assert await picky.face.get("k" * 60) is None
    (record,) = caplog.records
    assert record.getMessage().startswith("Picky failed to read ['kkk")


@pytest.mark.asyncio
async def test_a_deletion_that_can_never_be_made_up_for_becomes_one_of_everything(
    picky: Setting,
) -> None:
    """It was accepted while the backend was down, which nobody could ask about the key."""
    backend: Any = picky.face.cache.cache
    await picky.face.set("kept by nobody", 1)
    backend.down = True
    while not picky.is_down:
        await picky.face.get("anything")
    assert not await picky.face.delete("k" * 60)
    picky.face.cache._binding().engine.store.failures.breaker.is_open = False  # type: ignore[attr-defined]
    backend.down = False
    assert await picky.face.get("anything") is None
    assert await picky.works() and await picky.face.get("kept by nobody") is None


@pytest.mark.asyncio
async def test_clear_ends_what_is_pending(picky: Setting) -> None:
    """Everything is gone, so nothing is left to be deleted."""
    backend: Any = picky.face.cache.cache
    backend.down = True
    assert not await picky.face.delete("key") and picky.pending
    backend.down = False
    assert await picky.face.clear() and not picky.pending


# --- the log --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_a_server_answers_is_logged_once_for_each_change(
    app: Flask, clean_redis: Any, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A user who may read and not write: one line, however many writes are refused in between."""
    clean_redis.ask("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-set", "-eval")
    url = clean_redis.url.replace("://", "://reader:word@")
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url, "CACHE_ON_ERROR": "log"}
    face = Face(Cache(app, config={**config, "CACHE_OPERATION_TIMEOUT": 20}), colour)
    with caplog.at_level(logging.INFO, logger="flask_caching_async"):
        for number in range(5):
            assert await face.get("key") is None
            assert not await face.add("key", number)
    assert len(caplog.records) == 1, caplog.text
    await asyncio.to_thread(face.cache.close)
    clean_redis.ask("ACL", "DELUSER", "reader")
