"""What ``cached`` does: what a page may be stored for, and what users see of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from werkzeug.exceptions import HTTPException

from .._flow.callbacks import acall_callback
from .._flow.policy import Call, Fate
from .._frameworks.responses import facts, fate_of, for_callbacks, is_public, why_not
from ..exceptions import CacheWarning, place_of
from ..pages.rules import judge, vary_of
from ..signals import cache_view_hit, cache_view_miss, tell
from ..typing import Args, Callback, Kwargs, QueryArgs, Value, Vary
from .methods import Decorated
from .options import Options
from .page_names import NamedPages
from .page_options import was_given_more
from .plan import OwningCache

__all__ = ["ViewPlan"]


class ViewPlan(NamedPages):
    """A cached view, or another function under a key of its own."""

    answers = (HTTPException,)

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
    ) -> None:
        self.indicate = bool(response_hit_indication)
        self.fast = not self.indicate
        super().__init__(
            cache, function, options, key_prefix, query_string, make_cache_key, vary_on
        )
        #: Whether what belongs to one visitor makes no difference.
        self.personal = personal

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
        if not self.own_key and was_given_more(call.kwargs, made.keyed.request):
            made.reads.names.add("request.view_args")
        headers = facts(value)[1]
        if not (headers or made.reads.names or made.reads.changes):
            return fate
        cookie = binding.framework.session_cookie
        found = judge(made.reads, made.keyed, persons, is_public(headers), cookie)
        vary = {name for name in vary_of(headers) if not made.keyed.has(name, "")}
        made.selecting = found.selecting | vary
        if "*" in vary:
            made.why = "the answer says Vary: *"
        for name, what, write in found.personal:
            made.why = f"it was made from {what}"
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

    def unstorable(self, value: Value, call: Call) -> str:
        """Why an answer may not be stored."""
        made = call.made_from
        why = "" if made is None else made.why
        return why or why_not(value) or super().unstorable(value, call)

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
