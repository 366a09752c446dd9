"""The key and the tags of a call: what has to be called for them, and what may fail there."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import NamedTuple

from .._flow.callbacks import CallCallback
from .._flow.engine import Engine
from ..events import about
from ..exceptions import CacheError, InvalidKeyError
from ..pages.rules import Keyed
from ..typing import Args, Kwargs
from .found import Bypass
from .plan import KeyAndTags, Plan, State

__all__ = ["Found", "find_key", "found_of", "key_without_asking"]

log = logging.getLogger("flask_caching_async")


class Found(NamedTuple):
    """The key of a call.

    :param forced: whether it must be computed whatever is stored.
    :param above: the keys of which it is a variant by what its page is known to be made from.
    :param keyed: what the key has of the request, where that is known.
    """

    key: str
    tags: tuple[str, ...]
    above: tuple[str, ...]
    forced: bool
    engine: Engine
    keyed: Keyed | None


#: ``Found(*six)`` in a third of the time, as in ``_entries/entry.py``.
found_of: Callable[
    [tuple[str, tuple[str, ...], tuple[str, ...], bool, Engine, Keyed | None]], Found
]
found_of = functools.partial(tuple.__new__, Found)


def key_without_asking(
    plan: Plan, state: State, args: Args, kwargs: Kwargs
) -> tuple[str, tuple[str, ...], tuple[str, ...], Keyed | None] | None:
    """The key, the tags, and what else of ``Found`` there is, where nothing has to be called.

    ``None`` where there is more to it, be it an error: :func:`find_key` deals with that.
    """
    if plan.asks or (plan.of_request and plan.replaced_key() is not None):
        return None
    keyed = plan.known_inputs(state) if plan.of_request else None
    try:
        made = plan.make_key(state, args, kwargs, ())
        if made is None:
            return None
        if plan.of_request:
            return *plan.vary(state, *made, keyed), keyed
        return *made, (), None
    except Exception:
        return None


async def find_key(
    plan: Plan, state: State, args: Args, kwargs: Kwargs, call_callback: CallCallback, refresh: bool
) -> Found | Bypass:
    """The key and tags of a call, and the engine; or why the cache is to be bypassed.

    A callback that fails bypasses it, too, and is logged: a page without its cache is better than
    no page. What ``unless`` raises is raised, as in Flask-Caching.
    """
    options, keyed, forced = plan.options, plan.known_inputs(state), refresh
    if options.unless and not refresh:
        # Not in the try: a visitor who may not see the cached page must not get it by a failure.
        more, named = plan.arguments_for("unless", (plan.function, *args), kwargs)
        asking = call_callback
        if keyed is not None:
            asking = plan.noting(state, call_callback, keyed.excused)
        if await asking(options.unless, *more, **named):
            return Bypass("unless")
    try:
        if plan.asks or plan.replaced_key() is not None:
            made = await _make_key(plan, state, args, kwargs, call_callback, keyed)
        else:
            made = plan.make_key(state, args, kwargs, ())
        if made is None:
            return Bypass(plan.why_no_key(state))
        if options.forced_update and not refresh:
            more, named = plan.arguments_for("forced_update", args, kwargs)
            forced = bool(await call_callback(options.forced_update, *more, **named))
        engine = state.binding.engine  # this asks a callable key prefix, too
        key, tags, above = plan.vary(state, *made, keyed)
        engine.store.check((key, *tags))
        return Found(key, tags, above, forced, engine, keyed)
    except Exception as error:
        if isinstance(error, CacheError) and not isinstance(error, InvalidKeyError):
            raise
        plan.explain(error, args, kwargs)
        if state.binding.raising:
            raise
        extra = about("callback_failed", function=plan.name, error=type(error).__name__)
        failed = "a callback of %s failed; it is called without the cache"
        log.exception(failed, plan.name, extra=extra)
        return Bypass("callback")


async def _make_key(
    plan: Plan,
    state: State,
    args: Args,
    kwargs: Kwargs,
    call_callback: CallCallback,
    keyed: Keyed | None,
) -> KeyAndTags | None:
    """Call the callbacks of a key, and make it; ``None`` if the call is not to be cached."""
    asking, callbacks = call_callback, plan.key_callbacks(state, args, kwargs)
    makers = len(callbacks) - callable(plan.options.tags)  # which come last, and make no key
    if keyed is not None and makers:
        asking = plan.noting(state, call_callback, keyed.inputs)
    answers = [await asking(callback) for callback in callbacks[:makers]]
    answers += [await call_callback(callback) for callback in callbacks[makers:]]
    return plan.make_key(state, args, kwargs, answers)
