"""What lies on a Memcached, as any other client sees it."""

from __future__ import annotations

import re
import socket

from support.servers import HOST, MemcachedServer


def raw(server: MemcachedServer, name: str) -> str | None:
    """The line about an item, if there is one: its name, flags and size."""
    with socket.create_connection((HOST, server.port), timeout=5) as sock:
        sock.sendall(f"get {name}\r\n".encode())
        with sock.makefile("rb") as lines:
            line = lines.readline().decode().strip()
    return None if line == "END" else line.removeprefix("VALUE ")


def life(server: MemcachedServer, name: str) -> int | None:
    """For how many seconds the server still keeps an item: -1 for ever, ``None`` if it is gone."""
    found = re.fullmatch(r"HD t(-?\d+)", server.ask(f"mg {name} t"))
    return None if found is None else int(found[1])


def plant(
    server: MemcachedServer, name: str, stored: bytes, flags: int = 0, until: int = 0
) -> None:
    """Store something as another client does."""
    with socket.create_connection((HOST, server.port), timeout=5) as sock:
        sock.sendall(
            b"set %b %d %d %d\r\n%b\r\n" % (name.encode(), flags, until, len(stored), stored)
        )
        assert sock.recv(100) == b"STORED\r\n"
