"""For every sync method there is an awaitable one: same signature, next to it, documented."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flask_caching_async
from flask_caching_async import Cache
from flask_caching_async.backends import BaseCache, FileSystemCache, NullCache, SimpleCache
from flask_caching_async.operations import Operations
from support.params import table

PACKAGE = Path(flask_caching_async.__file__).parent

#: What has no twin, and why.
ALONE = {
    "init_app": "sets up; does no I/O",
    "cached": "a decorator",
    "memoize": "a decorator",
    "stats": "looks at numbers in memory",
    "factory": "builds; does no I/O",
    "lease": "returns an object whose methods return at once",
    "pack": "changes a value in memory",
    "standalone": "sets up; does no I/O",
    "refresh_every": "arranges what happens later; does no I/O",
    "shards": "views of the same backend; does no I/O",
    "shard_of": "chooses by a hash; does no I/O",
    "warn_of_risks": "warns; does no I/O",
    "times": "reads the clock; does no I/O",
    "for_prefix": "a view of the same backend; does no I/O",
    "entries_name_key_version": "a property of the class",
    "is_too_large": "remembers what the server said",
    "native_here": "looks at the running loop",
    "is_answer": "looks at an error",
    "is_timeout": "looks at an error",
    "on_invalidate": "remembers a callback; does no I/O",
}


def public_methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Methods that users may call; properties are none."""
    for name, value in inspect.getmembers(kind, callable):
        if not name.startswith("_") and not inspect.isclass(value) and name != "clock":
            yield name, value


def is_twin(kind: type, name: str) -> bool:
    """Whether ``name`` is the awaitable half of a pair."""
    return name.startswith("a") and hasattr(kind, name[1:])


KINDS = (Cache, BaseCache, SimpleCache, NullCache, FileSystemCache)


@table("kind", KINDS)
def test_every_sync_method_has_an_awaitable_twin_with_its_signature(kind: type) -> None:
    """``x`` and ``ax``: the same parameters, in the same order, with the same defaults."""
    pairs = 0
    for name, method in public_methods(kind):
        if name in ALONE or is_twin(kind, name):
            continue
        twin = getattr(kind, "a" + name, None)
        assert twin is not None, f"{kind.__name__}.{name} has no twin"
        assert inspect.iscoroutinefunction(twin), f"{kind.__name__}.a{name} is not async"
        assert not inspect.iscoroutinefunction(method), f"{kind.__name__}.{name} is async"
        one, two = inspect.signature(method), inspect.signature(twin)
        assert list(one.parameters.values()) == list(two.parameters.values()), name
        assert one.return_annotation == two.return_annotation, name
        pairs += 1
    assert pairs >= 14


@table("kind", KINDS)
def test_every_public_method_is_documented(kind: type) -> None:
    """In a sentence of its own; the twin points at the sync half."""
    for name, method in public_methods(kind):
        doc = inspect.getdoc(method) or ""
        owner = next(k for k in kind.__mro__ if name in vars(k))
        if not owner.__module__.startswith("flask_caching_async"):
            continue  # cachelib's own
        assert doc, f"{kind.__name__}.{name} has no docstring"
        if is_twin(kind, name) and kind in (Cache, BaseCache):
            assert f"Awaitable :meth:`{name[1:]}`" in doc, f"{kind.__name__}.{name}"


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("operations.py", "Operations"),
        ("insight/insights.py", "Insights"),
        ("cache.py", "Cache"),
        ("backends/base.py", "BaseCache"),
    ],
)
def test_the_halves_of_a_pair_stand_next_to_each_other(file: str, kind: str) -> None:
    """So that nobody changes one and not the other."""
    tree = ast.parse((PACKAGE / file).read_text())
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind).body
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [node.name for node in body if isinstance(node, functions)]
    pairs = [name for name in names if not name.startswith("_") and "a" + name in names]
    assert pairs
    for name in pairs:
        assert names.index("a" + name) == names.index(name) + 1, name


def test_the_cache_has_every_method_of_its_operations_once() -> None:
    """The façade adds to the operations and replaces none of them."""
    assert not set(vars(Cache)) & {n for n in vars(Operations) if not n.startswith("_")}


@pytest.mark.parametrize("kind", [SimpleCache, NullCache, FileSystemCache])
def test_what_a_backend_overrides_is_what_its_twin_calls(kind: type, tmp_path: Path) -> None:
    """A subclass of a subclass that overrides the sync half is heard by the async half."""
    import asyncio

    class Louder(kind):  # type: ignore[misc, valid-type]
        def get(self, key: str) -> Any:
            return f"get {key}"

        def has(self, key: str) -> bool:
            return True

    class Loudest(Louder):
        def has(self, key: str) -> bool:
            return False

    options = (str(tmp_path),) if kind is FileSystemCache else ()
    assert asyncio.run(Louder(*options).aget("key")) == "get key"
    assert asyncio.run(Louder(*options).ahas("key")) is True
    assert asyncio.run(Loudest(*options).ahas("key")) is False
    assert asyncio.run(Loudest(*options).aget("key")) == "get key"


def test_the_attributes_of_decorated_functions_have_awaitable_twins() -> None:
    """``f.x`` and ``f.ax`` take the same, in both colours of function."""
    cache = Cache()

    async def acompute(number: int) -> int:
        return number

    for decorator, names in (
        (cache.memoize, ("refresh", "make_cache_key", "delete_memoized")),
        (cache.cached, ("refresh", "make_cache_key", "delete_cached")),
    ):
        for function in (lambda number: number, acompute):
            decorated: Any = decorator()(function)
            for name in names:
                twins = [getattr(decorated, name), getattr(decorated, f"a{name}")]
                if name != "make_cache_key" or decorator == cache.memoize:
                    one, other = [list(inspect.signature(t).parameters.values()) for t in twins]
                    assert [str(p) for p in one] == [str(p) for p in other], name
                assert inspect.iscoroutinefunction(twins[1]), name
