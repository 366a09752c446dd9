"""Help for tests: a clock that only moves when it is told to, and the tests of a backend.

Nothing here imports pytest, and nothing else in the package imports this.
"""

from __future__ import annotations

import sys
from typing import Any

from .clock import FakeClock

_pytest: Any = sys.modules.get("pytest")
if _pytest is not None:  # then a check that fails shows the values that it has compared
    _pytest.register_assert_rewrite(__name__ + "._checks")

from .conformance import BackendConformance  # noqa: E402

__all__ = ["BackendConformance", "FakeClock"]
