"""What ``memoize`` does: keys of calls, and the stamps by which a function's calls are dropped."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._flow.callbacks import acall_callback, call_callback
from ..exceptions import ColourError, ConfigurationError
from ..keys import (
    call_text,
    canonical,
    digest,
    function_name,
    function_namespace,
    get_id,
    signature_of,
)
from ..signals import cache_memoize_hit, cache_memoize_miss, tell
from .plan import Options, Plan, State, user_tags

__all__ = ["CallPlan"]

#: How many texts of calls are remembered with their keys, for each function.
REMEMBERED = 1024


class CallPlan(Plan):
    """A memoized function: its key is its name and the call's arguments."""

    def __init__(
        self,
        cache: Any,
        function: Callable[..., Any],
        options: Options,
        make_name: Callable[..., Any] | None,
        args_to_ignore: Iterable[str] | None,
    ) -> None:
        self.make_name = make_name
        self.ignored = frozenset(args_to_ignore or ())
        self.fast = make_name is None
        super().__init__(cache, function, options)
        self.text = call_text(function, self.ignored)
        names = list(signature_of(function).parameters)
        unknown = self.ignored - set(names)
        has_rest = any(p.kind is p.VAR_KEYWORD for p in signature_of(function).parameters.values())
        if unknown and not has_rest:
            raise ConfigurationError(
                f"args_to_ignore names {sorted(unknown)}, but {self.name} has only {names}"
            )
        #: ``self`` or ``cls``: calls on one instance, or one class, can be dropped together.
        self.owner = names[0] if names and names[0] in ("self", "cls") else None
        self.namespace = function_namespace_of(function)
        self.quick_key = self._make_quick_key()
        self.tag = f"m:{self.name}"
        self.tags = (self.tag, *(() if callable(options.tags) else user_tags(options.tags)))
        self.per_owner = self.owner is not None and self.owner not in self.ignored
        self.fixed = not callable(options.tags) and not self.per_owner

    def callbacks(self) -> dict[str, Callable[..., Any]]:
        """Everything that is called, by the name of its argument."""
        found = super().callbacks()
        return {**found, "make_name": self.make_name} if self.make_name else found

    def key_callbacks(
        self, state: State, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Callable[[], Any]]:
        """The function's other name, and its tags."""
        make_name = self.make_name
        first = [lambda: make_name(self.namespace)] if make_name else []
        return [*first, *super().key_callbacks(state, args, kwargs)]

    def _make_quick_key(self) -> Callable[[State, Any, Any], str | None]:
        """What gives the key of a call about which nobody need be asked."""
        text_of, careful, make, name = self.text, self.call_text, self._key, self.namespace

        def quick_key(state: State, args: Any, kwargs: dict[str, Any]) -> str | None:
            try:
                text = text_of(*args, **kwargs)
            except TypeError:
                text = careful(args, kwargs)
            except Warning:
                raise
            except Exception:  # an argument that has no text: the careful way says so
                return None
            return state.memo.get(text) or make(state, text, name)

        return quick_key

    def call_text(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The call's arguments as text.

        :raises TypeError: the function's own, if it would not take them.
        """
        try:
            return self.text(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ and error.__traceback__.tb_next:
                raise  # the repr of an argument raised it
            once = self._given_once(args, kwargs)
            if len(once) == len(kwargs):
                raise
            return self.text(*args, **once)

    def _given_once(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments without those that repeat a positional one.

        Flask-Caching finds such a call if it was made properly before; if not, the function
        complains.
        """
        named = dict(zip(signature_of(self.function).parameters, args, strict=False))
        return {
            name: value
            for name, value in kwargs.items()
            if name not in named or canonical(named[name]) != canonical(value)
        }

    def _key(self, state: State, text: str, name: str) -> str:
        settings = state.binding.settings
        source = self.source(settings)
        join_generated = f"{name}\0{text}"
        hashed = digest(
            self.hash_method(settings), join_generated.encode(errors="surrogatepass"), source
        )
        key = f"{name}/{hashed}"
        if len(text) <= 512 and name == self.namespace:
            if len(state.memo) >= REMEMBERED:
                state.memo.clear()
            state.memo[text] = key
        return key

    def make_key(
        self, state: State, args: tuple[Any, ...], kwargs: dict[str, Any], answers: Sequence[Any]
    ) -> tuple[str, tuple[str, ...]] | None:
        """The key and the stamps of a call."""
        given = list(answers)
        name = str(given.pop(0)) if self.make_name else self.namespace
        text = self.call_text(args, kwargs)
        key = (state.memo.get(text) if name == self.namespace else None) or self._key(
            state, text, name
        )
        if self.fixed:
            return key, self.tags
        tags = self.tags
        if self.per_owner:
            tags = (*tags, self.owner_tag(self.owner_of(args, kwargs)))
        return key, (*tags, *self.user_tags(given)) if given else tags

    def signal(self, hit: bool, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tell the listeners of a hit or a miss."""
        which = cache_memoize_hit if hit else cache_memoize_miss
        tell(which, cache=self.cache, cache_key=key, f=self.function, args=args, kwargs=kwargs)

    def explain(self, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Arguments that the function does not take are the caller's error, not a callback's."""
        if isinstance(error, TypeError):
            try:
                signature_of(self.function).bind(*args, **kwargs)
            except TypeError:
                raise error from None

    def attach_api(self, wrapper: Any) -> None:
        """Give the decorated function its attributes."""
        asked = [n for n in ("make_name",) if n in self.async_callbacks]
        asked += [n for n in ("tags",) if n in self.async_callbacks]

        def make_cache_key(f: Any, /, *args: Any, **kwargs: Any) -> str:
            if asked:
                raise ColourError(
                    f"{asked[0]} of {self.name} is async: await amake_cache_key() instead"
                )
            state = self.state()
            answers = [
                call_callback(callback) for callback in self.key_callbacks(state, args, kwargs)
            ]
            return self.make_key(state, args, kwargs, answers)[0]  # type: ignore[index]

        async def amake_cache_key(f: Any, /, *args: Any, **kwargs: Any) -> str:
            state = self.state()
            answers = [
                await acall_callback(callback)
                for callback in self.key_callbacks(state, args, kwargs)
            ]
            return self.make_key(state, args, kwargs, answers)[0]  # type: ignore[index]

        def delete_memoized() -> Any:
            if asked:
                raise ColourError(
                    f"{asked[0]} of {self.name} is async: await adelete_memoized() instead"
                )
            return self.cache.delete_memoized(wrapper)

        async def adelete_memoized() -> Any:
            return await self.cache.adelete_memoized(wrapper)

        wrapper.make_cache_key, wrapper.amake_cache_key = make_cache_key, amake_cache_key
        wrapper.delete_memoized, wrapper.adelete_memoized = delete_memoized, adelete_memoized

    def owner_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The instance or class that a call was made on."""
        return args[0] if args else kwargs.get(self.owner or "")

    def owner_tag(self, owner: Any) -> str:
        """The stamp of all calls on one instance or class."""
        if inspect.isclass(owner):
            return f"{self.tag}@{canonical(owner)}"
        kind = type(owner)
        return f"{self.tag}@{kind.__module__}.{kind.__qualname__}:{get_id(owner)}"


def function_namespace_of(function: Callable[..., Any]) -> str:
    """The function's name as ``make_name`` gets it."""
    try:
        return function_namespace(function)[0]
    except ValueError:  # a classmethod; its class is known when it is called
        return "".join(c for c in function_name(function) if c.isalnum() or c in "_.")
