"""The key of a page, in its request and outside.

It grows in levels, and each level can be deleted with all that is above it::

    view//works                                  the path: the base of all its variants
    view//works<hash of the query string>        with query_string=True
    view//works<...>@example.org|<hash>          with many hosts, below a root, or with vary_on

A path that ends like one of these has a variant of its own in the place of its base, so that no two
pages share a key: it can still be deleted by its base.
"""

from __future__ import annotations

import abc
import functools
import hashlib
from collections.abc import Callable, Sequence
from urllib.parse import quote

from werkzeug.sansio.request import Request

from .._entries.entry import BY_HAND, tag_of
from ..config import Settings
from ..exceptions import ConfigurationError, NotInitializedError
from ..identity import Notes, NoText, canonical, identify, no_text
from ..keys import (
    SHORTEST,
    around_path,
    below_root,
    digest,
    looks_varied,
    made_key,
    query_key,
)
from ..typing import Args, Callback, Kwargs, Value, Vary
from .head import answers_head, computed_as_get, looks_at_method
from .options import Options
from .plan import KeyAndTags, OwningCache, Plan, State

__all__ = ["PagePlan"]


class PagePlan(Plan):
    """A function whose key is made of the request, or is its user's own."""

    kind = "v"

    def __init__(
        self,
        cache: OwningCache,
        function: Callback,
        options: Options,
        key_prefix: str | Callable[[], Value],
        query_string: bool,
        make_cache_key: Callback | None,
        vary_on: Vary,
    ) -> None:
        if make_cache_key is not None and not callable(make_cache_key):
            raise TypeError(f"make_cache_key must be callable, not {make_cache_key!r}")
        self.key_prefix = key_prefix
        self.query_string = query_string
        self.own_make_cache_key = make_cache_key
        self.vary_on = _checked(vary_on)
        #: Whether the key is the user's own word, so that any method may be cached with it.
        self.own_key = bool(
            make_cache_key
            or callable(key_prefix)
            or (isinstance(key_prefix, str) and "%s" not in key_prefix)
        )
        self.shares = self.own_key
        #: What stands around the path in its keys.
        self.around = [] if self.own_key else around_path(str(key_prefix))
        if make_cache_key or callable(key_prefix) or query_string or self.vary_on:
            self.fast = False
        super().__init__(cache, function, options)
        self.distinction = "" if self.shares else _distinction(cache, self.name, function)
        self.author = self.tag + self.distinction
        #: What drops all pages of views that have this name: in another process, another one of
        #: them may have come first. Those of the first have one tag, those of the others two.
        self.tags_of_all = [self.tag, f"{self.tag}~"]
        self.default_make_cache_key = self.default_key

    def callbacks(self) -> dict[str, Callback]:
        """Everything that is called, by the name of its argument."""
        found = super().callbacks()
        if self.own_make_cache_key:
            found["make_cache_key"] = self.own_make_cache_key
        if callable(self.key_prefix):
            found["key_prefix"] = self.key_prefix
        found.update(
            {f"vary_on[{n}]": vary for n, vary in enumerate(self.vary_on) if callable(vary)}
        )
        return found

    def replaced_key(self) -> Callback | None:
        """The function that a user put in the place of ``make_cache_key``, if any."""
        current = self.wrapper.make_cache_key
        return None if current is self.default_make_cache_key else current

    def quick_key(self, state: State, args: Args, kwargs: Kwargs) -> str | None:
        """The key of a view for which no callback is called; ``None`` for the careful way."""
        if self.wrapper.make_cache_key is not self.default_make_cache_key:
            return None
        framework = state.binding.framework
        if self.own_key:
            source = self.source(state.binding.settings)
            return None if source or callable(self.options.tags) else str(self.key_prefix)
        request = framework.request()
        if request is None or request.method != "GET" or framework.many_hosts:
            return None
        if self.options.source_check or state.binding.settings.source_check:
            return None
        key = request.path.join(self.around)
        if len(key) >= SHORTEST and self._looks_varied(state.binding.settings, key):
            return None
        return key + below_root(request.root_path) if request.root_path else key

    def key_callbacks(self, state: State, args: Args, kwargs: Kwargs) -> list[Callable[[], Value]]:
        """The key or its prefix, what it varies on, and the tags."""
        called: list[Callable[[], Value]] = []
        replaced = self.replaced_key()
        if self.own_make_cache_key:
            called.append(functools.partial(self.own_make_cache_key, *args, **kwargs))
        elif replaced:
            called.append(functools.partial(replaced, *args, **{"use_request": True, **kwargs}))
        elif callable(self.key_prefix):
            called.append(self.key_prefix)
        called += [vary for vary in self.vary_on if callable(vary)]
        return [*called, *super().key_callbacks(state, args, kwargs)]

    def make_key(
        self, state: State, args: Args, kwargs: Kwargs, answers: Sequence[Value]
    ) -> KeyAndTags | None:
        """The key and the tags of this request's page; ``None`` if it is not to be cached."""
        given, request = list(answers), state.binding.framework.request()
        tags = self.user_tags(given)
        try:
            if self.own_make_cache_key or self.replaced_key():
                levels = [self.keyed("make_cache_key", given.pop(0))]
            else:
                prefix = self.key_prefix
                if callable(prefix):
                    prefix = self.keyed("key_prefix", given.pop(0))
                if not self.own_key and request and not self._is_page(state, request):
                    return None
                levels = self.request_levels(state, prefix)
            if self.vary_on:
                levels.append(f"{levels[-1]}|{self._variant(request, given)}")
        except NoText:
            return None
        below = [tag_of("b", level) for level in dict.fromkeys(levels[:-1]) if level != levels[-1]]
        own = (self.author, self.tags_of_all[1]) if self.distinction else (self.tag,)
        if state.binding.timekeeper.shared:  # two apps may have views of one name
            own = (*own, tag_of("a", state.binding.app_name))
        if self.shares:
            own = (BY_HAND, self.tag)
        return levels[-1], (*own, *below, *tags)

    def _is_page(self, state: State, request: Request) -> bool:
        """Whether a request asks for the page that a GET gives."""
        if request.method == "HEAD":
            view = state.binding.framework.view_of(request)
            return not (self.looks_at_method or answers_head(view, self.wrapper))
        return request.method == "GET"

    def computing(self, state: State) -> Callback:
        """The function; where a GET is to have the answer to this HEAD, as it answers a GET."""
        framework = state.binding.framework
        request = None if self.own_key else framework.request()
        if request is None or request.method != "HEAD":
            return self.function
        return computed_as_get(framework, self.function, self.is_async)

    @functools.cached_property
    def looks_at_method(self) -> bool:
        """Whether the function is seen to answer each method in its own way."""
        return looks_at_method(self.function)

    def request_levels(self, state: State, prefix: Value) -> list[str]:
        """The levels of the current request's key, but for what it varies on."""
        framework, settings = state.binding.framework, state.binding.settings
        request, pairs = framework.request(), None
        if self.query_string:
            pairs = list(self._need(request).args.items(multi=True))
        if self.own_key:
            return self.levels(settings, prefix, "", pairs)
        request = self._need(request)
        levels = self.levels(settings, prefix, request.path, pairs)
        if (usual := framework.usual_path(request)) is not None:
            levels.insert(0, usual.join(self.around))  # what is deleted by the view's arguments
        if framework.many_hosts:
            # A client may say anything there; what is behind the last @ must be the host.
            levels.append(f"{levels[-1]}@{quote(request.host, safe=':[]')}")
        if request.root_path:
            levels.append(levels[-1] + below_root(request.root_path))
        return levels

    def levels(
        self, settings: Settings, prefix: Value, path: str, pairs: list[tuple[str, str]] | None
    ) -> list[str]:
        """The base key of a path, and the key that its query string and source make of it."""
        base = made_key(prefix) if self.own_key else path.join(self.around)
        source, hash_method = self.source(settings), self.hash_method(settings)
        if pairs is not None:
            return [base, query_key(base, pairs, hash_method, source)]
        if source:
            return [base, base + str(hash_method(source).hexdigest())]
        if not self.own_key and self._looks_varied(settings, base):
            return [base, f"{base}|{digest(hashlib.sha256, base.encode(errors='surrogatepass'))}"]
        return [base]

    def _looks_varied(self, settings: Settings, base: str) -> bool:
        return looks_varied(base, settings.hash_method, self.hash_method(settings))

    def _need(self, request: Request | None) -> Request:
        if request is None:
            raise NotInitializedError(
                f"the key of {self.name} is made of the current request, and there is none; call "
                "it in a request, or give it a key_prefix of its own, or use memoize()"
            )
        return request

    def _variant(self, request: Request | None, given: list[Value]) -> str:
        """A hash of what the page varies on.

        :raises NoText: if one of that has no text.
        """
        parts: list[Value] = []
        for vary in self.vary_on:
            if callable(vary):
                parts.append(self._varied(given.pop(0)))
            elif vary.startswith("cookie:"):
                parts.append(self._need(request).cookies.get(vary.removeprefix("cookie:")))
            else:
                parts.append(self._need(request).headers.get(vary))
        try:
            text = canonical(parts, Notes(no_text))
        except NoText as kind:
            self.warn_of("vary_on", str(kind))
            raise
        return digest(hashlib.sha256, text.encode(errors="surrogatepass"))

    def _varied(self, value: Value) -> Value:
        """What a callable of ``vary_on`` returned; a text must not be a memory address."""
        if isinstance(value, str):
            self.keyed("vary_on", value)
        return value

    @abc.abstractmethod
    def default_key(self, *args: Value, **kwargs: Value) -> str:
        """The key of a page, in its request or outside."""


def _distinction(cache: OwningCache, name: str, function: Callback) -> str:
    """What tells a view apart from those of its name that were decorated before it: its number.

    No text of what it closes over, which may be another one in each process: they share pages.
    """
    identity = identify(function)
    others = cache._views_by_name.setdefault(name, [])
    own = identity.stable + identity.own
    if own not in others:
        others.append(own)
    number = others.index(own)
    return f"~{number}" if number else ""


def _checked(vary_on: Vary) -> tuple[str | Callable[[], Value], ...]:
    """What a page varies on, as a tuple."""
    several = (vary_on,) if isinstance(vary_on, str) or callable(vary_on) else tuple(vary_on)
    for vary in several:
        if not (callable(vary) or isinstance(vary, str)):
            raise ConfigurationError(
                f"vary_on takes header names, 'cookie:NAME' and callables, not {vary!r}"
            )
    return several
