"""Memcached through a client of the user's: python-memcached's, pylibmc's, libmc's or pymemcache's.

They have one API in common, but no way to see an entry, its key version and its tag versions
together with what ``cas`` needs; so the versioned operations are those that work on any backend.
Values lie on the server as everywhere: the clients are given bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Generic, ParamSpec, Protocol, Self, TypeVar

from ..._entries.entry import MISSING
from ..._entries.envelope import is_entry
from ...exceptions import BackendError
from ...typing import Timeout, Value
from .._connections.pool import SyncPool
from .._versioned.contract import NAMESPACE, as_token, new_token
from ..base import BaseCache
from .values import Header, MemcachedValues, exptime, name_of, own_name, split

__all__ = ["Client", "ClientCache", "Lend", "pooled_client", "shared_client"]

P = ParamSpec("P")
R = TypeVar("R")


class Client(Protocol):
    """What all these clients can do; a few options have other names."""

    def get(self, name: str, /) -> Value: ...
    def set(self, name: str, raw: bytes, until: int, /, **how: bool) -> object: ...
    def add(self, name: str, raw: bytes, until: int, /, **how: bool) -> object: ...
    def delete(self, name: str, /, **how: bool) -> object: ...


class Clients(Protocol):
    """A pool of clients, as pylibmc has it."""

    def reserve(self) -> AbstractContextManager[Client]: ...


C = TypeVar("C", bound=Client)
C_co = TypeVar("C_co", bound=Client, covariant=True)


class Lend(Protocol[C_co]):
    """Lends a client to a function, and gives what that returns."""

    def __call__(self, use: Callable[[C_co], R], /) -> R: ...


class _OneClient:
    """What a pool must know of a client that is not ours; see :class:`.Opener`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def connect(self) -> Client:
        return self._client

    def usable(self, connection: Client) -> bool:
        return True

    def close(self, connection: Client) -> None:
        """Its owner closes it."""


def shared_client(client: Client, patience: float) -> Lend[Client]:
    """A function that lends a client to one thread at a time, because most bear no more.

    :param patience: seconds to wait for it.
    """
    return SyncPool(_OneClient(client), 1, patience).run


def pooled_client(clients: Clients) -> Lend[Client]:
    """A function that lends one client of a pool."""

    def lend(use: Callable[[Client], R]) -> R:
        with clients.reserve() as reserved:
            return use(reserved)

    return lend


class ClientCache(MemcachedValues, Generic[C]):
    """The plain operations over a client; each is one call of it, or two."""

    _lend: Lend[C]

    def native_here(self) -> bool:
        """No loop owns connections."""
        return False

    def shards(self) -> Sequence[Self]:
        """The client decides which server has a key, and says nothing of it."""
        return (self,)

    async def aopen(self) -> None:
        """Nothing can be opened for a loop."""

    # --- what is asked of a client; a subclass may store values in another way --------------------

    def _fetch(self, client: C, names: list[str]) -> dict[str, Value]:
        """What is under some names."""
        get_multi = getattr(client, "get_multi", None)
        if get_multi is not None:
            return dict(get_multi(names) or {})
        found = {name: client.get(name) for name in names}
        return {name: raw for name, raw in found.items() if raw is not None}

    def _store(self, client: C, raws: dict[str, bytes], until: int) -> set[str]:
        """Store items; the names of those that were refused."""
        how = _answering(client)
        return {
            name for name, raw in raws.items() if not _done(client.set, name, raw, until, **how)
        }

    def _create(self, client: C, name: str, raw: bytes, until: int) -> bool:
        """Store an item unless there is one."""
        return _done(client.add, name, raw, until, **_answering(client))

    def _drop(self, client: C, name: str) -> bool:
        """Delete an item; whether there was one."""
        return _done(client.delete, name, **_answering(client))

    # --- values -----------------------------------------------------------------------------------

    def _look(self, client: C, keys: Iterable[str]) -> tuple[dict[str, Value], str | None]:
        """What is under some keys, dead or alive, and the version of the namespace."""
        prefix = self._prefix()
        names = {key: _name(prefix, key) for key in (*keys, NAMESPACE)}
        found = self._fetch(client, list(dict.fromkeys(names.values())))
        token = as_token(found.get(names[NAMESPACE]))
        return {key: found.get(name) for key, name in names.items()}, token

    def _token(self, client: C, token: str | None = None) -> str:
        """The version of the namespace; it is created if it is missing."""
        name = _name(self._prefix(), NAMESPACE)
        for _ in range(3):
            found = None if token else self._fetch(client, [name]).get(name)
            token = token or as_token(found)
            if token:
                return token
            if found is not None:  # we never gave it out
                self._drop(client, name)
            self._create(client, name, new_token().encode(), 0)
        raise BackendError("Memcached keeps nothing")

    def _living(self, key: str, raw: Value, token: str | None) -> Value:
        if key == NAMESPACE:
            return MISSING if raw is None else token
        return self._decode(raw, 0, token)

    # --- plain operations -------------------------------------------------------------------------

    def get(self, key: str) -> Value:
        """The value of ``key``, or ``None``."""
        return self.get_many(key)[0]

    def get_many(self, *keys: str) -> list[Value]:
        """The values of ``keys``, ``None`` for what is missing."""
        raws, token = self._lend(lambda client: self._look(client, keys))
        values = [self._living(key, raws[key], token) for key in keys]
        return [None if value is MISSING else value for value in values]

    def has(self, key: str) -> bool:
        """Whether there is a value, be it ``None``."""
        raws, token = self._lend(lambda client: self._look(client, [key]))
        return self._living(key, raws[key], token) is not MISSING

    def set(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store a value."""
        return bool(self.set_many({key: value}, timeout))

    def set_many(self, mapping: Mapping[str, Value], timeout: Timeout | None = None) -> list[str]:
        """Store several values; the keys that were stored."""
        life, prefix = self._life(timeout), self._prefix()
        if life < 0:  # over before it began
            return self.delete_many(*mapping)
        payloads = {key: self._dumps(value) for key, value in mapping.items()}
        names = {key: _name(prefix, key) for key in mapping}

        def use(client: C) -> set[str]:
            header = Header(self._token(client), self.clock() + life)
            raws = {names[key]: header.around(payload) for key, payload in payloads.items()}
            return self._store(client, raws, exptime(life))

        refused = self._lend(use) if mapping else set()
        for key in mapping:
            if names[key] in refused:
                self._too_large(key)
        return [key for key in mapping if names[key] not in refused]

    def add(self, key: str, value: Value, timeout: Timeout | None = None) -> bool:
        """Store a value unless there is one; of several callers anywhere, one succeeds."""
        life, name = self._life(timeout), _name(self._prefix(), key)
        payload = self._dumps(value)

        def use(client: C) -> bool:
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

        return bool(self._lend(use))

    def delete(self, key: str) -> bool:
        """Delete a key; whether it existed."""
        name = _name(self._prefix(), key)
        return bool(self._lend(lambda client: self._drop(client, name)))

    def delete_many(self, *keys: str) -> list[str]:
        """Delete several keys; the list of the keys that are gone now."""
        names = [_name(self._prefix(), key) for key in keys]
        self._lend(lambda client: [self._drop(client, name) for name in names])
        return list(keys)

    def inc(self, key: str, delta: int = 1) -> Value:
        """Add to the number under ``key``; the sum. Its time runs on.

        It is atomic among the threads that share one client, and not among processes.
        """
        try:
            return self._lend(lambda client: self._count(client, key, delta))
        except TypeError:
            if not is_entry(self.get(key)):
                raise
        return BaseCache.inc(self, key, delta)  # it has tags, which must be looked at

    def _count(self, client: C, key: str, delta: int) -> Value:
        raws, token = self._look(client, [key])
        total, raw, until = self._sum(client, key, raws[key], token, delta)
        self._store(client, {_name(self._prefix(), key): raw}, until)
        return total

    def _sum(
        self, client: C, key: str, raw: Value, token: str | None, delta: int
    ) -> tuple[Value, bytes, int]:
        """A sum, how it is stored, and until when."""
        value = self._living(key, raw, token)
        header = split(raw)[0] if isinstance(raw, bytes) else None
        if value is MISSING:
            value, header = 0, None
        if header is None:
            header = Header(self._token(client, token), self.clock() + self._life(None))
        total = value + delta
        raw = header.around(self._dumps(total))
        return total, raw, exptime(header.until - self.clock())

    def clear(self) -> bool:
        """Invalidate all that lies under our prefix, and nothing else on the servers."""
        self.delete(NAMESPACE)
        return True

    def ping(self) -> str:
        """Ask all servers for something that they say whatever is stored.

        :raises BackendError: if none answers; many clients say so in no other way.
        """
        return self._lend(_told)

    def close(self) -> None:
        """The client's owner closes it."""


def _told(client: Value) -> str:
    """The version of a client's servers, if it tells."""
    ways = [getattr(client, name, None) for name in ("version", "get_stats", "stats")]
    ask = next(filter(callable, ways), None)
    if ask is None:
        client.get("~nothing~")
        return ""
    said = ask()
    if not said or (isinstance(said, dict) and not any(said.values())):
        raise BackendError("no server of Memcached answers")
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else ""


def _answering(client: Client) -> dict[str, bool]:
    """What makes a client wait for the answer: pymemcache's do not, unless they are asked to."""
    return {"noreply": False} if type(client).__module__.startswith("pymemcache") else {}


def _done(method: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Whether a client did what it was asked; too large a value is refused by an exception."""
    try:
        return bool(method(*args, **kwargs))
    except Exception as error:
        if "too large" in str(error).lower() or type(error).__name__ == "TooBig":
            return False
        raise


def _name(prefix: str, key: str) -> str:
    return own_name(prefix, key) if key == NAMESPACE else name_of(prefix, key)
