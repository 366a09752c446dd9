"""Serializers: what they take, and what a cache does with each of them."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any

import cachelib.serializers
import pytest
from flask import Flask, Response, abort, make_response
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from flask_caching_async import Cache, CachedResponse, SerializationError
from flask_caching_async.serializers import JSONSerializer, MsgpackSerializer, PickleSerializer
from support.faces import COLOURS, Face

OURS = (JSONSerializer, MsgpackSerializer, PickleSerializer)
THEIRS = (cachelib.serializers.BaseSerializer, cachelib.serializers.JSONSerializer)

values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63),
        st.text(),
        st.binary(),
        st.floats(allow_nan=False),
    ),  # fmt: skip
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
@settings(max_examples=60)
@given(value=values)
def test_plain_values_come_back_as_they_were(kind: Any, value: Any) -> None:
    """Bytes included, wherever they are."""
    serializer = kind()
    data = serializer.dumps(value)
    assert type(data) is bytes
    found = serializer.loads(data)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("kind", [JSONSerializer, MsgpackSerializer])
def test_what_a_format_cannot_say_is_an_error(kind: Any) -> None:
    """It is not silently turned into something else."""
    for value in (object(), {1, 2}, 1j, datetime.date(2026, 1, 1)):
        with pytest.raises(TypeError):
            kind().dumps(value)


def test_pickle_takes_almost_everything() -> None:
    """And says so where it cannot."""
    serializer = PickleSerializer()
    for value in ({1, (2, 3)}, datetime.date(2026, 1, 1), Markup("<b>"), range(3)):
        assert serializer.loads(serializer.dumps(value)) == value
    with pytest.raises(Exception, match="pickle|local object"):
        serializer.dumps(lambda: 0)


@pytest.fixture(params=["SimpleCache", "FileSystemCache", "cachelib.SimpleCache"])
def kind_of_backend(request: pytest.FixtureRequest) -> str:
    """Backends that use a serializer."""
    return str(request.param)


@pytest.fixture(params=[*OURS, *THEIRS], ids=lambda kind: f"{kind.__module__[:8]}.{kind.__name__}")
def serialized(
    request: pytest.FixtureRequest, app: Flask, kind_of_backend: str, tmp_path: Path
) -> Cache:
    """A cache with one of the serializers."""
    return Cache(app, config={"CACHE_TYPE": kind_of_backend, "CACHE_DIR": str(tmp_path),
                              "CACHE_SERIALIZER": request.param})  # fmt: skip


VALUES: list[Any] = [
    1, "text", None, True, [1, [2]], {"a": {"b": [1]}}, ("body", 404), ("body", 404, {"X": "y"}),
]  # fmt: skip


@pytest.mark.asyncio
async def test_entries_are_stored_with_every_serializer(serialized: Cache) -> None:
    """Functions hit, tuples stay tuples, tagged values too."""
    for colour in COLOURS:
        face = Face(serialized, colour)
        f = face.memoize(cache_none=True, tags=["t"])(lambda number: VALUES[number])
        for number, value in enumerate(VALUES):
            computed = serialized.stats().computed
            for _ in range(3):
                found = await face.call(f, number)
                assert found == value and type(found) is type(value)
            assert serialized.stats().computed == computed + 1, value
            await face.set("tagged", value, tags=["t"])
            found = await face.get("tagged")
            assert found == value and type(found) is type(value)
            await face.delete_tags("t")
            assert await face.get("tagged") is None
            await face.call(f, number)
            assert serialized.stats().computed == computed + 2, value
        await face.clear()


def test_what_views_return_survives_every_serializer(app: Flask, serialized: Cache) -> None:
    """Responses, tuples with status and headers, dicts, ``abort()``, Markup, bytes."""
    pages: dict[str, Any] = {
        "response": lambda: Response("body", 201, {"X-A": "b"}, mimetype="text/x-own"),
        "bytes": lambda: Response(b"\xff\x00", mimetype="application/octet-stream"),
        "cached": lambda: CachedResponse(make_response("body", 202), 60),
        "pair": lambda: ("not found", 404),
        "triple": lambda: ("made", 201, {"X-A": "b"}),
        "headers": lambda: ("text", {"X-A": "b"}),
        "json": lambda: {"a": [1, None]},
        "list": lambda: [1, 2],
        "aborted": lambda: abort(410, "gone for good"),
        "text": lambda: Markup("<b>bold</b>"),
    }
    for name, body in pages.items():
        app.add_url_rule(f"/{name}", view_func=serialized.cached()(body), endpoint=name)
    client = app.test_client()

    def visit() -> dict[str, Any]:
        found = {name: client.get(f"/{name}") for name in pages}
        return {
            name: (r.status_code, r.data, r.mimetype, r.headers.get("X-A"))
            for name, r in found.items()
        }

    first = visit()
    assert first["pair"][:2] == (404, b"not found")
    assert first["response"] == (201, b"body", "text/x-own", "b")
    assert visit() == visit() == first


@pytest.mark.parametrize("kind_of_backend", ["SimpleCache", "FileSystemCache"], indirect=True)
def test_what_a_serializer_cannot_say_is_computed_each_time(
    app: Flask, kind_of_backend: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By hand it is an error; a function goes on, and the log says why it never hits."""
    cache = Cache(app, config={"CACHE_TYPE": kind_of_backend, "CACHE_DIR": str(tmp_path),
                               "CACHE_SERIALIZER": JSONSerializer})  # fmt: skip
    with pytest.raises(SerializationError):
        cache.set("key", {1, 2})
    with pytest.raises(SerializationError):
        asyncio.run(cache.aset("key", {1, 2}))
    calls: list[int] = []
    f = cache.memoize()(lambda: calls.append(1) or {1, 2})
    assert f() == f() == {1, 2}
    assert len(calls) == 2
    assert "not stored" in caplog.text or "cannot be stored" in caplog.text
