"""Blocking sockets whose steps are bounded in time."""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Callable

__all__ = ["Socket", "has_more", "limit"]

#: Whether the kernel can count the seconds of each step: Python asks it before each step whether
#: there is something to do, which doubles the calls.
IN_KERNEL = sys.platform == "linux" and struct.calcsize("l") == struct.calcsize("P") == 8
#: What waits in the kernel: not what gevent or eventlet have put in its place.
_PLAIN = socket.socket if socket.socket.__module__ == "socket" else ()
#: The flags for a look at what has come, which waits for nothing.
PEEK_NOW = int(socket.MSG_PEEK) | int(getattr(socket, "MSG_DONTWAIT", 0))


def _waits_in_kernel(connection: socket.socket) -> bool:
    """Whether a socket does: those of gevent and eventlet do not."""
    return IN_KERNEL and isinstance(connection, _PLAIN)


def limit(connection: socket.socket, seconds: float | None) -> None:
    """Let a step that the server does not answer in time fail.

    :raises OSError: later, of that step: ``BlockingIOError`` where the kernel counts.
    """
    in_kernel = _waits_in_kernel(connection)
    connection.settimeout(None if in_kernel else seconds)
    if in_kernel:
        micro = 0 if seconds is None else max(1, int(seconds * 1e6))  # 0 is without an end
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            seconds_and_rest = struct.pack("ll", *divmod(micro, 10**6))
            connection.setsockopt(socket.SOL_SOCKET, option, seconds_and_rest)
        if isinstance(connection, Socket) and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            connection.poll = poll.poll


def has_more(connection: socket.socket) -> bool:
    """Whether it has something to say, or has been closed by the server.

    :raises OSError: if it has failed.
    """
    if isinstance(connection, Socket) and connection.poll is not None:
        return bool(connection.poll(0))
    if _waits_in_kernel(connection):
        return _has_more(connection)
    before = connection.gettimeout()
    try:
        connection.settimeout(0)
        return _has_more(connection)
    finally:
        connection.settimeout(before)


def _has_more(connection: socket.socket) -> bool:
    try:
        connection.recv(1, PEEK_NOW)
    except BlockingIOError:
        return False
    return True


class Socket(socket.socket):
    """A blocking connection of our own."""

    #: Asks the kernel what there is: a third of what it takes to look at what has come in vain.
    poll: Callable[[int], list[tuple[int, int]]] | None = None

    def __del__(self) -> None:
        self.close()  # silently: no program has to close a cache before it ends
