"""What ``memoize`` does: keys of calls, and the tags by which a function's calls are dropped."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence

from .._entries.entry import BY_HAND, tag_of
from .._flow.callbacks import acall_callback, call_callback, resolved
from ..call_text import CallText, call_text
from ..exceptions import (
    AddressKeyWarning,
    ColourError,
    ConfigurationError,
    InvalidKeyError,
    overheard,
    place_of,
    warn,
)
from ..identity import Identity, NoText, canonical, function_name, get_id, has_own_name, identify
from ..keys import (
    digest,
    function_namespace,
    plain_name,
)
from ..signals import cache_memoize_hit, cache_memoize_miss, tell
from ..typing import Args, Callback, Kwargs, Value
from .arguments import arguments_of
from .methods import Decorated
from .options import Options
from .plan import KeyAndTags, OwningCache, Plan, State

__all__ = ["CallPlan"]


class CallPlan(Plan):
    """A memoized function: its key is its name and the call's arguments."""

    kind = "m"

    def __init__(
        self,
        cache: OwningCache,
        function: Callback,
        options: Options,
        make_name: Callback | None,
        args_to_ignore: Iterable[str] | None,
    ) -> None:
        self.make_name = make_name
        self.ignored = frozenset(args_to_ignore or ())
        self.fast = make_name is None
        super().__init__(cache, function, options)
        self.arguments = arguments_of(function)
        names = self._parameter_names()
        shown, called = self.arguments
        left_out = called is not None
        self.quick = self._writer(shown, left_out)
        self.text = self._text = self.quick.write
        #: What writes down a call that does not fit the signature shown.
        self._text_as_called = None if called is None else self._writer(called).write
        #: What writes down a call with its defaults: the entries of calls that may be the same.
        self._text_filled = self._writer(shown).write if self.arguments.may_leave_out else None
        #: ``self`` or ``cls``: calls on one instance, or one class, can be dropped together.
        self.owner = names[0] if names and names[0] in ("self", "cls") else None
        self.namespace = function_namespace_of(function)
        identity = Identity() if make_name else self._identity()
        #: What is hashed: all of its name, since the plain one may be that of several functions,
        #: and what tells it apart from others of that name.
        self.place = "\0".join(filter(None, (self.name, identity.stable, identity.own)))
        if not has_own_name(function) or hasattr(function, "__wrapped__"):
            self.distinction = self.place[len(self.name) :].replace("\0", "#")
        #: The same without what other processes cannot know.
        self.place_of_all = "\0".join(filter(None, (self.name, identity.stable)))
        self.tags = (self.tag, *self.fixed_tags)
        self.shares = make_name is not None
        if self.shares:
            self.tags = (BY_HAND, *self.tags)
        self.per_owner = self.owner is not None and self.owner not in self.ignored
        #: Whether all calls have the same tags.
        self.fixed = not (
            callable(options.tags) or self.per_owner or identity.own or self._text_filled
        )

    def _writer(self, parameters: Sequence[inspect.Parameter], left_out: bool = False) -> CallText:
        return call_text(self.function, self.ignored, self._note, parameters, left_out)

    def _identity(self) -> Identity:
        """What tells the function apart from others of its name; warns if others cannot know it.

        The first function of a name in a module or a class keeps that, whatever a decorator around
        it closes over; a second one that closes over something else has entries of its own.
        """
        identity = identify(self.function)
        if has_own_name(self.function):
            named = f"{self.name}#{identity.stable}"
            if self.cache._first_of_name.setdefault(named, identity.own) == identity.own:
                return identity._replace(own="")
        if identity.own:
            _warn_of(self.cache, self.name, *identity.variable)
        return identity

    def _parameter_names(self) -> list[str]:
        """The names of the function's parameters.

        :raises ConfigurationError: if ``args_to_ignore`` has a name that is none of them.
        """
        shown, called = self.arguments
        names = [p.name for p in shown]
        unknown = self.ignored - set(names)
        # What a decorator makes of **kwargs is shown by the function inside.
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in shown):
            raise ConfigurationError(
                f"args_to_ignore names {sorted(unknown)}, but {self.name} has only {names}"
            )
        return names

    def callbacks(self) -> dict[str, Callback]:
        """Everything that is called, by the name of its argument."""
        found = super().callbacks()
        return {**found, "make_name": self.make_name} if self.make_name else found

    # --- the key ----------------------------------------------------------------------------------

    def key_callbacks(self, state: State, args: Args, kwargs: Kwargs) -> list[Callable[[], Value]]:
        """The function's other name, and its tags."""
        make_name = self.make_name
        first = [lambda: make_name(self.namespace)] if make_name else []
        return [*first, *super().key_callbacks(state, args, kwargs)]

    def quick_key(self, state: State, args: Args, kwargs: Kwargs) -> str | None:
        """The key of a call; ``None`` where an argument has no text: the careful way says so."""
        try:
            text = self.call_text(args, kwargs)
        except (TypeError, Warning):
            raise
        except Exception:
            return None
        return self.key_of(state, text)

    def call_text(self, args: Args, kwargs: Kwargs) -> str:
        """The call's arguments as text.

        :raises TypeError: the function's own, if it would not take them.
        """
        try:
            return self._text(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ and error.__traceback__.tb_next:
                raise  # the repr of an argument raised it
            once = self._given_once(args, kwargs) if kwargs else kwargs
            if len(once) != len(kwargs):
                return self._text(*args, **once)
            if self._text_as_called is None:
                raise
            return f"!{self._text_as_called(*args, **kwargs)}"

    def _text_of_all(self, args: Args, kwargs: Kwargs, text: str) -> str:
        """The text that is shared by all calls that may be the same as one of this text."""
        if self._text_filled is None or text.startswith("!"):
            return text
        return self._text_filled(*args, **self._given_once(args, kwargs))

    def _given_once(self, args: Args, kwargs: Kwargs) -> Kwargs:
        """The keyword arguments without those that repeat a positional one.

        Flask-Caching finds such a call if it was made properly before; if not, the function
        complains.
        """
        named = dict(zip([p.name for p in self.arguments.shown], args, strict=False))
        return {
            name: value
            for name, value in kwargs.items()
            if name not in named or canonical(named[name]) != canonical(value)
        }

    def key_of(self, state: State, text: str) -> str:
        """The key of a call that has this text; remembered, because most calls are repeated."""
        key = state.memo.get(text)
        if key is None:
            key = self._hashed(state, text, self.namespace, self.place)
            if len(text) <= 512:
                if len(state.memo) >= state.remembered:
                    state.memo.clear()
                state.memo[text] = key
        return key

    def _hashed(self, state: State, text: str, name: str, place: str) -> str:
        settings, options = state.binding.settings, self.options
        named_text = f"{place}\0{text}".encode(errors="surrogatepass")
        method, source = options.hash_method or settings.hash_method, b""
        if options.source_check or settings.source_check:
            source = self.source(settings)
        return f"{name}/{digest(method, named_text, source)}"

    def make_key(
        self, state: State, args: Args, kwargs: Kwargs, answers: Sequence[Value]
    ) -> KeyAndTags | None:
        """The key and the tags of a call; ``None`` if an argument has no text."""
        given = list(answers)
        try:
            name = self.keyed("make_name", given.pop(0)) if self.make_name else self.namespace
            text, own_name = self.call_text(args, kwargs), name == self.namespace
        except NoText:
            return None
        key = self.key_of(state, text) if own_name else self._hashed(state, text, name, name)
        if self.fixed:
            return key, self.tags
        tags = self.tags
        if self.per_owner:
            tags = (*tags, self.owner_tag(self.owner_of(args, kwargs)))
        shared = self._shared_key(state, args, kwargs, text, name)
        if shared is not None:
            tags = (*tags, tag_of("b", shared))
        return key, (*tags, *self.user_tags(given)) if given else tags

    def keys_to_delete(
        self, state: State, args: Args, kwargs: Kwargs, answers: Sequence[Value]
    ) -> list[str]:
        """What is deleted for one call: its key, and what its entries in other processes share.

        :raises InvalidKeyError: if it has none, and so was never stored.
        """
        key = self.needed_key(state, args, kwargs, answers)
        text, name = self.call_text(args, kwargs), key.rpartition("/")[0]
        shared = self._shared_key(state, args, kwargs, text, name)
        return [key] if shared is None else [key, shared]

    def _shared_key(
        self, state: State, args: Args, kwargs: Kwargs, text: str, name: str
    ) -> str | None:
        """What is deleted with a call: what it shares with its entries in other processes, and with
        calls that only leave a default out. ``None`` if that is its own key alone.
        """
        if self.place == self.place_of_all and self._text_filled is None:
            return None
        place = self.place_of_all if name == self.namespace else name
        return self._hashed(state, self._text_of_all(args, kwargs, text), name, place)

    def needed_key(self, state: State, args: Args, kwargs: Kwargs, answers: Sequence[Value]) -> str:
        """The key of a call that a user asks for.

        :raises InvalidKeyError: if it has none, and so was never stored.
        """
        made = self.make_key(state, args, kwargs, answers)
        if made is None:
            raise InvalidKeyError(f"this call of {self.name} has no key: an argument has no text")
        return made[0]

    def _note(self, argument: str, value: Value, stored: bool) -> None:
        """Say once for each argument that it has no text of its own."""
        binding, place = self.cache._binding(), f"{self.tag}({argument})"
        # Most calls; the text below costs more than their keys.
        if place in binding.warned and overheard.get() is None:
            return
        effect = (
            "no other object and no other process finds what is stored for it"
            if stored
            else "calls with it are not stored"
        )
        binding.warn_once(
            place,
            f"the argument {argument!r} of {self.name} has no text of its own (the repr of "
            f"{type(value).__qualname__} is a memory address, or leaves something out), so that "
            f"{effect}: give its class a __caching_id__() or a __repr__(), or pass what it is made "
            f"of, or put {argument!r} into args_to_ignore",
            AddressKeyWarning,
            place_of(self.function),
        )

    # --- what users see of it ---------------------------------------------------------------------

    def signal(self, hit: bool, key: str, args: Args, kwargs: Kwargs) -> None:
        """Tell the listeners of a hit or a miss."""
        which = cache_memoize_hit if hit else cache_memoize_miss
        tell(which, cache=self.cache, cache_key=key, f=self.function, args=args, kwargs=kwargs)

    def explain(self, error: Exception, args: Args, kwargs: Kwargs) -> None:
        """Arguments that the function does not take are the caller's error, not a callback's."""
        if isinstance(error, TypeError):
            try:
                self.arguments.check(args, kwargs)
            except TypeError:
                raise error from None

    def _refuse_sync(self, instead: str) -> None:
        """Sync code cannot call what makes the key if that is async."""
        for name in ("make_name", "tags"):
            if name in self.async_callbacks:
                raise ColourError(f"{name} of {self.name} is async: await {instead}() instead")

    def attach_api(self, wrapper: Decorated) -> None:
        """Give the decorated function its attributes."""

        def make_cache_key(f: object, /, *args: Value, **kwargs: Value) -> str:
            self._refuse_sync("amake_cache_key")
            state = self.state()
            callbacks = self.key_callbacks(state, args, kwargs)
            return self.needed_key(state, args, kwargs, [call_callback(c) for c in callbacks])

        async def amake_cache_key(f: object, /, *args: Value, **kwargs: Value) -> str:
            state = self.state()
            callbacks = self.key_callbacks(state, args, kwargs)
            answers = [await acall_callback(callback) for callback in callbacks]
            return self.needed_key(state, args, kwargs, answers)

        def delete_memoized() -> bool:
            self._refuse_sync("adelete_memoized")
            return self.cache.delete_memoized(wrapper)

        async def adelete_memoized() -> bool:
            return await self.cache.adelete_memoized(wrapper)

        wrapper.make_cache_key, wrapper.amake_cache_key = make_cache_key, amake_cache_key
        wrapper.delete_memoized, wrapper.adelete_memoized = delete_memoized, adelete_memoized

    def owner_of(self, args: Args, kwargs: Kwargs) -> Value:
        """The instance or class that a call was made on."""
        return args[0] if args else kwargs.get(self.owner or "")

    def owner_tag(self, owner: object) -> str:
        """The tag of all calls on one instance or class."""
        owner = resolved(owner)
        if inspect.isclass(owner):
            return f"{self.tag}@{canonical(owner)}"
        kind = type(owner)
        return f"{self.tag}@{kind.__module__}.{kind.__qualname__}:{get_id(owner)}"


def _warn_of(cache: OwningCache, name: str, variable: str, kind: str) -> None:
    """Say once for each name that a function has something without a text."""
    if name in cache._warned:
        return
    cache._warned.add(name)
    warn(
        f"{name} is made of something that has no text of its own ({variable}: {kind}), "
        "so that its entries are found in this process only, and not by a function that is made "
        "like it: name it with make_name=lambda name: ..., or give the class a __repr__() or a "
        "__caching_id__()",
        AddressKeyWarning,
    )


def function_namespace_of(function: Callback) -> str:
    """The function's name as ``make_name`` gets it."""
    try:
        return function_namespace(function)[0]
    except ValueError:  # a classmethod; its class is known when it is called
        return plain_name(function_name(function))
