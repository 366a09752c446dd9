"""The end of a program, while something goes on behind it: what has begun is finished."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from support.fault_proxy import FaultProxy
from support.servers import RedisServer
from support.waiting import PATIENCE

PROGRAM = """
import asyncio, sys, threading, time
from flask import Flask
from flask_caching_async import Cache
from flask_caching_async.testing import FakeClock

folder, colour = sys.argv[1:]
app = Flask("program")
cache = Cache(app, config={"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": folder})
begun = threading.Event()
calls = []

def body():
    calls.append(1)
    return str(len(calls))

def work():
    number = body()
    if len(calls) > 1:
        begun.set()
        time.sleep(0.5)
    return number

async def awork():
    number = body()
    if len(calls) > 1:
        begun.set()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(time.sleep, 0.01)
    return number
"""

STALE = """
clock = FakeClock()
clock.install(cache)
view = cache.cached(timeout=10, stale_while_revalidate=10_000)(work if colour == "sync" else awork)
app.add_url_rule("/", "view", view)
client = app.test_client()
assert client.get("/").text == "1"
clock.advance(10)
assert client.get("/").text == "1"
assert begun.wait(30)
"""

RENEWED = """
view = cache.cached(timeout=1000)(work if colour == "sync" else awork)
app.add_url_rule("/", "view", view)
client = app.test_client()
assert client.get("/").text == "1"
cache.refresh_every(1000, view, path="/")
assert begun.wait(30)
"""

#: What another process finds.
LATER = """
def later(): return "nothing"
later.__qualname__ = later.__name__ = "work" if colour == "sync" else "awork"
app.add_url_rule("/", "view", cache.cached(timeout=1000, stale_while_revalidate=10_000)(later))
print(app.test_client().get("/").text)
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE)


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("way", [STALE, RENEWED], ids=["stale", "renewed"])
def test_what_has_begun_when_a_program_ends_is_stored(
    tmp_path: Path, way: str, colour: str
) -> None:
    """A refresh, or the round of a renewal, of a sync and of an async view; without a word."""
    ended = run(PROGRAM + way, str(tmp_path), colour)
    assert (ended.returncode, ended.stderr) == (0, "")
    time = "clock = FakeClock()\nclock.install(cache)\nclock.advance(10)\n"
    page = run(PROGRAM + time * (way is STALE) + LATER, str(tmp_path), colour)
    assert (page.returncode, page.stderr, page.stdout) == (0, "", "2\n")


def test_the_end_of_the_main_thread_is_not_the_end_of_the_program(tmp_path: Path) -> None:
    """Where other threads go on, stale pages are still renewed behind them."""
    code = PROGRAM + STALE.replace("\n", "\n    ").join(["\ndef serve():\n    ", ""])
    code += """
    while cache.stats().stored < 2:
        time.sleep(0.001)
    print(client.get("/").text)

def later():
    threading.main_thread().join()
    serve()

threading.Thread(target=later).start()
"""
    ended = run(code, str(tmp_path), "sync")
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "2\n")


PENDING = """
import logging, sys
from flask import Flask
from flask_caching_async import Cache
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
proxy, = map(int, sys.argv[1:])
where = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_PORT": proxy, "CACHE_ON_ERROR": "log"}
cache = Cache(Flask("site"), config=where)
print(cache.delete("page"))
sys.stdout.flush()
sys.stdin.readline()
"""


@pytest.mark.parametrize("back", [True, False], ids=["back", "still down"])
def test_a_deletion_that_is_pending_is_tried_once_more_when_a_program_ends(
    redis_proxy: FaultProxy, clean_redis: RedisServer, back: bool
) -> None:
    """A command that deletes while the server is down: it says False, and what became of it."""
    clean_redis.ask("SET", "flask_cache_page", "1")
    redis_proxy.refuse()
    command = [sys.executable, "-W", "error", "-c", PENDING, str(redis_proxy.port)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as program:
        lines = [program.stdout.readline() for _ in range(3)]
        assert any("is not deleted yet: this process tries again" in line for line in lines)
        assert "False\n" in lines
        if back:
            redis_proxy.heal()
        said = program.communicate("go on\n", timeout=PATIENCE)[0]
    assert program.returncode == 0
    assert clean_redis.ask("EXISTS", "flask_cache_page") == (0 if back else 1)
    assert ("['page'] was never deleted" in said) is not back
