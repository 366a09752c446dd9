"""``refresh()``: compute now, store, return. For a cron job, or a page outside a request.

A page's function finds a request as if its URL had been asked for: routed to the same view, with
the view's arguments, after the app's ``before_request`` functions.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeAlias

from .._frameworks.base import Framework, PageRequest, Routed, Where
from .._frameworks.routes import instance_of, is_method, leads_to
from .._runtime.threads import offload
from ..keys import signature_of
from ..typing import Args, Kwargs, Value
from .cached import ViewPlan
from .calls import acall_through_cache, call_through_cache
from .memoize import CallPlan
from .methods import Decorated, owner_of
from .plan import Plan

__all__ = ["attach_refresh"]

DOC = """Compute now, whatever is stored; store it, and return it.

With ``strict=True`` a value that is not stored is an error (:class:`.NotStoredError`, which says
why), unless the function has an argument of that name. For a view, ``path`` (with ``query_args``
and ``headers``) says which page is meant; outside a request and without a path, the view's
arguments say it.
"""

#: The arguments with which a function is called.
Arguments: TypeAlias = tuple[Args, Kwargs]


def attach_refresh(plan: Plan, wrapper: Decorated) -> None:
    """Give a decorated function its ``refresh``; a sync one also its awaitable ``arefresh``."""
    if plan.is_async:

        async def refresh(*args: Value, **kwargs: Value) -> Value:
            strict, page = _strict(plan, kwargs), page_of(plan, args, kwargs)
            if page is None:
                return await acall_through_cache(plan, plan.state(), args, kwargs, True, strict)
            async with page.arequest() as (args, kwargs):
                return await acall_through_cache(plan, plan.state(), args, kwargs, True, strict)

        wrapper.refresh = wrapper.arefresh = refresh
    else:

        def refresh_now(*args: Value, **kwargs: Value) -> Value:
            strict, page = _strict(plan, kwargs), page_of(plan, args, kwargs)
            if page is None:
                return _call(plan, args, kwargs, strict)
            with page.request() as (args, kwargs):
                return _call(plan, args, kwargs, strict)

        async def arefresh(*args: Value, **kwargs: Value) -> Value:
            strict, page = _strict(plan, kwargs), page_of(plan, args, kwargs)
            if page is None:
                return await offload(_call, plan, args, kwargs, strict)
            async with page.arequest() as (args, kwargs):
                return await offload(_call, plan, args, kwargs, strict)

        wrapper.refresh, wrapper.arefresh = refresh_now, arefresh
        arefresh.__doc__ = DOC
    wrapper.refresh.__doc__ = DOC


def _call(plan: Plan, args: Args, kwargs: Kwargs, strict: bool) -> Value:
    return call_through_cache(plan, plan.state(), args, kwargs, True, strict)


def _strict(plan: Plan, kwargs: Kwargs) -> bool:
    """Whether a value must be stored; taken out of ``kwargs`` where the function has none."""
    if "strict" not in kwargs or "strict" in signature_of(plan.function).parameters:
        return False
    return bool(kwargs.pop("strict"))


class Page:
    """A request for one page of a view; in it, the arguments with which the view is called."""

    def __init__(
        self, framework: Framework, request: PageRequest, found: Callable[[Routed], Arguments]
    ) -> None:
        self._framework, self._request, self._found = framework, request, found

    @contextlib.contextmanager
    def request(self) -> Iterator[Arguments]:
        """The request, for sync code."""
        with self._framework.request_for(self._request) as routed:
            yield self._found(routed)

    @contextlib.asynccontextmanager
    async def arequest(self) -> AsyncIterator[Arguments]:
        """The request, for async code."""
        async with self._framework.arequest_for(self._request) as routed:
            yield self._found(routed)


def page_of(plan: Plan, args: Args, kwargs: Kwargs) -> Page | None:
    """The request that a refresh needs; ``None`` if it needs none, or runs in one.

    ``path``, ``query_args`` and ``headers`` are taken out of ``kwargs``.
    """
    if not isinstance(plan, ViewPlan):
        _check_class(plan, args, kwargs)
        return None
    framework = plan.state().binding.framework
    names = ("path", "query_args", "headers")
    path, query_args, headers = [kwargs.pop(name, None) for name in names]
    if path is None and (plan.own_key or framework.request() is not None):
        return None
    if path is None:
        values = {**plan.named(args), **kwargs}
        where: Where = (framework.endpoint_for(plan.wrapper, values), values)
    else:
        where = path
    found = functools.partial(_arguments, plan, args)
    return Page(framework, PageRequest(where, query_args, headers), found)


def _check_class(plan: Plan, args: Args, kwargs: Kwargs) -> None:
    """A classmethod that another decorator has bound does not know its class; see ``methods.py``.

    :raises TypeError: where its first argument would be taken for the class.
    """
    if not isinstance(plan, CallPlan) or plan.owner != "cls":
        return
    if not inspect.isclass(plan.owner_of(args, kwargs)):
        raise TypeError(
            f"the class that {plan.name} is refreshed for is not known below @classmethod: put "
            "@cache.memoize() above it, or pass the class as the first argument"
        )


def _arguments(plan: ViewPlan, args: Args, routed: Routed) -> Arguments:
    """The arguments of the view for a request that was routed."""
    view, kwargs = routed
    if leads_to(view, plan.wrapper):
        owner = owner_of(view)  # an instance's method was registered
        return () if owner is None else (owner,), kwargs
    kind = getattr(view, "view_class", None)
    methods = getattr(kind, "methods", None) or () if plan.own_key else ("GET", "HEAD")
    if is_method(kind, methods, plan.wrapper):
        return (instance_of(view),), kwargs
    raise ValueError(f"that path does not lead to {plan.name}, but to {view!r}")
