"""What lies in a cache directory and is no file of ours, and who may write there."""

from __future__ import annotations

import itertools
import os
import socket
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cachelib.serializers import JSONSerializer as CachelibJSONSerializer
from flask import Flask

from flask_caching_async import Cache
from flask_caching_async.backends.filesystemcache import FileSystemCache
from flask_caching_async.exceptions import CacheWarning
from flask_caching_async.serializers import JSONSerializer, MsgpackSerializer, PickleSerializer
from support.faces import Face
from support.params import cases

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a POSIX system")


# --- odd things under our names -------------------------------------------------------------------


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # its path may be too long
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def _link(path: Path) -> None:
    target = path.parents[1] / "target"
    target.write_text("kept")
    path.symlink_to(target)


def _full_directory(path: Path) -> None:
    path.mkdir()
    (path / "kept").write_text("kept")


ODD: dict[str, Callable[[Path], object]] = {
    "a FIFO": lambda path: os.mkfifo(path),
    "a socket": _socket,
    "a link to a file": _link,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a device without an end": lambda path: path.symlink_to("/dev/zero"),
    "a directory": lambda path: path.mkdir(),
    "a directory with something in it": _full_directory,
}

#: Every name that the backend uses, as its path.
NAMES: dict[str, Callable[[FileSystemCache], list[str]]] = {
    "entries": lambda backend: [backend._files.entries[key] for key in KEYS],
    "tag versions": lambda backend: [backend._files.versions[tag] for tag in ("t", "~all~")],
    "leases": lambda backend: [backend._files.leases[key] for key in KEYS],
    "slots": lambda backend: list(backend._files._slots),
    "the sweep's lock": lambda backend: [os.path.join(backend._files.state, "sweep")],
    "the epoch": lambda backend: [backend._files._epoch],
    "the state": lambda backend: [backend._files.state],
}

KEYS = ("a", "b")


@pytest.fixture
def site(tmp_path: Path, colour: str) -> Face:
    """A cache on files, in a directory that has its state."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": tmp_path / "cache"}
    face = Face(Cache(Flask("site"), config={**config, "CACHE_ON_ERROR": "raise"}), colour)
    face.cache.set("other", 1)
    return face


def put(face: Face, kind: str, name: str) -> list[Path]:
    """Put odd things in the place of files; where they are."""
    paths = [Path(path) for path in NAMES[name](face.cache.cache)]
    for path in paths:
        if path.is_dir():
            for one in path.iterdir():
                one.unlink()
            path.rmdir()
        path.unlink(missing_ok=True)
        ODD[kind](path)
    return paths


@pytest.mark.asyncio
@cases(
    "kind,name",
    itertools.product(ODD, NAMES),
    everywhere=[f"a FIFO-{name}" for name in NAMES],  # where who opens it would wait
)
async def test_what_is_no_file_is_a_miss_and_is_replaced(site: Face, kind: str, name: str) -> None:
    """Under any of our names: no caller waits for it, follows it, or fails; it is gone by a write
    or ``clear``."""
    computed: list[int] = []

    def body() -> int:
        computed.append(1)
        return len(computed)

    function = site.cached(key_prefix="a", tags=["t"])(body)
    paths = put(site, kind, name)
    assert await site.get("b") is None and not await site.has("b")
    assert await site.call(function) == 1
    # The first that meets an odd epoch computes in vain; the next one stores.
    assert await site.call(function) == await site.call(function) <= 2
    assert await site.set("b", 5) and await site.get("b") == 5
    assert await site.delete("b") and await site.get("b") is None
    assert await site.delete_tags("t") and await site.call(function) == len(computed)
    site.cache.cache._sweeper.restart()
    site.cache.cache._sweeper._until_tidy = 0
    assert await site.set("b", 6)  # it sweeps, and tidies up
    assert await site.clear() and await site.get("b") is None
    expected = stat.S_ISDIR if name == "the state" else stat.S_ISREG
    assert all(not os.path.lexists(p) or expected(os.lstat(p).st_mode) for p in paths)


@pytest.mark.asyncio
@cases("name", NAMES)
async def test_what_others_keep_there_is_not_lost(site: Face, tmp_path: Path, name: str) -> None:
    """The target of a link is neither read nor written; a directory that is not empty moves."""
    for kind in ("a link to a file", "a directory with something in it"):
        paths = put(site, kind, name)
        for key in KEYS:
            assert await site.set(key, 1)
        function = site.memoize(tags=["t"])(lambda: 1)
        assert await site.call(function) == 1
        assert await site.clear()
        if kind == "a link to a file":
            assert (paths[0].parents[1] / "target").read_text() == "kept"
    for path in paths:  # where it was, unless that place was needed
        (kept,) = path.parent.glob(f"{path.name}*/kept")
        assert kept.read_text() == "kept"


@pytest.mark.asyncio
async def test_clear_removes_odd_entries_and_nothing_of_other_programs(
    site: Face, tmp_path: Path
) -> None:
    """A name like that of an entry is ours; another one that ends like it is not."""
    home = tmp_path / "cache"
    os.mkfifo(home / "0123abcd.fca")
    (home / "4567cdef.fca").mkdir()
    (home / "my backup.fca").mkdir()
    (home / "my link.fca").symlink_to("elsewhere")
    assert await site.clear()
    left = sorted(path.name for path in home.iterdir())
    assert left == [".fca-state", "my backup.fca", "my link.fca"]


@pytest.mark.asyncio
async def test_a_file_that_was_cut_off_in_the_middle_of_a_chunk_is_read_to_its_end(
    site: Face,
) -> None:
    """Values around the size of one read come back whole."""
    for size in (0, 1, (1 << 16) - 60, 1 << 16, (1 << 17) + 5):
        assert await site.set("a", b"x" * size)
        assert await site.get("a") == b"x" * size


# --- who may write there --------------------------------------------------------------------------


def set_up(path: Path, serializer: Any = None) -> list[str]:
    """What a new cache on a directory warns of."""
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": path, "CACHE_SERIALIZER": serializer}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Cache(Flask("site"), config=config)
    assert all(warning.category is CacheWarning for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o700, 0), (0o755, 0), (0o770, 1), (0o702, 1), (0o1777, 1), (0o2755, 0)]
)
def test_a_directory_that_others_may_write_to_is_warned_of(
    tmp_path: Path, mode: int, warned: int
) -> None:
    """What lies there is unpickled: of a sticky one like ``/tmp`` too."""
    home = tmp_path / "cache"
    home.mkdir()
    home.chmod(mode)
    found = set_up(home)
    assert len(found) == warned
    assert all(f"its mode is {mode:04o}" in text and "JSONSerializer" in text for text in found)


def test_a_directory_of_another_user_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not one of root, who may do anything anyway."""
    home = tmp_path / "cache"
    home.mkdir(0o700)
    owner = home.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert len(set_up(home)) == (0 if owner == 0 else 1)
    status = os.stat_result([0o40700, *[0] * 3, 4711, *[0] * 5])
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda p, **k: status if p == str(home) else real(p, **k))
    (text,) = set_up(home)
    assert "belongs to another user" in text


@pytest.mark.parametrize(
    ("serializer", "warned"),
    [(PickleSerializer, 1), (JSONSerializer, 0), (MsgpackSerializer, 0),
     (CachelibJSONSerializer, 0), (type("Mine", (PickleSerializer,), {}), 1)],
)  # fmt: skip
def test_only_a_serializer_that_can_run_code_is_warned_of(
    tmp_path: Path, serializer: type, warned: int
) -> None:
    """Text of JSON is only data, whoever wrote it."""
    home = tmp_path / "cache"
    home.mkdir()
    home.chmod(0o777)
    assert len(set_up(home, serializer)) == warned


def test_a_new_directory_is_for_its_user_only(tmp_path: Path) -> None:
    """Whatever the umask is; its state, too. One that exists keeps its mode."""
    before = os.umask(0)
    try:
        cache = FileSystemCache(tmp_path / "above" / "cache")
        cache.set("a", 1)
    finally:
        os.umask(before)
    for path in (tmp_path / "above" / "cache", tmp_path / "above" / "cache" / ".fca-state"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    (tmp_path / "mine").mkdir(0o750)
    FileSystemCache(tmp_path / "mine")
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o750
