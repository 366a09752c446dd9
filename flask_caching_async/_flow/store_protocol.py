"""What the flow, and what users call by hand, need of a store: one seam with two implementations.

:class:`.MemoryStore` works on objects in memory, :class:`.VersionedStore` over any backend.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from .._entries.entry import AnyEntry, Lookup, PeekedEntry
from .._entries.times import Times
from ..stats import BackendStats
from ..typing import Value

__all__ = ["DirectSteps", "FlowSteps", "Inspected", "Saved", "Store", "StoreSteps"]

#: What comes of saving a value: the bytes that were stored, or else the cause why none were (one of
#: the words of ``CAUSES``). All but ``"overtaken"`` mean that it could not be stored at all.
Saved: TypeAlias = int | str


class Inspected(NamedTuple):
    """What stands under a key, whether it is an answer or not.

    :param entry: the entry; ``None`` if there is none that can be read.
    :param why: why it is no answer: ``"absent"``, ``"unreadable"``, ``"expired"``, ``"other"`` (of
        another function, or another app), ``"invalidated"`` or ``"backend"``; empty if it is one.
    :param tags: what it carries.
    :param gone: of these, what was invalidated; or what the call asks for and it does not carry.
    :param size: about its bytes.
    :param error: what the backend raised.
    """

    entry: AnyEntry | None
    why: str
    tags: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    size: int = 0
    error: str = ""


# ``expected`` is what must still stand for a value to be stored, ``lease`` the right to compute a
# key: both are the store's own business, and the flow only hands them on.


class FlowSteps(Protocol):
    """What the flow does with a store, in the colour of the caller."""

    async def load(self, key: str, tags: tuple[str, ...]) -> Lookup:
        """Look at a key and its tag versions."""
        ...

    async def expect(
        self, key: str, tags: tuple[str, ...], lookup: Lookup, life: float, forced: bool = False
    ) -> Any:
        """What must still stand when the computation ends; ``None`` if nothing can be stored.

        :param forced: whether what began before this computation must not be stored after it.
        """
        ...

    async def save(
        self, key: str, value: Value, times: Times, expected: Any, lookup: Lookup, lease: Any
    ) -> Saved:
        """Store a computed value if ``expected`` stands, and give the lease back.

        Of a value that cannot be stored at all the lease is still held.
        """
        ...

    async def acquire_lease(
        self, lease: Any, key: str, tags: tuple[str, ...]
    ) -> tuple[bool, Lookup | None]:
        """Try once for a lease, and look at its key where that costs nothing."""
        ...

    async def invalidate(self, keys: Sequence[str], tags: Sequence[str]) -> list[str] | None:
        """Delete keys, drop versions of tags; ``None`` if it failed.

        Else the keys that existed, and the tags that had a version: something was stored with them.
        """
        ...

    async def unshared(self, lease: Any, holder: str) -> bool:
        """Whether ``holder`` had a value that no other caller may have."""
        ...

    async def release_lease(self, lease: Any, shared: bool) -> None:
        """Give a lease back."""
        ...


class DirectSteps(Protocol):
    """Steps as plain functions: of a store that neither waits nor fails, nor shares.

    A coroutine costs more than what it does there.
    """

    def load_directly(self, key: str, tags: tuple[str, ...]) -> Lookup:
        """Look at a key."""
        ...

    def expect_directly(self, key: str, tags: tuple[str, ...], forced: bool) -> Any:
        """What must still stand when the computation ends."""
        ...

    def save_directly(self, key: str, value: Value, times: Times, expected: Any) -> Saved:
        """Store a computed value if ``expected`` stands."""
        ...

    def get_directly(self, key: str, fresh: bool = False) -> Value:
        """The value of a key, ``MISSING`` where there is none, or no fresh one if it must be."""
        ...

    def set_one_directly(self, key: str, value: Value, timeout: Any) -> bool:
        """Set a value without tags, which no computation under way overwrites."""
        ...

    def set_directly(
        self, mapping: Mapping[str, Value], timeout: Any, tags: tuple[str, ...]
    ) -> list[str]:
        """Set values that no computation under way overwrites; the keys that were stored."""
        ...


class StoreSteps(FlowSteps, Protocol):
    """What users do by hand, too, in the colour of the caller."""

    async def get(self, keys: Sequence[str]) -> list[Value]:
        """The values of several keys, ``MISSING`` where there is none."""
        ...

    async def has(self, key: str) -> bool:
        """Whether a living entry exists, be its value ``None``."""
        ...

    async def set_many(
        self, mapping: Mapping[str, Value], timeout: Any, tags: tuple[str, ...]
    ) -> list[str]:
        """Set values that no computation under way overwrites; the keys that were stored."""
        ...

    async def add(self, key: str, value: Value, timeout: Any, tags: tuple[str, ...]) -> bool:
        """Set a value unless there is one."""
        ...

    async def touch(self, key: str, timeout: Any) -> bool:
        """Let a living entry live anew; whether there was one."""
        ...

    async def inc(self, key: str, delta: int) -> int | None:
        """Add to a number."""
        ...

    async def clear(self) -> bool:
        """Forget everything; whether it was done."""
        ...

    async def inspect(self, key: str, tags: tuple[str, ...]) -> Inspected:
        """Look at what stands under a key as nobody else does: it counts, and changes, nothing."""
        ...

    async def replay(self) -> bool:
        """Make the invalidations that are pending; whether none is any more."""
        ...

    async def close(self) -> None:
        """Release what the backend holds."""
        ...


class LookingSteps(StoreSteps, Protocol):
    """Steps that know a way without a coroutine to what sync code asks for most."""

    def load_now(self, key: str, tags: tuple[str, ...]) -> Lookup | None:
        """Look at a key in sync code; ``None`` where there is more to it."""
        ...

    def get_now(self, key: str) -> Value:
        """The value of a key in sync code, ``MISSING`` where there is none."""
        ...


class Store(Protocol):
    """Entries in, entries out, over one backend of one app.

    :attr:`sync` has the steps for sync code (they never suspend), :attr:`aio` those for async code.
    """

    backend: Any
    sync: StoreSteps
    aio: StoreSteps
    #: The most frequent steps as plain functions, where objects in memory are all that there is.
    direct: DirectSteps | None
    #: The steps for sync code where they know a shorter way to what is asked for most.
    quick: LookingSteps | None
    #: Looks up an entry without a round trip, where the backend is memory.
    peek: Callable[[str], PeekedEntry | None] | None
    #: Refuses keys and tags that the backend can never have, with :class:`.InvalidKeyError`.
    check: Callable[[Collection[str]], None]

    def condition(self) -> BackendStats:
        """How the backend is, as far as it is known without asking it."""
        ...

    def clock(self) -> float:
        """Seconds since the epoch."""
        ...

    def stands(self, expected: Any, lookup: Lookup) -> bool:
        """Whether a look at the key, made after ``expected`` was read, finds it unchanged."""
        ...

    def lease(self, key: str, expected: Any, life: float) -> Any:
        """A lease across processes, or ``None`` where no other process shares the backend."""
        ...

    def for_tenant(self, backend: Any) -> Store:
        """A store for other keys of the same server: it fails, and is left alone, with this one."""
        ...

    def release_in_background(self, lease: Any, shared: bool) -> None:
        """Give a lease back away from the caller, who does not wait for it."""
        ...
