"""The backends of ``contrib``, against a real uWSGI and an emulator of Google Cloud Storage.

* ``pip install uwsgi`` in the environment of the tests.
* ``pip install google-cloud-storage gcp-storage-emulator``, or only the first of them and another
  emulator whose address is in ``STORAGE_EMULATOR_HOST``. What depends on preconditions needs one
  that heeds them, such as https://github.com/googleapis/storage-testbench.

What is missing is skipped; nothing here pretends to be a server.
"""

from __future__ import annotations

import ast
import http.client
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flow.crowd import together, until
from helpers import COLOURS, Face

from flask_caching_async import Cache
from flask_caching_async.contrib.googlecloudstoragecache import GoogleCloudStorageCache
from flask_caching_async.contrib.uwsgicache import UWSGICache
from flask_caching_async.exceptions import BackendError, ConfigurationError
from flask_caching_async.serializers import JSONSerializer
from flask_caching_async.testing import BackendConformance

UWSGI_CACHE = "flask_caching_async.contrib.uwsgicache.UWSGICache"
GCS_CACHE = "flask_caching_async.contrib.googlecloudstoragecache.GoogleCloudStorageCache"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- what can be told without a server ------------------------------------------------------------


def test_uwsgi_cache_outside_of_uwsgi_says_where_it_works(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app does not start, and the message says what to do."""
    monkeypatch.setitem(sys.modules, "uwsgi", None)
    with pytest.raises(ConfigurationError, match="pip install uwsgi.*--cache2.*FileSystemCache"):
        Cache(app, config={"CACHE_TYPE": UWSGI_CACHE})


def test_storage_cache_without_its_package_says_what_to_install(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package has another name than what is imported."""
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    config = {"CACHE_TYPE": GCS_CACHE, "CACHE_GCS_BUCKET": "bucket"}
    with pytest.raises(ConfigurationError, match="pip install google-cloud-storage"):
        Cache(app, config=config)


@pytest.mark.parametrize("bucket", [None, "", 7])
def test_storage_cache_needs_the_name_of_a_bucket(app: Flask, bucket: Any) -> None:
    """Without one, or with something else, the message names the setting."""
    config = {"CACHE_TYPE": GCS_CACHE, "CACHE_GCS_BUCKET": bucket}
    with pytest.raises(ConfigurationError, match="CACHE_GCS_BUCKET"):
        Cache(app, config=config)


def test_contrib_backends_are_shared_between_processes() -> None:
    """So that nobody is warned of several workers."""
    assert UWSGICache.shared and GoogleCloudStorageCache.shared


# --- uWSGI ----------------------------------------------------------------------------------------

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
            find_uwsgi(), "--http-socket", f"127.0.0.1:{self.port}", "--need-app", *home,
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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
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


def find_uwsgi() -> str:
    """The server's program; the test is skipped where there is none."""
    beside = Path(sys.executable).parent / "uwsgi"
    found = str(beside) if beside.exists() else shutil.which("uwsgi")
    if not found:
        pytest.skip("uwsgi is not installed")
    return found


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
        assert uwsgi.ask(f"{kept}.set('k', 1, timeout=0.3), {kept}.get('k')") == (True, 1)
        uwsgi.ask(f"{kept}.set('old', 1, timeout=-1), {kept}.set('long', 1, timeout=0)")
        time.sleep(0.35)
        expired = f"[{kept}.get('k'), {kept}.get('old'), {kept}.has('k'), {kept}.get('long')]"
        assert uwsgi.ask(expired) == [None, None, False, 1]


def test_uwsgi_adds_where_something_expired(uwsgi: Served) -> None:
    """What is dead, or cannot be decoded, is as good as nothing; what lives is not."""
    assert uwsgi.ask("backend.add('k', 1, timeout=0.2), cache.add('k', 2)") == (True, False)
    time.sleep(0.25)
    assert uwsgi.ask("cache.add('k', 3), cache.add('k', 4), cache.get('k')") == (True, False, 3)
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
    began = time.monotonic()
    assert workers.ask("cache.inc('n')") == 3
    assert time.monotonic() - began < 0.5


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
        find_uwsgi(), *home, "--http-socket", f"127.0.0.1:{free_port()}", "--enable-threads",
        "--cache2", "name=mine,items=5000,bitmap=1,blocksize=4096,blocks=20000",
        "--pyrun", "test_inside.py",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=55)
    assert "status 0\n" in done.stderr, done.stderr  # where uWSGI sends all output


# --- Google Cloud Storage -------------------------------------------------------------------------


def importable(module: str) -> bool:
    """Whether a module is installed."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an emulator."""
    if not importable("google.cloud.storage"):
        pytest.skip("google-cloud-storage is not installed")
    if address := os.environ.get("STORAGE_EMULATOR_HOST"):
        yield address
        return
    if not importable("gcp_storage_emulator"):
        pytest.skip("gcp-storage-emulator is not installed, and STORAGE_EMULATOR_HOST not set")
    port = free_port()
    command = [
        sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1",
        "--port", str(port), "--in-memory",
    ]  # fmt: skip
    with open(tmp_path_factory.mktemp("gcs") / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(answers)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


Make = Callable[..., GoogleCloudStorageCache]


@pytest.fixture
def make(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes backends on one new bucket."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    made: list[GoogleCloudStorageCache] = []
    name = f"test-{uuid.uuid4().hex}"

    def make_one(prefix: str = "ours/", **options: Any) -> GoogleCloudStorageCache:
        options = {"timeout": 10.0, **options}
        made.append(GoogleCloudStorageCache(name, prefix, anonymous=True, **options))
        return made[-1]

    make_one().client.create_bucket(name)
    yield make_one
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make: Make) -> GoogleCloudStorageCache:
    """A backend on an empty bucket."""
    return make()


@pytest.fixture
def heeded(make: Make) -> None:
    """Skips the test where the emulator takes no notice of preconditions."""
    from google.api_core.exceptions import PreconditionFailed

    probe = make().bucket.blob("probe")
    probe.upload_from_string(b"1")
    try:
        probe.upload_from_string(b"2", if_generation_match=0)
    except PreconditionFailed:
        return
    pytest.skip("this emulator ignores preconditions: run storage-testbench")


def put_foreign(
    backend: GoogleCloudStorageCache, key: str, data: bytes, kind: str, end: float | None = None
) -> None:
    """Store something as Flask-Caching does it."""
    import datetime as dt

    blob = backend.bucket.blob(backend.key_prefix + key)
    if end is not None:
        blob.custom_time = dt.datetime.fromtimestamp(end, dt.UTC)
    blob.upload_from_string(data, content_type=kind)


def test_storage_keeps_what_can_be_pickled(backend: GoogleCloudStorageCache) -> None:
    """Tuples, bytes and sets come back as they were; None is told from nothing."""
    values = [("a", {"b": b"c", 1: [2.5]}), "", b"", 0, False, {1, 2}, None]
    for number, value in enumerate(values):
        assert backend.set(f"k{number}", value) is True
    assert backend.get_many(*[f"k{n}" for n in range(8)]) == [*values, None]
    assert [backend.has("k6"), backend.has("k7")] == [True, False]
    assert backend.set_many({"a": 1, "b": 2}) == ["a", "b"]
    assert backend.get_dict("a", "b") == {"a": 1, "b": 2}


def test_storage_reads_what_flask_caching_has_stored(backend: GoogleCloudStorageCache) -> None:
    """JSON as what it says, anything else as bytes, and neither when it has expired."""
    put_foreign(backend, "json", json.dumps({"a": [1]}).encode(), "application/json")
    put_foreign(backend, "raw", b"raw", "application/octet-stream", time.time() + 60)
    put_foreign(backend, "old", b"1", "application/json", time.time() - 1)
    put_foreign(backend, "bad", b"{", "application/json")
    assert backend.get_many("json", "raw", "old", "bad") == [{"a": [1]}, b"raw", None, None]
    put_foreign(backend, "n", b"41", "application/json")
    assert [backend.inc("n"), backend.get("n")] == [42, 42]


def test_storage_expires_to_the_fraction_of_a_second(backend: GoogleCloudStorageCache) -> None:
    """The time is also the object's Custom-Time, for a lifecycle rule."""
    now = 2_000_000_000.5
    backend.clock = lambda: now
    backend.set("k", 1, timeout=2)
    backend.set("long", 1, timeout=0)
    assert backend.bucket.get_blob("ours/k").custom_time.timestamp() == now + 2
    assert backend.bucket.get_blob("ours/long").custom_time is None
    now += 1.9
    assert [backend.get("k"), backend.has("k")] == [1, True]
    now += 0.1
    assert [backend.get("k"), backend.has("k"), backend.get("long")] == [None, False, 1]


def test_storage_removes_what_expired_where_it_is_asked_to(make: Make) -> None:
    """It is asked with ``delete_expired_objects_on_read``."""
    for sweeps in (False, True):
        backend = make(delete_expired_objects_on_read=sweeps)
        backend.set("k", 1, timeout=-1)
        assert backend.get("k") is None
        assert (backend.bucket.get_blob("ours/k") is None) is sweeps


def test_storage_deletes_and_says_what_existed(backend: GoogleCloudStorageCache) -> None:
    """``delete_many`` counts a missing key as deleted."""
    backend.set_many({"a": 1, "b": 2})
    assert [backend.delete("a"), backend.delete("a"), backend.get("a")] == [True, False, None]
    assert backend.delete_many("a", "b") == ["a", "b"]
    assert backend.get("b") is None


def test_storage_clears_under_its_prefix_only(make: Make) -> None:
    """All of its own, however many; and again, when there is nothing."""
    ours, theirs = make("ours/"), make("theirs/")
    ours.set_many({f"k{n}": n for n in range(120)})
    theirs.set("k1", "theirs")
    assert [ours.clear(), ours.clear()] == [True, True]
    assert [ours.get("k1"), ours.get("k119"), theirs.get("k1")] == [None, None, "theirs"]


def test_storage_clears_what_others_delete_meanwhile(backend: GoogleCloudStorageCache) -> None:
    """A batch with an object that is gone removes all others."""
    backend.set_many({"a": 1, "b": 2})
    backend._delete_batch(["ours/gone", "ours/a", "ours/b"])
    assert [backend.has("a"), backend.has("b")] == [False, False]


def test_storage_takes_keys_of_any_length_and_script(backend: GoogleCloudStorageCache) -> None:
    """Also what is no name of an object; all of it is under the prefix."""
    keys = ["view//a?b=c&d", "ключ", "x" * 2000, "a\nb", "\udc80", "a%2Fb", "#[]*?", "."]
    for number, key in enumerate(keys):
        assert backend.set(key, number)
    assert backend.get_many(*keys) == list(range(8))
    names = [blob.name for blob in backend.bucket.list_blobs(prefix="ours/")]
    assert len(names) == 8
    backend.clear()
    assert backend.get_many(*keys) == [None] * 8


def test_storage_adds_where_something_expired(
    backend: GoogleCloudStorageCache, heeded: None
) -> None:
    """What is dead, or cannot be decoded, is as good as nothing; what lives is not."""
    assert [backend.add("k", 1, timeout=0.2), backend.add("k", 2)] == [True, False]
    time.sleep(0.25)
    assert [backend.add("k", 3), backend.add("k", 4), backend.get("k")] == [True, False, 3]
    backend.serializer = JSONSerializer()
    assert [backend.get("k"), backend.add("k", 5), backend.get("k")] == [None, True, 5]
    put_foreign(backend, "json", b"1", "application/json")
    assert [backend.add("json", 2), backend.get("json")] == [False, 1]


def test_storage_lets_one_of_many_add(backend: GoogleCloudStorageCache, heeded: None) -> None:
    """Whether there is nothing yet, or something expired."""
    for before in (lambda: backend.delete("k"), lambda: backend.set("k", 0, timeout=-1)):
        before()
        answers = together(*[lambda: backend.add("k", 1)] * 8)
        assert sorted(answers) == [False] * 7 + [True]


def test_storage_counts_for_all(make: Make, heeded: None) -> None:
    """Each sum is returned once, none is lost, and the time runs on."""
    backends = [make() for _ in range(3)]
    backends[0].set("n", 0, timeout=1000)
    end = backends[0].bucket.get_blob("ours/n").custom_time
    counts = [lambda backend=backend: [backend.inc("n") for _ in range(4)] for backend in backends]
    assert sorted(sum(together(*counts), [])) == list(range(1, 13))
    assert backends[0].dec("n", 2) == 10
    assert backends[1].bucket.get_blob("ours/n").custom_time == end


def test_storage_that_refuses_a_write_is_not_taken_to_have_stored(
    make: Make, emulator: str
) -> None:
    """429, too many writes: a set raises, a computed value is just not stored."""
    import requests

    body = {"instructions": {"storage.objects.insert": ["return-429", "return-429"]}}
    told = requests.post(f"{emulator}/retry_test", json=body)
    if not told.ok:
        pytest.skip("this emulator does not fail on demand: run storage-testbench")
    backend = make(extra_headers={"x-retry-test-id": told.json()["id"]})
    with pytest.raises(BackendError, match="too often"):
        backend.set("k", 1)
    assert backend.fill("k", 2, 60, None, {}) is False
    assert [backend.fill("k", 3, 60, None, {}), backend.get("k")] == [True, 3]


def test_storage_opens_again_after_close(backend: GoogleCloudStorageCache) -> None:
    """A second close does no harm."""
    backend.set("k", 1)
    backend.close()
    backend.close()
    assert backend.get("k") == 1


def test_storage_serves_a_forked_child(backend: GoogleCloudStorageCache) -> None:
    """Its connections are not those of its parent."""
    backend.set("k", 1)
    mine = backend.client
    backend._pid = -1  # as in a child
    assert backend.get("k") == 1
    assert backend.client is not mine
    mine.close()


def test_storage_that_is_down_fails_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is retried, for a page waits."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    backend = make()
    began = time.monotonic()
    for call in (lambda: backend.get("k"), lambda: backend.set("k", 1), lambda: backend.clear()):
        with pytest.raises(OSError):  # as the errors of requests are
            call()
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.asyncio
async def test_storage_behind_a_cache(make: Make, app: Flask, colour: str) -> None:
    """Memoized calls, tags and deletions, in both colours."""
    bucket = make().bucket.name
    config = {"CACHE_TYPE": GCS_CACHE, "CACHE_GCS_BUCKET": bucket, "CACHE_ON_ERROR": "raise",
              "CACHE_OPTIONS": {"anonymous": True, "timeout": 10}}  # fmt: skip
    face = Face(Cache(app, config=config), colour)
    calls: list[int] = []
    f = face.memoize(tags=["t"])(lambda n: calls.append(n) or (n, "x"))
    assert [await face.call(f, 1) for _ in range(3)] == [(1, "x")] * 3
    assert calls == [1]
    await face.delete_memoized(f, 1)
    await face.call(f, 1)
    await face.delete_tags("t")
    await face.call(f, 1)
    assert calls == [1, 1, 1]
    assert await face.set("k", {"a"}) and await face.get("k") == {"a"}
    assert await face.clear() and await face.get("k") is None
    await face.close()


def test_storage_can_be_used_by_many_threads(backend: GoogleCloudStorageCache) -> None:
    """They share one client."""
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda n: backend.set(f"k{n}", n), range(40)))
        found = list(pool.map(lambda n: backend.get_many(f"k{n}", f"k{n + 1}"), range(39)))
    assert found == [[n, n + 1] for n in range(39)]


class TestGoogleCloudStorageCache(BackendConformance):
    """The public kit; it needs an emulator with preconditions."""

    @pytest.fixture
    def backend(self, make: Make, heeded: None) -> GoogleCloudStorageCache:
        return make()
