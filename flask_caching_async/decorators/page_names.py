"""The key of a page that is named by hand: by its path, its URL, or the arguments of its view."""

from __future__ import annotations

from .._flow.callbacks import CallCallback, call_callback_now
from .._frameworks.base import Place
from .._runtime.colour import run_now
from ..exceptions import ColourError
from ..keys import made_key, query_pairs, signature_of
from ..typing import Args, Kwargs, QueryArgs, Value
from .page_keys import PagePlan

__all__ = ["NamedPages"]


class NamedPages(PagePlan):
    """A cached view whose pages are named from outside: to be deleted, or for their keys."""

    def _parameters(self) -> tuple[bool, list[str]]:
        """Whether the function is given an instance, and its other parameters."""
        parameters = signature_of(self.function).parameters.values()
        names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        return (True, names[1:]) if names[:1] == ["self"] else (False, names)

    def named(self, args: Args) -> Kwargs:
        """Positional arguments of the view by their names; an instance has none."""
        has_self, names = self._parameters()
        if has_self and args:
            of_class = (vars(kind).values() for kind in type(args[0]).__mro__)
            args = args[1:] if any(v is self.wrapper for vs in of_class for v in vs) else args
        return dict(zip(names, args, strict=False))

    def default_key(self, *args: Value, **kwargs: Value) -> str:
        """The key of a page, in its request or outside: see :meth:`.Cache.delete_cached`.

        Positional arguments are the view's own. ``path`` and ``query_args`` say which page is
        meant; without them the path is built from the view's arguments, with ``url_for``. What a
        page varies on is not in it: deleting this key drops all variants.

        :raises ColourError: if what makes the key is async; await ``amake_cache_key()`` then.
        """
        for name in ("make_cache_key", "key_prefix"):
            if name in self.async_callbacks:
                raise ColourError(
                    f"{name} of {self.name} is async: await amake_cache_key() instead"
                )
        return run_now(self.key_for(args, kwargs, call_callback_now))

    async def key_for(self, args: Args, kwargs: Kwargs, call_callback: CallCallback) -> str:
        """See :meth:`default_key`."""
        in_request = kwargs.pop("use_request", False)
        if self.own_make_cache_key:
            return made_key(await call_callback(self.own_make_cache_key, *args, **kwargs))
        path = None if in_request else kwargs.pop("path", None)
        query_args = None if in_request else kwargs.pop("query_args", None)
        prefix = (
            await call_callback(self.key_prefix) if callable(self.key_prefix) else self.key_prefix
        )
        if in_request:
            state = self.state()
            return self.request_levels(state, prefix, state.binding.framework.request())[-1]
        kwargs.update(self.named(args))
        return self.page_levels(prefix, path, query_args, kwargs)[-1]

    def page_levels(
        self, prefix: Value, path: str | None, query_args: QueryArgs | None, view_args: Kwargs
    ) -> list[str]:
        """The levels of a page's key, base first; see :meth:`default_key`."""
        binding = self.state().binding
        framework = binding.framework
        pairs = None
        if self.query_string and query_args is None:
            pairs = self.counting(self._need(framework.request()).args.items(multi=True))
        elif self.query_string:
            pairs = self.counting(query_pairs(query_args or ()))
        if path is None and not self.own_key:
            if self.query_string and not view_args and (request := framework.request()) is not None:
                path = request.path
            else:
                path = self.places(None, view_args)[0].path
        elif path is not None and not self.own_key:
            path = next(iter(framework.places_at(self.wrapper, path)), Place(path)).path
        return self.levels(binding.settings, prefix, path or "", pairs)

    def keys_of_pages(
        self, prefix: Value, path: str | None, query_args: QueryArgs | None, view_args: Kwargs
    ) -> list[str]:
        """The keys by which all pages are deleted that a path, or the view's arguments, lead to."""
        binding = self.state().binding
        framework, settings, view = binding.framework, binding.settings, self.wrapper
        request, places = framework.request(), [Place("")]
        if query_args is not None and path is None and not self.own_key:
            if "query_args" in framework.arguments_of(view):
                view_args, query_args = {**view_args, "query_args": query_args}, None
            elif self.query_string and not view_args and request is not None:
                here = framework.places_at(view, request.path)
                path = request.path if here else None  # of the page that is asked for now
        if not self.own_key:
            places = self.places(path, view_args)
        keys = []
        for place in places:
            query = query_args
            if query is None and self.query_string and not self.own_key:
                query = place.query or None
            pairs = self.counting(query_pairs(query or ())) if self.query_string else None
            levels = self.levels(settings, prefix, place.path, pairs)
            keys.append(levels[0] if self.query_string and query is None else levels[-1])
        return keys

    def by_name(self, args: Args, kwargs: Kwargs) -> Kwargs:
        """The arguments of a view by their names.

        :raises ValueError: if it has not so many.
        """
        named = self.named(args)
        if len(named) < len(args) or named.keys() & kwargs.keys():
            raise ValueError(f"{self.name} has no such arguments: {args!r}, {kwargs!r}")
        return {**named, **kwargs}

    def places(self, path: str | None, view_args: Kwargs) -> list[Place]:
        """The pages that a path, or else the view's arguments, lead to.

        An argument of the view may be called ``path``, or be given by its position: what leads to
        no page of the view as a path is taken for that argument.

        :raises ValueError: if there are none.
        """
        framework, view, found = self.state().binding.framework, self.wrapper, []
        if path is not None:
            found = framework.places_at(view, path)
            if found:
                return found
            names = framework.arguments_of(view)
            name = "path" if "path" in names else next(iter(self._parameters()[1]), "")
            if name in names and (name == "path" or not path.startswith("/")):
                found = framework.places_of(view, {**view_args, name: path})
            found = found or framework.places_at(view, path, of_others=True)
        else:
            found = framework.places_of(view, view_args)
        if not found:
            what = f"the arguments {view_args!r}" if path is None else f"the path {path!r}"
            raise ValueError(f"no rule of the app leads to {self.name} with {what}")
        return found
