"""A real web server in a process of its own, with real HTTP clients."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .crew import TESTS
from .servers import free_port
from .waiting import PATIENCE, until

__all__ = ["WebServer"]


class WebServer:
    """A server that has nothing to say on stderr, unless something goes wrong.

    :param folder: where its apps note what they compute.
    :param config: the settings of the cache that it serves.
    :param python: options of the interpreter.
    :param arguments: the server's module and its options; ``{port}`` is where it listens.
    :param more: variables of its environment.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        python: list[str],
        arguments: list[str],
        **more: str,
    ) -> None:
        self.folder, self.port, self.stderr = folder, free_port(), folder / "stderr"
        named = [part.format(port=self.port) for part in arguments]
        paths = os.pathsep.join(filter(None, (TESTS, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": paths, "SERVED": json.dumps(config), **more}
        with open(self.stderr, "wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *python, "-m", *named],
                cwd=folder, stdout=stderr, stderr=stderr, env=environment,
            )  # fmt: skip
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.stderr.read_text()
        try:
            return self.get("/up")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def get_all(self, paths: list[str], at_once: int) -> list[tuple[int, str]]:
        """The answers to many requests; so many of them begin in the same moment."""
        barrier = threading.Barrier(min(at_once, len(paths)))

        def get(number: int) -> tuple[int, str]:
            if number < at_once:
                barrier.wait(PATIENCE)
            return self.get(paths[number])

        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(get, range(len(paths))))

    def computed(self, name: str) -> list[str]:
        """The process ids of those who computed something, in order."""
        return (self.folder / f"{name}.notes").read_text().split()

    def terminate(self) -> int:
        """End it with SIGTERM; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
