"""Leases on Memcached: an item that is added, touched, and ended where it is still the same one."""

from __future__ import annotations

from .._versioned.leases import RemoteLease
from .entries import token_of
from .protocol import Command, MemcachedTransport, Place, gets, store, touch
from .values import exptime

__all__ = ["MemcachedLease", "look_for", "renew"]


class MemcachedLease(RemoteLease[MemcachedTransport]):
    """A lease, and where it lies."""

    place: Place
    #: Where its holders are noted who released it unshared.
    unshared_place: Place
    #: What stood for the version of the key when it was taken, if that had none.
    witness: bytes | None = None
    #: What the server needs to end exactly this one.
    cas: bytes | None = None

    def end(self) -> Command:
        """Compare and delete."""
        assert self.cas is not None, "a lease that was had has one"
        return store("cas", self.place, b"", -1, self.cas)

    def note_unshared(self) -> Command:
        """Note for those who wait for this holder that they must compute, too."""
        return store("set", self.unshared_place, self.note.encode(), exptime(self.life))


async def renew(transport: MemcachedTransport, lease: MemcachedLease) -> bool:
    """Let a lease live on; whether it was still ours."""
    commands = [touch(lease.place, exptime(lease.life)), *gets([lease.place])]
    _, found = await transport.batch(commands)
    return bool(token_of(found.get(lease.place)) == lease.token)


async def look_for(transport: MemcachedTransport, lease: MemcachedLease) -> None:
    """Find out whether a lease was had after all."""
    (found,) = await transport.batch(gets([lease.place]))
    item = found.get(lease.place)
    lease.cas = item.unique if item is not None and item.text == lease.token else None
