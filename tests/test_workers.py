"""A memory cache under several workers: real servers are started, and what they print is read."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async._runtime.server_workers import has_siblings, warn_of_many_workers
from support.servers import free_port
from support.waiting import until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")

#: In the warning, and in no other line that a server prints.
TEXT = "keeps its values in the memory of one process"

SERVED = """
    import os
    from pathlib import Path
    from asgiref.wsgi import WsgiToAsgi
    from flask import Flask
    from flask_caching_async import Cache

    def create():
        app = Flask("served")
        Cache(app, config={"CACHE_TYPE": os.environ["CACHE_TYPE"], "CACHE_DIR": "files"})
        app.get("/")(lambda: "up")
        return app

    app = create()
    asgi = WsgiToAsgi(app)
    Path(f"loaded-{os.getpid()}").touch()
    """

PYTHON = [sys.executable, "-m"]
# A worker may miss the signal to end while it boots: then it is killed, after a second here.
GUNICORN = [
    *(*PYTHON, "gunicorn", "--no-control-socket", "--graceful-timeout", "1"),
    *("--bind", "127.0.0.1:{port}"),
]
UWSGI = [
    *("uwsgi", "--master", "--processes", "{n}", "--http-socket", "127.0.0.1:{port}"),
    *("--module", "served:app", "--die-on-term"),
    *("--worker-reload-mercy", "1", "--reload-mercy", "1"),
]

#: The command of each server, and in how many processes it imports an app for four workers.
SERVERS: dict[str, tuple[list[str], int]] = {
    "gunicorn sync": ([*GUNICORN, "--workers", "{n}", "served:app"], 4),
    "gunicorn gthread": ([*GUNICORN, "--workers", "{n}", "--threads", "2", "served:app"], 4),
    "gunicorn preload": ([*GUNICORN, "--workers", "{n}", "--preload", "served:app"], 1),
    "gunicorn gevent": ([*GUNICORN, "--workers", "{n}", "-k", "gevent", "served:app"], 4),
    "hypercorn": (
        [*PYTHON, "hypercorn", "--workers", "{n}", "--bind", "127.0.0.1:{port}", "served:app"],
        4,
    ),
    "uvicorn": (
        [*PYTHON, "uvicorn", "--workers", "{n}", "--port", "{port}", "served:asgi"],
        4,
    ),
    "uwsgi": (UWSGI, 1),
    "uwsgi lazy": ([*UWSGI, "--lazy-apps"], 4),
}  # fmt: skip

Serve = Callable[..., str]


def program(command: list[str], options: dict[str, str]) -> list[str]:
    """The command line; the test is skipped if the server is not installed."""
    filled = [part.format(**options) for part in command]
    if filled[0] != "uwsgi":
        for module in (filled[2], "gevent" if "gevent" in filled else "flask"):
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed")
        return filled
    beside = Path(sys.executable).parent / "uwsgi"
    found = str(beside) if beside.exists() else shutil.which("uwsgi")
    if not found:
        pytest.skip("uwsgi is not installed")
    home = ["--virtualenv", sys.prefix] if sys.prefix != sys.base_prefix else []
    return [found, *home, *filled[1:]]


def answers(port: int) -> bool:
    """Whether the app answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server, wait until all of its processes are up, and give what it printed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, workers: int = 4, cache: str = "SimpleCache") -> str:
        command, imports = SERVERS[name]
        (tmp_path / "served.py").write_text(textwrap.dedent(SERVED))
        port = free_port()
        line = program(command, {"n": str(workers), "port": str(port)})
        environment = {**os.environ, "CACHE_TYPE": cache, "PYTHONPATH": str(tmp_path)}
        log = tmp_path / "stderr"
        with open(log, "wb") as stderr:
            process = subprocess.Popen(
                line, cwd=tmp_path, env=environment, stdout=stderr, stderr=stderr
            )
        started.append(process)

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            loaded = len(list(tmp_path.glob("loaded-*")))
            return loaded == min(imports, workers) and answers(port)

        until(ready)
        while process.poll() is None:  # uWSGI may miss a signal on a busy machine
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        return log.read_text()

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("server", SERVERS)
def test_four_workers_with_memory_of_their_own_cause_one_warning(serve: Serve, server: str) -> None:
    """It is on stderr, and is printed by one of the workers only."""
    printed = serve(server)
    assert printed.count(TEXT) == 1, printed
    assert "CacheWarning: SimpleCache keeps" in printed
    assert "this server runs several of them" in printed


@pytest.mark.parametrize("server", SERVERS)
def test_one_worker_causes_no_warning(serve: Serve, server: str) -> None:
    """There is no other worker."""
    assert TEXT not in serve(server, workers=1)


def test_workers_that_share_a_cache_cause_no_warning(serve: Serve) -> None:
    """Files are seen by all of them."""
    assert TEXT not in serve("gunicorn gthread", cache="FileSystemCache")


def test_the_memory_of_cachelib_is_of_one_process_too(serve: Serve) -> None:
    """Its SimpleCache causes the same warning."""
    assert serve("gunicorn sync", cache="cachelib.SimpleCache").count(TEXT) == 1


RACE = """
    import os, time
    from pathlib import Path
    from flask_caching_async._runtime import server_workers

    os.environ["SERVER_SOFTWARE"] = "gunicorn/1"
    unlink = Path.unlink

    def slowly(*args, **options):
        time.sleep(0.002)  # a busy machine lets another worker go on here
        unlink(*args, **options)

    Path.unlink = slowly
    for _ in range(20):
        (go, begin), (read, write), (wait, end) = os.pipe(), os.pipe(), os.pipe()
        children = []
        for _ in range(6):
            children.append(os.fork())
            if not children[-1]:
                os.close(begin), os.close(end)
                os.read(go, 1)
                os.write(write, b"%d" % server_workers.has_siblings())
                os.read(wait, 1)  # all of them live until the last one has looked
                os._exit(0)  # and leave their files to those who get the same number
        os.close(go), os.close(wait), os.close(begin)
        told = b""
        while len(told) < 6:
            told += os.read(read, 6)
        os.close(end), os.close(read), os.close(write)
        for child in children:
            os.waitpid(child, 0)
        print(told.count(b"1"))
    """


def test_of_workers_that_start_at_once_one_warns(tmp_path: Path) -> None:
    """Whatever an older server with the same number has left."""
    (tmp_path / "race.py").write_text(textwrap.dedent(RACE))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "race.py"]
    printed = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout.split() == ["1"] * 20, printed


def test_no_server_means_one_process(app: Flask) -> None:
    """Any warning here would be an error."""
    assert not has_siblings()
    Cache(app, config={"CACHE_TYPE": "SimpleCache"})


def test_an_unknown_kind_of_server_means_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be found out breaks nothing."""
    monkeypatch.setitem(sys.modules, "uwsgi", types.ModuleType("uwsgi"))
    assert not has_siblings()
    warn_of_many_workers("SimpleCache")
