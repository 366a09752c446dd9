"""What lies under our names and is not ours: it is replaced, and never served as a result."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends._memcached.values import own_name
from flask_caching_async.backends._versioned.contract import as_token
from flask_caching_async.decorators.wrappers import plan_of
from support.backends import ON_SERVERS, config_for, config_of_ours
from support.faces import Face
from support.memcached_items import plant as plant_item
from support.params import cases, table

#: Backends that keep bytes, and those that keep objects.
BYTES = [
    (kind, colour) for kind in (*ON_SERVERS, "FileSystemCache") for colour in ("sync", "async")
]
BYTES += [(kind, "native") for kind in ON_SERVERS]
WAYS = [*BYTES, ("cachelib", "sync"), ("async-only", "async"), ("sync-only", "sync")]
#: What was found is judged in one place for all colours of a backend of ours.
EACH_KIND = [f"{kind}-sync" for kind in (*ON_SERVERS, "FileSystemCache", "cachelib")]

#: Bytes that were never ours: a broken pickle, nothing, several words, too many of them; and what
#: looks like a version of another program.
GARBAGE = {
    "pickle": b"!\x80\xff",
    "nothing": b"",
    "words": b"two words\nand more",
    "long": b"x" * 300,
    "number": b"7",
}
NAMESPACE = "~stamp~"


class Place:
    """A cache, and a way to put something past it under a name of its own."""

    def __init__(self, kind: str, face: Face, server: Any) -> None:
        self.kind, self.face, self.server = kind, face, server
        self.backend: Any = face.cache.cache
        self.calls = 0
        self.function = face.memoize(60)(self._body)

    def __repr__(self) -> str:
        return type(self).__name__  # what tells its bound methods apart

    def _body(self, n: int) -> int:
        self.calls += 1
        return self.calls

    async def call(self) -> int:
        """Call the function."""
        return int(await self.face.call(self.function, 1))

    @property
    def names(self) -> dict[str, str]:
        """The versions on which the function's value depends."""
        return {"namespace": NAMESPACE, "function": str(plan_of(self.function).tag)}

    @property
    def key(self) -> str:
        """The key of the call."""
        return str(self.function.make_cache_key(self.function.uncached, 1))

    def plant(self, name: str, raw: bytes, what: str = "version") -> None:
        """Put something under a name."""
        if self.kind == "RedisCache":
            with redis.Redis(port=self.server.port) as client:
                client.set("p:" + name, raw)
        elif self.kind == "MemcachedCache":
            plant_item(self.server, own_name("p:", name) if what == "version" else "p:" + name, raw)
        elif self.kind == "FileSystemCache":
            files = self.backend._files
            path = (files.versions if what == "version" else files.entries)[name]
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_bytes(raw)
        elif self.kind == "cachelib":
            self.backend.set(name, raw)
        else:
            self.backend.held[name] = raw


@pytest_asyncio.fixture(params=WAYS, ids="-".join)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Each backend on which something could lie, in each colour in which it differs."""
    kind, colour = request.param
    if kind in (*ON_SERVERS, "FileSystemCache"):
        config = config_of_ours(kind, tmp_path, request.getfixturevalue)
    else:
        config = config_for(kind, tmp_path)
    config |= {"CACHE_KEY_PREFIX": "p:", "CACHE_ON_ERROR": "raise"}
    server = None
    if kind in ON_SERVERS:
        fixture = "redis_server" if kind == "RedisCache" else "memcached_server"
        server = request.getfixturevalue(fixture)
    cache = Cache(Flask(__name__), config=config)
    made = Place(kind, Face(cache, "sync" if colour == "sync" else "async"), server)
    if colour == "native":
        async with cache:
            yield made
    else:
        yield made
        cache.close()


@pytest.mark.asyncio
@cases("raw", GARBAGE.values(), ids=GARBAGE, ways=("place", WAYS), whole=EACH_KIND)
async def test_garbage_in_a_version_costs_one_computation(place: Place, raw: bytes) -> None:
    """It is replaced by the next computation, whose value is found from then on."""
    assert await place.call() == await place.call() == 1
    for number, name in enumerate(place.names.values(), start=2):
        place.plant(name, raw)
        assert await place.call() == number, name
        assert [await place.call() for _ in range(2)] == [number] * 2, name
    await place.face.delete_memoized(place.function)
    assert await place.call() == 4


@pytest.mark.asyncio
@cases("raw", GARBAGE.values(), ids=GARBAGE, ways=("place", WAYS), whole=EACH_KIND)
async def test_what_is_set_by_hand_survives_garbage_in_the_version_of_everything(
    place: Place, raw: bytes
) -> None:
    """It is found, as it was set, with tags and without, or it is missing; it is no envelope."""
    await place.face.set("before", "old")
    place.plant(NAMESPACE, raw)
    assert await place.face.get("before") in ("old", None)
    for tags in ((), ("t",)):
        assert await place.face.set("key", "value", tags=tags)
        assert await place.face.get("key") == "value"
    assert await place.face.inc("n") == 1 and await place.face.inc("n") == 2
    assert await place.face.clear() in (True, False)
    if place.kind != "async-only":  # it cannot be told to drop everything
        assert await place.face.get_many("before", "key", "n") == [None] * 3


@pytest.mark.asyncio
@cases(
    "raw",
    [b"plain text", b"\x00fca nonsense\n!", b"\xff", b"(not, an, entry)"],
    ways=("place", BYTES),
    whole=EACH_KIND[:3],
)
async def test_foreign_bytes_are_no_value_of_a_function(place: Place, raw: bytes) -> None:
    """The function is called, and its value takes their place."""
    place.plant(place.key, raw, "entry")
    assert [await place.call() for _ in range(3)] == [1] * 3
    assert await place.face.get(place.key) == 1


@pytest.mark.asyncio
async def test_what_a_program_set_under_the_key_of_a_function_is_served(place: Place) -> None:
    """By hand is by hand, bytes too."""
    await place.face.set(place.key, b"by hand")
    assert await place.face.call(place.function, 1) == b"by hand"


OTHER_TYPES: dict[str, Callable[[Any, str], Any]] = {
    "list": lambda client, name: client.rpush(name, 1),
    "hash": lambda client, name: client.hset(name, "a", 1),
    "stream": lambda client, name: client.xadd(name, {"a": 1}),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", list(OTHER_TYPES))
@pytest.mark.parametrize("place", [("RedisCache", "sync"), ("RedisCache", "native")], indirect=True)
async def test_another_type_of_redis_is_replaced(place: Place, kind: str) -> None:
    """As an entry, a version, the version of the key, its lease, or a value set by hand."""
    backend, make = place.backend, OTHER_TYPES[kind]
    key = place.key
    names = ["p:" + name for name in (key, *place.names.values())]
    names.append(backend._beside("p:", "~mark~", key))
    assert await place.call() == 1
    with redis.Redis(port=place.server.port) as client:
        for name in names:
            client.delete(name, "p:" + key)
            make(client, name)
            value = await place.call()
            assert await place.call() == value == place.calls, name
        client.delete("p:" + key)
        store: Any = place.face.cache._binding().engine.store
        lookup = store.backend.look_up(key, list(place.names.values()))
        assert None not in lookup.tag_versions
        for operation in ("add", "set", "inc", "delete"):
            make(client, "p:by hand")
            value = 1 if operation in ("add", "set") else None
            given = ("by hand",) if value is None else ("by hand", value)
            assert await getattr(place.face, operation)(*given), operation
            client.delete("p:by hand")


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [*OTHER_TYPES, "text"])
async def test_what_is_no_lease_of_ours_keeps_nobody_waiting(
    app: Flask, clean_redis: Any, kind: str, colour: str
) -> None:
    """A lease has an end; what has none, or is no text, is taken over at once."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": clean_redis.url}
    config |= {"CACHE_ON_ERROR": "raise", "CACHE_LOCK_TIMEOUT": 600, "CACHE_OPERATION_TIMEOUT": 20}
    cache = Cache(app, config=config)
    face = Face(cache, colour)
    lease = type(cache.cache).lease

    def planted(backend: Any, key: str, life: float) -> Any:
        made: Any = lease(backend, key, life)
        with redis.Redis(port=clean_redis.port) as client:
            make = OTHER_TYPES.get(kind, lambda client, name: client.set(name, "somebody"))
            make(client, made.name)
        return made

    cache.cache.lease = planted.__get__(cache.cache)
    function = face.memoize(60)(lambda: 1)
    assert [await face.call(function) for _ in range(2)] == [1, 1]
    assert cache.stats().computed == 1
    cache.close()


class Text(str):
    """A text of a backend's own."""


class Bytes(bytes):
    """Bytes of a backend's own."""


@table(
    "raw,token",
    [
        (b"A" * 16, "A" * 16),
        ("A" * 16, "A" * 16),
        (Text("A" * 16), "A" * 16),
        (Bytes(b"A" * 16), "A" * 16),
        (b"A" * 17, None),
        (b"A" * 15 + b"\n", None),
        (b"\xff" * 16, None),
        ("ä" * 16, None),
        (["A"] * 16, None),
        (None, None),
        (16, None),
    ],
)
def test_a_version_is_what_we_gave_out(raw: object, token: str | None) -> None:
    """Whatever kind of text a backend makes of it, and as often as it is read."""
    for _ in range(2):
        found = as_token(raw)
        assert found == token and type(found) is type(token)
