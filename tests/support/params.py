"""Names of parametrized tests."""

from __future__ import annotations

import re
from typing import Any


def named(value: Any) -> str:
    """A name for a parameter: its repr, without an address, which differs from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
