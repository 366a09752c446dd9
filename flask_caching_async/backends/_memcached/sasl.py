"""Memcached with a user name and a password, through pylibmc.

Only libmemcached speaks the binary protocol with SASL. It blocks, so async code calls it in worker
threads.
"""

from __future__ import annotations

import builtins
import datetime as dt
import importlib
import os
import secrets
import time
from typing import Any, NamedTuple, Protocol, Self

from ...exceptions import BackendError, ConfigurationError
from ...typing import Config, Timeout, Value
from .._connections.pool import SyncPool
from .._connections.secrets import host_name, shown
from .._connections.server import KeyPrefix, common_settings
from .clients import Client, ClientCache
from .values import Header, name_of, piece_name

__all__ = ["SASLMemcachedCache", "SpreadSASLMemcachedCache"]

DEFAULT = ("127.0.0.1:11211",)

#: How often a number is counted that another writer can change first.
TRIES = 500

#: Clients that a forked child has inherited: freeing them would say goodbye in the parent's name.
_inherited: list[PylibmcClient] = []


class PylibmcClient(Client, Protocol):
    """What a client of pylibmc can do beyond what all can."""

    def gets(self, name: str, /) -> tuple[Value, int | None]: ...
    def cas(self, name: str, raw: bytes, unique: int | None, until: int, /) -> object: ...
    def clone(self) -> Self: ...
    def disconnect_all(self) -> None: ...


class _Opener:
    """Clones a client of pylibmc; see :class:`.Opener`."""

    def __init__(self, client: PylibmcClient) -> None:
        self._client, self._process = client, os.getpid()

    def connect(self) -> PylibmcClient:
        return self._client.clone()

    def usable(self, connection: PylibmcClient) -> bool:
        return True

    def close(self, connection: PylibmcClient) -> None:
        if os.getpid() == self._process:
            connection.disconnect_all()
        else:
            _inherited.append(connection)


class SASLMemcachedCache(ClientCache[PylibmcClient]):
    """A cache on Memcached servers that want a user name and a password.

    It needs the package pylibmc. Nothing connects before the first operation.

    :param servers: a list of ``"host:port"`` and paths of sockets; ``None`` is
        ``127.0.0.1:11211``.
    :param default_timeout: seconds that a value lives when it is given no timeout; 0 never expires.
    :param key_prefix: put in front of all keys: text, or a callable that is asked on each call.
    :param username: who asks.
    :param password: how the server knows.
    :param pool_size: how many clients all threads share; 10 if it is ``None``.
    :param pool_blocking: whether to wait for a free one.
    :param ignore_delete_many_errors: accepted for compatibility.
    :param connect_timeout: seconds that opening a connection may take.
    :param operation_timeout: seconds that an answer may take, or the wait for a free client.
    :param kwargs: everything else is given to ``pylibmc.Client``: ``behaviors`` …
    :raises ConfigurationError: if pylibmc does not take it.
    """

    def __init__(
        self,
        servers: Any = None,
        default_timeout: float | dt.timedelta = 300,
        key_prefix: KeyPrefix = None,
        username: str | None = None,
        password: str | None = None,
        pool_size: int | None = None,
        pool_blocking: bool = True,
        ignore_delete_many_errors: bool = False,
        connect_timeout: float = 1.0,
        operation_timeout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        pylibmc: Any = importlib.import_module("pylibmc")
        super().__init__(default_timeout, key_prefix, ignore_delete_many_errors)
        self._warned = {}
        micros = int(operation_timeout * 1e6)
        behaviors = {
            "cas": True,
            "tcp_nodelay": True,
            "connect_timeout": max(1, int(connect_timeout * 1000)),
            "send_timeout": micros,
            "receive_timeout": micros,
            "_poll_timeout": max(1, int(operation_timeout * 1000)),
            **kwargs.pop("behaviors", {}),
        }
        addresses = list(map(_spec, [servers] if isinstance(servers, str) else servers or DEFAULT))
        who = {"username": username, "password": password, "binary": True, **kwargs}
        try:
            client = pylibmc.Client(addresses, behaviors=behaviors, **who)
        except (TypeError, ValueError, pylibmc.Error) as error:
            said = "a value is wrong" if isinstance(error, ValueError) else error
            raise ConfigurationError(f"pylibmc does not take these settings: {said}") from None
        self.where = ", ".join(addresses)
        self._budget = operation_timeout
        patience = operation_timeout if pool_blocking else 0.0
        self._pool = SyncPool(_Opener(client), pool_size or 10, patience)
        self._lend = self._pool.run

    @classmethod
    def factory(
        cls, app: object, config: Config, args: list[Any], kwargs: Config
    ) -> SASLMemcachedCache:
        """Build it with ``CACHE_MEMCACHED_SERVERS``, ``_USERNAME`` and ``_PASSWORD``."""
        if not args:
            kwargs.setdefault("servers", config["CACHE_MEMCACHED_SERVERS"])
        kwargs.setdefault("username", config.get("CACHE_MEMCACHED_USERNAME"))
        kwargs.setdefault("password", config.get("CACHE_MEMCACHED_PASSWORD"))
        common_settings(config, kwargs)
        return cls(*args, **kwargs)

    def _fetch(self, client: PylibmcClient, names: list[str]) -> dict[str, Value]:
        # pylibmc finds nothing where no answer came in time.
        began = time.monotonic()
        found = super()._fetch(client, names)
        if len(found) < len(names) and time.monotonic() - began >= self._budget:
            raise TimeoutError(f"Memcached did not answer in {self._budget} s")
        return found

    def _count(self, client: PylibmcClient, key: str, delta: int) -> Value:
        """Atomic among processes, too: pylibmc has ``cas``."""
        name = name_of(self._prefix(), key)
        for _ in range(TRIES):
            token = self._token(client)
            raw, unique = client.gets(name)
            total, changed, until = self._sum(client, key, raw, token, delta)
            if raw is None:
                stored = client.add(name, changed, until)
            else:
                stored = _swapped(client, name, changed, unique, until)
            if stored:
                return total
        raise BackendError(f"too many count {key!r} at once")

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self._pool.renew()


def _spec(server: str | tuple[str, int]) -> str:
    """A server, as pylibmc reads it.

    :raises ConfigurationError: if there is a URL, in which a password may stand.
    """
    try:
        return host_name(server if isinstance(server, str) else ":".join(map(str, server)))
    except (TypeError, ValueError):
        raise ConfigurationError(
            "CACHE_MEMCACHED_SERVERS must be a list of 'host:port' and paths of sockets; "
            f"{shown(server)} is none of these"
        ) from None


def _swapped(client: PylibmcClient, name: str, raw: bytes, unique: int | None, until: int) -> bool:
    """Store an item if it is still the one that was read."""
    try:
        return bool(client.cas(name, raw, unique, until))
    except Exception as error:
        if type(error).__name__ != "NotFound":
            raise
        return False


class SpreadSASLMemcachedCache(SASLMemcachedCache):
    """A :class:`SASLMemcachedCache` that spreads what is too large for one item over several.

    What fits lies under ``<key>``. Otherwise the pieces lie under ``<key>~~0``, ``<key>~~1`` …, and
    under ``<key>`` there is only how many they are, and an id that stands in each of them too:
    pieces of two values are never put together.

    :param chunksize: the most bytes in one item.
    :param maxchunk: the most pieces of one value; a larger one is not stored.
    """

    def __init__(
        self, *args: Any, chunksize: int = 1048448, maxchunk: int = 32, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.chunksize, self.maxchunk = chunksize, maxchunk

    def get(self, key: str, chunk: bool = True) -> Value:
        """The value of ``key``, or ``None``.

        :param chunk: makes no difference: what was spread is known by itself.
        """
        return super().get(key)

    def set(
        self, key: str, value: Value, timeout: Timeout | None = None, chunk: bool = True
    ) -> bool:
        """Store a value.

        :param chunk: False for one that must fit into one item.
        """
        if not chunk:
            unspread = object.__new__(type(self))
            unspread.__dict__.update(self.__dict__, maxchunk=0)
            return unspread.set(key, value, timeout)
        return super().set(key, value, timeout)

    # --- pieces -----------------------------------------------------------------------------------

    def _fetch(self, client: PylibmcClient, names: list[str]) -> dict[str, Value]:
        found = super()._fetch(client, names)
        spread = {name: pieces for name, raw in found.items() if (pieces := _Pieces.read(raw))}
        if spread:
            wanted = [piece for name, pieces in spread.items() for piece in pieces.names(name)]
            parts = super()._fetch(client, wanted)
            for name, pieces in spread.items():
                found[name] = pieces.together([parts.get(piece) for piece in pieces.names(name)])
        return found

    def _store(
        self, client: PylibmcClient, raws: dict[str, bytes], until: int
    ) -> builtins.set[str]:
        heads = {name: self._head(client, name, raw, until) for name, raw in raws.items()}
        refused = {name for name, head in heads.items() if head is None}
        for name in refused:
            self._drop(client, name)  # what was there is not what was set
        fit = {name: head for name, head in heads.items() if head is not None}
        return refused | super()._store(client, fit, until)

    def _create(self, client: PylibmcClient, name: str, raw: bytes, until: int) -> bool:
        head = self._head(client, name, raw, until)
        return head is not None and super()._create(client, name, head, until)

    def _drop(self, client: PylibmcClient, name: str) -> bool:
        pieces = _Pieces.read(super()._fetch(client, [name]).get(name))
        existed = super()._drop(client, name)
        for piece in pieces.names(name) if pieces else ():
            super()._drop(client, piece)
        return existed

    def _head(self, client: PylibmcClient, name: str, raw: bytes, until: int) -> bytes | None:
        """What to store under ``name`` itself, after the pieces; ``None`` if it is too large."""
        room = max(1, self.chunksize - len(name) - 64)
        if len(raw) <= room:
            return raw
        parts = [raw[start : start + room] for start in range(0, len(raw), room)]
        if len(parts) > self.maxchunk:
            return None
        pieces = _Pieces(secrets.token_bytes(12), len(parts))
        named = zip(pieces.names(name), parts, strict=True)
        raws = {piece: pieces.id + part for piece, part in named}
        return None if super()._store(client, raws, until) else pieces.head()


class _Pieces(NamedTuple):
    """The pieces of one value."""

    id: bytes
    number: int

    def head(self) -> bytes:
        """How this is stored."""
        return b"%b%b%d" % (_HEAD, self.id, self.number)

    @classmethod
    def read(cls, raw: Value) -> _Pieces | None:
        """What :meth:`head` has made."""
        if not isinstance(raw, bytes) or not raw.startswith(_HEAD):
            return None
        rest = raw[len(_HEAD) :]
        return cls(rest[:12], int(rest[12:])) if rest[12:].isdigit() else None

    def names(self, name: str) -> list[str]:
        """Where they lie."""
        return [piece_name(name, number) for number in range(self.number)]

    def together(self, parts: list[Value]) -> bytes:
        """The value, if these are its pieces; one that is over, if they are not."""
        if all(isinstance(part, bytes) and part.startswith(self.id) for part in parts):
            return b"".join([part[len(self.id) :] for part in parts])
        return Header("", 0.0).around(b"")


_HEAD = b"\x00fcp "
