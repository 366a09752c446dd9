"""Types that users and other modules share; no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, overload

__all__ = [
    "AnyCached",
    "AnyMemoized",
    "Args",
    "BoundCachedFunction",
    "BoundMemoizedFunction",
    "CachedFunction",
    "Callback",
    "Config",
    "Coro",
    "Kwargs",
    "MemoizedFunction",
    "QueryArgs",
    "Tags",
    "Timeout",
    "TimeoutArgument",
    "Value",
    "Vary",
]

#: A value of a user's: what a function returns, and what is set and got.
Value: TypeAlias = Any
#: The positional and the named arguments of a call of a user's function.
Args: TypeAlias = tuple[Any, ...]
Kwargs: TypeAlias = dict[str, Any]
#: A function of a user's that this package calls.
Callback: TypeAlias = Callable[..., Any]
#: ``CACHE_*`` settings, or options of a backend.
Config: TypeAlias = dict[str, Any]

#: Seconds, or a ``timedelta``.
Timeout: TypeAlias = float | timedelta
#: What ``timeout=`` of a decorator takes: a timeout, or a callable on the value that gives one.
TimeoutArgument: TypeAlias = Timeout | Callable[..., Any] | None
#: What ``tags=`` takes: one name, several, or a callable on the call's arguments.
Tags: TypeAlias = str | Iterable[str] | Callable[..., Any]
#: What ``vary_on=`` takes: header names, ``"cookie:NAME"``, callables without arguments.
Vary: TypeAlias = str | Callable[[], Any] | Iterable[str | Callable[[], Any]]
#: A query string: as text, a mapping or ``(key, value)`` pairs.
QueryArgs: TypeAlias = str | Mapping[str, Any] | Iterable[tuple[str, Any]]

T = TypeVar("T")
#: What calling an ``async def`` gives.
Coro: TypeAlias = Coroutine[Any, Any, T]

P = ParamSpec("P")
Rest = ParamSpec("Rest")
R = TypeVar("R")
Self_ = TypeVar("Self_")
R_co = TypeVar("R_co", covariant=True)
Self_contra = TypeVar("Self_contra", contravariant=True)


class BoundCachedFunction(Protocol[Self_contra, P, R_co]):
    """A :meth:`.Cache.cached` method on an instance."""

    cache_timeout: Any
    make_cache_key: Callable[..., str]
    amake_cache_key: Callable[..., Any]
    #: Awaitable ``refresh``, of sync functions, too.
    arefresh: Callable[..., Any]
    #: Drops its pages, as :meth:`.Cache.delete_cached` does.
    delete_cached: Callable[..., Any]
    adelete_cached: Callable[..., Any]

    @property
    def uncached(self) -> Callable[Concatenate[Self_contra, P], R_co]:
        """The undecorated function."""
        ...

    def refresh(self, *args: Any, **kwargs: Any) -> R_co:
        """Compute now, store, and return; outside a request, ``path=…`` says which page."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class CachedFunction(Protocol[P, R]):
    """What :meth:`.Cache.cached` makes of a function; ``async def`` stays ``async def``."""

    #: The undecorated function.
    uncached: Callable[P, R]
    #: Seconds, a ``timedelta``, a callable on the value, or ``None`` for the app's default.
    #: Writable.
    cache_timeout: Any
    #: Makes the key of a page; writable.
    make_cache_key: Callable[..., str]
    amake_cache_key: Callable[..., Any]
    #: Awaitable ``refresh``, of sync functions, too.
    arefresh: Callable[..., Any]
    #: Drops its pages, as :meth:`.Cache.delete_cached` does.
    delete_cached: Callable[..., Any]
    adelete_cached: Callable[..., Any]

    def refresh(self, *args: Any, **kwargs: Any) -> R:
        """Compute now, store, and return; outside a request, ``path=…`` says which page."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> CachedFunction[P, R]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[Self_, Rest], R],
        instance: Self_,
        owner: type | None = None,
        /,
    ) -> BoundCachedFunction[Self_, Rest, R]: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any: ...


class BoundMemoizedFunction(Protocol[Self_contra, P, R_co]):
    """A :meth:`.Cache.memoize` method on an instance."""

    cache_timeout: Any
    make_cache_key: Callable[..., str]
    amake_cache_key: Callable[..., Any]
    #: Awaitable ``refresh``, of sync functions, too.
    arefresh: Callable[..., Any]
    delete_memoized: Callable[[], Any]
    adelete_memoized: Callable[[], Any]

    @property
    def uncached(self) -> Callable[Concatenate[Self_contra, P], R_co]:
        """The undecorated function."""
        ...

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute now, store, and return the value."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class MemoizedFunction(Protocol[P, R]):
    """What :meth:`.Cache.memoize` makes of a function; ``async def`` stays ``async def``."""

    #: The undecorated function.
    uncached: Callable[P, R]
    #: Seconds, a ``timedelta``, a callable on the value, or ``None`` for the app's default.
    #: Writable.
    cache_timeout: Any
    #: Makes the key of a call; takes the function first, as in Flask-Caching.
    make_cache_key: Callable[..., str]
    amake_cache_key: Callable[..., Any]
    #: Awaitable ``refresh``, of sync functions, too.
    arefresh: Callable[..., Any]
    #: Drops every call, also when it is reached through an instance.
    delete_memoized: Callable[[], Any]
    adelete_memoized: Callable[[], Any]

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute now, store, and return the value."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> MemoizedFunction[P, R]: ...
    @overload
    def __get__(
        self: MemoizedFunction[Concatenate[Self_, Rest], R],
        instance: Self_,
        owner: type | None = None,
        /,
    ) -> BoundMemoizedFunction[Self_, Rest, R]: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any: ...


#: A memoized function however it was reached: plain, on the class, or on an instance.
AnyMemoized: TypeAlias = MemoizedFunction[..., Any] | BoundMemoizedFunction[Any, ..., Any]
#: A cached function however it was reached.
AnyCached: TypeAlias = CachedFunction[..., Any] | BoundCachedFunction[Any, ..., Any]
