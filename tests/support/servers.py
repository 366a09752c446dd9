"""Redis and Memcached as processes of the tests, which end with the tests, however they end.

The ports are below those that the system gives to outgoing connections: nobody takes the port of a
server that is down for a while, and no client connects to itself.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from support.waiting import PATIENCE, until

HOST = "127.0.0.1"
#: What a shell runs next to each server: when the tests are gone, it cleans up.
GUARD = 'read -r ended || { kill -9 "$0"; rm -rf "$1"; }'


class ServerError(RuntimeError):
    """A server does not start, or does not become what it should be."""


def eventually(condition: Callable[[], Any], what: str) -> None:
    """Block until something is so of a server; one that cannot be asked yet counts as no."""

    def so() -> Any:
        with suppress(Exception):
            return condition()

    try:
        until(so)
    except AssertionError:
        raise ServerError(f"it never happened: {what}") from None


def free_port() -> int:
    """A port that is free, and so is the second one that a node of a Redis Cluster uses."""
    while True:
        port = random.SystemRandom().randrange(10_000, 22_000)
        with suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind((HOST, port))
            two.bind((HOST, port + 10_000))
            return port


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a child that was forked
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A program that listens on a port, which stays the same after the first start.

    A subclass has a ``command()``, asks the program for its process id, and empties it.
    """

    program = ""
    host = HOST
    #: Seconds that :meth:`stop` waits for it to end by itself.
    grace = 2.0

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.port = self.pid = 0
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__}-"))
        #: The path where it listens, if the option ``unixsocket=True`` was given.
        self.socket = str(self.folder / "socket") if options.pop("unixsocket", False) else ""
        weakref.finalize(self, _remove, self.folder, os.getpid())

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.program.removesuffix('-server')}://{self.host}:{self.port}"

    def start(self) -> Self:
        """Start it, if it does not run; when this returns, it answers."""
        if not shutil.which(self.program):
            hint = "apt-get install redis-server memcached"
            raise ServerError(f"{self.program} is missing, which this test needs: {hint}")
        known, deadline = self.port, time.monotonic() + PATIENCE
        while not self.running:
            self.kill()
            self.port = known or free_port()
            self._launch()
            while self.running and not self.answers() and time.monotonic() < deadline:
                time.sleep(0.002)
            log = (self.folder / "log").read_text(errors="replace")
            if time.monotonic() > deadline or not (self.running or "already in use" in log):
                self.kill()
                raise ServerError(f"{self.program} does not start:\n{log[-2000:]}")
        return self

    def _launch(self) -> None:
        new: dict[str, Any] = {"cwd": self.folder, "start_new_session": True}  # deaf to Ctrl-C
        with open(self.folder / "log", "wb") as log:
            new |= {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self._process = subprocess.Popen(self.command(), **new)
            self.pid = self._process.pid
            guard = ["sh", "-c", GUARD, str(self.pid), str(self.folder)]
            self._guard = subprocess.Popen(guard, **new | {"stdin": subprocess.PIPE})

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return bool(self.pid) and self._process.poll() is None

    def answers(self) -> bool:
        """Whether it answers: itself, and not another one on the same port."""
        with suppress(Exception):
            return self.told_pid() == self.pid
        return False

    def stop(self) -> None:
        """End it, by force after some time."""
        if self.pid:
            self._process.terminate()
            self.resume()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self.grace)
            self.kill()

    def kill(self) -> None:
        """End it as a crash does, with SIGKILL."""
        if self.pid:
            self._process.kill()
            self._process.wait()
            self._guard.communicate(b"ended\n")
            self.pid = 0

    def pause(self) -> None:
        """Let it hang, with SIGSTOP: the system accepts connections, nobody answers."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # all its threads

    def resume(self) -> None:
        """Let it go on after :meth:`pause`."""
        if self.pid:
            self._process.send_signal(signal.SIGCONT)

    def restart(self) -> Self:
        """Stop it and start it on the same port."""
        self.stop()
        return self.start()

    def restore(self) -> Self:
        """Bring it back from whatever a test did to it, and empty it."""
        self.resume()
        self.start().flush()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


class MemcachedServer(Server):
    """A Memcached. Options are its own: ``m=64``, ``max_item_size="2m"``.

    With ``unixsocket=True`` it listens on no port, but on :attr:`socket`.
    """

    program = "memcached"
    grace = 0.0  # it would take a second, and has nothing to save

    def command(self) -> list[str]:
        """The command line."""
        words = [self.program, "-U", "0", *(["-u", "root"] if os.geteuid() == 0 else [])]
        words += ["-s", self.socket] if self.socket else ["-l", HOST, "-p", str(self.port)]
        for name, value in self.options.items():
            flag = f"--{name.replace('_', '-')}=" if len(name) > 1 else f"-{name}"
            words.append(flag.rstrip("=") if value is True else f"{flag}{value}")
        return words

    def ask(self, line: str) -> str:
        """Send a command of one line; the last line of the answer."""
        with socket.socket(socket.AF_UNIX if self.socket else socket.AF_INET) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(self.socket or (HOST, self.port))
            sock.sendall(line.encode() + b"\r\n")
            with sock.makefile() as answer:
                lines = (text.strip() for text in answer)
                return next(text for text in lines if text[:8] == "STAT pid" or text[:4] != "STAT")

    def told_pid(self) -> int:
        """The process id that it tells."""
        return int(self.ask("stats").split()[2])

    def flush(self) -> None:
        """Delete all that it holds."""
        self.ask("flush_all")


class RedisServer(Server):
    """A Redis that writes no files. Options are its own: ``requirepass="x"``,
    ``replicaof=(host, port)``, ``unixsocket=True`` to listen on :attr:`socket` too.

    With ``tls=True`` it speaks only TLS, and :attr:`certificate` is who signed its certificate.
    """

    program = "redis-server"

    def __init__(self, *, tls: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.certificate = str(self.folder / "cert.pem") if tls else ""
        if tls:
            make = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 9"
            make += f" -subj /CN={HOST} -addext subjectAltName=IP:{HOST} -out cert.pem -keyout key"
            subprocess.run(make.split(), cwd=self.folder, check=True, capture_output=True)

    def command(self) -> list[str]:
        """The command line."""
        options: dict[str, Any] = {"bind": HOST, "port": self.port, "dir": self.folder}
        options |= {"save": "", "appendonly": "no", "repl-diskless-sync-delay": 0}
        if self.socket:
            options["unixsocket"] = self.socket
        if self.certificate:
            options |= {"port": 0, "tls-port": self.port, "tls-auth-clients": "no"}
            options |= {"tls-cert-file": self.certificate, "tls-key-file": self.folder / "key"}
            options |= {"tls-ca-cert-file": self.certificate}
        words = [self.program]
        for name, value in (options | self.options).items():
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
        return words

    @property
    def url(self) -> str:
        """Where it is, with its password."""
        word = self.options.get("requirepass")
        password = f":{quote(word)}@" if word else ""
        return f"redis{'s' * bool(self.certificate)}://{password}{self.host}:{self.port}"

    def ask(self, *words: Any) -> Any:
        """What redis-py makes of the answer to a command."""
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        how: dict[str, Any] = {"ssl_ca_certs": self.certificate} if self.certificate else {}
        how |= {"retry": Retry(NoBackoff(), 0), "decode_responses": True}
        how |= {"socket_timeout": PATIENCE}
        with Redis.from_url(self.url, protocol=2, **how) as client:
            return client.execute_command(*words)

    def told_pid(self) -> int:
        """The process id that it tells."""
        return int(self.ask("INFO", "server")["process_id"])

    def flush(self) -> None:
        """Delete all that it holds."""
        self.ask("FLUSHALL")
