"""What is known of the keys of one view, function or fragment, without asking a server for all.

What is in memory can be listed. On a server entries have no list by function: there, this process
names those that it has made itself and remembers, and the pages of a view that have no arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..._entries.entry import BY_HAND, is_marker, tag_of
from ..._entries.times import NEVER
from ...backends._memory.entries import MemoryEntry
from ...backends.simplecache import SimpleCache
from ...binding import Binding
from ...decorators.cached import ViewPlan
from ...decorators.plan import Plan
from ...keys import make_template_fragment_key
from ...stats import Kind
from ...typing import Value

__all__ = ["KnownKey", "KnownKeys", "known_keys", "only_path", "plans_of", "tags_of_all"]

#: How many keys are shown.
SHOWN = 200


class KnownKey(NamedTuple):
    """One key.

    :param age: seconds since its value was stored; ``None`` where nobody has looked.
    :param fresh_for: seconds for which it is fresh; ``None`` if that never ends, or is not known.
    """

    key: str
    age: float | None = None
    fresh_for: float | None = None


class KnownKeys(NamedTuple):
    """Some keys.

    :param more: how many there are that are not shown.
    :param looked_up: whether these are entries that are there now, and not what is remembered.
    """

    keys: list[KnownKey]
    more: int
    looked_up: bool


def plans_of(cache: Value, kind: str, name: str) -> list[Plan]:
    """The decorated functions of this name that this process knows: views, and what was called."""
    found: Iterable[Plan] = [*cache._views, *cache._binding().states]
    same = [plan for plan in found if (plan.use, plan.name) == (kind, name)]
    return list(dict.fromkeys(same))


def tags_of_all(kind: str, name: str) -> list[str]:
    """The tags that drop all values of a view or a function, be it known to this process or not."""
    if kind == "view":  # see PagePlan.tags_of_all
        tag = tag_of(ViewPlan.kind, name)
        return [tag, f"{tag}~"]
    return [tag_of("m", name)] if kind == "function" else []


def only_path(plan: Plan) -> str:
    """The path of a view that needs no arguments; empty for others."""
    if not isinstance(plan, ViewPlan) or plan.own_key:
        return ""
    framework = plan.state().binding.framework
    try:
        return next((place.path for place in framework.places_of(plan.wrapper, {})), "")
    except Exception:  # of what the app does with its URLs
        return ""


def known_keys(cache: Value, kind: Kind, name: str) -> KnownKeys:
    """The keys of one use that are known, at most :data:`SHOWN` of them."""
    binding: Binding = cache._binding()
    backend = binding.timekeeper
    if isinstance(backend, SimpleCache):
        now = backend.clock()
        mine = [e for e in backend.memory.snapshot() if is_there(e, now) and is_of(e, kind, name)]
        mine.sort(key=lambda entry: -entry.created)
        keys = [_known(entry, now) for entry in mine[:SHOWN]]
        return KnownKeys(keys, len(mine) - len(keys), True)
    remembered = list(dict.fromkeys(_remembered(binding, plans_of(cache, kind, name), kind, name)))
    keys = [KnownKey(key) for key in remembered[:SHOWN]]
    return KnownKeys(keys, len(remembered) - len(keys), False)


def is_there(entry: MemoryEntry, now: float) -> bool:
    """Whether an entry has a value that may be served in some way."""
    dead = any([version.dead for version in entry.versions])
    return entry.usable_until > now and not dead and not is_marker(entry)


def is_of(entry: MemoryEntry, kind: Kind, name: str) -> bool:
    """Whether an entry was stored by one use."""
    tags = {version.name for version in entry.versions}
    if kind in ("view", "function"):
        return not tags.isdisjoint(tags_of_all(kind, name))
    first, several = _fragment_keys(name if kind == "fragment" else "")
    if kind == "fragment":
        return entry.key == first or entry.key.startswith(several)
    # By hand: what no function has stored under a key of its user's, and no fragment.
    of_function = any([tag.startswith(("~v:", "~m:")) for tag in tags])
    return entry.owner == BY_HAND and not (of_function or entry.key.startswith(first))


def _fragment_keys(name: str) -> tuple[str, str]:
    """The key of a fragment that depends on nothing more, and what those of others begin with."""
    return make_template_fragment_key(name), make_template_fragment_key(name, [""])[:-1]


def _known(entry: MemoryEntry, now: float) -> KnownKey:
    fresh_for = None if entry.fresh_until >= NEVER else entry.fresh_until - now
    return KnownKey(entry.key, max(now - entry.created, 0.0), fresh_for)


def _remembered(binding: Binding, plans: Iterable[Plan], kind: Kind, name: str) -> Iterator[str]:
    """The keys that this process has made and remembers, the newest first."""
    if kind == "fragment":
        yield _fragment_keys(name)[0]
    for plan in plans:
        state = binding.states.get(plan)
        if state is not None:
            yield from reversed(list(state.memo.values()))
            yield from reversed(list(state.learned.names))
        if (path := only_path(plan)) and isinstance(plan, ViewPlan) and not plan.query_string:
            yield path.join(plan.around)
