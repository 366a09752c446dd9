"""The time that a cache goes by, and programs that stop it in their tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import freezegun
import pytest
import time_machine
from flask import Flask

from flask_caching_async import Cache
from support.backends import config_for
from support.faces import Face

#: Lets time pass.
Pass = Callable[[float], Any]


@contextmanager
def by_freezegun() -> Iterator[Pass]:
    """It replaces ``time.time`` by a function of its own."""
    with freezegun.freeze_time("2030-01-01", real_asyncio=True) as frozen:
        yield lambda seconds: frozen.tick(timedelta(seconds=seconds))


@contextmanager
def by_time_machine() -> Iterator[Pass]:
    """It changes what ``time.time`` gives."""
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as traveller:
        yield traveller.shift


@pytest.mark.asyncio
@pytest.mark.parametrize("stopped", [by_freezegun, by_time_machine])
@pytest.mark.parametrize("backend", ["SimpleCache", "FileSystemCache"])
async def test_values_expire_by_a_clock_that_was_stopped(
    backend: str, stopped: Any, colour: str, tmp_path: Path
) -> None:
    """The clock is looked up when it is read, also by a cache that was made before."""
    cache = Cache(Flask(__name__), config=config_for(backend, tmp_path))
    face, calls = Face(cache, colour), []
    function = face.memoize(60)(lambda: len(calls.append(0) or calls))
    page = face.cached(60, key_prefix="page", stale_if_error=60)(lambda: len(calls))
    with stopped() as let_pass:
        assert [await face.call(function) for _ in range(2)] == [1, 1]
        assert await face.call(page) == 1
        await face.set("key", "value", timeout=60)
        let_pass(59)
        assert await face.call(function) == 1 and await face.get("key") == "value"
        let_pass(2)
        assert await face.get("key") is None
        assert await face.call(function) == 2 == await face.call(page)
    cache.close()
