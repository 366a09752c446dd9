"""When a loop begins to serve an app, and when it ends."""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import Protocol

from ._frameworks import Framework
from ._runtime.commands import in_command
from ._runtime.threads import offload
from .binding import Binding
from .decorators.refresh_every import Renewal, _end, _Rounds
from .statistics.sharing import Sharing

__all__ = ["Serving"]

log = logging.getLogger("flask_caching_async")


class Renewing(Protocol):
    """What is needed of a :class:`.Cache`."""

    _renewals: list[Renewal]


class Serving:
    """What happens when a loop that lives long begins to serve an app, and when it ends."""

    def __init__(self, cache: Renewing, binding: Binding) -> None:
        self._cache, self._binding = cache, binding

    async def begin(self) -> None:
        """Let the running loop own connections, and begin the renewals on it."""
        binding, loop = self._binding, asyncio._get_running_loop()
        await binding.engines.backend.aopen()
        _loops.setdefault(binding.framework, []).append(loop)
        binding.framework.loop = loop
        if in_command.get():
            return
        binding.begin_sharing()
        if binding.settings.renewals:
            for rounds in self._rounds():
                rounds.begin()

    async def end(self) -> None:
        """Undo :meth:`begin`; what was begun more than once, or on other loops, goes on there."""
        binding, loop = self._binding, asyncio._get_running_loop()
        loops = _loops.get(binding.framework, [])
        if loop in loops:
            loops.remove(loop)
        if not loops and not binding.framework.serves:
            await offload(_end, self._rounds())  # not on this loop, which makes them
        binding.framework.loop = loops[-1] if loops else None
        if binding.sharing is not None:
            await offload(_flush, binding.sharing)
        await binding.engines.backend.aclose()

    def _rounds(self) -> list[_Rounds]:
        mine = (rounds for renewal in self._cache._renewals for rounds in renewal._rounds)
        return [rounds for rounds in mine if rounds.binding.app is self._binding.app]


def _flush(sharing: Sharing) -> None:
    """Share the last figures of a loop; if that fails, its end goes on."""
    try:
        if sharing.has_begun:
            sharing.flush()
    except Exception as error:
        log.debug("the last figures could not be shared: %r", error)


#: The loops on which each app is being served, by its framework.
_loops: weakref.WeakKeyDictionary[Framework, list[asyncio.AbstractEventLoop | None]] = (
    weakref.WeakKeyDictionary()
)
