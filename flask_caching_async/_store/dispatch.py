"""A store over any backend: which steps serve sync code, and which async code.

``store.sync`` has the steps for sync code (they never suspend), ``store.aio`` those for async code:
natively on a loop that owns connections, elsewhere in a worker thread or on the loop of the
process.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import cast

from .._entries.entry import Lookup
from .._flow.store_protocol import LookingSteps, Store, StoreSteps
from .._runtime.colour import Awaited, Chosen, Instant, Moved, run_now
from .._runtime.loops import running_loop_kind, start_task
from .._runtime.process_loop import bridge, on_process_loop
from .._runtime.threads import carry_out, in_thread, in_worker, offload
from ..backends._versioned.contract import NAMESPACE, Lease, Operations
from ..backends.base import BaseCache
from ..stats import BackendStats
from ..typing import Coro, Value
from .failures import Failures, Limits
from .pending_invalidations import PendingInvalidations
from .valid_keys import check_text, check_utf8, spelled
from .versioned import Expected, VersionedSteps

__all__ = ["VersionedStore"]

Make = Callable[[], Coro[Value]]


class VersionedStore(Store):
    """The steps over any backend, through its versioned operations."""

    peek = direct = None

    def __init__(self, backend: BaseCache, raising: Callable[[], bool], limits: Limits) -> None:
        self.backend = backend
        self.failures = Failures(backend, raising, limits, self._probe)
        self.check = check_text if backend.any_text else check_utf8
        self._arrange(self.failures.pending_of(""))

    def _probe(self) -> None:
        """Ask the server something cheap, in a thread where it is no tenant's turn."""
        backend = self.backend
        if callable(backend.key_prefix):
            backend = backend.for_prefix("")
        backend.look_up(NAMESPACE)

    def _arrange(self, pending: PendingInvalidations) -> None:
        """Decide which steps serve sync code, and which async code."""
        backend, self._pending = self.backend, pending
        steps = self.steps(Awaited if backend.async_native else Instant)
        self.quick = None if backend.async_native else steps
        self.sync: StoreSteps = steps
        self.aio: StoreSteps = steps
        if backend.async_native:
            self.sync = cast(StoreSteps, Moved(steps, _on_process_loop))
            self.aio = cast(StoreSteps, Moved(steps, _beside_process_loop))
        elif backend.blocking:
            # A deletion is made, or known to be pending, whatever becomes of its caller.
            moved = Moved(steps, _in_worker, invalidate=_carried_out, clear=_carried_out)
            self.aio = cast(StoreSteps, moved)
            if backend.two_coloured:
                native = self.steps(Awaited)
                self.aio = cast(StoreSteps, Chosen(backend.native_here, native, moved))
        sync = self.sync
        pending.replay = lambda: run_now(sync.replay())

    def steps(self, face: type[Awaited] | type[Instant]) -> LookingSteps:
        """The steps over the operations in one colour."""
        ops = cast(Operations, face(self.backend))
        return VersionedSteps(self.backend, ops, self.failures, self._pending, self.check)

    def for_tenant(self, backend: BaseCache) -> VersionedStore:
        """A store for other keys of the same server: it fails, and is left alone, with this one."""
        view = copy.copy(self)
        view.backend = backend
        view._arrange(self.failures.pending_of(backend.key_prefix))
        return view

    def condition(self) -> BackendStats:
        """How the backend is, as far as it is known without asking it."""
        return self.failures.condition()

    def clock(self) -> float:
        """Seconds since the epoch."""
        return self.backend.clock()

    def release_in_background(self, lease: Lease, shared: bool) -> None:
        """Give a lease back away from the caller, who does not wait for it."""
        if self.backend.native_here():
            start_task(self.aio.release_lease(lease, shared))
            return

        def release() -> None:
            run_now(self.sync.release_lease(lease, shared))

        try:
            (in_worker if running_loop_kind() else in_thread)(release)
        except RuntimeError:  # the interpreter shuts down
            release()

    def stands(self, expected: Expected, lookup: Lookup) -> bool:
        """Whether a look at the key that came after ``expected`` finds all of it unchanged."""
        if lookup.failed or lookup.seen is None:
            return True
        key_version, seen = lookup.seen
        return bool(key_version == expected.key_version) and all(
            seen.get(tag) == version for tag, version in expected.tag_versions.items()
        )

    def lease(self, key: str, expected: Expected, life: float) -> Lease | None:
        """A lease across processes, where the backend is shared by several.

        After an invalidation it is another one: no caller waits for what was overtaken.
        """
        standing = (expected.key_version, sorted(expected.tag_versions.items()))
        state = hashlib.sha256(repr(standing).encode()).hexdigest()
        try:
            return self.backend.lease(f"{spelled(key)}@{state[:16]}", life)
        except Exception as error:
            self.failures.note(error, f"lease {key!r}")
            return None


async def _on_process_loop(make: Make) -> Value:
    return on_process_loop(make)


async def _beside_process_loop(make: Make) -> Value:
    # The running loop may end with this request, and a client must not be bound to it.
    return await bridge(make)


async def _in_worker(make: Make) -> Value:
    return await offload(lambda: run_now(make()))


async def _carried_out(make: Make) -> Value:
    return await carry_out(lambda: run_now(make()))
