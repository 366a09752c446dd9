"""Who sees what one worker has stored? This asks real servers: ``python examples/tutorial/run.py``.

For each backend and each kind of worker it starts gunicorn with four workers, has one of them store
a value, and asks for it until all four have answered. What is not installed is left out, and named.
The exit code is 1 if what happens is not what is claimed below.

    --requests N    how often each server is asked for the value at least, 200 by default
"""

import argparse
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

WORKERS = 4
PATIENCE = 60  # seconds after which what has not happened is an error

#: The claim: whether all workers see what one of them has stored.
SHARED = {"SimpleCache": False, "FileSystemCache": True, "RedisCache": True}

#: Threads and greenlets. It must not matter which.
CLASSES = {"gthread": ["--threads", "4"], "gevent": []}

# --- servers --------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(port: int, *command: str, **environment: str) -> Iterator[None]:
    """A program that listens on a port, in this folder and with more in its environment."""
    environment = {**os.environ, **environment}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=Path(__file__).parent, env=environment, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while not listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(f"{command[0]} does not start:\n{log.read().decode()}")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            process.wait()


@contextmanager
def backends() -> Iterator[dict[str, dict[str, str]]]:
    """The backends that can be used here, and what the app's environment says for each."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        ready = {"SimpleCache": {}, "FileSystemCache": {"FLASK_CACHE_DIR": folder}}
        if not shutil.which("redis-server"):
            print("redis-server is not installed: RedisCache is left out")
        elif lacks("redis"):
            print("RedisCache is left out")
        else:
            port = free_port()
            silent = ("--save", "", "--appendonly", "no", "--dir", folder)  # it writes no files
            stack.enter_context(running(port, "redis-server", "--port", str(port), *silent))
            ready["RedisCache"] = {"FLASK_CACHE_REDIS_URL": f"redis://127.0.0.1:{port}"}
        yield {name: {"FLASK_CACHE_TYPE": name, **more} for name, more in ready.items()}


def lacks(package: str) -> bool:
    """Whether a package is missing, and say so."""
    missing = importlib.util.find_spec(package) is None
    if missing:
        print(f"{package} is not installed: pip install {package}")
    return missing


# --- visitors -------------------------------------------------------------------------------------


def ask(port: int, method: str, path: str, body: object = None) -> Any:
    """What one request is answered. Each has a connection of its own, so any worker may take it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        text = json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        return json.load(connection.getresponse())
    finally:
        connection.close()


def spread(port: int, value: str, requests: int) -> dict[int, list[Any]]:
    """Store a value once, and ask for it many times: what each worker said."""
    ask(port, "POST", "/cache", {"key": "fruit", "value": value, "timeout": 300})
    said: dict[int, list[Any]] = {}
    deadline = time.monotonic() + PATIENCE
    with ThreadPoolExecutor(16) as visitors:  # several at a time, or the same worker takes them all
        # A worker may still be starting: go on until each had its turn.
        while sum(map(len, said.values())) < requests or len(said) < WORKERS:
            if time.monotonic() > deadline:
                sys.exit(f"only {len(said)} of {WORKERS} workers answer")
            for answer in visitors.map(lambda _: ask(port, "GET", "/cache/fruit"), range(20)):
                said.setdefault(answer["worker"], []).append(answer["value"])
    return said


# --- all of it ------------------------------------------------------------------------------------


def holds(backend: str, environment: dict[str, str], kind: str, requests: int) -> bool:
    """Whether the claim about a backend is true under a kind of worker; prints what was found."""
    port, value = free_port(), f"an apple for {backend} and {kind}"
    gunicorn = (sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "app:app")
    workers = ("--workers", str(WORKERS), "--worker-class", kind, *CLASSES[kind])
    with running(port, *gunicorn, *workers, **environment):
        said = spread(port, value, requests)
    # A worker that shares the value has it every time.
    seen = sum(set(values) == {value} for values in said.values())
    hits = sum(values.count(value) for values in said.values())
    asked = sum(map(len, said.values()))
    true = (seen, len(said)) == (WORKERS if SHARED[backend] else 1, WORKERS)
    claim = "shared" if SHARED[backend] else "one worker only"
    row = (backend, kind, f"{seen} of {len(said)}", f"{hits} of {asked}", claim)
    print_row(*row, "as claimed" if true else "WRONG")
    return true


def print_row(*cells: str) -> None:
    widths = (17, 9, 19, 16, 17, 0)
    print("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Who sees what one worker has stored?")
    parser.add_argument("--requests", type=int, default=200)
    requests = parser.parse_args().requests
    if lacks("gunicorn"):
        return 1
    with backends() as ready:
        kinds = [kind for kind in CLASSES if kind != "gevent" or not lacks("gevent")]
        print(f"gunicorn with {WORKERS} workers: one POST, then many GETs\n")
        print_row("CACHE_TYPE", "worker", "workers with it", "GETs with it", "claim", "")
        results = [
            holds(backend, environment, kind, requests)
            for backend, environment in ready.items()
            for kind in kinds
        ]
    print("\nall as claimed" if all(results) else "\nreality differs from the claim")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
