"""Cached functions in the body of a class: what they are on an instance, on the class, and bare.

A plain function would do, but for one thing: ``obj.method.refresh(3)`` must know ``obj``, and
Python looks up an attribute of a bound method on the function, which does not.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from ..keys import signature_of

__all__ = ["BoundCached", "CachedClassMethod", "CachedMethod"]


class BoundCached(functools.partial):  # type: ignore[type-arg]
    """A cached function with its instance (or class).

    A ``partial``, because ``inspect.iscoroutinefunction`` looks through those, and they are fast.
    """

    @property
    def __self__(self) -> Any:
        return self.args[0]

    @property
    def __func__(self) -> Callable[..., Any]:
        return self.func

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self.func.__doc__

    @property
    def __signature__(self) -> inspect.Signature:
        return signature_of(types.MethodType(self.func, self.args[0]))

    @property
    def refresh(self) -> Callable[..., Any]:
        """Compute now, store, and return the value."""
        return functools.partial(self.func.refresh, self.args[0])  # type: ignore[attr-defined]

    @property
    def arefresh(self) -> Callable[..., Any]:
        """Awaitable :attr:`refresh` of a sync method."""
        return functools.partial(self.func.arefresh, self.args[0])  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.func, name, value)  # this object lives for one call only

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundCached):
            return NotImplemented
        return self.func is other.func and self.args[0] is other.args[0]

    def __hash__(self) -> int:
        return hash((id(self.func), id(self.args[0])))

    def __repr__(self) -> str:
        return f"<bound cached {self.func.__qualname__} of {self.args[0]!r}>"


class CachedMethod:
    """A cached function in the body of a class.

    Through an instance it is bound, through the class it is the function. Bare (as ``classmethod``
    and other decorators above it see it) it looks like the function, down to its code flags.
    """

    def __init__(self, function: Any) -> None:
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        if sys.version_info >= (3, 13) and "cls" in signature_of(function).parameters:
            _look_again(function.__qualname__.rpartition(".")[0])

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self.__wrapped__
        return BoundCached(self.__wrapped__, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # while it is being copied or unpickled
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __repr__(self) -> str:
        return f"<cached {self.__qualname__}>"


class CachedClassMethod(classmethod):  # type: ignore[type-arg]
    """A ``classmethod`` under a caching decorator."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return BoundCached(self.__func__, type(instance) if owner is None else owner)


class _LookAgain:
    """Stands in the body of a class until the class is there, and rebinds its classmethods.

    Since Python 3.13 a ``classmethod`` above our decorator binds without asking us, so that its
    ``refresh`` would not know the class.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        for key, value in list(vars(owner).items()):
            if isinstance(value, classmethod) and isinstance(value.__func__, CachedMethod):
                setattr(owner, key, CachedClassMethod(value.__func__.__wrapped__))
        delattr(owner, name)


def _look_again(qualname: str) -> None:
    """Find the body of the class that is being written, and leave a :class:`_LookAgain` there."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if frame.f_locals.get("__qualname__") == qualname:
            frame.f_locals.setdefault("__flask_caching_async__", _LookAgain())
            return
        frame = frame.f_back


def owner_of(function: Any) -> Any:
    """The instance or class that a cached function was reached through, or ``None``."""
    owner = getattr(function, "__self__", None)
    return None if inspect.ismodule(owner) else owner
