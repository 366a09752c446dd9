"""Servers of our own, on free ports of this machine, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

from _peers import Store, say


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def listening(
    command: list[str], port: int, **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block, which begins when it listens."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **{**quiet, **options})  # type: ignore[call-overload]
    try:
        while process.poll() is None:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.01)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} does not start")
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def redis_server() -> Iterator[Store | None]:
    """A Redis that keeps everything in memory; ``None``, if it is not installed."""
    port = free_port()
    quiet = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
    with started("redis-server", ["--port", str(port), *quiet], port) as there:
        yield Store("redis", port) if there else None


@contextlib.contextmanager
def memcached_server() -> Iterator[Store | None]:
    """A Memcached; ``None``, if it is not installed."""
    port = free_port()
    listen = ["-p", str(port), "-l", "127.0.0.1", "-U", "0", "-u", "nobody"]
    with started("memcached", listen, port) as there:
        yield Store("memcached", port) if there else None


@contextlib.contextmanager
def started(program: str, arguments: list[str], port: int) -> Iterator[bool]:
    """Run a program that may be missing; whether it is there."""
    path = shutil.which(program)
    if path is None:
        say(f"{program} is not installed: left out")
        yield False
        return
    with listening([path, *arguments], port):
        yield True
