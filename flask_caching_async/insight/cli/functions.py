"""``flask cache delete-view``, ``delete-memoized`` and ``refresh``: what is done to functions."""

from __future__ import annotations

import difflib
import functools
import inspect

import click
from werkzeug.exceptions import HTTPException

from ..._frameworks.routes import endpoints_of, is_method, leads_to
from ...decorators.cached import ViewPlan
from ...decorators.debug_checks import registered_before
from ...decorators.memoize import CallPlan
from ...decorators.methods import owner_of
from ...decorators.plan import Plan
from ...decorators.wrappers import plan_of
from ...exceptions import CacheError
from ...typing import Value
from .apps import Target, check_owner
from .arguments import Command, call_of, function_named, headers_of, named_values
from .explaining import say_what_is_stored
from .output import fail, say
from .running import of_cache, perform, told, while_served

__all__ = ["delete_memoized", "delete_view", "refresh"]


# --- delete-memoized ------------------------------------------------------------------------------


@click.command("delete-memoized", cls=Command)
@click.argument("function", metavar="PACKAGE.MODULE:FUNCTION")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1)
@of_cache
def delete_memoized(target: Target, function: str, arguments: tuple[str, ...]) -> None:
    """Drop the calls of a memoized function, or one.

    With ARGS, it is the call with them. An argument is a literal of Python, or else a text: 7,
    '"7"', None, red, lang=de. A method is named as package.module:Class.method, and dropped for all
    instances.
    """
    found = function_named(function)
    plan = _plan(target, found, function, CallPlan)
    args, kwargs = call_of(arguments)
    if arguments and plan.owner == "self" and inspect.isclass(owner_of(found) or object):
        fail(
            f"{plan.name} is a method, and there is no instance here: without arguments, its calls "
            "on all instances are dropped."
        )
    if arguments and plan.owner == "cls":
        args = (owner_of(found), *args)
    if not perform(target, lambda: target.cache.adelete_memoized(found, *args, **kwargs)):
        fail("the backend did not drop it.")
    of_all = "all instances" if plan.owner == "self" and owner_of(found) is None else ""
    if arguments:
        say(f"Dropped the call of {plan.name} with {' '.join(arguments)!r}.")
    else:
        say(f"Dropped all calls of {plan.name}{of_all and ', on ' + of_all}.")


def _plan(target: Target, found: Value, text: str, kind: type[Plan]) -> Value:
    """The plan of a function that this cache decorates.

    :raises click.ClickException: if it does not, or in another way.
    """
    plan = plan_of(found)
    if plan is None:
        decorator = "cached" if kind is ViewPlan else "memoize"
        what = "is not decorated" if callable(found) else f"is a {type(found).__name__}"
        fail(f"{text} {what}, so nothing is stored for it: put @cache.{decorator}() above it.")
    check_owner(target, plan)
    if not isinstance(plan, kind):
        command = "delete-view" if isinstance(plan, ViewPlan) else "delete-memoized"
        fail(f"{text} is not decorated that way: use {command}.")
    return plan


# --- delete-view ----------------------------------------------------------------------------------


@click.command("delete-view", cls=Command)
@click.argument("view", metavar="ENDPOINT|PACKAGE.MODULE:FUNCTION")
@click.argument("arguments", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--path", help="Only this path or URL, with all its variants.")
@of_cache
def delete_view(target: Target, view: str, arguments: tuple[str, ...], path: str | None) -> None:
    """Drop the pages of a cached view, or some.

    All of them, or those that its arguments or a path lead to.
    """
    given = named_values(arguments)
    if path is not None and given:
        raise click.UsageError("A page is named by --path or by its arguments, not by both.")
    for plan in _views(target, view):
        drop = functools.partial(target.cache.adelete_cached, plan.wrapper, path, **given)
        if not perform(target, drop):
            fail("the backend did not drop it.")
        which = path or " ".join(arguments)
        say(f"Dropped {f'{which!r}' if which else 'all pages'} of {plan.name}.")


def _views(target: Target, text: str) -> list[ViewPlan]:
    """The cached views that an endpoint, or a function, means.

    :raises click.ClickException: if there are none.
    """
    known = target.app.view_functions
    if text in known:
        return _cached_at(target, text) or _say_why_not_cached(target, text)
    if ":" in text or ("." in text and text.partition(".")[0] not in target.app.blueprints):
        return [_plan(target, function_named(text), text, ViewPlan)]
    near = difflib.get_close_matches(text, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    fail(f"{target.app!r} has no endpoint {text!r}{hint} 'flask routes' lists them.")


def _cached_at(target: Target, endpoint: str) -> list[ViewPlan]:
    """The views of this cache that answer at an endpoint: several for a class of views."""
    late = registered_before(target.binding, target.cache._views)
    plans = (p for p in target.cache._views if endpoint in endpoints_of(target.app, p.wrapper))
    return sorted([p for p in plans if p not in late], key=lambda plan: plan.name)


def _say_why_not_cached(target: Target, endpoint: str) -> list[ViewPlan]:
    """End the command.

    :raises click.ClickException: it says what to write.
    """
    function = target.app.view_functions[endpoint]
    plan = plan_of(function)
    if plan is not None:
        check_owner(target, plan)
    for late in registered_before(target.binding, target.cache._views):
        if late.function is function:
            fail(
                f"{late.name} was registered as a view before it was cached, so requests never "
                "reach the cache: put @cache.cached below @app.route."
            )
    fail(f"the view of {endpoint!r} is not cached: put @cache.cached() below @app.route.")


# --- refresh --------------------------------------------------------------------------------------


@click.command("refresh")
@click.argument("path")
@click.option(
    "--header", "-H", "headers", multiple=True, help="A header of the request: 'Name: value'."
)
@of_cache
def refresh(target: Target, path: str, headers: tuple[str, ...]) -> None:
    """Compute the page of PATH now, and store it.

    Exit with 1 if it is not stored, and say why. A Quart app is started and stopped for it.
    """
    plan, given = _view_at(target, path), headers_of(headers)

    async def compute() -> None:
        async with while_served(target.app):
            await plan.wrapper.arefresh(path=path, headers=given, strict=True)

    try:
        if target.binding.framework.serves and not inspect.iscoroutinefunction(
            plan.wrapper.refresh
        ):
            with target.app.app_context():  # as its requests are: without a loop
                plan.wrapper.refresh(path=path, headers=given, strict=True)
        else:
            perform(target, compute)
    except (CacheError, HTTPException):
        raise
    except Exception as error:
        raise RuntimeError(f"{plan.name} failed, and nothing was stored: {told(error)}") from error
    say(f"Computed {plan.name} for {path}.")
    say_what_is_stored(target, path, given)


def _view_at(target: Target, path: str) -> ViewPlan:
    """The cached view that answers a request for a path.

    :raises click.ClickException: if there is none.
    """
    framework, functions = target.binding.framework, target.app.view_functions
    answering: list[str] = []
    for plan in sorted(target.cache._views, key=lambda plan: plan.name):
        endpoints = [e for e in endpoints_of(target.app, plan.wrapper) if e in functions]
        if any(_answers(functions[e], plan) for e in endpoints):
            if framework.places_at(plan.wrapper, path):
                return plan
    for endpoint, function in functions.items():
        if framework.places_at(function, path):
            answering.append(endpoint)
    if answering:
        _say_why_not_cached(target, answering[0])
    fail(f"no view of {target.app!r} answers {path!r}.")


def _answers(view: Value, plan: ViewPlan) -> bool:
    """Whether a request for a page of an endpoint leads to a cached view, or method of views."""
    kind = getattr(view, "view_class", None)
    return leads_to(view, plan.wrapper) or is_method(kind, ("GET", "HEAD"), plan.wrapper)
