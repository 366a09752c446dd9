"""The guarded operations of a backend, in both colours, with defaults from the plain ones.

They are what the decorators need beyond get and set: to look at a key, its mark and some stamps in
one round trip, to store only what nobody invalidated meanwhile, and to compute a key in one process
at a time. ``_guarded.py`` says what marks and stamps are, and has the steps of the defaults.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ..._runtime.colour import Awaited, Instant, run_now
from ..._runtime.process_loop import on_process_loop
from . import defaults as _guarded
from .contract import Lease, Snapshot

__all__ = ["GuardedOperations"]


class GuardedOperations:
    """What :class:`.BaseCache` has beyond the plain operations."""

    async_native: ClassVar[bool]
    _away: Callable[..., Any]

    @classmethod
    def marks_entries(cls) -> bool:
        """Whether entries also name the mark under which they were computed.

        The plain operations cannot check it and store in one step: a reader may come in between.
        """
        return cls.read is GuardedOperations.read and cls.aread is GuardedOperations.aread

    def read(self, key: str, stamps: Sequence[str] = ()) -> Snapshot:
        """Look at a key, its mark and some stamps, in one round trip."""
        return self._now(_guarded.read, key, stamps)  # type: ignore[no-any-return]

    async def aread(self, key: str, stamps: Sequence[str] = ()) -> Snapshot:
        """Awaitable :meth:`read`."""
        return await self._either(_guarded.read, self.read, key, stamps)  # type: ignore[no-any-return]

    def ensure(self, stamps: Sequence[str], timeout: int) -> list[str | None]:
        """The tokens of ``stamps``; what is missing is created, to live ``timeout`` seconds.

        ``None`` stands for a stamp that the backend would not keep: nothing can be stored with it.
        """
        return self._now(_guarded.ensure, stamps, timeout)  # type: ignore[no-any-return]

    async def aensure(self, stamps: Sequence[str], timeout: int) -> list[str | None]:
        """Awaitable :meth:`ensure`."""
        return await self._either(_guarded.ensure, self.ensure, stamps, timeout)  # type: ignore[no-any-return]

    def fill(
        self,
        key: str,
        value: Any,
        timeout: int,
        mark: Any,
        stamps: Mapping[str, str],
        version: Any = None,
    ) -> bool:
        """Store ``value`` if the key's mark and all ``stamps`` still stand; whether it was."""
        return self._now(_guarded.fill, key, value, timeout, mark, stamps, version)  # type: ignore[no-any-return]

    async def afill(
        self,
        key: str,
        value: Any,
        timeout: int,
        mark: Any,
        stamps: Mapping[str, str],
        version: Any = None,
    ) -> bool:
        """Awaitable :meth:`fill`."""
        what = (key, value, timeout, mark, stamps, version)
        return await self._either(_guarded.fill, self.fill, *what)  # type: ignore[no-any-return]

    def put(self, mapping: Mapping[str, Any], timeout: float | None = None) -> list[str]:
        """Set several values so that no computation that is under way overwrites them.

        Returns the keys that were stored.
        """
        return self._now(_guarded.put, mapping, timeout)  # type: ignore[no-any-return]

    async def aput(self, mapping: Mapping[str, Any], timeout: float | None = None) -> list[str]:
        """Awaitable :meth:`put`."""
        return await self._either(_guarded.put, self.put, mapping, timeout)  # type: ignore[no-any-return]

    def expel(self, keys: Sequence[str], stamps: Sequence[str] = ()) -> list[str]:
        """Delete ``keys`` so that no computation under way brings them back, and drop ``stamps``.

        Returns the keys that existed.
        """
        return self._now(_guarded.expel, keys, stamps)  # type: ignore[no-any-return]

    async def aexpel(self, keys: Sequence[str], stamps: Sequence[str] = ()) -> list[str]:
        """Awaitable :meth:`expel`."""
        return await self._either(_guarded.expel, self.expel, keys, stamps)  # type: ignore[no-any-return]

    def _now(self, step: Any, *args: Any) -> Any:
        """A guarded step in sync code: over the sync methods, or as a whole on the process loop."""
        if self.async_native:
            return on_process_loop(functools.partial(step, Awaited(self), *args))
        return run_now(step(Instant(self), *args))

    async def _either(self, step: Any, method: Any, *args: Any) -> Any:
        """A guarded step: natively, or the sync one away from the loop."""
        if self.async_native:
            return await step(Awaited(self), *args)
        return await self._away(method, *args)

    def lease(self, key: str, life: float) -> Lease | None:
        """A lease on ``key`` across processes, or ``None`` where other processes do not matter.

        :param life: seconds after which the lease of a dead holder ends.
        """
        return None

    def claim(
        self, lease: Lease, key: str, stamps: Sequence[str] = ()
    ) -> tuple[bool, Snapshot | None]:
        """Try once to take a lease, and look at the key in the same trip where that is possible.

        Returns whether the lease is ours now, and the look; ``None`` where there was none.
        """
        return self._now(_guarded.claim, lease, key, stamps)  # type: ignore[no-any-return]

    async def aclaim(
        self, lease: Lease, key: str, stamps: Sequence[str] = ()
    ) -> tuple[bool, Snapshot | None]:
        """Awaitable :meth:`claim`."""
        return await self._either(_guarded.claim, self.claim, lease, key, stamps)  # type: ignore[no-any-return]

    def deliver(
        self,
        lease: Lease,
        key: str,
        value: Any,
        timeout: int,
        mark: Any,
        stamps: Mapping[str, str],
        version: Any = None,
    ) -> bool:
        """:meth:`fill`, and give the lease back in the same trip where that is possible."""
        what = (key, value, timeout, mark, stamps, version)
        return self._now(_guarded.deliver, lease, *what)  # type: ignore[no-any-return]

    async def adeliver(
        self,
        lease: Lease,
        key: str,
        value: Any,
        timeout: int,
        mark: Any,
        stamps: Mapping[str, str],
        version: Any = None,
    ) -> bool:
        """Awaitable :meth:`deliver`."""
        what = (key, value, timeout, mark, stamps, version)
        return await self._either(_guarded.deliver, self.deliver, lease, *what)  # type: ignore[no-any-return]

    def release(self, lease: Lease, shared: bool = True) -> None:
        """Give a lease back; see :meth:`.Lease.release`."""
        self._now(_guarded.release, lease, shared)

    async def arelease(self, lease: Lease, shared: bool = True) -> None:
        """Awaitable :meth:`release`."""
        await self._either(_guarded.release, self.release, lease, shared)
