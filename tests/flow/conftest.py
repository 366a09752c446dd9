"""Stages: a cache in one colour, where callers run at the same time."""

from __future__ import annotations

import pytest

from flask_caching_async import Cache
from support.stages import Stage


@pytest.fixture
def stage(cache: Cache, colour: str) -> Stage:
    """A cache in memory, in both colours."""
    return Stage(cache, colour)


@pytest.fixture
def any_stage(any_cache: Cache, colour: str) -> Stage:
    """A cache on each kind of backend, in both colours."""
    return Stage(any_cache, colour)
