"""What a deletion is meant to hit: keys, and tags. A deletion that can match nothing says so."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from .._entries.entry import tag_of
from .._flow.callbacks import CallCallback, resolved
from ..exceptions import ColourError
from ..keys import made_key, signature_of
from ..stats import Counters
from ..typing import Args, Kwargs, QueryArgs, Value
from .cached import ViewPlan
from .memoize import CallPlan
from .methods import owner_of
from .plan import OwningCache, Plan
from .wrappers import plan_of

__all__ = ["Invalidation", "pages_to_delete", "calls_to_delete", "of_keys"]


AnyPlan = TypeVar("AnyPlan", bound=Plan)


class Invalidation(NamedTuple):
    """Keys to delete, and tags to drop."""

    keys: list[str]
    tags: list[str]
    #: The paths of the pages that have these keys, where somebody wants to know.
    paths: tuple[str, ...] = ()
    #: The counters of the function whose values they are, if it is one's.
    counters: Counters | None = None


def of_keys(keys: Iterable[str]) -> Invalidation:
    """Keys, with all variants of the pages whose base they are."""
    keys = list(keys)
    return Invalidation(keys, [tag_of("b", key) for key in keys])


def _plan(
    cache: OwningCache, function: Value, kind: type[AnyPlan], method: str, decorator: str
) -> AnyPlan:
    """The plan of a function that is to be deleted from this cache."""
    if not callable(function):
        raise TypeError(f"{method} takes the decorated function itself, not {function!r}")
    plan = plan_of(function)
    name = getattr(function, "__qualname__", repr(function))
    if plan is None:
        raise ValueError(
            f"{name} is not decorated with @cache.{decorator}, so {method} has nothing to delete"
        )
    if not isinstance(plan, kind):
        other = "delete_cached" if decorator == "memoize" else "delete_memoized"
        raise ValueError(f"{name} is not decorated with @cache.{decorator}; use {other}")
    if plan.cache is not cache:
        raise ValueError(f"{name} is decorated by another Cache; delete it there")
    return plan


async def calls_to_delete(
    cache: OwningCache,
    f: Value,
    args: Args,
    kwargs: Kwargs,
    call_callback: CallCallback,
) -> Invalidation:
    """What ``delete_memoized(f, *args, **kwargs)`` means.

    :raises ValueError: if it could not match any call.
    """
    plan = _plan(cache, f, CallPlan, "delete_memoized", "memoize")
    owner, state = owner_of(f), plan.state()
    counters = state.counters
    if not args and not kwargs:
        one = owner is not None and not inspect.isclass(owner) and plan.per_owner
        return Invalidation([], [plan.owner_tag(owner) if one else plan.tag], (), counters)
    if plan.owner == "cls":
        if not args or not inspect.isclass(args[0]):
            raise ValueError(
                f"{plan.name} is a classmethod: pass the class as the first argument of "
                "delete_memoized, then the arguments of the call"
            )
    elif plan.owner == "self":
        if owner is not None and not inspect.isclass(owner) and not (args and args[0] is owner):
            args = (owner, *args)
        _check_instance(plan, args)
    if plan.per_owner and len(args) == 1 and not kwargs and owner_is_all(plan):
        return Invalidation([], [plan.owner_tag(args[0])], (), counters)
    try:
        plan.arguments.check(args, kwargs)
    except TypeError as error:
        raise ValueError(f"no call of {plan.name} has these arguments: {error}") from None
    try:
        answers = [
            await call_callback(callback) for callback in plan.key_callbacks(state, args, kwargs)
        ]
    except ColourError:
        raise ColourError(
            f"a callback of {plan.name} is async: await adelete_memoized() instead"
        ) from None
    deleted = of_keys(plan.keys_to_delete(state, args, kwargs, answers))
    return deleted._replace(counters=counters)


def owner_is_all(plan: CallPlan) -> bool:
    """Whether its instance or class, given alone, means all calls on it."""
    return plan.owner == "cls" or len(signature_of(plan.function).parameters) > 1


def _check_instance(plan: CallPlan, args: Args) -> None:
    """The first argument of a method reached through its class must be an instance."""
    short = plan.function.__name__
    if not args:
        raise ValueError(
            f"{plan.name} is a method: pass the instance as the first argument of "
            f"delete_memoized, or reach it through the instance (instance.{short})"
        )
    outer = plan.function.__qualname__.rpartition(".")[0]
    if not outer or outer.endswith("<locals>"):
        return
    mro = type(resolved(args[0])).__mro__
    if not any(_holds(value, plan) for k in mro for value in vars(k).values()):
        raise ValueError(f"{args[0]!r} is no instance of the class whose method {plan.name} is")


def _holds(value: Value, plan: CallPlan) -> bool:
    """Whether what stands in a class is a method, or a property or a ``partialmethod`` of it."""
    inside = [getattr(value, name, None) for name in ("fget", "func", "__func__")]
    return any(plan_of(function) is plan for function in (value, *inside))


async def pages_to_delete(
    cache: OwningCache,
    f: Value,
    path: Value,
    query_args: QueryArgs | None,
    args: Args,
    view_args: Kwargs,
    call_callback: CallCallback,
) -> Invalidation:
    """What ``delete_cached(f, path, query_args, *args, **view_args)`` means.

    :raises ValueError: if it could not match any page.
    """
    if f is None and "f" in view_args:  # by its name, as in Flask-Caching
        f = view_args.pop("f")
    plan = _plan(cache, f, ViewPlan, "delete_cached", "cached")
    path = resolved(path)
    if args or not isinstance(path, str | None) or not isinstance(query_args, Iterable | None):
        args = (path, *(() if query_args is None and not args else (query_args,)), *args)
        path, query_args = None, None
    if path is None and query_args is None and not args and not view_args:
        return Invalidation([], plan.tags_of_all, (), plan.state().counters)
    try:
        deleted = await _pages(plan, path, query_args, args, view_args, call_callback)
    except ColourError:
        raise ColourError(
            f"a callback of {plan.name} is async: await adelete_cached() instead"
        ) from None
    return deleted._replace(counters=plan.state().counters)


async def _pages(
    plan: ViewPlan,
    path: str | None,
    query_args: QueryArgs | None,
    args: Args,
    view_args: Kwargs,
    call_callback: CallCallback,
) -> Invalidation:
    """The keys of some pages of a view."""
    replaced = plan.replaced_key()
    if replaced is not None:
        key = await call_callback(replaced, *args, path=path, query_args=query_args, **view_args)
        return of_keys([made_key(key)])
    if plan.own_make_cache_key is not None:
        if path is not None or query_args is not None:
            raise ValueError(
                f"the keys of {plan.name} come from its make_cache_key, not from a path: call "
                "delete_cached with the view alone, or cache.delete with the key"
            )
        key = await call_callback(plan.own_make_cache_key, *args, **view_args)
        return of_keys([made_key(key)])
    prefix = await call_callback(plan.key_prefix) if callable(plan.key_prefix) else plan.key_prefix
    view_args = plan.by_name(args, view_args)
    deleted = of_keys(plan.keys_of_pages(prefix, path, query_args, view_args))
    if not plan.cache._listeners or plan.own_key:
        return deleted
    places = plan.places(path, view_args) if path is not None or view_args else []
    return deleted._replace(paths=tuple(dict.fromkeys([place.path for place in places])))
