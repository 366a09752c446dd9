"""The operations that every backend has, as steps over those that its author wrote.

The plain ones are slower than they could be. The versioned ones are correct when no process dies in
the middle, but not atomic: a backend that can do better (a lock, a transaction, a script) overrides
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..._entries.entry import BY_HAND, Entry
from ..._entries.envelope import counted, is_entry, is_living, unpack
from ..._entries.times import NEVER, whole_seconds
from ...typing import Coro, Timeout, Value
from .contract import (
    KEY_VERSION_LIFE,
    NAMESPACE,
    KeyVersion,
    Lease,
    Operations,
    VersionedValue,
    as_token,
    key_version_name,
    new_token,
)

#: The shortest life in seconds of a tag version that cannot be let live on.
VERSION_LIFE = 30 * 24 * 3600

# --- what a subclass must write -------------------------------------------------------------------


async def get(ops: Operations, key: str) -> Value:
    """The value of ``key``, or ``None``."""
    raise NotImplementedError(f"{ops!r} has neither get nor aget")


async def set(
    ops: Operations, key: str, value: Value, timeout: Timeout | None = None
) -> bool | None:
    """Store ``value``; False if it could not be stored."""
    raise NotImplementedError(f"{ops!r} has neither set nor aset")


async def delete(ops: Operations, key: str) -> bool:
    """Delete a key; whether it existed."""
    raise NotImplementedError(f"{ops!r} has neither delete nor adelete")


# --- plain ----------------------------------------------------------------------------------------


async def add(ops: Operations, key: str, value: Value, timeout: Timeout | None = None) -> bool:
    """Store ``value`` unless the key exists; whether it was stored."""
    return not await ops.has(key) and await ops.set(key, value, timeout) is not False


async def has(ops: Operations, key: str) -> bool:
    """Whether the key exists (a stored ``None`` looks like nothing here)."""
    return await ops.get(key) is not None


async def get_many(ops: Operations, *keys: str) -> list[Value]:
    """The values of ``keys``, ``None`` for what is missing."""
    return [await ops.get(key) for key in keys]


async def get_dict(ops: Operations, *keys: str) -> dict[str, Value]:
    """Like :meth:`get_many`, as a dict."""
    return dict(zip(keys, await ops.get_many(*keys), strict=True))


async def set_many(
    ops: Operations, mapping: Mapping[str, Value], timeout: Timeout | None = None
) -> list[str]:
    """Store several values; the list of the keys that were stored."""
    stored = []
    for key, value in mapping.items():
        if await ops.set(key, value, timeout) is not False:
            stored.append(key)
    return stored


async def delete_many(ops: Operations, *keys: str) -> list[str]:
    """Delete several keys; the list of the keys that are gone now."""
    for key in keys:
        await ops.delete(key)
    return list(keys)


async def unlink(ops: Operations, *keys: str) -> list[str]:
    """Delete several keys; on Redis, freeing their memory in the background."""
    return await ops.delete_many(*keys)


async def inc(ops: Operations, key: str, delta: int = 1) -> int | None:
    """Add ``delta`` to the number under ``key`` (0 if there is none) and return the sum."""
    raw, life = await ops.get(key), None
    if is_entry(raw):
        entry, _ = await unpack_living(ops.look_up, key, raw, 0.0)
        if entry is None:
            raw = None
        else:  # until then at least: the entry itself says when it ends
            life = 0 if entry.usable_until == NEVER else entry.usable_until - entry.created
    total, stored = counted(key, raw, delta)
    return total if await ops.set(key, stored, life) is not False else None


async def unpack_living(
    look_up: Callable[[str, Sequence[str]], Coro[VersionedValue]], key: str, raw: Value, now: float
) -> tuple[Entry | None, dict[str, str]]:
    """What :func:`.unpack` gives, with ``None`` for an entry that is over or was invalidated.

    :param look_up: that of the backend; a plain value, which has no tags, needs no look.
    """
    entry, versions = unpack(raw)
    tags = [tag for tag in versions if tag != BY_HAND]
    seen = dict(zip(tags, (await look_up(key, tags)).tag_versions, strict=True)) if tags else {}
    return entry if is_living(entry, versions, seen, now) else None, versions


async def dec(ops: Operations, key: str, delta: int = 1) -> int | None:
    """Subtract ``delta`` from the number under ``key`` and return the difference."""
    return await ops.inc(key, -delta)


async def clear(ops: Operations) -> bool:
    """Drop everything that this backend stored. False where it cannot."""
    return False


async def close(ops: Operations) -> None:
    """Release what is held (connections, files). A later call opens it again."""


async def ping(ops: Operations) -> str:
    """Ask for something cheap, and raise if there is no answer; the server's version, if known.

    Nothing stays behind.
    """
    await ops.look_up(NAMESPACE)
    return ""


# --- versioned ------------------------------------------------------------------------------------


async def look_up(ops: Operations, key: str, tags: Sequence[str] = ()) -> VersionedValue:
    """Look at a key, its version and some tag versions, in one round trip."""
    value, key_version, *versions = await ops.get_many(key, key_version_name(key), *tags)
    return VersionedValue(value, key_version, tuple(map(as_token, versions)))


async def ensure_versions(ops: Operations, tags: Sequence[str], timeout: float) -> list[str | None]:
    """The versions of ``tags``, for entries that live ``timeout`` seconds; 0 is for ever.

    What is missing is created. It lives much longer than the entry, since plain operations cannot
    let it live on when the next entry needs it: another process might be dropping it. The version
    of the namespace never ends, for all entries need it. ``None`` stands for one that the backend
    would not keep: nothing can be stored with it.
    """
    found = await ops.get_many(*tags)
    life = max(2 * math.ceil(timeout), VERSION_LIFE) if timeout else 0
    missing = [tag for tag, version in zip(tags, found, strict=True) if not as_token(version)]
    for tag in missing:
        await ops.add(tag, new_token(), 0 if tag == NAMESPACE else life)
    if missing:
        found = await ops.get_many(*tags)
    for tag, version in zip(tags, found, strict=True):
        if version is not None and not as_token(version):  # add leaves what is there
            await ops.set(tag, new_token(), 0 if tag == NAMESPACE else life)
            found = await ops.get_many(*tags)
    return list(map(as_token, found))


async def set_if_current(
    ops: Operations,
    key: str,
    value: Value,
    timeout: float,
    key_version: KeyVersion,
    tag_versions: Mapping[str, str],
    cas: bytes | None = None,
) -> bool:
    """Store ``value`` if the key's version and all ``tag_versions`` stand; whether it did."""
    # Step 1: does everything still stand?
    names, expected = [key_version_name(key), *tag_versions], [key_version, *tag_versions.values()]
    if await ops.get_many(*names) != expected:
        return False
    # Step 2: store.
    if await ops.set(key, value, timeout) is False:
        return False
    # Step 3: an invalidation between 1 and 2 changed a version before it deleted the key. If it has
    # deleted already, we see the version here; if it has not, it will delete what we stored.
    if await ops.get_many(*names) == expected:
        return True
    await ops.delete(key)
    return False


async def set_and_supersede(
    ops: Operations, mapping: Mapping[str, Value], timeout: float | None = None
) -> list[str]:
    """Set several values so that no computation that is under way overwrites them.

    Returns the keys that were stored.
    """
    await ops.set_many({key_version_name(key): new_token() for key in mapping}, KEY_VERSION_LIFE)
    seconds = whole_seconds(timeout)
    if len(mapping) > 1:
        return named_by(await ops.set_many(mapping, seconds), mapping)
    for key, value in mapping.items():
        return named_by(await ops.set(key, value, seconds), mapping)
    return []


def named_by(answer: object, keys: Iterable[str]) -> list[str]:
    """For which keys a driver did it: it answers with these, a boolean, or nothing at all."""
    if answer is False:
        return []
    return [str(key) for key in answer] if isinstance(answer, (list, tuple)) else list(keys)


async def invalidate(ops: Operations, keys: Sequence[str], tags: Sequence[str] = ()) -> list[str]:
    """Delete ``keys`` so that no computation under way brings them back; drop versions of ``tags``.

    Returns the keys that existed, and the tags that had a version.
    """
    # Versions first: see step 3 of :func:`set_if_current`.
    if keys:
        await ops.set_many({key_version_name(key): new_token() for key in keys}, KEY_VERSION_LIFE)
    known = [tag for tag in tags if await ops.delete(tag)]
    if len(keys) > 1:
        return [*named_by(await ops.delete_many(*keys), keys), *known]
    return [*[key for key in keys if await ops.delete(key)], *known]


async def acquire_lease(
    ops: Operations, lease: Lease, key: str, tags: Sequence[str] = ()
) -> tuple[bool, VersionedValue | None]:
    """Try once to take a lease, and look at the key in the same trip where that is possible.

    Returns whether the lease is ours now, and the look; ``None`` where there was none.
    """
    if not lease.acquire():
        return False, None
    try:
        return True, None if lease.abandoned else await ops.look_up(key, tags)
    except BaseException:
        lease.release()
        raise


async def set_and_release(
    ops: Operations,
    lease: Lease,
    key: str,
    value: Value,
    timeout: float,
    key_version: KeyVersion,
    tag_versions: Mapping[str, str],
    cas: bytes | None = None,
) -> bool:
    """``set_if_current``, and give the lease back in the same trip where that is possible."""
    what = (key, value, timeout, key_version, tag_versions, cas)
    stored = bool(await ops.set_if_current(*what))
    await ops.release_lease(lease, True)
    return stored


async def set_and_overtake(
    ops: Operations,
    lease: Lease | None,
    key: str,
    value: Value,
    timeout: float,
    key_version: KeyVersion,
    tag_versions: Mapping[str, str],
    cas: bytes | None = None,
) -> bool:
    """``set_if_current`` for a forced computation: what began before it must not overwrite it.

    A lease is given back in the same trip where that is possible. Here, a slower computation that
    did not wait for it still can; a backend with a transaction or a script also refuses that one.
    """
    what = (key, value, timeout, key_version, tag_versions, cas)
    if lease is None:
        return bool(await ops.set_if_current(*what))
    return bool(await ops.set_and_release(lease, *what))


async def release_lease(ops: Operations, lease: Lease, shared: bool = True) -> None:
    """Give a lease back; see :meth:`.Lease.release`."""
    lease.release(shared)
