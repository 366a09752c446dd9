"""The servers of Memcached, and which of them has which name."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from pymemcache.client.base import normalize_server_spec
from pymemcache.client.rendezvous import RendezvousHash

from ...exceptions import ConfigurationError
from .._connections.secrets import host_name, shown

__all__ = ["Ring", "Server", "named", "servers_of"]

#: ``(host, port)``, or the path of a socket.
Server: TypeAlias = tuple[str, int] | str


def servers_of(given: Any) -> list[Server]:
    """The servers that a user means.

    :param given: one or several of ``"host:port"``, ``(host, port)``, ``"/path"``; or ``None``.
    :raises ConfigurationError: if it is something else.
    """
    if given is None:
        given = "127.0.0.1:11211"
    found: dict[Server, None] = {}
    for one in given if isinstance(given, (list, tuple)) else [given]:
        try:
            spec = normalize_server_spec(tuple(one) if isinstance(one, list) else one)
            if not isinstance(spec, str):
                host, port = spec
                spec = host_name(host), int(port)
        except (TypeError, ValueError):
            raise ConfigurationError(
                "CACHE_MEMCACHED_SERVERS must be a list of 'host:port', (host, port) and paths of "
                f"sockets, or a client; {shown(one)} is none of these"
            ) from None
        found[spec] = None
    if not found:
        raise ConfigurationError("CACHE_MEMCACHED_SERVERS names no server")
    return list(found)


class Ring:
    """Which server has which name: the same one in every process, and for pymemcache's clients.

    It is pymemcache's own rendezvous hash: another program finds what was stored here, and a server
    that is added or taken away moves only its own share of the names.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        names = list(map(named, servers))
        self._numbers = {name: number for number, name in enumerate(names)}
        self._hash = RendezvousHash(names)
        #: The names of all servers, by their numbers.
        self.names = names
        #: The numbers of all servers.
        self.numbers = range(len(names))
        #: The number of the server for a name.
        self.at: Callable[[str], int] = functools.lru_cache(4096)(self._choose)
        if len(names) == 1:
            self.at = lambda name: 0

    def only(self, number: int) -> Ring:
        """The part of this ring that is on one server."""
        part = copy.copy(self)
        part.numbers, part.at = range(number, number + 1), lambda name: number
        return part

    def _choose(self, name: str) -> int:
        return self._numbers[str(self._hash.get_node(name))]


def named(server: Server) -> str:
    return server if isinstance(server, str) else f"{server[0]}:{server[1]}"
