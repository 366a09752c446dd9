"""Calling the user's code in either colour, and what it gives back, as one value."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from werkzeug.local import LocalProxy

from ..exceptions import ColourError
from ..typing import Callback, Value

__all__ = [
    "CallCallback",
    "acall_callback",
    "ajoin_generated",
    "call_callback",
    "call_callback_now",
    "join_chunks",
    "join_generated",
    "resolved",
]

#: Calls a callback with arguments: :func:`acall_callback`, or another one in its place.
CallCallback: TypeAlias = Callable[..., Awaitable[Value]]


def call_callback(callback: Callback, /, *args: Value, **kwargs: Value) -> Value:
    """Call a callback of a sync function, which must not answer with an awaitable.

    :raises ColourError: if it does.
    """
    answer = resolved(callback(*args, **kwargs))
    if inspect.isawaitable(answer):
        _refuse(answer, callback)
    return answer


def _refuse(answer: object, function: object) -> None:
    """Say what is wrong with an awaitable in sync code."""
    if inspect.iscoroutine(answer):
        answer.close()  # or Python warns that it was never awaited
    raise ColourError(
        f"{function!r} returned an awaitable, where only sync code runs; make the decorated "
        "function `async def`, or this one `def`"
    )


async def acall_callback(callback: Callback, /, *args: Value, **kwargs: Value) -> Value:
    """Call a callback of an async function; the callback may be sync or async."""
    answer = resolved(callback(*args, **kwargs))
    return await answer if inspect.isawaitable(answer) else answer


def resolved(value: Value) -> Value:
    """What a proxy such as ``current_user`` stands for now; anything else as it is.

    A proxy looks like an awaitable, and like everything else, whatever it stands for.
    """
    while isinstance(value, LocalProxy):  # it may stand for another proxy
        value = value._get_current_object()
    return value


def is_awaitable(value: Value) -> bool:
    """Whether what a function returned has to be awaited."""
    return not isinstance(value, LocalProxy) and inspect.isawaitable(value)


def join_chunks(chunks: list[Value]) -> Value:
    """A generator's chunks as one value: text, bytes, or else the list."""
    if all(isinstance(chunk, str) for chunk in chunks):
        return "".join(chunks)
    if all(isinstance(chunk, bytes) for chunk in chunks):
        return b"".join(chunks)
    return chunks


def join_generated(value: Value, function: object) -> Value:
    """What a sync function returned, joined if it yields."""
    if inspect.isgenerator(value):
        return join_chunks(list(value))
    if inspect.isasyncgen(value):
        raise ColourError(f"{function!r} is a plain def, but returned an async generator")
    if is_awaitable(value):
        _refuse(value, function)
    return value


async def ajoin_generated(value: Value) -> Value:
    """What an async function returned, awaited, and joined if it yields."""
    if is_awaitable(value):
        value = await value
    if inspect.isasyncgen(value):
        return join_chunks([chunk async for chunk in value])
    return join_chunks(list(value)) if inspect.isgenerator(value) else value


async def call_callback_now(callback: Callback, /, *args: Value, **kwargs: Value) -> Value:
    """``call_callback`` as a coroutine that returns at once."""
    return call_callback(callback, *args, **kwargs)
