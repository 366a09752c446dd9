"""FileSystemCache: plain and versioned operations, leases, and all of it between processes."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import os
import select
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cachelib import FileSystemCache as CachelibFileSystemCache
from cachelib.serializers import JSONSerializer

import flask_caching_async
from flask_caching_async.backends._files import records
from flask_caching_async.backends._files import sweeper as _sweeper
from flask_caching_async.backends._files.locks import Section
from flask_caching_async.backends._files.records import Record
from flask_caching_async.backends.base import KEY_VERSION_LIFE
from flask_caching_async.backends.filesystemcache import FileSystemCache
from flask_caching_async.exceptions import (
    BackendError,
    BackendTimeout,
    ConfigurationError,
    SerializationError,
)
from flask_caching_async.testing import FakeClock
from support.waiting import PATIENCE

HOUR = KEY_VERSION_LIFE


@pytest.fixture
def clock() -> FakeClock:
    """The clock of every cache that ``make`` made."""
    return FakeClock()


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock) -> Callable[..., FileSystemCache]:
    """Make a cache on the test's directory."""

    def make_cache(**options: Any) -> FileSystemCache:
        cache = FileSystemCache(tmp_path / "cache", **options)
        cache.clock = clock
        cache._files.patience = PATIENCE  # a busy machine is no process that was stopped
        return cache

    return make_cache


@pytest.fixture
def cache(make: Callable[..., FileSystemCache]) -> FileSystemCache:
    """A cache with default options."""
    return make()


def entry_files(cache: FileSystemCache) -> list[str]:
    """The names of all entries, tombstones included."""
    return [name for name in os.listdir(cache._path) if name.endswith(".fca")]


class Processes:
    """Python processes that start together."""

    PRELUDE = """
    import os, sys, time
    from flask_caching_async.backends.filesystemcache import FileSystemCache
    cache = FileSystemCache(sys.argv[1])
    cache._files.patience = 60.0
    number = int(sys.argv[2])
    def ready():
        print("ready", flush=True)
        sys.stdin.readline()
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._running: list[subprocess.Popen[str]] = []

    def start(self, code: str, count: int = 1) -> list[subprocess.Popen[str]]:
        """Run ``code`` in new processes, up to its call of ``ready()``."""
        root = str(Path(flask_caching_async.__file__).parents[1])
        script = textwrap.dedent(self.PRELUDE) + textwrap.dedent(code)
        started = [
            subprocess.Popen(
                [sys.executable, "-c", script, self._directory, str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": root},
            )
            for number in range(count)
        ]
        self._running += started
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        return started

    def go(self, *processes: subprocess.Popen[str]) -> None:
        """Let them go on."""
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def results(self, code: str, count: int) -> list[str]:
        """What each of ``count`` processes that went on together has printed."""
        started = self.start(code, count)
        self.go(*started)
        return [process.communicate(timeout=PATIENCE)[0] for process in started]

    def stop(self) -> None:
        """End those that are left."""
        for process in self._running:
            process.kill()
            process.communicate()


@pytest.fixture
def processes(cache: FileSystemCache) -> Iterator[Processes]:
    """Other processes that use the directory of ``cache`` (on the real clock)."""
    others = Processes(cache._path)
    yield others
    others.stop()


# --- plain operations -----------------------------------------------------------------------------


def test_a_stored_none_is_a_value(cache: FileSystemCache) -> None:
    """It exists, and a look at it shows a version."""
    for value in (None, 0, "", "x" * 300_000):
        assert cache.set("key", value)
        assert cache.get("key") == value
        assert cache.has("key") is True
        assert cache.look_up("key").value == value


def test_a_missing_key_is_nothing(cache: FileSystemCache) -> None:
    """Reading what nobody stored gives None, and creates no file."""
    assert cache.get("key") is None
    assert cache.has("key") is False
    assert cache.look_up("key", ["tag"])[:3] == (None, None, (None,))
    assert entry_files(cache) == []


def test_add_stores_only_what_is_missing(cache: FileSystemCache, clock: FakeClock) -> None:
    """Add is falsy for a key that exists, and works again when it has expired or was deleted."""
    assert cache.add("key", 1, 10)
    assert not cache.add("key", 2)
    assert cache.get("key") == 1
    clock.advance(10)
    assert cache.add("key", 3)
    cache.delete("key")
    assert cache.add("key", None)
    assert not cache.add("key", 4), "a stored None exists"


def test_delete_says_whether_the_key_existed(cache: FileSystemCache, clock: FakeClock) -> None:
    """Delete is true for a key that lived, and false for one that did not."""
    cache.set("key", 1, 10)
    assert cache.delete("key") is True
    assert cache.delete("key") is False
    assert cache.get("key") is None
    assert not cache.has("key")
    cache.set("key", 1, 10)
    clock.advance(10)
    assert cache.delete("key") is False


def test_inc_keeps_the_remaining_timeout(cache: FileSystemCache, clock: FakeClock) -> None:
    """Counting does not make a counter live longer, and a new one has the default timeout."""
    cache.set("key", 1, 10)
    cache.set("for ever", 1, 0)
    clock.advance(9)
    assert cache.inc("key") == 2
    assert cache.inc("for ever") == 2
    assert cache.inc("new") == 1
    clock.advance(1)
    assert cache.get("key") is None
    assert cache.inc("key") == 1
    clock.advance(299)
    assert cache.get_many("new", "for ever") == [None, 2]


def test_clear_removes_everything_of_ours(cache: FileSystemCache, tmp_path: Path) -> None:
    """After clear there is no entry, tag or free lease, and a foreign file stays."""
    cache.set("a", 1)
    cache.delete("b")
    cache.ensure_versions(["tag"], 60)
    lease = cache.lease("key", 10)
    assert lease.acquire()
    lease.release(shared=False)
    (tmp_path / "cache" / "foreign").write_text("mine")
    assert cache.clear() is True
    assert cache.look_up("a", ["tag"])[::2] == (None, (None,))
    assert sorted(os.listdir(cache._path)) == [".fca-state", "foreign"]
    assert not [n for n in os.listdir(cache._files.state) if n.endswith((".stamp", ".lock"))]
    assert cache.set("a", 2) and cache.get("a") == 2


def test_values_persist_across_instances(make: Callable[..., FileSystemCache]) -> None:
    """A second cache on the directory sees what the first one stored, also after its close."""
    first = make()
    first.set("key", 1)
    token = first.ensure_versions(["tag"], 60)
    version = first.look_up("key").key_version
    first.close()
    assert make().look_up("key", ["tag"])[:3] == (1, version, tuple(token))
    assert first.get("key") == 1


def test_keys_are_any_strings_and_nothing_else(cache: FileSystemCache) -> None:
    """Slashes, unpaired surrogates and very long keys work; a number is a TypeError."""
    for key in ("view//works/../x", "\udc80", "k" * 10_000, ""):
        cache.set(key, key)
        assert cache.get(key) == key
    with pytest.raises(TypeError, match="must be a string"):
        cache.get(7)  # type: ignore[arg-type]


def test_more_keys_than_are_remembered(cache: FileSystemCache) -> None:
    """The memory for file names is bounded, and forgetting one is harmless."""
    cache.set("key", 1)
    for number in range(5000):
        cache.get(f"{number}")
    assert len(cache._files.entries) <= 2048
    assert cache.get("key") == 1


# --- time -----------------------------------------------------------------------------------------


def test_a_value_is_gone_at_exactly_its_timeout(cache: FileSystemCache, clock: FakeClock) -> None:
    """A value lives while now < expiry; a timedelta is rounded up as in Flask-Caching."""
    for timeout, seconds in (
        (2, 2), (2.0, 2), (0.25, 0.25), (dt.timedelta(minutes=1), 60), (dt.timedelta(0, 0.2), 1)
    ):  # fmt: skip
        cache.set("key", 1, timeout)
        clock.advance(seconds - 0.01)
        assert cache.get("key") == 1 and cache.has("key"), timeout
        clock.advance(0.01)
        assert cache.get("key") is None, timeout
        assert cache.has("key") is False
        assert cache.look_up("key").value is None


def test_no_timeout_is_the_default_and_zero_is_for_ever(
    make: Callable[..., FileSystemCache], clock: FakeClock
) -> None:
    """None means default_timeout, 0 never, and a negative number has passed."""
    cache = make(default_timeout=5)
    cache.set_many({"default": 1})
    cache.set("never", 1, 0)
    cache.set("past", 1, -1)
    assert cache.get_many("default", "never", "past") == [1, 1, None]
    clock.advance(5)
    assert cache.get_many("default", "never") == [None, 1]
    clock.advance(10**9)
    assert cache.get("never") == 1
    short = make(default_timeout=0.5)
    short.set("short", 1)
    clock.advance(0.5)
    assert short.get("short") is None
    with pytest.raises(TypeError, match="timeout must be seconds"):
        short.set("key", 1, "soon")
    for_ever = make(default_timeout=0)
    for_ever.add("added", 1)
    clock.advance(10**9)
    assert for_ever.get("added") == 1


# --- what else may lie around ---------------------------------------------------------------------


def test_foreign_files_are_left_alone(cache: FileSystemCache, tmp_path: Path) -> None:
    """Files of others, old cachelib entries and directories survive set, sweep and clear."""
    directory = tmp_path / "cache"
    CachelibFileSystemCache(str(directory)).set("key", "old")
    (directory / "readme.txt").write_text("hello")
    (directory / "notes.fca").write_text("foreign, with our suffix")
    (directory / "folder.fca").mkdir()
    before = {path.name for path in directory.iterdir()}
    assert cache.get("key") is None
    cache.set("key", "new")
    for number in range(600):
        cache.set(f"{number % 20}", number)
    assert cache.get("key") == "new"
    assert cache.clear()
    assert {path.name for path in directory.iterdir()} == before | {".fca-state"}
    assert CachelibFileSystemCache(str(directory)).get("key") == "old"


def test_a_truncated_file_is_a_miss_and_is_overwritten(cache: FileSystemCache) -> None:
    """A file that was cut off is absent for all; set, add and a computation replace it."""
    path = cache._files.entries["key"]

    def cut(length: int) -> None:
        cache.set("key", "a long value " * 10)
        os.truncate(path, length)
        assert cache.get("key") is None
        assert cache.has("key") is False

    for length in (0, 3, 20, 52, 60):
        cut(length)
        assert cache.set("key", 1) and cache.get("key") == 1
        cut(length)
        assert cache.add("key", 2) and cache.get("key") == 2
        cut(length)
        snapshot = cache.look_up("key")
        assert (
            cache.set_if_current("key", 3, 60, snapshot.key_version, {}) and cache.get("key") == 3
        )
        cut(length)
        assert cache.inc("key") == 1
        cut(length)
        assert cache.delete("key") is False
        cut(length)
        assert cache.clear() and entry_files(cache) == []


def test_garbage_is_a_miss_and_is_overwritten(cache: FileSystemCache) -> None:
    """Bytes that were never ours, and a broken pickle behind an intact header, are misses."""
    path = cache._files.entries["key"]
    for junk in (b"\x80garbage" * 100, os.urandom(500)):
        Path(path).write_bytes(junk)
        assert cache.look_up("key").value is None
        assert cache.set_if_current("key", 1, 60, cache.look_up("key").key_version, {})
        assert cache.get("key") == 1
    data = bytearray(Path(path).read_bytes())
    data[records.HEADER_SIZE :] = b"\xff" * (len(data) - records.HEADER_SIZE)
    Path(path).write_bytes(data)
    assert cache.get("key") is None
    assert cache.set_if_current("key", 2, 60, cache.look_up("key").key_version, {})
    assert cache.get("key") == 2


def test_garbage_that_was_deleted_refuses_a_fill(cache: FileSystemCache) -> None:
    """Also the version of an unreadable file changes when the key is deleted."""
    Path(cache._files.entries["key"]).write_bytes(b"garbage")
    version = cache.look_up("key").key_version
    cache.invalidate(["key"])
    assert cache.set_if_current("key", 1, 60, version, {}) is False


def test_a_moved_class_is_a_miss(cache: FileSystemCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value whose class is gone is a miss, and the next set stores a new one."""
    module = types.ModuleType("moved")
    exec("class Thing: pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "moved", module)
    cache.set("key", module.Thing())
    assert cache.get("key") is not None
    del module.Thing
    assert cache.get("key") is None  # AttributeError
    monkeypatch.delitem(sys.modules, "moved")
    assert cache.look_up("key").value is None  # ModuleNotFoundError
    assert cache.set("key", 1) and cache.get("key") == 1


def test_a_vanished_directory_comes_back(cache: FileSystemCache) -> None:
    """Somebody removes the whole directory: reads miss, and the next write creates it again."""
    cache.set("key", 1)
    for path, folders, files in os.walk(cache._path, topdown=False):
        for name in files:
            os.unlink(os.path.join(path, name))
        for name in folders:
            os.rmdir(os.path.join(path, name))
    os.rmdir(cache._path)
    assert cache.get("key") is None
    assert cache.set("key", 2) and cache.get("key") == 2
    assert cache.ensure_versions(["tag"], 60) == list(cache.look_up("key", ["tag"]).tag_versions)


# --- serializers and failures ---------------------------------------------------------------------


class Counting(JSONSerializer):
    """JSON that counts."""

    calls: list[str]

    def dumps(self, value: Any, *args: Any, **kwargs: Any) -> bytes | None:
        self.calls.append("dumps")
        return super().dumps(value)

    def loads(self, bvalue: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("loads")
        return super().loads(bvalue)


def test_the_serializer_runs_once_per_set_and_once_per_get(cache: FileSystemCache) -> None:
    """It is replaceable, and each operation that needs it uses it once."""
    cache.serializer = serializer = Counting()
    serializer.calls = calls = []
    cache.set("key", {"a": 1})
    assert cache.get("key") == {"a": 1}
    assert calls == ["dumps", "loads"]
    cache.look_up("key")
    cache.set_if_current("key", 1, 60, cache.look_up("key").key_version, {})
    assert calls == ["dumps", "loads", "loads", "loads", "dumps"]
    cache.has("key")
    cache.delete("key")
    cache.get("key")
    assert len(calls) == 5


def test_a_value_that_cannot_be_serialized_is_an_error(cache: FileSystemCache) -> None:
    """It raises SerializationError with its cause, and the old value stays."""
    cache.set("key", 1)
    for store in (
        lambda: cache.set("key", lambda: None),
        lambda: cache.add("new", lambda: None),
        lambda: cache.set_and_supersede({"new": 1, "key": lambda: None}),
        lambda: cache.set_if_current("key", lambda: None, 60, cache.look_up("key").key_version, {}),
    ):
        with pytest.raises(SerializationError):
            store()
    assert cache.get("key") == 1
    with pytest.raises(SerializationError) as caught:
        cache.set("key", threading.Lock())
    assert isinstance(caught.value.__cause__, TypeError)
    cache.serializer = JSONSerializer()
    with pytest.raises(SerializationError, match="JSONSerializer.dumps gave NoneType"):
        cache.set("key", object())


def test_a_failing_disk_is_a_backend_error(
    cache: FileSystemCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's error is chained, the old value stays, and no temporary file is left."""
    cache.set("key", 1)

    def broken(*args: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", broken)
        patch.setattr(os, "write", broken)
        for operation in (
            lambda: cache.set("key", 2),
            lambda: cache.invalidate(["key"]),
            lambda: cache.ensure_versions(["tag"], 60),
            cache.clear,
        ):
            with pytest.raises(BackendError, match="Input/output error") as caught:
                operation()
            assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(RuntimeError, match="key"):
            cache.delete_many("key")
        cache.ignore_delete_many_errors = True
        assert cache.delete_many("key") == []
    assert cache.get("key") == 1
    assert not [name for name in os.listdir(cache._path) if "tmp" in name]


def test_a_file_in_use_is_tried_again(
    cache: FileSystemCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows and network drives refuse for a moment to replace an open file."""
    refusals, replace = iter([True, True, False]), os.replace

    def busy(source: str, target: str) -> None:
        if next(refusals, False):
            raise PermissionError(13, "in use", target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    assert cache.set("key", 1)
    assert cache.get("key") == 1


def test_a_stopped_process_costs_a_bounded_time(cache: FileSystemCache) -> None:
    """Who waits for a section that never ends gets BackendTimeout, and reads go on."""
    cache.set("key", 1)
    cache._files.patience = 0.05
    with ThreadPoolExecutor(1) as other:
        with cache._files.section(cache._files.entries["key"]):
            with pytest.raises(BackendTimeout, match="has been locked"):
                other.submit(cache.set, "key", 2).result()
            assert other.submit(cache.get, "key").result() == 1
    assert cache.set("key", 2)


# --- construction ---------------------------------------------------------------------------------


def test_options_are_those_of_flask_caching(tmp_path: Path) -> None:
    """Positions, the deprecated name and a Path are accepted; sha256 names the files."""
    cache = FileSystemCache(tmp_path / "a" / "b", 7, 60, 0o640, hashlib.md5, True)
    assert cache.default_timeout == 60
    assert cache.ignore_delete_many_errors is True
    assert cache._hash_method is hashlib.md5
    cache.set("key", 1)
    assert entry_files(cache) == [hashlib.md5(b"key").hexdigest() + ".fca"]
    assert FileSystemCache(str(tmp_path))._hash_method is hashlib.sha256
    with pytest.warns(DeprecationWarning, match="ignore_errors"):
        old = FileSystemCache(str(tmp_path), ignore_errors=True)
    assert old.ignore_delete_many_errors is True


def test_the_factory_reads_the_config_and_options_win(tmp_path: Path) -> None:
    """CACHE_OPTIONS overrides what the CACHE_* settings say."""
    config = {
        "CACHE_DIR": tmp_path / "one",
        "CACHE_THRESHOLD": 9,
        "CACHE_FILE_HASH_METHOD": hashlib.sha1,
    }
    made = FileSystemCache.factory(None, config, [], {"default_timeout": 4})
    assert (made._path, made._threshold) == (str(tmp_path / "one"), 9)
    assert (made._hash_method, made.default_timeout) == (hashlib.sha1, 4)
    options = {"threshold": 3, "mode": 0o644, "cache_dir": str(tmp_path / "two")}
    made = FileSystemCache.factory(None, config, [], dict(options))
    assert (made._path, made._threshold) == (str(tmp_path / "two"), 3)


def test_a_wrong_directory_says_what_to_set(tmp_path: Path) -> None:
    """No CACHE_DIR, or one that cannot be created, is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match="set CACHE_DIR"):
        FileSystemCache(None)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="CACHE_DIR .*file"):
        FileSystemCache(tmp_path / "file")


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
@pytest.mark.parametrize(("option", "mode"), [({}, 0o600), ({"mode": 0o660}, 0o660)])
def test_files_have_the_mode_whatever_the_umask(
    make: Callable[..., FileSystemCache], option: dict[str, int], mode: int
) -> None:
    """Entries, tag versions, leases and slots all have it, also when they replace others."""
    umask = os.umask(0o077)
    try:
        cache = make(**option)
        os.chmod(cache._path, 0o770)
        cache.set("key", 1)
        cache.set("key", 2)
        cache.ensure_versions(["tag"], 60)
        assert cache.lease("key", 10).acquire()
        found = [path for path in Path(cache._path).rglob("*") if path.is_file()]
        assert len(found) >= 4
        assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {mode}
        assert stat.S_IMODE(os.stat(cache._files.state).st_mode) == 0o770
    finally:
        os.umask(umask)


# --- versioned operations -------------------------------------------------------------------------


def changes(cache: FileSystemCache) -> dict[str, Callable[[], Any]]:
    """Everything that invalidates what is being computed for ``key``."""
    return {
        "invalidate": lambda: cache.invalidate(["key"]),
        "set_and_supersede": lambda: cache.set_and_supersede(
            {"key": "set_and_supersede", "other": 1}
        ),
        "set": lambda: cache.set("key", "set"),
        "add": lambda: cache.add("key", "added") or cache.delete("key"),
        "delete": lambda: cache.delete("key"),
        "delete_many": lambda: cache.delete_many("key"),
        "inc": lambda: cache.delete("key") or cache.inc("key"),
        "clear": lambda: cache.clear(),
        "dropped tag": lambda: cache.invalidate([], ["tag"]),
        "dropped and new tag": lambda: (
            cache.invalidate([], ["tag"]) or cache.ensure_versions(["tag"], 9)
        ),
    }


@pytest.mark.parametrize("change", changes(None))  # type: ignore[arg-type]
def test_a_fill_is_refused_after(cache: FileSystemCache, change: str) -> None:
    """What was computed before an invalidation is not stored, with and without an old entry."""
    for existed in (False, True):
        if existed:
            cache.set("key", "old")
        versions = dict(zip(["tag"], cache.ensure_versions(["tag"], 60), strict=True))
        version = cache.look_up("key").key_version
        changes(cache)[change]()
        after = cache.get("key")
        assert cache.set_if_current("key", "computed", 60, version, versions) is False  # type: ignore[arg-type]
        assert cache.get("key") == after
        versions = dict(zip(["tag"], cache.ensure_versions(["tag"], 60), strict=True))
        assert cache.set_if_current("key", "anew", 60, cache.look_up("key").key_version, versions)  # type: ignore[arg-type]
        assert cache.get("key") == "anew"
        cache.clear()


def test_a_fill_is_stored_while_everything_stands(cache: FileSystemCache, clock: FakeClock) -> None:
    """Reads, other keys and expiry change no version; what is computed has its own timeout."""
    cache.set("key", "old", 5)
    snapshot = cache.look_up("key", ["tag"])
    assert snapshot.tag_versions == (None,)
    (token,) = cache.ensure_versions(["tag"], 60)
    clock.advance(6)
    assert cache.look_up("key", ["tag"])[:3] == (None, snapshot.key_version, (token,))
    cache.set("other", 1)
    assert cache.set_if_current("key", "new", 10, snapshot.key_version, {"tag": str(token)})
    clock.advance(9.5)
    assert cache.get("key") == "new"
    clock.advance(0.5)
    assert cache.get("key") is None


def test_expel_returns_the_keys_that_existed(cache: FileSystemCache) -> None:
    """Deleted keys are absent for every operation, and missing ones are not reported."""
    cache.set_many({"a": 1, "b": None})
    cache.ensure_versions(["tag"], 60)
    assert cache.invalidate(["a", "missing", "b"], ["tag", "unknown"]) == ["a", "b", "tag"]
    assert cache.invalidate(["a"]) == []
    assert cache.look_up("a", ["tag"])[::2] == (None, (None,))
    assert not cache.has("b")
    assert cache.inc("a") == 1


def test_put_returns_the_keys_it_stored(cache: FileSystemCache, clock: FakeClock) -> None:
    """Put is a set of many, with one timeout, also below a second."""
    assert cache.set_and_supersede({"a": 1, "b": 2}, 0.5) == ["a", "b"]
    assert cache.get_many("a", "b") == [1, 2]
    clock.advance(0.5)
    assert cache.get_many("a", "b") == [None, None]
    assert cache.set_and_supersede({}) == []


def test_a_tag_version_is_created_once_and_expires(
    cache: FileSystemCache, clock: FakeClock
) -> None:
    """It lives on while it is needed; once it has expired, or its file is broken, it is made."""
    first = cache.ensure_versions(["a", "b", "a"], 3600)
    assert first[0] == first[2] != first[1]
    clock.advance(7199)
    assert cache.ensure_versions(["a"], 3600) == first[:1]
    clock.advance(1)
    assert cache.look_up("x", ["a", "b"]).tag_versions == (first[0], None)
    clock.advance(7199)
    assert cache.look_up("x", ["a"]).tag_versions == (None,)
    (second,) = cache.ensure_versions(["a"], 0)
    assert second not in (None, *first)
    clock.advance(10**9)
    assert cache.look_up("x", ["a"]).tag_versions == (second,)
    Path(cache._files.versions["a"]).write_bytes(b"torn")
    assert cache.look_up("x", ["a"]).tag_versions == (None,)
    assert cache.ensure_versions(["a"], 60) != [second]


def test_a_stamp_is_no_key(cache: FileSystemCache) -> None:
    """Tag versions, leases and entries of one name do not meet."""
    cache.ensure_versions(["name"], 60)
    assert cache.get("name") is None and cache.look_up("name").key_version is None
    cache.set("name", 1)
    cache.invalidate([], ["name"])
    assert cache.get("name") == 1


# --- keeping it small -----------------------------------------------------------------------------


def test_the_threshold_bounds_the_values(
    make: Callable[..., FileSystemCache], clock: FakeClock
) -> None:
    """There are never more values than that; the newest stay, and the expired go first."""
    cache = make(threshold=20)
    cache.set("short", 1, 0.5)
    cache.set("eternal", 1, 0)
    for number in range(19):
        clock.advance(1)
        cache.set(f"{number}", number, 1000)
    assert cache.has("eternal"), "the expired one made room"
    for number in range(19, 100):
        clock.advance(1)
        cache.set(f"{number}", number, 1000)
        assert cache.get(f"{number}") == number
        assert sum(cache.has(f"{n}") for n in range(100)) <= 20
    assert sum(cache.has(f"{n}") for n in range(80, 100)) >= 18
    assert cache.has("eternal") is False


def test_a_tiny_threshold_keeps_the_latest(make: Callable[..., FileSystemCache]) -> None:
    """What was just written stays, even when the clock stands still."""
    for threshold in (1, 2):
        cache = make(threshold=threshold)
        for number in range(10):
            cache.set(f"{number}", number)
            assert cache.get(f"{number}") == number
            assert sum(cache.has(f"{n}") for n in range(10)) <= threshold


def test_no_threshold_is_no_bound(make: Callable[..., FileSystemCache]) -> None:
    """With threshold 0 every value stays."""
    cache = make(threshold=0)
    for number in range(1200):
        assert cache.set_if_current(f"{number}", 1, 60, None, {})
    assert sum(cache.has(f"{n}") for n in range(1200)) == 1200


def test_other_processes_values_count(make: Callable[..., FileSystemCache]) -> None:
    """A cache that writes in turn with another one keeps the bound, within a few dozen writes."""
    one, two = make(threshold=50), make(threshold=50)
    for number in range(200):
        (one if number % 2 else two).set_if_current(f"{number}", 1, 60, None, {})
    assert sum(one.has(f"{n}") for n in range(200)) <= 50 + 2 * 16


def test_evicting_what_a_computation_stored_leaves_nothing(
    make: Callable[..., FileSystemCache],
) -> None:
    """A flood of computed keys leaves no tombstones behind."""
    cache = make(threshold=20)
    for number in range(200):
        assert cache.set_if_current(
            f"{number}", number, 60, cache.look_up(f"{number}").key_version, {}
        )
    assert len(entry_files(cache)) <= 20


@pytest.mark.parametrize("timeout", [1, 1000])
def test_eviction_does_not_let_an_older_computation_win(
    make: Callable[..., FileSystemCache], clock: FakeClock, timeout: int
) -> None:
    """The version of a value that was set outlives it, if it expires and also if it is evicted."""
    cache = make(threshold=5)
    version = cache.look_up("key").key_version
    cache.set("key", "explicit" * 1000, timeout)
    size = os.stat(cache._files.entries["key"]).st_size
    for number in range(30):
        clock.advance(1)
        cache.set_if_current(f"{number}", 1, 1000, None, {})
    assert cache.get("key") is None
    assert os.stat(cache._files.entries["key"]).st_size < 100 < size
    assert cache.set_if_current("key", "older", 60, version, {}) is False
    assert cache.set_if_current("key", "newer", 60, cache.look_up("key").key_version, {}) is True


@pytest.mark.parametrize("damage", [False, True])
def test_eviction_keeps_the_guard_through_fills(
    make: Callable[..., FileSystemCache], clock: FakeClock, damage: bool
) -> None:
    """A value over a tombstone, once evicted, still refuses what began before the deletion."""
    cache = make(threshold=5)
    version = cache.look_up("key").key_version
    cache.delete("key")
    if damage:
        os.truncate(cache._files.entries["key"], 20)
    assert cache.set_if_current("key", "new", 1000, cache.look_up("key").key_version, {})
    for number in range(30):
        clock.advance(1)
        cache.set_if_current(f"{number}", 1, 1000, None, {})
    assert cache.get("key") is None
    assert cache.set_if_current("key", "older", 60, version, {}) is False


def test_eviction_is_no_invalidation(
    make: Callable[..., FileSystemCache], clock: FakeClock
) -> None:
    """Who computes anew what is evicted meanwhile may store it."""
    cache = make(threshold=5)
    cache.set("key", 1, 0)
    version = cache.look_up("key").key_version
    for number in range(30):
        clock.advance(1)
        cache.set_if_current(f"{number}", 1, 1000, None, {})
    assert cache.get("key") is None
    assert cache.set_if_current("key", 2, 60, version, {}) is True


def test_eviction_spares_what_was_written_meanwhile(
    cache: FileSystemCache, clock: FakeClock
) -> None:
    """A sweep that has seen an old value does not remove the new one."""
    cache.set("key", "old", 1)
    path = cache._files.entries["key"]
    seen = records.look(path)
    cache.set("key", "new")
    for until in (0.0, seen.keep_until):
        cache._sweeper._retire(path, seen._replace(keep_until=until), clock.now)
        assert cache.get("key") == "new"


def test_deleting_and_setting_one_key_does_not_sweep(
    make: Callable[..., FileSystemCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what makes the directory grow counts."""
    cache = make(threshold=20)
    cache.set("key", 0)
    for lists in ("listdir", "scandir"):
        monkeypatch.setattr(os, lists, None)
    monkeypatch.setattr(cache._sweeper, "_until_tidy", 1000)
    for number in range(100):
        cache.delete("key")
        cache.set("key", number)


def test_a_failing_sweep_fails_no_write(
    make: Callable[..., FileSystemCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that cannot be removed stay; each write works, and few of them try to sweep."""
    cache, failures = make(threshold=2), []

    def fail(section: Section, path: str) -> None:
        failures.append(path)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Section, "unlink", fail)
    for number in range(40):
        assert cache.set_if_current(f"{number}", number, 60, None, {})
        assert cache.get(f"{number}") == number
    assert 1 <= len(failures) <= 4


def test_old_tombstones_and_expired_values_go(
    make: Callable[..., FileSystemCache], clock: FakeClock
) -> None:
    """An hour after it was written, nothing is left of a deleted or expired key."""
    cache = make(threshold=5)
    for number in range(20):
        cache.delete(f"deleted {number}")
    for number in range(5):
        cache.set(f"expired {number}", number, 1)
    assert len(entry_files(cache)) == 25
    clock.advance(HOUR)
    for number in range(10):
        clock.advance(1)
        cache.set_if_current(f"{number}", 1, 1000, None, {})
    assert len(entry_files(cache)) <= 5


def test_tombstones_are_bounded_and_still_refuse(
    cache: FileSystemCache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of deletions does not fill the disk, and no forgotten one lets an old value in."""
    monkeypatch.setattr(_sweeper, "_TOMBSTONES", 0)
    seen = {f"{n}": cache.look_up(f"{n}").key_version for n in range(1000)}
    for key in seen:
        clock.advance(0.01)
        cache.delete(key)
    assert len(entry_files(cache)) <= 500 + 63
    assert not any(
        cache.set_if_current(key, "older", 60, version, {}) for key, version in seen.items()
    )
    assert cache.set_if_current("0", "newer", 60, cache.look_up("0").key_version, {})


def test_what_dead_processes_left_is_tidied_up(cache: FileSystemCache, clock: FakeClock) -> None:
    """Old temporary files, free leases and expired tag versions go; young and living ones stay."""
    paths = [Path(cache._path, n) for n in ("a.fca-tmp", "b.fca-tmp", ".fca-state/c.fca-tmp")]
    cache.ensure_versions(["expired"], 60)
    for path in paths:
        path.write_bytes(b"half")
    held, free = cache.lease("held", 10), cache.lease("free", 10)
    assert held.acquire() and free.acquire()
    free.release(shared=False)
    old = time.time() - 4000
    for path in (paths[0], paths[2], *Path(cache._files.state).glob("*.lock")):
        os.utime(path, (old, old))
    clock.advance(3601)
    (token,) = cache.ensure_versions(["living"], 60)
    for number in range(501):
        cache.set("key", number)
    assert [path.exists() for path in paths] == [False, True, False]
    assert os.path.exists(cache._files.leases["held"])
    assert not os.path.exists(cache._files.leases["free"])
    assert not os.path.exists(cache._files.versions["expired"])
    assert cache.ensure_versions(["living"], 60) == [token]
    assert cache.lease("held", 10).acquire() is False


def test_tag_versions_count_for_the_bound(tmp_path: Path) -> None:
    """Paths that visitors make up have one each; the namespace's stays, what is dropped is dead."""
    cache = FileSystemCache(str(tmp_path), threshold=600)
    (namespace,) = cache.ensure_versions(["~stamp~"], 0)
    for number in range(2_500):
        (version,) = cache.ensure_versions([f"path {number}"], number % 2)
        versions = {"~stamp~": namespace, f"path {number}": version}
        cache.set_if_current(f"{number}", 1, number % 2, None, versions)
    assert len(list(Path(cache._files.state).glob("*.stamp"))) < 2_000
    assert cache.look_up("x", ["~stamp~"]).tag_versions == (namespace,)


# --- between threads and processes ----------------------------------------------------------------


def test_inc_is_exact_between_threads(cache: FileSystemCache) -> None:
    """Eight threads count together, and no step is lost."""

    def count() -> None:
        for _ in range(40):
            cache.inc("key")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get("key") == 320


def test_inc_is_exact_between_processes(cache: FileSystemCache, processes: Processes) -> None:
    """Four processes count together, and no step is lost."""
    code = "ready()\nfor _ in range(60): cache.inc('key')"
    cache.clock = time.time
    processes.results(code, 4)
    assert cache.get("key") == 240


def test_add_and_ensure_have_one_winner(cache: FileSystemCache, processes: Processes) -> None:
    """Of several processes one adds each key, and all agree on the token of each tag."""
    code = """
    ready()
    print([n for n in range(50) if cache.add(f"key {n}", number)])
    print([cache.ensure_versions([f"tag {n}"], 60)[0] for n in range(50)])
    """
    printed = [text.splitlines() for text in processes.results(code, 4)]
    winners = sorted(number for lines in printed for number in eval(lines[0]))
    assert winners == list(range(50))
    assert len({lines[1] for lines in printed}) == 1


def test_an_expired_stamp_is_renewed_once(cache: FileSystemCache, processes: Processes) -> None:
    """Processes that find an expired tag at the same time agree on the new one."""
    cache.clock = lambda: 1000.0
    cache.ensure_versions([f"tag {n}" for n in range(50)], 1)
    code = "ready()\nprint([cache.ensure_versions([f'tag {n}'], 60)[0] for n in range(50)])"
    assert len(set(processes.results(code, 3))) == 1


LEADER = """
generation = os.open(os.path.join(sys.argv[1], "generation"), os.O_RDONLY)
ready()
stored = 0
while True:
    version = cache.look_up("key").key_version          # the computation starts
    value = int(os.pread(generation, 20, 0))
    if value < 0:
        break
    stored += cache.set_if_current("key", value, 60, version, {})
print(stored)
"""


@pytest.mark.parametrize("change", ["invalidate", "clear"])
def test_no_fill_survives_an_invalidation(
    cache: FileSystemCache, processes: Processes, change: str
) -> None:
    """After it returned, nothing that was computed from older data is ever seen, in any process."""
    rounds = 200 if change == "invalidate" else 50
    cache.clock = time.time
    data = os.open(os.path.join(cache._path, "generation"), os.O_RDWR | os.O_CREAT)
    os.pwrite(data, b"%19d" % 0, 0)
    leaders = processes.start(LEADER, 2)
    processes.go(*leaders)
    for generation in range(1, rounds):
        os.pwrite(data, b"%19d" % generation, 0)
        cache.invalidate(["key"]) if change == "invalidate" else cache.clear()
        # Every eighth time until a computation was in time, so that some are stored.
        looks, value, end = generation % 40, None, time.monotonic() + PATIENCE
        while looks > 0 or (generation % 8 == 0 and value is None and time.monotonic() < end):
            looks -= 1
            value = cache.get("key")
            assert value is None or value >= generation
        assert generation % 8 or value is not None
    os.pwrite(data, b"%19d" % -1, 0)
    os.close(data)
    assert sum(int(leader.communicate(timeout=PATIENCE)[0]) for leader in leaders) >= rounds // 8


class Hold:
    """Stops the next write of one file, inside its section, until it is told to go on."""

    def __init__(self, cache: FileSystemCache, key: str) -> None:
        self._path, self._write = cache._files.entries[key], cache._files.replace
        self.inside, self.release = threading.Event(), threading.Event()
        cache._files.replace = self._stop  # type: ignore[method-assign]

    def _stop(self, path: str, old: Record, data: bytes, section: Section) -> bool:
        if path == self._path and not self.inside.is_set():
            self.inside.set()
            assert self.release.wait(PATIENCE)
        return self._write(path, old, data, section)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set as soon as a thread waits for another one that is inside a section."""
    event, wait = threading.Event(), Section._wait

    def wait_audibly(section: Section) -> None:
        event.set()
        wait(section)

    monkeypatch.setattr(Section, "_wait", wait_audibly)
    return event


@pytest.mark.parametrize("change", ["clear", "invalidate"])
def test_an_invalidation_waits_for_a_fill_that_has_checked(
    cache: FileSystemCache, waits: threading.Event, change: str
) -> None:
    """A leader between its check and its write is waited for, and its value removed."""
    hold, version = Hold(cache, "key"), cache.look_up("key").key_version
    leader = threading.Thread(target=cache.set_if_current, args=("key", "older", 60, version, {}))
    leader.start()
    assert hold.inside.wait(PATIENCE)
    other = cache.clear if change == "clear" else lambda: cache.invalidate(["key"])
    invalidate = threading.Thread(target=other)
    invalidate.start()
    assert waits.wait(PATIENCE)
    assert invalidate.is_alive()
    hold.release.set()
    invalidate.join()
    leader.join()
    assert cache.get("key") is None


def test_clear_waits_for_a_fill_over_an_old_file(
    cache: FileSystemCache, waits: threading.Event
) -> None:
    """The same, when the leader begins after clear has changed the epoch, and finds a file."""
    cache.set("key", "old")
    hold, version = Hold(cache, "key"), cache.look_up("key").key_version
    leader = threading.Thread(target=cache.set_if_current, args=("key", "older", 60, version, {}))
    go_on = threading.Thread(target=lambda: waits.wait(PATIENCE) and hold.release.set())
    listing = cache._files.listing

    def listing_late(*args: str) -> list[str]:
        found = listing(*args)
        if not hold.inside.is_set():
            leader.start()
            assert hold.inside.wait(PATIENCE)
            go_on.start()
        return found

    cache._files.listing = listing_late  # type: ignore[method-assign]
    cache.clear()
    leader.join()
    assert cache.get("key") is None


# --- leases ---------------------------------------------------------------------------------------


def test_a_lease_has_one_holder(cache: FileSystemCache) -> None:
    """A second one on the key is refused and sees who holds it; other keys are free."""
    first, second = cache.lease("key", 10), cache.lease("key", 10)
    assert first.acquire() is True
    assert first.acquire() is True, "it is ours already"
    assert second.acquire() is False
    assert second.holder == first.holder is not None
    assert cache.lease("other", 10).acquire()
    first.release()
    first.release()
    assert second.acquire() is True
    assert second.holder != first.holder
    second.release()
    assert not os.path.exists(cache._files.leases["key"])


def test_a_lease_may_be_released_by_another_thread(cache: FileSystemCache) -> None:
    """Async code acquires in one worker thread and releases in another."""
    lease = cache.lease("key", 10)
    for step in (lease.acquire, lease.release):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert cache.lease("key", 10).acquire()


def test_an_unshared_release_frees_all_waiters_of_that_holder(cache: FileSystemCache) -> None:
    """Also who looks only after another waiter took the lease learns that it was unshared."""
    leader, first, second = (cache.lease("key", 10) for _ in range(3))
    assert leader.acquire()
    assert not first.acquire() and not second.acquire()
    waited_for = second.holder
    assert not second.unshared(waited_for)
    leader.release(shared=False)
    assert second.unshared(waited_for)
    assert first.acquire()
    assert second.unshared(waited_for)
    assert not second.unshared(first.holder) and not second.unshared(None)
    first.release(shared=False)
    assert second.unshared(waited_for) and second.unshared(first.holder)
    assert second.acquire()
    second.release()
    assert first.unshared(waited_for)  # somebody may look even later


def test_an_old_release_does_not_end_a_new_lease(cache: FileSystemCache) -> None:
    """Somebody emptied the directory: the old holder must not remove its successor's lease."""
    old, new = cache.lease("key", 10), cache.lease("key", 10)
    assert old.acquire()
    os.unlink(cache._files.leases["key"])
    assert new.acquire()
    old.release()
    assert cache.lease("key", 10).acquire() is False
    new.release()


def test_clear_ends_no_lease(cache: FileSystemCache) -> None:
    """Whoever computes goes on alone."""
    lease = cache.lease("key", 10)
    assert lease.acquire()
    cache.clear()
    assert cache.lease("key", 10).acquire() is False


def test_one_process_of_many_gets_the_lease(cache: FileSystemCache, processes: Processes) -> None:
    """Taken and released in turn by several processes, a lease never has two holders."""
    code = """
    ready()
    taken = 0
    inside = os.path.join(sys.argv[1], "inside")
    while taken < 60:
        lease = cache.lease("key", 10)
        if lease.acquire():
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            os.unlink(inside)
            taken += 1
            lease.release(shared=taken % 2 == 0)
    print(taken)
    """
    assert processes.results(code, 3) == ["60\n"] * 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_holder_has_exactly_one_successor(
    cache: FileSystemCache, processes: Processes
) -> None:
    """The kernel gives the lease back, and one of those who try gets it."""
    (holder,) = processes.start(
        "lease = cache.lease('key', 10)\nassert lease.acquire()\nready()\ntime.sleep(60)"
    )
    lease = cache.lease("key", 10)
    assert lease.acquire() is False
    waiters = processes.start(
        """
        lease = cache.lease("key", 10)
        assert not lease.acquire()
        dead = lease.holder
        ready()
        while not lease.acquire() and not os.path.exists(sys.argv[1] + " over"):
            time.sleep(0.001)
        print(lease.acquire(), lease.holder != dead, flush=True)
        sys.stdin.readline()
        """,
        3,
    )
    processes.go(*waiters)
    holder.send_signal(signal.SIGKILL)
    answers: list[Any] = [waiter.stdout for waiter in waiters]
    ready, *_ = select.select(answers, [], [], PATIENCE)
    assert len(ready) == 1 and ready[0].readline() == "True True\n"
    answers.remove(ready[0])
    Path(cache._path + " over").touch()  # the others try once more, and say what they got
    assert [answer.readline() for answer in answers] == ["False True\n"] * 2
    processes.go(*waiters)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_keeps_no_lock(cache: FileSystemCache, processes: Processes) -> None:
    """Neither a lease nor a section of its parent lives on in a child that outlives it."""
    (parent,) = processes.start(
        """
        import threading
        lease = cache.lease("key", 10)
        assert lease.acquire()
        cache._files.section(cache._files.entries["key"]).__enter__()
        if os.fork() == 0:
            lease.release()                  # not the child's to give back
            assert not lease.acquire()
            cache.set("from the child", 1)
            print("ready", flush=True)
            os.close(1)
            end = time.monotonic() + 60
            while not cache.has("done") and time.monotonic() < end:
                time.sleep(0.02)
            os._exit(0)
        sys.stdin.readline()
        os._exit(0)
        """
    )
    lease = cache.lease("key", 10)
    assert lease.acquire() is False
    processes.go(parent)
    parent.wait(PATIENCE)
    assert lease.acquire() is True
    assert cache.set("key", 1)
    lease.release()
    cache.set("done", 1, 0)


# --- async ----------------------------------------------------------------------------------------


async def use_each_method(cache: FileSystemCache) -> None:
    """Each awaitable operation once."""
    assert await cache.aset("key", 1)
    assert await cache.aget("key") == 1
    assert await cache.ahas("key")
    assert not await cache.aadd("key", 2)
    assert await cache.ainc("key") == 2
    assert await cache.adec("key", 2) == 0
    assert await cache.aset_many({"a": 1, "b": 2}) == ["a", "b"]
    assert await cache.aget_many("a", "b") == [1, 2]
    assert await cache.aget_dict("a") == {"a": 1}
    assert await cache.adelete("a") and not await cache.adelete("a")
    assert await cache.adelete_many("a", "b") == ["a", "b"]
    assert await cache.aunlink("a") == ["a"]
    tokens = await cache.aensure_versions(["tag"], 60)
    snapshot = await cache.alook_up("key", ["tag"])
    assert list(snapshot.tag_versions) == tokens
    versions = {"tag": str(tokens[0])}
    assert await cache.aset_if_current("key", 7, 60, snapshot.key_version, versions)
    assert await cache.aset_and_supersede({"key": 8}) == ["key"]
    assert await cache.ainvalidate(["key"], ["tag"]) in (["key"], ["key", "tag"])
    assert not await cache.aset_if_current("key", 9, 60, snapshot.key_version, versions)
    assert await cache.aclear()
    await cache.aclose()


def test_async_methods_do_not_block_an_asyncio_loop(cache: FileSystemCache) -> None:
    """Any blocking call on the loop's thread would be an error here."""
    blockbuster = pytest.importorskip("blockbuster")

    async def main() -> None:
        with blockbuster.blockbuster_ctx():
            with pytest.raises(blockbuster.BlockingError):
                cache.clear()
            await use_each_method(cache)

    asyncio.run(main())


def test_async_methods_work_under_trio(cache: FileSystemCache) -> None:
    """The same, on the other loop."""
    trio = pytest.importorskip("trio")
    trio.run(use_each_method, cache)


def test_async_methods_work_on_many_loops(cache: FileSystemCache) -> None:
    """Each loop ends and the next one uses the same cache, as async views do under WSGI."""
    for _ in range(3):
        asyncio.run(use_each_method(cache))
