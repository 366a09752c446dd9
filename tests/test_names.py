"""Names on a backend: what users call a key is never what the cache calls a version or a lease."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from flask_caching_async import Cache
from flask_caching_async._entries.entry import BY_HAND, tag_of
from flask_caching_async._store.valid_keys import spelled
from flask_caching_async.backends._versioned.contract import (
    KEY_VERSION,
    LEASE,
    NAMESPACE,
    UNSHARED,
    key_version_name,
)
from flask_caching_async.decorators.wrappers import plan_of
from support.backends import ON_SERVERS, OURS, config_for, config_of_ours
from support.faces import Face

OURS_ON_BACKENDS = (NAMESPACE, KEY_VERSION, LEASE, UNSHARED, BY_HAND, tag_of("t", ""))


@pytest_asyncio.fixture(params=[*OURS, "cachelib", "sync-only", "async-only"])
async def face(request: pytest.FixtureRequest, tmp_path: Path, colour: str) -> AsyncIterator[Face]:
    """A cache on each backend."""
    if request.param in OURS:
        config = config_of_ours(request.param, tmp_path, request.getfixturevalue)
    else:
        config = config_for(request.param, tmp_path)
    cache = Cache(Flask(__name__), config={**config, "CACHE_ON_ERROR": "raise"})
    yield Face(cache, colour)
    cache.close()


@pytest.mark.asyncio
async def test_a_key_is_never_a_name_of_the_cache(face: Face) -> None:
    """Whatever it is, it is set, counted, read and deleted, and nothing else goes with it."""
    function = face.memoize(60, tags=["a"])(lambda n: [n])
    page = face.cached(60, key_prefix="x", tags=["a"])(lambda: "page")
    calls = [function, page]
    key = function.make_cache_key(function.uncached, 1)
    assert await face.call(function, 1) == [1] and await face.call(page) == "page"
    await face.set("x2", "tagged", tags=["a"])
    names = [NAMESPACE, "t:a", tag_of("t", "a"), "b:x", tag_of("b", "x"), BY_HAND, "~", "~key~"]
    names += [key_version_name(key), key_version_name("x"), f"{LEASE}{{x}}", "~key~~stamp~"]
    names += [plan_of(one).tag for one in calls] + [plan_of(page).tag[1:], "~missing~"]
    hits = face.cache.stats().hits
    for name in names:
        assert await face.get(name) is None, name
        assert await face.set(name, f"the value of {name}"), name
    assert await face.get_many(*names) == [f"the value of {name}" for name in names]
    assert await face.get_dict(*names) == {name: f"the value of {name}" for name in names}
    assert await face.set_many({name: 1 for name in names}, tags=["b"]) == names
    for name in names:
        assert await face.inc(name) == 2 and await face.has(name), name
        assert await face.delete(name) and not await face.has(name), name
        assert await face.add(name, 1) and not await face.add(name, 2), name
    await face.delete_many(*names[1:])
    assert await face.get(names[0]) == 1
    assert await face.call(function, 1) == [1] and await face.call(page) == "page"
    assert face.cache.stats().hits == hits + 2, "nothing was invalidated"
    assert await face.get("x2") == "tagged"
    await face.delete_tags("a")
    assert await face.get("x2") is None and await face.get(names[0]) == 1


@pytest.mark.asyncio
async def test_a_decorator_may_have_such_a_key(face: Face) -> None:
    """It is an entry like any other, and ``delete`` finds it."""
    count = 0

    def body() -> int:
        nonlocal count
        count += 1
        return count

    for name in (NAMESPACE, key_version_name("x"), "~"):
        page = face.cached(60, key_prefix=name)(body)
        value = await face.call(page)
        assert await face.call(page) == value == await face.get(name)
        assert await face.delete(name) and await face.call(page) == value + 1
        assert await face.get_or_set(name, 0) == value + 1


@given(st.lists(st.text(st.sampled_from("~key:stampx{}"), max_size=12), unique=True))
def test_two_keys_never_get_one_name(keys: list[str]) -> None:
    """Nor does a key get a name of ours."""
    names = [spelled(key) for key in keys]
    assert len(set(names)) == len(names)
    for name in names:
        assert not name.startswith(OURS_ON_BACKENDS)


@pytest.mark.parametrize("kind", ON_SERVERS)
def test_a_deletion_that_is_pending_is_made_of_the_right_key(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that looks like a name of ours is deleted later, and not the namespace."""
    config = config_of_ours(kind, tmp_path, request.getfixturevalue)
    cache = Cache(Flask(__name__), config={**config, "CACHE_ON_ERROR": "log"})
    cache.set_many({NAMESPACE: 1, "other": 2})
    cache.set("tagged", 3, tags=["t"])
    backend: Any = cache.cache

    def down(*args: Any, **kwargs: Any) -> Any:
        raise OSError("down")

    with monkeypatch.context() as patch:
        patch.setattr(backend, "invalidate", down)
        assert not cache.delete(NAMESPACE)
    assert cache.get_many(NAMESPACE, "other", "tagged") == [None, 2, 3]
    cache.close()
