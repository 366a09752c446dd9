"""``refresh()``: compute now, store, return. What a job calls, also for a page outside a request.

A page's function finds a request as if its URL had been asked for: routed to the same view, with
the view's arguments, after the app's ``before_request`` functions.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from .._frameworks.pallets import is_method, leads_to
from .._runtime.threads import offload
from .cached import ViewPlan
from .lookup import acall_through_cache, call_through_cache

__all__ = ["refreshers"]

DOC = """Compute now, whatever is stored; store it, and return it.

For a view, ``path`` (with ``query_args`` and ``headers``) says which page is meant; outside a
request and without a path, the view's arguments say it.
"""


def refreshers(plan: Any, wrapper: Any) -> None:
    """Give a decorated function its ``refresh``; a sync one also its awaitable ``arefresh``."""
    if plan.is_async:

        async def refresh(*args: Any, **kwargs: Any) -> Any:
            page = page_of(plan, args, kwargs)
            if page is None:
                return await acall_through_cache(plan, plan.state(), args, kwargs, refresh=True)
            async with page.arequest() as (args, kwargs):
                return await acall_through_cache(plan, plan.state(), args, kwargs, refresh=True)

        wrapper.refresh = wrapper.arefresh = refresh
    else:

        def refresh_now(*args: Any, **kwargs: Any) -> Any:
            page = page_of(plan, args, kwargs)
            if page is None:
                return call_through_cache(plan, plan.state(), args, kwargs, refresh=True)
            with page.request() as (args, kwargs):
                return call_through_cache(plan, plan.state(), args, kwargs, refresh=True)

        async def arefresh(*args: Any, **kwargs: Any) -> Any:
            page = page_of(plan, args, kwargs)
            if page is None:
                return await offload(_call, plan, args, kwargs)
            async with page.arequest() as (args, kwargs):
                return await offload(_call, plan, args, kwargs)

        wrapper.refresh, wrapper.arefresh = refresh_now, arefresh
        arefresh.__doc__ = DOC
    wrapper.refresh.__doc__ = DOC


def _call(plan: Any, args: Any, kwargs: Any) -> Any:
    return call_through_cache(plan, plan.state(), args, kwargs, refresh=True)


class Page:
    """A request for one page of a view; in it, the arguments with which the view is called."""

    def __init__(self, framework: Any, request: tuple[Any, ...], found: Callable[..., Any]) -> None:
        self._host, self._request, self._found = framework, request, found

    @contextlib.contextmanager
    def request(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """The request, for sync code."""
        with self._host.request_for(*self._request) as routed:
            yield self._found(routed)

    @contextlib.asynccontextmanager
    async def arequest(self) -> AsyncIterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """The request, for async code."""
        async with self._host.arequest_for(*self._request) as routed:
            yield self._found(routed)


def page_of(plan: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Page | None:
    """The request that a refresh needs; ``None`` if it needs none, or runs in one.

    ``path``, ``query_args`` and ``headers`` are taken out of ``kwargs``.
    """
    if not isinstance(plan, ViewPlan):
        return None
    framework = plan.state().binding.framework
    path, query_args, headers = (kwargs.pop(n, None) for n in ("path", "query_args", "headers"))
    if path is None and (plan.own_key or framework.request() is not None):
        return None
    where: Any = path
    if path is None:
        where = (framework.endpoint_of(plan.wrapper), {**plan.named(args), **kwargs})
    return Page(framework, (where, query_args, headers), functools.partial(_arguments, plan, args))


def _arguments(
    plan: ViewPlan, args: tuple[Any, ...], routed: tuple[Any, dict[str, Any]]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the view for a request that was routed."""
    view, kwargs = routed
    if leads_to(view, plan.wrapper):
        return (), kwargs
    kind: Any = getattr(view, "view_class", None)
    methods = getattr(kind, "methods", None) or () if plan.own_key else ("GET", "HEAD")
    if is_method(kind, methods, plan.wrapper):
        return (kind(),), kwargs
    raise ValueError(f"that path does not lead to {plan.name}, but to {view!r}")
