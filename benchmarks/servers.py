"""Requests a second behind real servers, under wrk: ``python benchmarks/servers.py``.

gunicorn with one worker of four threads serves the Flask app; hypercorn and uvicorn serve the Quart
app. All views of an app are served by one process, and take turns: one second each, several times.
A page has 1,000 characters, and takes no time to make, so that a bare view is the limit.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from _harness import OURS, Row, Table, main, ratios_of, show, version_of
from _peers import say
from _servers import free_port, listening

CONNECTIONS, ROUNDS = 16, 5
FOLDER = Path(__file__).resolve().parent

SYNC = {"bare": "a bare view", "flask_caching_async": OURS, "flask_caching": "Flask-Caching"}
ASYNC = {f"{path}-async": name for path, name in SYNC.items()}
COLOURS = {"sync view": SYNC, "async view": ASYNC}
QUART = {path: name for path, name in ASYNC.items() if "flask_caching-" not in path}

#: The package of a server, its arguments, its name and the views that are asked for.
SERVERS = [
    (
        "gunicorn",
        ["--bind", "127.0.0.1:{port}", "--threads", "4", "_apps:flask_app()"],
        "Flask on gunicorn gthread",
        COLOURS,
    ),
    (
        "hypercorn",
        ["--bind", "127.0.0.1:{port}", "_apps:quart_app()"],
        "Quart on hypercorn",
        {"async view": QUART},
    ),
    (
        "uvicorn",
        ["--port", "{port}", "--log-level", "warning", "--factory", "_apps:quart_app"],
        "Quart on uvicorn",
        {"async view": QUART},
    ),
]


def requests_per_second(port: int, path: str) -> float:
    """What wrk says after one second."""
    url = f"http://127.0.0.1:{port}/{path}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d1s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{url}: {said}")
    found = re.search(r"Requests/sec: +([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


def under_load(title: str, port: int, paths: dict[str, str]) -> Table:
    """All views of one server take turns."""
    taken: dict[str, list[float]] = {name: [] for name in paths.values()}
    for path in paths:
        requests_per_second(port, path)
    for number in range(ROUNDS):
        for path, name in sorted(paths.items(), reverse=bool(number % 2)):
            taken[name].append(requests_per_second(port, path))
    limit = next(iter(taken))
    rows = [
        Row(
            name,
            statistics.median(own),
            statistics.median(ratios_of(own, taken[OURS])),
            statistics.median(ratios_of(own, taken[limit])),
        )
        for name, own in taken.items()
    ]
    return show(Table(title, rows, "requests/s", limit, more_is_better=True))


def tables() -> Iterator[Table]:
    """All of it."""
    if not shutil.which("wrk"):
        say("wrk is not installed: no figures of real servers")
        return
    with tempfile.TemporaryDirectory() as home:  # where gunicorn puts a socket of its own
        yield from behind_servers(home)


def behind_servers(home: str) -> Iterator[Table]:
    """Each server that is installed, with its app."""
    path = os.pathsep.join([str(FOLDER), str(FOLDER.parent)])
    environment = {**os.environ, "PYTHONPATH": path, "HOME": home}
    for package, arguments, title, colours in SERVERS:
        if version_of(package) is None or ("Quart" in title and version_of("quart") is None):
            say(f"{title}: left out, since it is not installed")
            continue
        port = free_port()
        words = [word.format(port=port) for word in arguments]
        command = [sys.executable, "-m", package, *words]
        with listening(command, port, cwd=FOLDER, env=environment):
            for colour, paths in colours.items():
                known = {
                    path: name
                    for path, name in paths.items()
                    if name != "Flask-Caching" or theirs()
                }
                yield under_load(f"{title}: {colour}", port, known)


def theirs() -> bool:
    """Whether Flask-Caching is installed."""
    return version_of("Flask-Caching") is not None


if __name__ == "__main__":
    main("servers", tables)
