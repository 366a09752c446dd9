"""Seeing and operating the cache: why something is stored or not, health, command line, dashboard.

The statistics themselves are in ``stats.py`` and ``statistics/``, below the flow that counts; the
exporters are in ``contrib/``.
"""

from __future__ import annotations

from .explanation import Explanation, Reason, StoredEntry
from .health import Health

__all__ = ["Explanation", "Health", "Reason", "StoredEntry"]
