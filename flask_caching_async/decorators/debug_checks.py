"""In debug mode: do requests reach the cache, and has each function a key of its own?"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Collection, Iterable

from werkzeug.sansio.request import Request

from .._frameworks.routes import leads_to
from ..binding import Binding
from ..exceptions import CacheWarning, place_of, warn
from .cached import ViewPlan
from .plan import Plan, State

__all__ = ["check_key", "registered_before", "watch_order"]


# --- is @cache.cached below @app.route? -----------------------------------------------------------

#: For each cache on an app that is watched, the names of the functions of which it was warned.
_warned: weakref.WeakKeyDictionary[Binding, set[str]] = weakref.WeakKeyDictionary()


def watch_order(binding: Binding | None, plans: Collection[ViewPlan]) -> None:
    """Warn once of each view that was registered before it was decorated.

    Looks now, and before each request: a blueprint's views become the app's later.
    """
    if binding is None or not binding.framework.debug:
        return
    watched_already = binding in _warned
    _look(binding, plans)
    if not watched_already:
        binding.framework.before_requests(functools.partial(_look, binding, plans))


def registered_before(binding: Binding, plans: Iterable[ViewPlan]) -> list[ViewPlan]:
    """The views that were registered before they were decorated: requests pass the cache."""
    registered = {id(view) for view in binding.framework.views()}
    return [plan for plan in list(plans) if id(plan.function) in registered]


def _look(binding: Binding, plans: Collection[ViewPlan]) -> None:
    warned = _warned.setdefault(binding, set())
    for plan in registered_before(binding, plans):
        if plan.name not in warned:
            warned.add(plan.name)
            warn(
                f"{plan.name} was registered as a view before it was cached, so requests never "
                "reach the cache: put @cache.cached below @app.route",
                at=place_of(plan.function),
            )


# --- has each function a key of its own? ----------------------------------------------------------

#: The functions that were called for a request, by their keys.
_called: weakref.WeakKeyDictionary[Request, dict[str, ViewPlan]] = weakref.WeakKeyDictionary()


def check_key(plan: Plan, state: State, key: str) -> None:
    """Warn once of a function that is cached under the path of the page which it is a part of."""
    binding, request = state.binding, state.binding.framework.request()
    if not isinstance(plan, ViewPlan) or request is None or plan.own_key:
        return
    mine = f"{id(plan.cache)} {key}"
    first = _called.setdefault(request, {}).setdefault(mine, plan)
    if first.author == plan.author:
        return
    is_view = leads_to(binding.framework.view_of(request), plan.wrapper)
    page, helper = (plan, first) if is_view else (first, plan)
    binding.warn_once(
        f"one key: {page.author} {helper.author}",
        f"{helper.name} is cached under the path of the page, as {page.name} is ({key!r}), so that "
        f"each overwrites what the other has stored: give {helper.name} a key of its own, "
        "@cache.cached(key_prefix='...'), or use @cache.memoize()",
        CacheWarning,
        place_of(helper.function),
    )
