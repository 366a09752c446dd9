"""gunicorn workers that share a cache: threads, greenlets, forks of a process that has used it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from support.backends import ON_SERVERS, SHARED, FileBackend, ServerBackend
from support.scrapes import view_requests
from support.waiting import until
from support.web_server import WebServer

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system"),
    pytest.mark.timeout(150),  # many processes, perhaps on a busy machine
]


class Gunicorn(WebServer):
    """gunicorn; what it says at its end counts only if it is an error.

    :param python: options of the interpreter.
    :param arguments: options of gunicorn.
    """

    def __init__(
        self, folder: Path, config: dict[str, Any], python: str, arguments: str, **more: str
    ) -> None:
        command = [
            "gunicorn", "--no-control-socket", "--bind", "127.0.0.1:{port}",
            "--log-level", "warning", "--timeout", "60",
            *arguments.split(), "support.gunicorn_app:make()",
        ]  # fmt: skip
        config = {**config, "CACHE_KEY_PREFIX": f"{folder.name}:"}
        self.has_ended, self.said = False, ""
        super().__init__(folder, config, python.split(), command, **more)

    def terminate(self) -> int:
        """End it."""
        if not self.has_ended:
            self.said, self.has_ended = self.stderr.read_text(), True
        return super().terminate()

    def close(self) -> str:
        """End it; what it said until then, and of errors also at its end."""
        self.terminate()
        last = self.stderr.read_text()
        return last if "Traceback" in last else self.said


@pytest.fixture(params=SHARED)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> FileBackend | ServerBackend:
    """Each backend that processes share."""
    if request.param == "FileSystemCache":
        return FileBackend(tmp_path / "files")
    return ServerBackend(request.param, request.getfixturevalue)


Start = Callable[..., Gunicorn]


@pytest.fixture
def start(tmp_path: Path, backend: FileBackend | ServerBackend) -> Iterator[Start]:
    """Start a server, which must have nothing to complain about."""
    servers: list[Gunicorn] = []

    def start_one(python: str, arguments: str, **more: str) -> Gunicorn:
        servers.append(Gunicorn(tmp_path, backend.config, python, arguments, **more))
        return servers[-1]

    yield start_one
    assert [server.close() for server in servers] == [""] * len(servers)


def test_workers_that_were_forked_after_the_cache_was_used_do_so_too(start: Start) -> None:
    """With ``--preload``, after sync and async calls: one computation, and no connection shared."""
    threads = "--worker-class gthread --threads 16 --workers 4"
    server = start("-W error", f"{threads} --preload", USE_BEFORE_FORK="yes")
    assert server.get_all(["/cold/early"] * 16, 16) == [(200, "1")] * 16
    for kind in ("cold", "acold"):
        assert server.get_all([f"/{kind}/{kind}"] * 40, 40) == [(200, "1")] * 40
        assert len(server.computed(kind)) == 1
    answers = server.get_all([f"/busy/{number}" for number in range(200)], 16)
    assert [json.loads(text)["after"] for _, text in answers] == list(range(200))
    assert len(server.computed("early")) == 1


def test_greenlets_of_all_workers_cause_one_computation(start: Start) -> None:
    """With gevent: whoever waits, for a greenlet or for another process, stops nobody else."""
    server = start("", "--worker-class gevent --workers 2")
    assert server.get_all(["/cold/page"] * 60, 60) == [(200, "1")] * 60
    assert len(server.computed("page")) == 1
    # Flask cannot run two async views at once in one of these workers; but hits need no loop.
    assert server.get("/acold/other") == (200, "1")
    assert server.get_all(["/acold/other"] * 60, 60) == [(200, "1")] * 60


@pytest.mark.parametrize("backend", ON_SERVERS, indirect=True)
def test_many_async_views_need_a_handful_of_connections(
    start: Start, backend: ServerBackend
) -> None:
    """Each has an event loop of its own, and reads, sets and computes: no error, no warning."""
    before = backend.connections()
    server = start("-X dev -W error", "--worker-class gthread --threads 4 --workers 2")
    most, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.1):
            most = max(most, backend.connections() - before)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        answers = server.get_all([f"/busy/{number}" for number in range(300)], 8)
    finally:
        ended.set()
        watching.join()
    assert [status for status, _ in answers] == [200] * 300
    assert [json.loads(text) for _, text in answers] == [
        {"before": None, "after": number, "square": (number % 50) ** 2} for number in range(300)
    ]
    assert 0 < most <= 12


def test_the_figures_of_four_workers_add_up_exactly(
    start: Start, backend: FileBackend | ServerBackend, tmp_path: Path
) -> None:
    """Of sync and async views, for a process that has served none of them; also after their end."""
    backend.config["CACHE_STATS_INTERVAL"] = 0.2
    server = start("-W error", "--worker-class gthread --threads 4 --workers 4")
    assert server.get_all(["/cold/page"] * 60, 16) == [(200, "1")] * 60
    assert server.get_all(["/acold/page"] * 40, 16) == [(200, "2")] * 40
    config = {**backend.config, "CACHE_KEY_PREFIX": f"{tmp_path.name}:"}
    asking = Cache(Flask("served"), config=config)

    def calls() -> list[int]:
        return [use.calls for use in asking.shared_stats().values() if use.kind == "view"]

    until(lambda: calls() == [60, 40])
    scrapes = server.get_all(["/metrics"] * 12, 4)  # each worker answers with those of all
    assert [view_requests(text) for _, text in scrapes] == [[60, 40]] * 12
    server.terminate()
    assert calls() == [60, 40]
    computed = [use.computed for use in asking.shared_stats().values() if use.kind == "view"]
    assert computed == [1, 1]
