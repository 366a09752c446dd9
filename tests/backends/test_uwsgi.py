"""UWSGICache in a real uWSGI: ``pip install uwsgi`` in the environment of the tests."""

from __future__ import annotations

import ast
import http.client
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.servers import free_port
from support.waiting import PATIENCE, together, until

#: The server: the one beside this Python, or one on the path.
PROGRAM = shutil.which("uwsgi", path=str(Path(sys.executable).parent)) or shutil.which("uwsgi")
if PROGRAM is None:
    pytest.skip("uwsgi is not installed", allow_module_level=True)

SERVED = """
    import asyncio, os, pickle, time
    import uwsgi
    from flask import Flask, request
    from flask_caching_async import Cache
    from flask_caching_async.contrib.uwsgicache import UWSGICache
    from flask_caching_async.serializers import JSONSerializer

    def made(**config):
        config = {"CACHE_TYPE": UWSGI_CACHE, "CACHE_ON_ERROR": "raise", **config}
        return Cache(app, config=config)

    UWSGI_CACHE = "flask_caching_async.contrib.uwsgicache.UWSGICache"
    app = Flask("served")
    cache = made(CACHE_UWSGI_NAME="mine")
    first = made()
    other = made(CACHE_UWSGI_NAME="other", CACHE_SERIALIZER=JSONSerializer)
    backend, lru = [app.extensions["cache"][c] for c in (cache, other)]

    def at(moment, look):
        "What a function gives while the backends believe that it is some moment."
        for each in (backend, lru):
            each.clock = lambda: moment
        try:
            return look()
        finally:
            del backend.clock, lru.clock

    @cache.memoize()
    def f(n):
        return os.getpid(), time.time_ns(), {"n": n}

    @cache.memoize()
    async def af(n):
        await asyncio.sleep(0)
        return os.getpid(), time.time_ns(), await cache.aget("nothing")

    @app.get("/page")
    @cache.cached()
    async def page():
        await cache.aset("seen", 1)
        return str(time.time_ns())

    @app.post("/eval")
    async def evaluate():
        try:
            value = eval(request.data.decode())
            return repr(await value if asyncio.iscoroutine(value) else value)
        except Exception as error:
            return repr(f"{type(error).__name__}: {error}")
    """


class Served:
    """An app in a uWSGI server; ``ask(line)`` evaluates a line in one of its workers."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port, self.log = free_port(), folder / "log"
        (folder / "served.py").write_text(textwrap.dedent(SERVED))
        home = ["--virtualenv", sys.prefix] if sys.prefix != sys.base_prefix else []
        command = [
            PROGRAM, "--http-socket", f"127.0.0.1:{self.port}", "--need-app", *home,
            "--wsgi-file", "served.py", "--callable", "app", "--die-on-term", *options,
            "--cache2", "name=mine,items=1000", "--cache2", "name=other,items=8,lru=1",
        ]  # fmt: skip
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.ask("1") == 1)
        except OSError:
            return False

    def request(self, method: str, path: str, body: str = "") -> str:
        """The body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body.encode())
            response = connection.getresponse()
            text = response.read().decode()
            assert response.status == 200, text
            return text
        finally:
            connection.close()

    def ask(self, line: str) -> Any:
        """The value of a line."""
        return ast.literal_eval(self.request("POST", "/eval", line))

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Three workers with four threads each, and a master."""
    served = Served(
        tmp_path_factory.mktemp("uwsgi"), "--master", "--processes", "3", "--threads", "4"
    )
    yield served
    served.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker without a master, and without support for threads, as uWSGI starts by default."""
    served = Served(tmp_path_factory.mktemp("uwsgi"))
    yield served
    served.close()


@pytest.fixture(params=["workers", "alone"])
def uwsgi(request: pytest.FixtureRequest) -> Served:
    """Either of them, empty."""
    served: Served = request.getfixturevalue(request.param)
    served.ask("cache.clear(), other.clear()")
    return served


def test_uwsgi_keeps_what_can_be_pickled(uwsgi: Served) -> None:
    """Tuples, bytes and dicts come back as they were; None is told from nothing."""
    values = [("a", {"b": b"c", 1: [2.5]}), "", b"", 0, False, {1, 2}]
    for value in values:
        assert uwsgi.ask(f"cache.set('k', {value!r})") is True
        assert uwsgi.ask("cache.get('k')") == value
    assert uwsgi.ask("cache.set('none', None), cache.has('none'), cache.has('k2')") == (
        True,
        True,
        False,
    )
    assert uwsgi.ask("cache.get_many('k', 'k2', 'none')") == [{1, 2}, None, None]


def test_uwsgi_deletes_and_says_what_existed(uwsgi: Served) -> None:
    """``delete_many`` counts a missing key as deleted."""
    assert uwsgi.ask("cache.set_many({'a': 1, 'b': 2})") == ["a", "b"]
    assert uwsgi.ask("backend.delete('a'), backend.delete('a'), cache.get('a')") == (
        True,
        False,
        None,
    )
    assert uwsgi.ask("backend.delete_many('a', 'b'), cache.get('b')") == (["a", "b"], None)


def test_uwsgi_clears_one_cache_of_the_server(uwsgi: Served) -> None:
    """The other one keeps what it has."""
    uwsgi.ask("cache.set('k', 1), other.set('k', 2)")
    assert uwsgi.ask("cache.clear(), cache.get('k'), other.get('k')") == (True, None, 2)


def test_uwsgi_takes_the_first_cache_where_none_is_named(uwsgi: Served) -> None:
    """As uWSGI itself does."""
    assert uwsgi.ask("cache.set('k', 1), first.get('k'), other.get('k')") == (True, 1, None)


def test_uwsgi_expires_to_the_fraction_of_a_second(uwsgi: Served) -> None:
    """Also without a master, or with ``lru``, where uWSGI never expires anything."""
    for kept in ("backend", "lru"):
        stored = f"{kept}.set('k', 1, 3600.3), {kept}.set('old', 1, -1), {kept}.set('long', 1, 0)"
        uwsgi.ask(f"at(1e9, lambda: ({stored}))")
        look = f"[{kept}.get('k'), {kept}.get('old'), {kept}.has('k'), {kept}.get('long')]"
        assert uwsgi.ask(f"at(1e9 + 3600.2, lambda: {look})") == [1, None, True, 1]
        assert uwsgi.ask(f"at(1e9 + 3600.3, lambda: {look})") == [None, None, False, 1]


def test_uwsgi_adds_where_something_expired(uwsgi: Served) -> None:
    """What is dead, or cannot be decoded, is as good as nothing; what lives is not."""
    added = "backend.add('k', 1, 3600), cache.add('k', 2)"
    assert uwsgi.ask(f"at(1e9, lambda: ({added}))") == (True, False)
    added = "cache.add('k', 3), cache.add('k', 4), cache.get('k')"
    assert uwsgi.ask(f"at(1e9 + 3600, lambda: ({added}))") == (True, False, 3)
    assert uwsgi.ask("uwsgi.cache_set('raw', b'garbage', 0, 'mine')") is True
    assert uwsgi.ask("cache.get('raw'), cache.add('raw', 5), cache.get('raw')") == (None, True, 5)


def test_uwsgi_reads_what_cachelib_has_stored(uwsgi: Served) -> None:
    """Its values are pickles without a date."""
    assert uwsgi.ask("uwsgi.cache_set('k', pickle.dumps((1, 2)), 0, 'mine')") is True
    assert uwsgi.ask("cache.get('k'), cache.has('k'), cache.inc('k2')") == ((1, 2), True, 1)


def test_uwsgi_takes_keys_of_any_length_and_script(uwsgi: Served) -> None:
    """uWSGI would store nothing under a long one, and mix up those beyond 65535 bytes."""
    uwsgi.ask("cache.set('short', 'wrong')")
    for key in ("'ключ'", "'x' * 3000", "'short' + 'z' * 65536", "'a\\0b'", "'\\udc80'"):
        assert uwsgi.ask(f"cache.get({key})") is None
        assert uwsgi.ask(f"cache.set({key}, 1), cache.get({key}), cache.delete({key})") == (
            True,
            1,
            True,
        )


def test_uwsgi_does_not_serve_what_a_value_too_large_was_to_replace(uwsgi: Served) -> None:
    """uWSGI refuses it and keeps the old one."""
    assert uwsgi.ask("cache.set('k', 1), backend.set('k', 'x' * 100_000), cache.get('k')") == (
        True,
        False,
        None,
    )


def test_uwsgi_makes_room_where_it_may(uwsgi: Served) -> None:
    """A full cache with ``lru`` drops what was used least lately."""
    uwsgi.ask("[other.set(f'k{n}', n) for n in range(40)]")
    found = uwsgi.ask("[other.get(f'k{n}') for n in range(40)]")
    assert 0 < len([value for value in found if value is not None]) < 9
    assert uwsgi.ask("other.set('n', 1), other.inc('n')") == (True, 2)


def test_uwsgi_takes_another_serializer(uwsgi: Served) -> None:
    """A tuple in a memoized call survives JSON, too."""
    assert uwsgi.ask("other.memoize()(lambda n: (n, 'x'))(1)") == (1, "x")
    assert uwsgi.ask("other.set('k', {'a': [1]}), other.get('k')") == (True, {"a": [1]})
    assert "SerializationError" in uwsgi.ask("other.set('k', {1, 2})")


def test_uwsgi_has_awaitable_methods(uwsgi: Served) -> None:
    """They need neither an I/O loop nor threads."""
    assert uwsgi.ask("cache.aset('k', (1,))") is True
    assert uwsgi.ask("cache.aget('k')") == (1,)
    assert uwsgi.ask("cache.aadd('k', 2)") is False
    assert uwsgi.ask("cache.ainc('n', 5)") == 5
    assert uwsgi.ask("cache.adelete('k')") is True
    assert uwsgi.ask("cache.aget_many('k', 'n')") == [None, 5]


def test_uwsgi_workers_share_memoized_calls(uwsgi: Served) -> None:
    """Sync and async ones, until they are deleted in any of the workers."""
    for name, delete in (("f", "delete_memoized"), ("af", "adelete_memoized")):
        before = uwsgi.ask(f"{name}(1)")
        assert {repr(uwsgi.ask(f"{name}(1)")) for _ in range(20)} == {repr(before)}
        uwsgi.ask(f"cache.{delete}({name}, 1)")
        after = uwsgi.ask(f"{name}(1)")
        assert after[1] > before[1]
        assert {repr(uwsgi.ask(f"{name}(1)")) for _ in range(20)} == {repr(after)}
        uwsgi.ask(f"cache.{delete}({name})")
        assert uwsgi.ask(f"{name}(1)")[1] > after[1]


def test_uwsgi_serves_an_async_view(uwsgi: Served) -> None:
    """One answer for all, until it is deleted."""
    before = uwsgi.request("GET", "/page")
    assert {uwsgi.request("GET", "/page") for _ in range(20)} == {before}
    assert uwsgi.ask("cache.get('seen'), cache.delete('view//page')") == (1, True)
    assert uwsgi.request("GET", "/page") > before


def test_uwsgi_counts_for_all_workers(workers: Served) -> None:
    """Twelve callers in three workers: each sum is returned once, and none is lost."""
    workers.ask("cache.clear()")
    sums = together(*[lambda: [workers.ask("cache.inc('n')") for _ in range(25)]] * 12)
    assert sorted(sum(sums, [])) == list(range(1, 301))
    assert workers.ask("cache.dec('n', 100), cache.get('n')") == (200, 200)


def test_uwsgi_lets_one_of_many_add(workers: Served) -> None:
    """Whether there is nothing yet, or something expired."""
    workers.ask("cache.clear()")
    for _ in range(4):
        for before in ("cache.delete('k')", "backend.set('k', 0, timeout=-1)"):
            workers.ask(before)
            answers = together(*[lambda: workers.ask("cache.add('k', 1)")] * 12)
            assert sorted(answers) == [False] * 11 + [True]


def test_uwsgi_counts_on_when_a_worker_died_in_the_middle(workers: Served) -> None:
    """Its lock is overruled after a second, and is gone then."""
    workers.ask("cache.set('n', 1), uwsgi.cache_set('~alone~n', b'dead', 60, 'mine')")
    assert workers.ask("cache.inc('n')") == 2
    assert not workers.ask("bool(uwsgi.cache_exists('~alone~n', 'mine'))")
    assert workers.ask("cache.inc('n')") == 3


def test_uwsgi_without_such_a_cache_says_how_to_start_it(workers: Served) -> None:
    """uWSGI itself would silently store nothing."""
    message = workers.ask("UWSGICache(cache='nope')")
    assert "--cache2 name=nope,items=1000" in message
    assert "correct CACHE_UWSGI_NAME" in message


INSIDE = """
    import os, pytest
    from flask_caching_async.contrib.uwsgicache import UWSGICache
    from flask_caching_async.testing import BackendConformance

    class TestUWSGICache(BackendConformance):
        @pytest.fixture
        def backend(self):
            return UWSGICache()

    if __name__ != "test_inside":
        status = pytest.main(["-q", "-c", os.devnull, "--rootdir=.", "test_inside.py"])
        print("status", int(status), flush=True)
        os._exit(0)
    """


def test_uwsgi_keeps_what_every_backend_must_keep(tmp_path: Path) -> None:
    """The public kit runs inside the server."""
    (tmp_path / "test_inside.py").write_text(textwrap.dedent(INSIDE))
    home = ["--virtualenv", sys.prefix] if sys.prefix != sys.base_prefix else []
    command = [
        PROGRAM, *home, "--http-socket", f"127.0.0.1:{free_port()}", "--enable-threads",
        "--cache2", "name=mine,items=5000,bitmap=1,blocksize=4096,blocks=20000",
        "--pyrun", "test_inside.py",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=55)
    assert "status 0\n" in done.stderr, done.stderr  # where uWSGI sends all output
