"""All of it between processes, over files in one directory."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.waiting import Raised, together, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")

APP = """
    import asyncio, os, signal, sys, time
    from pathlib import Path
    from flask import Flask
    from flask_caching_async import Cache

    folder = Path({folder!r})
    app = Flask("server")
    cache = Cache(app, config={{"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(folder / "c")}})

    def count(name):
        with open(folder / f"{{name}}.count", "ab") as file:
            file.write(b"x")
        return os.stat(folder / f"{{name}}.count").st_size

    @app.route("/up")
    def up():
        return "up"

    @app.route("/cold/<name>")
    @cache.cached()
    def cold(name):
        number = count(name)
        time.sleep(0.5)
        return f"{{number}}"

    @app.route("/acold/<name>")
    @cache.cached()
    async def acold(name):
        number = count(name)
        await asyncio.sleep(0.5)
        return f"{{number}}"

    @app.route("/private/<name>")
    @cache.cached(response_filter=lambda response: False)
    def private(name):
        number = count(name)
        time.sleep(0.3)
        return f"{{number}}"

    @app.route("/error/<name>")
    @cache.cached(response_filter=lambda response: 1 / 0)
    def error(name):
        count(name)
        time.sleep(0.3)
        return "never"

    @app.route("/deadly/<name>")
    @cache.cached()
    def deadly(name):
        number = count(name)
        time.sleep(0.3)
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{{number}}"
    """


class Server:
    """Four gunicorn workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "server.py").write_text(textwrap.dedent(APP).format(folder=str(folder)))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "log"
        command = [
            sys.executable, "-m", "gunicorn", "--workers", "4", "--threads", "16",
            "--worker-class", "gthread", "--bind", f"127.0.0.1:{self.port}",
            "--graceful-timeout", "1", "--no-control-socket", "server:app",
        ]  # fmt: skip
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/up") == (200, "up") and self.log.read_text().count("Booting") == 4
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def ask(self, path: str, times: int) -> tuple[list[Any], float]:
        """All answers to concurrent requests, and how long the last of them took."""
        began = time.monotonic()
        answers = together(*[lambda: self.get(path)] * times)
        return answers, time.monotonic() - began

    def count(self, name: str) -> int:
        return (self.folder / f"{name}.count").stat().st_size

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of this file."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.mark.parametrize("kind", ["cold", "acold"])
def test_four_workers_and_forty_requests_cause_one_computation(server: Server, kind: str) -> None:
    """A cold page of half a second is computed once, in sync and in async views."""
    answers, took = server.ask(f"/{kind}/page", 40)
    assert answers == [(200, "1")] * 40
    assert server.count("page") == 1
    assert took < 5
    (server.folder / "page.count").unlink()


def test_what_may_not_be_stored_makes_no_convoy_between_processes(server: Server) -> None:
    """24 callers of a page of 0.3 s: all compute, and nearly at once."""
    answers, took = server.ask("/private/me", 24)
    assert [status for status, _ in answers] == [200] * 24
    assert server.count("me") == 24
    assert took < 3  # 7.2 s one after the other


def test_errors_make_no_convoy_between_processes(server: Server) -> None:
    """Each process fails for itself, all at the same time."""
    answers, took = server.ask("/error/bad", 24)
    assert [status for status, _ in answers] == [500] * 24
    assert server.count("bad") <= 24
    assert took < 3


def test_a_leader_that_is_killed_has_exactly_one_successor(server: Server) -> None:
    """``SIGKILL`` ends its lease; of all the others, in all processes, one computes."""
    answers, _ = server.ask("/deadly/page", 24)
    served = [answer for answer in answers if not isinstance(answer, Raised)]
    assert served and set(served) == {(200, "2")}
    lost = [answer.error for answer in answers if isinstance(answer, Raised)]
    assert all(isinstance(error, (OSError, http.client.HTTPException)) for error in lost)
    assert server.count("page") == 2
    (server.folder / "page.count").unlink()
    until(lambda: server.log.read_text().count("Booting") == 5)


# --- invalidation between processes ---------------------------------------------------------------

WORKER = """
    import os, sys, time
    from pathlib import Path
    from flask import Flask
    from flask_caching_async import Cache

    folder, name = Path(sys.argv[1]), sys.argv[2]
    app = Flask("worker")
    cache = Cache(app, config={"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(folder / "c")})

    def body(n):
        version = int((folder / "version").read_text())
        (folder / f"entered-{name}").touch()
        while (folder / f"hold-{name}").exists():
            time.sleep(0.002)
        return version

    f = cache.memoize(tags=["tag"])(body)
    view = cache.cached(key_prefix="page")(lambda: body(1))
    key = f.make_cache_key(f.uncached, 1)
    for line in sys.stdin:
        print(repr(eval(line)), flush=True)
    """


class Worker:
    """A process that evaluates one line after the other."""

    def __init__(self, folder: Path, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), str(folder), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def begin(self, line: str) -> None:
        """Have it evaluated."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> str:
        """The result of the oldest line."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def do(self, line: str) -> str:
        """Both."""
        self.begin(line)
        return self.end()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    """Start a worker."""
    workers: list[Worker] = []

    def start_worker(name: str) -> Worker:
        workers.append(Worker(tmp_path, name))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.close()


INVALIDATIONS = {
    "delete": "cache.delete(key), cache.delete('page')",
    "delete_many": "cache.delete_many(key, 'page')",
    "clear": "cache.clear()",
    "delete_memoized": "cache.delete_memoized(f), cache.delete_cached(view)",
    "delete_memoized call": "cache.delete_memoized(f, 1), cache.delete_cached(view)",
    "delete_tags": "cache.delete_tags('tag'), cache.delete('page')",
    "set": "cache.set(key, 2), cache.set('page', 2)",
    "set_many": "cache.set_many({key: 2, 'page': 2})",
}


@pytest.mark.parametrize("call", ["f(1)", "view()"])
@pytest.mark.parametrize("how", INVALIDATIONS)
def test_an_invalidation_in_another_process_wins(
    tmp_path: Path, start: Callable[[str], Worker], how: str, call: str
) -> None:
    """What A computes is not stored once B has deleted it, and nobody waits for it any more."""
    (tmp_path / "version").write_text("1")
    (tmp_path / "hold-a").touch()
    a, b = start("a"), start("b")
    a.begin(call)
    until((tmp_path / "entered-a").exists)
    (tmp_path / "version").write_text("2")
    b.do(INVALIDATIONS[how])
    began = time.monotonic()
    assert b.do(call) == "2"
    assert time.monotonic() - began < 4  # lock_timeout is 10
    (tmp_path / "hold-a").unlink()
    assert a.end() == "1"
    assert a.do(call) == "2" == b.do(call)
    assert b.do("cache.get(key), cache.get('page')") in ("(2, None)", "(None, 2)", "(2, 2)")


def test_another_process_waits_for_the_value_and_takes_it(
    tmp_path: Path, start: Callable[[str], Worker]
) -> None:
    """Without an invalidation, B gets what A computes."""
    (tmp_path / "version").write_text("1")
    (tmp_path / "hold-a").touch()
    a, b = start("a"), start("b")
    a.begin("f(1)")
    until((tmp_path / "entered-a").exists)
    (tmp_path / "version").write_text("2")
    b.begin("f(1)")
    time.sleep(0.1)
    (tmp_path / "hold-a").unlink()
    assert a.end() == "1" == b.end()
    assert not (tmp_path / "entered-b").exists()


def test_a_refresh_in_another_process_is_joined(
    tmp_path: Path, start: Callable[[str], Worker]
) -> None:
    """A forced caller takes what another process finished after its call, and nothing older."""
    (tmp_path / "version").write_text("1")
    a, b = start("a"), start("b")
    assert a.do("f(1)") == "1" == b.do("f(1)")
    (tmp_path / "version").write_text("2")
    (tmp_path / "entered-a").unlink()
    (tmp_path / "hold-a").touch()
    a.begin("f.refresh(1)")
    until((tmp_path / "entered-a").exists)
    (tmp_path / "version").write_text("3")
    b.begin("f.refresh(1)")
    time.sleep(0.1)
    (tmp_path / "hold-a").unlink()
    assert a.end() == "2" == b.end()
    assert b.do("f.refresh(1)") == "3" == a.do("f(1)")


def test_a_killed_process_is_replaced_at_once(
    tmp_path: Path, start: Callable[[str], Worker]
) -> None:
    """Long before ``lock_timeout``, by exactly one of those who waited."""
    (tmp_path / "version").write_text("1")
    (tmp_path / "hold-a").touch()
    a, b, c = start("a"), start("b"), start("c")
    a.begin("f(1)")
    until((tmp_path / "entered-a").exists)
    for worker in (b, c):
        assert worker.do("1") == "1"
        worker.begin("f(1)")
    time.sleep(0.1)
    began = time.monotonic()
    a.process.kill()
    assert b.end() == "1" == c.end()
    assert time.monotonic() - began < 3
    assert [(tmp_path / f"entered-{name}").exists() for name in "bc"].count(True) == 1


# --- forking --------------------------------------------------------------------------------------

FORK = """
    import asyncio, os, signal, sys, threading, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from support.backends import config_for
    from flask import Flask
    from flask_caching_async import Cache
    from flask_caching_async.testing import FakeClock

    cache = Cache(Flask("script"), config=config_for({backend!r}, Path({folder!r})))
    clock = FakeClock()
    clock.install(cache)
    go, parent = threading.Event(), os.getpid()
    entered = []

    def body(n):
        entered.append(n)
        if os.getpid() == parent and n != "quick":
            go.wait(20)
        return os.getpid()

    swr = dict(timeout=10, stale_while_revalidate=60)
    f = cache.memoize(lock_timeout=0.3)(body)  # for the leases that the parent holds
    old = cache.memoize(**swr)(lambda n: body(n))
    aold = cache.cached(key_prefix="aold", **swr)(lambda: body("aold"))

    async def abody(n):
        return await asyncio.to_thread(body, n)

    af = cache.memoize()(abody)
    assert old("quick") == parent
    clock.advance(10)
    assert old("quick") == parent           # a refresh in the pool
    threads = [threading.Thread(target=f, args=(n,)) for n in (1, 1, 1, 2)]
    threads += [threading.Thread(target=lambda: asyncio.run(af(3))) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(set(entered)) < 4 or cache.stats().waits < 3:
        time.sleep(0.001)

    def child():
        me = os.getpid()
        signal.alarm(15)
        started = [threading.Thread(target=f, args=(n,)) for n in (2, 5, 5, 5)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        assert f(5) == me
        assert asyncio.run(af(6)) == me
        cache.set("k", 1)
        assert cache.get("k") == 1
        assert f.refresh(7) == me
        clock.advance(10)
        old("quick")
        deadline = time.monotonic() + 10
        while old("quick") != me:
            assert time.monotonic() < deadline
            time.sleep(0.005)
            clock.advance(15)
        cache.delete_memoized(f)
        assert cache.clear() or {backend!r} == "async-only"

    pid = os.fork()
    if not pid:
        try:
            child()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    go.set()
    for thread in threads:
        thread.join()
    assert f(9) == parent
    assert status == 0, status
    print("end")
    """


@pytest.mark.parametrize("backend", ["SimpleCache", "FileSystemCache", "cachelib", "async-only"])
def test_a_child_that_is_forked_amid_flights_can_use_the_cache(
    tmp_path: Path, backend: str
) -> None:
    """It has none of its parent's threads, and waits for none of their flights and locks."""
    tests = str(Path(__file__).parent.parent)
    script = textwrap.dedent(FORK).format(tests=tests, backend=backend, folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=45
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
