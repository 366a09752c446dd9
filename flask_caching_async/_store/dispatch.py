"""A store: entries in, entries out, over one backend of one app.

There are two. :class:`MemoryStore` works on the objects of a ``SimpleCache``. :class:`TokenStore`
works on any backend: an entry is a small tuple around the value, its stamps are tokens under names
of their own, and both are read in one round trip.

Both have the same *steps*, written once as coroutines: ``load``, ``guard``, ``save`` for the flow,
and ``get``, ``put`` … for what users call by hand. ``store.now`` has them for sync code (they never
suspend), ``store.later`` for async code.

What a backend raises ends here: a read becomes a miss, a write "not stored", both are logged, and
with ``CACHE_ON_ERROR="raise"`` a :class:`.BackendError` is raised instead.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from .._entries.entry import Reading
from .._runtime.colour import Awaited, Instant, run_now
from .._runtime.loops import start_task
from .._runtime.process_loop import bridge, on_process_loop
from .._runtime.threads import in_worker, offload
from ..backends._versioned.contract import Lease
from ..backends.base import BaseCache
from .failures import SPACE, Failures, Limits
from .pending_invalidations import Owed
from .versioned import TokenSteps

__all__ = ["TokenStore"]

log = logging.getLogger("flask_caching_async")


class TokenStore:
    """The steps over any backend, through its guarded operations."""

    peek = None

    def __init__(self, backend: BaseCache, raising: Callable[[], bool], limits: Limits) -> None:
        self.backend = backend
        name = type(backend).__name__
        self.failures = Failures(name, raising, limits, self._probe)
        self._arrange(Owed())

    def _probe(self) -> None:
        """Ask the server something cheap, in a thread where it is no tenant's turn."""
        backend = self.backend
        if callable(backend.key_prefix):
            backend = backend.for_prefix("")
        backend.read(SPACE)

    def _arrange(self, owed: Owed) -> None:
        """Decide which steps serve sync code, and which async code."""
        backend, failures = self.backend, self.failures
        instant = TokenSteps(backend, Instant(backend), failures, owed)
        if backend.async_native:
            steps = TokenSteps(backend, Awaited(backend), failures, owed)
            self.now: Any = _Moved(steps, _on_process_loop)
            self.later: Any = _Moved(steps, _beside_process_loop)
        else:
            self.now = instant
            self.later = _Moved(instant, _in_worker) if backend.blocking else instant
            if backend.two_coloured:
                native = TokenSteps(backend, Awaited(backend), failures, owed)
                self.later = _Chosen(backend.native_here, native, self.later)
        failures.on_recovery.append(lambda: run_now(self.now.settle()))

    def for_tenant(self, backend: BaseCache) -> TokenStore:
        """A store for other keys of the same server: it fails, and is left alone, with this one."""
        twin = copy.copy(self)
        twin.backend = backend
        twin._arrange(Owed())
        return twin

    def clock(self) -> float:
        """Seconds since the epoch."""
        return self.backend.clock()

    def detach(self, name: str, *args: Any) -> None:
        """Start a step away from the caller, who does not wait for it."""
        native = isinstance(self.later, _Chosen) and self.later.steps()
        if native:
            start_task(getattr(native, name)(*args))
            return
        step = functools.partial(getattr(self.now, name), *args)
        try:
            in_worker(lambda: run_now(step()))
        except RuntimeError:  # the interpreter shuts down
            run_now(step())

    def stands(self, guard: tuple[Any, dict[str, str]], reading: Reading) -> bool:
        """Whether a look at the key, made after ``guard`` was taken, finds all of it unchanged."""
        if reading.failed or reading.seen is None:
            return True
        mark, stamps = guard
        seen_mark, seen = reading.seen
        return bool(mark == seen_mark) and all(seen.get(n) == token for n, token in stamps.items())

    def lease(self, key: str, guard: tuple[Any, dict[str, str]], life: float) -> Lease | None:
        """A lease across processes, where the backend is shared by several.

        After an invalidation it is another one: nobody waits for what was overtaken.
        """
        mark, stamps = guard
        state = hashlib.sha256(repr((mark, sorted(stamps.items()))).encode()).hexdigest()
        try:
            return self.backend.lease(f"{key}@{state[:16]}", life)
        except Exception as error:
            self.failures.note(error, f"lease {key!r}")
            return None


async def _on_process_loop(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return on_process_loop(make)


async def _beside_process_loop(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    # The running loop may end with this request, and a client must not be bound to it.
    return await bridge(make)


async def _in_worker(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return await offload(lambda: run_now(make()))


class _Moved:
    """Steps that run elsewhere: in a worker thread, or on the loop of the process."""

    def __init__(self, steps: TokenSteps, move: Callable[..., Any]) -> None:
        self._steps = steps
        self._move = move

    def __getattr__(self, name: str) -> Callable[..., Any]:
        step, move = getattr(self._steps, name), self._move
        return lambda *args: move(functools.partial(step, *args))


class _Chosen:
    """Steps on the running loop where it may own a client, elsewhere those that are moved.

    :param native_here: whether it may.
    """

    def __init__(self, native_here: Callable[[], bool], native: TokenSteps, moved: Any) -> None:
        self._native_here, self._native, self._moved = native_here, native, moved

    def steps(self) -> TokenSteps | None:
        """The native steps, where they can be used."""
        return self._native if self._native_here() else None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._native if self._native_here() else self._moved, name)  # type: ignore[no-any-return]
