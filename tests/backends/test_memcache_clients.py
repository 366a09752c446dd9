"""Memcached through somebody's client, with a password, and with values in pieces."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiomcache
import pytest
from backends.test_memcache import everything, raw
from flask import Flask
from flow.crowd import Raised, together, until
from helpers import Face
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from servers import HOST, MemcachedServer, free_port

from flask_caching_async import Cache
from flask_caching_async.backends._memcached.sasl import (
    SASLMemcachedCache,
    SpreadSASLMemcachedCache,
)
from flask_caching_async.backends.memcache import MemcachedCache
from flask_caching_async.exceptions import BackendError, ConfigurationError

PREFIX = "flask_cache_"


def pylibmc() -> Any:
    """The package, where it is installed."""
    return pytest.importorskip("pylibmc", reason="pylibmc is not installed")


def cache_with(kind: str, servers: Any, **config: Any) -> Cache:
    """A cache that raises what goes wrong."""
    common = {"CACHE_TYPE": kind, "CACHE_ON_ERROR": "raise", "CACHE_MEMCACHED_SERVERS": servers}
    return Cache(Flask("site"), config={**common, "CACHE_OPERATION_TIMEOUT": 5, **config})


@pytest.fixture
def server(clean_memcached: MemcachedServer) -> MemcachedServer:
    """An empty server."""
    return clean_memcached


@pytest.fixture
def where(server: MemcachedServer) -> list[str]:
    """Its address."""
    return [f"{HOST}:{server.port}"]


# --- a ready client -------------------------------------------------------------------------------


class Plain:
    """No more than most clients have in common; its values are lost if two threads call at once."""

    def __init__(self, port: int) -> None:
        self.held: dict[str, bytes] = {}
        self.busy = threading.Lock()

    @contextmanager
    def alone(self) -> Iterator[dict[str, bytes]]:
        assert self.busy.acquire(blocking=False), "two threads called at once"
        try:
            time.sleep(0)
            yield self.held
        finally:
            self.busy.release()

    def get(self, key: str) -> Any:
        with self.alone() as held:
            return held.get(key)

    def set(self, key: str, value: bytes, time: int = 0) -> bool:
        with self.alone() as held:
            held[key] = value
        return True

    def add(self, key: str, value: bytes, time: int = 0) -> bool:
        with self.alone() as held:
            return held.setdefault(key, value) is value

    def delete(self, key: str) -> bool:
        with self.alone() as held:
            return held.pop(key, None) is not None


READY: dict[str, Callable[[int], Any]] = {
    "pymemcache": lambda port: Client((HOST, port)),
    "pymemcache pooled": lambda port: PooledClient((HOST, port), max_pool_size=2),
    "pymemcache hash": lambda port: HashClient([(HOST, port)], use_pooling=True),
    "pylibmc": lambda port: pylibmc().Client([f"{HOST}:{port}"]),
    "pylibmc binary": lambda port: pylibmc().Client([f"{HOST}:{port}"], binary=True),
    "pylibmc threads": lambda port: pylibmc().ThreadMappedPool(READY["pylibmc"](port)),
    "plain": Plain,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("kind", READY)
async def test_a_ready_client_is_as_good_as_servers(
    server: MemcachedServer, kind: str, colour: str
) -> None:
    """It is used by one thread at a time, and its owner closes it."""
    ready = READY[kind](server.port)
    cache = cache_with("MemcachedCache", ready)
    assert isinstance(cache.cache, MemcachedCache) and cache.cache._client is ready
    await everything(Face(cache, colour))
    async with cache:
        assert not cache.cache.native_here()
        await everything(Face(cache, "async"))
    keys = [str(number) for number in range(8)]
    stored = together(*[lambda key=key: cache.set(key, key) and cache.get(key) for key in keys])
    assert stored == keys
    cache.close()
    if hasattr(ready, "close"):
        ready.set("still", b"open")
        assert ready.get("still") == b"open"
        ready.close()


@pytest.mark.parametrize("kind", ["pymemcache", "pylibmc"])
def test_a_ready_client_and_servers_see_the_same_values(
    server: MemcachedServer, where: list[str], kind: str
) -> None:
    """Both store values in the same form, and clear the same namespace."""
    ready = READY[kind](server.port)
    one, two = cache_with("MemcachedCache", ready), cache_with("MemcachedCache", where)
    for a, b in ((one, two), (two, one)):
        assert a.set("k", ["v"], 60) and b.get("k") == ["v"] and b.inc("n") == 1
        assert a.get("n") == 1 and b.clear() and a.get_many("k", "n") == [None, None]
    two.close()
    if hasattr(ready, "close"):
        ready.close()


@pytest.mark.parametrize("kind", ["pymemcache", "pylibmc", "pylibmc binary"])
def test_what_is_too_large_for_a_ready_client_is_not_stored(
    server: MemcachedServer, kind: str, caplog: Any
) -> None:
    """False and a line in the log, as with servers."""
    ready = READY[kind](server.port)
    cache = cache_with("MemcachedCache", ready)
    with caplog.at_level(logging.WARNING):
        assert cache.set_many({"a": os.urandom(1_100_000), "b": 1}) == ["b"]
        assert cache.add("c", os.urandom(1_100_000)) is False
    assert [line for line in caplog.messages if "'a' is too large" in line]
    assert cache.get_many("a", "b", "c") == [None, 1, None]
    if hasattr(ready, "close"):
        ready.close()


@pytest.mark.parametrize("ready", [7, object(), aiomcache.Client(HOST, 1)], ids=type)
def test_what_is_no_client_for_sync_code_is_refused(ready: Any) -> None:
    """An async one, too: every app has sync code."""
    with pytest.raises(ConfigurationError, match="CACHE_MEMCACHED_SERVERS"):
        cache_with("MemcachedCache", ready)


# --- with a password ------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("kind", ["SASLMemcachedCache", "SpreadSASLMemcachedCache"])
async def test_everything_works_through_pylibmc(where: list[str], kind: str, colour: str) -> None:
    """On a server that asks for no password; awaitable methods call worker threads."""
    pylibmc()
    cache = cache_with(kind, where)
    await everything(Face(cache, colour))
    async with cache:
        await everything(Face(cache, "async"))
    cache.close()
    assert cache.set("a", 1) and cache.get("a") == 1
    cache.close()
    cache.close()


def test_flask_cachings_settings_and_arguments(where: list[str]) -> None:
    """``CACHE_MEMCACHED_USERNAME`` and ``_PASSWORD``; the options of pylibmc; by position, too."""
    pylibmc()
    cache = SASLMemcachedCache(where, 60, "pre_", None, None, 3, True, True)
    assert (cache.default_timeout, cache.key_prefix, cache._pool.limit) == (60, "pre_", 3)
    assert cache.shared and not cache.two_coloured
    options = {"behaviors": {"connect_timeout": 123}, "pool_size": 2}
    told = cache_with("SASLMemcachedCache", where, CACHE_OPTIONS=options).cache
    behaviors = told._pool.opener._client.behaviors
    assert behaviors["connect_timeout"] == 123 and behaviors["receive_timeout"] == 5_000_000
    assert told.key_prefix == PREFIX and told._pool.limit == 2
    pairs = cache_with("SASLMemcachedCache", [tuple(where[0].split(":"))])
    assert pairs.set("a", 1)
    pairs.close()
    for wrong in ({"nonsense": 1}, {"behaviors": {"nonsense": 1}}):
        with pytest.raises(ConfigurationError, match="pylibmc does not take"):
            cache_with("SASLMemcachedCache", where, CACHE_OPTIONS=wrong)


def test_without_pylibmc_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which package to install."""
    monkeypatch.setitem(sys.modules, "pylibmc", None)
    with pytest.raises(ConfigurationError, match="SASLMemcachedCache needs .*install pylibmc"):
        cache_with("SASLMemcachedCache", None)


def test_no_count_is_lost_between_clients(where: list[str]) -> None:
    """Several caches, each with clients of its own."""
    pylibmc()
    caches = [cache_with("SASLMemcachedCache", where) for _ in range(4)]
    counted = together(*[lambda c=c: [c.inc("n") for _ in range(20)] for c in caches * 2])
    assert sorted(sum(counted, [])) == list(range(1, 161))
    for cache in caches:
        cache.close()


@pytest.mark.parametrize("kind", ["SASLMemcachedCache", "SpreadSASLMemcachedCache"])
def test_a_server_that_hangs_costs_no_more_than_its_budget(kind: str) -> None:
    """And when it is back, so is the cache."""
    pylibmc()
    with MemcachedServer() as server:
        cache = cache_with(kind, [f"{HOST}:{server.port}"], CACHE_OPERATION_TIMEOUT=0.2)
        assert cache.set("a", 1)
        server.pause()
        began = time.monotonic()
        with pytest.raises(BackendError):
            cache.get("a")
        assert time.monotonic() - began < 2
        server.resume()
        until(lambda: _quietly(lambda: cache.get("a")) == 1)
        server.restart()
        until(lambda: _quietly(lambda: cache.set("a", 2)))
        assert cache.get("a") == 2
        cache.close()


def _quietly(call: Callable[[], Any]) -> Any:
    with suppress(BackendError):
        return call()
    return None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_a_forked_child_leaves_the_parents_connections_alone(where: list[str]) -> None:
    """Also when it ends, and frees all that it has inherited."""
    pylibmc()
    cache = cache_with("SASLMemcachedCache", where)
    cache.set_many({str(number): number for number in range(50)})
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if all(cache.get(str(n % 50)) == n % 50 for n in range(300)):
                cache.close()
                status = 0
        finally:
            os._exit(status)
    assert all(cache.get(str(n % 50)) == n % 50 for n in range(300))
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get("1") == 1
    cache.close()


class Passwords:
    """Answers a server's questions for passwords, as the daemon saslauthd does."""

    def __init__(self, path: Path, **known: str) -> None:
        self.known, self.asked = known, 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, client.makefile("rb") as words:
                name, word, *_ = [words.read(*struct.unpack("!H", words.read(2))) for _ in "1234"]
                right = self.known.get(name.decode()) == word.decode()
                self.asked += 1
                client.sendall(b"\0\2OK" if right else b"\0\2NO")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def guarded() -> Iterator[int]:
    """The port of a server that lets in only alice, whose password is s3cr3t."""
    with tempfile.TemporaryDirectory(prefix="sasl-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        # Two, because libmemcached 1.0 reads beyond the end of the list, and spoils the last name.
        lines = [
            "mech_list: plain login",
            "pwcheck_method: saslauthd",
            f"saslauthd_path: {folder}/mux",
        ]
        (folder / "memcached.conf").write_text("\n".join(lines))
        passwords = Passwords(folder / "mux", alice="s3cr3t")
        (folder / "mux").chmod(0o777)
        words = ["memcached", "-S", "-B", "binary", "-l", HOST, "-p", str(port), "-U", "0"]
        words += ["-u", "root"] if os.geteuid() == 0 else []
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                words, env={**os.environ, "SASL_CONF_PATH": name}, stdout=log, stderr=log
            )
        try:
            until(lambda: process.poll() is not None or _listens(port))
            if process.poll() is not None:
                pytest.skip("this Memcached was built without SASL")
            yield port
        finally:
            process.kill()
            process.wait()
            passwords.close()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


@pytest.mark.parametrize("kind", ["SASLMemcachedCache", "SpreadSASLMemcachedCache"])
def test_only_who_knows_the_password_is_let_in(guarded: int, kind: str) -> None:
    """On a real server; the others are told that they are not."""
    pylibmc()
    mechanisms = next(Path("/usr/lib").glob("**/sasl2/libplain.so*"), None)
    if mechanisms is None:
        pytest.skip("SASL's mechanism PLAIN is not installed")
    script = f"""
        import asyncio
        from flask import Flask
        from flask_caching_async import Cache, BackendError

        def cache(name, word):
            config = {{"CACHE_TYPE": "{kind}", "CACHE_MEMCACHED_SERVERS": ["{HOST}:{guarded}"]}}
            config |= {{"CACHE_MEMCACHED_USERNAME": name, "CACHE_MEMCACHED_PASSWORD": word}}
            config |= {{"CACHE_ON_ERROR": "raise", "CACHE_OPERATION_TIMEOUT": 10}}
            return Cache(Flask("site"), config=config)

        alice = cache("alice", "s3cr3t")
        assert alice.set("a", [1]) and alice.get("a") == [1] and alice.inc("n") == 1
        assert asyncio.run(alice.aget("a")) == [1]
        for stranger in (cache("alice", "wrong"), cache("bob", "s3cr3t"), cache(None, None)):
            try:
                stranger.set("a", 1)
            except BackendError:
                stranger.close()
            else:
                raise AssertionError("it was let in")
        alice.close()
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(script)],
        # pylibmc's wheel has a SASL library of its own, which looks elsewhere for mechanisms.
        env={**os.environ, "SASL_PATH": str(mechanisms.parent)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- in pieces ------------------------------------------------------------------------------------


@pytest.fixture
def spread(where: list[str]) -> Iterator[SpreadSASLMemcachedCache]:
    """A backend that takes values of up to about 20 times 1 KB."""
    pylibmc()
    made = SpreadSASLMemcachedCache(where, key_prefix="p:", chunksize=1000, maxchunk=20)
    yield made
    made.close()


def test_a_value_that_is_larger_than_an_item_comes_back_whole(where: list[str]) -> None:
    """Three megabytes, by default in pieces that fit; through a cached function, too."""
    pylibmc()
    cache, large = cache_with("SpreadSASLMemcachedCache", where), os.urandom(3_000_000)
    assert cache.set("a", large) and cache.get("a") == large
    calls: list[int] = []

    @cache.memoize()
    def f() -> bytes:
        calls.append(1)
        return large

    assert f() == large == f() and calls == [1]
    assert asyncio.run(cache.aget("a")) == large
    assert cache.clear() and cache.get("a") is None
    cache.close()


def test_a_value_lies_in_numbered_pieces(spread: Any, server: MemcachedServer) -> None:
    """What fits is one item under its key; deleting a large one deletes its pieces."""
    assert spread.set("small", "x" * 500) and spread.set("large", "x" * 2500)
    assert raw(server, "p:small") and not raw(server, "p:small~~0")
    assert [bool(raw(server, f"p:large~~{n}")) for n in range(4)] == [True, True, True, False]
    assert int((raw(server, "p:large~~0") or "").split()[2]) <= 1000
    assert spread.delete("large") is True and spread.delete("large") is False
    assert not any(raw(server, f"p:large{end}") for end in ("", "~~0", "~~1", "~~2"))
    assert spread.get("small") == "x" * 500


def test_a_shorter_value_has_no_tail_of_a_longer_one(spread: Any) -> None:
    """Nor the other way round."""
    for size in (9000, 100, 3500, 2500, 9000, 1, 15_000):
        value = os.urandom(size)
        assert spread.set("a", value) and spread.get("a") == value
        assert spread.get_many("a", "b") == [value, None]


def test_a_missing_piece_is_a_missing_value(spread: Any, server: MemcachedServer) -> None:
    """The server may drop any of them."""
    for piece in range(3):
        assert spread.set("a", "x" * 2500)
        assert server.ask(f"delete p:a~~{piece}") == "DELETED"
        assert spread.get("a") is None and not spread.has("a")
        assert spread.add("a", "y" * 2500) and spread.get("a") == "y" * 2500


def test_pieces_of_two_values_are_never_put_together(spread: Any) -> None:
    """While several threads set a large value, everybody reads one of them, or nothing."""
    values = [str(number) * (1500 + 700 * number) for number in range(1, 5)]
    stop = time.monotonic() + 0.7
    found: set[Any] = set()

    def write(value: str) -> None:
        while time.monotonic() < stop:
            assert spread.set("a", value)
            time.sleep(random.random() * 0.002)

    def read() -> None:
        while time.monotonic() < stop:
            found.add(spread.get("a"))

    outcomes = together(*[lambda v=v: write(v) for v in values], read, read)
    assert [each for each in outcomes if isinstance(each, Raised)] == []
    assert found <= {*values, None} and len(found) > 2


def test_more_pieces_than_allowed_are_not_stored(spread: Any, caplog: Any) -> None:
    """Nor without ``chunk`` what needs more than one; nobody gets what was there before."""
    with caplog.at_level(logging.WARNING):
        for stored in (True, False):
            assert spread.set("a", "before")
            assert spread.set("a", "x" * (5000 if stored else 30_000)) is stored
        assert spread.get("a") is None
        assert spread.set("b", "before") and spread.set("b", "x" * 5000, chunk=False) is False
        assert spread.get("b", chunk=False) is None
        assert spread.add("c", "x" * 30_000) is False
    assert len([line for line in caplog.messages if "too large" in line]) == 2


def test_values_can_be_set_and_got_without_spreading(spread: Any) -> None:
    """``chunk=False``, as in Flask-Caching."""
    assert spread.set("a", "small", 60, chunk=False) and spread.get("a", chunk=False) == "small"
    assert spread.set("a", "small", timeout=60, chunk=True) and spread.get("a", True) == "small"


@pytest.mark.parametrize("key", ["k" * 245, "世界" * 200, "a b"])
def test_long_keys_have_pieces_too(spread: Any, key: str) -> None:
    """Whose names are not too long."""
    assert spread.set(key, "x" * 2500) and spread.get(key) == "x" * 2500
    assert spread.delete(key) and spread.get(key) is None
