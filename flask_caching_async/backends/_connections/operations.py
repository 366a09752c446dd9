"""Operations that are the same on every server: each is another one with fewer arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from ...typing import Coro, Timeout, Value
from .._versioned.contract import KeyVersion
from .both_colours import TwoColouredCache, over_transport
from .per_loop import Closable
from .server import ServerCache

__all__ = ["ServerOperations"]

T = TypeVar("T", bound=Closable)


class ServerOperations(ServerCache, TwoColouredCache[T]):
    """Base of the backends that talk to their servers themselves, by steps over a transport."""

    _set: Callable[..., Coro[bool]]
    _set_many: Callable[..., Coro[list[str]]]
    _invalidate: Callable[..., Coro[list[str]]]
    _set_and_release: Callable[..., Coro[bool]]

    async def _delete(self, transport: T, key: str) -> bool:
        """Delete a key, so that no computation under way brings it back; whether it existed."""
        return bool(await self._invalidate(transport, (key,)))

    delete, adelete = over_transport(_delete)

    async def _delete_many(self, transport: T, *keys: str) -> list[str]:
        """Delete several keys, in one trip; the list of the keys that are gone now."""
        await self._invalidate(transport, keys)
        return list(keys)

    delete_many, adelete_many = over_transport(_delete_many)

    async def _set_and_supersede(
        self, transport: T, mapping: Mapping[str, Value], timeout: Timeout | None = None
    ) -> list[str]:
        """Set several values; on these servers, every set wins over computations under way."""
        if len(mapping) != 1:
            return await self._set_many(transport, mapping, timeout)
        ((key, value),) = mapping.items()
        return [key] if await self._set(transport, key, value, timeout) else []

    set_and_supersede, aset_and_supersede = over_transport(_set_and_supersede)

    async def _set_if_current(
        self,
        transport: T,
        key: str,
        value: Value,
        timeout: float,
        key_version: KeyVersion,
        tag_versions: Mapping[str, str],
        cas: bytes | None = None,
    ) -> bool:
        """Store a value if nothing was invalidated since its computation began; whether it was."""
        what = (key, value, timeout, key_version, tag_versions, cas)
        return await self._set_and_release(transport, None, *what)

    set_if_current, aset_if_current = over_transport(_set_if_current)
