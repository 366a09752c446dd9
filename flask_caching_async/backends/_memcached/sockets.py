"""Blocking sockets whose steps are bounded in time."""

from __future__ import annotations

import socket
import struct
import sys

__all__ = ["Socket"]

#: Whether the kernel counts the seconds of each step: Python asks it before each step whether there
#: is something to do, which doubles the calls. gevent's and eventlet's sockets do not wait in it.
IN_KERNEL = (
    sys.platform == "linux"
    and socket.socket.__module__ == "socket"
    and struct.calcsize("l") == struct.calcsize("P") == 8
)
#: The flags for a look at what has come, which waits for nothing.
PEEK_NOW = int(socket.MSG_PEEK) | int(getattr(socket, "MSG_DONTWAIT", 0))


class Socket(socket.socket):
    """A blocking connection."""

    def limit(self, seconds: float | None) -> None:
        """Let a step that the server does not answer in time fail.

        :raises OSError: later, of that step: ``BlockingIOError`` where the kernel counts.
        """
        self.settimeout(None if IN_KERNEL else seconds)
        if IN_KERNEL:
            micro = 0 if seconds is None else max(1, int(seconds * 1e6))  # 0 is without an end
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", *divmod(micro, 10**6)))

    def has_more(self) -> bool:
        """Whether it has something to say, or has been closed by the server.

        :raises OSError: if it has failed.
        """
        before = self.gettimeout()
        try:
            if not IN_KERNEL:
                self.settimeout(0)
            self.recv(1, PEEK_NOW)
        except BlockingIOError:
            return False
        finally:
            if not IN_KERNEL:
                self.settimeout(before)
        return True

    def __del__(self) -> None:
        self.close()  # silently: no program has to close a cache before it ends
