"""GoogleCloudStorageCache against an emulator.

``pip install google-cloud-storage gcp-storage-emulator``, or only the first of them and another
emulator whose address is in ``STORAGE_EMULATOR_HOST``. What depends on preconditions needs one that
heeds them, such as https://github.com/googleapis/storage-testbench.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.contrib.googlecloudstoragecache import GoogleCloudStorageCache
from flask_caching_async.exceptions import BackendError
from flask_caching_async.serializers import JSONSerializer
from flask_caching_async.testing import BackendConformance, FakeClock
from support.faces import COLOURS, Face
from support.servers import HOST, free_port
from support.waiting import PATIENCE, together, until

pytest.importorskip("google.cloud.storage", reason="google-cloud-storage is not installed")
if "STORAGE_EMULATOR_HOST" not in os.environ:
    pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator is not installed")

GCS_CACHE = "flask_caching_async.contrib.googlecloudstoragecache.GoogleCloudStorageCache"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an emulator."""
    if address := os.environ.get("STORAGE_EMULATOR_HOST"):
        yield address
        return
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
    backend.clock = clock = FakeClock()
    assert [backend.add("k", 1, timeout=0.2), backend.add("k", 2)] == [True, False]
    clock.advance(0.2)
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


def test_who_count_in_one_process_take_turns(
    backend: GoogleCloudStorageCache, heeded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the machine is, no thread finds a number changed by another one."""
    upload, stored = backend._upload, []

    def noted(*what: Any) -> bool:
        stored.append(upload(*what))
        return stored[-1]

    monkeypatch.setattr(backend, "_upload", noted)
    counts = together(*[lambda: [backend.inc("n") for _ in range(3)]] * 8)
    assert sorted(sum(counts, [])) == list(range(1, 25))
    assert stored == [True] * 24


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_a_number_is_counted_when_others_leave_it_alone_in_time(
    make: Make, emulator: str, seconds: float
) -> None:
    """Until then it is tried again; after that an error says why, and the next call may count."""
    import requests

    body = {"instructions": {"storage.objects.insert": ["return-429"]}}
    told = requests.post(f"{emulator}/retry_test", json=body)
    if not told.ok:
        pytest.skip("this emulator does not fail on demand: run storage-testbench")
    backend = make(extra_headers={"x-retry-test-id": told.json()["id"]})
    backend._turns.patience = seconds
    if not seconds:
        with pytest.raises(BackendError, match="written by others"):
            backend.inc("n")
    assert backend.inc("n") == 1


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
    assert backend.set_if_current("k", 2, 60, None, {}) is False
    assert [backend.set_if_current("k", 3, 60, None, {}), backend.get("k")] == [True, 3]


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
    """Nothing is retried, for a page waits; the package itself would try for two minutes."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{HOST}:{free_port()}")
    backend = make()
    began = time.monotonic()
    for call in (lambda: backend.get("k"), lambda: backend.set("k", 1), lambda: backend.clear()):
        with pytest.raises(OSError):  # as the errors of requests are
            call()
    assert time.monotonic() - began < PATIENCE


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
