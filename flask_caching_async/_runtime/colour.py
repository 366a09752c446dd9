"""Sync and async: how one piece of logic serves both.

A function has a *colour*: ``def`` or ``async def``. The logic of this package is written once, as
``async def`` *steps*, and this module has all the tools by which either colour runs them.

**Faces.** A step works on an object whose methods are awaitable. :class:`Instant` makes one of sync
methods that return at once, :class:`Awaited` of awaitable ones (``aget`` …), :class:`Moved` of
steps that run elsewhere, and :class:`Chosen` takes one or another for each call. Sync code drives a
step over an :class:`Instant` with :func:`run_now`; edgedb's blocking client works the same way.

**Pairs.** An operation has two halves, ``get`` and ``aget``. :func:`halves` makes both of one step,
:func:`complete_pairs` the missing one of a class whose author wrote the other.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from ..typing import Callback, Coro, Value
from .process_loop import on_process_loop
from .threads import offload

__all__ = [
    "Awaited",
    "Chosen",
    "Instant",
    "Moved",
    "complete_pairs",
    "halves",
    "is_coroutine_function",
    "run_now",
]

T = TypeVar("T")
Half = Callback
Step = Callable[..., Coro[T]]


def run_now(step: Coro[T]) -> T:
    """Run a coroutine that never suspends, and return its result.

    :param step: a coroutine over :class:`Instant` objects.
    :raises RuntimeError: if it did suspend; that is a bug of this package.
    """
    try:
        step.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    step.close()
    raise RuntimeError(f"{step!r} suspended in sync code; sync ports must return at once")


def is_coroutine_function(function: object) -> bool:
    """Whether calling ``function`` gives a coroutine.

    Unlike :func:`inspect.iscoroutinefunction` it also knows objects whose ``__call__`` is
    ``async def``.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    call = getattr(type(function), "__call__", None)  # noqa: B004
    return not inspect.isclass(function) and inspect.iscoroutinefunction(call)


# --- faces ----------------------------------------------------------------------------------------


class Instant:
    """The sync methods of an object, as coroutines that return at once."""

    def __init__(self, target: object) -> None:
        self._target = target

    def __repr__(self) -> str:
        return type(self._target).__name__

    def __getattr__(self, name: str) -> Step[Value]:
        if name.startswith("__"):
            raise AttributeError(name)
        target = self._target

        async def call(*args: object, **kwargs: object) -> Value:
            return getattr(target, name)(*args, **kwargs)  # may be another one by now

        getattr(target, name)  # it has none, perhaps
        self.__dict__[name] = call  # found without this function from now on
        return call


class Awaited:
    """The awaitable methods of an object (``aget`` …) under their sync names (``get`` …)."""

    __slots__ = ("_target",)

    def __init__(self, target: object) -> None:
        self._target = target

    def __repr__(self) -> str:
        return type(self._target).__name__

    def __getattr__(self, name: str) -> Step[Value]:
        step: Step[Value] = getattr(self._target, "a" + name)
        return step


#: Runs a step elsewhere: it is given a function that makes the coroutine.
Move = Callable[[Callable[[], Coro[Value]]], Coro[Value]]


class Moved:
    """Steps that run elsewhere as a whole: in a worker thread, or on the loop of the process.

    :param steps: an object whose methods are steps.
    :param move: runs them there.
    :param others: what runs the steps of these names instead.
    """

    __slots__ = ("_move", "_others", "_steps")

    def __init__(self, steps: object, move: Move, **others: Move) -> None:
        self._steps, self._move, self._others = steps, move, others

    def __getattr__(self, name: str) -> Half:
        step, move = getattr(self._steps, name), self._others.get(name, self._move)
        return lambda *args: move(functools.partial(step, *args))


class Chosen:
    """Steps on the running loop where it owns connections; elsewhere, those that are moved.

    :param native_here: whether the running loop owns connections.
    """

    __slots__ = ("_moved", "_native", "_native_here")

    def __init__(self, native_here: Callable[[], bool], native: object, moved: object) -> None:
        self._native_here, self._native, self._moved = native_here, native, moved

    def __getattr__(self, name: str) -> Half:
        step: Half = getattr(self._native if self._native_here() else self._moved, name)
        return step


# --- pairs ----------------------------------------------------------------------------------------


def halves(step: Half, run: Half, arun: Half) -> tuple[Half, Half]:
    """Both halves of an operation: ``get, aget = halves(_get, run, arun)``.

    :param step: ``async def _get(self, operand, …)``; its name gives the names of the halves.
    :param run: ``(self, step, args, kwargs)``: runs the step in sync code.
    :param arun: ``(self, step, args, kwargs)``: runs it in async code; awaitable.
    """

    @functools.wraps(step)
    def method(self: object, /, *args: object, **kwargs: object) -> object:
        return run(self, step, args, kwargs)

    @functools.wraps(step)
    async def amethod(self: object, /, *args: object, **kwargs: object) -> object:
        return await arun(self, step, args, kwargs)

    name, given = step.__name__.lstrip("_"), inspect.signature(step)
    parameters = list(given.parameters.values())
    # Without what the step works on: the first of a function's arguments, or the one after self.
    del parameters[1 if parameters[0].name == "self" else 0]
    if parameters[:1] and parameters[0].name == "self":
        del parameters[0]
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    made: list[Any] = [method, amethod]
    for half, prefix in zip(made, ("", "a"), strict=True):
        half.__name__ = prefix + name
        half.__qualname__ = step.__qualname__.removesuffix(step.__name__) + half.__name__
        half.__signature__ = given.replace(parameters=[own, *parameters])
        del half.__wrapped__
    amethod.__doc__ = f"Awaitable :meth:`{name}`."
    return method, amethod


def complete_pairs(cls: type, names: Iterable[str]) -> None:
    """Give a class the half of each pair that its author did not write.

    An awaitable half calls the sync one in a worker thread, if that blocks; a sync half waits for
    the awaitable one on the loop of the process.
    """
    written = vars(cls)
    for name in names:
        if name in written and "a" + name not in written:
            setattr(cls, "a" + name, _awaitable(written[name], name))
        elif "a" + name in written and name not in written:
            setattr(cls, name, _blocking(written["a" + name], name))


class _Coloured(Protocol):
    blocking: bool


def _awaitable(method: Half, name: str) -> Half:
    @functools.wraps(method)
    async def derived(self: _Coloured, *args: object, **kwargs: object) -> object:
        # Looked up again, so that the sync method of a subclass is the one that is called.
        bound = functools.partial(getattr(self, name), *args, **kwargs)
        return await offload(bound) if self.blocking else bound()

    derived.__name__, derived.__qualname__ = "a" + name, f"{method.__qualname__} (awaitable)"
    derived.__doc__ = f"Awaitable :meth:`{name}`."
    return derived


def _blocking(method: Half, name: str) -> Half:
    @functools.wraps(method)
    def derived(self: object, *args: object, **kwargs: object) -> object:
        return on_process_loop(functools.partial(getattr(self, "a" + name), *args, **kwargs))

    derived.__name__, derived.__qualname__ = name, f"{method.__qualname__} (blocking)"
    derived.__doc__ = f"Blocking :meth:`a{name}`."
    return derived
