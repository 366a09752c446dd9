"""The options of the decorators: declared once, shown everywhere."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

from flask_caching_async import Cache
from flask_caching_async.decorators.options import DecoratorOptions, Options

#: Flask-Caching's arguments, in its order.
POSITIONAL = {
    "cached": (
        "timeout key_prefix unless forced_update is_stale response_filter query_string hash_method "
        "cache_none make_cache_key source_check response_hit_indication"
    ).split(),
    "memoize": (
        "timeout make_name unless forced_update is_stale response_filter hash_method cache_none "
        "source_check args_to_ignore"
    ).split(),
}


@pytest.mark.parametrize("name", POSITIONAL)
def test_a_signature_shows_every_option(name: str) -> None:
    """``inspect.signature`` has their names and defaults, and ``help()`` a line for each."""
    decorator = getattr(Cache(), name)
    parameters = inspect.signature(decorator).parameters
    by_place = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_name = {n: p.default for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert by_place == POSITIONAL[name]
    assert by_name.items() >= {
        "lock": None, "lock_timeout": None, "stale_while_revalidate": 0, "stale_if_error": 0,
        "jitter": None, "soft_timeout": None, "tags": (),
    }.items()  # fmt: skip
    assert len(parameters) == len(by_place) + len(by_name)
    described = [option for option in DecoratorOptions.__annotations__]
    assert [option for option in described if f":param {option}: " not in decorator.__doc__] == []


def test_type_checkers_know_the_options_that_are_read() -> None:
    """Both declarations have the same names."""
    shown = [field.name for field in dataclasses.fields(Options) if field.metadata["doc"]]
    assert shown == list(DecoratorOptions.__annotations__)


@pytest.mark.parametrize("name", POSITIONAL)
def test_an_unknown_option_is_named(name: str) -> None:
    """When the decorator is called, not when the function is."""
    decorator: Any = getattr(Cache(), name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        decorator(nonsense=1)
