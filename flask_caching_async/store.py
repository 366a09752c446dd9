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
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

from ._attempts import SPACE
from ._colour import (
    Awaited,
    Instant,
    bridge,
    in_worker,
    offload,
    on_process_loop,
    run_now,
    start_task,
)
from ._failures import Failures, Limits
from ._flow.entry import MISSING, Entry, Reading
from ._flow.policy import Timetable, seconds
from ._owed import Owed
from ._tokens import TokenSteps
from .backends._memory import Guard, timetable
from .backends.base import BaseCache, Lease
from .backends.simplecache import SimpleCache
from .exceptions import SerializationError

__all__ = ["MemoryStore", "TokenStore", "open_store"]

log = logging.getLogger("flask_caching_async")


def open_store(
    backend: BaseCache, raising: Callable[[], bool], limits: Limits | None = None
) -> MemoryStore | TokenStore:
    """The store for a backend.

    :param raising: whether a failing backend raises :class:`.BackendError`.
    :param limits: when a failing backend is left alone.
    """
    if isinstance(backend, SimpleCache) and not _overridden(type(backend)):
        return MemoryStore(backend, raising)
    return TokenStore(backend, raising, limits or Limits())


def _overridden(kind: type) -> bool:
    """Whether a subclass of SimpleCache has its own idea of get or set, which must be heard."""
    names = (
        "get",
        "set",
        "add",
        "has",
        "delete",
        "get_many",
        "set_many",
        "delete_many",
        "clear",
        "inc",
    )
    return any(getattr(kind, name) is not getattr(SimpleCache, name) for name in names)


class MemoryStore:
    """The steps over the objects of a :class:`.SimpleCache`; none of them suspends."""

    def __init__(self, backend: SimpleCache, raising: Callable[[], bool]) -> None:
        self.backend = backend
        self.memory = backend.memory
        # Memory does not fail; but a value may refuse to be serialized.
        self.failures = Failures(type(backend).__name__, raising, Limits(0), lambda: None)
        self.now = self.later = self

    def clock(self) -> float:
        """Seconds since the epoch."""
        return self.backend.clock()

    def peek(self, key: str) -> Entry | None:
        """The entry of ``key``, without a round trip."""
        return cast("Entry | None", self.memory.peek(key))

    def stands(self, guard: Guard, reading: Reading) -> bool:
        """Whether nothing was invalidated since ``guard`` was taken."""
        return guard.stands()

    def lease(self, key: str, guard: Guard, life: float) -> Lease | None:
        """No other process sees this memory."""
        return None

    async def load(self, key: str, stamps: tuple[str, ...]) -> Reading:
        """Look at a key."""
        kept = self.memory.peek(key)
        if kept is None or self.backend.clock() >= kept.usable_until:
            return Reading(None)
        try:
            value = kept.open()
        except Exception:
            log.warning("%r could not be read back; it counts as missing", key, exc_info=True)
            return Reading(None)
        return Reading(Entry(value, None, kept.created, kept.fresh_until, kept.usable_until))

    async def guard(
        self, key: str, stamps: tuple[str, ...], reading: Reading, life: float
    ) -> Guard:
        """What must still stand when the computation ends."""
        return self.memory.guard(key, stamps)

    async def save(
        self,
        key: str,
        value: Any,
        times: Timetable,
        guard: Guard,
        reading: Reading,
        lease: None,
    ) -> bool | None:
        """Store a computed value if its guard stands; ``None`` if it cannot be stored at all."""
        if times.usable_until <= times.created:
            return None
        try:
            kept, thaw = self.backend.pack(value)
        except SerializationError as error:
            self.failures.note(error, f"store {key!r}")
            return None
        return self.memory.fill(key, kept, thaw, times, guard)

    async def get(self, keys: Sequence[str]) -> list[Any]:
        """The values of several keys, ``MISSING`` where there is none."""
        return [self._value(key) for key in keys]

    def _value(self, key: str) -> Any:
        kept = self.memory.peek(key)
        if kept is None or self.backend.clock() >= kept.usable_until:
            return MISSING
        try:
            return kept.open()
        except Exception:
            log.warning("%r could not be read back; it counts as missing", key, exc_info=True)
            return MISSING

    async def has(self, key: str) -> bool:
        """Whether a living entry exists."""
        return self.backend.has(key)

    async def put(
        self, mapping: Mapping[str, Any], timeout: Any, stamps: tuple[str, ...]
    ) -> list[str]:
        """Set values by hand."""
        items = [(key, *self.backend.pack(value)) for key, value in mapping.items()]
        self.memory.put(items, self._times(timeout), stamps)
        return list(mapping)

    async def add(self, key: str, value: Any, timeout: Any, stamps: tuple[str, ...]) -> bool:
        """Set a value by hand unless there is one."""
        kept, thaw = self.backend.pack(value)
        return self.memory.add(key, kept, thaw, self._times(timeout), stamps)

    def _times(self, timeout: Any) -> Timetable:
        life = seconds(self.backend.default_timeout if timeout is None else timeout)
        return timetable(self.backend.clock(), life or 0)

    async def inc(self, key: str, delta: int) -> int | None:
        """Add to a number."""
        return self.backend.inc(key, delta)

    async def expel(self, keys: Sequence[str], stamps: Sequence[str]) -> list[str] | None:
        """Delete keys and drop stamps; the keys that existed."""
        return self.memory.expel(keys, stamps, self.backend.clock())

    async def clear(self) -> bool:
        """Forget everything."""
        self.memory.clear()
        return True

    async def close(self) -> None:
        """Nothing is held."""


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
