"""The words of the versioned operations: what versions are, what a look finds, what a lease is.

A value must not be stored once it has been invalidated. Two kinds of small tokens decide that.

* A *key version* is the state of one key. The leader who computes a key remembers it;
  ``invalidate`` (a delete) and ``set_and_supersede`` (an explicit set) change it, and
  ``set_if_current`` stores only while it stands.
* A *tag version* is a token under the name of a tag, shared by many entries (those of a function,
  of a user's tag, of the whole namespace). It is created when it is first needed and dropped to
  invalidate all that was stored with it; an entry whose tag version is gone, or another one, is
  dead.

* A *witness* stands where a key has no version while it is computed under a lease; it counts as no
  version. A server may evict the version that a deletion left, but then the witness is gone, too.

The names on a server (``~stamp~``, ``~mark~``) are older than these words. All names of ours begin
with a tilde: the tags of the decorators and of users do, and a key that does gets another name.
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from ...typing import Timeout, Value

__all__ = [
    "KEY_VERSION",
    "KEY_VERSION_LIFE",
    "LEASE",
    "NAMESPACE",
    "PLAIN",
    "UNSHARED",
    "VERSIONED",
    "KeyVersion",
    "Lease",
    "Operations",
    "VersionedValue",
    "as_key_version",
    "as_token",
    "key_version_name",
    "new_token",
    "new_witness",
    "versioned_value_of",
]

#: The tag of everything in a store: ``clear`` drops its version.
NAMESPACE = "~stamp~"
#: What stands before a key in the names of its version and of its lease.
KEY_VERSION, LEASE = "~mark~", "~lease~"
#: What stands in the name of the note about holders who released a lease unshared.
UNSHARED = "~unshared~"
#: Seconds that a deleted key remembers its deletion: longer than any computation should take.
KEY_VERSION_LIFE = 3600

#: The sync names of the plain operations that a subclass may have its own idea of.
PLAIN = ("get", "set", "add", "has", "delete", "get_many", "set_many", "delete_many")
#: The sync names of the versioned operations.
VERSIONED = (
    "look_up",
    "ensure_versions",
    "set_if_current",
    "set_and_supersede",
    "invalidate",
    "acquire_lease",
    "set_and_release",
    "set_and_overtake",
    "release_lease",
)


#: The state of a key, as its backend knows it: opaque, and equal as long as it was not invalidated.
KeyVersion: TypeAlias = Any


class VersionedValue(NamedTuple):
    """One look at a key: its raw value, its version, and the tag versions that were asked for.

    :param value: the stored object, or ``None`` for nothing.
    :param key_version: equal ones mean that the key was not invalidated in between.
    :param tag_versions: one token for each tag that was asked for, ``None`` where there is none.
    :param cas: what ``set_if_current`` needs to replace exactly this value, on backends that cannot
        compare the key version and store in one step.
    """

    value: Value
    key_version: KeyVersion
    tag_versions: tuple[str | None, ...]
    cas: bytes | None = None


#: ``VersionedValue(*four)`` in a third of the time, as in ``_entries/entry.py``.
versioned_value_of: Callable[
    [tuple[Value, KeyVersion, tuple[str | None, ...], bytes | None]], VersionedValue
]
versioned_value_of = functools.partial(tuple.__new__, VersionedValue)


class Lease:
    """The right to compute one key, held by one process at a time. All methods return at once.

    A backend whose leases are taken over the network overrides ``acquire_lease``,
    ``set_and_release`` and ``release_lease`` instead, and its leases only remember what the last
    ``acquire_lease`` has seen.
    """

    #: A token of the process that holds it now, so that a waiter notices a new leader.
    holder: str | None = None
    #: Whether the call that asked for it has ended; then it is given back as soon as it is had.
    abandoned = False
    #: On which of several servers it is.
    shard = 0
    #: Whether the backend failed while it was held, so that giving it back had better not be
    #: waited for.
    failed = False

    def acquire(self) -> bool:
        """Try once to take the lease; True if it is ours now."""
        raise NotImplementedError

    def release(self, shared: bool = True) -> None:
        """Give the lease back.

        :param shared: False tells those who waited for this holder that its value could not be
            stored, so that they compute at once, all together, instead of one after the other.
        """
        raise NotImplementedError

    def unshared(self, holder: str | None) -> bool:
        """Whether ``holder`` released its lease with ``shared=False``."""
        return False

    def forsake(self) -> None:
        """Hold it no longer, without asking the backend, which cannot be reached: it ends there by
        itself."""


class Operations(Protocol):
    """The operations of a backend in one colour, all awaitable: what steps work on."""

    async def get(self, key: str) -> Value: ...
    async def set(self, key: str, value: Value, timeout: Timeout | None = None) -> bool | None: ...
    async def add(self, key: str, value: Value, timeout: Timeout | None = None) -> bool: ...
    async def has(self, key: str) -> bool: ...
    async def delete(self, key: str) -> bool: ...
    async def get_many(self, *keys: str) -> list[Value]: ...
    async def set_many(
        self, mapping: Mapping[str, Value], timeout: Timeout | None = None
    ) -> list[str]: ...
    async def delete_many(self, *keys: str) -> list[str]: ...
    async def inc(self, key: str, delta: int = 1) -> int | None: ...
    async def clear(self) -> bool: ...
    async def close(self) -> None: ...

    async def look_up(self, key: str, tags: Sequence[str] = ()) -> VersionedValue: ...
    async def ensure_versions(self, tags: Sequence[str], timeout: float) -> list[str | None]: ...
    async def set_if_current(
        self,
        key: str,
        value: Value,
        timeout: float,
        key_version: KeyVersion,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool: ...
    async def set_and_supersede(
        self, mapping: Mapping[str, Value], timeout: float | None = None
    ) -> list[str]: ...
    async def invalidate(self, keys: Sequence[str], tags: Sequence[str] = ()) -> list[str]: ...
    async def acquire_lease(
        self, lease: Lease, key: str, tags: Sequence[str] = ()
    ) -> tuple[bool, VersionedValue | None]: ...
    async def set_and_release(
        self,
        lease: Lease,
        key: str,
        value: Value,
        timeout: float,
        key_version: KeyVersion,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool: ...
    async def set_and_overtake(
        self,
        lease: Lease | None,
        key: str,
        value: Value,
        timeout: float,
        key_version: KeyVersion,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool: ...
    async def release_lease(self, lease: Lease, shared: bool = True) -> None: ...


_is_token = re.compile("[A-Za-z0-9_-]{16}").fullmatch


def new_token() -> str:
    """A token that is given out only once: 96 random bits."""
    return secrets.token_urlsafe(12)


def as_token(raw: object) -> str | None:
    """A tag version as it was read; ``None``, as if there were none, if we never gave it out.

    Garbage that counted as a version could never be compared with what a server holds; where it
    counts as missing, it is replaced when the version is needed next.
    """
    if not isinstance(raw, (bytes, str)) or len(raw) != 16:
        return None
    if type(raw) is bytes or type(raw) is str:
        return _as_token(raw)
    return _as_token(bytes(raw) if isinstance(raw, bytes) else str.__str__(raw))


@functools.lru_cache(4096)
def _as_token(raw: bytes | str) -> str | None:
    # Remembered, since those of functions and of the namespace are read by each look.
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    return text if _is_token(text) else None


def new_witness() -> str:
    """What stands for the version of a key that has none while it is computed."""
    return f".{new_token()}"


def as_key_version(raw: bytes | None) -> bytes | None:
    """A key version as it was read; a witness is none."""
    return None if raw is None or raw.startswith(b".") else raw


def key_version_name(key: str) -> str:
    """Where the plain operations keep the version of a key."""
    return KEY_VERSION + key
