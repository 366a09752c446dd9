"""What a decorator was given, and what follows from it for one call: key, tags, policy.

A :class:`Plan` belongs to one decorated function, a :class:`State` to one such function on one app.
``memoize.py`` and ``cached.py`` differ in how they make a key, and in what they may store.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol, TypeAlias

from .._entries.entry import tag_of
from .._entries.times import seconds
from .._flow.callbacks import CallCallback, ajoin_generated, resolved
from .._flow.policy import Call, CallHooks, Policy
from .._runtime.colour import is_coroutine_function
from ..backends.simplecache import SimpleCache
from ..binding import Binding
from ..call_text import CallText
from ..config import Settings
from ..exceptions import AddressKeyWarning, ColourError, place_of
from ..identity import NoText, function_name, has_address, lacks_text
from ..keys import made_key, signature_of, source_of
from ..pages.directives import Demand
from ..pages.http import PageRules
from ..pages.inputs import Learned
from ..pages.purging import Listeners
from ..pages.rules import Keyed
from ..stats import Kind
from ..typing import Args, Callback, Kwargs, Value
from .found import Bypass, LookedUp
from .methods import Decorated
from .options import Options

__all__ = ["KeyAndTags", "OwningCache", "Plan", "State", "user_tags"]

#: Under which key a value is stored, and which tags drop it.
KeyAndTags: TypeAlias = tuple[str, tuple[str, ...]]


#: How many keys are remembered for each function: at least, and where a cache in memory
#: holds any number of entries.
REMEMBERED, MOST_REMEMBERED = 1024, 100_000


#: Nanoseconds between two hits of one function in memory that are measured.
APART = 100_000_000


class OwningCache(Protocol):
    """What a plan needs of its :class:`.Cache`."""

    #: The binding, where there is only one app; looked at by every call.
    _only: Binding | None
    #: The names of functions of which it was warned when they were decorated.
    _warned: set[str]
    #: What the first function of a name in a module or a class has that has no text.
    _first_of_name: dict[str, str]
    #: What tells views of one name apart, by that.
    _views_by_name: dict[str, list[str]]
    #: Who is told of invalidations.
    _listeners: Listeners

    def _binding(self) -> Binding: ...
    def delete_memoized(self, f: Value, *args: Value, **kwargs: Value) -> bool: ...
    async def adelete_memoized(self, f: Value, *args: Value, **kwargs: Value) -> bool: ...
    def delete_cached(self, f: Value, /, *args: Value, **kwargs: Value) -> bool: ...
    async def adelete_cached(self, f: Value, /, *args: Value, **kwargs: Value) -> bool: ...


class State:
    """One decorated function on one app.

    :param peek: looks up an entry, where a hit needs nothing but a look into memory.
    """

    __slots__ = (
        "binding", "policy", "memo", "remembered", "peek", "timekeeper", "counters", "learned",
        "page_rules", "page_peek", "armed", "remote", "measured", "checked", "memory", "_peeks",
    )  # fmt: skip

    def __init__(self, plan: Plan, binding: Binding) -> None:
        options, settings = plan.options, binding.settings
        own_patience = options.lock_timeout
        self.binding = binding
        self.policy = Policy(
            timeout=settings.default_timeout,
            stale_while_revalidate=options.stale_while_revalidate,
            stale_if_error=options.stale_if_error,
            jitter=settings.jitter if options.jitter is None else options.jitter,
            lock=(settings.lock if options.lock is None else options.lock) and not binding.null,
            lock_timeout=settings.lock_timeout if own_patience is None else own_patience,
            cache_none=options.cache_none,
            soft_timeout=options.soft_timeout,
        )
        #: What its pages are known to be made from.
        self.learned = Learned(settings.variants)
        #: The keys of calls by their texts, of variants of pages by what makes them.
        self.memo: dict[str, str] = {}
        #: How many of them are remembered: those of all that a cache in memory may hold, since a
        #: hit there takes less than the making of its key.
        self.remembered, backend = REMEMBERED, binding.timekeeper
        #: What ``peek`` looks into.
        self.memory = backend.memory if isinstance(backend, SimpleCache) else None
        if self.memory is not None:
            most = 2 * self.memory.threshold or MOST_REMEMBERED
            self.remembered = min(max(REMEMBERED, most), MOST_REMEMBERED)
        #: What is said of its pages in HTTP, if anything is.
        self.page_rules = rules = plan.rules_of_pages(binding)
        peek = binding.peek if plan.fast and not settings.signals else None
        self.peek = peek if rules is None else None
        #: ``peek``, where an answer is a page, and nothing more has to be asked.
        self.page_peek = None
        if rules is not None and not (
            rules.strict or (rules.tag_header and callable(options.tags))
        ):
            self.page_peek = peek
        self._peeks = self.peek, self.page_peek
        #: Whether there is never a hit without a look into a store.
        self.remote = self._peeks == (None, None)
        #: The tags that were found good on its backend last: mostly those of all its calls.
        self.checked: tuple[str, ...] | None = None
        #: Whether the next fresh hit in memory is measured: see :meth:`arm`.
        self.armed = False
        #: When that was last asked for, in nanoseconds.
        self.measured = 0
        self.timekeeper = binding.timekeeper
        self.counters = binding.ledger.of(plan.use, plan.name)

    def arm(self) -> None:
        """Let the next fresh hit in memory be measured.

        To ask each of them whether it is the one would cost more than a hit may: so this takes away
        what it looks with, and :func:`.fast_hit` finds out why.
        """
        if not self.remote:
            self.peek = self.page_peek = None
            self.armed = True  # last: what is armed is disarmed by the next hit

    def note_miss(self, refresh: bool, began: int) -> None:
        """Count what was asked to be computed anew; now and then, let the next hit be measured.

        :param began: when the call began, in nanoseconds.
        """
        self.counters.refreshes += refresh
        if began - self.measured > APART:
            self.measured = began
            self.arm()

    def disarm(self) -> None:
        """Let hits be as quick as they are."""
        self.armed = False
        self.peek, self.page_peek = self._peeks

    def learn(self, key: str, names: Collection[str]) -> None:
        """The pages under a key vary by these inputs."""
        self.learned.learn(key, names)


class Plan(CallHooks, abc.ABC):
    """What is known of a decorated function when it is decorated."""

    #: Whether hits carry a header that says so.
    indicate = False
    #: Whether its answers are made of the request.
    of_request = False
    #: Whether a hit needs no callback and no request.
    fast = True
    #: Gives the text of a call, where :meth:`key_of` makes its key of nothing else.
    text: Callable[..., str] | None = None
    #: The same with what it was compiled of.
    quick: CallText | None = None
    #: What the user holds; its ``cache_timeout`` may be written.
    wrapper: Decorated

    #: What it is to the statistics.
    use: Kind = "function"
    #: What its tag begins with.
    kind = ""
    #: What tells its renewals, and a view's tags, apart from those of other functions of its name.
    distinction = ""
    #: Whether the user named the key: then functions that are given one key share their entries.
    shares = False

    def __init__(self, cache: OwningCache, function: Callback, options: Options) -> None:
        self.cache = cache
        self.function = function
        self.options = options
        self.response_filter = options.response_filter
        self.name = function_name(function)
        #: The tag of all entries of this function.
        self.tag = tag_of(self.kind, self.name)
        #: The first tag of its entries: they answer no function that has another one.
        self.author = self.tag
        self.is_async = is_coroutine_function(function) or inspect.isasyncgenfunction(function)
        #: The state that was used last.
        self.last: State | None = None
        self._source: bytes | None = None
        #: The user's tags, as far as they do not depend on the call.
        self.fixed_tags = () if callable(options.tags) else user_tags(options.tags)
        callbacks = self.callbacks()
        #: Whether something is called for each call before the store is looked into.
        self.asks = not callbacks.keys() <= {"timeout", "response_filter", "is_stale"}
        self.async_callbacks = [n for n, c in callbacks.items() if is_coroutine_function(c)]
        if self.async_callbacks and not self.is_async:
            names = ", ".join(self.async_callbacks)
            raise ColourError(
                f"{self.name} is a plain def, but {names} is async; make the function "
                "`async def`, or the callback `def`"
            )
        self.fast = self.fast and not (options.unless or options.forced_update or options.is_stale)
        self._gives_call = {n: _takes(c, 2 if n == "is_stale" else 1) for n, c in callbacks.items()}

    # --- what each decorator does in its own way --------------------------------------------------

    @abc.abstractmethod
    def quick_key(self, state: State, args: Args, kwargs: Kwargs) -> str | None:
        """The key of a call for which no callback is called; ``None`` for the careful way."""

    @abc.abstractmethod
    def make_key(
        self, state: State, args: Args, kwargs: Kwargs, answers: Sequence[Value]
    ) -> KeyAndTags | None:
        """The key and the tags of a call; ``None`` if it is not to be cached.

        :param answers: what :meth:`key_callbacks` returned.
        """

    def why_no_key(self, state: State) -> str:
        """Why :meth:`make_key` gave none, as one of the words of ``CAUSES``."""
        return "key"

    @abc.abstractmethod
    def signal(self, hit: bool, key: str, args: Args, kwargs: Kwargs) -> None:
        """Tell the listeners of a hit or a miss."""

    @abc.abstractmethod
    def attach_api(self, wrapper: Decorated) -> None:
        """Give the decorated function its attributes."""

    def key_of(self, state: State, text: str) -> str:
        """The key of a call that has this text."""
        raise NotImplementedError

    # --- what may be extended ---------------------------------------------------------------------

    def callbacks(self) -> dict[str, Callback]:
        """Everything that is called, by the name of its argument."""
        names = ("timeout", "unless", "forced_update", "is_stale", "response_filter", "tags")
        given = {name: getattr(self.options, name) for name in names}
        return {name: callback for name, callback in given.items() if callable(callback)}

    def key_callbacks(self, state: State, args: Args, kwargs: Kwargs) -> list[Callable[[], Value]]:
        """What must be called before the key is known, in order."""
        tags = self.options.tags
        return [lambda: tags(*args, **kwargs)] if callable(tags) else []

    def replaced_key(self) -> Callback | None:
        """The function that a user put in the place of what makes the key, if any."""
        return None

    def rules_of_pages(self, binding: Binding) -> PageRules | None:
        """What is said of its answers in HTTP on one app; ``None`` for nothing."""
        return None

    def demand(self, state: State) -> Demand | None:
        """What the current request demands of the cache, if that counts."""
        return None

    def hand_out(self, state: State, found: LookedUp, value: Value) -> Value:
        """Hand an answer to the caller, and note where it comes from."""
        return self.unwrap(value) if self.answers and not isinstance(found, Bypass) else value

    def prepare(self, state: State, call: Call, keyed: Keyed | None) -> None:
        """Do to a call what it needs to be computed.

        :param keyed: what :meth:`known_inputs` gave.
        """

    def known_inputs(self, state: State) -> Keyed | None:
        """What the key of a call has of the request; ``None`` where nobody looks at that."""
        return None

    def noting(self, state: State, call_callback: CallCallback, into: set[str]) -> CallCallback:
        """``call_callback``, which notes what callbacks read of the request."""
        return call_callback

    def vary(
        self, state: State, key: str, tags: tuple[str, ...], keyed: Keyed | None = None
    ) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """The key, and the tags, of what is asked for among those that have this key.

        And the keys of which it is a variant.
        """
        return key, tags, ()

    def explain(self, error: Exception, args: Args, kwargs: Kwargs) -> None:
        """Raise something better than ``error``, where there is something better."""

    async def bypass(self, /, *args: Value, **kwargs: Value) -> Value:
        """Call an async function past the cache; what it yields is joined all the same."""
        return await ajoin_generated(self.function(*args, **kwargs))

    # --- what is the same for both ----------------------------------------------------------------

    def state(self) -> State:
        """This function on the app of the current context, or the last that was set up."""
        last = self.last
        if last is not None and last.binding is self.cache._only:
            return last
        binding = self.cache._binding()
        state: State | None = binding.states.get(self)
        if state is None:
            state = binding.states[self] = State(self, binding)
            binding.begin_sharing()
        self.last = state
        return state

    def source(self, settings: Settings) -> bytes:
        """The function's source, if it is part of its keys."""
        wanted = self.options.source_check
        if not (settings.source_check if wanted is None else wanted):
            return b""
        if self._source is None:
            self._source = source_of(self.function)
        return self._source

    def hash_method(self, settings: Settings) -> Callback:
        """The decorator's hash method, else the app's."""
        return self.options.hash_method or settings.hash_method

    def known_timeout(self) -> float | None:
        """The timeout that values will have, as far as it is known before they are computed."""
        timeout = self.wrapper.cache_timeout
        return None if callable(timeout) else seconds(timeout)

    def lifetime(self, value: Value) -> Value:
        """The function's timeout, which may have been written since it was decorated."""
        return self.wrapper.cache_timeout

    def arguments_for(self, name: str, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """The call's arguments, if the callback of this name takes them."""
        return (args, kwargs) if self._gives_call[name] else ((), {})

    def unwrap(self, value: Value) -> Value:
        """Hand an answer to the caller; an answer that is an exception is raised."""
        if isinstance(value, self.answers):
            raise value
        return value

    def keyed(self, what: str, made: Value) -> str:
        """What a callback made for a key, as a text.

        :raises NoText: if it is nothing but a memory address; of that it is warned once.
        """
        made = resolved(made)
        text = made_key(made)
        if lacks_text(made, text):
            self.warn_of(what, type(made).__qualname__)
            raise NoText
        return text

    def warn_of(self, what: str, kind: str) -> None:
        """Say once for each app that something is no part of a key."""
        self.cache._binding().warn_once(
            f"{what} of {self.tag}",
            f"{what} of {self.name} gave a text without meaning (of {kind}: a memory address, or "
            "what leaves something out), so that its calls are not stored: let it return a name or "
            "a number, as in lambda: current_user.get_id(), or give the class a __repr__() or a "
            "__caching_id__()",
            AddressKeyWarning,
            place_of(self.function),
        )

    def user_tags(self, answers: list[Value]) -> tuple[str, ...]:
        """The user's tags as they are stored; takes the last answer if they are a callback's."""
        return user_tags(answers.pop()) if callable(self.options.tags) else self.fixed_tags


def _takes(callback: Callback, count: int) -> bool:
    """Whether a callback takes at least ``count`` positional arguments."""
    try:
        parameters = signature_of(callback).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return True
    return sum(p.kind is not p.KEYWORD_ONLY for p in parameters) >= count


def user_tags(tags: str | Iterable[str] | None) -> tuple[str, ...]:
    """The user's tags as they are stored, apart from those that this package adds.

    :raises TypeError: for what has no text that tells it apart.
    """
    if tags is None or (type(tags) in (str, bool, int) and not tags):
        return ()
    several = isinstance(tags, Iterable) and not isinstance(tags, str)
    given: Iterable[Value] = tags if several else (tags,)
    names: list[Value] = []
    for name in given:
        names += name if isinstance(name, (list, tuple, set, frozenset)) else [name]
    for name in names:
        if name is None or isinstance(name, (bytes, dict, list, tuple, set)):
            raise TypeError(f"a tag is a text, not {name!r}")
        if has_address(name, str(name)):
            raise TypeError(f"{name!r} cannot be a tag: its text is its memory address")
    return tuple([tag_of("t", str(name)) for name in names])
