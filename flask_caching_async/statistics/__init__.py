"""The figures of a cache: of this process (``ledger.py``), and of all that share its backend.

Counters stand in ``stats.py``, below the flow, which counts.
"""

from __future__ import annotations

from .ledger import Ledger

__all__ = ["Ledger"]
