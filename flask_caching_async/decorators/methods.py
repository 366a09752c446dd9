"""What a cached function is: a function, or, where it may be a method, an object that binds.

Python calls a function in a third of the time in which it calls any other object, so that it is one
where it can be (:func:`as_function`).

Python binds whatever has a ``__get__`` when it is reached through an instance, however it got into
the class: in its body, by an assignment, by a decorator or a metaclass. A plain function would bind
as well, but ``obj.method.refresh(3)`` must know ``obj``, and Python looks up an attribute of a
bound method on the function, which does not. So what may be bound (:func:`may_be_method`) is an
object of our own, and so is what it is bound to.

Both name the class of what they stand for as their ``__class__``, as mocks do: extensions that go
through the members of a class, such as Flask-Classful, ask ``inspect.isfunction``.

A decorator above ours that binds by itself (one with ``functools.wraps``, and from Python 3.13 on
``classmethod``) asks nothing of what it wraps: there, ``refresh`` is given the instance or the
class as its first argument. A ``classmethod`` below ours knows its class everywhere.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import TypeGuard, cast

from ..identity import DECORATED, is_decorated_function
from ..keys import signature_of
from ..typing import Callback, Value

__all__ = [
    "BoundDecorated",
    "Decorated",
    "DecoratedClassMethod",
    "DecoratedStaticMethod",
    "as_function",
    "is_decorated",
    "may_be_method",
    "owner_of",
]


class _LooksLike:
    """Has a place for the class that its instances name as their own."""

    __slots__ = ("_looks_like",)


class Decorated(_LooksLike):
    """What replaces a decorated function.

    It looks like the function, down to the flags of its code, by which Python tells an ``async
    def``. Its attributes stand in its ``__dict__``, so that ``functools.wraps`` hands them on.

    :param function: what the user has decorated.
    :param wrapper: what is called instead.
    """

    # The call is a slot: Python calls what stands in it, and no frame of ours lies in between. The
    # others are what ``inspect`` reads to tell the colour, as Flask does in each request.
    __slots__ = (
        "__call__", "__code__", "__defaults__", "__dict__", "__kwdefaults__", "__weakref__"
    )  # fmt: skip

    #: What ``inspect`` looks for to tell the colour, from Python 3.12 on: found here, it is not
    #: looked for in ``__getattr__``, which took as long as all else that a hit of a view does.
    __partialmethod__ = None
    _is_coroutine_marker = None

    __name__: str
    __qualname__: str
    uncached: Callback
    cache_timeout: Value
    refresh: Callback
    arefresh: Callback
    make_cache_key: Callback
    amake_cache_key: Callback
    delete_memoized: Callback
    adelete_memoized: Callback
    delete_cached: Callback
    adelete_cached: Callback

    #: That slot, under the name by which Python asks: for Flask seven times in each request, and
    #: so no function is called.
    __class__ = vars(_LooksLike)["_looks_like"]  # pyright: ignore[reportIncompatibleMethodOverride]

    def __init__(self, function: Callback, wrapper: Callback) -> None:
        self._looks_like = types.FunctionType
        self.__call__: Callback = wrapper
        setattr(wrapper, DECORATED, self)
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            setattr(self, name, getattr(wrapper, name))
        functools.update_wrapper(self, function)

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's, also for who does not look below decorators (``getfullargspec``)."""
        return signature_of(self.uncached)

    def __get__(self, instance: object, owner: type | None = None) -> Value:
        return self if instance is None else BoundDecorated(self.__call__, instance)

    def __getattr__(self, name: str) -> Value:
        return getattr(object.__getattribute__(self, "__call__"), name)

    def __reduce__(self) -> str:
        return self.__qualname__  # by its name, like a function

    def __repr__(self) -> str:
        return f"<cached {self.__qualname__}>"


def may_be_method(function: Callback) -> bool:
    """Whether a function stands in a class, or may be put into one.

    It may if its first parameter is called so, or takes whatever is given; and what is no function,
    or does not tell its parameters, may have been made of one.
    """
    if type(function) is not types.FunctionType:
        return True
    place = function.__qualname__.rpartition(".")[0]
    if place and not place.endswith("<locals>"):
        return True
    try:
        first = next(iter(signature_of(function).parameters.values()), None)
    except (TypeError, ValueError):  # what it wraps has no signature, or a wrong one
        return True
    return first is not None and (first.name in ("self", "cls") or first.kind in VARIABLE)


#: The kinds of parameters that take whatever is given.
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def as_function(function: Callback, wrapper: Callback) -> Decorated:
    """What replaces a function that is no method: its wrapper, with what a :class:`Decorated` has.

    It is no instance of that class, but has all of its attributes.
    """
    functools.update_wrapper(wrapper, function)
    setattr(wrapper, DECORATED, wrapper)
    # For who does not look below decorators (getfullargspec).
    wrapper.__signature__ = signature_of(function)  # type: ignore[attr-defined]
    return cast(Decorated, wrapper)


def is_decorated(value: Value) -> TypeGuard[Decorated]:
    """Whether this is what replaces a function, and not what merely has its attributes."""
    return isinstance(value, Decorated) or is_decorated_function(value)


#: What a ``partial`` calls.
_called_by: Callable[[functools.partial[Value]], Callback]
_called_by = vars(functools.partial)["func"].__get__


class BoundDecorated(functools.partial[Value]):
    """A cached function with its instance (or class).

    A ``partial``, because ``inspect.iscoroutinefunction`` looks through those, and they are fast:
    it calls the wrapper, and not what replaces the function, which would look for that first.
    """

    @property
    def func(self) -> Decorated:
        """What replaces the function."""
        return cast(Decorated, getattr(_called_by(self), DECORATED))

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return types.MethodType

    @property
    def __dict__(self) -> dict[str, Value]:  # type: ignore[override]
        """What ``functools.wraps`` hands on: the function's attributes, and ``refresh`` bound."""
        return {**vars(self.func), "refresh": self.refresh, "arefresh": self.arefresh}

    @property
    def __self__(self) -> Value:
        return self.args[0]

    @property
    def __func__(self) -> Decorated:
        return cast(Decorated, self.func)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        doc: str | None = self.__func__.__doc__
        return doc

    @property
    def refresh(self) -> Callback:
        """Compute now, store, and return the value."""
        return functools.partial(self.__func__.refresh, self.args[0])

    @property
    def arefresh(self) -> Callback:
        """Awaitable :attr:`refresh` of a sync method."""
        return functools.partial(self.__func__.arefresh, self.args[0])

    def __getattr__(self, name: str) -> Value:
        return getattr(self.func, name)

    def __setattr__(self, name: str, value: Value) -> None:
        setattr(self.func, name, value)  # this object lives for one call only

    def __reduce__(self) -> tuple[Callable[..., BoundDecorated], tuple[Value, ...]]:
        return bound, (self.func, self.args[0])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundDecorated):
            return NotImplemented
        return self.func is other.func and self.args[0] is other.args[0]

    def __hash__(self) -> int:
        return hash((id(self.func), id(self.args[0])))

    def __repr__(self) -> str:
        return f"<bound cached {self.func.__qualname__} of {self.args[0]!r}>"


def bound(decorated: Decorated, owner: Value) -> BoundDecorated:
    """A cached function with its instance (or class)."""
    return BoundDecorated(decorated.__call__, owner)


class DecoratedClassMethod(classmethod):  # type: ignore[type-arg]
    """A ``classmethod`` under a caching decorator.

    Its attributes are those of its function: what a decorator above it sets is found on the class.
    """

    def __get__(self, instance: object, owner: type | None = None) -> BoundDecorated:
        return bound(cast(Decorated, self.__func__), type(instance) if owner is None else owner)

    def __getattr__(self, name: str) -> Value:
        return getattr(self.__func__, name)

    def __setattr__(self, name: str, value: Value) -> None:
        setattr(self.__func__, name, value)


class DecoratedStaticMethod(staticmethod):  # type: ignore[type-arg]
    """A ``staticmethod`` under a caching decorator; its attributes are those of its function."""

    def __getattr__(self, name: str) -> Value:
        return getattr(self.__func__, name)

    def __setattr__(self, name: str, value: Value) -> None:
        setattr(self.__func__, name, value)


def owner_of(function: Callable[..., Value]) -> Value:
    """The instance or class that a cached function was reached through, or ``None``.

    It may have been reached before another decorator was put around it.
    """
    reached: Value = function
    while reached is not None and not is_decorated(reached):
        owner = getattr(reached, "__self__", None)
        if owner is not None:
            return None if inspect.ismodule(owner) else owner
        reached = getattr(reached, "__wrapped__", None)
    return None
