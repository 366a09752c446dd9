"""Signals that tell of each hit and miss, where ``CACHE_ENABLE_SIGNALS`` is set."""

from __future__ import annotations

import logging

from blinker import Namespace, Signal

from ._runtime.colour import is_coroutine_function
from .events import about
from .exceptions import ColourError
from .typing import Value

__all__ = ["cache_memoize_hit", "cache_memoize_miss", "cache_view_hit", "cache_view_miss"]

log = logging.getLogger("flask_caching_async")

_signals = Namespace()

#: A :meth:`.Cache.cached` function was answered from the cache. Carries ``cache`` (the
#: :class:`.Cache`), ``cache_key``, and the call's ``args`` and ``kwargs``.
cache_view_hit = _signals.signal("cache-view-hit")

#: A :meth:`.Cache.cached` function is about to be called. Carries the same.
cache_view_miss = _signals.signal("cache-view-miss")

#: A :meth:`.Cache.memoize` function was answered from the cache. Carries the same, and ``f``, the
#: undecorated function.
cache_memoize_hit = _signals.signal("cache-memoize-hit")

#: A :meth:`.Cache.memoize` function is about to be called. Carries the same, and ``f``.
cache_memoize_miss = _signals.signal("cache-memoize-miss")


def tell(signal: Signal, **payload: Value) -> None:
    """Send a signal; a listener that fails breaks no call."""
    if not signal.receivers or signal.is_muted:
        return
    for receiver in list(signal.receivers_for(None)):
        try:
            if is_coroutine_function(receiver):
                raise ColourError(f"{receiver!r} is async; signals are sent from sync code, too")
            receiver(None, **payload)
        except Exception:
            name: str = signal.name  # type: ignore[attr-defined]
            extra = about("listener_failed", names=[name])
            log.exception("a listener of the signal %r failed", name, extra=extra)
