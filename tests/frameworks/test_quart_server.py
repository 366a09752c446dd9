"""Under a real server: Quart, Flask behind adapters, and no framework, with real HTTP clients."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from support.quart_sites import connections, redis_config
from support.scrapes import view_requests
from support.waiting import until
from support.web_server import WebServer

__all__ = ["connections", "redis_config"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")


class Hypercorn(WebServer):
    """hypercorn, which has nothing to say at its end either.

    :param program: a function in ``support/hypercorn_apps.py``, perhaps after ``wsgi:``.
    :param workers: processes beside its own, 0 for none.
    :param more: variables of its environment.
    """

    def __init__(
        self, folder: Path, config: dict[str, Any], program: str, workers: int, **more: str
    ) -> None:
        how, _, name = program.rpartition(":")
        command = [
            "hypercorn", "--bind", "127.0.0.1:{port}",
            "--workers", str(workers), "--log-level", "ERROR",
            f"{how + ':' if how else ''}support.hypercorn_apps:{name}()",
        ]  # fmt: skip
        super().__init__(folder, config, ["-X", "dev", "-W", "error"], command, **more)

    def let_end(self, name: str, number: int) -> None:
        """Let a refresh end that is held."""
        (self.folder / f"{name}-{number}-may-end").touch()

    def close(self) -> tuple[int, str]:
        """End it; its exit code, and what it said."""
        code = self.terminate()
        return code, self.stderr.read_text()


Start = Callable[..., Hypercorn]


@pytest.fixture
def start(
    tmp_path: Path, redis_config: dict[str, Any], connections: Callable[[], int]
) -> Iterator[Start]:
    """Start servers that have nothing to complain about, and leave no connection."""
    servers: list[Hypercorn] = []

    def start_one(program: str, workers: int = 0, **more: str) -> Hypercorn:
        servers.append(Hypercorn(tmp_path, redis_config, program, workers, **more))
        return servers[-1]

    yield start_one
    assert [server.close() for server in servers] == [(0, "")] * len(servers)
    until(lambda: connections() == 0)


def test_200_visitors_of_a_cold_page_cause_one_computation(start: Start) -> None:
    """On a served Quart app: of an async view, and of a sync one, whose visitors are threads."""
    server = start("quart_app")
    for kind in ("async", "sync"):
        assert server.get_all([f"/{kind}/{kind}"] * 200, 200) == [(200, "1")] * 200
        assert len(server.computed(kind)) == 1
    paths = [f"/async/page?n={n % 4}" for n in range(40)]
    answers = server.get_all(paths, 40)
    assert len({(path, text) for path, (_, text) in zip(paths, answers, strict=True)}) == 4
    assert len(server.computed("page")) == 4


def test_the_loop_of_a_server_works_with_connections_of_its_own(start: Start) -> None:
    """No worker thread is ever needed; each request gets its right answer."""
    server = start("quart_app")
    answers = server.get_all([f"/busy/{number}" for number in range(300)], 30)
    assert [json.loads(text) for _, text in answers] == [
        {"after": number, "square": (number % 5) ** 2} for number in range(300)
    ]
    assert len(server.computed("square")) == 5
    assert json.loads(server.get("/about")[1]) == {"native": True, "workers": []}


def test_a_stale_page_leaves_the_server_at_once(start: Start) -> None:
    """However long its refresh is held; a stop in the middle waits for that, and says nothing.

    Renewals, too, begin and end with the server.
    """
    server = start("quart_app", RENEW="yes")
    assert server.get("/stale/page") == (200, "1")
    time.sleep(0.06)
    for _ in range(9):
        assert server.get("/stale/page") == (200, "1")
    server.let_end("page", 2)
    until(lambda: server.get("/stale/page") == (200, "2"))
    until(lambda: len(server.computed("rates")) >= 3)
    time.sleep(0.06)
    assert server.get("/stale/page") == (200, "2")
    until(lambda: len(server.computed("page")) == 3)
    threading.Timer(0.3, server.let_end, ("page", 3)).start()
    assert server.close() == (0, "")
    rounds = len(server.computed("rates"))
    time.sleep(0.1)
    assert len(server.computed("rates")) == rounds
    second = start("quart_app")
    assert second.get("/stale/page") == (200, "3"), "it was stored"
    second.let_end("page", 4)


def test_two_workers_cause_one_computation(start: Start) -> None:
    """Between both of them, over Redis; of several pages, each worker computes some."""
    server = start("quart_app", workers=2, RENEW="yes")
    for kind in ("async", "sync"):
        assert server.get_all([f"/{kind}/{kind}"] * 100, 100) == [(200, "1")] * 100
        assert len(server.computed(kind)) == 1
    until(lambda: len(set(server.get_all(["/up"] * 20, 20))) == 2)  # both workers answer
    until(lambda: len(server.computed("rates")) >= 3)
    assert len(set(server.computed("rates"))) == 1, "one of them renews"


@pytest.mark.parametrize("program", ["asgiref", "wsgi:flask_app", "a2wsgi"])
def test_flask_works_behind_adapters_for_asgi(start: Start, program: str) -> None:
    """Sync and async views, memoized coroutines, the operations; one computation for all."""
    server = start(program, STALE="1")
    for kind in ("async", "sync"):
        assert server.get_all([f"/{kind}/{kind}"] * 30, 30) == [(200, "1")] * 30
        assert len(server.computed(kind)) == 1
    answers = server.get_all([f"/busy/{number}" for number in range(60)], 20)
    assert [json.loads(text) for _, text in answers] == [
        {"after": number, "square": (number % 5) ** 2} for number in range(60)
    ]
    assert len(server.computed("square")) == 5
    assert server.get("/stale/page") == (200, "1")
    until(lambda: server.get("/stale/page") == (200, "1") and len(server.computed("page")) == 2)
    server.let_end("page", 2)
    until(lambda: server.get("/stale/page") == (200, "2"))
    server.let_end("page", 3)


def test_a_program_without_a_framework_is_served(start: Start) -> None:
    """With ``Cache.standalone``, in two workers, each of which has connections of its own."""
    server = start("standalone", workers=2)
    assert server.get_all(["/page"] * 100, 100) == [(200, "1")] * 100
    assert len(server.computed("page")) == 1


@pytest.mark.parametrize("kind", ["RedisCache", "FileSystemCache"])
def test_the_figures_of_two_workers_add_up_exactly(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """For a process that has served nothing; also after their end."""
    config = {"CACHE_TYPE": kind, "CACHE_DIR": str(tmp_path / "files")}
    if kind == "RedisCache":
        config = dict(request.getfixturevalue("redis_config"))
    config["CACHE_STATS_INTERVAL"] = 0.2
    server = Hypercorn(tmp_path, config, "quart_app", 2)
    paths = ["/async/page"] * 40 + ["/sync/page"] * 60
    assert {status for status, _ in server.get_all(paths, 20)} == {200}
    asking = Cache(Flask("served"), config=config)

    def calls() -> list[int]:
        return [use.calls for use in asking.shared_stats().values() if use.kind == "view"]

    until(lambda: calls() == [60, 40])
    scrapes = server.get_all(["/metrics"] * 8, 2)  # each worker answers with those of both
    assert [view_requests(text) for _, text in scrapes] == [[60, 40]] * 8
    assert server.close() == (0, "")
    assert calls() == [60, 40]
