"""How a command runs: its cache, its contexts and its loop, and what becomes of an error."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

import click
from werkzeug.exceptions import HTTPException

from ..._runtime.commands import in_command
from ...exceptions import CacheError
from ...typing import Value
from .apps import Target, loaded_app, target_of
from .output import fail

__all__ = ["of_cache", "perform", "told", "while_served"]

P = ParamSpec("P")
T = TypeVar("T")


def of_cache(command: Callable[Concatenate[Target, P], None]) -> Callable[..., None]:
    """Give a command the option ``--cache``, and the cache that it names as its first argument."""

    @click.option(
        "--cache", "cache_name", metavar="NAME", help="Which cache, if there are several."
    )
    @click.pass_context
    @functools.wraps(command)
    def run(
        ctx: click.Context, /, cache_name: str | None, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            app = loaded_app(ctx)
        except CacheError as error:  # a setting is wrong, for example
            fail(str(error))
        target = target_of(app, cache_name)
        target.say_whose_memory()
        with _told(bool(target.app.debug)):
            command(target, *args, **kwargs)

    return run


@contextlib.contextmanager
def _told(debug: bool) -> Iterator[None]:
    """Whatever goes wrong is told in one line; in debug mode, with its traceback.

    :raises click.ClickException: for it.
    """
    token = in_command.set(True)
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except CacheError as error:
        fail(str(error))
    except HTTPException as error:
        fail(f"the view answered {error.code} {error.name}, which is not stored.")
    except Exception as error:
        if debug:
            traceback.print_exc()
        plain = isinstance(error, (ValueError, TypeError)) and str(error)
        fail(str(error) if plain else told(error))
    finally:
        in_command.reset(token)


def told(error: Exception) -> str:
    """An error with its class, as a traceback would end."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def perform(target: Target, step: Callable[[], Awaitable[T]]) -> T:
    """Run async code in a context of the app, on a loop of its own, and return its result."""
    context: Value = target.app.app_context()

    async def run() -> T:
        async with context if is_async else contextlib.nullcontext():
            return await step()

    is_async = hasattr(context, "__aenter__")
    # Flask's is left outside of the loop: its teardown functions may want one of their own.
    with contextlib.nullcontext() if is_async else context:
        if asyncio._get_running_loop() is None:
            return asyncio.run(run())
        with ThreadPoolExecutor(1) as pool:  # a test of an app that is async, for example
            inside = contextvars.copy_context()
            return pool.submit(inside.run, asyncio.run, run()).result()


@contextlib.asynccontextmanager
async def while_served(app: Value) -> AsyncIterator[None]:
    """As if the app were served: with what Quart does before and after serving.

    A view may need what the app opens then.
    """
    if not hasattr(app, "startup"):
        yield
        return
    await app.startup()
    try:
        yield
    finally:
        await app.shutdown()
