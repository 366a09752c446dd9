"""What callers send over the network: counted, so that a test need not measure how long it took."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

#: Threads that nobody waits for: the proxy of a test, and the one that looks for a dead backend.
OTHERS = ("fault-proxy", "flask-caching-async-breaker")


class Traffic:
    """How often this process connected or wrote to a port, by the threads that callers wait for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.attempts = 0

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> Traffic:
        """Count from here on, until the test ends."""
        for name in ("connect", "connect_ex"):
            self._count(monkeypatch, name, lambda sock, args: args[0][1])
        for name in ("send", "sendall", "sendmsg"):
            self._count(monkeypatch, name, lambda sock, args: sock.getpeername()[1])
        return self

    def _count(self, monkeypatch: pytest.MonkeyPatch, name: str, port_of: Any) -> None:
        method = getattr(socket.socket, name)

        def counted(sock: socket.socket, *args: Any) -> Any:
            if sock.family == socket.AF_INET and not self._is_another():
                try:
                    self.attempts += port_of(sock, args) == self.port
                except OSError:  # it was dropped meanwhile
                    self.attempts += 1
            return method(sock, *args)

        monkeypatch.setattr(socket.socket, name, counted)

    def _is_another(self) -> bool:
        return threading.current_thread().name.startswith(OTHERS)
