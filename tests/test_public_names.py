"""What can be imported: our names, and every name that Flask-Caching's users import."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from pathlib import Path

import pytest
from flask import Flask, Response, make_response

import flask_caching_async
from flask_caching_async import Cache, CachedResponse, ConfigurationError
from support.params import table

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(flask_caching_async.__path__, "flask_caching_async.")
    if not any(part.startswith("_") for part in module.name.split("."))
)

#: Flask-Caching 2.5.1's public names, by module, for the backends that exist here.
THEIRS = {
    "": "Cache CachedResponse SUPPORTED_HASH_FUNCTIONS cache_memoize_hit cache_memoize_miss "
    "cache_view_hit cache_view_miss function_namespace make_template_fragment_key",
    ".backends": "BaseCache NullCache SimpleCache FileSystemCache",
    ".backends.base": "BaseCache",
    ".backends.simplecache": "SimpleCache",
    ".backends.nullcache": "NullCache",
    ".backends.filesystemcache": "FileSystemCache",
    ".jinja2ext": "CacheExtension JINJA_CACHE_ATTR_NAME make_template_fragment_key",
    ".signals": "cache_memoize_hit cache_memoize_miss cache_view_hit cache_view_miss",
    ".utils": "function_namespace get_arg_default get_arg_names get_function_parameters get_id "
    "join_generator make_template_fragment_key normalize_timeout query_args_as_pairs wants_args "
    "wants_extra_args",
}


@table("module", THEIRS)
def test_every_name_of_flask_caching_is_there(module: str) -> None:
    """After changing the import, and nothing else."""
    found = importlib.import_module("flask_caching_async" + module)
    assert [name for name in THEIRS[module].split() if not hasattr(found, name)] == []


def test_a_modules_all_is_what_it_offers() -> None:
    """Every name in ``__all__`` exists; every public class and function of a module is in it."""
    for name in ("flask_caching_async", *MODULES):
        try:
            module = importlib.import_module(name)
        except ConfigurationError:  # a module for a package that is not installed
            continue
        public = list(module.__all__)
        assert len(set(public)) == len(public), name
        assert [n for n in public if not hasattr(module, n)] == [], name
        own = [
            n
            for n, value in vars(module).items()
            if not n.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__ == name
        ]
        if name.count(".") == 1 and name.rpartition(".")[2] in (
            "exceptions", "signals", "stats", "testing", "utils", "backends", "serializers"
        ):  # fmt: skip
            helpers = {"tell", "Counters"}
            assert set(own) - helpers <= set(public), name


def test_the_top_level_documents_all_it_offers() -> None:
    """Whatever can be imported from the package has a docstring (or is a plain value)."""
    for name in flask_caching_async.__all__:
        value = getattr(flask_caching_async, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_unknown_names_are_attribute_errors() -> None:
    """The lazy ``__getattr__`` of the packages hides no typo."""
    for module in ("flask_caching_async", "flask_caching_async.backends",
                   "flask_caching_async.serializers"):  # fmt: skip
        with pytest.raises(AttributeError, match="nonsense"):
            importlib.import_module(module).nonsense  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    """It costs nothing until somebody asks."""
    assert flask_caching_async.__version__[0].isdigit()
    assert "__version__" not in vars(flask_caching_async)


def test_the_package_says_that_it_is_typed() -> None:
    """PEP 561."""
    assert (Path(flask_caching_async.__file__).parent / "py.typed").exists()


def test_cached_response_has_annotations_that_can_be_read(app: Flask) -> None:
    """Tools that build objects from annotations need real ones."""
    hints = typing.get_type_hints(CachedResponse.__init__)
    assert hints["response"] is Response
    assert "timeout" in hints
    assert inspect.signature(CachedResponse.__init__).parameters["response"].annotation is Response


def test_cached_response_takes_over_its_response(app: Flask) -> None:
    """Body, status and headers."""
    from datetime import timedelta

    with app.test_request_context():
        whole = make_response("body", 201, {"X-A": "b"})
        answer = CachedResponse(whole, timedelta(minutes=1))
    assert isinstance(answer, Response)
    assert (answer.get_data(as_text=True), answer.status_code, answer.headers["X-A"]) == (
        "body",
        201,
        "b",
    )
    assert answer.timeout == 60
    assert CachedResponse(whole, None).timeout is None


def test_flask_cachings_arguments_keep_their_order() -> None:
    """Positional use of the decorators keeps working; ours are keyword-only."""
    expected = {
        "cached": "timeout key_prefix unless forced_update is_stale response_filter query_string "
        "hash_method cache_none make_cache_key source_check response_hit_indication",
        "memoize": "timeout make_name unless forced_update is_stale response_filter hash_method "
        "cache_none source_check args_to_ignore",
        "delete_cached": "f path query_args",
        "delete_memoized": "f",
        "init_app": "app config",
        "__init__": "app with_jinja2_ext config",
    }
    for name, names in expected.items():
        parameters = inspect.signature(getattr(Cache, name)).parameters.values()
        # A view may have an argument called "f", so that only the position says which one it is.
        kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
        positional = [p.name for p in parameters if p.kind in kinds]
        assert positional[1:] == names.split(), name
    ours = {"lock", "lock_timeout", "stale_while_revalidate", "stale_if_error", "jitter", "tags"}
    ours |= {"soft_timeout"}
    of_pages = {"vary_on", "personal", "http", "client_timeout", "shared_timeout"}
    for name, more in (("cached", of_pages), ("memoize", set())):
        parameters = inspect.signature(getattr(Cache, name)).parameters.values()
        assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} == ours | more


def test_the_names_in_utils_do_what_they_did() -> None:
    """Small helpers that some projects import."""
    from datetime import timedelta

    from flask_caching_async import utils

    def f(a: int, b: int = 2, /, c: int = 3, *d: int, e: int = 5) -> None: ...

    assert [p.name for p in utils.get_function_parameters(f)] == list("abcde")
    assert utils.get_arg_names(f) == ["c"]
    assert [utils.get_arg_default(f, n) for n in range(3)] == [None, 2, 3]
    assert [utils.wants_args(g) for g in (lambda: 0, lambda *, a: 0, lambda **k: 0)] == [
        False, False, True
    ]  # fmt: skip
    assert [utils.wants_extra_args(g) for g in (lambda a: 0, lambda a, b: 0, lambda *a: 0)] == [
        False, True, False
    ]  # fmt: skip
    assert utils.normalize_timeout(timedelta(milliseconds=1)) == 1
    assert [utils.normalize_timeout(t) for t in (5, "5", None)] == [5, 5, None]
    assert utils.join_generator(c for c in "ab") == "ab"
    assert utils.join_generator(iter([1, "b"])) == [1, "b"]
    assert utils.query_args_as_pairs("?a=1&b=") == [("a", "1"), ("b", "")]
    assert utils.get_id([1]) == "[1]"
