"""nginx as a shared cache in front of a server of the tests."""

from __future__ import annotations

import http.client
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from support.servers import HOST, Server, free_port
from support.waiting import PATIENCE

__all__ = ["Answer", "CachingProxy", "needs_nginx", "request"]

#: Where Debian has it, which is not on everybody's path.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is missing: apt-get install nginx")

CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log stderr error; {user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/pages keys_zone=pages:1m;
    server {{
        listen {host}:{port};
        location / {{
            proxy_pass http://{host}:{upstream};
            proxy_cache pages;
            proxy_cache_revalidate on;
            proxy_cache_bypass $http_x_anew;  # ask the server, and store what it says
            add_header X-Proxy $upstream_cache_status always;
        }}
    }}
}}
"""


class Answer(NamedTuple):
    """What a server said; names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def proxy(self) -> str:
        """What the proxy did: ``MISS``, ``HIT``, ``REVALIDATED``, …; nothing if none was asked."""
        return self.headers.get("x-proxy", "")


def request(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    """The answer of a server on this machine."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"Connection": "close", **named})
        got = connection.getresponse()
        told = {name.lower(): value for name, value in got.getheaders()}
        return Answer(got.status, told, got.read().decode())
    finally:
        connection.close()


class CachingProxy(Server):
    """nginx with a ``proxy_cache``.

    :attr:`port` is known at once, so that the server behind it can be told.
    """

    program = NGINX or "nginx"

    def __init__(self) -> None:
        super().__init__()
        self.port, self.upstream = free_port(), 0

    def before(self, upstream: int) -> CachingProxy:
        """Start in front of a server on this port."""
        self.upstream = upstream
        self.start()
        return self

    def command(self) -> list[str]:
        """The command line."""
        file: Path = self.folder / "nginx.conf"
        user = "user root;" if Path("/proc/self").owner() == "root" else ""
        file.write_text(
            CONFIG.format(
                folder=self.folder, host=HOST, port=self.port, upstream=self.upstream, user=user
            )
        )
        return [self.program, "-p", str(self.folder), "-c", str(file), "-e", "stderr"]

    def answers(self) -> bool:
        """Whether it listens."""
        with suppress(OSError, ValueError), socket.create_connection((HOST, self.port), PATIENCE):
            return int((self.folder / "pid").read_text()) == self.pid
        return False
