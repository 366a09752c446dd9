"""Why a call is not answered from the cache, in sentences that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .._flow.store_protocol import Inspected
from .._store.pending_invalidations import told
from ..backends._versioned.contract import KEY_VERSION, NAMESPACE
from ..decorators.plan import Plan
from ..pages.rules import PERSONAL
from ..stats import CAUSES, Counters
from .explanation import Reason

__all__ = ["of_entry", "of_last_value", "of_others", "short"]

#: What to do about a cause why a value was not stored.
ADVICE = {
    "set-cookie": "let the view set none, or write personal=True if all may have the answer",
    "cache-control": "let the view say something else, or write personal=True if all may have it",
    "status": "of errors only 404, 405, 410, 414 and 451 are stored",
    "streamed": "return the whole body to have it stored",
    "vary": "name what it depends on in vary_on",
    "variants": "set CACHE_VARIANTS, or let the view read less of the query string",
    "filter": "response_filter decides that",
    "none": "write cache_none=True to store it",
    "too-large": "let the server take larger values, or cache less",
    "unserializable": "return plain data, or set CACHE_SERIALIZER",
    "overtaken": "the next value will be stored",
    "timeout": "give it a timeout that is not below 0",
    "backend": "the log says what failed",
}

#: What the tags of views, functions and apps begin with.
AUTHORS = ("~v:", "~m:", "~a:")


def of_entry(plan: Plan, found: Inspected) -> Reason:
    """Why what stands under a key is no answer."""
    text = {
        "absent": "nothing is stored under this key",
        "unreadable": "what is stored under this key cannot be read, and will be overwritten",
        "expired": "it has expired",
    }.get(found.why, "")
    if found.why == "invalidated":
        text = f"it was dropped by {_several(map(_dropped_by, found.gone))}"
    elif found.why == "other":
        theirs = told(tag for tag in found.tags if tag.startswith(AUTHORS))
        text = (
            f"it was stored by {_several(theirs) or 'something else'}, and not by {plan.name}: "
            "give each app a CACHE_KEY_PREFIX, and each function a key, of its own"
        )
    elif found.why == "backend":
        text = f"the backend failed, or is left alone: {found.error}"
    return Reason(found.why, text)


def _dropped_by(name: str) -> str:
    """What has made a version go."""
    kind, _, rest = name.partition(":")
    if name == NAMESPACE:
        return "clear()"
    if name.startswith(KEY_VERSION):
        return "a deletion, or a newer value, of its key"
    if kind == "~t":
        return f"a deletion of the tag {rest!r}"
    if kind in ("~v", "~m"):
        return f"a deletion of all that {rest.split('~')[0]} has stored"
    return f"a deletion of {rest or name!r}"


def _several(names: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(names))


def of_last_value(plan: Plan, counters: Counters, keys: Iterable[str]) -> Reason | None:
    """Why the last value of a call was not stored, in this process; ``None`` if it was.

    :param keys: under which it may have begun.
    """
    why = next((counters.unstored[key] for key in keys if key in counters.unstored), None)
    if why is None:
        return None
    cause, text = why
    advice = _advice(text) if cause == "personal" else ADVICE.get(cause, "")
    said = short(f"the last value was not stored: {text}")
    return Reason(cause or "failed", f"{said}; {advice}" if advice else said)


def _advice(text: str) -> str:
    """What to write about a page that was made from what belongs to one visitor."""
    write = "vary_on=..."
    for what, said in PERSONAL.values():
        if text.endswith(f" {what}") or f" {what} had been read" in text:
            write = said
    if cookie := re.search("the cookie '([^']+)'", text):
        write = f"vary_on='cookie:{cookie[1]}'"
    return (
        f"write {write} to store one for each, unless=... for visitors who get no stored page, or "
        "personal=True if all may have the same"
    )


def of_others(counters: Counters) -> Reason | None:
    """Why other values of a function were not stored in this process; ``None`` if all were."""
    counted = [(count, cause) for cause, count in counters.not_stored.items() if count]
    if not counted:
        return None
    counted.sort(reverse=True)
    told = ", ".join([f"{count} because {CAUSES[cause]}" for count, cause in counted])
    return Reason(counted[0][1], f"of its other calls, in this process, were not stored: {told}")


def short(text: str) -> str:
    """A text of a bearable length."""
    return text if len(text) <= 400 else f"{text[:396]} ..."
