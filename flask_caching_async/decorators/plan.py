"""What a decorator was told, and what follows from it for one call: key, stamps, policy.

A :class:`Plan` belongs to one decorated function, a :class:`State` to one such function on one app.
``calls.py`` (``memoize``) and ``views.py`` (``cached``) differ in how they make a key, and in what
they may store.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._entries.times import seconds
from .._flow.callbacks import ajoin_generated
from .._flow.policy import CallHooks, Policy
from .._runtime.colour import is_coroutine_function
from ..binding import Binding
from ..exceptions import ColourError, ConfigurationError
from ..keys import function_name, signature_of, source_of

__all__ = ["Options", "Plan", "State", "user_tags"]


class Options:
    """The arguments that both decorators take."""

    def __init__(
        self,
        *,
        timeout: Any,
        unless: Callable[..., Any] | None,
        forced_update: Callable[..., Any] | None,
        is_stale: Callable[..., Any] | None,
        response_filter: Callable[..., Any] | None,
        hash_method: Callable[..., Any] | None,
        cache_none: bool,
        source_check: bool | None,
        lock: bool | None,
        lock_timeout: Any,
        stale_while_revalidate: Any,
        stale_if_error: Any,
        jitter: float | None,
        tags: Any,
        soft_timeout: Any = None,
    ) -> None:
        self.timeout = timeout if callable(timeout) else seconds(timeout)
        self.unless, self.forced_update = unless, forced_update
        self.is_stale, self.response_filter = is_stale, response_filter
        self.hash_method, self.source_check = hash_method, source_check
        self.cache_none = cache_none
        self.lock = lock
        self.lock_timeout = _seconds("lock_timeout", lock_timeout)
        self.stale_while_revalidate = (
            _seconds("stale_while_revalidate", stale_while_revalidate) or 0
        )
        self.stale_if_error = _seconds("stale_if_error", stale_if_error) or 0
        if jitter is not None and not 0 <= jitter <= 1:
            raise ConfigurationError(
                f"jitter is the share of a timeout, 0.0 to 1.0, not {jitter!r}"
            )
        self.jitter = jitter
        self.soft_timeout = _seconds("soft_timeout", soft_timeout)
        if self.soft_timeout is not None and not self.stale_if_error:
            raise ConfigurationError(
                "soft_timeout serves the old value instead of waiting for a new one, and "
                "stale_if_error says for how long there is one: set that, too"
            )
        if isinstance(tags, str):
            tags = (tags,)
        self.tags: Any = tags if callable(tags) else tuple(tags)
        for name in ("unless", "forced_update", "is_stale", "response_filter"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise TypeError(f"{name} must be callable, not {getattr(self, name)!r}")


def _seconds(name: str, value: Any) -> float | None:
    number = seconds(value, name)
    if number is not None and number < 0:
        raise ConfigurationError(f"{name} must be 0 seconds or more, not {value!r}")
    return number


class State:
    """One decorated function on one app.

    :param lean: whether a hit needs nothing but a look into memory.
    """

    __slots__ = ("binding", "policy", "memo", "peek", "clock", "counters", "fast")

    def __init__(self, plan: Plan, binding: Binding) -> None:
        options, settings = plan.options, binding.settings
        self.binding = binding
        self.policy = Policy(
            timeout=settings.default_timeout,
            stale_while_revalidate=options.stale_while_revalidate,
            stale_if_error=options.stale_if_error,
            jitter=settings.jitter if options.jitter is None else options.jitter,
            lock=(settings.lock if options.lock is None else options.lock) and not binding.null,
            lock_timeout=settings.lock_timeout
            if options.lock_timeout is None
            else options.lock_timeout,
            cache_none=options.cache_none,
            soft_timeout=options.soft_timeout,
        )
        self.memo: dict[str, str] = {}
        self.peek = binding.peek
        self.clock = binding.clock
        self.counters = binding.counters
        self.fast = binding.peek is not None and plan.fast and not settings.signals


class Plan(CallHooks):
    """What is known of a decorated function when it is decorated."""

    #: Whether hits carry a header that says so.
    indicate = False
    #: Whether a hit needs no callback and no request.
    fast = True

    def __init__(self, cache: Any, function: Callable[..., Any], options: Options) -> None:
        self.cache = cache
        self.function = function
        self.options = options
        self.response_filter = options.response_filter
        self.name = function_name(function)
        self.is_async = is_coroutine_function(function) or inspect.isasyncgenfunction(function)
        #: What the user holds; its ``cache_timeout`` may be written.
        self.wrapper: Any = None
        self.last: State | None = None
        self._source: bytes | None = None
        callbacks = self.callbacks()
        self.async_callbacks = [n for n, c in callbacks.items() if is_coroutine_function(c)]
        if self.async_callbacks and not self.is_async:
            names = ", ".join(self.async_callbacks)
            raise ColourError(
                f"{self.name} is a plain def, but {names} is async; make the function "
                "`async def`, or the callback `def`"
            )
        self.fast = self.fast and not (options.unless or options.forced_update or options.is_stale)
        self.gives_call = {n: _takes(c, 2 if n == "is_stale" else 1) for n, c in callbacks.items()}

    def callbacks(self) -> dict[str, Callable[..., Any]]:
        """Everything that is called, by the name of its argument."""
        names = ("timeout", "unless", "forced_update", "is_stale", "response_filter", "tags")
        given = {name: getattr(self.options, name) for name in names}
        return {name: callback for name, callback in given.items() if callable(callback)}

    def state(self) -> State:
        """This function on the app of the current context, or the last that was set up."""
        binding = self.cache._binding()
        state: State | None = binding.states.get(self)
        if state is None:
            state = binding.states[self] = State(self, binding)
        self.last = state
        return state

    def source(self, settings: Any) -> bytes:
        """The function's source, if it is part of its keys."""
        wanted = self.options.source_check
        if not (settings.source_check if wanted is None else wanted):
            return b""
        if self._source is None:
            self._source = source_of(self.function)
        return self._source

    def hash_method(self, settings: Any) -> Callable[..., Any]:
        """The decorator's hash method, else the app's."""
        return self.options.hash_method or settings.hash_method

    def known_timeout(self) -> float | None:
        """The timeout that values will have, as far as it is known before they are computed."""
        timeout = self.wrapper.cache_timeout
        return None if callable(timeout) else seconds(timeout)

    def lifetime(self, value: Any) -> Any:
        """The function's timeout, which may have been written since it was decorated."""
        return self.wrapper.cache_timeout

    def extra(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call's arguments, if a callback wants them."""
        return (args, kwargs) if self.gives_call[name] else ((), {})

    def unwrap(self, value: Any) -> Any:
        """Hand an answer to the caller; an answer that is an exception is raised."""
        if isinstance(value, self.answers):
            raise value
        return value

    async def bypass(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call an async function past the cache; what it yields is joined all the same."""
        return await ajoin_generated(self.function(*args, **kwargs))

    def watched(self, state: State) -> Callable[..., Any]:
        """The function to call in debug mode."""
        return self.function

    def explain(self, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise something better than ``error``, where there is something better."""

    def signal(self, hit: bool, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tell the listeners of a hit or a miss."""
        raise NotImplementedError

    def attach_api(self, wrapper: Any) -> None:
        """Give the decorated function its attributes."""
        raise NotImplementedError

    # --- the key of a call, in two halves: what the user is asked, and what is made of the answers

    def key_callbacks(
        self, state: State, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Callable[[], Any]]:
        """What must be asked before the key is known, in order."""
        tags = self.options.tags
        return [lambda: tags(*args, **kwargs)] if callable(tags) else []

    def make_key(
        self, state: State, args: tuple[Any, ...], kwargs: dict[str, Any], answers: Sequence[Any]
    ) -> tuple[str, tuple[str, ...]] | None:
        """The key and the stamps of a call; ``None`` if it is not to be cached."""
        raise NotImplementedError

    def user_tags(self, answers: list[Any]) -> tuple[str, ...]:
        """The stamps of the user's tags; takes the last answer if they were asked for."""
        tags = self.options.tags
        if callable(tags):
            tags = answers.pop()
        return user_tags(tags)


def _takes(callback: Callable[..., Any], count: int) -> bool:
    """Whether a callback wants at least ``count`` positional arguments."""
    try:
        parameters = signature_of(callback).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return True
    return sum(p.kind is not p.KEYWORD_ONLY for p in parameters) >= count


def user_tags(tags: str | Iterable[str] | None) -> tuple[str, ...]:
    """The stamps under which entries with these tags are kept."""
    if not tags:
        return ()
    names = (tags,) if isinstance(tags, str) else tags
    return tuple([f"t:{name}" for name in names])
