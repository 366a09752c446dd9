"""Calling the user's code in either colour, and what it gives back, as one value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..exceptions import ColourError

__all__ = ["aask", "ask", "awhole", "joined", "whole"]


def ask(callback: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call something of a sync function's, which must not answer with an awaitable.

    :raises ColourError: if it does.
    """
    answer = callback(*args, **kwargs)
    if inspect.isawaitable(answer):
        _refuse(answer, callback)
    return answer


def _refuse(answer: Any, function: Any) -> None:
    """Say what is wrong with an awaitable in sync code."""
    if inspect.iscoroutine(answer):
        answer.close()  # or Python warns that it was never awaited
    raise ColourError(
        f"{function!r} returned an awaitable, where only sync code runs; make the decorated "
        "function `async def`, or this one `def`"
    )


async def aask(callback: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a callback of an async function; the callback may be sync or async."""
    answer = callback(*args, **kwargs)
    return await answer if inspect.isawaitable(answer) else answer


def joined(chunks: list[Any]) -> Any:
    """A generator's chunks as one value: text, bytes, or else the list."""
    if all(isinstance(chunk, str) for chunk in chunks):
        return "".join(chunks)
    if all(isinstance(chunk, bytes) for chunk in chunks):
        return b"".join(chunks)
    return chunks


def whole(value: Any, function: Any) -> Any:
    """What a sync function returned, joined if it yields."""
    if inspect.isgenerator(value):
        return joined(list(value))
    if inspect.isasyncgen(value):
        raise ColourError(f"{function!r} is a plain def, but returned an async generator")
    if inspect.isawaitable(value):
        _refuse(value, function)
    return value


async def awhole(value: Any) -> Any:
    """What an async function returned, awaited, and joined if it yields."""
    if inspect.isawaitable(value):
        value = await value
    if inspect.isasyncgen(value):
        return joined([chunk async for chunk in value])
    return joined(list(value)) if inspect.isgenerator(value) else value


async def ask_now(callback: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """:func:`.ask` as a coroutine that returns at once."""
    return ask(callback, *args, **kwargs)
