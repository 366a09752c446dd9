"""What the buttons do to the cache, and what is said of it.

Nothing counts as done because it was tried: a backend that fails, or is left alone, is told of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from ..._frameworks.asking import Colour
from ..._store.failures import in_one_line
from ...decorators.cached import ViewPlan
from ...decorators.deletion import Invalidation
from ...events import about
from ...typing import Value
from .figures import figures_of
from .known_keys import plans_of, tags_of_all
from .tokens import Told

__all__ = ["ACTIONS", "act"]

log = logging.getLogger("flask_caching_async")

#: What is said of a deletion that the backend did not make.
PENDING = "The backend did not do it; it is pending, and made as soon as the backend answers again."

#: Does something to a cache, as a form says it.
Action: TypeAlias = Callable[[Value, Colour, Mapping[str, str]], Coroutine[Any, Any, Told]]


async def act(cache: Value, colour: Colour, form: Mapping[str, str]) -> Told:
    """Do what a form asks for; what to say of it.

    :raises KeyError: for an action that there is not.
    """
    action = ACTIONS[form["action"]]
    try:
        return await action(cache, colour, form)
    except Exception as error:  # of the backend, or of a user's view
        log.warning(
            "the dashboard could not %s",
            form["action"],
            exc_info=True,
            extra=about("action_failed"),
        )
        return Told(False, f"That failed: {in_one_line(error)}")


async def delete_key(cache: Value, colour: Colour, form: Mapping[str, str]) -> Told:
    """Delete one key, and the variants of the page whose base it is."""
    key = form.get("key", "")
    if not key:
        return Told(False, "Which key? None was given.")
    if await colour.of_cache("delete", key):
        return Told(True, f"Deleted {key!r}.")
    if not await colour.of_cache("delete_many", key):
        return Told(False, f"{key!r} is not deleted. {PENDING}")
    return Told(True, f"Nothing was stored under {key!r}.")


async def delete_tag(cache: Value, colour: Colour, form: Mapping[str, str]) -> Told:
    """Drop all entries that carry a tag."""
    tag = form.get("tag", "")
    if not tag:
        return Told(False, "Which tag? None was given.")
    if await colour.of_cache("delete_tags", tag):
        return Told(True, f"Dropped all entries that carry the tag {tag!r}.")
    return Told(False, f"What carries the tag {tag!r} is not dropped. {PENDING}")


async def delete_use(cache: Value, colour: Colour, form: Mapping[str, str]) -> Told:
    """Drop all values of a view or a function."""
    kind, name = form.get("kind", ""), form.get("name", "")
    tags = tags_of_all(kind, name)
    stats = await figures_of(cache, colour)
    known = any((use.kind, use.name) == (kind, name) for use in stats.values())
    if not tags or not (known or plans_of(cache, kind, name)):
        return Told(False, f"There is no view or function called {name!r} here.")
    counters = cache._binding().ledger.of(kind, name)
    invalidation = Invalidation([], tags, (), counters)
    if await colour.invalidate(invalidation) is None:
        return Told(False, f"What {name} has stored is not dropped. {PENDING}")
    return Told(True, f"Dropped all that {name} had stored.")


async def clear(cache: Value, colour: Colour, form: Mapping[str, str]) -> Told:
    """Drop everything, if that was confirmed."""
    if form.get("confirmed") != "yes":
        return Told(False, "Nothing was cleared: tick that you mean it.")
    if await colour.of_cache("clear"):
        return Told(True, "Cleared: everything that this cache had stored is dropped.")
    return Told(False, f"It is not cleared. {PENDING}")


async def refresh(cache: Value, colour: Colour, form: Mapping[str, str]) -> Told:
    """Compute one page of a view anew, and store it."""
    name, path = form.get("name", ""), form.get("path", "").strip()
    views = [plan for plan in plans_of(cache, "view", name) if isinstance(plan, ViewPlan)]
    if not views:
        return Told(False, f"This process knows no view called {name!r}.")
    if not path.startswith("/") or path.startswith("//"):
        return Told(False, f"The path of a page begins with one slash, and {path!r} does not.")
    await colour.refresh(views[0].wrapper, path)
    return Told(True, f"Computed {path} anew, and stored it.")


#: All there is, by the value of ``action`` in a form.
ACTIONS: Mapping[str, Action] = {
    "delete-key": delete_key,
    "delete-tag": delete_tag,
    "delete-use": delete_use,
    "clear": clear,
    "refresh": refresh,
}
