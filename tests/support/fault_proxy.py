"""A proxy that breaks things, between a client and a server."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Self

from support.servers import HOST, free_port
from support.waiting import PATIENCE


class _Link:
    """A connection through the proxy: its sockets, and what is to be sent to each, and when."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.server: socket.socket | None = None
        self.to_client: deque[tuple[float, bytes]] = deque()
        self.to_server: deque[tuple[float, bytes]] = deque()
        self.silent = False


class FaultProxy:
    """Passes connections on to a port of this machine, as long as it is told nothing else.

    ``silence()``, ``delay(seconds)`` and the like change its :attr:`mode`, for open connections
    too, and ``heal()`` ends that. When such a method returns, it is so.
    """

    host = HOST

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.mode = "pass"
        #: Connections that clients ever made, and chunks of bytes that came from them.
        self.accepted = self.requests = 0
        self._seconds = 0.0
        self._noise = b""
        self._links: set[_Link] = set()
        self._listener: socket.socket | None = None
        self._lock = threading.RLock()

    @property
    def connections(self) -> int:
        """How many connections of clients are open."""
        return len(self._links)

    def start(self) -> Self:
        """Start it; when this returns, it accepts connections."""
        self.mode = "pass"
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._listen()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Drop all connections and end."""
        self._ringer.close()
        self._thread.join(PATIENCE)
        self.refuse()
        self._bell.close()
        self._selector.close()

    def heal(self) -> None:
        """Pass everything on. A connection that has swallowed something stays silent."""
        self._switch("pass")

    def refuse(self) -> None:
        """Reset the open connections and refuse new ones, as if no server were there."""
        self._switch("refuse")

    def silence(self) -> None:
        """Accept connections, swallow what comes, and never answer, as a dead network does."""
        self._switch("silence")

    def delay(self, seconds: float) -> None:
        """Deliver everything from the server so much later."""
        self._switch("delay", seconds=seconds)

    def garbage(self, noise: bytes = b"\x00garbage\xff\r\n") -> None:
        """Answer each request with this, instead of the server."""
        self._switch("garbage", noise=noise)

    def cut(self, reset: bool = False) -> None:
        """Drop the connections that are open now: close them, or reset them."""
        with self._lock:
            while self._listener is not None and self._accept():
                pass  # they are open for the client already
            for link in list(self._links):
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._drop(link)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _switch(self, mode: str, seconds: float = 0.0, noise: bytes = b"") -> None:
        with self._lock:
            self.mode, self._seconds, self._noise = mode, seconds, noise
            if mode == "refuse":
                if self._listener is not None:
                    self._close(self._listener)
                    self._listener = None
                self.cut(reset=True)
            elif self._listener is None:
                self._listen()

    def _listen(self) -> None:
        self.port = self.port or free_port()
        self._listener = socket.create_server((HOST, self.port), backlog=512)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _close(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        sock.close()

    def _drop(self, link: _Link) -> None:
        if link in self._links:
            self._links.remove(link)
            self._close(link.client)
            self._hang_up(link)

    def _hang_up(self, link: _Link) -> None:
        if link.server is not None:
            self._close(link.server)
            link.server = None

    def _run(self) -> None:
        pause = None
        while True:
            events = self._selector.select(pause)
            with self._lock:
                for key, _ in events:
                    if key.fileobj is self._bell:
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data in self._links:
                        self._receive(key.data, key.fileobj)
                pause = self._deliver()

    def _accept(self) -> bool:
        try:
            client, _ = self._listener.accept()
        except OSError:  # nobody is there, or not any more
            return False
        link = _Link(client)
        self.accepted += 1
        self._links.add(link)
        self._register(client, link)
        if self.mode in ("pass", "delay"):
            self._dial(link)
        return True

    def _register(self, sock: socket.socket, link: _Link) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ, link)

    def _dial(self, link: _Link) -> None:
        try:
            link.server = socket.create_connection((HOST, self.target_port), timeout=PATIENCE)
            self._register(link.server, link)
        except OSError:
            self._drop(link)

    def _receive(self, link: _Link, sock: socket.socket) -> None:
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if sock is link.client:
            self._from_client(link, data) if data else self._drop(link)
        elif sock is link.server:
            self._from_server(link, data)

    def _from_client(self, link: _Link, data: bytes) -> None:
        self.requests += 1
        link.silent = link.silent or self.mode == "silence"
        if link.silent:
            return
        if self.mode == "garbage":
            link.to_client.append((0.0, self._noise))
            return
        if link.server is None:
            self._dial(link)
        link.to_server.append((0.0, data))

    def _from_server(self, link: _Link, data: bytes) -> None:
        link.silent = link.silent or self.mode == "silence"
        if not data:
            self._hang_up(link)
        if not link.silent and not (data and self.mode == "garbage"):
            link.to_client.append((time.monotonic() + self._seconds, data))

    def _deliver(self) -> float | None:
        """Send what is due, and say after how long there is more to send."""
        pauses = []
        for link in list(self._links):
            if link.to_client and self.mode == "silence":
                link.silent = True
            if link.silent:
                link.to_client.clear()
            for sock, queue in ((link.server, link.to_server), (link.client, link.to_client)):
                try:
                    while queue and queue[0][0] <= time.monotonic() and sock:
                        _, data = queue.popleft()
                        if not data:
                            self._drop(link)
                            break
                        with suppress(BlockingIOError):
                            data = data[sock.send(data) :]
                        if data:
                            queue.appendleft((time.monotonic() + 0.001, data))
                    if queue and sock:
                        pauses.append(max(0.0, queue[0][0] - time.monotonic()))
                except OSError:
                    self._drop(link)
        return min(pauses, default=None)
