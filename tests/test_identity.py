"""Functions that share a module and a name: each has entries of its own, and finds them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from support.backends import OURS, config_of_ours

#: Names that differ in letters that not every alphabet has, or in what stands around them.
NAMES = ["größe", "grße", "gr.locals.ße", "gr.<locals>.ße", "भाषा", "भष", "f", "ｆ", "f.", "<f>"]


@pytest.mark.parametrize("backend", OURS)
def test_names_of_any_letters_are_told_apart(
    app: Flask, tmp_path: Path, request: pytest.FixtureRequest, backend: str
) -> None:
    """Also where ``make_name`` makes another one of them."""
    config = config_of_ours(backend, tmp_path, request.getfixturevalue)
    cache = Cache(app, config=config)

    def named(name: str, **options: Any) -> Any:
        def function() -> str:
            return f"{name} {options}"

        function.__qualname__ = name
        return cache.memoize(**options)(function)

    plain = [named(name) for name in NAMES]
    renamed = [named(name, make_name=lambda name: f"{name}.v2") for name in NAMES[:2]]
    functions = plain + renamed
    for _ in range(2):
        assert [f() for f in functions] == [f.uncached() for f in functions]
    assert cache.stats().computed == len(functions)
    assert plain[0].make_cache_key(None).startswith(f"{__name__}.größe/")
