"""Memcached through somebody's client: python-memcached's, pylibmc's, libmc's or pymemcache's.

They have one API in common, but no way to see an entry, its mark and its stamps together with what
``cas`` needs; so the guarded operations are those that work on any backend. Values lie on the
server as everywhere: the clients are given bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..._entries.entry import MISSING
from ...exceptions import BackendError
from ...serializers._checked import dumps
from .._connections.pool import SyncPool
from .._versioned.contract import new_token
from .values import NAMESPACE, Header, MemcachedValues, exptime, name_of, own_name, split

__all__ = ["ClientCache", "shared_client"]

Run = Callable[[Callable[[Any], Any]], Any]


class _OneClient:
    """What a pool must know of a client that is not ours; see :class:`.Opener`."""

    harmless: tuple[type[BaseException], ...] = ()

    def __init__(self, client: Any) -> None:
        self._client = client

    def connect(self) -> Any:
        return self._client

    def usable(self, connection: Any) -> bool:
        return True

    def close(self, connection: Any) -> None:
        """Its owner closes it."""


def shared_client(client: Any, patience: float) -> Run:
    """A function that lends a client to one thread at a time, because most bear no more.

    :param client: or a pool of clients, which has ``reserve()``.
    :param patience: seconds to wait for it.
    """
    if not hasattr(client, "reserve"):
        return SyncPool(_OneClient(client), 1, patience).run

    def run(use: Callable[[Any], Any]) -> Any:
        with client.reserve() as reserved:
            return use(reserved)

    return run


class ClientCache(MemcachedValues):
    """The plain operations over a client; each is one call of it, or two."""

    #: Lends a client.
    _run: Run

    def native_here(self) -> bool:
        """No loop owns connections."""
        return False

    async def aopen(self) -> None:
        """Nothing can be opened for a loop."""

    # --- what is asked of a client; a subclass may store values in another way --------------------

    def _fetch(self, client: Any, names: list[str]) -> dict[str, Any]:
        """What is under some names."""
        get_multi = getattr(client, "get_multi", None)
        if get_multi is not None:
            return dict(get_multi(names) or {})
        found = {name: client.get(name) for name in names}
        return {name: raw for name, raw in found.items() if raw is not None}

    def _store(self, client: Any, raws: dict[str, bytes], until: int) -> set[str]:
        """Store items; the names of those that were refused."""
        how = _answering(client)
        return {
            name for name, raw in raws.items() if not _done(client.set, name, raw, until, **how)
        }

    def _create(self, client: Any, name: str, raw: bytes, until: int) -> bool:
        """Store an item unless there is one."""
        return _done(client.add, name, raw, until, **_answering(client))

    def _drop(self, client: Any, name: str) -> bool:
        """Delete an item; whether there was one."""
        return _done(client.delete, name, **_answering(client))

    # --- values -----------------------------------------------------------------------------------

    def _look(self, client: Any, keys: Iterable[str]) -> tuple[dict[str, Any], str | None]:
        """What is under some keys, dead or alive, and the token of the namespace."""
        prefix = self._prefix()
        names = {key: _name(prefix, key) for key in (*keys, NAMESPACE)}
        found = self._fetch(client, list(dict.fromkeys(names.values())))
        return {key: found.get(name) for key, name in names.items()}, _text(
            found.get(names[NAMESPACE])
        )

    def _token(self, client: Any, token: str | None = None) -> str:
        """The token of the namespace; it is created if it is missing."""
        name = _name(self._prefix(), NAMESPACE)
        for _ in range(3):
            token = token or _text(self._fetch(client, [name]).get(name))
            if token:
                return token
            self._create(client, name, new_token().encode(), 0)
        raise BackendError("Memcached keeps nothing")

    def _living(self, key: str, raw: Any, token: str | None) -> Any:
        if key == NAMESPACE:
            return MISSING if raw is None else token
        return self._decode(raw, 0, token)

    # --- plain operations -------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """The value of ``key``, or ``None``."""
        return self.get_many(key)[0]

    def get_many(self, *keys: str) -> list[Any]:
        """The values of ``keys``, ``None`` for what is missing."""
        raws, token = self._run(lambda client: self._look(client, keys))
        values = [self._living(key, raws[key], token) for key in keys]
        return [None if value is MISSING else value for value in values]

    def has(self, key: str) -> bool:
        """Whether there is a value, be it ``None``."""
        raws, token = self._run(lambda client: self._look(client, [key]))
        return self._living(key, raws[key], token) is not MISSING

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value."""
        return bool(self.set_many({key: value}, timeout))

    def set_many(self, mapping: Mapping[str, Any], timeout: Any = None) -> list[str]:
        """Store several values; the keys that were stored."""
        life, prefix = self._life(timeout), self._prefix()
        if life < 0:  # over before it began
            return self.delete_many(*mapping)
        payloads = {key: dumps(self.serializer, value) for key, value in mapping.items()}
        names = {key: _name(prefix, key) for key in mapping}

        def use(client: Any) -> set[str]:
            header = Header(self._token(client), self.clock() + life)
            raws = {names[key]: header.around(payload) for key, payload in payloads.items()}
            return self._store(client, raws, exptime(life))

        refused = self._run(use) if mapping else set()
        for key in mapping:
            if names[key] in refused:
                self._too_large(key)
        return [key for key in mapping if names[key] not in refused]

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value unless there is one; of several callers anywhere, one succeeds."""
        life, name = self._life(timeout), _name(self._prefix(), key)
        payload = dumps(self.serializer, value)

        def use(client: Any) -> bool:
            raws, token = self._look(client, [key])
            if key == NAMESPACE:
                return self._create(client, name, str(value).encode(), 0)
            if self._living(key, raws[key], token) is not MISSING:
                return False
            if life < 0:  # over before it began
                return True
            if raws[key] is not None:
                self._drop(client, name)  # it is dead
            raw = Header(self._token(client, token), self.clock() + life).around(payload)
            return self._create(client, name, raw, exptime(life))

        return bool(self._run(use))

    def delete(self, key: str) -> bool:
        """Delete a key; whether it existed."""
        name = _name(self._prefix(), key)
        return bool(self._run(lambda client: self._drop(client, name)))

    def delete_many(self, *keys: str) -> list[str]:
        """Delete several keys; the list of the keys that are gone now."""
        names = [_name(self._prefix(), key) for key in keys]
        self._run(lambda client: [self._drop(client, name) for name in names])
        return list(keys)

    def unlink(self, *keys: str) -> list[str]:
        """Delete several keys; the list of the keys that are gone now."""
        return self.delete_many(*keys)

    def inc(self, key: str, delta: int = 1) -> Any:
        """Add to the number under ``key``; the sum. Its time runs on.

        It is atomic among the threads that share one client, and not among processes.
        """
        return self._run(lambda client: self._count(client, key, delta))

    def _count(self, client: Any, key: str, delta: int) -> Any:
        raws, token = self._look(client, [key])
        total, raw, until = self._sum(client, key, raws[key], token, delta)
        self._store(client, {_name(self._prefix(), key): raw}, until)
        return total

    def _sum(
        self, client: Any, key: str, raw: Any, token: str | None, delta: int
    ) -> tuple[Any, bytes, int]:
        """A sum, how it is stored, and until when."""
        value = self._living(key, raw, token)
        header = split(raw)[0] if isinstance(raw, bytes) else None
        if value is MISSING:
            value, header = 0, None
        if header is None:
            header = Header(self._token(client, token), self.clock() + self._life(None))
        total = value + delta
        raw = header.around(dumps(self.serializer, total))
        return total, raw, exptime(header.until - self.clock())

    def dec(self, key: str, delta: int = 1) -> Any:
        """Subtract from the number under ``key``; the difference."""
        return self.inc(key, -delta)

    def clear(self) -> bool:
        """Invalidate all that lies under our prefix, and nothing else on the servers."""
        self.delete(NAMESPACE)
        return True

    def close(self) -> None:
        """The client's owner closes it."""


def _answering(client: Any) -> dict[str, Any]:
    """What makes a client wait for the answer: pymemcache's do not, unless they are asked to."""
    return {"noreply": False} if type(client).__module__.startswith("pymemcache") else {}


def _done(method: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """Whether a client did what it was asked; too large a value is refused by an exception."""
    try:
        return bool(method(*args, **kwargs))
    except Exception as error:
        if "too large" in str(error).lower() or type(error).__name__ == "TooBig":
            return False
        raise


def _name(prefix: str, key: str) -> str:
    return own_name(prefix, key) if key == NAMESPACE else name_of(prefix, key)


def _text(raw: Any) -> str | None:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
