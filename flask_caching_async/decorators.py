"""From a plan to what the user holds: the shells around a function, in both colours.

A *shell* is what replaces the decorated function. It answers a fresh hit in memory by itself, in a
few lines, because most calls end there. All else goes to :func:`look`, which asks the callbacks and
the store, and then to the flow. The sync shell and its async twin stand next to each other.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from ._colour import run_now
from ._flow.asking import aask
from ._flow.drive import aread_through, read_through
from ._flow.entry import MISSING, Reading, Verdict
from ._flow.readthrough import Job
from ._hosts.flask import LANE
from .exceptions import CacheError
from .methods import CachedClassMethod, CachedMethod
from .plans import Plan, State
from .views import ask_now

__all__ = ["PLAN", "ask_now", "decorate", "plan_of"]

log = logging.getLogger("flask_caching_async")

#: The attribute of a decorated function that holds its plan.
PLAN = "_flask_caching_async_plan"


class Hit(NamedTuple):
    """The answer was stored."""

    value: Any


class Pending(NamedTuple):
    """The answer has to be waited for or computed."""

    state: State
    job: Job
    reading: Reading
    era: int


#: The call is none of the cache's business.
BYPASS = Hit(None)


async def find_key(
    plan: Any,
    state: State,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    asking: Any,
    refresh: bool,
) -> tuple[str, tuple[str, ...], bool] | None:
    """The key and stamps of a call, and whether it must be computed whatever is stored.

    ``None`` if the cache is to be bypassed. A callback that fails has the same effect, and is
    logged: a page without its cache is better than no page. What ``unless`` raises is raised, as in
    Flask-Caching.
    """
    options = plan.options
    if options.unless and not refresh:
        # Not in the try: whoever may not see the cached page must not get it because this failed.
        more, named = plan.extra("unless", (plan.function, *args), kwargs)
        if await asking(options.unless, *more, **named):
            return None
    try:
        answers = [await asking(question) for question in plan.questions(state, args, kwargs)]
        made = plan.assemble(state, args, kwargs, answers)
        if made is None:
            return None
        forced = refresh
        if options.forced_update and not refresh:
            more, named = plan.extra("forced_update", args, kwargs)
            forced = bool(await asking(options.forced_update, *more, **named))
        return *made, forced
    except CacheError:
        raise
    except Exception as error:
        plan.explain(error, args, kwargs)
        if state.binding.raising:
            raise
        log.exception("a callback of %s failed; it is called without the cache", plan.name)
        return None


async def is_outdated(
    plan: Any, state: State, value: Any, args: Any, kwargs: Any, asking: Callable[..., Any]
) -> bool | None:
    """What ``is_stale`` says of a stored value; ``None``, as in :func:`find_key`, if it fails."""
    more, named = plan.extra("is_stale", args, kwargs)
    try:
        return bool(await asking(plan.options.is_stale, plan.shown(value), *more, **named))
    except CacheError:
        raise
    except Exception:
        if state.binding.raising:
            raise
        log.exception("is_stale of %s failed; it is called without the cache", plan.name)
        return None


async def look(
    plan: Any,
    state: State,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    asking: Callable[..., Any],
    steps: Any,
    refresh: bool = False,
) -> Hit | Pending:
    """Ask the callbacks, find the key, look into the store: everything up to the verdict.

    Written once: sync code gives it an ``asking`` and ``steps`` that return at once.

    :param refresh: whether to compute whatever is there, as ``refresh()`` does.
    """
    options, binding = plan.options, state.binding
    found = await find_key(plan, state, args, kwargs, asking, refresh)
    if found is None:
        return BYPASS
    key, stamps, forced = found
    called, era = state.clock(), binding.engine.flights.landed
    reading: Reading = await steps.load(key, stamps)
    verdict = Verdict.GONE if forced else state.policy.judge(reading.entry, called)
    value = None
    if verdict is Verdict.FRESH or (options.is_stale and verdict is Verdict.STALE):
        assert reading.entry is not None
        value = reading.entry.open()
        if value is None and not options.cache_none:
            verdict, reading = Verdict.GONE, reading._replace(entry=None)
        elif options.is_stale:
            outdated = await is_outdated(plan, state, value, args, kwargs, asking)
            if outdated is None:
                return BYPASS
            if outdated:
                verdict, forced = Verdict.GONE, True
    served = verdict is Verdict.FRESH or verdict is Verdict.STALE
    if binding.settings.signals:
        plan.signal(served, key, args, kwargs)
    if served and plan.indicate:
        binding.host.after_this_request(_indicate)
    if verdict is Verdict.FRESH:
        state.counters.hits += 1
        return Hit(value)
    function = plan.watched(state) if binding.host.debug else plan.function
    job = Job(key, stamps, state.policy, plan, function, args, kwargs, forced, called, state)
    return Pending(state, job, reading, era)


def _indicate(response: Any) -> Any:
    response.headers["hit_cache"] = "True"
    return response


# --- the general way of a call --------------------------------------------------------------------


def call(plan: Any, state: State, args: Any, kwargs: Any, refresh: bool = False) -> Any:
    """A call that the shell could not answer by itself."""
    engine = state.binding.engine
    found = run_now(look(plan, state, args, kwargs, ask_now, engine.now, refresh))
    if found is BYPASS:
        return plan.function(*args, **kwargs)
    if type(found) is Pending:
        return plan.give(read_through(engine, found.job, found.reading, found.era))
    return plan.give(cast(Hit, found).value)


async def acall(plan: Any, state: State, args: Any, kwargs: Any, refresh: bool = False) -> Any:
    """A call that the shell could not answer by itself."""
    engine = state.binding.engine
    found = await look(plan, state, args, kwargs, aask, engine.later, refresh)
    if found is BYPASS:
        return await plan.bypass(*args, **kwargs)
    if type(found) is Pending:
        return plan.give(await aread_through(engine, found.job, found.reading, found.era))
    return plan.give(cast(Hit, found).value)


# --- the shells -----------------------------------------------------------------------------------


def lean_hit(plan: Any) -> Callable[[Any, Any], Any]:
    """What answers a fresh hit in memory about which nobody need be asked; else ``MISSING``."""
    cache, cache_none, quick_key = plan.cache, plan.options.cache_none, plan.quick_key
    give = plan.give if plan.answers else None

    def answer(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        state = plan.last
        if state is None or state.binding is not cache._only:
            state = plan.state()
        if not state.lean:
            return MISSING
        entry = state.peek(quick_key(state, args, kwargs))
        if entry is None or state.clock() >= entry.fresh_until:
            return MISSING
        try:
            value = entry.value if entry.thaw is None else entry.thaw(entry.value)
        except Exception:  # it cannot be read back: the careful way finds a miss
            return MISSING
        if value is None and not cache_none:
            return MISSING
        state.counters.hits += 1
        return value if give is None else give(value)

    return answer


def sync_shell(plan: Any) -> Callable[..., Any]:
    """What replaces a ``def`` function."""
    hit = lean_hit(plan)

    @functools.wraps(plan.function)
    def shell(*args: Any, **kwargs: Any) -> Any:
        value = hit(args, kwargs)
        return value if value is not MISSING else call(plan, plan.state(), args, kwargs)

    return shell


def async_shell(plan: Any) -> Callable[..., Any]:
    """What replaces an ``async def`` function."""
    hit = lean_hit(plan)

    @functools.wraps(plan.function)
    async def shell(*args: Any, **kwargs: Any) -> Any:
        value = hit(args, kwargs)
        return value if value is not MISSING else await acall(plan, plan.state(), args, kwargs)

    return shell


# --- before there is a loop -----------------------------------------------------------------------


class Lane:
    """Answers an async view from sync code where it can; see ``_hosts/flask.py``.

    :param function: the shell that Flask must have been given for this to apply.
    """

    def __init__(self, plan: Any, function: Callable[..., Any]) -> None:
        self.plan = plan
        self.function = function
        #: The ``async_to_sync`` that asked last, and the sync function for it.
        self._made: tuple[Any, Any] = (None, None)

    def enter(self, func: Callable[..., Any], original: Any, *owner: Any) -> Callable[..., Any]:
        """The sync function that Flask calls for ``func``.

        :param original: the app's own ``async_to_sync``, for all that needs a loop.
        :param owner: the instance that ``func`` is bound to, if any.
        """
        if self.plan.async_callbacks:
            return original(func)  # type: ignore[no-any-return]
        made_for, answer = self._made
        if made_for is not original:
            answer = self._make(original)
            self._made = (original, answer)
        return functools.partial(answer, *owner) if owner else answer

    def _make(self, original: Any) -> Callable[..., Any]:
        plan, hit = self.plan, lean_hit(self.plan)

        async def asking(callback: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            answer = callback(*args, **kwargs)
            return original(_awaited)(answer) if inspect.isawaitable(answer) else answer

        def answer(*args: Any, **kwargs: Any) -> Any:
            value = hit(args, kwargs)
            if value is not MISSING:
                return value
            state = plan.state()
            found = run_now(look(plan, state, args, kwargs, asking, state.binding.engine.now))
            if found is BYPASS:
                return original(plan.bypass)(*args, **kwargs)
            if type(found) is Pending:
                return original(resume)(plan, found)
            return plan.give(cast(Hit, found).value)

        return answer


async def _awaited(answer: Any) -> Any:
    return await answer


async def resume(plan: Any, found: Pending) -> Any:
    """Go on, on a loop, with a call that was looked up without one."""
    engine = found.state.binding.engine
    return plan.give(await aread_through(engine, found.job, found.reading, found.era))


# --- decorating -----------------------------------------------------------------------------------


def decorate(cache: Any, function: Any, make_plan: Callable[[Any], Plan]) -> Any:
    """Replace a function, method, classmethod or staticmethod by its cached self."""
    if isinstance(function, staticmethod):
        return staticmethod(_decorated(function.__func__, make_plan))
    if isinstance(function, classmethod):
        return CachedClassMethod(_decorated(function.__func__, make_plan))
    if not callable(function):
        raise TypeError(
            f"a function is decorated, not {function!r}; write the parentheses: @cache.memoize()"
        )
    shell = _decorated(function, make_plan)
    return CachedMethod(shell) if _in_class_body(function) else shell


def _in_class_body(function: Callable[..., Any]) -> bool:
    """Whether the function is being defined in the body of a class."""
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(outer) and not outer.endswith("<locals>")


def _decorated(function: Callable[..., Any], make_plan: Callable[[Any], Plan]) -> Any:
    plan: Any = make_plan(function)
    shell: Any = async_shell(plan) if plan.is_async else sync_shell(plan)
    plan.wrapper = shell
    shell.uncached = function
    shell.cache_timeout = plan.options.timeout
    plan.dress(shell)
    if plan.is_async:

        async def refresh(*args: Any, **kwargs: Any) -> Any:
            return await acall(plan, plan.state(), args, kwargs, refresh=True)

        setattr(shell, LANE, Lane(plan, shell))
        shell.refresh = refresh
    else:
        shell.refresh = lambda *args, **kwargs: call(plan, plan.state(), args, kwargs, refresh=True)
    shell.refresh.__doc__ = "Compute now, store, and return the value; what a background job calls."
    setattr(shell, PLAN, plan)
    return shell


def plan_of(function: Any) -> Any:
    """The plan of a decorated function, however it was reached; ``None`` if it is not decorated."""
    return getattr(function, PLAN, None)
