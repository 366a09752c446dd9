"""Small files are written in their own place: what readers and other programs see of it."""

from __future__ import annotations

import errno
import os
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_caching_async.backends._files import plain, records, sweeper
from flask_caching_async.backends._files.records import IN_PLACE
from flask_caching_async.backends.filesystemcache import FileSystemCache
from flask_caching_async.testing import FakeClock
from support.params import cases
from support.waiting import PATIENCE

SMALL, OTHER, LARGE = "small" * 9, "another one", "l" * IN_PLACE


@pytest.fixture
def cache(tmp_path: Path) -> FileSystemCache:
    """A cache in a directory of its own."""
    cache = FileSystemCache(tmp_path / "cache", threshold=40)
    cache.clock = FakeClock()
    return cache


def path_of(cache: FileSystemCache, key: str = "key") -> Path:
    """The file of a key."""
    return Path(cache._files.entries[key])


#: What is there, what is done, what is found then, and whether the file is the same one.
CHANGES: dict[str, tuple[Any, Callable[[FileSystemCache], object], Any, bool]] = {
    "small to small": (SMALL, lambda cache: cache.set("key", OTHER), OTHER, True),
    "small to longer": (OTHER, lambda cache: cache.set("key", SMALL), SMALL, True),
    "small to large": (SMALL, lambda cache: cache.set("key", LARGE), LARGE, False),
    "large to small": (LARGE, lambda cache: cache.set("key", SMALL), SMALL, False),
    "small to nothing": (SMALL, lambda cache: cache.delete("key"), None, True),
    "large to nothing": (LARGE, lambda cache: cache.delete("key"), None, True),
    "a number": (7, lambda cache: cache.inc("key"), 8, True),
}


@cases("change", CHANGES)
def test_what_fits_into_a_block_is_written_in_its_place(
    cache: FileSystemCache, change: str
) -> None:
    """All else gets a file of its own, which is moved into its place."""
    before, act, after, stays = CHANGES[change]
    cache.set("key", before)
    version, inode = cache.look_up("key").key_version, path_of(cache).stat().st_ino
    with path_of(cache).open("rb") as held:  # so that the inode is not given to another file
        act(cache)
        assert held.fileno() >= 0
        assert (path_of(cache).stat().st_ino == inode) is stays
    assert cache.get("key") == after and cache.has("key") is (after is not None)
    assert cache.look_up("key").key_version != version
    assert (path_of(cache).stat().st_size < 200) is (after != LARGE)
    assert not list(path_of(cache).parent.glob("*tmp"))


def test_files_are_opened_with_all_flags_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of POSIX, and on Windows that for bytes: else each newline of a value would change."""
    names = ("O_CLOEXEC", "O_BINARY", "O_NONBLOCK", "O_NOFOLLOW", "O_NOCTTY")
    for place, name in enumerate(names):
        monkeypatch.setattr(os, name, 1 << (20 + place), raising=False)
    made = runpy.run_path(plain.__file__)
    flags = sum(1 << (20 + place) for place in range(len(names)))
    assert made["SAFELY"] == flags
    for name in ("READ", "WRITE", "CREATE"):
        assert made[name] & flags == flags


@cases("odd", ["another mode", "another name"])
def test_on_a_full_disk_any_file_of_ours_can_be_deleted(
    cache: FileSystemCache, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """In its own place, though it would get another file where there is room for one."""
    cache.set("key", LARGE)
    version = cache.look_up("key").key_version
    if odd == "another mode":
        path_of(cache).chmod(0o640)
    else:
        os.link(path_of(cache), path_of(cache).with_name("backup"))
    create = os.open

    def full(path: str, flags: int, mode: int = 0o777) -> int:
        if path.endswith("-tmp"):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return create(path, flags, mode)

    monkeypatch.setattr(os, "open", full)
    assert cache.delete("key")
    assert cache.get("key") is None and path_of(cache).stat().st_size < 100
    assert not cache.set_if_current("key", "older", 60, version, {})


def test_a_file_of_another_mode_or_with_a_second_name_is_replaced(cache: FileSystemCache) -> None:
    """What a backup has linked keeps its value; a mode that somebody changed is ours again."""
    cache.set("key", SMALL)
    link = path_of(cache).with_name("backup")
    os.link(path_of(cache), link)
    saved = link.read_bytes()
    cache.set("key", OTHER)
    assert link.read_bytes() == saved and cache.get("key") == OTHER
    path_of(cache).chmod(0o640)
    cache.set("key", SMALL)
    assert path_of(cache).stat().st_mode & 0o777 == 0o600 and cache.get("key") == SMALL


@pytest.mark.parametrize("at", [5, 8, 20, 40, 53, 60])
def test_a_reader_that_finds_a_part_of_each_looks_again(
    cache: FileSystemCache, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Wherever the old value ends and the new one begins, and in either order."""
    cache.set("key", SMALL)
    old = path_of(cache).read_bytes()
    cache.set("key", "other" * 9)
    new = path_of(cache).read_bytes()
    assert len(old) == len(new)
    for torn in (old[:at] + new[at:], new[:at] + old[at:]):
        found, slurp = iter([torn, torn, new]), records.slurp
        monkeypatch.setattr(records, "slurp", lambda path, found=found: next(found))
        assert cache.get("key") == "other" * 9
        monkeypatch.setattr(records, "slurp", slurp)
        path_of(cache).write_bytes(torn)  # and if that is how the power left it
        assert cache.get("key") is None
        assert cache.set_if_current("key", 1, 60, cache.look_up("key").key_version, {})
        assert cache.get("key") == 1


WRITER = """
import sys
from flask_caching_async.backends import FileSystemCache
cache, number = FileSystemCache(sys.argv[1]), 0
print("writes", flush=True)
while True:
    number += 1
    cache.set("key", str(number) * (number * 37 % 400 + 1))
"""


def test_no_reader_sees_a_part_of_each(cache: FileSystemCache) -> None:
    """While another process, and a thread of this one, write values of all lengths."""
    ends = threading.Event()

    def write() -> None:
        number = 0
        while not ends.is_set():
            number += 1
            cache.set("key", str(number) * (number * 53 % 400 + 1))

    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path_of(cache).parent)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        thread = threading.Thread(target=write)
        thread.start()
        try:
            values, until = set[str](), time.monotonic() + PATIENCE
            while len(values) < 200 and time.monotonic() < until:
                values |= {cache.get("key") or "0"}
        finally:
            ends.set()
            thread.join()
            process.kill()
    assert len(values) == 200
    for value in values:
        number = next(value[:n] for n in range(1, 9) if value == value[:n] * (len(value) // n))
        assert value == number * (len(value) // len(number))


def test_the_version_of_everything_is_written_once(cache: FileSystemCache) -> None:
    """It never expires; others are written anew only when they would end too early."""
    cache.ensure_versions(["~all~", "tag"], 60)
    files = [Path(cache._files.versions[tag]) for tag in ("~all~", "tag")]
    before = [(file.stat().st_ino, file.stat().st_mtime_ns) for file in files]
    for number in range(20):
        versions = dict(
            zip(("~all~", "tag"), cache.ensure_versions(["~all~", "tag"], 60), strict=True)
        )
        assert cache.set_if_current(f"{number}", 1, 60, None, versions)
    assert [(file.stat().st_ino, file.stat().st_mtime_ns) for file in files] == before


def test_a_sweep_reads_again_only_what_was_written(
    cache: FileSystemCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of hundreds of files, and finds what another process has done to them meanwhile."""
    read: list[str] = []
    look = sweeper.look
    monkeypatch.setattr(sweeper, "look", lambda path: [read.append(path), look(path)][1])
    for number in range(30):
        cache.set(f"{number}", number)
    other = FileSystemCache(path_of(cache).parent)
    other.clock = cache.clock
    records_of = cache._sweeper._records
    assert len(list(records_of())) == 30
    read.clear()
    cache.set("3", "new")
    other.delete("4")
    other.set("5", LARGE)
    found = dict(records_of())
    assert read == [p for p in found if p in {str(path_of(cache, k)) for k in ("3", "5")}]
    assert [found[str(path_of(cache, k))].size > 1000 for k in "35"] == [False, True]
    cache._sweeper.make_room(cache.clock())
    assert sum(cache.get(f"{number}") is not None for number in range(30)) <= 26
