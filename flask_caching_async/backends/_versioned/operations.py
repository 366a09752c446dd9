"""The versioned operations of a backend, in both colours, with defaults from the plain ones.

They are what the decorators need beyond get and set: to look at a key, its version and some tag
versions in one round trip, to store only what was not invalidated meanwhile, and to compute a key
in one process at a time. ``contract.py`` says what versions are, ``defaults.py`` has the steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

from ..._runtime.colour import Awaited, Instant, halves, run_now
from ..._runtime.process_loop import on_process_loop
from ..._runtime.threads import offload
from ...typing import Args, Coro, Kwargs
from . import defaults
from .contract import Lease, Operations

__all__ = ["VersionedOperations", "pair"]

P = ParamSpec("P")
R = TypeVar("R")
Step = Callable[Concatenate[Operations, P], Coro[R]]
#: Of any backend: which one it is, a subclass decides.
Pair = tuple[Callable[Concatenate[Any, P], R], Callable[Concatenate[Any, P], Coro[R]]]


def pair(step: Step[P, R]) -> Pair[P, R]:
    """Both halves of an operation that is a step over other operations: ``get, aget = pair(get)``.

    The step runs over the half that the author of the backend wrote.
    """
    return halves(step, _run, _arun)


def _run(backend: VersionedOperations, step: Step[..., R], args: Args, kwargs: Kwargs) -> R:
    if backend.async_native:
        over = cast(Operations, Awaited(backend))
        return on_process_loop(functools.partial(step, over, *args, **kwargs))
    return run_now(step(cast(Operations, Instant(backend)), *args, **kwargs))


async def _arun(backend: VersionedOperations, step: Step[..., R], args: Args, kwargs: Kwargs) -> R:
    if backend.async_native or (backend.two_coloured and backend.native_here()):
        return await step(cast(Operations, Awaited(backend)), *args, **kwargs)
    # As a whole, and by its name: a subclass may have a sync method of its own.
    call: Callable[[], R] = functools.partial(getattr(backend, step.__name__), *args, **kwargs)
    return await offload(call) if backend.blocking else call()


class VersionedOperations:
    """What :class:`.BaseCache` has beyond the plain operations."""

    blocking: ClassVar[bool]
    async_native: ClassVar[bool]
    two_coloured: ClassVar[bool]

    def native_here(self) -> bool:
        """Whether the running loop owns connections of this backend."""
        return False

    look_up, alook_up = pair(defaults.look_up)
    ensure_versions, aensure_versions = pair(defaults.ensure_versions)
    set_if_current, aset_if_current = pair(defaults.set_if_current)
    set_and_supersede, aset_and_supersede = pair(defaults.set_and_supersede)
    invalidate, ainvalidate = pair(defaults.invalidate)
    acquire_lease, aacquire_lease = pair(defaults.acquire_lease)
    set_and_release, aset_and_release = pair(defaults.set_and_release)
    set_and_overtake, aset_and_overtake = pair(defaults.set_and_overtake)
    release_lease, arelease_lease = pair(defaults.release_lease)

    @classmethod
    def entries_name_key_version(cls) -> bool:
        """Whether entries also name the key version under which they were computed.

        The plain operations cannot check it and store in one step: a reader may come in between.
        """
        own = (cls.look_up, cls.alook_up)
        return own == (VersionedOperations.look_up, VersionedOperations.alook_up)

    def lease(self, key: str, life: float) -> Lease | None:
        """A lease on ``key`` across processes, or ``None`` where other processes do not matter.

        :param life: seconds after which the lease of a dead holder ends.
        """
        return None
