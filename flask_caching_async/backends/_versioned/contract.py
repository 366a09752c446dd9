"""The words of the versioned operations: what a look finds, what a lease is."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

#: Seconds that a deleted key remembers its deletion: longer than any computation should take.
TOMBSTONE_LIFE = 3600


class Snapshot(NamedTuple):
    """One look at a key: its raw value, its mark, and the stamps that were asked for.

    :param value: the stored object, or ``None`` for nothing.
    :param mark: an opaque, comparable token; equal marks mean that the key was not invalidated
        in between.
    :param stamps: one token for each name that was asked for, ``None`` where there is none.
    :param version: what :meth:`.BaseCache.fill` needs to replace exactly this value, on backends
        that cannot compare the mark and store in one step.
    """

    value: Any
    mark: Any
    stamps: tuple[str | None, ...]
    version: Any = None


class Lease:
    """The right to compute one key, held by one process at a time. All methods return at once.

    A backend whose leases are taken over the network overrides ``claim``, ``deliver`` and
    ``release`` instead, and its leases only remember what the last claim has seen.

    :attr:`holder` is a token of whoever holds it now, so that a waiter notices a new leader.
    """

    holder: str | None = None
    #: Whether whoever asked for it is gone; then it is given back as soon as it is had.
    abandoned = False
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


def new_token() -> str:
    """A token that nobody else has: 96 random bits."""
    return secrets.token_urlsafe(12)


def tomb(key: str) -> str:
    """Where the plain operations keep the mark of a key."""
    return f"~mark~{key}"
