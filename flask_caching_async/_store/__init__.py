"""Entries in, entries out, over one backend of one app; what the backend raises ends here.

``open`` picks the store of a backend, ``memory`` and ``versioned`` have the steps, ``dispatch``
the colour in which they run; ``failures``, ``circuit_breaker`` and ``pending_invalidations`` are
for a backend that fails.
"""

from __future__ import annotations

__all__: list[str] = []
