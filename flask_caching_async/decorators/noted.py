"""What a call of a view has to do with HTTP: a page of what is stored, and a note for its response.

Only the function that answers the request is a page. One that a view calls, under a key of its own,
returns what it returns.
"""

from __future__ import annotations

import copy

from werkzeug.datastructures import Headers
from werkzeug.sansio.request import Request
from werkzeug.sansio.response import Response

from .._entries.entry import AnyEntry, Verdict, judge
from .._entries.times import NEVER, Times
from .._flow.policy import Call
from .._frameworks.routes import is_method, leads_to
from ..pages.answers import Note, Source, as_page, leave_note
from ..pages.http import Forwarded
from ..typing import Value
from .found import Bypass, Hit, LookedUp
from .plan import Plan, State

__all__ = ["noted", "stored_page"]

#: The methods that ask for a page.
READING = ("GET", "HEAD")


def _asked(plan: Plan, state: State) -> Request | None:
    """The current request, if this function is the view that answers it."""
    framework = state.binding.framework
    request = framework.request()
    if request is None:
        return None
    view = framework.view_of(request)
    if view is plan.wrapper or leads_to(view, plan.wrapper):
        return request
    kind = getattr(view, "view_class", None)
    methods = ["GET"] if request.method in READING else [request.method]
    return request if kind is not None and is_method(kind, methods, plan.wrapper) else None


def stored_page(plan: Plan, state: State, value: Value) -> Value:
    """What is stored of a view's answer: a response with an ETag, where its pages have one."""
    rules = state.page_rules
    if rules is None or not rules.http or _asked(plan, state) is None:
        return value
    return as_page(state.binding.framework, value, anew=True)


def noted(
    plan: Plan, state: State, found: LookedUp, value: Value, key_headers: tuple[str, ...]
) -> Value:
    """An answer as it is handed out, with a note left for its response."""
    rules = state.page_rules
    request = None if rules is None else _asked(plan, state)
    if rules is None or request is None:
        return value
    source = _source(plan, state, found, request)
    if rules.http and source.stored:
        value = as_page(state.binding.framework, value)
    if isinstance(value, Response) and not isinstance(found, Hit):
        # The view may keep its response: what is written into this one is not its own word.
        value = copy.copy(value)
        value.headers = Headers(list(value.headers))
    leave_note(request, Note(rules, source, plan.name, key_headers), value)
    return value


def _source(plan: Plan, state: State, found: LookedUp, request: Request) -> Source:
    """Where an answer comes from."""
    if isinstance(found, Bypass):
        return Source(False, "bypass" if request.method in READING else "method")
    if isinstance(found, Hit):
        if found.entry is None:
            return Source(False, "miss")
        return _of_entry(found.entry, state.timekeeper.clock(), found.tags)
    call, now = found.call, state.timekeeper.clock()
    if isinstance(call.served, Times) and not state.binding.null:
        left = call.served.fresh_until - now
        return Source(True, _why(plan, call), left=left, tags=call.tags)
    if call.served is not None and not isinstance(call.served, Times):
        return _of_entry(call.served, now, call.tags)
    if call.unstored is not None or state.binding.null:
        return Source(False, _why(plan, call))
    return Source(True, _why(plan, call), collapsed=True, tags=call.tags)


def _of_entry(entry: AnyEntry, now: float, tags: tuple[str, ...]) -> Source:
    age = now - entry.created if entry.created else None  # what was set by hand has no time
    left = None if entry.fresh_until == NEVER else entry.fresh_until - now
    return Source(True, None, age=age, left=left, tags=tags)


def _why(plan: Plan, call: Call) -> Forwarded:
    """Why a view was called."""
    entry = None if call.first is None else call.first.entry
    if entry is None:
        return "miss"
    fresh = judge(entry, call.called) is Verdict.FRESH
    return "request" if fresh and call.forced and not plan.options.is_stale else "stale"
