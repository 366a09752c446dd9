"""What the log says, in words that a program can look for.

Each line of the logger ``flask_caching_async`` from INFO on, and each value that was not stored, at
DEBUG, carries fields beside its message. A formatter that writes them out as JSON, and alerts on
what is written, need not take messages apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, TypedDict, Unpack

__all__ = ["EVENTS", "FIELDS", "Event", "Fields", "Place", "about"]

#: The words of :data:`EVENTS`.
Event: TypeAlias = Literal[
    "action_failed",
    "backend_down",
    "backend_up",
    "background_failed",
    "breaker_closed",
    "breaker_open",
    "callback_failed",
    "invalidation_lost",
    "invalidation_pending",
    "invalidation_replayed",
    "key_conflict",
    "listener_failed",
    "not_stored",
    "refresh_dropped",
    "refresh_failed",
    "refresh_works",
    "renewal_failed",
    "renewal_works",
    "value_refused",
    "value_unreadable",
]

#: What a line of the log is about, by the word in its field ``cache_event``.
EVENTS: Mapping[Event, str] = MappingProxyType(
    {
        "backend_down": "an operation of the backend failed, the first one since it worked",
        "backend_up": "the backend works again",
        "breaker_open": "the backend failed several times in a row, and is left alone",
        "breaker_closed": "the backend answered a probe, and is used again",
        "invalidation_pending": "a deletion could not be made, and will be made up for",
        "invalidation_replayed": "the deletions that were pending have been made",
        "invalidation_lost": "the program ends before a pending deletion could be made",
        "not_stored": "a value was not stored, or a call bypassed the cache (DEBUG)",
        "value_refused": "a value can never be stored: no serializer takes it, or it is too large",
        "value_unreadable": "a stored value could not be read back, and counts as missing",
        "refresh_failed": "a refresh in the background failed, the first one since it worked",
        "refresh_works": "a refresh in the background works again (INFO)",
        "refresh_dropped": "a refresh could not be begun, or not be ended before the program",
        "renewal_failed": "a periodic renewal failed, the first one since it worked",
        "renewal_works": "a periodic renewal works again",
        "background_failed": "what goes on around a refresh failed, such as the end of a context",
        "callback_failed": "a callback of a decorated function failed; the cache was bypassed",
        "action_failed": "what somebody asked for in the dashboard failed",
        "listener_failed": "a listener of a signal, or of invalidations, failed",
        "key_conflict": "what stands under a key was stored by another function, or another app",
    }
)


class Place(TypedDict):
    """Which backend an event is about."""

    #: Its class.
    backend: str
    #: Its server or folder, without passwords; empty for memory.
    where: str


class Fields(TypedDict, total=False):
    """What else may be said of an event; in the log, each name begins with ``cache_``."""

    #: The class of the backend.
    backend: str
    #: Its server or folder, without passwords; empty for memory.
    where: str
    #: The function, fragment or operation by hand, as the statistics name it.
    function: str
    #: The key. Only the log has it: it may be made of what a visitor sent.
    key: str
    #: Why a value was not stored, as one of the words of :data:`.CAUSES`.
    cause: str
    #: The class of the error.
    error: str
    #: What is to be deleted: keys and tags.
    names: list[str]
    #: How many.
    count: int


#: All names that a record of the log may have beside those of :class:`logging.LogRecord`.
FIELDS = ("cache_event", *(f"cache_{name}" for name in Fields.__annotations__))


def about(event: Event, **fields: Unpack[Fields]) -> dict[str, object]:
    """The ``extra`` of a line of the log."""
    return {"cache_event": event, **{f"cache_{name}": value for name, value in fields.items()}}
