"""What a first look has found: an answer, a call that has to be made, or nothing to do with us."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from .._entries.entry import AnyEntry, Lookup
from .._flow.engine import Engine
from .._flow.policy import Call
from ..events import about
from ..stats import CAUSES, Counters
from ..typing import Value

__all__ = ["Bypass", "Hit", "LookedUp", "Pending", "hit_of", "pending_of"]

log = logging.getLogger("flask_caching_async")


class Hit(NamedTuple):
    """The answer was stored."""

    value: Value
    #: What it was found in; ``None`` for an answer that says that nothing is stored.
    entry: AnyEntry | None
    #: The key and the tags of the call.
    key: str
    tags: tuple[str, ...]


class Pending(NamedTuple):
    """The answer has to be waited for or computed."""

    #: The engine of the tenant whose turn it was when the key was made.
    engine: Engine
    call: Call
    lookup: Lookup
    landed_before: int


class Bypass(NamedTuple):
    """The call is none of the cache's business.

    :param cause: why, as one of the words of ``CAUSES``.
    """

    cause: str

    def note(self, counters: Counters) -> None:
        """Count the call among what was not stored."""
        counters.not_stored[self.cause] += 1
        if log.isEnabledFor(logging.DEBUG):
            extra = about("not_stored", function=counters.name, cause=self.cause)
            why = CAUSES[self.cause]
            log.debug("a call of %s bypassed the cache: %s", counters.name, why, extra=extra)


#: ``Hit(*four)`` and ``Pending(*four)`` in a third of the time, as in ``_entries/entry.py``.
hit_of: Callable[[tuple[Value, AnyEntry | None, str, tuple[str, ...]]], Hit]
hit_of = functools.partial(tuple.__new__, Hit)
pending_of: Callable[[tuple[Engine, Call, Lookup, int]], Pending]
pending_of = functools.partial(tuple.__new__, Pending)

#: What a first look has found.
LookedUp: TypeAlias = Hit | Pending | Bypass
