"""Which app, and which of its caches, a command is about."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import cachelib
import click

from ..._frameworks import App, current_app
from ...backends.simplecache import SimpleCache
from ...binding import EXTENSION, Binding
from ...decorators.cached import ViewPlan
from ...decorators.plan import Plan
from ...stats import StatsByUse
from ...typing import Config, Value
from ..explanation import Explanation
from ..health import Health
from .output import fail, note

__all__ = ["OperatedCache", "Target", "check_owner", "loaded_app", "names_of", "target_of"]

#: Where the contexts of one command line keep the app, or why there is none.
LOADED = f"{__package__}.loaded"


class OperatedCache(Protocol):
    """What commands need of a :class:`.Cache`."""

    config: Config | None
    _views: Iterable[ViewPlan]

    async def aget(self, key: str, default: Value = None) -> Value: ...
    async def ahas(self, key: str) -> bool: ...
    async def adelete(self, key: str) -> bool: ...
    async def adelete_tags(self, *tags: str) -> bool: ...
    async def aclear(self) -> bool: ...
    async def adelete_memoized(self, f: Value, *args: Value, **kwargs: Value) -> bool: ...
    async def adelete_cached(self, f: Value, /, path: Value = None, **kwargs: Value) -> bool: ...
    async def ashared_stats(self) -> StatsByUse: ...
    async def areset_stats(self) -> bool: ...
    async def aping(self) -> Health: ...
    async def aexplain(
        self,
        what: Value,
        /,
        *args: Value,
        headers: Mapping[str, str] | None = None,
        **kwargs: Value,
    ) -> Explanation: ...


@dataclass(frozen=True, slots=True)
class Target:
    """One cache of one app.

    :param name: that of the cache on this app.
    """

    app: Value
    cache: OperatedCache
    name: str

    @property
    def binding(self) -> Binding:
        """The cache on this app."""
        found: Binding = self.app.extensions[EXTENSION][self.cache]
        return found

    @property
    def kind(self) -> str:
        """The class of the backend."""
        return type(self.binding.backend).__name__

    @property
    def serializer(self) -> object:
        """What turns values into bytes; ``None`` if nothing does."""
        return getattr(self.binding.backend, "serializer", None)

    @property
    def in_memory(self) -> bool:
        """Whether each process has values of its own."""
        return isinstance(self.binding.backend, (SimpleCache, cachelib.SimpleCache))

    @property
    def described(self) -> str:
        """The backend and its place."""
        where = self.binding.timekeeper.where
        return f"{self.kind} at {where}" if where else self.kind

    def say_whose_memory(self) -> None:
        """Say so if what a server keeps cannot be seen from here."""
        if self.binding.null:
            note("CACHE_TYPE is NullCache, so nothing is stored anywhere.")
        elif self.in_memory:
            note(
                f"{self.kind} keeps its values in the memory of each process; this is the memory "
                "of this command, and not that of a server's processes."
            )


# --- the app --------------------------------------------------------------------------------------


def loaded_app(ctx: click.Context) -> Value:
    """The app that ``--app`` names; it is made once in a command line, be it in vain.

    :raises click.UsageError: if none is named. Whatever the app raises while it is made, too.
    """
    if LOADED not in ctx.meta:
        try:
            ctx.meta[LOADED] = _load(ctx)
        except Exception as error:
            ctx.meta[LOADED] = error
    found = ctx.meta[LOADED]
    if isinstance(found, Exception):
        raise found
    return found


def _load(ctx: click.Context) -> Value:
    info: Value = ctx.obj
    if hasattr(info, "load_app"):  # the same in Flask and in Quart
        return info.load_app()
    app = current_app()
    if app is None:
        raise click.UsageError(
            "No app is named: these are commands of 'flask --app APP cache' and "
            "'quart --app APP cache'."
        )
    return app


# --- its caches -----------------------------------------------------------------------------------


def names_of(app: App) -> dict[str, OperatedCache]:
    """The caches of an app by their names."""
    bindings: dict[OperatedCache, Binding] = app.extensions.get(EXTENSION, {})
    return {binding.name: cache for cache, binding in bindings.items()}


def target_of(app: Value, name: str | None) -> Target:
    """The cache that a command is about.

    :param name: what ``--cache`` says.
    :raises click.ClickException: if the app has no cache.
    :raises click.UsageError: if it has several, and none is named, or if it has none of that name.
    """
    caches = names_of(app)
    if not caches:
        fail(_why_none(app))
    if name is None and len(caches) == 1:
        (name,) = caches
    if name is None:
        which = " or --cache ".join(caches)
        raise click.UsageError(f"This app has {len(caches)} caches: say which: --cache {which}.")
    if name not in caches:
        near = difflib.get_close_matches(name, caches, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise click.UsageError(
            f"This app has no cache called {name!r}, but {', '.join(map(repr, caches))}.{hint}"
        )
    return Target(app, caches[name], name)


def _why_none(app: Value) -> str:
    others = [type(cache).__module__ for cache in app.extensions.get("cache") or ()]
    if any(module.partition(".")[0] == "flask_caching" for module in others):
        return (
            f"the cache of {app!r} is one of Flask-Caching, which has no commands: import it by "
            "'from flask_caching_async import Cache'."
        )
    return (
        f"{app!r} has no cache: write cache = Cache(app), or cache.init_app(app), with 'from "
        "flask_caching_async import Cache'."
    )


def check_owner(target: Target, plan: Plan) -> None:
    """Refuse a function that another cache decorates.

    :raises click.ClickException: if so; it names that cache.
    """
    owner: object = plan.cache
    if owner is target.cache:
        return
    other = next((name for name, cache in names_of(target.app).items() if cache is owner), None)
    if other is None:
        fail(f"{plan.name} is decorated by a cache that {target.app!r} does not have.")
    fail(f"{plan.name} is decorated by the cache {other!r}: add --cache {other}.")
