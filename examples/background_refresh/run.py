"""How long visitors wait for pages that take half a second to compute: they do not.

Run it with ``python examples/background_refresh/run.py``. It serves the Flask app by gunicorn and
the Quart app by hypercorn, where these are installed, in two processes each. These share Redis, or
a folder where there is no redis-server. If a claim does not hold, the exit code is 1.
"""

import argparse
import asyncio
import importlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import visitors

SERVERS = {
    "flask": ["gunicorn", "flask_app:create_app()", "--threads", "8"],
    "quart": ["hypercorn", "quart_app:app"],
}
REDIS = ["redis-server", "--save", "", "--bind", "127.0.0.1", "--port"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(folder: str, port: int, *command: str) -> Iterator[None]:
    """A server, from when it can be reached until the end of the block."""
    with open(Path(folder, f"{port}.log"), "w+") as log:
        process = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while True:
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{command} did not start: {log.read()}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def shared_store(app: str) -> Iterator[str]:
    """A store for all processes of an app, which find it in their environment."""
    prefix = f"{app.upper()}_CACHE"
    with tempfile.TemporaryDirectory() as folder:
        if not shutil.which("redis-server") or not find_spec("redis"):
            os.environ[f"{prefix}_TYPE"] = "FileSystemCache"
            os.environ[f"{prefix}_DIR"] = f"{folder}/cache"
            yield folder
            return
        port = free_port()
        os.environ[f"{prefix}_TYPE"] = "RedisCache"
        os.environ[f"{prefix}_REDIS_URL"] = f"redis://127.0.0.1:{port}"
        with running(folder, port, *REDIS, str(port)):
            yield folder


def refresh_prices(app: str) -> str:
    """What a job does, in a process that serves nothing: this one."""
    module = importlib.import_module(f"{app}_app")
    if app == "quart":
        return asyncio.run(module.prices.refresh(path="/prices"))
    module.create_app()
    return module.prices.refresh(path="/prices")


def show(app: str, seconds: float) -> None:
    """Serve one of the apps, and check all claims."""
    port = free_port()
    address = ("--bind", f"127.0.0.1:{port}", "--workers", "2")
    with shared_store(app) as folder:
        print(f"\n{app}, 2 workers of {SERVERS[app][0]}, {os.environ[f'{app.upper()}_CACHE_TYPE']}")
        with running(folder, port, sys.executable, "-m", *SERVERS[app], *address):
            url = f"http://127.0.0.1:{port}"
            visitors.get(f"{url}/rate")  # the workers have started
            prices, job = f"{url}/prices", partial(refresh_prices, app)
            visitors.check_stale_while_revalidate(f"{url}/news", seconds)
            visitors.check_job(prices, "forced_update", partial(visitors.ask_for_update, prices))
            visitors.check_job(prices, "prices.refresh(path='/prices') in another process", job)
            visitors.check_soft_timeout(f"{url}/weather")
            visitors.check_refresh_every(f"{url}/rate", seconds)


def main() -> int:
    installed = [app for app, run in SERVERS.items() if find_spec(app) and find_spec(run[0])]
    parser = argparse.ArgumentParser()
    parser.add_argument("apps", nargs="*", default=installed, help="of flask, quart")
    parser.add_argument("--seconds", type=float, default=5, help="for which visitors stay")
    options = parser.parse_args()
    for app in options.apps:
        show(app, options.seconds)
    if visitors.failed or not visitors.held:
        print(f"\n{len(visitors.failed)} claims do not hold, {len(visitors.held)} hold")
        return 1
    print(f"\nall {len(visitors.held)} claims hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
