"""The cache object: what users hold, decorate with, and delete from."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar, Unpack, cast

from ._flow.callbacks import acall_callback, call_callback_now
from ._frameworks import App, current_app
from ._frameworks.standalone import Program
from ._runtime.colour import run_now
from .binding import EXTENSION, Adjustable, Binding, bind
from .cache_names import check_name, name_for
from .config import check_layer
from .decorators.cached import ViewPlan
from .decorators.debug_checks import watch_order
from .decorators.deletion import calls_to_delete, pages_to_delete
from .decorators.memoize import CallPlan
from .decorators.options import DecoratorOptions, Options, shows_options
from .decorators.refresh_every import Renewal, Renewals
from .decorators.wrappers import check_parentheses, decorate
from .exceptions import ConfigurationError, not_initialized
from .identity import function_name
from .insight.insights import Insights
from .lifecycle import Serving
from .operations import Operations
from .pages.http import Http, HttpOptions
from .pages.purging import Listeners
from .typing import (
    AnyCached,
    AnyMemoized,
    CachedFunction,
    Callback,
    Config,
    MemoizedFunction,
    QueryArgs,
    Timeout,
    TimeoutArgument,
    Value,
    Vary,
)

__all__ = ["Cache"]

P = ParamSpec("P")
R = TypeVar("R")


class Cache(Operations, Insights, Renewals, Adjustable):
    """Caches views, functions and values for one or several apps.

    :param app: set up for this app at once; or call :meth:`init_app` later.
    :param with_jinja2_ext: whether templates get the ``{% cache %}`` tag.
    :param config: ``CACHE_*`` settings that win over those of the app.
    :param name: what tells it apart from other caches of an app, on the command line, in
        statistics and metrics; ``"cache"`` for the first of them, ``"cache-2"`` for the next.
    """

    def __init__(
        self,
        app: App | None = None,
        with_jinja2_ext: bool = True,
        config: Config | None = None,
        *,
        name: str | None = None,
    ) -> None:
        check_layer(config)
        check_name(name)
        given: Value = with_jinja2_ext
        if isinstance(given, Mapping):
            raise ConfigurationError(
                "the second argument of Cache says whether templates get {% cache %}; a "
                "configuration is given as Cache(app, config={...})"
            )
        self.with_jinja2_ext = with_jinja2_ext
        self.config = config
        self._name = name
        #: The app that was set up last; used where no app context says otherwise.
        self.app: App | None = None
        self._last: Binding | None = None
        self._apps: weakref.WeakSet[App] = weakref.WeakSet()
        self._views: weakref.WeakSet[ViewPlan] = weakref.WeakSet()
        self._warned: set[str] = set()
        self._first_of_name: dict[str, str] = {}
        self._views_by_name: dict[str, list[str]] = {}
        self._listeners = Listeners()
        self._renewals: list[Renewal] = []
        self._has_pages = True
        if app is not None:
            self.init_app(app, config)

    @classmethod
    def standalone(cls, config: Config) -> Cache:
        """A cache for a program without an app of Flask or Quart: ``memoize`` and the operations.

        ::

            cache = Cache.standalone({"CACHE_TYPE": "RedisCache"})

            async def main():
                async with cache:  # this loop gets connections of its own
                    ...

        :raises ConfigurationError: if a setting is wrong.
        """
        cache = cls(config=config, with_jinja2_ext=False)
        cache._has_pages = False
        cache.init_app(Program())
        return cache

    def init_app(self, app: App, config: Config | None = None) -> None:
        """Set this cache up for an app; it may serve several, each with settings of its own.

        :param config: wins over the constructor's, which wins over the app's.
        :raises ConfigurationError: if a setting is wrong; the message says what to write.
        """
        check_layer(config)
        layers = (app.config, self.config, config)
        name = name_for(self, self._name, app.extensions.get(EXTENSION, {}))
        binding = bind(app, name, *layers)
        binding.framework.install()
        if self.with_jinja2_ext:
            binding.framework.add_template_tag(self)
        app.extensions.setdefault("cache", {})[self] = binding.backend
        self._adopt(app, binding)
        serving = Serving(self, binding)
        binding.framework.while_serving(serving.begin, serving.end)
        binding.framework.when_served(binding.begin_sharing)
        for renewal in self._renewals:
            self._attach(renewal, binding)
        watch_order(binding, self._views)

    def _adopt(self, app: App, binding: Binding) -> None:
        app.extensions.setdefault(EXTENSION, {})[self] = binding
        self._apps.add(app)
        self.app, self._last = app, binding
        self._only = binding if len(self._apps) == 1 else None

    def _serving(self) -> Serving:
        return Serving(self, self._binding())

    def _bound(self) -> list[Binding]:
        return [app.extensions[EXTENSION][self] for app in self._apps]

    def _binding(self) -> Binding:
        """The binding of the current app, or of the last one outside any app context."""
        if self._only is not None:
            return self._only
        if self._last is None:
            raise not_initialized()
        app = current_app()
        if app is None:
            return self._last
        binding: Binding | None = app.extensions.get(EXTENSION, {}).get(self)
        if binding is None:
            raise not_initialized(app)
        return binding

    @property
    def cache(self) -> Value:
        """The backend of the current app."""
        return self._binding().backend

    @property
    def name(self) -> str:
        """What tells this cache apart from others of the current app."""
        if self._last is None:
            return self._name or "cache"
        return self._binding().name

    # --- decorators -------------------------------------------------------------------------------

    @shows_options
    def cached(
        self,
        timeout: TimeoutArgument = None,
        key_prefix: str | Callable[[], Value] = "view/%s",
        unless: Callback | None = None,
        forced_update: Callback | None = None,
        is_stale: Callback | None = None,
        response_filter: Callback | None = None,
        query_string: bool | Iterable[str] = False,
        hash_method: Callback | None = None,
        cache_none: bool = False,
        make_cache_key: Callback | None = None,
        source_check: bool | None = None,
        response_hit_indication: bool | None = False,
        *,
        vary_on: Vary = (),
        personal: bool = False,
        http: Http | None = None,
        client_timeout: Timeout = 0,
        shared_timeout: Timeout | None = None,
        **options: Unpack[DecoratorOptions],
    ) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
        """Cache a view under its path, or any function under a key of your own.

        Put it below ``@app.route``. Callbacks may be async on an ``async def`` function.

        :param timeout: seconds or a ``timedelta`` for which a value is fresh, or a callable that is
            given the value; ``None`` is the app's default, 0 never expires.
        :param key_prefix: the key, ``%s`` standing for the path of the request, or a callable that
            returns the key.
        :param unless: if it returns something true, the cache is bypassed. Called without
            arguments, or with the function and the call's arguments if it takes any.
        :param forced_update: if it returns something true, the value is computed again and stored.
            Called without arguments, or with the call's.
        :param is_stale: given a stored value (and the call's arguments if it takes more than one),
            says whether it must be computed again.
        :param response_filter: given a computed value; it is stored if this returns something true.
        :param query_string: whether the query string is part of the key, in any order; or the names
            in it that count.
        :param hash_method: instead of ``CACHE_HASH_METHOD``.
        :param cache_none: whether ``None`` is a value worth storing.
        :param make_cache_key: given the call's arguments, returns the complete key.
        :param source_check: whether the function's source is part of the key.
        :param response_hit_indication: whether a hit sends the header ``hit_cache: True``.
        :param vary_on: what else is part of the key: header names, ``"cookie:NAME"``, callables.
        :param personal: whether all visitors may have a page that was made from the session, a
            header ``Authorization`` or the like of one of them.
        :param http: whether its pages have an ``ETag``, are answered 304, and say what browsers may
            do with them; ``"strict"`` also obeys what requests demand. ``None`` is ``CACHE_HTTP``.
        :param client_timeout: seconds or a ``timedelta`` for which browsers may show a page without
            asking again; with 0 they ask each time, so that an invalidation reaches them.
        :param shared_timeout: the same for shared caches (a CDN), where that is another time.
        """
        check_parentheses(timeout, "cached")
        checked = Options.read(
            timeout=timeout, unless=unless, forced_update=forced_update, is_stale=is_stale,
            response_filter=response_filter, hash_method=hash_method, cache_none=cache_none,
            source_check=source_check, **options,
        )  # fmt: skip

        told = HttpOptions.read(http, client_timeout, shared_timeout)

        def make_plan(function: Callback) -> ViewPlan:
            more = (make_cache_key, response_hit_indication, vary_on, personal, told)
            plan = ViewPlan(self, function, checked, key_prefix, query_string, *more)
            self._check_has_path(plan)
            self._views.add(plan)
            watch_order(self._last, self._views)
            return plan

        def decorator(function: Callable[P, R]) -> CachedFunction[P, R]:
            return cast("CachedFunction[P, R]", decorate(function, make_plan))

        return decorator

    def _check_has_path(self, plan: ViewPlan) -> None:
        if not (self._has_pages or plan.own_key):
            raise ConfigurationError(
                f"{plan.name} has no path, since this cache has no app: give cached a key, as "
                f"cached(key_prefix={function_name(plan.function)!r}), or use memoize()"
            )

    @shows_options
    def memoize(
        self,
        timeout: TimeoutArgument = None,
        make_name: Callback | None = None,
        unless: Callback | None = None,
        forced_update: Callback | None = None,
        is_stale: Callback | None = None,
        response_filter: Callback | None = None,
        hash_method: Callback | None = None,
        cache_none: bool = False,
        source_check: bool | None = None,
        args_to_ignore: list[str] | str | None = None,
        **options: Unpack[DecoratorOptions],
    ) -> Callable[[Callable[P, R]], MemoizedFunction[P, R]]:
        """Cache the result of a function for each combination of arguments.

        The arguments are as in :meth:`cached`, and:

        :param make_name: given the function's name, returns another one for the key.
        :param args_to_ignore: the name or names of arguments that are not part of the key.
        """
        check_parentheses(timeout, "memoize")
        checked = Options.read(
            timeout=timeout, unless=unless, forced_update=forced_update, is_stale=is_stale,
            response_filter=response_filter, hash_method=hash_method, cache_none=cache_none,
            source_check=source_check, **options,
        )  # fmt: skip

        def make_plan(function: Callback) -> CallPlan:
            ignored = [args_to_ignore] if isinstance(args_to_ignore, str) else args_to_ignore
            return CallPlan(self, function, checked, make_name, ignored)

        def decorator(function: Callable[P, R]) -> MemoizedFunction[P, R]:
            return cast("MemoizedFunction[P, R]", decorate(function, make_plan))

        return decorator

    # --- deleting what decorators stored ----------------------------------------------------------

    def delete_memoized(self, f: AnyMemoized, *args: Value, **kwargs: Value) -> bool:
        """Drop what a memoized function has stored.

        ``delete_memoized(f)`` drops all calls, ``delete_memoized(f, 1, b=2)`` one;
        ``delete_memoized(obj.method)`` those on one instance, ``delete_memoized(Cls.method)`` those
        on all, ``delete_memoized(Cls.method, obj, 1)`` one. A classmethod is given its class first.

        :returns: whether it was done.
        :raises ValueError: if it could not match any call.
        """
        invalidation = run_now(calls_to_delete(self, f, args, kwargs, call_callback_now))
        return self._invalidate("delete_memoized", invalidation) is not None

    async def adelete_memoized(self, f: AnyMemoized, *args: Value, **kwargs: Value) -> bool:
        """Awaitable :meth:`delete_memoized`."""
        return (
            await self._ainvalidate(await calls_to_delete(self, f, args, kwargs, acall_callback))
            is not None
        )

    def delete_memoized_verhash(self, f: AnyMemoized, *args: Value) -> bool:
        """Drop all calls of a memoized function (or of its instance): :meth:`delete_memoized`."""
        invalidation = run_now(calls_to_delete(self, f, (), {}, call_callback_now))
        return self._invalidate("delete_memoized_verhash", invalidation) is not None

    async def adelete_memoized_verhash(self, f: AnyMemoized, *args: Value) -> bool:
        """Awaitable :meth:`delete_memoized_verhash`."""
        return (
            await self._ainvalidate(await calls_to_delete(self, f, (), {}, acall_callback))
            is not None
        )

    def delete_cached(
        self,
        f: AnyCached = None,  # type: ignore[assignment]  # or by its name
        /,
        path: Value = None,
        query_args: QueryArgs | None = None,
        *args: Value,
        **kwargs: Value,
    ) -> bool:
        """Drop what a cached view has stored.

        :param path: only this path or URL, with all its variants; ``None`` for every page of the
            view.
        :param query_args: only this query string (text, mapping or pairs).
        :param args: the view's arguments, by their position if the first is no text.
        :param kwargs: the view's arguments: all pages that they lead to, over all its rules.
        :returns: whether it was done.
        :raises ValueError: if it could not match any page.
        """
        invalidation = run_now(
            pages_to_delete(self, f, path, query_args, args, kwargs, call_callback_now)
        )
        return self._invalidate("delete_cached", invalidation) is not None

    async def adelete_cached(
        self,
        f: AnyCached = None,  # type: ignore[assignment]
        /,
        path: Value = None,
        query_args: QueryArgs | None = None,
        *args: Value,
        **kwargs: Value,
    ) -> bool:
        """Awaitable :meth:`delete_cached`."""
        return (
            await self._ainvalidate(
                await pages_to_delete(self, f, path, query_args, args, kwargs, acall_callback)
            )
            is not None
        )
