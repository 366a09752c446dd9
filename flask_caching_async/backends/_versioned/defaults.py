"""Guarded operations: a value must not be stored once it has been invalidated.

Two kinds of small tokens decide that.

* A *mark* is the state of one key. Whoever computes a key remembers its mark; :meth:`expel` (a
  delete) and :meth:`put` (an explicit set) change it, and :meth:`fill` stores only while it stands.
* A *stamp* is a token under a name of its own, shared by many entries (a function, a tag, the whole
  namespace). Stamps are created when they are first needed and dropped to invalidate all that was
  stored with them; an entry whose stamp is gone, or another one, is dead.

The defaults below build them from the plain operations: they are correct when nobody dies in the
middle, but not atomic. A backend that can do better (a lock, a transaction, a script) overrides
them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .contract import TOMBSTONE_LIFE, Lease, Snapshot, new_token, tomb

__all__ = []


# --- the guarded steps, written once for both colours ---------------------------------------------


async def read(face: Any, key: str, stamps: Sequence[str]) -> Snapshot:
    value, mark, *tokens = await face.get_many(key, tomb(key), *stamps)
    return Snapshot(value, mark, tuple(tokens))


async def ensure(face: Any, stamps: Sequence[str], timeout: int) -> list[str | None]:
    tokens: list[str | None] = await face.get_many(*stamps)
    missing = [name for name, token in zip(stamps, tokens, strict=True) if token is None]
    for name in missing:
        await face.add(name, new_token(), timeout)
    return await face.get_many(*stamps) if missing else tokens


async def fill(
    face: Any,
    key: str,
    value: Any,
    timeout: int,
    mark: Any,
    stamps: Mapping[str, str],
    version: Any = None,
) -> bool:
    # Step 1: does everything still stand?
    names, expected = [tomb(key), *stamps], [mark, *stamps.values()]
    if await face.get_many(*names) != expected:
        return False
    # Step 2: store.
    if await face.set(key, value, timeout) is False:
        return False
    # Step 3: an invalidation between 1 and 2 changed a token before it deleted the key. If it has
    # deleted already, we see the token here; if it has not, it will delete what we stored.
    if await face.get_many(*names) == expected:
        return True
    await face.delete(key)
    return False


async def put(face: Any, mapping: Mapping[str, Any], timeout: float | None) -> list[str]:
    await face.set_many({tomb(key): new_token() for key in mapping}, TOMBSTONE_LIFE)
    seconds = math.ceil(timeout) if isinstance(timeout, float) else timeout
    if len(mapping) > 1:
        return _keys(mapping, await face.set_many(mapping, seconds))
    for key, value in mapping.items():
        return _keys(mapping, await face.set(key, value, seconds))
    return []


def _keys(mapping: Mapping[str, Any], stored: Any) -> list[str]:
    """Which keys a driver stored: drivers answer with a list, a boolean or nothing at all."""
    if stored is False:
        return []
    return [str(key) for key in stored] if isinstance(stored, list) else list(mapping)


async def expel(face: Any, keys: Sequence[str], stamps: Sequence[str]) -> list[str]:
    # Tokens first: see step 3 of :func:`fill`.
    if keys:
        await face.set_many({tomb(key): new_token() for key in keys}, TOMBSTONE_LIFE)
    for name in stamps:
        await face.delete(name)
    if len(keys) > 1:
        return [str(key) for key in await face.delete_many(*keys) or ()]
    return [key for key in keys if await face.delete(key)]


async def claim(
    face: Any, lease: Lease, key: str, stamps: Sequence[str]
) -> tuple[bool, Snapshot | None]:
    if not lease.acquire():
        return False, None
    return True, None if lease.abandoned else await face.read(key, stamps)


async def deliver(face: Any, lease: Lease, *what: Any) -> bool:
    stored = bool(await face.fill(*what))
    await face.release(lease, True)
    return stored


async def release(face: Any, lease: Lease, shared: bool) -> None:
    lease.release(shared)
