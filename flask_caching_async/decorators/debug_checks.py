"""In debug mode: do requests reach the cache, has each function a key of its own, and is all that a
view reads in it?
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Collection, Iterator

from werkzeug.sansio.request import Request

from .._flow.callbacks import called_within
from .._frameworks.routes import leads_to
from ..binding import Binding
from ..exceptions import CacheWarning, place_of, warn
from ..typing import Callback
from .cached import ViewPlan
from .plan import Plan, State

__all__ = ["watch_order", "watched"]


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


def _look(binding: Binding, plans: Collection[ViewPlan]) -> None:
    registered = {id(view) for view in binding.framework.views()}
    warned = _warned.setdefault(binding, set())
    for plan in list(plans):
        if id(plan.function) in registered and plan.name not in warned:
            warned.add(plan.name)
            warn(
                f"{plan.name} was registered as a view before it was cached, so requests never "
                "reach the cache: put @cache.cached below @app.route",
                at=place_of(plan.function),
            )


# --- has each function a key of its own? ----------------------------------------------------------

#: The functions that were called for a request, by their keys.
_called: weakref.WeakKeyDictionary[Request, dict[str, ViewPlan]] = weakref.WeakKeyDictionary()


def _check_key(plan: ViewPlan, binding: Binding, request: Request, key: str) -> None:
    """Warn once of a function that is cached under the path of the page which it is a part of."""
    if plan.own_key:
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


# --- what does a view read that is not in its key? ------------------------------------------------

READS = {
    "args": "{} reads request.args, which is not in its key: every query string gets the same "
    "page. Use query_string=True, or vary_on.",
    "cookies": "{} reads a cookie that is not in its key: every visitor gets the same page. "
    "Use vary_on='cookie:NAME', or unless.",
    "session": "{} reads the session, which is not in its key: every visitor gets the same page. "
    "Use vary_on=lambda: session.get('user_id'), or unless.",
    "authorization": "{} reads Authorization, which is not in its key: every visitor gets the same "
    "page. Use vary_on='Authorization', or unless.",
}


def watched(plan: Plan, state: State, function: Callback, key: str) -> Callback:
    """The function to call in debug mode: a view is watched for what it reads of the request."""
    request = state.binding.framework.request()
    if not isinstance(plan, ViewPlan) or request is None:
        return function
    _check_key(plan, state.binding, request, key)
    if _has_own_word(plan):
        return function
    return called_within(functools.partial(_watching_reads, plan, state), function, plan.is_async)


def _has_own_word(plan: ViewPlan) -> bool:
    """Whether a callback of the user's makes the key, of which it is not known what it reads."""
    makes_key = callable(plan.key_prefix) or plan.own_make_cache_key or plan.replaced_key()
    return bool(makes_key) or any(callable(vary) for vary in plan.vary_on)


@contextlib.contextmanager
def _watching_reads(plan: ViewPlan, state: State) -> Iterator[None]:
    framework = state.binding.framework
    request = framework.request()  # in the background, it is another one
    if request is None:
        yield
        return
    before, answered = framework.reads(request), False
    try:
        yield
        answered = True
    except plan.answers:
        answered = True
        raise
    finally:
        found = set(framework.unread(request, before))
        if answered:
            # What was read before the view, by ``unless``, its author has thought of.
            _tell(plan, found - before if plan.options.unless else found, framework.session_cookie)


def _tell(plan: ViewPlan, found: set[str], session_cookie: str) -> None:
    """Warn once of each part of the request that was read, and is not in the key."""
    if plan.query_string:
        found.discard("args")
    varied = {vary.lower() for vary in plan.vary_on if isinstance(vary, str)}
    if any(vary.startswith("cookie") for vary in varied):
        found.discard("cookies")
    if varied & {"cookie", f"cookie:{session_cookie}".lower()}:
        found.discard("session")
    if "authorization" in varied:
        found.discard("authorization")
    for name in sorted(found - plan.warned_of):
        plan.warned_of.add(name)
        warn(READS[name].format(plan.name), at=place_of(plan.function))
