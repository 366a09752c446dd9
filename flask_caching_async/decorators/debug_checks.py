"""In debug mode: is ``@cache.cached`` below ``@app.route``, where requests reach it?"""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Collection

from ..binding import Binding
from ..exceptions import CacheWarning
from .cached import ViewPlan

__all__ = ["watch_order"]

_told: set[str] = set()
_watched: weakref.WeakSet[Binding] = weakref.WeakSet()


def watch_order(binding: Binding | None, plans: Collection[ViewPlan]) -> None:
    """Warn once of each view that was registered before it was decorated.

    Looks now, and before each request: a blueprint's views become the app's later.
    """
    if binding is None or not binding.framework.debug:
        return
    _look(binding, plans)
    if binding not in _watched:
        _watched.add(binding)
        binding.framework.before_requests(functools.partial(_look, binding, plans))


def _look(binding: Binding, plans: Collection[ViewPlan]) -> None:
    registered = {id(view) for view in binding.framework.views()}
    for plan in list(plans):
        if id(plan.function) in registered and plan.name not in _told:
            _told.add(plan.name)
            warnings.warn(
                f"{plan.name} was registered as a view before it was cached, so requests never "
                "reach the cache: put @cache.cached below @app.route",
                CacheWarning,
                stacklevel=4,
            )
