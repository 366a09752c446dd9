"""``explain()``: what is asked about, and in which request it is looked at.

For a path, a request is made as the test client makes one, and routed; neither the functions that
the app has before a request nor the view are called. Both colours stand side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple, Protocol

from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import RequestRedirect
from werkzeug.sansio.request import Request

from .._flow.callbacks import CallCallback, acall_callback, call_callback_now, resolved
from .._frameworks.base import PageRequest, Routed
from .._frameworks.refreshing import NoView
from .._frameworks.routes import instance_of, leads_to
from .._runtime.colour import run_now
from ..decorators.cached import ViewPlan
from ..decorators.memoize import CallPlan
from ..decorators.methods import owner_of
from ..decorators.plan import OwningCache, Plan
from ..decorators.wrappers import plan_of
from ..identity import function_name
from ..keys import signature_of
from ..typing import Args, Callback, Kwargs, QueryArgs, Value
from .examining import Examination
from .explanation import Explanation, Reason

__all__ = ["ExplainedCache", "Question", "aexplain", "explain"]


class ExplainedCache(OwningCache, Protocol):
    """What is needed of a cache."""

    #: The plans of its views.
    _views: Collection[ViewPlan]


class Question(NamedTuple):
    """What a user has asked."""

    what: Value
    args: Args
    headers: Mapping[str, str] | None
    query_args: QueryArgs | None
    kwargs: Kwargs


class Target(NamedTuple):
    """What is to be looked at.

    :param page: the request that has to be made for it.
    :param routed: the view that the current request leads to, and its arguments.
    :param plan: the plan of a function that is called as it is, with ``args`` and ``kwargs``.
    :param found: the answer, where no look is needed for that.
    """

    page: PageRequest | None = None
    routed: Routed | None = None
    plan: Plan | None = None
    args: Args = ()
    kwargs: Kwargs = {}
    found: Explanation | None = None


def explain(cache: ExplainedCache, asked: Question) -> Explanation:
    """See :meth:`.Cache.explain`."""
    target = _target_of(cache, asked)
    if target.page is None:
        return run_now(_explained(cache, target, call_callback_now, False))
    try:
        with cache._binding().framework.request_for(target.page) as routed:
            there = target._replace(routed=routed)
            return run_now(_explained(cache, there, call_callback_now, False))
    except NoView as error:
        return _no_view(target.page, error)


async def aexplain(cache: ExplainedCache, asked: Question) -> Explanation:
    """See :meth:`.Cache.explain`."""
    target = _target_of(cache, asked)
    if target.page is None:
        return await _explained(cache, target, acall_callback, True)
    try:
        async with cache._binding().framework.arequest_for(target.page) as routed:
            return await _explained(cache, target._replace(routed=routed), acall_callback, True)
    except NoView as error:
        return _no_view(target.page, error)


async def _explained(
    cache: ExplainedCache, target: Target, call_callback: CallCallback, aio: bool
) -> Explanation:
    """The answer, in the request that it needs."""
    plan, args, kwargs = target.plan, target.args, target.kwargs
    if target.found is not None:
        return target.found
    if plan is None:
        assert target.routed is not None
        view, kwargs = target.routed
        request = cache._binding().framework.request()
        plan, args = _plan_behind(cache, view, "GET" if request is None else request.method)
        if plan is None:
            return _not_cached(cache, view)
    return await Examination(plan, args, kwargs, call_callback, aio).run()


# --- what is meant --------------------------------------------------------------------------------


def _target_of(cache: ExplainedCache, asked: Question) -> Target:
    """What a user means.

    :raises TypeError: if it is neither a path nor a function, or has arguments that it cannot have.
    :raises ValueError: if it is not known which page is meant.
    """
    what, args, headers, query_args, kwargs = asked
    what = resolved(what)
    if what is None or isinstance(what, str):
        if args or kwargs:
            raise TypeError("a path has all that it needs: give arguments to a function only")
        if what is None and headers is None and query_args is None:
            return _current(cache)
        return Target(_page(cache, what, query_args, headers))
    if not callable(what):
        raise TypeError(f"explain takes a path or a decorated function, not {what!r}")
    plan = _plan_here(cache, what)
    if plan is None:
        return Target(found=_not_cached(cache, what))
    if isinstance(plan, ViewPlan):
        return _view(cache, plan, what, asked)
    owner = owner_of(what)
    args = args if owner is None else (owner, *args)
    for name, given in (("headers", headers), ("query_args", query_args)):
        if given is not None and name not in signature_of(plan.function).parameters:
            raise TypeError(f"{name} is for pages, and {plan.name} is a memoized function")
        kwargs = kwargs if given is None else {**kwargs, name: given}
    if isinstance(plan, CallPlan):
        plan.arguments.check(args, kwargs)
    return Target(plan=plan, args=args, kwargs=kwargs)


def _page(
    cache: ExplainedCache,
    path: str | None,
    query_args: QueryArgs | None,
    headers: Mapping[str, str] | None,
) -> PageRequest:
    """The request for a path; without one, for that of the current request."""
    if path is None:
        path = _needed_request(cache).path
    if query_args is not None and "?" in path:
        raise ValueError("the query string stands in the path and in query_args: give one of them")
    if "://" not in path:
        path = f"/{path.lstrip('/')}"
    return PageRequest(path, query_args, headers, preprocess=False)


def _needed_request(cache: ExplainedCache) -> Request:
    request = cache._binding().framework.request()
    if request is None:
        raise ValueError("say what is to be explained, a path or a function: there is no request")
    return request


def _current(cache: ExplainedCache) -> Target:
    """The current request."""
    request: Value = _needed_request(cache)
    view = cache._binding().framework.view_of(request)
    if view is None:
        error = NoView(request.path)
        error.__cause__ = request.routing_exception
        return Target(found=_no_view(PageRequest(request.path), error))
    return Target(routed=(view, dict(request.view_args or {})))


def _view(cache: ExplainedCache, plan: ViewPlan, what: Value, asked: Question) -> Target:
    """A page of a view, or a function that is cached under a key of its own."""
    framework, owner = plan.state().binding.framework, owner_of(what)
    args = asked.args if owner is None else (owner, *asked.args)
    in_request = framework.request() is not None
    if (asked.headers, asked.query_args) == (None, None):
        if plan.own_key or (in_request and not (asked.args or asked.kwargs)):
            return Target(plan=plan, args=args, kwargs=asked.kwargs)
    values = {**plan.named(args), **asked.kwargs}
    if not framework.places_of(plan.wrapper, values):
        if in_request:
            return Target(plan=plan, args=args, kwargs=asked.kwargs)
        raise ValueError(
            f"no rule of the app leads to {plan.name} with the arguments {values!r}: give explain "
            "the path of a page, or the arguments of the view"
        )
    where = (framework.endpoint_for(plan.wrapper, values), values)
    return Target(PageRequest(where, asked.query_args, asked.headers, preprocess=False))


# --- the plan of what was found -------------------------------------------------------------------


def _plans(function: Value) -> Iterator[Plan]:
    """The plans of a function, the outermost first: several caches may have decorated it."""
    plan = plan_of(function)
    while plan is not None:
        yield plan
        plan = plan_of(plan.function)


def _plan_here(cache: ExplainedCache, function: Value) -> Plan | None:
    """The plan of a function that this cache has decorated."""
    return next((plan for plan in _plans(function) if plan.cache is cache), None)


def _plan_behind(cache: ExplainedCache, view: Value, method: str) -> tuple[Plan | None, Args]:
    """The plan of what a view calls for a request, and the instance that it is given."""
    if (plan := _plan_here(cache, view)) is not None and leads_to(view, plan.wrapper):
        owner = owner_of(view)
        return plan, () if owner is None else (owner,)
    kind = getattr(view, "view_class", None)
    for name in ("dispatch_request", method.lower(), *(["get"] if method == "HEAD" else [])):
        plan = _plan_here(cache, getattr(kind, name, None))
        if plan is not None:
            return plan, (instance_of(view),)
    return None, ()


# --- what has no plan -----------------------------------------------------------------------------


def _without_plan(name: str, cause: str, text: str) -> Explanation:
    return Explanation(None, name, None, (), (), None, "not-cached", (Reason(cause, text),))


def _not_cached(cache: ExplainedCache, function: Callback) -> Explanation:
    """What is said of a function that this cache does not know."""
    name = function_name(function)
    for plan in list(cache._views):
        if plan.function is function:
            return _without_plan(
                plan.name,
                "order",
                f"{plan.name} was registered as a view before it was cached, so requests never "
                "reach the cache: put @cache.cached below @app.route",
            )
    if any(True for _ in _plans(function)):
        return _without_plan(name, "not-cached", f"{name} is cached by another Cache: ask that one")
    return _without_plan(
        name,
        "not-cached",
        f"{name} is not cached: write @cache.cached(timeout=...) below @app.route of a view, or "
        "@cache.memoize(timeout=...) above another function",
    )


def _no_view(page: PageRequest, error: NoView) -> Explanation:
    """What is said of a path that leads nowhere."""
    path, cause = str(page.where), error.__cause__
    if isinstance(cause, RequestRedirect):
        text = f"the app redirects {path} to {cause.new_url}: ask for that"
        return _without_plan(path, "no-view", text)
    if isinstance(cause, MethodNotAllowed):
        methods = ", ".join(sorted({*(cause.valid_methods or ())} - {"OPTIONS"}))
        text = f"{path} answers {methods} only, and what GET asks for is stored"
        return _without_plan(path, "method", text)
    return _without_plan(path, "no-view", f"no view of the app answers {path} (404)")
