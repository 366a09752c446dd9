"""What ``cached`` does: what a page may be stored for, and what users see of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from werkzeug.exceptions import HTTPException

from .._entries.entry import BASE_TAG
from .._flow.callbacks import acall_callback
from .._flow.policy import Call, Fate, NotStored
from .._frameworks.responses import facts, fate_of, for_callbacks, is_public, why_not
from ..binding import Binding
from ..exceptions import CacheWarning, place_of
from ..pages.answers import finish
from ..pages.directives import Demand, demand_of
from ..pages.given import VIEW_ARGS
from ..pages.http import HttpOptions, PageRules
from ..pages.inputs import LEVELS
from ..pages.reads import Muted
from ..pages.rules import headers_in, judge, vary_of
from ..signals import cache_view_hit, cache_view_miss, tell
from ..typing import Args, Callback, Kwargs, QueryArgs, Value, Vary
from .found import Bypass, LookedUp, Pending
from .methods import Decorated
from .noted import noted, stored_page
from .options import Options
from .page_names import NamedPages
from .plan import OwningCache, State

__all__ = ["ViewPlan"]


class ViewPlan(NamedPages):
    """A cached view, or another function under a key of its own."""

    answers = (HTTPException,)
    use = "view"

    def __init__(
        self,
        cache: OwningCache,
        function: Callback,
        options: Options,
        key_prefix: str | Callable[[], Value],
        query_string: bool | Iterable[str],
        make_cache_key: Callback | None,
        response_hit_indication: bool | None,
        vary_on: Vary,
        personal: bool,
        http: HttpOptions,
    ) -> None:
        self.http = http
        self.indicate = bool(response_hit_indication)
        self.fast = not self.indicate
        super().__init__(
            cache, function, options, key_prefix, query_string, make_cache_key, vary_on
        )
        #: Whether what belongs to one visitor makes no difference.
        self.personal = personal

    # --- HTTP -------------------------------------------------------------------------------------

    def rules_of_pages(self, binding: Binding) -> PageRules | None:
        """What is said of its answers in HTTP on one app; ``None`` for nothing."""
        options, framework = self.options, binding.framework
        personal = bool(
            options.unless
            or self.own_make_cache_key
            or callable(self.key_prefix)
            or any(callable(vary) for vary in self.vary_on)
        )
        rules = PageRules.join(
            self.http,
            binding.settings.http,
            options.stale_while_revalidate,
            options.stale_if_error,
            personal,
        )
        if rules is not None:
            framework.at_the_end(functools.partial(finish, framework))
        return rules

    def key_headers(self, state: State, found: LookedUp) -> tuple[str, ...]:
        """The headers of requests that are in the key of a page: what its ``Vary`` names."""
        named = [vary for vary in self.vary_on if isinstance(vary, str)]
        names = ["Cookie" if name.startswith("cookie:") else name for name in named]
        if isinstance(found, Bypass) or (request := state.binding.framework.request()) is None:
            return tuple(dict.fromkeys(names))
        key = found.call.key if isinstance(found, Pending) else found.key
        inputs = state.learned.inputs_of(key, request)
        return tuple(dict.fromkeys([*names, *headers_in(sorted(inputs))]))

    def demand(self, state: State) -> Demand | None:
        """What the current request demands of the cache, if that counts."""
        if state.page_rules is None or not state.page_rules.strict:
            return None
        request = state.binding.framework.request()
        if request is None:
            return None
        with Muted():
            return demand_of(request)

    def hand_out(self, state: State, found: LookedUp, value: Value) -> Value:
        """Hand an answer to the caller, and note where it comes from."""
        if state.page_rules is not None:
            value = noted(self, state, found, value, self.key_headers(state, found))
        return value if isinstance(found, Bypass) else self.unwrap(value)

    def storable(self, value: Value, call: Call) -> Value:
        """What is stored of an answer, and handed out."""
        state: State = call.context
        return value if state.page_rules is None else stored_page(self, state, value)

    def signal(self, hit: bool, key: str, args: Args, kwargs: Kwargs) -> None:
        """Tell the listeners of a hit or a miss."""
        which = cache_view_hit if hit else cache_view_miss
        tell(which, cache=self.cache, cache_key=key, args=args, kwargs=kwargs)

    def attach_api(self, wrapper: Decorated) -> None:
        """Give the decorated function its attributes."""

        async def amake_cache_key(*args: Value, **kwargs: Value) -> str:
            return await self.key_for(args, kwargs, acall_callback)

        wrapper.make_cache_key = self.default_make_cache_key
        wrapper.amake_cache_key = amake_cache_key

        def delete_cached(
            path: str | None = None, query_args: QueryArgs | None = None, **kwargs: Value
        ) -> bool:
            return self.cache.delete_cached(wrapper, path, query_args, **kwargs)

        async def adelete_cached(
            path: str | None = None, query_args: QueryArgs | None = None, **kwargs: Value
        ) -> bool:
            return await self.cache.adelete_cached(wrapper, path, query_args, **kwargs)

        wrapper.delete_cached, wrapper.adelete_cached = delete_cached, adelete_cached

    # --- the values -------------------------------------------------------------------------------

    def fate(self, value: Value, call: Call) -> Fate:
        """Whether the answer may be given to others, by what it says, and by what it is made of."""
        binding, made = call.context.binding, call.made_from
        persons = not (self.personal or binding.settings.store_private)
        fate = fate_of(value, not persons)
        if fate is not Fate.STORE or made is None or made.reads is None:
            return fate
        if call.kwargs and not self.own_key and VIEW_ARGS in made.reads.given:
            made.reads.names.add(VIEW_ARGS)
        headers = facts(value)[1]
        if not (headers or made.reads.names or made.reads.changes):
            return fate
        cookie = binding.framework.session_cookie
        found = judge(made.reads, made.keyed, persons, is_public(headers), cookie)
        vary = {name for name in vary_of(headers) if not made.keyed.has(name, "")}
        made.select(found.selecting | vary)
        if "*" in vary:
            made.why = NotStored("vary", "the answer says Vary: *")
        if made.selecting and sum(tag.startswith(BASE_TAG) for tag in call.tags) >= LEVELS:
            made.why = NotStored("vary", "it was made from something else each time")
        for name, what, write in found.personal:
            made.why = NotStored("personal", f"it was made from {what}")
            binding.warn_once(
                f"{name} of {self.author}",
                f"{self.name} read {what}, so that its answer is its visitor's own: it is given to "
                f"nobody else, and not stored. Write {write} to store one for each, "
                "unless=... for visitors who get no stored page, or personal=True if all may "
                "have the same",
                CacheWarning,
                place_of(self.function),
            )
        return Fate.UNCACHEABLE if made.why else fate

    def unstorable(self, value: Value, call: Call) -> NotStored:
        """Why an answer may not be stored."""
        made = call.made_from
        why = None if made is None else made.why
        return why or why_not(value) or super().unstorable(value, call)

    def why_no_key(self, state: State) -> str:
        """Why :meth:`make_key` gave none."""
        request = state.binding.framework.request()
        mine = not (self.own_key or self.replaced_key())
        return "method" if request and mine and not self._is_page(state, request) else "key"

    def for_callbacks(self, value: Value) -> Value:
        """What callbacks are given: an ``abort()`` as the response that it becomes."""
        return for_callbacks(value)

    def lifetime(self, value: Value) -> Value:
        """A ``CachedResponse`` has a timeout of its own."""
        own = None
        if hasattr(value, "status_code"):
            # The timeout of Quart's responses is that of sending them.
            name = "cache_timeout" if hasattr(value, "data_body_class") else "timeout"
            own = getattr(value, name, None)
        return self.wrapper.cache_timeout if own is None else own
