"""What ``@cache.cached`` and ``@cache.memoize`` make of a function.

``plan`` is what a decorator was told, ``memoize`` and ``cached`` how keys are made, ``wrappers``
what replaces the function, ``fast_path`` a hit, ``lookup`` every other call up to the flow;
``methods``, ``refresh``, ``refresh_every`` and ``deletion`` are what users do with it besides.
"""

from __future__ import annotations

__all__: list[str] = []
