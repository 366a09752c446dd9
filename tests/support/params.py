"""Parameters that several test files have: which backends in which colours, and their names.

A rule that does not depend on them is tested without them: a product of backends and colours has
only those members in which something could differ.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

#: Backends in colours, each of which goes its own way to the values: at once, inline, in a worker
#: thread, or by the loop of the process. Below the framework Quart goes the way of async; it is
#: there once all the same, for what the framework does around it.
WAYS = (
    ("SimpleCache", "sync"),
    ("SimpleCache", "async"),
    ("FileSystemCache", "sync"),
    ("FileSystemCache", "async"),
    ("FileSystemCache", "quart"),
    ("cachelib", "sync"),
    ("sync-only", "async"),
    ("async-only", "sync"),
    ("async-only", "async"),
)

#: Each form in which a value is kept, once: for what does not depend on the colour.
each_form = pytest.mark.parametrize(
    ("embedded", "colour"),
    [
        ("SimpleCache", "sync"),
        ("FileSystemCache", "async"),
        ("cachelib", "sync"),
        ("async-only", "async"),
    ],
    indirect=True,
)


def _ways_of(*kinds: str) -> pytest.MarkDecorator:
    ways = [(kind, colour) for kind, colour in WAYS if kind in kinds]
    return pytest.mark.parametrize(("embedded", "colour"), ways, indirect=True)


#: Backends that keep time by the cache's clock to the moment.
timekeepers = _ways_of("SimpleCache", "FileSystemCache")

#: Backends whose values are copies.
copying = _ways_of("SimpleCache", "FileSystemCache", "cachelib")


def named(value: Any) -> str:
    """A name for a parameter: its repr, without an address, which differs from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
