"""What ``@cache.cached`` and ``@cache.memoize`` make of a function.

``options`` is what a decorator is given, ``plan`` what follows from it, ``memoize`` and ``cached``
what differs between them, ``page_keys`` how the key of a page is made in its request, and
``page_names`` outside. ``methods`` is what replaces the function and how it binds, ``wrappers``
what it calls, ``fast_path`` a hit, ``lookup`` every other call up to the flow. ``refresh``,
``refresh_every`` and ``deletion`` are what users do besides, ``debug_checks`` what they are warned
of.
"""

from __future__ import annotations

__all__: list[str] = []
