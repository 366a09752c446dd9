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
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote

from werkzeug.sansio.request import Request

from .._entries.entry import BY_HAND, tag_of
from ..config import Settings
from ..exceptions import NotInitializedError
from ..identity import Notes, NoText, canonical, no_text
from ..keys import (
    SHORTEST,
    around_path,
    below_root,
    digest,
    looks_varied,
    made_key,
    query_key,
)
from ..pages.reads import by_the_cache
from ..typing import Args, Callback, Kwargs, Value, Vary
from .head import answers_head, looks_at_method
from .options import Options
from .page_inputs import MadeOfRequest, inputs_of
from .page_options import (
    checked_vary_on,
    distinction_of,
    names_of,
    other_arguments,
    parameters_of,
    said_of,
    view_args_of,
)
from .plan import KeyAndTags, OwningCache, State

__all__ = ["PagePlan"]


class PagePlan(MadeOfRequest):
    """A function whose key is made of the request, or is its user's own."""

    kind = "v"

    def __init__(
        self,
        cache: OwningCache,
        function: Callback,
        options: Options,
        key_prefix: str | Callable[[], Value],
        query_string: bool | Iterable[str],
        make_cache_key: Callback | None,
        vary_on: Vary,
    ) -> None:
        if make_cache_key is not None and not callable(make_cache_key):
            raise TypeError(f"make_cache_key must be callable, not {make_cache_key!r}")
        self.key_prefix = key_prefix
        #: The names in the query string that count, if not all do.
        self.query_names = names_of(query_string)
        self.query_string = bool(query_string)
        self.own_make_cache_key = make_cache_key
        self.vary_on = checked_vary_on(vary_on)
        #: Whether the key is the user's own word, so that any method may be cached with it.
        self.own_key = bool(
            make_cache_key
            or callable(key_prefix)
            or (isinstance(key_prefix, str) and "%s" not in key_prefix)
        )
        self.shares = self.own_key
        #: What stands around the path in its keys.
        self.around = [] if self.own_key else around_path(str(key_prefix))
        if make_cache_key or callable(key_prefix) or any(map(callable, self.vary_on)):
            self.fast = False
        super().__init__(cache, function, options)
        self.inputs = inputs_of(self.vary_on, self.query_string)
        #: How many of its arguments are not those of a URL: an instance, or a class.
        self.receivers, self.parameters = parameters_of(function)
        self.distinction = "" if self.shares else distinction_of(cache, self.name, function)
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
            careful = self.query_string or self.vary_on or callable(self.options.tags)
            if careful or self.source(state.binding.settings):
                return None
            key = str(self.key_prefix)
            return self.vary(state, key, ())[0] if key in state.learned.names else key
        request = framework.request()
        if request is None or request.method != "GET" or framework.many_hosts:
            return None
        if self.options.source_check or state.binding.settings.source_check:
            return None
        if len(args) > self.receivers or (kwargs and kwargs != view_args_of(request)):
            return None
        if request.root_path and self.query_string:
            return None
        key = request.path.join(self.around)
        if len(key) >= SHORTEST and self._looks_varied(state.binding.settings, key):
            return None
        if request.root_path:
            key += below_root(request.root_path)
        if self.query_string or self.vary_on:
            key = self._remembered(state, key, request)
        return self.vary(state, key, ())[0] if key in state.learned.names else key

    def _remembered(self, state: State, base: str, request: Request) -> str:
        """The key of a variant, found by what makes it: most are asked for again and again."""
        with by_the_cache():
            query = request.query_string if self.query_string else None
            given = repr((query, *[said_of(request, str(vary)) for vary in self.vary_on]))
            found = state.memo.get(given + base)
            if found is None:
                if len(state.memo) >= state.remembered:
                    state.memo.clear()
                found, settings = base, state.binding.settings
                if query is not None:
                    pairs = self.counting(request.args.items(multi=True))
                    found = query_key(base, pairs, self.hash_method(settings), b"")
                if self.vary_on:
                    found = f"{found}|{self._variant(request, [])}"
                state.memo[given + base] = found
            return found

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
        mine = not (self.own_key or self.replaced_key())
        if request and mine and not self._is_page(state, request):
            return None
        try:
            with by_the_cache():
                levels = self._levels(state, request, args, kwargs, given)
        except NoText:
            return None
        below = [tag_of("b", level) for level in dict.fromkeys(levels[:-1]) if level != levels[-1]]
        own = (self.author, self.tags_of_all[1]) if self.distinction else (self.tag,)
        if state.binding.timekeeper.shared:  # two apps may have views of one name
            own = (*own, tag_of("a", state.binding.app_name))
        if self.shares:
            own = (BY_HAND, self.tag)
        return levels[-1], (*own, *below, *tags)

    def _levels(
        self, state: State, request: Request | None, args: Args, kwargs: Kwargs, given: list[Value]
    ) -> list[str]:
        """All levels of the key of a call.

        :param given: what the callbacks for it have returned, which is taken.
        :raises NoText: if something in it has no text.
        """
        if self.own_make_cache_key or self.replaced_key():
            levels = [self.keyed("make_cache_key", given.pop(0))]
        else:
            prefix = self.key_prefix
            if callable(prefix):
                prefix = self.keyed("key_prefix", given.pop(0))
            levels = self.request_levels(state, prefix, request)
            if (args or kwargs) and request and not self.own_key:
                more = self._arguments(request, args, kwargs)
                levels += [f"{levels[-1]}|{more}"] if more else []
        if self.vary_on:
            levels.append(f"{levels[-1]}|{self._variant(request, given)}")
        return levels

    def _is_page(self, state: State, request: Request) -> bool:
        """Whether a request asks for the page that a GET gives."""
        if request.method == "HEAD":
            view = state.binding.framework.view_of(request)
            return not (self.looks_at_method or answers_head(view, self.wrapper))
        return request.method == "GET"

    def _arguments(self, request: Request, args: Args, kwargs: Kwargs) -> str:
        """A hash of the arguments that are not those of the URL, nothing if there are none.

        :raises NoText: if one of them has no text.
        """
        more = other_arguments(self.parameters, args[self.receivers :], kwargs, request)
        if not more:
            return ""
        try:
            text = canonical(more, Notes(no_text))
        except NoText as kind:
            self.warn_of("an argument", str(kind))
            raise
        return digest(hashlib.sha256, b"arguments", text.encode(errors="surrogatepass"))

    @functools.cached_property
    def looks_at_method(self) -> bool:
        """Whether the function is seen to answer each method in its own way."""
        return looks_at_method(self.function)

    def request_levels(self, state: State, prefix: Value, request: Request | None) -> list[str]:
        """The levels of the current request's key, but for what it varies on."""
        framework, settings, pairs = state.binding.framework, state.binding.settings, None
        if self.query_string:
            pairs = self.counting(self._need(request).args.items(multi=True))
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

    def counting(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The part of a query string that counts."""
        names = self.query_names
        return [pair for pair in pairs if names is None or pair[0] in names]

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
                parts.append(given.pop(0))
                if isinstance(parts[-1], str):  # a text must not be a memory address
                    self.keyed("vary_on", parts[-1])
            else:
                parts.append(said_of(self._need(request), vary))
        try:
            text = canonical(parts, Notes(no_text))
        except NoText as kind:
            self.warn_of("vary_on", str(kind))
            raise
        return digest(hashlib.sha256, text.encode(errors="surrogatepass"))

    @abc.abstractmethod
    def default_key(self, *args: Value, **kwargs: Value) -> str:
        """The key of a page, in its request or outside."""
